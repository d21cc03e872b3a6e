/* wal/local_internal.h - the segments in a server's pg_wal beside what the archive has of them; shared by
 * those who look at such a directory.  Looks, and changes nothing.
 */
#ifndef WAL_LOCAL_INTERNAL_H
#define WAL_LOCAL_INTERNAL_H

#include "pgformat/history.h"
#include "wal/archive.h"

struct local_segment {
	uint32_t timeline;
	uint64_t segno;
	bool here;        /* the directory has it; else only whether the archive has it matters */
	bool archived;    /* whole */
	uint32_t covered; /* bytes from its start on that slices in the archive have */
};

struct local_wal {
	const struct env *env;
	const struct wal_archive *archive;
	int dir;
	uint32_t segment_bytes;
	struct local_segment *segment; /* owned; by timeline and number from local_sort on */
	size_t count, max;
	uint8_t *room; /* owned; segment_bytes: what was read last */
};

/* Takes nothing: `dir` stays the caller's.  ERR_CONFIG for a size that no segment has. */
enum err local_init(struct local_wal *, const struct env *, const struct wal_archive *, int dir,
		    uint32_t segment_bytes, struct error *why) MUST_CHECK;
void local_release(struct local_wal *);

/* Every file that is named as a segment, sorted. */
enum err local_names(struct local_wal *, struct error *why) MUST_CHECK;
enum err local_add(struct local_wal *, uint32_t timeline, uint64_t segno, bool here,
		   struct error *why) MUST_CHECK;
/* Each once; where the directory has it, that one. */
void local_sort(struct local_wal *);
struct local_segment *local_find(const struct local_wal *, uint32_t timeline, uint64_t segno);

/* Asks each repository for the timelines in the table, from their first entries on.  One that does not answer
 * is reported to the observer, and has nothing. */
enum err local_ask_archive(struct local_wal *, struct error *why) MUST_CHECK;

/* As much of a file as there is, at most `max` bytes and a segment, in `room`; ERR_MISSING: nothing that
 * could be read. */
enum err local_read(const struct local_wal *, const char *name, size_t max, struct bytes *out,
		    struct error *why) MUST_CHECK;
void local_name(const struct local_wal *, uint32_t timeline, uint64_t segno, struct wal_name *name,
		char text[WAL_NAME_MAX]);
/* Whether these bytes begin as that segment of this server does: else the file was made anew or recycled,
 * and holds nothing of what its name says. */
bool local_is_that_segment(const struct local_wal *, uint32_t timeline, uint64_t segno,
			   struct bytes head);
/* The server has marked it so. */
bool local_is_done(const struct local_wal *, const char *name);

/* The path of a timeline as the server itself has it, else as the archive has it; ERR_MISSING: neither
 * has.  Timeline 1 needs none. */
enum err local_history(const struct local_wal *, uint32_t timeline, struct history *out,
		       struct error *why) MUST_CHECK;

#endif
