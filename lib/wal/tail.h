/* wal/tail.h - when the last transactions in the archive ended.
 *
 * PostgreSQL stops at a time when it meets the first commit or abort, in order of the WAL, behind
 * that time.  Whether there is one is seen in the last segments, unless the server's clock went back.
 */
#ifndef WAL_TAIL_H
#define WAL_TAIL_H

#include "wal/archive.h"

struct history;

struct wal_tail_search {
	const struct history *path;
	uint32_t segment_bytes;
	struct lsn from;  /* segments wholly before this are not looked at */
	struct lsn end;   /* of the WAL: wal_reach.end */
	int64_t after_us; /* enough is seen with a commit, and a commit or abort after this time */
	uint64_t bytes_max; /* goes back no further, but looks at two segments at least */
};

struct wal_tail {
	int64_t commit_us; /* of the last commit; 0 = none was seen */
	int64_t latest_us; /* the latest that any commit or abort seen has; 0 = none was seen */
	struct lsn last;   /* where the last of these records begins; 0 = none was seen */
	bool whole;        /* everything from `from` on was looked at */
};

/* Walks the last segments before `end`, the last one first.  A segment that is damaged or missing
 * ends the search as its bounds do.  Otherwise errors are those of the repositories. */
enum err wal_archive_tail(const struct env *, const struct wal_archive *,
			  const struct wal_tail_search *, struct wal_tail *out,
			  struct error *why) MUST_CHECK;

#endif
