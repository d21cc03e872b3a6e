/* wal/archive_internal.h - which segments of a path are where, and reading them from the first
 * repository that has them whole.
 */
#ifndef WAL_ARCHIVE_INTERNAL_H
#define WAL_ARCHIVE_INTERNAL_H

#include "pgformat/history.h"
#include "wal/archive.h"

/* The file `name` in new memory from the first repository that has it whole; a damaged copy is
 * reported to the observer and the next repository asked.  Segments are checked for what their name
 * says; `segment_bytes` is for them only.  ERR_MISSING: all answered, none has it. */
enum err archive_read(const struct env *, const struct wal_archive *, const struct wal_name *name,
		      uint32_t segment_bytes, uint8_t **out, size_t *len,
		      struct error *why) MUST_CHECK;

/* The unfinished segment `name`, joined and padded in new memory, from the repository that has most
 * of it.  ERR_MISSING: none has it from byte 0 on. */
enum err archive_read_sliced(const struct wal_archive *, const struct wal_name *name,
			     uint32_t segment_bytes, uint8_t **out, uint32_t *valid,
			     struct error *why) MUST_CHECK;

/* A walk's source: the segments of an archive one at a time, whole or joined from slices.  A damaged one is as
 * one that is missing, since recovery does not pass it either. */
struct archive_segments {
	const struct env *env;
	const struct wal_archive *archive;
	uint32_t segment_bytes;
	uint8_t *segment; /* owned: the last one that was asked for */
};
enum err archive_segment_read(void *segments, uint32_t timeline, uint64_t segno, struct bytes *out,
			      struct error *why) MUST_CHECK;
void archive_segments_release(struct archive_segments *);

/* ---- as if it were archived: what a salvage would put; each takes NULL for none ---- */

/* As wal_list_timeline. */
enum err salvage_list(const struct wal_salvage *, uint32_t timeline, uint64_t from_segno,
		      enum err (*visit)(void *ctx, const struct wal_listed *, struct error *why),
		      void *ctx, struct error *why) MUST_CHECK;
/* As archive_read of a repository; ERR_MISSING: it is none of its files, or only a slice of it is. */
enum err salvage_read(const struct wal_salvage *, const struct wal_name *name, uint8_t **out,
		      size_t *len, struct error *why) MUST_CHECK;
/* As archive_read_sliced. */
enum err salvage_read_slice(const struct wal_salvage *, const struct wal_name *name, uint8_t **out,
			    uint32_t *valid, struct error *why) MUST_CHECK;
/* The timeline whose history file it would put; 0 = none. */
uint32_t salvage_new_timeline(const struct wal_salvage *);

enum { PRESENCE_RUNS_MAX = 1 << 20 /* gaps + 1 of one timeline in one repository: 16 MiB */ };

/* Segments of one timeline, all repositories together. */
struct presence_timeline {
	uint32_t timeline;
	uint64_t entered, left; /* LSNs: the path is on it from here to there */
	struct presence_run {
		uint64_t first, last; /* segment numbers, both there */
	} * run;                      /* owned, ascending, never touching */
	size_t count, max;
	uint64_t furthest; /* LSN behind the last segment or slice of it */
};

struct presence {
	uint32_t segment_bytes;
	struct presence_timeline *timeline; /* owned, oldest first */
	size_t count;
	struct error failure; /* kind ERR_NONE, or of the first repository that did not answer */
};

/* Lists each timeline of the path from `start` on once in each repository.  What a repository does
 * not answer is kept in `failure`, so that the others may still be enough. */
enum err presence_load(const struct env *, const struct wal_archive *, const struct history *path,
		       struct lsn start, uint32_t segment_bytes, struct presence *out,
		       struct error *why) MUST_CHECK;
void presence_release(struct presence *);

/* Where the contiguous WAL from segment `segno` on ends by presence alone; that segment's start when
 * it is not there.  The switch, when only the parent's copy of a segment with a switch is there. */
uint64_t presence_end(const struct presence *, uint64_t segno);
bool presence_has(const struct presence *, uint32_t timeline, uint64_t segno);
/* LSN behind the last byte of the path that any repository has. */
uint64_t presence_furthest(const struct presence *);
/* The same of one timeline, also behind where the path leaves it; 0 = it has none. */
uint64_t presence_furthest_of(const struct presence *, uint32_t timeline);

#endif
