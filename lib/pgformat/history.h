/* pgformat/history.h - timeline history files (PostgreSQL src/backend/access/transam/timeline.c).
 *
 * A history of timeline N lists its ancestors, oldest first, each with the LSN at which the next
 * one left it.  Timeline 1 has no file; its history is empty.
 */
#ifndef PGFORMAT_HISTORY_H
#define PGFORMAT_HISTORY_H

#include "pgformat/lsn.h"

enum { HISTORY_ENTRIES_MAX = 1024, HISTORY_FILE_MAX = 1 << 20 /* bytes */ };

struct history_entry {
	uint32_t timeline;
	struct lsn end; /* where the next timeline begins */
};

struct history {
	uint32_t timeline; /* the one whose history this is */
	size_t count;
	struct history_entry entry[HISTORY_ENTRIES_MAX];
};

/* Comments and blank lines are passed over; timelines must ascend and be below `timeline`: else
 * ERR_CORRUPT.  ERR_LIMIT past the bounds above.  Switch points do not descend in what is read: of a file
 * where they do, the timelines that the path never entered are left out, as the server itself sees it. */
enum err history_from_text(uint32_t timeline, struct bytes text, struct history *out,
			   struct error *why) MUST_CHECK;

/* The timeline on this path that owns the byte at `at`. */
uint32_t history_timeline_at(const struct history *, struct lsn at);

/* True when `ancestor` is this timeline or on its path; *end then is where the path leaves it
 * (UINT64_MAX for the timeline itself), *begin where the path enters it (0 for the first). */
bool history_has(const struct history *, uint32_t ancestor, struct lsn *begin, struct lsn *end);

#endif
