/* repo/page_history.h - since when is it bad?  One relation, or one page of it, through all backups.
 *
 * Only maps of the relation's main fork are read, no page: two pages are the same when their tags are.
 * Each backup names its relations itself; hidden and removed backups are left out.
 */
#ifndef REPO_PAGE_HISTORY_H
#define REPO_PAGE_HISTORY_H

#include "repo/decision.h"
#include "repo/relations.h"

enum { HISTORY_SEGMENTS_MAX = 32768 /* of 1 GiB: 32 TiB, the largest relation */ };

struct history_range {
	uint32_t first, last; /* blocks */
};

struct history_page {
	bool present; /* the relation reaches that far */
	bool zero;    /* nothing is stored of a page of zeros */
	struct pack_id pack;
	uint32_t ordinal, offset; /* frame, and place in its plain bytes */
};

struct history_entry {
	struct attempt attempt;
	int64_t finished_us;
	bool names_known; /* the backup carries names of relations */
	bool exists;      /* the relation is in it, with a file; if not, what follows is 0 */
	bool compared;    /* an older backup has it */
	bool rewritten;   /* its file is another one than in that backup */
	uint32_t number;  /* relfilenode */
	uint64_t blocks;  /* of the main fork */
	bool changed;     /* the page, or any page; blocks that came and went count */
	uint64_t changes; /* blocks that differ */
	const struct history_range *range; /* which; until the visit returns */
	size_t ranges;
	struct history_page page; /* when a block was asked for */
};
typedef enum err history_visit(void *ctx, const struct history_entry *, struct error *why);

struct page_history {
	const char *relation; /* DATABASE.SCHEMA.NAME, or SCHEMA.NAME where only one has it */
	bool has_block;
	uint32_t block;
};
/* Visits every backup, oldest first.  ERR_MISSING: `named` has no such relation; the hint has names
 * that are near.  ERR_CORRUPT: a map that is needed is damaged. */
enum err page_history_walk(const struct cluster *, const struct attempt *named,
			   const struct page_history *, history_visit *, void *ctx,
			   struct error *why) MUST_CHECK;

#endif
