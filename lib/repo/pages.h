/* repo/pages.h - reading the pages of a backup: for restore, verify and export alike.
 *
 * A page source belongs to one thread.  Every frame is authenticated, every page is held against
 * its tag and CRC in the map, so what is visited is exactly what was backed up.
 *
 * The pages of one shard may lie in many frames of many packs, in any order.  Each frame that is needed
 * is decoded once: frames are taken in the order of the store, those that lie close together are
 * fetched with one read, and their pages go to their places in a window as large as a shard.  What
 * is complete from the front on is visited.  Small files share frames, and the last frame that a backup
 * has in one shard goes on in the next one: those are kept.
 */
#ifndef REPO_PAGES_H
#define REPO_PAGES_H

#include "repo/manifest.h"

enum {
	PAGES_READ_MAX = 1 << 20,  /* bytes of one read */
	PAGES_GAP_MAX = 64 << 10,  /* bytes between two frames that are read along */
	PAGES_RUN_BYTES = 1 << 20, /* of a run that is visited before it has ended */
	PAGES_FRAMES_KEPT = 64,    /* of pages: one for each pack of a shard, as a rule */
	/* Of shards: neighbours may be unchanged since as many different backups. */
	PAGES_SHARD_FRAMES_KEPT = 16,
	/* Of one source: the window, which only large files fill; the frames kept, which only a shard in
	 * many packs fills; shards kept, two buffers for reading, the map. */
	PAGES_MEMORY_MAX = SHARD_FILE_BYTES + PAGES_FRAMES_KEPT * FRAME_PAGES_MAX + (8 << 20)
};

/* Pages of one shard. */
struct page_set {
	uint64_t word[SHARD_PAGES_MAX / 64];
};
static inline bool page_set_has(const struct page_set *set, uint32_t page)
{
	return (set->word[page / 64] >> page % 64 & 1) != 0;
}
static inline void page_set_add(struct page_set *set, uint32_t page)
{
	set->word[page / 64] |= UINT64_C(1) << page % 64;
}
static inline void page_set_remove(struct page_set *set, uint32_t page)
{
	set->word[page / 64] &= ~(UINT64_C(1) << page % 64);
}

struct page_source;
/* Cluster and manifest are borrowed. */
enum err page_source_new(const struct cluster *, const struct manifest *, struct page_source **out,
			 struct error *why) MUST_CHECK;
void page_source_free(struct page_source *); /* NULL is fine */

struct page_run {
	uint64_t offset;     /* in the file, bytes */
	uint64_t len;        /* bytes */
	const uint8_t *data; /* NULL = zeros; borrowed until the visit returns */
	uint32_t crc;        /* CRC-32C of these bytes */
};
typedef enum err page_visit(void *ctx, const struct page_run *, struct error *why);

/* Decodes the map of shard number `index` of a file (16 MiB of it), a patch over its base; no page
 * is read.  Borrowed until the next call for another shard.  The record's path is borrowed too. */
enum err page_source_map(struct page_source *, const struct file_record *, uint32_t index,
			 const struct shard **out, struct error *why) MUST_CHECK;
/* Visits the pages of that shard which are in `wanted` (NULL = all), ascending; all of them without gaps.
 * Only frames that hold wanted pages are read. */
enum err page_source_visit(struct page_source *, const struct page_set *wanted, page_visit *,
			   void *ctx, struct error *why) MUST_CHECK;
/* Whether `content` is that page of the shard, by its tag; its length counts too. */
enum err page_source_same(struct page_source *, uint32_t page, struct bytes content, bool *same,
			  struct error *why) MUST_CHECK;
/* After ERR_CORRUPT of page_source_visit: the wanted pages that what is damaged holds.  Without them
 * the visit can be tried again. */
const struct page_set *page_source_damaged(const struct page_source *);

/* Both for a whole shard; `crc` gets the CRC-32C of all its bytes.  ERR_CORRUPT names pack and
 * page. */
enum err page_source_shard(struct page_source *, const struct file_record *, uint32_t index,
			   page_visit *, void *ctx, uint32_t *crc, struct error *why) MUST_CHECK;

/* The CRC-32C of all bytes of a shard, from its map. */
uint32_t page_map_crc(const struct shard *);

/* So far: bytes fetched from the store, reads that fetched them, frames opened. */
uint64_t page_source_fetched(const struct page_source *);
uint64_t page_source_reads(const struct page_source *);
uint64_t page_source_frames(const struct page_source *);

#endif
