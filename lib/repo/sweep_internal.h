/* repo/sweep_internal.h - what the sweeps of packs and of WAL share. */
#ifndef REPO_SWEEP_INTERNAL_H
#define REPO_SWEEP_INTERNAL_H

#include "repo/sweep.h"

/* A sweep's turn: its pin, put before S1, dropped after S4. */
struct sweep_turn {
	const struct cluster *cluster; /* NULL: not taken (a plan needs none) */
	struct pin pin;
	int64_t began_us, began_since_boot_us;
};
/* After a failure a pin may be there: end it all the same. */
enum err sweep_turn_take(struct sweep_turn *, const struct cluster *, struct error *why) MUST_CHECK;
/* Before each removal: ERR_CANCELLED, or ERR_TRANSIENT after SWEEP_TIME_MAX_US. */
enum err sweep_turn_check(const struct sweep_turn *, struct error *why) MUST_CHECK;
void sweep_turn_end(struct sweep_turn *);

/* Whether it is the pin of a sweep that may still remove what it listed: a process that certainly is no more removes
 * nothing.  By the holder's name, as one that can't be read may be under way all the same. */
bool sweep_is_under_way(const struct pin_seen *);

/* S2 shows a copy into this repository (and an event says so).  With `force` one whose process certainly is
 * no more does not count: it can't commit, it only had brought something for the next one. */
bool sweep_is_held(const struct cluster *, const struct pins *, bool force);

/* Whether a plan takes this backup as removed. */
bool sweep_is_without(const struct sweep_options *, const struct attempt *);

/* Says, after the reason in `why`, that `what` is removed while this backup can't be read, and what
 * to do about it; the answer is the kind of `why`. */
enum err sweep_refuse_unreadable(const struct cluster *, const struct attempt *, const char *what,
				 struct error *why) MUST_CHECK;

#endif
