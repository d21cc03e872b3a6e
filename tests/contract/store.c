/* tests/contract/store.c - what every store driver promises, one list run against each of them. */
#include "scratch.h"
#include "store/memory/memory.h"
#include "store/posix/posix.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <pthread.h>
#include <string.h>

enum driver { MEMORY, POSIX, DRIVERS };

struct place {
	struct env env;
	struct scratch scratch;
	struct store *store;
};

static void place_open(struct place *p, const enum driver *driver)
{
	struct error why = {0};
	enum err err;

	p->env = env_os();
	p->scratch = scratch_open();
	err = *driver == MEMORY
		      ? store_memory_open(&p->env, &p->store, &why)
		      : store_posix_open(&p->env, p->scratch.path, false, &p->store, &why);
	cr_assert_eq(err, ERR_NONE, "%s", why.text);
}

static void place_close(struct place *p)
{
	store_close(p->store);
	scratch_close(&p->scratch);
}

#define PROMISE(name)                                                                              \
	static void check_##name(struct place *p);                                                 \
	ParameterizedTestParameters(store_contract, name)                                          \
	{                                                                                          \
		static enum driver drivers[] = {MEMORY, POSIX};                                    \
		return cr_make_param_array(enum driver, drivers, DRIVERS);                         \
	}                                                                                          \
	ParameterizedTest(enum driver *driver, store_contract, name)                               \
	{                                                                                          \
		struct place place;                                                                \
		place_open(&place, driver);                                                        \
		check_##name(&place);                                                              \
		place_close(&place);                                                               \
	}                                                                                          \
	static void check_##name(struct place *p)

static void put(struct place *p, const char *key, const char *content)
{
	struct error why = {0};

	cr_assert_eq(store_put(p->store, key, bytes_of_text(content), &why), ERR_NONE, "%s: %s",
		     key, why.text);
}

static void expect(struct place *p, const char *key, const char *content)
{
	struct error why = {0};
	uint8_t *data;
	size_t len;

	cr_assert_eq(store_get(p->store, key, 1000, &data, &len, &why), ERR_NONE, "%s: %s", key,
		     why.text);
	cr_assert_eq(len, strlen(content));
	cr_assert_str_eq((char *)data, content);
	free(data);
}

static void expect_missing(struct place *p, const char *key)
{
	struct store_object object;
	struct error why = {0};
	char byte;

	cr_assert_eq(store_stat(p->store, key, &object, &why), ERR_MISSING, "%s", key);
	cr_assert_not_null(strstr(why.text, key));
	cr_assert_eq(store_read(p->store, key, 0, &byte, 1, &why), ERR_MISSING, "%s", key);
	cr_assert_not_null(strstr(why.text, key));
}

PROMISE(what_is_put_is_read_back)
{
	uint8_t *data;
	size_t len;

	put(p, "FORMAT", "text");
	put(p, "a/b/c/d.e-f_G9", "deep");
	put(p, "empty", "");
	expect(p, "FORMAT", "text");
	expect(p, "a/b/c/d.e-f_G9", "deep");
	expect(p, "empty", "");
	/* Once more: what a driver keeps open must not be used up. */
	expect(p, "FORMAT", "text");
	cr_assert_eq(store_get(p->store, "FORMAT", 3, &data, &len, NULL), ERR_LIMIT);
}

PROMISE(stat_tells_size_and_time)
{
	struct store_object object = {0};
	int64_t before = clock_now_us(p->env.clock);

	put(p, "dir/name", "12345");
	cr_assert_eq(store_stat(p->store, "dir/name", &object, NULL), ERR_NONE);
	cr_assert_str_eq(object.key, "dir/name");
	cr_assert_eq(object.size, 5);
	/* File systems take their time from a clock that may be a tick behind. */
	cr_assert_geq(object.stored_at_us, before - 1000000);
	cr_assert_leq(object.stored_at_us, clock_now_us(p->env.clock) + 1000000);
}

PROMISE(ranges_are_exact_and_those_past_the_end_are_corrupt)
{
	struct error why = {0};
	char out[8] = {0};

	put(p, "name", "0123456789");
	cr_assert_eq(store_read(p->store, "name", 3, out, 4, &why), ERR_NONE);
	cr_assert_str_eq(out, "3456");
	cr_assert_eq(store_read(p->store, "name", 9, out, 1, &why), ERR_NONE);
	cr_assert_eq(out[0], '9');
	cr_assert_eq(store_read(p->store, "name", 10, out, 0, &why), ERR_NONE);
	cr_assert_eq(store_read(p->store, "name", 7, out, 4, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "name"));
	cr_assert_eq(store_read(p->store, "name", 10, out, 1, &why), ERR_CORRUPT);
	cr_assert_eq(store_read(p->store, "name", 11, out, 0, &why), ERR_CORRUPT);
	cr_assert_eq(store_read(p->store, "name", UINT64_MAX, out, 2, &why), ERR_CORRUPT);
	cr_assert_eq(store_read(p->store, "name", (uint64_t)INT64_MAX, out, 1, &why), ERR_CORRUPT);
}

PROMISE(what_is_not_there_is_missing)
{
	put(p, "dir/name", "x");
	expect_missing(p, "gone");
	expect_missing(p, "gone/deeper/still");
	expect_missing(p, "dir");
	expect_missing(p, "dir/name/deeper");
	expect_missing(p, "dir/nam");
}

PROMISE(a_taken_key_is_refused_and_left_alone)
{
	struct error why = {0};

	put(p, "dir/name", "first");
	cr_assert_eq(store_put(p->store, "dir/name", bytes_of_text("second"), &why), ERR_EXISTS);
	cr_assert_not_null(strstr(why.text, "dir/name"));
	expect(p, "dir/name", "first");
}

PROMISE(nothing_shows_before_commit_and_nothing_after_abandon)
{
	struct store_object object;
	struct upload *u;

	store_abandon(NULL);
	cr_assert_eq(store_begin(p->store, "dir/name", 0, &u, NULL), ERR_NONE);
	cr_assert_eq(store_append(u, bytes_of_text("one "), NULL), ERR_NONE);
	cr_assert_eq(store_append(u, bytes_of(NULL, 0), NULL), ERR_NONE);
	cr_assert_eq(store_append(u, bytes_of_text("two"), NULL), ERR_NONE);
	expect_missing(p, "dir/name");
	cr_assert_eq(store_commit(u, NULL), ERR_NONE);
	expect(p, "dir/name", "one two");

	cr_assert_eq(store_begin(p->store, "dir/other", 9, &u, NULL), ERR_NONE);
	cr_assert_eq(store_append(u, bytes_of_text("thrown away"), NULL), ERR_NONE);
	store_abandon(u);
	expect_missing(p, "dir/other");
	cr_assert_eq(store_stat(p->store, "dir/name", &object, NULL), ERR_NONE);
	put(p, "dir/other", "new");
	expect(p, "dir/other", "new");
}

struct racer {
	struct upload *upload;
	pthread_barrier_t *start;
	enum err err;
};

static void *race(void *arg)
{
	struct racer *racer = arg;

	(void)pthread_barrier_wait(racer->start);
	racer->err = store_commit(racer->upload, NULL);
	return NULL;
}

PROMISE(of_racing_commits_exactly_one_wins)
{
	enum { RACERS = 4, ROUNDS = 50 };

	cr_assert(p->store->traits.guards_keys);
	for (int round = 0; round < ROUNDS; round++) {
		struct racer racer[RACERS];
		pthread_t thread[RACERS];
		pthread_barrier_t start;
		char key[32];
		int winner = -1;

		(void)snprintf(key, sizeof(key), "race/%d", round);
		(void)pthread_barrier_init(&start, NULL, RACERS);
		for (int i = 0; i < RACERS; i++) {
			racer[i].start = &start;
			cr_assert_eq(store_begin(p->store, key, 1, &racer[i].upload, NULL),
				     ERR_NONE);
			cr_assert_eq(store_append(racer[i].upload, bytes_of("abcd" + i, 1), NULL),
				     ERR_NONE);
		}
		for (int i = 0; i < RACERS; i++)
			cr_assert_eq(pthread_create(&thread[i], NULL, race, &racer[i]), 0);
		for (int i = 0; i < RACERS; i++) {
			(void)pthread_join(thread[i], NULL);
			if (racer[i].err == ERR_NONE) {
				cr_assert_eq(winner, -1, "two winners");
				winner = i;
			} else {
				cr_assert_eq(racer[i].err, ERR_EXISTS);
			}
		}
		(void)pthread_barrier_destroy(&start);
		cr_assert_neq(winner, -1);
		expect(p, key, (char[]){(char)('a' + winner), '\0'});
	}
}

static enum err gather(void *ctx, const struct store_object *object, struct error *why)
{
	char *out = ctx;

	(void)why;
	(void)sprintf(out + strlen(out), "%s=%d ", object->key, (int)object->size);
	return ERR_NONE;
}

static void expect_list(struct place *p, const char *prefix, const char *expected)
{
	struct error why = {0};
	char out[1000] = "";

	cr_assert_eq(store_list(p->store, prefix, gather, out, &why), ERR_NONE, "%s", why.text);
	cr_assert_str_eq(out, expected, "\"%s\": %s, not %s", prefix, out, expected);
}

PROMISE(lists_are_in_the_order_of_bytes_and_prefixes_are_text)
{
	expect_list(p, "", "");
	put(p, "b", "1");
	put(p, "a/x", "22");
	put(p, "a.b", "333");
	put(p, "a-b", "4444");
	put(p, "a0", "55555");
	put(p, "a/x.y/z", "666666");
	put(p, "B", "");
	put(p, "a/X", "1");
	expect_list(p, "", "B=0 a-b=4 a.b=3 a/X=1 a/x=2 a/x.y/z=6 a0=5 b=1 ");
	expect_list(p, "a", "a-b=4 a.b=3 a/X=1 a/x=2 a/x.y/z=6 a0=5 ");
	expect_list(p, "a/", "a/X=1 a/x=2 a/x.y/z=6 ");
	expect_list(p, "a/x", "a/x=2 a/x.y/z=6 ");
	expect_list(p, "a/x.y/", "a/x.y/z=6 ");
	expect_list(p, "a/x.y/z", "a/x.y/z=6 ");
	expect_list(p, "a/x.y/z/", "");
	expect_list(p, "a/x.y/zz", "");
	expect_list(p, "c/d/e", "");
	expect_list(p, "b", "b=1 ");
}

static enum err stop(void *ctx, const struct store_object *object, struct error *why)
{
	if (++*(int *)ctx == 2)
		return error_set(why, ERR_CANCELLED, "enough at %s", object->key);
	return ERR_NONE;
}

PROMISE(an_error_of_the_visitor_ends_the_list)
{
	struct error why = {0};
	int seen = 0;

	put(p, "a/1", "");
	put(p, "a/2", "");
	put(p, "b", "");
	cr_assert_eq(store_list(p->store, "", stop, &seen, &why), ERR_CANCELLED);
	cr_assert_eq(seen, 2);
	cr_assert_str_eq(why.text, "enough at a/2");
}

static enum err gather_part(void *ctx, const char *name, struct error *why)
{
	char *out = ctx;

	(void)why;
	(void)sprintf(out + strlen(out), "%s ", name);
	return ERR_NONE;
}

static void expect_parts(struct place *p, const char *prefix, const char *expected)
{
	struct error why = {0};
	char out[1000] = "";

	cr_assert_eq(store_parts(p->store, prefix, gather_part, out, &why), ERR_NONE, "%s",
		     why.text);
	cr_assert_str_eq(out, expected, "\"%s\": %s, not %s", prefix, out, expected);
}

PROMISE(parts_are_the_next_names_each_once_in_the_order_of_bytes)
{
	expect_parts(p, "", "");
	expect_parts(p, "a/", "");
	put(p, "b", "1");
	put(p, "a/x/2", "");
	put(p, "a/x/1", "");
	put(p, "a/x.y/z", "");
	put(p, "a/x-y", "");
	put(p, "a/X/deep/deeper/still", "");
	put(p, "a.b", "");
	put(p, "a-b/1", "");
	put(p, "a0", "");
	put(p, "B/1", "");
	expect_parts(p, "", "B a a-b a.b a0 b ");
	expect_parts(p, "a/", "X x x-y x.y ");
	expect_parts(p, "a/x/", "1 2 ");
	expect_parts(p, "a/X/", "deep ");
	expect_parts(p, "a/X/deep/deeper/", "still ");
	expect_parts(p, "b/", "");
	expect_parts(p, "c/d/", "");
}

PROMISE(parts_whose_objects_were_all_removed_are_gone)
{
	put(p, "a/1/x/old", "");
	put(p, "a/2/x/old", "");
	put(p, "a/2/y/z/kept", "");
	put(p, "b/1/x", "");
	cr_assert_eq(store_remove(p->store, "a/1/x/old", NULL), ERR_NONE);
	cr_assert_eq(store_remove(p->store, "a/2/x/old", NULL), ERR_NONE);
	cr_assert_eq(store_remove(p->store, "b/1/x", NULL), ERR_NONE);
	expect_parts(p, "", "a ");
	expect_parts(p, "a/", "2 ");
	expect_parts(p, "a/2/", "y ");
	expect_parts(p, "b/", "");
	put(p, "b/1/x", "");
	expect_parts(p, "", "a b ");
}

PROMISE(parts_are_of_committed_objects_alone)
{
	struct upload *u;

	cr_assert_eq(store_begin(p->store, "a/b/name", 0, &u, NULL), ERR_NONE);
	cr_assert_eq(store_append(u, bytes_of_text("x"), NULL), ERR_NONE);
	expect_parts(p, "", "");
	expect_parts(p, "a/b/", "");
	cr_assert_eq(store_commit(u, NULL), ERR_NONE);
	expect_parts(p, "", "a ");
	expect_parts(p, "a/b/", "name ");
}

static enum err stop_part(void *ctx, const char *name, struct error *why)
{
	if (++*(int *)ctx == 2)
		return error_set(why, ERR_CANCELLED, "enough at %s", name);
	return ERR_NONE;
}

PROMISE(an_error_of_the_visitor_ends_the_parts)
{
	struct error why = {0};
	int seen = 0;

	put(p, "a/1", "");
	put(p, "b/1", "");
	put(p, "c/1", "");
	cr_assert_eq(store_parts(p->store, "", stop_part, &seen, &why), ERR_CANCELLED);
	cr_assert_eq(seen, 2);
	cr_assert_str_eq(why.text, "enough at b");
}

static enum err remove_part(void *ctx, const char *name, struct error *why)
{
	struct store_object object;
	char key[STORE_KEY_MAX];

	(void)snprintf(key, sizeof(key), "%.100s/1", name);
	cr_assert_eq(store_stat(ctx, key, &object, why), ERR_NONE);
	return store_remove(ctx, key, why);
}

PROMISE(a_visitor_of_parts_may_use_the_store)
{
	struct error why = {0};

	put(p, "a/1", "");
	put(p, "b/1", "");
	cr_assert_eq(store_parts(p->store, "", remove_part, p->store, &why), ERR_NONE, "%s",
		     why.text);
	expect_parts(p, "", "");
}

static enum err remove_it(void *ctx, const struct store_object *object, struct error *why)
{
	return store_remove(ctx, object->key, why);
}

PROMISE(what_is_removed_is_missing_and_its_key_is_free)
{
	put(p, "dir/name", "old");
	put(p, "dir/other", "x");
	expect(p, "dir/name", "old");
	cr_assert_eq(store_remove(p->store, "dir/name", NULL), ERR_NONE);
	expect_missing(p, "dir/name");
	cr_assert_eq(store_remove(p->store, "dir/name", NULL), ERR_NONE, "again");
	cr_assert_eq(store_remove(p->store, "never/was", NULL), ERR_NONE);
	cr_assert_eq(store_remove(p->store, "dir", NULL), ERR_NONE);
	expect_list(p, "", "dir/other=1 ");
	put(p, "dir/name", "new");
	expect(p, "dir/name", "new");
	cr_assert_eq(store_list(p->store, "", remove_it, p->store, NULL), ERR_NONE);
	expect_list(p, "", "");
}

PROMISE(what_is_no_key_is_refused)
{
	static const char *const bad[] = {"",     "/",    "a/",       "/a",       "a//b", ".",
					  "..",   "a/..", "../a",     ".tmp-1-x", "a/.b", "a b",
					  "a\nb", "a\\b", "\xc3\xa4", "a+b",      "a/./b"};
	static const char *const no_level[] = {"a", "a/b", "/", "../", "a//", "/etc/", ".tmp-1/"};
	struct store_object object;
	struct error why = {0};
	struct upload *u;
	char byte;
	char longest[STORE_KEY_MAX + 2];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert_eq(store_begin(p->store, bad[i], 0, &u, &why), ERR_CONFIG, "%s", bad[i]);
		cr_assert_not_null(strstr(why.text, bad[i]));
		cr_assert_eq(store_read(p->store, bad[i], 0, &byte, 1, NULL), ERR_CONFIG);
		cr_assert_eq(store_stat(p->store, bad[i], &object, NULL), ERR_CONFIG);
		cr_assert_eq(store_remove(p->store, bad[i], NULL), ERR_CONFIG);
	}
	cr_assert_eq(store_list(p->store, "..", stop, NULL, NULL), ERR_CONFIG);
	cr_assert_eq(store_list(p->store, "/etc", stop, NULL, NULL), ERR_CONFIG);
	for (size_t i = 0; i < sizeof(no_level) / sizeof(no_level[0]); i++) {
		cr_assert_eq(store_parts(p->store, no_level[i], stop_part, NULL, &why), ERR_CONFIG);
		cr_assert_not_null(strstr(why.text, no_level[i]));
	}
	for (int i = 0; i <= STORE_KEY_MAX; i++)
		longest[i] = i % 100 == 99 ? '/' : 'k';
	longest[STORE_KEY_MAX + 1] = '\0';
	cr_assert_eq(store_begin(p->store, longest, 0, &u, NULL), ERR_CONFIG);
	longest[STORE_KEY_MAX] = '\0';
	put(p, longest, "long");
	expect(p, longest, "long");
}

PROMISE(large_objects_come_in_pieces_and_are_read_in_ranges)
{
	enum { PIECE = 1 << 20, PIECES = 20 };
	uint8_t *piece = malloc(PIECE);
	struct store_object object;
	struct upload *u;

	cr_assert_eq(store_begin(p->store, "packs/1", (uint64_t)PIECE * PIECES, &u, NULL),
		     ERR_NONE);
	for (int i = 0; i < PIECES; i++) {
		memset(piece, i, PIECE);
		cr_assert_eq(store_append(u, bytes_of(piece, PIECE), NULL), ERR_NONE);
	}
	cr_assert_eq(store_commit(u, NULL), ERR_NONE);
	cr_assert_eq(store_stat(p->store, "packs/1", &object, NULL), ERR_NONE);
	cr_assert_eq(object.size, (uint64_t)PIECE * PIECES);
	for (int i = PIECES - 1; i > 0; i--) {
		cr_assert_eq(
			store_read(p->store, "packs/1", (uint64_t)i * PIECE - 1, piece, 2, NULL),
			ERR_NONE);
		cr_assert_eq(piece[0], i - 1);
		cr_assert_eq(piece[1], i);
	}
	free(piece);
}

enum { READERS = 4, OBJECTS = 40 };

static void *read_all(void *arg)
{
	struct store *store = arg;

	/* More objects than a driver keeps open, so that readers drive each other out. */
	for (unsigned i = 0; i < 4000; i++) {
		unsigned number = i * 7 % OBJECTS;
		char key[32];
		uint8_t got = 0;

		(void)snprintf(key, sizeof(key), "many/%u", number);
		if (store_read(store, key, 1, &got, 1, NULL) != ERR_NONE || got != number)
			return arg;
	}
	return NULL;
}

PROMISE(readers_do_not_disturb_each_other)
{
	pthread_t thread[READERS];
	void *failed;

	for (unsigned i = 0; i < OBJECTS; i++) {
		char key[32];

		(void)snprintf(key, sizeof(key), "many/%u", i);
		cr_assert_eq(
			store_put(p->store, key, bytes_of((uint8_t[]){0, (uint8_t)i}, 2), NULL),
			ERR_NONE);
	}
	for (int i = 0; i < READERS; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, read_all, p->store), 0);
	for (int i = 0; i < READERS; i++) {
		(void)pthread_join(thread[i], &failed);
		cr_assert_null(failed);
	}
}

PROMISE(passes_the_probe_and_keeps_nothing_of_it)
{
	struct error why = {0};

	put(p, "FORMAT", "kept");
	cr_assert_eq(store_probe(p->store, p->env.random, &why), ERR_NONE, "%s", why.text);
	cr_assert_eq(store_probe(p->store, p->env.random, &why), ERR_NONE, "%s", why.text);
	expect_list(p, "", "FORMAT=4 ");
}
