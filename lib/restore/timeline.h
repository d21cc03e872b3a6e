/* restore/timeline.h - which timeline a target means.  Pure: it sees a table, not the archive.
 *
 * A moment means the timeline that was being written then: after an in-place restore at noon to a state
 * of eleven, half past eleven still lies on the timeline that was left.  So what counts is when a
 * timeline was born by the clock, not the position at which it left its parent.
 */
#ifndef RESTORE_TIMELINE_H
#define RESTORE_TIMELINE_H

#include "pgformat/history.h"
#include "restore/restore.h"

#define TIMELINE_ALWAYS INT64_MIN /* born before anything that is archived */
#define TIMELINE_UNBORN INT64_MAX /* nothing that its server wrote is archived */
#define TIMELINE_NONE_SEEN INT64_MIN
#define TIMELINE_NOT_KNOWN INT64_MAX

struct timeline_row {
	uint32_t timeline, parent; /* 0 = has none that is known */
	struct lsn born;           /* where it left its parent */
	int64_t born_us;           /* or ALWAYS, UNBORN */
	const struct history *path;
	bool usable;  /* a backup on its path ends before the target */
	bool has_wal; /* of its own */
	/* Of what was written on it alone and lies under its own name: */
	struct lsn last_record; /* 0 = none */
	struct lsn last_commit; /* its last commit or abort, or where it may be; 0 = none */
	int64_t latest_us; /* the latest time of one; NONE_SEEN, NOT_KNOWN: there may be some */
	/* The latest of its parent's transactions that lie in its own first segments: the server copied
	 * them, and the parent's segment may never have been archived whole.  NONE_SEEN. */
	int64_t copied_us;
	struct lsn copied_last; /* the last of them; 0 = none */
};

struct timeline_question {
	enum target_kind kind;
	int64_t time_us; /* TARGET_TIME */
	struct lsn lsn;  /* TARGET_LSN */
	bool exclusive;
};

struct timeline_answer {
	bool ambiguous;  /* of an LSN that lies on several: those of `other` */
	size_t written;  /* the one that was being written at the target */
	size_t followed; /* itself, or one that goes on from its end: what recovery has to follow */
	size_t others;   /* timelines on which the state at the target is another */
	size_t other[RESTORE_TIMELINES_MAX];
};

/* 1 to RESTORE_TIMELINES_MAX rows; the answer holds their indices. */
void timeline_choose(const struct timeline_row *, size_t rows, const struct timeline_question *,
		     struct timeline_answer *out);

#endif
