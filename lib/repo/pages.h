/* repo/pages.h - reading the pages of a backup: for restore, verify and export alike.
 *
 * A page source belongs to one thread.  Every frame is authenticated, every page is held against
 * its tag and CRC in the map, so what is visited is exactly what was backed up.  Frames that lie
 * next to each other in a pack are fetched with one read of up to PAGES_READ_MAX; the frame read
 * last is kept, since small files share frames.
 */
#ifndef REPO_PAGES_H
#define REPO_PAGES_H

#include "repo/manifest.h"

enum { PAGES_READ_MAX = 1 << 20 };

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

/* Visits shard number `index` of a file (16 MiB of it) in ascending order without gaps; `crc` gets
 * the CRC-32C of all its bytes.  ERR_CORRUPT names pack and page. */
enum err page_source_shard(struct page_source *, const struct file_record *, uint32_t index,
			   enum err (*visit)(void *ctx, const struct page_run *, struct error *why),
			   void *ctx, uint32_t *crc, struct error *why) MUST_CHECK;

/* Bytes fetched from the store so far, and frames opened. */
uint64_t page_source_fetched(const struct page_source *);
uint64_t page_source_frames(const struct page_source *);

#endif
