/* wal/unarchived.h - what a server's pg_wal holds that no repository has.
 *
 * For whoever is about to remove that directory.  Looks, and changes nothing.
 */
#ifndef WAL_UNARCHIVED_H
#define WAL_UNARCHIVED_H

#include "wal/archive.h"

struct wal_unarchived {
	uint64_t segments; /* 0 = nothing would be lost; first and last mean nothing then */
	struct wal_name first, last; /* by timeline, then by position */
	uint64_t commits;            /* in them, as far as they were looked at: */
	bool more;                   /* not all of it was, or not all of it could be */
	int64_t latest_us; /* the latest of those commits, microseconds since 1970; 0 = none */
};

/* Looks at the segments in `dir`, a pg_wal.  One counts when its first page is what its name says (else it
 * was recycled, and nothing is in it), the server has not marked it as archived, and no repository has it
 * whole; of one that repositories have the beginning of, what lies behind.
 *
 * A timeline of which only checkpoints and the like lie behind the archive, as a clean stop leaves them,
 * counts for nothing.  So do .partial files: what they hold up to the switch is in the next timeline's
 * first segment, and what lies behind was not replayed by the server that named them so.
 *
 * A repository that does not answer is reported to the observer, and has nothing.  ERR_IO and the like:
 * `dir` cannot be read. */
enum err wal_unarchived_look(const struct env *, const struct wal_archive *, int dir,
			     uint32_t segment_bytes, struct wal_unarchived *out,
			     struct error *why) MUST_CHECK;

#endif
