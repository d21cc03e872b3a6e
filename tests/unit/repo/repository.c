/* Facts about repositories: making, opening, records, clusters. */
#include "repo/repository.h"
#include "fault_store.h"
#include "repo/lines.h"
#include "store/memory/memory.h"

#include <criterion/criterion.h>
#include <stdio.h>

struct world {
	struct env env;
	struct store *store;
	struct key_secret secret, recovery;
	struct repository_init init;
	struct repository *repository;
	struct error why;
};

static void world_init(struct world *w)
{
	struct writer text;

	memset(w, 0, sizeof(*w));
	w->env = env_os();
	writer_init(&text, 4096);
	cr_assert_eq(store_memory_open(&w->env, &w->store, &w->why), ERR_NONE);
	cr_assert_eq(key_secret_new(w->env.random, SLOT_KEY_FILE, &w->secret, &text, &w->why),
		     ERR_NONE);
	cr_assert_eq(key_secret_new(w->env.random, SLOT_RECOVERY, &w->recovery, &text, &w->why),
		     ERR_NONE);
	writer_release(&text);
	w->init = (struct repository_init){.encryption = ENCRYPTION_AES_256_GCM,
					   .secret = &w->secret,
					   .slot_name = "primary",
					   .recovery = &w->recovery};
}

static void world_open(struct world *w)
{
	cr_assert_eq(repository_init(&w->env, w->store, &w->init, &w->why), ERR_NONE, "%s",
		     w->why.text);
	cr_assert_eq(repository_open(&w->env, w->store, w->init.secret, &w->repository, &w->why),
		     ERR_NONE, "%s", w->why.text);
}

static void world_release(struct world *w)
{
	repository_close(w->repository);
	store_close(w->store);
}

Test(repository, what_was_made_opens_with_either_secret)
{
	struct repository_format format;
	struct repository *again = NULL;
	struct world w;
	bool exists = true;

	world_init(&w);
	cr_assert_eq(repository_exists(w.store, &exists, &w.why), ERR_NONE);
	cr_assert(!exists);
	cr_assert_eq(repository_peek(w.store, &format, &w.why), ERR_MISSING);
	cr_assert_not_null(strstr(w.why.hint, "pgagent init"));
	world_open(&w);
	cr_assert_eq(repository_exists(w.store, &exists, &w.why), ERR_NONE);
	cr_assert(exists);
	cr_assert_eq(repository_peek(w.store, &format, &w.why), ERR_NONE);
	cr_assert_eq(format.encryption, ENCRYPTION_AES_256_GCM);
	cr_assert_eq(format.tag_kind, PAGE_TAG_GMAC);
	cr_assert_eq(memcmp(format.id, w.repository->id, sizeof(format.id)), 0);
	cr_assert_eq(repository_open(&w.env, w.store, &w.recovery, &again, &w.why), ERR_NONE);
	cr_assert_eq(memcmp(again->clear_key, w.repository->clear_key, CRYPTO_KEY_BYTES), 0);
	repository_close(again);
	cr_assert_eq(repository_init(&w.env, w.store, &w.init, &w.why), ERR_EXISTS);
	world_release(&w);
}

Test(repository, without_encryption_opens_without_a_key_and_keeps_hmac_tags)
{
	struct repository *again = NULL;
	struct world w;

	world_init(&w);
	w.init = (struct repository_init){.encryption = ENCRYPTION_NONE};
	world_open(&w);
	cr_assert_eq(w.repository->encryption, ENCRYPTION_NONE);
	cr_assert_eq(w.repository->tag_kind, PAGE_TAG_HMAC);
	cr_assert_eq(repository_open(&w.env, w.store, &w.secret, &again, &w.why), ERR_WRONG_KEY);
	cr_assert_not_null(strstr(w.why.hint, "not encrypted"), "%s", w.why.hint);
	world_release(&w);
}

Test(repository, a_sibling_adopts_the_family)
{
	struct world w, sibling;

	world_init(&w);
	world_init(&sibling);
	world_open(&w);
	sibling.init.adopt = w.repository->keyring;
	world_open(&sibling);
	cr_assert_eq(memcmp(w.repository->id, sibling.repository->id, REPOSITORY_ID_BYTES), 0);
	cr_assert_eq(
		memcmp(w.repository->clear_key, sibling.repository->clear_key, CRYPTO_KEY_BYTES),
		0);
	world_release(&sibling);
	world_release(&w);
}

Test(repository, a_wrong_or_no_key_does_not_open_it)
{
	struct repository *again = NULL;
	struct world w, other;

	world_init(&w);
	world_init(&other);
	world_open(&w);
	cr_assert_eq(repository_open(&w.env, w.store, &other.secret, &again, &w.why),
		     ERR_WRONG_KEY);
	cr_assert_not_null(strstr(w.why.text, "primary"), "%s", w.why.text);
	cr_assert_eq(repository_open(&w.env, w.store, NULL, &again, &w.why), ERR_WRONG_KEY);
	cr_assert_null(again);
	world_release(&w);
	world_release(&other);
}

Test(repository, every_flipped_byte_of_FORMAT_is_corrupt)
{
	struct repository *again = NULL;
	struct world w;
	uint8_t *data;
	size_t len;

	world_init(&w);
	world_open(&w);
	data = store_memory_peek(w.store, "FORMAT", &len);
	for (size_t i = 0; i < len; i++) {
		uint8_t flip = (uint8_t)(1U << i % 8);

		data[i] ^= flip;
		cr_assert_eq(repository_open(&w.env, w.store, &w.secret, &again, &w.why),
			     ERR_CORRUPT, "byte %zu: %s", i, w.why.text);
		cr_assert_not_null(strstr(w.why.text, "FORMAT"), "%s", w.why.text);
		data[i] ^= flip;
	}
	world_release(&w);
}

Test(repository, an_unknown_version_or_feature_is_named)
{
	static const struct {
		const char *lines, *named;
	} unknown[] = {
		{"format 2\n", "format 2"},
		{"format 1\nrequires mirrors\nencryption none\npage-tag hmac\ncreated x\nrepository "
		 "00000000000000000000000000000000\n",
		 "requires mirrors"},
		{"format 1\nrequires -\nencryption rot13\npage-tag hmac\ncreated x\nrepository "
		 "00000000000000000000000000000000\n",
		 "encryption rot13"},
		{"format 1\nrequires -\nencryption none\npage-tag gmac\ncreated x\nrepository "
		 "00000000000000000000000000000000\n",
		 "page-tag gmac"},
	};

	for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++) {
		struct repository_format format;
		struct repository *r = NULL;
		struct world w;
		char text[512];

		world_init(&w);
		(void)snprintf(text, sizeof(text), "pgagent-record format 1\n%s", unknown[i].lines);
		cr_assert_eq(store_put(w.store, "FORMAT", bytes_of_text(text), &w.why), ERR_NONE);
		cr_assert_eq(repository_peek(w.store, &format, &w.why), ERR_CONFIG, "case %zu", i);
		cr_assert_not_null(strstr(w.why.text, unknown[i].named), "%s", w.why.text);
		cr_assert_eq(repository_open(&w.env, w.store, NULL, &r, &w.why), ERR_CONFIG);
		cr_assert_not_null(strstr(w.why.text, unknown[i].named), "%s", w.why.text);
		world_release(&w);
	}
}

Test(repository, init_refuses_a_place_with_something_else_in_it)
{
	struct store_object object;
	struct world w;
	bool exists;

	world_init(&w);
	cr_assert_eq(store_put(w.store, "keys/old", bytes_of_text("x"), &w.why), ERR_NONE);
	cr_assert_eq(store_put(w.store, "letters/mum.txt", bytes_of_text("x"), &w.why), ERR_NONE);
	cr_assert_eq(repository_exists(w.store, &exists, &w.why), ERR_CONFIG);
	cr_assert_not_null(strstr(w.why.text, "letters/mum.txt"), "%s", w.why.text);
	cr_assert_eq(repository_init(&w.env, w.store, &w.init, &w.why), ERR_CONFIG);
	cr_assert_eq(store_stat(w.store, "keys/old", &object, &w.why), ERR_NONE);
	world_release(&w);
}

Test(repository, an_init_that_stopped_anywhere_is_done_by_the_next_one)
{
	struct world w;
	unsigned n;

	for (n = 1; n < 200; n++) {
		struct fault_store fault;
		bool exists = true;
		enum err e;

		world_init(&w);
		fault_store_init(&fault, w.store);
		fault.mode = FAULT_FAIL;
		fault.kind = ERR_IO;
		fault.at = n;
		e = repository_init(&w.env, &fault.store, &w.init, &w.why);
		if (e == ERR_NONE) {
			world_release(&w);
			break;
		}
		cr_assert_eq(e, ERR_IO, "call %u: %s", n, w.why.text);
		cr_assert_eq(repository_exists(w.store, &exists, &w.why), ERR_NONE, "call %u: %s",
			     n, w.why.text);
		/* Once FORMAT is there, the repository is whole. */
		if (!exists)
			cr_assert_eq(repository_init(&w.env, w.store, &w.init, &w.why), ERR_NONE,
				     "call %u: %s", n, w.why.text);
		cr_assert_eq(repository_open(&w.env, w.store, &w.recovery, &w.repository, &w.why),
			     ERR_NONE, "call %u: %s", n, w.why.text);
		world_release(&w);
	}
	cr_assert_gt(n, 12);
	cr_assert_lt(n, 200);
}

Test(repository, records_come_back_under_their_own_key_and_type_only)
{
	static const char text[] = "reason because\ntime now\n";
	struct writer body;
	struct world w;
	uint8_t *data;
	size_t len;

	world_init(&w);
	world_open(&w);
	writer_init(&body, RECORD_BYTES_MAX);
	cr_assert_eq(record_put(w.repository, "a/1/tombs/x", "tomb", bytes_of_text(text), &w.why),
		     ERR_NONE);
	writer_u8(&body, 'x');
	cr_assert_eq(record_get(w.repository, "a/1/tombs/x", "tomb", &body, &w.why), ERR_NONE);
	cr_assert_eq(body.len, strlen(text));
	cr_assert_eq(memcmp(body.data, text, body.len), 0);
	cr_assert_eq(record_put(w.repository, "a/1/tombs/x", "tomb", bytes_of_text(text), &w.why),
		     ERR_EXISTS);
	cr_assert_eq(record_get(w.repository, "a/1/tombs/x", "keep", &body, &w.why), ERR_CORRUPT);
	cr_assert_eq(record_get(w.repository, "a/1/tombs/y", "tomb", &body, &w.why), ERR_MISSING);
	data = store_memory_peek(w.store, "a/1/tombs/x", &len);
	cr_assert_eq(store_put(w.store, "a/1/tombs/y", bytes_of(data, len), &w.why), ERR_NONE);
	cr_assert_eq(record_get(w.repository, "a/1/tombs/y", "tomb", &body, &w.why), ERR_CORRUPT);
	cr_assert_not_null(strstr(w.why.text, "a/1/tombs/y"), "%s", w.why.text);
	for (size_t i = 0; i < len; i++) {
		data = store_memory_peek(w.store, "a/1/tombs/x", &len);
		data[i] ^= (uint8_t)(1U << i % 8);
		cr_assert_eq(record_get(w.repository, "a/1/tombs/x", "tomb", &body, &w.why),
			     ERR_CORRUPT, "byte %zu", i);
		cr_assert_not_null(strstr(w.why.text, "a/1/tombs/x"), "%s", w.why.text);
		data[i] ^= (uint8_t)(1U << i % 8);
	}
	writer_release(&body);
	world_release(&w);
}

Test(repository, a_record_too_long_is_a_limit_and_nothing_is_put)
{
	struct store_object object;
	struct writer body;
	struct world w;

	world_init(&w);
	world_open(&w);
	writer_init(&body, 1 << 20);
	while (body.len < RECORD_BYTES_MAX)
		lines_put(&body, "name", "some value or other, one of very many");
	cr_assert_eq(record_put(w.repository, "a/1/tombs/x", "tomb", writer_view(&body), &w.why),
		     ERR_LIMIT);
	cr_assert_eq(store_stat(w.store, "a/1/tombs/x", &object, &w.why), ERR_MISSING);
	writer_release(&body);
	world_release(&w);
}

Test(repository, an_unsure_record_is_settled_by_looking)
{
	static const enum err expected[] = {ERR_TRANSIENT, ERR_NONE};
	static const enum fault_mode mode[] = {FAULT_LOST_EARLY, FAULT_LOST};

	for (int i = 0; i < 2; i++) {
		struct fault_store fault;
		struct repository r;
		struct world w;

		world_init(&w);
		world_open(&w);
		fault_store_init(&fault, w.store);
		fault.mode = mode[i];
		fault.at = 3;
		r = *w.repository;
		r.store = &fault.store;
		cr_assert_eq(record_put(&r, "a/1/tombs/x", "tomb", bytes_of_text("a b\n"), &w.why),
			     expected[i]);
		world_release(&w);
	}
}

Test(repository, cluster_names_are_narrow)
{
	static const char *const good[] = {"a", "main", "db-1_x", "9"};
	static const char *const bad[] = {
		"",
		"-a",
		"_a",
		"A",
		"a.b",
		"a/b",
		"a b",
		"docs",
		"keys",
		"probe",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		cr_assert(cluster_is_name(good[i]), "%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert(!cluster_is_name(bad[i]), "%s", bad[i]);
}

Test(repository, identity_is_written_once_and_then_compared)
{
	struct identity id = {.server_version = 150020,
			      .wal_segment_bytes = 16 << 20,
			      .block_bytes = 8192,
			      .data_checksums = 1,
			      .data_directory = "/var/lib/postgresql/15/main"};
	struct identity read;
	struct cluster c;
	struct world w;

	world_init(&w);
	world_open(&w);
	cluster_init(&c, w.repository, "main", UINT64_MAX);
	cr_assert_str_eq(c.prefix, "main/18446744073709551615/");
	cr_assert_eq(identity_read(&c, &read, &w.why), ERR_MISSING);
	cr_assert_eq(identity_ensure(&c, &id, &w.why), ERR_NONE);
	cr_assert_eq(identity_read(&c, &read, &w.why), ERR_NONE);
	cr_assert_eq(read.server_version, 150020);
	cr_assert_eq(read.wal_segment_bytes, 16 << 20);
	cr_assert_eq(read.block_bytes, 8192);
	cr_assert_eq(read.data_checksums, 1);
	cr_assert_str_eq(read.data_directory, id.data_directory);
	id.server_version = 150021;
	cr_assert_eq(identity_ensure(&c, &id, &w.why), ERR_NONE);
	id.wal_segment_bytes = 1 << 20;
	cr_assert_eq(identity_ensure(&c, &id, &w.why), ERR_CONFIG);
	cr_assert_not_null(strstr(w.why.text, "main"), "%s", w.why.text);
	cr_assert_not_null(strstr(w.why.text, "1048576"), "%s", w.why.text);
	world_release(&w);
}

static enum err note_cluster(void *ctx, const char *name, uint64_t system, struct error *why)
{
	char *text = ctx;
	size_t used = strlen(text);

	(void)why;
	(void)snprintf(text + used, 256 - used, "%s:%llu ", name, (unsigned long long)system);
	return ERR_NONE;
}

Test(repository, clusters_are_listed_by_name_and_then_by_identifier)
{
	static const struct {
		const char *name;
		uint64_t system;
	} made[] = {{"b", 10}, {"a", 12}, {"a-x", 5}, {"b", 9}};
	struct identity id = {.wal_segment_bytes = 1 << 20, .block_bytes = 8192};
	char text[256] = "";
	struct cluster c;
	struct world w;

	world_init(&w);
	world_open(&w);
	for (size_t i = 0; i < sizeof(made) / sizeof(*made); i++) {
		cluster_init(&c, w.repository, made[i].name, made[i].system);
		cr_assert_eq(identity_ensure(&c, &id, &w.why), ERR_NONE);
	}
	/* No identity, no cluster; nor what only looks like one. */
	cr_assert_eq(store_put(w.store, "c/1/wal/x", bytes_of_text("x"), &w.why), ERR_NONE);
	cr_assert_eq(store_put(w.store, "docs/1/identity", bytes_of_text("x"), &w.why), ERR_NONE);
	cr_assert_eq(store_put(w.store, "d/x/identity", bytes_of_text("x"), &w.why), ERR_NONE);
	cr_assert_eq(store_put(w.store, "b/010/identity", bytes_of_text("x"), &w.why), ERR_NONE);
	cr_assert_eq(store_put(w.store, "e", bytes_of_text("x"), &w.why), ERR_NONE);
	cr_assert_eq(clusters_list(w.repository, note_cluster, text, &w.why), ERR_NONE);
	cr_assert_str_eq(text, "a:12 a-x:5 b:9 b:10 ");
	world_release(&w);
}
