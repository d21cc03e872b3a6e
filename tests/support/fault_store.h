/* support/fault_store.h - a store whose nth answer is a failure, around any other store.
 *
 * Calls are counted from 1: begin, append, commit, read, stat, confirm, list, parts,
 * remove.  Faults come in three ways: nothing happened; or (FAULT_LOST) a commit happened and its answer was lost.
 */
#ifndef SUPPORT_FAULT_STORE_H
#define SUPPORT_FAULT_STORE_H

#include "store/store.h"

#include <stdlib.h>

enum fault_mode {
	FAULT_NONE,
	FAULT_FAIL,      /* call `at` fails with `kind`; nothing happened */
	FAULT_DOWN,      /* so do all calls from `at` on */
	FAULT_LOST,      /* commit `at` happens, and answers ERR_UNSURE */
	FAULT_LOST_EARLY /* commit `at` does not happen, and answers ERR_UNSURE */
};

struct fault_store {
	struct store store;
	struct store *inner; /* borrowed */
	enum fault_mode mode;
	unsigned at, calls;
	unsigned confirms; /* never reset */
	/* Before call `at`, in every mode: what another process does meanwhile.  May be NULL. */
	void (*meanwhile)(void *ctx);
	void *ctx;
	enum err kind;
	const char *unlisted; /* keys that hold this are left out of listings; NULL = none */
};

struct fault_upload {
	struct upload upload;
	struct fault_store *fault;
	struct upload *inner;
};

static inline bool fault_hits(struct fault_store *f)
{
	f->calls++;
	if (f->meanwhile != NULL && f->calls == f->at)
		f->meanwhile(f->ctx);
	return (f->mode == FAULT_FAIL && f->calls == f->at) ||
	       (f->mode == FAULT_DOWN && f->calls >= f->at);
}

static inline enum err fault_answer(struct fault_store *f, struct error *why)
{
	return error_set(why, f->kind, "injected fault at call %u", f->calls);
}

static inline enum err fault_begin(struct store *s, const char *key, uint64_t size_hint,
				   struct upload **out, struct error *why)
{
	struct fault_store *f = (struct fault_store *)s;
	struct fault_upload *u;
	enum err e;

	if (fault_hits(f))
		return fault_answer(f, why);
	u = calloc(1, sizeof(*u));
	if (u == NULL)
		abort();
	u->upload.ops = s->ops;
	u->fault = f;
	e = store_begin(f->inner, key, size_hint, &u->inner, why);
	if (e != ERR_NONE) {
		free(u);
		return e;
	}
	*out = &u->upload;
	return ERR_NONE;
}

static inline enum err fault_append(struct upload *upload, struct bytes in, struct error *why)
{
	struct fault_upload *u = (struct fault_upload *)upload;

	return fault_hits(u->fault) ? fault_answer(u->fault, why) : store_append(u->inner, in, why);
}

static inline void fault_abandon(struct upload *upload)
{
	struct fault_upload *u = (struct fault_upload *)upload;

	store_abandon(u->inner);
	free(u);
}

static inline enum err fault_commit(struct upload *upload, struct error *why)
{
	struct fault_upload *u = (struct fault_upload *)upload;
	struct fault_store *f = u->fault;
	enum err e;

	if (fault_hits(f) || (f->mode == FAULT_LOST_EARLY && f->calls == f->at)) {
		fault_abandon(upload);
		return f->mode != FAULT_LOST_EARLY
			       ? fault_answer(f, why)
			       : error_set(why, ERR_UNSURE, "injected: no answer");
	}
	e = store_commit(u->inner, why);
	free(u);
	if (f->mode == FAULT_LOST && f->calls == f->at)
		return error_set(why, ERR_UNSURE, "injected: the answer was lost");
	return e;
}

static inline enum err fault_read(struct store *s, const char *key, uint64_t offset, void *out,
				  size_t len, struct error *why)
{
	struct fault_store *f = (struct fault_store *)s;

	return fault_hits(f) ? fault_answer(f, why)
			     : store_read(f->inner, key, offset, out, len, why);
}

static inline enum err fault_stat(struct store *s, const char *key, struct store_object *out,
				  struct error *why)
{
	struct fault_store *f = (struct fault_store *)s;

	return fault_hits(f) ? fault_answer(f, why) : store_stat(f->inner, key, out, why);
}

static inline enum err fault_confirm(struct store *s, const char *key, struct error *why)
{
	struct fault_store *f = (struct fault_store *)s;

	f->confirms++;
	return fault_hits(f) ? fault_answer(f, why) : store_confirm(f->inner, key, why);
}

struct fault_listing {
	const struct fault_store *store;
	store_visit *visit;
	void *ctx;
};

static inline enum err fault_visit(void *ctx, const struct store_object *object, struct error *why)
{
	const struct fault_listing *l = ctx;

	if (l->store->unlisted != NULL && strstr(object->key, l->store->unlisted) != NULL)
		return ERR_NONE;
	return l->visit(l->ctx, object, why);
}

static inline enum err fault_list(struct store *s, const char *prefix, store_visit *visit,
				  void *ctx, struct error *why)
{
	struct fault_store *f = (struct fault_store *)s;

	struct fault_listing l = {.store = f, .visit = visit, .ctx = ctx};

	return fault_hits(f) ? fault_answer(f, why)
			     : store_list(f->inner, prefix, fault_visit, &l, why);
}

static inline enum err fault_parts(struct store *s, const char *prefix, store_part_visit *visit,
				   void *ctx, struct error *why)
{
	struct fault_store *f = (struct fault_store *)s;

	return fault_hits(f) ? fault_answer(f, why)
			     : store_parts(f->inner, prefix, visit, ctx, why);
}

static inline enum err fault_remove(struct store *s, const char *key, struct error *why)
{
	struct fault_store *f = (struct fault_store *)s;

	return fault_hits(f) ? fault_answer(f, why) : store_remove(f->inner, key, why);
}

static inline void fault_close(struct store *s)
{
	(void)s; /* the caller's memory, and the caller's inner store */
}

static inline void fault_store_init(struct fault_store *f, struct store *inner)
{
	static const struct store_ops ops = {
		.name = "fault",
		.begin = fault_begin,
		.append = fault_append,
		.commit = fault_commit,
		.abandon = fault_abandon,
		.read = fault_read,
		.stat = fault_stat,
		.confirm = fault_confirm,
		.list = fault_list,
		.parts = fault_parts,
		.remove = fault_remove,
		.close = fault_close,
	};

	*f = (struct fault_store){.store = {.ops = &ops, .traits = inner->traits, .label = "fault"},
				  .inner = inner};
}

#endif
