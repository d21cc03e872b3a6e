/* wal/salvage.h - WAL that only the pg_wal of a lost server has: found, and put into the archive.
 *
 * Order: wal_salvage_look, and when it found something wal_salvage_put.  In between, or instead of it, an
 * archive with `salvage` set answers as it will afterwards, so that a plan can be made before anything is
 * stored.  Both tell the observer how far they are.  No server may run on that directory meanwhile; whoever
 * calls has made sure of that.
 */
#ifndef WAL_SALVAGE_H
#define WAL_SALVAGE_H

#include "wal/archive.h"

struct wal_salvage_source {
	int dir; /* its pg_wal; stays the caller's, and open as long as the salvage */
	uint32_t segment_bytes;
	/* Of its pg_control, as its own crash recovery takes it: the greater one of the last checkpoint's and
	 * of the minimum recovery point. */
	uint32_t timeline;
	/* Take a timeline that no repository has the history of, too: that of a server which was promoted and
	 * never archived since, or of a copy that went its own way.  Only a person knows which. */
	bool adopt;
};

enum wal_salvage_answer {
	WAL_SALVAGE_NOTHING, /* nothing that anybody would miss and that can be replayed */
	WAL_SALVAGE_FOUND,
	WAL_SALVAGE_BRANCH, /* the archive has other content under the same names */
	WAL_SALVAGE_UNKNOWN, /* of its timeline the archive knows nothing, and `adopt` was not said */
	WAL_SALVAGE_GAP      /* a segment before it is neither there nor in the archive */
};

struct wal_salvage_found {
	enum wal_salvage_answer answer;
	char reason[256]; /* of the last three: what was found, by name */
	uint32_t timeline;
	/* Of WAL_SALVAGE_FOUND: */
	struct wal_name first, last;
	uint64_t segments; /* to be put, the open one too */
	uint32_t open;     /* bytes of `last` that are put as a slice; 0 = it is whole */
	struct lsn end;    /* behind its last complete record */
	uint64_t commits;  /* that no repository has */
	int64_t latest_us; /* the latest of them, since 1970; 0 = none */
};

/* Walks through all that no repository has, record by record, along the server's own timeline, from one
 * segment before on: what is found follows without a gap on what is archived, or all of it is there.  The last
 * segment that the directory and the archive both have, and what slices have of the open one, are compared byte
 * by byte.  Segments from before the archive's first that the server marked as archived are left out:
 * they were, and expired.
 *
 * The walk ends where recovery would.  What lies behind is none of this: wal_unarchived_look with this salvage
 * in the archive tells whether anything does.  ERR_IO and the like: `dir` or a repository cannot be read. */
enum err wal_salvage_look(const struct env *, const struct wal_archive *,
			  const struct wal_salvage_source *, struct wal_salvage **out,
			  struct error *why) MUST_CHECK;
const struct wal_salvage_found *wal_salvage_found(const struct wal_salvage *); /* lives with it */
void wal_salvage_free(struct wal_salvage *);                                   /* NULL is fine */

/* Puts history files, then the segments in order, checked as archive-push does, the open one last, as a slice up
 * to the end of its last record; each is durable before the next.  A repository that fails keeps what it
 * got, as after an archive-push, and is told to the observer; success when one has all.  *complete = how many have.
 * ERR_EXISTS: another one stored other content meanwhile. */
enum err wal_salvage_put(const struct wal_salvage *, int level, size_t *complete,
			 struct error *why) MUST_CHECK;

#endif
