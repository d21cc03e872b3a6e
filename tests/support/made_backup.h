/* support/made_backup.h - a small committed backup, made frame by frame without the backup room.
 *
 * Page `n` of file `f` is filled with page_byte(f, n), or zero when that is 0.  A frame holds
 * MADE_FRAME_PAGES pages; all pages of a file lie in frames of its own.
 */
#ifndef SUPPORT_MADE_BACKUP_H
#define SUPPORT_MADE_BACKUP_H

#include "base/crc32c.h"
#include "repo/pages.h"
#include "repo_world.h"

#include <stdlib.h>

enum { MADE_FRAME_PAGES = 4 };

struct made_backup {
	struct manifest *manifest;
	struct pack_writer *packs;
	struct page_tagger *tagger;
	struct attempt attempt;
};

static inline uint8_t made_byte(unsigned file, uint64_t page)
{
	return page % 7 == 5 ? 0 : (uint8_t)(1 + (file * 31 + page) % 250);
}

static inline void made_begin(struct made_backup *m, const struct cluster *cluster, unsigned n)
{
	const struct repository *repository = cluster->repository;
	uint8_t key[CRYPTO_KEY_BYTES];
	struct error why;

	m->attempt = attempt_number(n);
	m->manifest = manifest_number(cluster, n);
	OK(pack_writer_new(&cluster, 1, &m->attempt, m->manifest, &m->packs, &why));
	OK(keyring_tag_key(repository->keyring, key, &why));
	OK(page_tagger_new(repository->tag_kind, key, &m->tagger, &why));
}

/* One shard: its pages, then its own frame; `crc` goes on over them. */
static inline void made_shard(struct made_backup *m, unsigned file, uint64_t first, uint64_t bytes,
			      uint8_t out[32], uint32_t *crc)
{
	static uint8_t plain[MADE_FRAME_PAGES * MAP_PAGE_BYTES];
	struct shard *shard = malloc(sizeof(*shard));
	struct writer encoded;
	struct frame_ref placed;
	struct file_shard_ref ref = {.offset = 0};
	struct error why;

	cr_assert_not_null(shard);
	shard_reset(shard);
	for (uint64_t at = 0; at < bytes; at += sizeof(plain)) {
		size_t len = bytes - at < sizeof(plain) ? (size_t)(bytes - at) : sizeof(plain);

		for (size_t i = 0; i < len; i += MAP_PAGE_BYTES)
			memset(plain + i, made_byte(file, first + (at + i) / MAP_PAGE_BYTES),
			       len - i < MAP_PAGE_BYTES ? len - i : MAP_PAGE_BYTES);
		OK(pack_add(m->packs, FRAME_PAGES, CODEC_STORED, bytes_of(plain, len),
			    (uint32_t)len, &placed, &why));
		for (size_t i = 0; i < len; i += MAP_PAGE_BYTES) {
			uint32_t page_len =
				len - i < MAP_PAGE_BYTES ? (uint32_t)(len - i) : MAP_PAGE_BYTES;
			struct bytes page = bytes_of(plain + i, page_len);
			uint8_t tag[CRYPTO_TAG_BYTES];

			*crc = crc32c_more(*crc, page);
			OK(page_tag(m->tagger, page, tag, &why));
			if (bytes_are_zero(page))
				shard_add_zero(shard, page_len);
			else
				shard_add(shard, page_len, tag, crc32c(page), &placed, (uint32_t)i);
		}
	}
	writer_init(&encoded, SHARD_ENCODED_MAX);
	shard_encode(shard, &encoded);
	OK(pack_add(m->packs, FRAME_SHARD, CODEC_STORED, writer_view(&encoded),
		    (uint32_t)encoded.len, &placed, &why));
	OK(pack_index(m->packs, &placed.pack, &ref.pack, &why));
	ref.place = (struct frame_place){.ordinal = placed.ordinal,
					 .offset = placed.offset,
					 .stored_len = placed.stored_len,
					 .plain_len = placed.plain_len};
	ref.len = (uint32_t)encoded.len;
	file_shard_ref_encode(&ref, out);
	writer_release(&encoded);
	free(shard);
}

static inline void made_file(struct made_backup *m, const char *path, unsigned file, uint64_t size)
{
	uint8_t refs[8 * 32];
	struct file_record record = {.kind = FILE_PLAIN,
				     .mode = 0600,
				     .size = size,
				     .path = bytes_of_text(path),
				     .shard_refs = refs};
	struct writer out;
	struct error why;

	for (uint64_t at = 0; at < size; at += SHARD_FILE_BYTES) {
		cr_assert_lt(record.shards, 8);
		made_shard(m, file, at / MAP_PAGE_BYTES,
			   size - at < SHARD_FILE_BYTES ? size - at : SHARD_FILE_BYTES,
			   refs + record.shards * 32, &record.crc);
		record.shards++;
	}
	writer_init(&out, FRAME_SECTION_MAX);
	file_record_encode(&record, &out);
	OK(pack_section_add(m->packs, "files", writer_view(&out), &why));
	writer_release(&out);
}

static inline void made_commit(struct made_backup *m, const struct cluster *cluster)
{
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	struct error why;

	OK(pack_writer_finish(m->packs, &why));
	OK(manifest_commit(cluster, m->manifest, sha256, &why));
	pack_writer_free(m->packs);
	page_tagger_free(m->tagger);
}

static inline void made_release(struct made_backup *m)
{
	manifest_free(m->manifest);
}

#endif
