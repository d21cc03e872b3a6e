/* store/store.h - a place that keeps immutable objects, each under a key.
 *
 * A key is 1..STORE_KEY_MAX bytes of [A-Za-z0-9._-] parts joined by '/'; no part is empty, "." or
 * "..", and none begins with '.' (temporaries do, and are never listed).  No key is another one
 * followed by '/' and more: a directory cannot have the name of a file.  An object is put once
 * and never changed; store_put of a taken key answers ERR_EXISTS and leaves what is there.
 * Drivers move bytes and never look inside.  They do not retry and do not log.  A handle may be
 * used by several threads at once, except that one upload belongs to one thread.
 *
 * What is true after success: the object is durable and visible.  After any failure but
 * ERR_UNSURE: nothing of this upload is visible under the key.  ERR_EXISTS: the key is taken,
 * durably.  ERR_UNSURE: read the key back and compare.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/bytes.h"
#include "base/env.h"
#include "base/error.h"

#include <stdbool.h>

enum { STORE_KEY_MAX = 512 };

struct store;
struct upload;

/* What a place can and cannot do: differences are data, not branches on names. */
struct store_traits {
	uint64_t object_max; /* bytes */
	bool guards_keys;    /* of two racing commits to one key, one gets ERR_EXISTS */
};

struct store_object {
	const char *key;      /* until the visit returns */
	uint64_t size;        /* bytes */
	int64_t stored_at_us; /* the place's own clock, microseconds since 1970; 0 = unknown */
};

typedef enum err store_visit(void *ctx, const struct store_object *, struct error *why);
/* `name` until the visit returns. */
typedef enum err store_part_visit(void *ctx, const char *name, struct error *why);

struct store_ops {
	const char *name; /* "posix", "memory" */

	/* Begin an object of about `size_hint` bytes (0 = unknown); nothing shows under `key`
	 * until commit. */
	enum err (*begin)(struct store *, const char *key, uint64_t size_hint, struct upload **out,
			  struct error *why);
	enum err (*append)(struct upload *, struct bytes, struct error *why);
	/* Durable, then visible.  Ends the upload whatever the answer.  ERR_EXISTS: taken. */
	enum err (*commit)(struct upload *, struct error *why);
	void (*abandon)(struct upload *); /* NULL is allowed */

	/* Exactly `len` bytes from `offset`: ERR_MISSING no such object, ERR_CORRUPT it ends
	 * before that. */
	enum err (*read)(struct store *, const char *key, uint64_t offset, void *out, size_t len,
			 struct error *why);
	enum err (*stat)(struct store *, const char *key, struct store_object *out,
			 struct error *why); /* `out->key` is `key` */

	/* Keys that begin with `prefix` (any text, not only whole parts), bytewise ascending;
	 * an error from `visit` ends the walk and is returned. */
	enum err (*list)(struct store *, const char *prefix, store_visit *, void *ctx,
			 struct error *why);
	/* One level: the parts that follow `prefix`, which is "" or ends with '/', in the keys
	 * that begin with it.  Each once, bytewise ascending, whether it is an object or holds
	 * objects; neither is told.  An error from `visit` ends the walk and is returned. */
	enum err (*parts)(struct store *, const char *prefix, store_part_visit *, void *ctx,
			  struct error *why);
	/* An object that was found stays found: whoever put it may not have come to its last sync.
	 * May be NULL where what is visible is durable. */
	enum err (*confirm)(struct store *, const char *key, struct error *why);
	/* Durable when it succeeds.  Removing an absent key succeeds, so that a repeated removal
	 * cannot fail. */
	enum err (*remove)(struct store *, const char *key, struct error *why);
	void (*close)(struct store *);
};

struct store {
	const struct store_ops *ops;
	struct store_traits traits;
	char label[256]; /* for messages: the path or URL, without secrets */
};

struct upload {
	const struct store_ops *ops;
};

/* True when `key` obeys the rules above. */
bool store_is_key(const char *key);

/* Each of these checks its key (ERR_CONFIG when it is none) and calls the driver; the driver may
 * rely on the check.  After a failed append only store_abandon is allowed. */
enum err store_begin(struct store *, const char *key, uint64_t size_hint, struct upload **out,
		     struct error *why) MUST_CHECK;
enum err store_append(struct upload *, struct bytes, struct error *why) MUST_CHECK;
enum err store_commit(struct upload *, struct error *why) MUST_CHECK;
void store_abandon(struct upload *);
enum err store_read(struct store *, const char *key, uint64_t offset, void *out, size_t len,
		    struct error *why) MUST_CHECK;
enum err store_stat(struct store *, const char *key, struct store_object *out,
		    struct error *why) MUST_CHECK;
/* Before what another process stored is called durable. */
enum err store_confirm(struct store *, const char *key, struct error *why) MUST_CHECK;
enum err store_list(struct store *, const char *prefix, store_visit *, void *ctx,
		    struct error *why) MUST_CHECK;
enum err store_parts(struct store *, const char *prefix, store_part_visit *, void *ctx,
		     struct error *why) MUST_CHECK;
enum err store_remove(struct store *, const char *key, struct error *why) MUST_CHECK;
void store_close(struct store *); /* NULL is fine */

/* begin, append, commit. */
enum err store_put(struct store *, const char *key, struct bytes, struct error *why) MUST_CHECK;

/* The whole object in new memory, free() it; ERR_LIMIT above `max` bytes.  One NUL is put behind the
 * bytes and is not counted. */
enum err store_get(struct store *, const char *key, size_t max, uint8_t **out, size_t *len,
		   struct error *why) MUST_CHECK;

/* Proves at init what repository.md needs: what is put is read back, listed and stat'ed; a second
 * put of the key is refused; after removal it is missing.  ERR_CONFIG when the place fails in that.  Uses `probe/<random>` and removes it. */
enum err store_probe(struct store *, struct random *, struct error *why) MUST_CHECK;

#endif
