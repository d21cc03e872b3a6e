/* Facts about sealed objects, encrypted and not. */
#include "repo/object.h"
#include "fault_store.h"
#include "store/memory/memory.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>

enum { FRAMES = 4 };

struct world {
	struct env env;
	struct store *store;
	struct key_secret secret;
	struct repository *repository;
	struct error why;
};

static void world_init(struct world *w, enum encryption encryption)
{
	struct repository_init init = {.encryption = encryption, .slot_name = "primary"};
	struct writer text;

	memset(w, 0, sizeof(*w));
	w->env = env_os();
	writer_init(&text, 4096);
	cr_assert_eq(store_memory_open(&w->env, &w->store, &w->why), ERR_NONE);
	cr_assert_eq(key_secret_new(w->env.random, SLOT_KEY_FILE, &w->secret, &text, &w->why),
		     ERR_NONE);
	writer_release(&text);
	init.secret = encryption == ENCRYPTION_NONE ? NULL : &w->secret;
	cr_assert_eq(repository_init(&w->env, w->store, &init, &w->why), ERR_NONE, "%s",
		     w->why.text);
	cr_assert_eq(repository_open(&w->env, w->store, init.secret, &w->repository, &w->why),
		     ERR_NONE, "%s", w->why.text);
}

static void world_release(struct world *w)
{
	repository_close(w->repository);
	store_close(w->store);
}

/* Frame i: compressible, not compressible, one byte, compressible. */
static struct bytes content(unsigned i)
{
	static uint8_t data[FRAMES][600];
	static const size_t len[FRAMES] = {600, 100, 1, 333};

	for (size_t n = 0; n < len[i]; n++)
		data[i][n] = i == 1 ? (uint8_t)(n * n * 31 + n * 7 + 13) : (uint8_t)(i + n / 60);
	return bytes_of(data[i], len[i]);
}

static const enum frame_class class_of[FRAMES] = {FRAME_SUMMARY, FRAME_PACK_TABLE, FRAME_SECTION,
						  FRAME_PAGES};

static enum err write_object(const struct repository *r, const char *key, enum object_class class,
			     struct frame_place place[FRAMES], uint8_t *sha256, uint64_t *size,
			     struct error *why)
{
	struct object_writer *w = NULL;
	struct compressor *c = NULL;
	enum err e = compressor_new(1, FRAME_PLAIN_MAX, &c, why);

	if (e == ERR_NONE)
		e = object_begin(r, key, class, 0, &w, why);
	for (unsigned i = 0; i < FRAMES && e == ERR_NONE; i++)
		e = object_add_plain(w, class_of[i], c, content(i), &place[i], why);
	if (e == ERR_NONE)
		e = object_commit(w, sha256, size, why);
	else
		object_abandon(w);
	compressor_free(c);
	return e;
}

/* Everything that can be read of an object; the first failure. */
static enum err read_object(const struct repository *r, const char *key, enum object_class class,
			    struct error *why)
{
	struct object_reader *o = NULL;
	const struct frame_entry *entry = NULL;
	struct bytes plain;
	size_t count = 0;
	uint64_t size = 0;
	enum err e = object_reader_new(r, &o, why);

	if (e == ERR_NONE)
		e = object_open(o, key, class, why);
	if (e == ERR_NONE)
		e = object_first_frame(o, class_of[0], &plain, why);
	if (e == ERR_NONE)
		e = object_directory(o, &entry, &count, &size, why);
	if (e == ERR_NONE)
		cr_assert_eq(count, FRAMES);
	for (size_t i = 0; i < count && e == ERR_NONE; i++) {
		e = object_frame(o, class_of[i], &entry[i].place, &plain, why);
		if (e == ERR_NONE) {
			cr_assert_eq(plain.len, content((unsigned)i).len);
			cr_assert_eq(memcmp(plain.data, content((unsigned)i).data, plain.len), 0);
		}
	}
	object_reader_free(o);
	return e;
}

static enum encryption both[] = {ENCRYPTION_NONE, ENCRYPTION_AES_256_GCM};

ParameterizedTestParameters(object, comes_back_as_written)
{
	return cr_make_param_array(enum encryption, both, 2);
}

ParameterizedTest(enum encryption *encryption, object, comes_back_as_written)
{
	struct frame_place place[FRAMES];
	uint8_t sha256[CRYPTO_SHA256_BYTES], digest[CRYPTO_SHA256_BYTES];
	uint64_t size = 0;
	struct world w;
	uint8_t *data;
	size_t len;

	world_init(&w, *encryption);
	cr_assert_eq(write_object(w.repository, "a/1/backups/x", OBJECT_MANIFEST, place, sha256,
				  &size, &w.why),
		     ERR_NONE, "%s", w.why.text);
	data = store_memory_peek(w.store, "a/1/backups/x", &len);
	cr_assert_eq(len, size);
	cr_assert_eq(crypto_sha256(bytes_of(data, len), digest, &w.why), ERR_NONE);
	cr_assert_eq(memcmp(digest, sha256, sizeof(digest)), 0);
	cr_assert_eq(place[0].offset, OBJECT_HEADER_BYTES);
	cr_assert_lt(place[0].stored_len, 600, "compressed");
	cr_assert_eq(place[2].stored_len, 1);
	cr_assert_eq(read_object(w.repository, "a/1/backups/x", OBJECT_MANIFEST, &w.why), ERR_NONE,
		     "%s", w.why.text);
	world_release(&w);
}

ParameterizedTestParameters(object, every_flipped_byte_is_detected)
{
	return cr_make_param_array(enum encryption, both, 2);
}

ParameterizedTest(enum encryption *encryption, object, every_flipped_byte_is_detected)
{
	static const enum object_class class[] = {OBJECT_PACK, OBJECT_WAL_SEGMENT};
	struct frame_place place[FRAMES];
	struct world w;
	uint8_t *data;
	size_t len;

	world_init(&w, *encryption);
	for (size_t c = 0; c < 2; c++) {
		const char *key = c == 0 ? "a/1/pack" : "a/1/wal";

		cr_assert_eq(write_object(w.repository, key, class[c], place, NULL, NULL, &w.why),
			     ERR_NONE);
		data = store_memory_peek(w.store, key, &len);
		for (size_t i = 0; i < len; i++) {
			enum err e;

			data[i] ^= (uint8_t)(1U << i % 8);
			e = read_object(w.repository, key, class[c], &w.why);
			cr_assert(e == ERR_CORRUPT || e == ERR_WRONG_KEY, "byte %zu: %s", i,
				  error_kind_word(e));
			cr_assert_not_null(strstr(w.why.text, key), "byte %zu: %s", i, w.why.text);
			data[i] ^= (uint8_t)(1U << i % 8);
		}
		cr_assert_eq(read_object(w.repository, key, class[c], &w.why), ERR_NONE);
	}
	world_release(&w);
}

ParameterizedTestParameters(object, cut_or_lengthened_is_corrupt)
{
	return cr_make_param_array(enum encryption, both, 2);
}

ParameterizedTest(enum encryption *encryption, object, cut_or_lengthened_is_corrupt)
{
	struct frame_place place[FRAMES];
	struct world w;
	uint8_t *data, copy[4096] = {0};
	size_t len;

	world_init(&w, *encryption);
	cr_assert_eq(write_object(w.repository, "a/1/x", OBJECT_PACK, place, NULL, NULL, &w.why),
		     ERR_NONE);
	data = store_memory_peek(w.store, "a/1/x", &len);
	cr_assert_lt(len, sizeof(copy) - 40);
	memcpy(copy, data, len);
	for (size_t cut = 0; cut <= len + 40; cut++) {
		if (cut == len)
			continue;
		cr_assert_eq(store_remove(w.store, "a/1/x", &w.why), ERR_NONE);
		cr_assert_eq(store_put(w.store, "a/1/x", bytes_of(copy, cut), &w.why), ERR_NONE);
		cr_assert_eq(read_object(w.repository, "a/1/x", OBJECT_PACK, &w.why), ERR_CORRUPT,
			     "cut to %zu of %zu", cut, len);
		cr_assert_not_null(strstr(w.why.text, "a/1/x"), "%s", w.why.text);
	}
	world_release(&w);
}

ParameterizedTestParameters(object, in_the_place_of_another_is_corrupt)
{
	return cr_make_param_array(enum encryption, both, 2);
}

ParameterizedTest(enum encryption *encryption, object, in_the_place_of_another_is_corrupt)
{
	struct frame_place place[FRAMES], other_place[FRAMES];
	struct world w, stranger;
	uint8_t *data, *other, old[700];
	size_t len, frame_len;

	world_init(&w, *encryption);
	world_init(&stranger, *encryption);
	cr_assert_eq(write_object(w.repository, "a/1/x", OBJECT_PACK, place, NULL, NULL, &w.why),
		     ERR_NONE);
	cr_assert_eq(
		write_object(w.repository, "a/1/y", OBJECT_PACK, other_place, NULL, NULL, &w.why),
		ERR_NONE);

	/* A whole object under another key. */
	data = store_memory_peek(w.store, "a/1/x", &len);
	cr_assert_eq(store_put(w.store, "a/1/z", bytes_of(data, len), &w.why), ERR_NONE);
	cr_assert_eq(read_object(w.repository, "a/1/z", OBJECT_PACK, &w.why), ERR_CORRUPT);
	cr_assert_not_null(strstr(w.why.text, "another key"), "%s", w.why.text);
	/* Of another class. */
	cr_assert_eq(read_object(w.repository, "a/1/x", OBJECT_MANIFEST, &w.why), ERR_CORRUPT);
	cr_assert_not_null(strstr(w.why.text, "another class"), "%s", w.why.text);
	/* Of another repository. */
	cr_assert_eq(store_put(stranger.store, "a/1/x", bytes_of(data, len), &w.why), ERR_NONE);
	cr_assert_eq(read_object(stranger.repository, "a/1/x", OBJECT_PACK, &w.why), ERR_CORRUPT);
	cr_assert_not_null(strstr(w.why.text, "another repository"), "%s", w.why.text);

	/* The same frame of another object. */
	data = store_memory_peek(w.store, "a/1/x", &len);
	other = store_memory_peek(w.store, "a/1/y", &len);
	frame_len = place[0].stored_len + (size_t)FRAME_OVERHEAD_BYTES;
	memcpy(old, data + place[0].offset, frame_len);
	memcpy(data + place[0].offset, other + other_place[0].offset, frame_len);
	cr_assert_eq(read_object(w.repository, "a/1/x", OBJECT_PACK, &w.why), ERR_CORRUPT);
	cr_assert_not_null(strstr(w.why.text, "frame 0"), "%s", w.why.text);
	memcpy(data + place[0].offset, old, frame_len);
	cr_assert_eq(read_object(w.repository, "a/1/x", OBJECT_PACK, &w.why), ERR_NONE);
	world_release(&w);
	world_release(&stranger);
}

ParameterizedTestParameters(object, two_frames_of_one_length_cannot_be_swapped)
{
	return cr_make_param_array(enum encryption, both, 2);
}

ParameterizedTest(enum encryption *encryption, object, two_frames_of_one_length_cannot_be_swapped)
{
	struct frame_place place[2];
	struct object_writer *writer = NULL;
	struct object_reader *o = NULL;
	struct bytes plain;
	uint8_t text[2][8] = {"frame-A", "frame-B"}, *data, a[64], b[64];
	size_t len;
	struct world w;

	world_init(&w, *encryption);
	cr_assert_eq(object_begin(w.repository, "a/1/x", OBJECT_PACK, 0, &writer, &w.why),
		     ERR_NONE);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(object_add_plain(writer, FRAME_PAGES, NULL, bytes_of(text[i], 8),
					      &place[i], &w.why),
			     ERR_NONE);
	cr_assert_eq(object_frames(writer), 2);
	cr_assert_eq(object_commit(writer, NULL, NULL, &w.why), ERR_NONE);
	data = store_memory_peek(w.store, "a/1/x", &len);
	memcpy(a, data + place[0].offset, 56);
	memcpy(b, data + place[1].offset, 56);
	memcpy(data + place[0].offset, b, 56);
	memcpy(data + place[1].offset, a, 56);
	cr_assert_eq(object_reader_new(w.repository, &o, &w.why), ERR_NONE);
	cr_assert_eq(object_open(o, "a/1/x", OBJECT_PACK, &w.why), ERR_NONE);
	for (int i = 0; i < 2; i++) {
		/* As it lies, and when the reference was changed with it. */
		struct frame_place moved = {.ordinal = place[1 - i].ordinal,
					    .offset = place[i].offset,
					    .stored_len = 8,
					    .plain_len = 8};

		cr_assert_eq(object_frame(o, FRAME_PAGES, &place[i], &plain, &w.why), ERR_CORRUPT);
		cr_assert_not_null(strstr(w.why.text, "another frame"), "%s", w.why.text);
		cr_assert_eq(object_frame(o, FRAME_SHARD, &moved, &plain, &w.why), ERR_CORRUPT);
		/* The directory is what says where an ordinal lies; a moved frame is still itself. */
		cr_assert_eq(object_frame(o, FRAME_PAGES, &moved, &plain, &w.why), ERR_NONE);
		cr_assert_eq(memcmp(plain.data, text[1 - i], 8), 0);
	}
	object_reader_free(o);
	world_release(&w);
}

Test(object, a_reference_out_of_bounds_is_corrupt_before_anything_is_read)
{
	static const struct frame_place bad[] = {
		{0, 128, 0, 1},
		{0, 128, 1, 0},
		{0, 128, 2, 1},
		{0, 128, UINT32_MAX, UINT32_MAX},
		{0, 128, 1, 1 + FRAME_PLAIN_MAX},
		{UINT32_MAX, 128, 1, 1},
		{0, 127, 1, 1},
		{0, UINT64_MAX - 20, 1, 1},
	};
	struct frame_place place[FRAMES];
	struct object_reader *o = NULL;
	struct bytes plain;
	struct fault_store fault;
	struct repository r;
	struct world w;
	unsigned calls;

	world_init(&w, ENCRYPTION_AES_256_GCM);
	cr_assert_eq(write_object(w.repository, "a/1/x", OBJECT_PACK, place, NULL, NULL, &w.why),
		     ERR_NONE);
	fault_store_init(&fault, w.store);
	r = *w.repository;
	r.store = &fault.store;
	cr_assert_eq(object_reader_new(&r, &o, &w.why), ERR_NONE);
	cr_assert_eq(object_open(o, "a/1/x", OBJECT_PACK, &w.why), ERR_NONE);
	calls = fault.calls;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		cr_assert_eq(object_frame(o, FRAME_PAGES, &bad[i], &plain, &w.why), ERR_CORRUPT,
			     "case %zu", i);
		cr_assert_not_null(strstr(w.why.text, "a/1/x"));
	}
	cr_assert_eq(fault.calls, calls);
	object_reader_free(o);
	world_release(&w);
}

Test(object, another_key_set_is_a_wrong_key)
{
	struct frame_place place[FRAMES];
	struct keyring *other = NULL;
	struct repository r;
	struct world w;

	world_init(&w, ENCRYPTION_AES_256_GCM);
	cr_assert_eq(write_object(w.repository, "a/1/x", OBJECT_PACK, place, NULL, NULL, &w.why),
		     ERR_NONE);
	cr_assert_eq(keyring_new(w.env.random, w.repository->id, &other, &w.why), ERR_NONE);
	r = *w.repository;
	r.keyring = other;
	cr_assert_eq(read_object(&r, "a/1/x", OBJECT_PACK, &w.why), ERR_WRONG_KEY);
	cr_assert_not_null(strstr(w.why.text, "a/1/x"), "%s", w.why.text);
	cr_assert_not_null(strstr(w.why.hint, "pgagent key list"));
	keyring_free(other);
	world_release(&w);
}

Test(object, an_absent_one_is_missing)
{
	struct world w;

	world_init(&w, ENCRYPTION_AES_256_GCM);
	cr_assert_eq(read_object(w.repository, "a/1/x", OBJECT_PACK, &w.why), ERR_MISSING);
	cr_assert_eq(read_object(w.repository, "a/1/x", OBJECT_MANIFEST, &w.why), ERR_MISSING);
	world_release(&w);
}

Test(object, opened_ones_are_opened_again_without_a_request)
{
	enum { KEPT = 64 };
	static struct frame_place place[KEPT + 1][FRAMES];
	struct object_reader *o = NULL;
	struct fault_store fault;
	struct repository r;
	struct bytes plain;
	struct world w;
	char key[KEPT + 1][16];

	world_init(&w, ENCRYPTION_AES_256_GCM);
	fault_store_init(&fault, w.store);
	r = *w.repository;
	r.store = &fault.store;
	cr_assert_eq(object_reader_new(&r, &o, &w.why), ERR_NONE);
	for (unsigned i = 0; i <= KEPT; i++) {
		(void)snprintf(key[i], sizeof(key[i]), "a/1/%u", i);
		cr_assert_eq(write_object(w.repository, key[i], OBJECT_PACK, place[i], NULL, NULL,
					  &w.why),
			     ERR_NONE);
	}
	for (unsigned i = 0; i < KEPT; i++)
		cr_assert_eq(object_open(o, key[i], OBJECT_PACK, &w.why), ERR_NONE);
	cr_assert_eq(fault.calls, KEPT);
	for (unsigned i = 0; i < KEPT; i++) {
		cr_assert_eq(object_open(o, key[i], OBJECT_PACK, &w.why), ERR_NONE);
		cr_assert_eq(fault.calls, KEPT + i);
		cr_assert_eq(object_frame(o, class_of[1], &place[i][1], &plain, &w.why), ERR_NONE);
		cr_assert_eq(memcmp(plain.data, content(1).data, plain.len), 0);
	}
	/* One more takes the place of the one used longest ago. */
	cr_assert_eq(object_open(o, key[KEPT], OBJECT_PACK, &w.why), ERR_NONE);
	cr_assert_eq(fault.calls, 2 * KEPT + 1);
	cr_assert_eq(object_open(o, key[1], OBJECT_PACK, &w.why), ERR_NONE);
	cr_assert_eq(fault.calls, 2 * KEPT + 1);
	cr_assert_eq(object_open(o, key[0], OBJECT_PACK, &w.why), ERR_NONE);
	cr_assert_eq(fault.calls, 2 * KEPT + 2);
	/* Asking for another class of a kept one still looks. */
	cr_assert_eq(object_open(o, key[0], OBJECT_MANIFEST, &w.why), ERR_CORRUPT);
	object_reader_free(o);
	world_release(&w);
}

Test(object, the_first_frame_costs_two_requests_with_the_header)
{
	struct frame_place place[FRAMES];
	struct object_reader *o = NULL;
	struct fault_store fault;
	struct repository r;
	struct bytes plain;
	struct world w;

	world_init(&w, ENCRYPTION_AES_256_GCM);
	cr_assert_eq(
		write_object(w.repository, "a/1/x", OBJECT_MANIFEST, place, NULL, NULL, &w.why),
		ERR_NONE);
	fault_store_init(&fault, w.store);
	r = *w.repository;
	r.store = &fault.store;
	cr_assert_eq(object_reader_new(&r, &o, &w.why), ERR_NONE);
	cr_assert_eq(object_open(o, "a/1/x", OBJECT_MANIFEST, &w.why), ERR_NONE);
	cr_assert_eq(object_first_frame(o, FRAME_SUMMARY, &plain, &w.why), ERR_NONE);
	cr_assert_eq(plain.len, 600);
	cr_assert_eq(fault.calls, 2);
	object_reader_free(o);
	world_release(&w);
}

Test(object, frames_read_by_the_caller_open_under_the_opened_object)
{
	struct frame_place place[FRAMES];
	struct object_reader *o = NULL;
	struct bytes plain;
	struct world w;
	uint8_t *data;
	size_t len;

	world_init(&w, ENCRYPTION_AES_256_GCM);
	cr_assert_eq(write_object(w.repository, "a/1/x", OBJECT_PACK, place, NULL, NULL, &w.why),
		     ERR_NONE);
	data = store_memory_peek(w.store, "a/1/x", &len);
	cr_assert_eq(object_reader_new(w.repository, &o, &w.why), ERR_NONE);
	cr_assert_eq(object_open(o, "a/1/x", OBJECT_PACK, &w.why), ERR_NONE);
	for (unsigned i = FRAMES; i-- > 0;) {
		size_t frame_len = place[i].stored_len + (size_t)FRAME_OVERHEAD_BYTES;

		cr_assert_eq(object_frame_from(o, class_of[i], &place[i],
					       bytes_of(data + place[i].offset, frame_len), &plain,
					       &w.why),
			     ERR_NONE, "%s", w.why.text);
		cr_assert_eq(memcmp(plain.data, content(i).data, content(i).len), 0);
		cr_assert_eq(object_frame_from(o, class_of[i], &place[i],
					       bytes_of(data + place[i].offset, frame_len - 1),
					       &plain, &w.why),
			     ERR_CORRUPT);
	}
	object_reader_free(o);
	world_release(&w);
}

Test(object, of_many_megabytes_comes_back_and_its_appends_are_large)
{
	enum { BIG = 12 };
	struct frame_place place[BIG];
	struct object_writer *writer = NULL;
	struct object_reader *o = NULL;
	struct fault_store fault;
	struct repository r;
	struct bytes plain;
	struct world w;
	uint8_t *big = malloc(FRAME_PLAIN_MAX);

	world_init(&w, ENCRYPTION_AES_256_GCM);
	fault_store_init(&fault, w.store);
	r = *w.repository;
	r.store = &fault.store;
	cr_assert_eq(object_begin(&r, "a/1/x", OBJECT_PACK, 0, &writer, &w.why), ERR_NONE);
	for (int i = 0; i < BIG; i++) {
		memset(big, i, FRAME_PLAIN_MAX);
		cr_assert_eq(object_add_plain(writer, FRAME_SECTION, NULL,
					      bytes_of(big, i % 2 == 0 ? FRAME_PLAIN_MAX : 1000),
					      &place[i], &w.why),
			     ERR_NONE);
	}
	cr_assert_eq(object_commit(writer, NULL, NULL, &w.why), ERR_NONE);
	cr_assert_leq(fault.calls, 1 + 6 + 1 + 1, "begin, appends, commit");
	cr_assert_eq(object_reader_new(&r, &o, &w.why), ERR_NONE);
	cr_assert_eq(object_open(o, "a/1/x", OBJECT_PACK, &w.why), ERR_NONE);
	for (int i = 0; i < BIG; i++) {
		memset(big, i, FRAME_PLAIN_MAX);
		cr_assert_eq(object_frame(o, FRAME_SECTION, &place[i], &plain, &w.why), ERR_NONE);
		cr_assert_eq(memcmp(plain.data, big, plain.len), 0);
	}
	object_reader_free(o);
	free(big);
	world_release(&w);
}

Test(object, one_frame_too_many_is_a_limit_and_the_rest_can_be_committed)
{
	struct object_writer *writer = NULL;
	struct object_reader *o = NULL;
	const struct frame_entry *entry = NULL;
	struct frame_place last = {0};
	size_t count = 0;
	struct world w;

	world_init(&w, ENCRYPTION_AES_256_GCM);
	cr_assert_eq(object_begin(w.repository, "a/1/x", OBJECT_PACK, 0, &writer, &w.why),
		     ERR_NONE);
	for (int i = 0; i < OBJECT_FRAMES_MAX; i++)
		cr_assert_eq(object_add(writer, FRAME_PAGES, CODEC_STORED, bytes_of("x", 1), 1,
					&last, &w.why),
			     ERR_NONE);
	cr_assert_eq(
		object_add(writer, FRAME_PAGES, CODEC_STORED, bytes_of("x", 1), 1, NULL, &w.why),
		ERR_LIMIT);
	cr_assert_eq(object_commit(writer, NULL, NULL, &w.why), ERR_NONE);
	cr_assert_eq(object_reader_new(w.repository, &o, &w.why), ERR_NONE);
	cr_assert_eq(object_open(o, "a/1/x", OBJECT_PACK, &w.why), ERR_NONE);
	cr_assert_eq(object_directory(o, &entry, &count, NULL, &w.why), ERR_NONE, "%s", w.why.text);
	cr_assert_eq(count, OBJECT_FRAMES_MAX);
	cr_assert_eq(entry[count - 1].place.offset, last.offset);
	object_reader_free(o);
	world_release(&w);
}

Test(object, any_failure_of_the_store_leaves_nothing_visible_until_none_is_left)
{
	struct frame_place place[FRAMES];
	struct store_object object;
	struct fault_store fault;
	struct repository r;
	struct world w;
	unsigned n;

	world_init(&w, ENCRYPTION_AES_256_GCM);
	r = *w.repository;
	r.store = &fault.store;
	for (n = 1; n < 100; n++) {
		enum err e;

		fault_store_init(&fault, w.store);
		fault.mode = FAULT_FAIL;
		fault.kind = ERR_FULL;
		fault.at = n;
		e = write_object(&r, "a/1/x", OBJECT_PACK, place, NULL, NULL, &w.why);
		if (e == ERR_NONE)
			break;
		cr_assert_eq(e, ERR_FULL, "call %u", n);
		cr_assert_eq(store_stat(w.store, "a/1/x", &object, &w.why), ERR_MISSING, "call %u",
			     n);
	}
	cr_assert_eq(n, 4, "begin, append, commit");
	cr_assert_eq(read_object(w.repository, "a/1/x", OBJECT_PACK, &w.why), ERR_NONE);
	world_release(&w);
}

Test(object, an_unsure_commit_is_settled_by_looking)
{
	struct frame_place place[FRAMES];
	struct fault_store fault;
	struct repository r;
	struct world w;

	world_init(&w, ENCRYPTION_AES_256_GCM);
	r = *w.repository;
	r.store = &fault.store;
	fault_store_init(&fault, w.store);
	fault.at = 3;
	fault.mode = FAULT_LOST_EARLY;
	cr_assert_eq(write_object(&r, "a/1/x", OBJECT_PACK, place, NULL, NULL, &w.why),
		     ERR_TRANSIENT);
	cr_assert_not_null(strstr(w.why.text, "a/1/x"), "%s", w.why.text);
	fault_store_init(&fault, w.store);
	fault.at = 3;
	fault.mode = FAULT_LOST;
	cr_assert_eq(write_object(&r, "a/1/x", OBJECT_PACK, place, NULL, NULL, &w.why), ERR_NONE);
	/* Somebody else's object of the same size: not ours. */
	fault_store_init(&fault, w.store);
	fault.at = 3;
	fault.mode = FAULT_LOST_EARLY;
	cr_assert_eq(write_object(&r, "a/1/x", OBJECT_PACK, place, NULL, NULL, &w.why), ERR_EXISTS);
	fault_store_init(&fault, w.store);
	cr_assert_eq(write_object(&r, "a/1/x", OBJECT_PACK, place, NULL, NULL, &w.why), ERR_EXISTS);
	world_release(&w);
}
