#include "store/memory/memory.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* A store that passes on to one in memory, but lies in one chosen way. */
enum lie {
	LIE_NONE,
	LIE_TAKES_TWICE,
	LIE_READS_WRONG,
	LIE_SIZE,
	LIE_FORGETS,
	LIE_LISTS_NOTHING,
	LIE_KEEPS_REMOVED,
	LIE_APPEND_FAILS,
};

struct liar {
	struct store store;
	struct store *inner;
	enum lie lie;
	unsigned abandoned;
	bool removed;
};

struct liar_upload {
	struct upload upload;
	struct liar *liar;
	struct upload *inner;
};

static enum err liar_begin(struct store *s, const char *key, uint64_t hint, struct upload **out,
			   struct error *why)
{
	struct liar *l = (struct liar *)s;
	struct liar_upload *u = calloc(1, sizeof(*u));
	enum err err = store_begin(l->inner, key, hint, &u->inner, why);

	cr_assert_eq(err, ERR_NONE);
	u->upload.ops = s->ops;
	u->liar = l;
	*out = &u->upload;
	return err;
}

static enum err liar_append(struct upload *upload, struct bytes in, struct error *why)
{
	struct liar_upload *u = (struct liar_upload *)upload;

	if (u->liar->lie == LIE_APPEND_FAILS)
		return error_set(why, ERR_FULL, "append");
	return store_append(u->inner, in, why);
}

static enum err liar_commit(struct upload *upload, struct error *why)
{
	struct liar_upload *u = (struct liar_upload *)upload;
	enum err err = store_commit(u->inner, why);

	if (u->liar->lie == LIE_TAKES_TWICE)
		err = ERR_NONE;
	free(u);
	return err;
}

static void liar_abandon(struct upload *upload)
{
	struct liar_upload *u = (struct liar_upload *)upload;

	u->liar->abandoned++;
	store_abandon(u->inner);
	free(u);
}

static enum err liar_read(struct store *s, const char *key, uint64_t offset, void *out, size_t len,
			  struct error *why)
{
	struct liar *l = (struct liar *)s;
	enum err err = store_read(l->inner, key, offset, out, len, why);

	if (l->lie == LIE_READS_WRONG && err == ERR_NONE)
		((uint8_t *)out)[len / 2] ^= 1;
	return err;
}

static enum err liar_stat(struct store *s, const char *key, struct store_object *out,
			  struct error *why)
{
	struct liar *l = (struct liar *)s;
	enum err err;

	if (l->lie == LIE_FORGETS)
		return error_set(why, ERR_MISSING, "forgotten");
	if (l->lie == LIE_KEEPS_REMOVED && l->removed) {
		*out = (struct store_object){.key = key};
		return ERR_NONE;
	}
	err = store_stat(l->inner, key, out, why);
	if (err == ERR_NONE && l->lie == LIE_SIZE)
		out->size--;
	return err;
}

static enum err liar_list(struct store *s, const char *prefix, store_visit *visit, void *ctx,
			  struct error *why)
{
	struct liar *l = (struct liar *)s;

	return l->lie == LIE_LISTS_NOTHING ? ERR_NONE
					   : store_list(l->inner, prefix, visit, ctx, why);
}

static enum err liar_parts(struct store *s, const char *prefix, store_part_visit *visit, void *ctx,
			   struct error *why)
{
	return store_parts(((struct liar *)s)->inner, prefix, visit, ctx, why);
}

static enum err liar_remove(struct store *s, const char *key, struct error *why)
{
	struct liar *l = (struct liar *)s;

	l->removed = true;
	return store_remove(l->inner, key, why);
}

static void liar_close(struct store *s)
{
	store_close(((struct liar *)s)->inner);
}

static const struct store_ops liar_ops = {
	.name = "liar",
	.begin = liar_begin,
	.append = liar_append,
	.commit = liar_commit,
	.abandon = liar_abandon,
	.read = liar_read,
	.stat = liar_stat,
	.list = liar_list,
	.parts = liar_parts,
	.remove = liar_remove,
	.close = liar_close,
};

static void liar_open(struct liar *l, struct env *env, enum lie lie)
{
	*env = env_os();
	*l = (struct liar){.lie = lie};
	l->store = (struct store){
		.ops = &liar_ops, .traits = {.guards_keys = true}, .label = "/srv/liar"};
	cr_assert_eq(store_memory_open(env, &l->inner, NULL), ERR_NONE);
}

static enum err count_object(void *ctx, const struct store_object *object, struct error *why)
{
	(void)object;
	(void)why;
	++*(unsigned *)ctx;
	return ERR_NONE;
}

Test(store, the_probe_catches_every_lie_and_leaves_nothing)
{
	static const struct {
		enum lie lie;
		const char *told;
	} rows[] = {
		{LIE_TAKES_TWICE, "taken name"},   {LIE_READS_WRONG, "reads back"},
		{LIE_SIZE, "another size"},        {LIE_FORGETS, "not found"},
		{LIE_LISTS_NOTHING, "not listed"}, {LIE_KEEPS_REMOVED, "still there"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct error why = {0};
		unsigned left = 0;
		struct liar l;
		struct env env;

		liar_open(&l, &env, rows[i].lie);
		cr_assert_eq(store_probe(&l.store, env.random, &why), ERR_CONFIG, "%s",
			     rows[i].told);
		cr_assert_not_null(strstr(why.text, rows[i].told), "%s", why.text);
		cr_assert_not_null(strstr(why.text, "/srv/liar"));
		cr_assert_not_null(strstr(why.hint, "another file system"));
		cr_assert_eq(store_list(l.inner, "", count_object, &left, NULL), ERR_NONE);
		cr_assert_eq(left, 0);
		store_close(&l.store);
	}
}

Test(store, the_probe_of_an_honest_store_succeeds)
{
	struct error why = {0};
	struct liar l;
	struct env env;

	liar_open(&l, &env, LIE_NONE);
	cr_assert_eq(store_probe(&l.store, env.random, &why), ERR_NONE, "%s", why.text);
	store_close(&l.store);
}

/* Such a store is run with one maintainer and a long grace, not refused. */
Test(store, the_probe_lets_pass_what_the_traits_admit)
{
	struct error why = {0};
	struct liar l;
	struct env env;

	liar_open(&l, &env, LIE_TAKES_TWICE);
	l.store.traits.guards_keys = false;
	cr_assert_eq(store_probe(&l.store, env.random, &why), ERR_NONE, "%s", why.text);
	store_close(&l.store);
}

Test(store, a_failed_append_abandons_the_upload)
{
	struct error why = {0};
	struct liar l;
	struct env env;

	liar_open(&l, &env, LIE_APPEND_FAILS);
	cr_assert_eq(store_put(&l.store, "name", bytes_of_text("x"), &why), ERR_FULL);
	cr_assert_eq(l.abandoned, 1);
	cr_assert_eq(store_put(&l.store, "empty", bytes_of(NULL, 0), &why), ERR_NONE);
	cr_assert_eq(store_probe(&l.store, env.random, &why), ERR_FULL);
	cr_assert_not_null(strstr(why.text, "probe of /srv/liar"));
	store_close(&l.store);
}

Test(store, a_get_of_what_is_missing_gives_nothing)
{
	struct error why = {0};
	uint8_t *data = NULL;
	size_t len = 0;
	struct liar l;
	struct env env;

	liar_open(&l, &env, LIE_FORGETS);
	cr_assert_eq(store_put(&l.store, "name", bytes_of_text("x"), &why), ERR_NONE);
	cr_assert_eq(store_get(&l.store, "name", 10, &data, &len, &why), ERR_MISSING);
	cr_assert_null(data);
	store_close(&l.store);
}

Test(store, keys_obey_their_rules)
{
	cr_assert(store_is_key("FORMAT"));
	cr_assert(store_is_key("main/7389012345678901234/wal/00000001/00000000/A.b_c-1"));
	cr_assert(store_is_key("a."));
	cr_assert_not(store_is_key(""));
	cr_assert_not(store_is_key("a/"));
	cr_assert_not(store_is_key("/a"));
	cr_assert_not(store_is_key("a//b"));
	cr_assert_not(store_is_key(".a"));
	cr_assert_not(store_is_key("a/../b"));
	cr_assert_not(store_is_key("a b"));
}
