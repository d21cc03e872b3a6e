/* repo/pages.c - from a file's record to the map of a shard, and to its pages. */
#include "repo/pages.h"
#include "base/crc32c.h"
#include "repo/pages_internal.h"

#include <inttypes.h>
#include <stdlib.h>

enum err page_source_new(const struct cluster *cluster, const struct manifest *manifest,
			 struct page_source **out, struct error *why)
{
	struct page_source *s = calloc(1, sizeof(*s));
	const struct repository *repository = cluster->repository;
	uint8_t key[CRYPTO_KEY_BYTES];
	enum err e = ERR_NONE;

	if (s == NULL)
		return error_set(why, ERR_MEMORY, "reading pages: out of memory");
	s->cluster = cluster;
	s->manifest = manifest;
	s->shard = malloc(sizeof(*s->shard));
	s->window = malloc(SHARD_FILE_BYTES);
	s->frame = malloc(FRAME_PAGES_MAX);
	if (s->shard == NULL || s->window == NULL || s->frame == NULL)
		e = error_set(why, ERR_MEMORY, "reading pages: out of memory");
	else
		shard_reset(s->shard);
	if (e == ERR_NONE)
		e = frames_init(&s->shards, cluster, FRAME_SHARD, why);
	if (e == ERR_NONE)
		e = frames_init(&s->pages, cluster, FRAME_PAGES, why);
	if (e == ERR_NONE)
		e = keyring_tag_key(repository->keyring, key, why);
	if (e == ERR_NONE)
		e = page_tagger_new(repository->tag_kind, key, &s->tagger, why);
	explicit_bzero(key, sizeof(key));
	if (e != ERR_NONE) {
		page_source_free(s);
		return e;
	}
	*out = s;
	return ERR_NONE;
}

void page_source_free(struct page_source *s)
{
	if (s == NULL)
		return;
	frames_release(&s->shards);
	frames_release(&s->pages);
	page_tagger_free(s->tagger);
	free(s->shard);
	free(s->window);
	free(s->frame);
	free(s);
}

uint64_t page_source_fetched(const struct page_source *s)
{
	return s->shards.fetched + s->pages.fetched;
}

uint64_t page_source_reads(const struct page_source *s)
{
	return s->shards.reads + s->pages.reads;
}

uint64_t page_source_frames(const struct page_source *s)
{
	return s->shards.opened + s->pages.opened;
}

const struct page_set *page_source_damaged(const struct page_source *s)
{
	return &s->damaged;
}

enum err page_source_map(struct page_source *s, const struct file_record *file, uint32_t index,
			 const struct shard **out, struct error *why)
{
	uint64_t offset = (uint64_t)index * SHARD_FILE_BYTES;
	uint64_t expected =
		file->size - offset < SHARD_FILE_BYTES ? file->size - offset : SHARD_FILE_BYTES;
	struct shard_ref ref, base;
	enum err e =
		index < file->shards
			? shard_ref_resolve(s->manifest,
					    file->shard_refs + (size_t)index * FILE_SHARD_REF_BYTES,
					    &ref, why)
			: error_set(why, ERR_CORRUPT, "the file has no shard %" PRIu32, index);

	if (e == ERR_NONE)
		e = shard_load(&s->shards, &ref, s->shard, &base, why);
	if (e == ERR_NONE && shard_file_bytes(s->shard) != expected)
		e = error_set(why, ERR_CORRUPT, "a shard maps another number of bytes");
	if (e != ERR_NONE) {
		shard_reset(s->shard); /* half of one is none */
		return error_add(why, "\"%.*s\" at byte %" PRIu64, (int)file->path.len,
				 (const char *)file->path.data, offset);
	}
	s->path = file->path;
	s->offset = offset;
	*out = s->shard;
	return ERR_NONE;
}

enum err page_source_visit(struct page_source *s, const struct page_set *wanted, page_visit *visit,
			   void *ctx, struct error *why)
{
	s->wanted = wanted;
	s->visit = visit;
	s->ctx = ctx;
	return window_fill(s, why);
}

enum err page_source_same(struct page_source *s, uint32_t page, struct bytes content, bool *same,
			  struct error *why)
{
	const struct page_entry *entry = &s->shard->page[page];
	uint8_t tag[CRYPTO_TAG_BYTES];
	enum err e;

	*same = false;
	if (content.len != page_len(s->shard, page))
		return ERR_NONE;
	if (entry->zero) {
		*same = bytes_are_zero(content);
		return ERR_NONE;
	}
	e = page_tag(s->tagger, content, tag, why);
	if (e == ERR_NONE)
		*same = crypto_same(tag, entry->tag, sizeof(tag));
	return e;
}

uint32_t page_map_crc(const struct shard *shard)
{
	static const uint8_t zeros[MAP_PAGE_BYTES];
	uint32_t zero = crc32c(bytes_of(zeros, MAP_PAGE_BYTES)), crc = 0;

	for (uint32_t i = 0; i < shard->pages; i++) {
		const struct page_entry *page = &shard->page[i];
		uint32_t len = page_len(shard, i);
		uint32_t sum = page->crc;

		if (page->zero)
			sum = len == MAP_PAGE_BYTES ? zero : crc32c(bytes_of(zeros, len));
		crc = crc32c_combine(crc, sum, len);
	}
	return crc;
}

enum err page_source_shard(struct page_source *s, const struct file_record *file, uint32_t index,
			   page_visit *visit, void *ctx, uint32_t *crc, struct error *why)
{
	const struct shard *shard;
	enum err e = page_source_map(s, file, index, &shard, why);

	if (e == ERR_NONE)
		e = page_source_visit(s, NULL, visit, ctx, why);
	if (e == ERR_NONE)
		*crc = page_map_crc(shard);
	return e;
}
