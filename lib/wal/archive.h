/* wal/archive.h - archive-push and archive-get, without configuration: what to store, what to
 * deliver, and when a file is proven absent.
 */
#ifndef WAL_ARCHIVE_H
#define WAL_ARCHIVE_H

#include "repo/wal_object.h"

enum { WAL_REPOSITORIES_MAX = 8 };

struct wal_salvage;

/* Where one file of pg_wal may lie: the same cluster in several repositories, in order. */
struct wal_archive {
	struct cluster cluster[WAL_REPOSITORIES_MAX];
	size_t count; /* >= 1 */
	/* What would be in it after a wal_salvage_put (wal/salvage.h); NULL = nothing. */
	const struct wal_salvage *salvage;
};

struct wal_push_result {
	size_t stored; /* repositories that got it now */
	size_t same;   /* that had the same content */
	uint64_t bytes;
};

/* Stores the file at `path` (relative to `dir`) under its own name in every repository; success
 * only when it is durable in all.  Segments are checked first (wal_check_segment; size and system
 * identifier).  A name that is not a WAL file name, an empty or wrong-sized file: ERR_CONFIG or
 * ERR_CORRUPT, before anything is written.  Different content under the name: ERR_EXISTS. */
enum err wal_archive_push(const struct env *, const struct wal_archive *, int dir, const char *path,
			  int level, struct wal_push_result *result, struct error *why) MUST_CHECK;

/* The content of `name` in new memory.  The first repository that has it whole serves it; a damaged copy is reported to the observer and
 * the next repository is tried.  A segment that exists only as slices from byte 0 on, and nothing
 * later on that timeline exists, is delivered joined and padded.
 * ERR_MISSING = proven absent: every repository answered, none has it, none has a later segment of
 * that timeline.  A hole is ERR_CORRUPT, an unanswered question whatever it failed with; an
 * ERR_MISSING of a whole cluster or repository (empty, re-created) is turned into ERR_CONFIG. */
enum err wal_archive_read(const struct env *, const struct wal_archive *,
			  const struct wal_name *name, uint32_t segment_bytes, uint8_t **out,
			  size_t *len, struct error *why) MUST_CHECK;

/* The same, delivered to `dest` (relative to `dir`): written beside it, renamed into place, not
 * synced.  Temporaries that processes which are gone left beside it are removed. */
enum err wal_archive_get(const struct env *, const struct wal_archive *,
			 const struct wal_name *name, uint32_t segment_bytes, int dir,
			 const char *dest, struct error *why) MUST_CHECK;

/* How far the WAL reaches without a gap. */
struct wal_reach {
	uint32_t timeline;      /* the path's last */
	struct lsn last_record; /* start of the last complete record */
	struct lsn end;         /* its end: where the next record would begin */
	uint64_t segments;      /* read or counted from the start's segment on */
	uint64_t first_segno, last_segno;
	bool ends_in_hole; /* later segments of this timeline exist beyond the end */
	struct lsn hole;   /* first missing byte, then */
};
/* Walks from the record at `start` (a backup's start LSN) along the path of `timeline`, whose
 * history is read from the archive, up to `until` (0 = all): presence by listing, records only in
 * the last segments, so that the cost does not grow with the distance.  ERR_MISSING: the segment
 * of `start` is not there. */
enum err wal_archive_reach(const struct env *, const struct wal_archive *, struct lsn start,
			   uint32_t start_timeline, uint32_t timeline, uint32_t segment_bytes,
			   struct lsn until, struct wal_reach *out, struct error *why) MUST_CHECK;

/* Every timeline that has a history file (`is_history`) or WAL of its own, in no order, and the same maybe
 * more than once. */
typedef enum err wal_timeline_visit(void *ctx, uint32_t timeline, bool is_history,
				    struct error *why);
enum err wal_archive_timelines(const struct wal_archive *, wal_timeline_visit *, void *ctx,
			       struct error *why) MUST_CHECK;

/* History of a timeline from the archive; timeline 1 has none and succeeds. */
struct history;
enum err wal_archive_history(const struct env *, const struct wal_archive *, uint32_t timeline,
			     struct history *out, struct error *why) MUST_CHECK;

#endif
