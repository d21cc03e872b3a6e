/* repo/fanout.c - a store that writes to several. */
#include "repo/fanout.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct fanout {
	struct store store; /* first: a store is one of these */
	struct store *part[FANOUT_STORES_MAX];
	size_t parts;
};

struct fanout_upload {
	struct upload upload; /* first */
	struct upload *part[FANOUT_STORES_MAX];
	size_t parts;
};

static struct fanout *fanout_of(struct store *store)
{
	return (struct fanout *)store;
}

static void fanout_abandon(struct upload *upload)
{
	struct fanout_upload *u = (struct fanout_upload *)upload;

	if (!u)
		return;
	for (size_t i = 0; i < u->parts; i++)
		store_abandon(u->part[i]);
	free(u);
}

static enum err fanout_begin(struct store *store, const char *key, uint64_t size_hint,
			     struct upload **out, struct error *why)
{
	struct fanout *f = fanout_of(store);
	struct fanout_upload *u = calloc(1, sizeof(*u));

	if (!u)
		return error_set(why, ERR_MEMORY, "putting %s: no memory", key);
	u->upload.ops = store->ops;
	for (; u->parts < f->parts; u->parts++) {
		enum err err =
			store_begin(f->part[u->parts], key, size_hint, &u->part[u->parts], why);

		if (err) {
			fanout_abandon(&u->upload);
			return err;
		}
	}
	*out = &u->upload;
	return ERR_NONE;
}

static enum err fanout_append(struct upload *upload, struct bytes in, struct error *why)
{
	struct fanout_upload *u = (struct fanout_upload *)upload;

	for (size_t i = 0; i < u->parts; i++) {
		enum err err = store_append(u->part[i], in, why);

		if (err)
			return err;
	}
	return ERR_NONE;
}

static enum err fanout_commit(struct upload *upload, struct error *why)
{
	struct fanout_upload *u = (struct fanout_upload *)upload;
	enum err err = ERR_NONE;

	for (size_t i = 0; i < u->parts; i++) {
		if (err)
			store_abandon(u->part[i]);
		else
			err = store_commit(u->part[i], why);
	}
	free(u);
	/* Both ask for a look at the key, and that would look into the first store only: whether
	 * all have it would stay open, and the answer could be a false success. */
	if (err == ERR_UNSURE || err == ERR_EXISTS) {
		err = ERR_TRANSIENT;
		if (why)
			why->kind = err;
	}
	return err;
}

static enum err fanout_read(struct store *store, const char *key, uint64_t offset, void *out,
			    size_t len, struct error *why)
{
	return store_read(fanout_of(store)->part[0], key, offset, out, len, why);
}

static enum err fanout_stat(struct store *store, const char *key, struct store_object *out,
			    struct error *why)
{
	return store_stat(fanout_of(store)->part[0], key, out, why);
}

static enum err fanout_confirm(struct store *store, const char *key, struct error *why)
{
	return store_confirm(fanout_of(store)->part[0], key, why);
}

static enum err fanout_list(struct store *store, const char *prefix, store_visit *visit, void *ctx,
			    struct error *why)
{
	return store_list(fanout_of(store)->part[0], prefix, visit, ctx, why);
}

static enum err fanout_parts(struct store *store, const char *prefix, store_part_visit *visit,
			     void *ctx, struct error *why)
{
	return store_parts(fanout_of(store)->part[0], prefix, visit, ctx, why);
}

static enum err fanout_remove(struct store *store, const char *key, struct error *why)
{
	struct fanout *f = fanout_of(store);

	for (size_t i = 0; i < f->parts; i++) {
		enum err err = store_remove(f->part[i], key, why);

		if (err)
			return err;
	}
	return ERR_NONE;
}

static void fanout_close(struct store *store)
{
	free(store);
}

static const struct store_ops fanout_ops = {
	.name = "fanout",
	.begin = fanout_begin,
	.append = fanout_append,
	.commit = fanout_commit,
	.abandon = fanout_abandon,
	.read = fanout_read,
	.stat = fanout_stat,
	.confirm = fanout_confirm,
	.list = fanout_list,
	.parts = fanout_parts,
	.remove = fanout_remove,
	.close = fanout_close,
};

enum err fanout_new(struct store *const *stores, size_t n, struct store **out, struct error *why)
{
	struct fanout *f;

	assert(n >= 1);
	if (n > FANOUT_STORES_MAX)
		return error_set(why, ERR_LIMIT, "writing to %zu repositories at once: at most %d",
				 n, FANOUT_STORES_MAX);
	f = calloc(1, sizeof(*f));
	if (!f)
		return error_set(why, ERR_MEMORY, "writing to %zu repositories: no memory", n);
	f->store.ops = &fanout_ops;
	f->store.traits = stores[0]->traits;
	for (size_t i = 0; i < n; i++) {
		f->part[f->parts++] = stores[i];
		if (stores[i]->traits.object_max < f->store.traits.object_max)
			f->store.traits.object_max = stores[i]->traits.object_max;
		if (!stores[i]->traits.guards_keys)
			f->store.traits.guards_keys = false;
	}
	(void)snprintf(f->store.label, sizeof(f->store.label), "%.200s and %zu more",
		       stores[0]->label, n - 1); /* for messages: may be cut */
	*out = &f->store;
	return ERR_NONE;
}
