/* wal/cut.h - where a recovery may stop for a target without taking locks of transactions that it cuts off.
 *
 * PostgreSQL stops at a time just before the first commit or abort behind it.  By then it has replayed all of
 * that transaction but its end, and a hot standby that is paused there holds its AccessExclusiveLocks: a table
 * that was dropped a moment later can be read by nobody.  Nothing of an unfinished transaction is ever visible, so to stop
 * before its locks, behind the end of the last transaction before it, shows the same rows.
 */
#ifndef WAL_CUT_H
#define WAL_CUT_H

#include "wal/archive.h"

struct history;

struct wal_cut_search {
	const struct history *path;
	uint32_t segment_bytes;
	struct lsn from; /* the backup's start: a record, the first one that recovery replays */
	struct lsn stop; /* its end: nothing before this is a place to stop */
	struct lsn end;  /* of the WAL: wal_reach.end */
	/* Where `at` is 0, recovery stops before the first commit or abort, in the order of the WAL, whose time
	 * is later than this. */
	int64_t after_us;
	uint64_t bytes_max; /* of WAL that may be read to prove it */
	/* Else at the first record that begins there or behind it: before it, or behind it. */
	struct lsn at;
	bool inclusive;
};

struct wal_cut {
	/* The last record before the first lock, behind the last end of a transaction (or prepared one, which
	 * outlives its server); 0 = no lock is taken in between, or it could not be found out. */
	struct lsn last;
};

/* A place for a time comes from one walk over all that recovery replays up to it, since any commit may have a
 * later time.  First it is looked, by halves, as if times only grew, whether there is a lock near the time, as there
 * hardly ever is: else nothing is walked.  What is too far, damaged or missing gets no place.  Otherwise errors
 * are those of the repositories. */
enum err wal_archive_cut(const struct env *, const struct wal_archive *,
			 const struct wal_cut_search *, struct wal_cut *out,
			 struct error *why) MUST_CHECK;

#endif
