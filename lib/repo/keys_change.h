/* repo/keys_change.h - who opens a family of repositories: adding, removing, rotating.
 *
 * All repositories of a family are changed in one call, in an order that leaves each of them readable
 * and writable with what opened it before, wherever the call breaks off (README.md, Keys); calling
 * again goes on.  One change at a time: the caller holds a lock.
 */
#ifndef REPO_KEYS_CHANGE_H
#define REPO_KEYS_CHANGE_H

#include "repo/keys.h"

/* One repository; both borrowed. */
struct key_place {
	struct store *store;
	const struct key_secret *own; /* what opens it */
};

struct key_change {
	const struct env *env;
	const struct key_place *place;
	size_t count;
	/* Told of each slot once it is durable, or, `put` false, found good as it was. */
	void (*told)(void *ctx, size_t place, const char *slot, bool put);
	/* Told before the first slot of the new secret is put, so that nobody is left with a slot whose secret
	 * was never seen; a failure ends the change.  NULL: nothing has to be seen. */
	enum err (*show)(void *ctx, struct error *why);
	void *ctx;
};

/* `secret` gets a slot `name` in every repository where it does not open the newest epoch already, and
 * what it opened there before is removed.  ERR_EXISTS: the name is taken. */
enum err keys_add(const struct key_change *, const struct key_secret *secret, const char *name,
		  struct error *why) MUST_CHECK;

/* A new epoch, or the rest of one that was broken off (*resumed).  `own` of every repository is to open
 * it, `also` wherever they open a slot now (ERR_WRONG_KEY when one opens none anywhere), and `fresh`
 * (may be NULL), a new secret, everywhere.  *epoch is the newest afterwards. */
struct key_rotation {
	const struct key_secret *const *also;
	size_t also_count;
	const struct key_secret *fresh;
	uint32_t epoch; /* out */
	bool resumed;   /* out */
};
enum err keys_rotate(const struct key_change *, struct key_rotation *,
		     struct error *why) MUST_CHECK;

/* What the slots of a repository say, without a secret; damaged ones are counted apart. */
struct key_slots_summary {
	unsigned slots, damaged;
	uint32_t epoch;   /* the newest that any states */
	unsigned current; /* slots that hold it */
};
/* `without` names one that is left out; NULL = none. */
enum err key_slots_sum_up(struct store *, const char *without, struct key_slots_summary *out,
			  struct error *why) MUST_CHECK;

/* ERR_MISSING when there is none of that name; ERR_CORRUPT: it is there, and damaged. */
enum err key_slot_find(struct store *, const char *name, struct slot_info *out,
		       struct error *why) MUST_CHECK;

/* ERR_MISSING when there is no slot of that name; ERR_CONFIG when no other holds the newest epoch, as
 * then nobody could open the repository.  The first only asks. */
enum err key_slot_may_go(struct store *, const char *name, struct error *why) MUST_CHECK;
enum err key_slot_remove(struct store *, const char *name, struct error *why) MUST_CHECK;

#endif
