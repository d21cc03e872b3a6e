/* repo/expire.h - removing one backup (repository.md section 3): E1 hide -> (grace) -> E2 decide the
 * end -> E3 tombstone -> E4 list pins -> E5 remove the manifest.  Packs go in a later sweep.
 *
 * Every step may be repeated; a run that ended anywhere is gone on with by the next.  The manifest
 * is not read, so that a damaged one can be removed by name.
 */
#ifndef REPO_EXPIRE_H
#define REPO_EXPIRE_H

#include "repo/hide.h"
#include "repo/pins.h"

enum expire_outcome {
	EXPIRE_KEPT = 0,    /* it is not hidden: nothing was done */
	EXPIRE_GRACE = 1,   /* hidden, its grace is not over: undelete brings it back */
	EXPIRE_PINNED = 2,  /* tombstone is there; somebody reads it: a later run goes on */
	EXPIRE_REMOVED = 3, /* the manifest is gone */
};

struct expire_result {
	enum expire_outcome outcome;
	int64_t due_us;                 /* EXPIRE_GRACE: when it may be removed */
	char pinned_by[PIN_HOLDER_MAX]; /* EXPIRE_PINNED */
};

/* E1 of what a policy drops; hidden before is success.  *hid: it was shown, and is hidden now.  A mark (keep.h) that came
 * meanwhile brings it back. */
enum err expire_hide(const struct cluster *, const struct attempt *, bool *hid,
		     struct error *why) MUST_CHECK;

/* Takes a hidden backup as far as it may go: E2 to E5 once it has been hidden for `grace_us`, by the
 * wall clock (one that was hidden in the future waits).  What a policy hid and somebody marked since comes back instead
 * (EXPIRE_KEPT).  E1 of what is asked for by name is hide_backup. */
enum err expire_advance(const struct cluster *, const struct attempt *, int64_t grace_us,
			struct expire_result *out, struct error *why) MUST_CHECK;

/* The first holder among `pins` that keeps `attempt` from being removed: a reader of it, a writer
 * whose attempt is undecided and whose parent it is, or a pin that can't be read; NULL = none.
 * `why` and the answer: the store is asked whether writers are decided. */
enum err expire_holder(const struct cluster *, const struct pins *, const struct attempt *,
		       const struct pin_seen **out, struct error *why) MUST_CHECK;

/* Tombstones live this long: a writer that was suspended meets them (a week would do for that), and a copy
 * does not bring back what was removed here while its source still shows it.  That is a year, by the rule
 * that keeps longest by default, and a month to spare. */
#define TOMB_KEPT_US (INT64_C(400) * 24 * 60 * 60 * 1000 * 1000)

/* Removes what stood beside backups whose manifest is gone and whose tombstone is older than
 * TOMB_KEPT_US: hidden and keep records first, the tombstone last. */
enum err expire_forget(const struct cluster *, size_t *forgotten, struct error *why) MUST_CHECK;

#endif
