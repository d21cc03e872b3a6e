/* support/small_backup.h - a committed backup of a few made-up files, built as a backup builds it.
 *
 * Page frames are kept small, so that a file spans several of them and several files share one.
 */
#ifndef SUPPORT_SMALL_BACKUP_H
#define SUPPORT_SMALL_BACKUP_H

#include "base/crc32c.h"
#include "golden.h"
#include "repo_world.h"

enum { SMALL_FRAME_BYTES = 5 * MAP_PAGE_BYTES, SMALL_FRAME_PAGES = 64 };

struct small_backup {
	struct repo_world *world;
	struct manifest *manifest;
	struct pack_writer *packs;
	struct page_tagger *tagger;
	/* Pages of the open frame, and the shards they belong to. */
	struct shard shard;
};

static inline void small_backup_begin(struct small_backup *b, struct repo_world *w, unsigned n)
{
	const struct cluster *cluster = &w->cluster;
	uint8_t key[CRYPTO_KEY_BYTES];
	struct error why;

	*b = (struct small_backup){.world = w, .manifest = manifest_number(cluster, n)};
	OK(pack_writer_new(&cluster, 1, &b->manifest->summary.attempt, b->manifest, &b->packs,
			   &why));
	OK(keyring_tag_key(w->repository->keyring, key, &why));
	OK(page_tagger_new(w->repository->tag_kind, key, &b->tagger, &why));
}

/* The shard of the pages of `content`: one frame for every five pages that are not zero. */
static inline void small_backup_shard(struct small_backup *b, struct bytes content)
{
	struct error why;

	shard_reset(&b->shard);
	for (size_t at = 0; at < content.len;) {
		struct frame_ref ref;
		size_t pages = 0, len;

		len = content.len - at < MAP_PAGE_BYTES ? content.len - at : MAP_PAGE_BYTES;
		if (bytes_are_zero(bytes_of(content.data + at, len))) {
			shard_add_zero(&b->shard, (uint32_t)len);
			at += len;
			continue;
		}
		for (len = 0; len < SMALL_FRAME_BYTES && at + len < content.len; pages++) {
			size_t left = content.len - at - len;
			size_t page = left < MAP_PAGE_BYTES ? left : MAP_PAGE_BYTES;

			if (bytes_are_zero(bytes_of(content.data + at + len, page)))
				break;
			len += page;
		}
		OK(pack_add(b->packs, FRAME_PAGES, CODEC_STORED, bytes_of(content.data + at, len),
			    (uint32_t)len, &ref, &why));
		for (size_t done = 0; done < len;) {
			size_t page = len - done < MAP_PAGE_BYTES ? len - done : MAP_PAGE_BYTES;
			struct bytes bytes = bytes_of(content.data + at + done, page);
			uint8_t tag[CRYPTO_TAG_BYTES];

			OK(page_tag(b->tagger, bytes, tag, &why));
			shard_add(&b->shard, (uint32_t)page, tag, crc32c(bytes), &ref,
				  (uint32_t)done);
			done += page;
		}
		at += len;
	}
}

/* Any record; `content` of files only. */
static inline void small_backup_add(struct small_backup *b, enum file_kind kind, const char *path,
				    uint16_t mode, struct bytes content)
{
	struct file_record record = {.kind = kind,
				     .mode = mode,
				     .size = content.len,
				     .crc = content.len > 0 ? crc32c(content) : 0,
				     .path = bytes_of_text(path)};
	struct writer refs, out;
	struct error why;

	writer_init(&refs, 1 << 20);
	writer_init(&out, 1 << 20);
	for (size_t at = 0; at < content.len; at += SHARD_FILE_BYTES) {
		size_t left = content.len - at;
		size_t len = left < SHARD_FILE_BYTES ? left : SHARD_FILE_BYTES;
		struct file_shard_ref ref = {.offset = 0};
		struct frame_ref frame;
		struct writer encoded;
		uint8_t stored[32];

		writer_init(&encoded, SHARD_ENCODED_MAX);
		small_backup_shard(b, bytes_of(content.data + at, len));
		shard_encode(&b->shard, &encoded);
		cr_assert_not(encoded.bad);
		OK(pack_add(b->packs, FRAME_SHARD, CODEC_STORED, writer_view(&encoded),
			    (uint32_t)encoded.len, &frame, &why));
		OK(pack_index(b->packs, &frame.pack, &ref.pack, &why));
		ref.place = (struct frame_place){.ordinal = frame.ordinal,
						 .offset = frame.offset,
						 .stored_len = frame.stored_len,
						 .plain_len = frame.plain_len};
		ref.len = (uint32_t)encoded.len;
		file_shard_ref_encode(&ref, stored);
		writer_bytes(&refs, bytes_of(stored, sizeof(stored)));
		record.shards++;
		writer_release(&encoded);
	}
	record.shard_refs = refs.data;
	file_record_encode(&record, &out);
	cr_assert_not(out.bad);
	OK(pack_section_add(b->packs, "files", writer_view(&out), &why));
	b->manifest->summary.files += kind == FILE_PLAIN;
	b->manifest->summary.bytes_cluster += content.len;
	writer_release(&refs);
	writer_release(&out);
}

static inline void small_backup_file(struct small_backup *b, const char *path, struct bytes content)
{
	small_backup_add(b, FILE_PLAIN, path, 0600, content);
}

static inline void small_backup_directory(struct small_backup *b, const char *path)
{
	small_backup_add(b, FILE_DIRECTORY, path, 0700, bytes_of(NULL, 0));
}

static inline void small_backup_commit(struct small_backup *b)
{
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	struct error why;

	OK(pack_writer_finish(b->packs, &why));
	OK(manifest_commit(&b->world->cluster, b->manifest, sha256, &why));
	pack_writer_free(b->packs);
	page_tagger_free(b->tagger);
	manifest_free(b->manifest);
}

#endif
