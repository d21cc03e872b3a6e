/* repo/verified.h - what earlier verification has proven and found: `verified/<run>` (FORMAT.md 13).
 *
 * All objects that are there, merged into one: about each pack, backup and segment the newest
 * statement counts, and of two at one time that it is damaged.  One thread.
 */
#ifndef REPO_VERIFIED_H
#define REPO_VERIFIED_H

#include "repo/decision.h"

enum {
	VERIFIED_READ_MAX = 16, /* objects read, the newest; each holds what the older ones said */
	VERIFIED_DAMAGE_MAX = 65536, /* entries of damage in packs; in WAL */
	VERIFIED_KEPT_DAYS = 400     /* then a record may be forgotten */
};

/* In `ordinal` and `offset`: all of it. */
#define VERIFIED_ALL UINT32_MAX

struct verified;

/* Everything known about the cluster; empty when there is nothing.  A damaged record is an event
 * for the observer and is left out; a store that does not answer is the failure. */
enum err verified_read(const struct cluster *, struct verified **out, struct error *why) MUST_CHECK;
void verified_free(struct verified *); /* NULL is fine */

/* When this pack was last read whole and proven, microseconds since 1970; 0 = never, or it was found
 * damaged since. */
int64_t verified_pack_us(const struct verified *, const struct pack_id *);
/* True when frame `ordinal` of this pack is known to be damaged, or pages in it are. */
bool verified_flagged(const struct verified *, const struct pack_id *, uint32_t ordinal);
/* True when anything in this pack is. */
bool verified_pack_flagged(const struct verified *, const struct pack_id *);
/* True when anything is known to be damaged: else there is no need to ask about each frame. */
bool verified_any_flagged(const struct verified *);

/* When every page that the backup's maps name was proven to be the one they name; 0 = not yet. */
int64_t verified_maps_us(const struct verified *, const struct attempt *);
/* When everything that this backup needs was last proven whole; 0 = not known, or damaged. */
int64_t verified_backup_us(const struct verified *, const struct attempt *);
/* When verification found first that this backup can't be restored in full, and it was not found whole
 * since; 0 = no such thing is known. */
int64_t verified_damaged_us(const struct verified *, const struct attempt *);
/* When this segment was last read whole; 0 = never, or it was found damaged since. */
int64_t verified_wal_us(const struct verified *, uint32_t timeline, uint32_t segment_bytes,
			uint64_t segno);

/* Segments that were read and found damaged, and not whole since, by timeline and number; `*out` lives as long
 * as the record.  How many. */
struct verified_segment {
	uint32_t timeline, segment_bytes;
	uint64_t segno;
	int64_t us; /* when */
};
size_t verified_wal_damaged(const struct verified *, const struct verified_segment **out);

#endif
