/* backup/worker.c - the parallel part of a backup: tag, CRC and compression of one frame. */
#include "backup/backup_internal.h"
#include "base/crc32c.h"

#include <stdlib.h>

struct worker {
	struct page_tagger *tagger;
	struct compressor *compressor;
};

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
	free(w);
}

enum err worker_run(void *worker, void *item, struct error *why)
{
	struct worker *w = worker;
	struct batch *batch = item;

	for (uint32_t i = 0; i < batch->pages; i++) {
		struct batch_page *page = &batch->page[i];
		struct bytes in = bytes_of(batch->plain + page->offset, page->len);
		enum err e = page_tag(w->tagger, in, page->tag, why);

		if (e != ERR_NONE)
			return e;
		page->crc = crc32c(in);
	}
	if (batch->plain_len == 0)
		return ERR_NONE;
	return compressor_run(w->compressor, bytes_of(batch->plain, batch->plain_len),
			      batch->packed, compressor_bound(FRAME_PAGES_MAX), &batch->packed_len,
			      &batch->codec, why);
}
