/* wal/salvage_internal.h - what looking for lost WAL and putting it share. */
#ifndef WAL_SALVAGE_INTERNAL_H
#define WAL_SALVAGE_INTERNAL_H

#include "wal/local_internal.h"
#include "wal/salvage.h"

struct salvage_piece {
	uint32_t timeline;
	uint64_t segno;
	uint32_t bytes; /* the segment's size, or less: a slice */
};

struct wal_salvage {
	struct local_wal local; /* `here`: the path leads through it and it is what its name says */
	struct wal_salvage_source source;
	struct history path;
	bool adopts; /* the history file of the path's timeline is new to the archive */
	struct salvage_piece *piece; /* owned; ascending */
	size_t pieces;
	struct wal_salvage_found found;
};

/* The path of the source's timeline, and whether the archive knows it; found.answer is other than
 * WAL_SALVAGE_NOTHING when it cannot be followed. */
enum err salvage_find_path(struct wal_salvage *, const struct wal_archive *,
			   struct error *why) MUST_CHECK;
/* The newest timeline of the path that has a part in the segment: recovery asks for that one's file. */
uint32_t salvage_owner(const struct wal_salvage *, uint64_t segno);

#endif
