/* The formulas of lib/repo/FORMAT.md, sections 2 to 6, against tests/golden/format-v1.txt, which was
 * computed without any code of pgagent (tests/golden/make_vectors.py).
 */
#include "base/text.h"
#include "golden.h"
#include "repo/attempt.h"
#include "repo/lines.h"
#include "repo/object.h"
#include "store/memory/memory.h"

enum { HEX_MAX = 32768 };

/* Random bytes are the vector's salt, the time is the vector's. */
struct fixed {
	struct random random;
	struct clock clock;
	struct env env;
	struct store *store;
	struct bytes vectors;
	uint8_t salt[32];
	struct repository repository;
	struct error why;
};

static enum err fixed_fill(struct random *random, void *out, size_t len, struct error *why)
{
	struct fixed *f = (struct fixed *)random;

	(void)why;
	cr_assert_eq(len, sizeof(f->salt));
	memcpy(out, f->salt, len);
	return ERR_NONE;
}

static int64_t fixed_now_us(struct clock *clock)
{
	(void)clock;
	return INT64_C(1795442700) * 1000000;
}

static void text_of(const struct fixed *f, const char *name, char *out, size_t len)
{
	cr_assert(lines_get(f->vectors, name, out, len), "no vector %s", name);
}

static struct bytes hex_of(const struct fixed *f, const char *name)
{
	char *text = (char *)golden_new(HEX_MAX);
	uint8_t *out = golden_new(HEX_MAX);

	text_of(f, name, text, HEX_MAX);
	cr_assert(text_to_hex(bytes_of_text(text), out, strlen(text) / 2), "%s", name);
	return bytes_of(out, strlen(text) / 2);
}

static void assert_is(const struct fixed *f, const char *name, struct bytes found)
{
	struct bytes expected = hex_of(f, name);

	cr_assert_eq(found.len, expected.len, "%s: %zu bytes", name, found.len);
	for (size_t i = 0; i < found.len; i++)
		cr_assert_eq(found.data[i], expected.data[i], "%s: byte %zu", name, i);
}

static void fixed_init(struct fixed *f, enum encryption encryption)
{
	static const struct random_ops random_ops = {.fill = fixed_fill};
	static struct clock_ops clock_ops = {.now_us = fixed_now_us};

	memset(f, 0, sizeof(*f));
	f->random.ops = &random_ops;
	f->clock.ops = &clock_ops;
	f->env = env_os();
	f->env.random = &f->random;
	f->env.clock = &f->clock;
	f->vectors = golden_view(golden_read("tests/golden/format-v1.txt"));
	memcpy(f->salt, hex_of(f, "salt").data, sizeof(f->salt));
	cr_assert_eq(store_memory_open(&f->env, &f->store, &f->why), ERR_NONE);
	cr_assert_eq(store_put(f->store, "keys/clear", hex_of(f, "slot-clear"), &f->why), ERR_NONE);
	f->repository = (struct repository){
		.env = &f->env,
		.store = f->store,
		.encryption = encryption,
		.tag_kind = encryption == ENCRYPTION_NONE ? PAGE_TAG_HMAC : PAGE_TAG_GMAC};
	cr_assert_eq(keyring_open(f->store, NULL, &f->repository.keyring, NULL, &f->why), ERR_NONE,
		     "%s", f->why.text);
	memcpy(f->repository.id, hex_of(f, "repository-id").data, REPOSITORY_ID_BYTES);
	cr_assert_eq(keyring_clear_key(f->repository.keyring, f->repository.clear_key, &f->why),
		     ERR_NONE);
}

static void fixed_release(struct fixed *f)
{
	keyring_free(f->repository.keyring);
	store_close(f->store);
}

Test(vectors, names_of_attempts)
{
	struct attempt attempt;
	char text[64], again[ATTEMPT_TEXT_MAX];
	struct fixed f;

	fixed_init(&f, ENCRYPTION_NONE);
	text_of(&f, "attempt", text, sizeof(text));
	cr_assert(attempt_from_text(text, &attempt));
	assert_is(&f, "attempt-binary", bytes_of(attempt.id, ATTEMPT_BYTES));
	attempt_to_text(&attempt, again);
	cr_assert_str_eq(again, text);
	fixed_release(&f);
}

Test(vectors, derived_keys)
{
	static const char *const class[] = {"data", "meta", "wal"};
	static const uint32_t epoch[] = {1, 258};
	uint8_t key[CRYPTO_KEY_BYTES];
	struct fixed f;
	char name[32];

	fixed_init(&f, ENCRYPTION_NONE);
	cr_assert_eq(memcmp(keyring_repository_id(f.repository.keyring), f.repository.id,
			    REPOSITORY_ID_BYTES),
		     0);
	cr_assert_eq(keyring_epoch(f.repository.keyring), 258);
	cr_assert_eq(keyring_tag_key(f.repository.keyring, key, &f.why), ERR_NONE);
	assert_is(&f, "k-tag", bytes_of(key, sizeof(key)));
	cr_assert_eq(keyring_clear_key(f.repository.keyring, key, &f.why), ERR_NONE);
	assert_is(&f, "k-clear", bytes_of(key, sizeof(key)));
	for (int c = KEY_CLASS_DATA; c <= KEY_CLASS_WAL; c++) {
		for (int e = 0; e < 2; e++) {
			cr_assert_eq(keyring_class_key(f.repository.keyring, (enum key_class)c,
						       epoch[e], key, &f.why),
				     ERR_NONE);
			(void)snprintf(name, sizeof(name), "k-%s-%u", class[c], epoch[e]);
			assert_is(&f, name, bytes_of(key, sizeof(key)));
		}
	}
	fixed_release(&f);
}

static void assert_slot(struct fixed *f, const char *name, const char *vector,
			const struct key_secret *secret)
{
	struct keyring *opened = NULL;
	char key[128], slot[SLOT_NAME_MAX];
	uint8_t *data;
	size_t len = 0;

	cr_assert_eq(
		keyring_put_slot(f->repository.keyring, &f->env, f->store, name, secret, &f->why),
		ERR_NONE, "%s", f->why.text);
	(void)snprintf(key, sizeof(key), "keys/%s", name);
	data = store_memory_peek(f->store, key, &len);
	assert_is(f, vector, bytes_of(data, len));
	cr_assert_eq(keyring_open(f->store, secret, &opened, slot, &f->why), ERR_NONE, "%s",
		     f->why.text);
	cr_assert_str_eq(slot, name);
	keyring_free(opened);
}

Test(vectors, slots_of_every_type)
{
	struct key_secret file, recovery, phrase;
	struct fixed f;
	struct bytes hex;
	char text[256];

	fixed_init(&f, ENCRYPTION_NONE);
	cr_assert_eq(store_remove(f.store, "keys/clear", &f.why), ERR_NONE);
	assert_slot(&f, "clear", "slot-clear", NULL);

	text_of(&f, "key-file-secret", text, sizeof(text));
	cr_assert_eq(key_secret_from_text(SLOT_KEY_FILE, bytes_of_text(text), &file, &f.why),
		     ERR_NONE);
	assert_slot(&f, "primary", "slot-key-file", &file);

	text_of(&f, "passphrase", text, sizeof(text));
	cr_assert_eq(key_secret_from_text(SLOT_PASSPHRASE, bytes_of_text(text), &phrase, &f.why),
		     ERR_NONE);
	assert_slot(&f, "people", "slot-passphrase", &phrase);

	text_of(&f, "recovery-code", text, sizeof(text));
	cr_assert_eq(key_secret_from_text(SLOT_RECOVERY, bytes_of_text(text), &recovery, &f.why),
		     ERR_NONE, "%s", f.why.text);
	hex = hex_of(&f, "recovery-secret");
	cr_assert_eq(recovery.material.len, hex.len);
	cr_assert_eq(memcmp(recovery.material.data, hex.data, hex.len), 0);
	assert_slot(&f, "recovery", "slot-recovery", &recovery);
	fixed_release(&f);
}

Test(vectors, clear_records)
{
	char key[STORE_KEY_MAX], type[32];
	struct writer body;
	struct fixed f;
	uint8_t *data;
	size_t len = 0;

	fixed_init(&f, ENCRYPTION_NONE);
	text_of(&f, "record-key", key, sizeof(key));
	text_of(&f, "record-type", type, sizeof(type));
	cr_assert_eq(record_put(&f.repository, key, type, hex_of(&f, "record-body"), &f.why),
		     ERR_NONE);
	data = store_memory_peek(f.store, key, &len);
	assert_is(&f, "record", bytes_of(data, len));
	writer_init(&body, RECORD_BYTES_MAX);
	cr_assert_eq(record_get(&f.repository, key, type, &body, &f.why), ERR_NONE);
	assert_is(&f, "record-body", writer_view(&body));
	writer_release(&body);
	fixed_release(&f);
}

Test(vectors, page_tags)
{
	static const size_t len[] = {8192, 100};
	uint8_t page[8192], tag[CRYPTO_TAG_BYTES], key[CRYPTO_KEY_BYTES];
	struct fixed f;
	char name[32];

	fixed_init(&f, ENCRYPTION_NONE);
	for (size_t i = 0; i < sizeof(page); i++)
		page[i] = (uint8_t)(i * 7 % 251);
	cr_assert_eq(keyring_tag_key(f.repository.keyring, key, &f.why), ERR_NONE);
	for (int kind = PAGE_TAG_GMAC; kind <= PAGE_TAG_HMAC; kind++) {
		struct page_tagger *tagger = NULL;

		cr_assert_eq(page_tagger_new((enum page_tag_kind)kind, key, &tagger, &f.why),
			     ERR_NONE);
		for (int i = 0; i < 2; i++) {
			cr_assert_eq(page_tag(tagger, bytes_of(page, len[i]), tag, &f.why),
				     ERR_NONE);
			(void)snprintf(name, sizeof(name), "page-tag-%s-%zu",
				       kind == PAGE_TAG_GMAC ? "gmac" : "hmac", len[i]);
			assert_is(&f, name, bytes_of(tag, sizeof(tag)));
		}
		page_tagger_free(tagger);
	}
	fixed_release(&f);
}

static const enum frame_class frame_class_of[] = {FRAME_PAGES, FRAME_SHARD, FRAME_PAGES};

static void assert_written(struct fixed *f, const char *key, enum object_class class,
			   const char *vector)
{
	struct bytes payload = hex_of(f, "frame-0-payload");
	struct object_writer *w = NULL;
	uint8_t *data;
	size_t len = 0;

	cr_assert_eq(object_begin(&f->repository, key, class, 0, &w, &f->why), ERR_NONE);
	cr_assert_eq(object_add(w, FRAME_PAGES, CODEC_ZSTD, payload, 600, NULL, &f->why), ERR_NONE);
	for (int i = 1; i < 3; i++) {
		struct bytes plain = hex_of(f, i == 1 ? "frame-1-plain" : "frame-2-plain");

		cr_assert_eq(object_add_plain(w, frame_class_of[i], NULL, plain, NULL, &f->why),
			     ERR_NONE);
	}
	cr_assert_eq(object_commit(w, NULL, NULL, &f->why), ERR_NONE);
	data = store_memory_peek(f->store, key, &len);
	assert_is(f, vector, bytes_of(data, len));
	cr_assert_eq(store_remove(f->store, key, &f->why), ERR_NONE);
}

static void assert_read(struct fixed *f, const char *key, enum object_class class,
			const char *vector)
{
	struct object_reader *o = NULL;
	const struct frame_entry *entry = NULL;
	struct bytes plain;
	size_t count = 0;
	char name[32];

	cr_assert_eq(store_put(f->store, key, hex_of(f, vector), &f->why), ERR_NONE);
	cr_assert_eq(object_reader_new(&f->repository, &o, &f->why), ERR_NONE);
	cr_assert_eq(object_open(o, key, class, &f->why), ERR_NONE, "%s", f->why.text);
	cr_assert_eq(object_directory(o, &entry, &count, NULL, &f->why), ERR_NONE, "%s",
		     f->why.text);
	cr_assert_eq(count, 3);
	for (size_t i = 0; i < 3; i++) {
		cr_assert_eq(entry[i].frame_class, frame_class_of[i]);
		cr_assert_eq(object_frame(o, frame_class_of[i], &entry[i].place, &plain, &f->why),
			     ERR_NONE, "%s", f->why.text);
		(void)snprintf(name, sizeof(name), "frame-%zu-plain", i);
		assert_is(f, name, plain);
	}
	object_reader_free(o);
}

static void assert_objects(enum encryption encryption, const char *suffix)
{
	static const struct {
		const char *name;
		enum object_class class;
	} object[] = {
		{"pack", OBJECT_PACK}, {"manifest", OBJECT_MANIFEST}, {"wal", OBJECT_WAL_SEGMENT}};
	struct fixed f;

	fixed_init(&f, encryption);
	for (size_t i = 0; i < 3; i++) {
		char vector[64], key_vector[64], key[STORE_KEY_MAX];

		(void)snprintf(vector, sizeof(vector), "%s-%s", object[i].name, suffix);
		(void)snprintf(key_vector, sizeof(key_vector), "%s-key", object[i].name);
		text_of(&f, key_vector, key, sizeof(key));
		assert_written(&f, key, object[i].class, vector);
		assert_read(&f, key, object[i].class, vector);
	}
	fixed_release(&f);
}

Test(vectors, encrypted_objects)
{
	assert_objects(ENCRYPTION_AES_256_GCM, "aes-256-gcm");
}

Test(vectors, objects_without_encryption)
{
	assert_objects(ENCRYPTION_NONE, "none");
}
