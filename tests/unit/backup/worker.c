/* Facts about the parallel part of a backup: tags, CRCs and compression of one frame. */
#include "backup/backup_internal.h"
#include "base/crc32c.h"
#include "repo_world.h"

#include <stdlib.h>

enum { PAGES = 9 };

Test(worker, tags_sums_and_packs_every_page)
{
	struct batch *b = calloc(1, sizeof(*b));
	uint8_t *plain = malloc(FRAME_PAGES_MAX), tag[CRYPTO_TAG_BYTES], key[CRYPTO_KEY_BYTES];
	struct page_tagger *tagger = NULL;
	struct decompressor *decompressor = NULL;
	struct worker *worker = NULL;
	struct repo_world w;
	struct error why;

	repo_world_init(&w, NULL);
	b->packed = malloc(compressor_bound(FRAME_PAGES_MAX));
	OK(worker_new(w.repository, 1, &worker, &why));
	OK(keyring_tag_key(w.repository->keyring, key, &why));
	OK(page_tagger_new(w.repository->tag_kind, key, &tagger, &why));
	for (uint32_t i = 0; i < PAGES; i++) {
		b->page[i].offset = b->plain_len;
		b->page[i].len = i == PAGES - 1 ? 100 : MAP_PAGE_BYTES;
		memset(b->plain + b->plain_len, (int)i + 1, b->page[i].len);
		b->plain_len += b->page[i].len;
	}
	b->pages = PAGES;
	OK(worker_run(worker, b, &why));
	for (uint32_t i = 0; i < PAGES; i++) {
		struct bytes page = bytes_of(b->plain + b->page[i].offset, b->page[i].len);

		cr_assert_eq(b->page[i].crc, crc32c(page));
		OK(page_tag(tagger, page, tag, &why));
		cr_assert_eq(memcmp(tag, b->page[i].tag, sizeof(tag)), 0);
	}
	cr_assert_lt(b->packed_len, b->plain_len, "it is very compressible");
	OK(decompressor_new(&decompressor, &why));
	OK(decompressor_run(decompressor, b->codec, bytes_of(b->packed, b->packed_len), plain,
			    b->plain_len, &why));
	cr_assert_eq(memcmp(plain, b->plain, b->plain_len), 0);
	decompressor_free(decompressor);
	page_tagger_free(tagger);
	worker_free(worker);
	worker_free(NULL);
	free(b->packed);
	free(b);
	free(plain);
	repo_world_release(&w);
}
