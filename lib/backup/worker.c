/* backup/worker.c - the parallel part of a backup: tag and CRC of each page, whether the parent has
 * the same, and compression of what it has not.
 */
#include "backup/backup_internal.h"
#include "base/crc32c.h"

#include <stdlib.h>

struct worker {
	struct page_tagger *tagger;
	struct compressor *compressor;
	uint8_t *frame; /* FRAME_PAGES_MAX; changed pages moved together */
};

/* Fewer changed bytes are not worth a frame of their own: single pages compress worse, and a restore
 * would read many small frames. */
enum { OWN_FRAME_MIN = FRAME_PAGES_MAX / 2 };

enum err worker_new(const struct repository *repository, int level, struct worker **out,
		    struct error *why)
{
	struct worker *w = calloc(1, sizeof(*w));
	uint8_t key[CRYPTO_KEY_BYTES];
	enum err e;

	if (w == NULL)
		return error_set(why, ERR_MEMORY, "backup worker: out of memory");
	e = keyring_tag_key(repository->keyring, key, why);
	if (e == ERR_NONE)
		e = page_tagger_new(repository->tag_kind, key, &w->tagger, why);
	explicit_bzero(key, sizeof(key));
	if (e == ERR_NONE)
		e = compressor_new(level, FRAME_PAGES_MAX, &w->compressor, why);
	if (e == ERR_NONE && (w->frame = malloc(FRAME_PAGES_MAX)) == NULL)
		e = error_set(why, ERR_MEMORY, "backup worker: out of memory");
	if (e != ERR_NONE) {
		worker_free(w);
		return e;
	}
	*out = w;
	return ERR_NONE;
}

void worker_free(struct worker *w)
{
	if (w == NULL)
		return;
	page_tagger_free(w->tagger);
	compressor_free(w->compressor);
	free(w->frame);
	free(w);
}

/* Tags the page, compares, and decides whether it has to be stored. */
static enum err examine(struct worker *w, const struct batch *batch, struct batch_page *page,
			uint32_t *changed_bytes, struct error *why)
{
	struct bytes in = bytes_of(batch->plain + page->offset, page->len);
	enum err e = page_tag(w->tagger, in, page->tag, why);
	bool same;

	if (e != ERR_NONE)
		return e;
	page->crc = crc32c(in);
	same = page->has_old && page->crc == page->old.crc &&
	       crypto_same(page->tag, page->old.tag, CRYPTO_TAG_BYTES);
	page->renewed = same && page->renew;
	page->state = same && !page->renew ? PAGE_SAME : PAGE_LOOSE;
	if (page->state == PAGE_LOOSE)
		*changed_bytes += page->len;
	return ERR_NONE;
}

/* Moves changed pages together, unless all are: then they lie together already. */
static const uint8_t *gather(struct worker *w, struct batch *batch, bool all)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < batch->pages; i++) {
		struct batch_page *page = &batch->page[i];

		if (page->state != PAGE_LOOSE)
			continue;
		page->state = PAGE_IN_FRAME;
		page->place = at;
		if (!all)
			memcpy(w->frame + at, batch->plain + page->offset, page->len);
		at += page->len;
	}
	batch->frame_len = at;
	return all ? batch->plain : w->frame;
}

enum err worker_run(void *worker, void *item, struct error *why)
{
	struct worker *w = worker;
	struct batch *batch = item;
	uint32_t changed_bytes = 0;
	const uint8_t *frame;
	bool all;

	batch->frame_len = 0;
	for (uint32_t i = 0; i < batch->pages; i++) {
		enum err e = ERR_NONE;

		if (batch->page[i].state == PAGE_UNDECIDED)
			e = examine(w, batch, &batch->page[i], &changed_bytes, why);
		if (e != ERR_NONE)
			return e;
	}
	if (changed_bytes == 0)
		return ERR_NONE;
	all = changed_bytes == batch->plain_len;
	/* Many short pages are a frame, too: each that were gathered would hold a shard back. */
	if (changed_bytes < OWN_FRAME_MIN && !(all && batch->pages > MAPPER_WAITING_MAX))
		return ERR_NONE;
	frame = gather(w, batch, all);
	return compressor_run(w->compressor, bytes_of(frame, batch->frame_len), batch->packed,
			      compressor_bound(FRAME_PAGES_MAX), &batch->packed_len, &batch->codec,
			      why);
}
