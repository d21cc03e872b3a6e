/* wal/births.h - when a timeline began, and where what was written on it alone ends.
 *
 * A history file says where a timeline left its parent, not when.  That is told by the first record that
 * its server wrote.  Both questions read a few segments, however long the archive is.
 */
#ifndef WAL_BIRTHS_H
#define WAL_BIRTHS_H

#include "wal/archive.h"
#include "wal/tail.h"

/* When the server began to write on the path's last timeline, which has a parent: the end of its recovery,
 * or where only the second is known the end of that second, but not behind its first commit or abort.
 * *at_us = 0: not known, as its first WAL is not there, or damaged. */
enum err wal_archive_birth(const struct env *, const struct wal_archive *,
			   const struct history *path, uint32_t segment_bytes, int64_t *at_us,
			   struct error *why) MUST_CHECK;

/* The end of the path's last timeline, looked for from its last segment in the archive on, whatever
 * holes lie before it. */
struct wal_own_end {
	bool has_wal;           /* any of its own, maybe with nothing but copied from the parent */
	struct lsn last_record; /* start of the last complete one; 0 = none behind its beginning */
	struct wal_tail tail;   /* of its own transactions only; `whole`: there are no others */
};
/* Looks back at `bytes_max` for the last transaction, but at two segments at least.  `near` is a position on
 * that timeline, as of a backup, behind which there may be more, so that a long archive need not be listed
 * from its beginning; 0 = none is known. */
enum err wal_archive_own_end(const struct env *, const struct wal_archive *,
			     const struct history *path, uint32_t segment_bytes, struct lsn near,
			     uint64_t bytes_max, struct wal_own_end *out,
			     struct error *why) MUST_CHECK;

#endif
