/* repo/pages.c - from a file's record through its shards to its pages. */
#include "repo/pages.h"
#include "base/crc32c.h"
#include "repo/pack.h"

#include <inttypes.h>
#include <stdlib.h>

/* One kind of frames, with the frame read last. */
struct frame_source {
	struct object_reader *reader;
	bool has;
	struct pack_id pack;
	uint32_t ordinal;
	struct bytes plain; /* lives in the reader */
};

struct page_source {
	const struct cluster *cluster;
	const struct manifest *manifest;
	struct frame_source shards, pages;
	struct page_tagger *tagger;
	struct shard *shard;
	uint8_t *ahead; /* raw bytes [ahead_at, ahead_at + ahead_len) of ahead_pack */
	struct pack_id ahead_pack;
	uint64_t ahead_at, ahead_len;
	uint64_t fetched, frames;
};

enum err page_source_new(const struct cluster *cluster, const struct manifest *manifest,
			 struct page_source **out, struct error *why)
{
	struct page_source *s = calloc(1, sizeof(*s));
	const struct repository *repository = cluster->repository;
	uint8_t key[CRYPTO_KEY_BYTES];
	enum err e;

	if (s == NULL)
		return error_set(why, ERR_MEMORY, "reading pages: out of memory");
	s->cluster = cluster;
	s->manifest = manifest;
	s->shard = malloc(sizeof(*s->shard));
	s->ahead = malloc(PAGES_READ_MAX);
	e = s->shard == NULL || s->ahead == NULL
		    ? error_set(why, ERR_MEMORY, "reading pages: out of memory")
		    : object_reader_new(repository, &s->shards.reader, why);
	if (e == ERR_NONE)
		e = object_reader_new(repository, &s->pages.reader, why);
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
	object_reader_free(s->shards.reader);
	object_reader_free(s->pages.reader);
	page_tagger_free(s->tagger);
	free(s->shard);
	free(s->ahead);
	free(s);
}

uint64_t page_source_fetched(const struct page_source *s)
{
	return s->fetched;
}

uint64_t page_source_frames(const struct page_source *s)
{
	return s->frames;
}

static bool same_pack(const struct pack_id *a, const struct pack_id *b)
{
	return a->seq == b->seq && memcmp(a->attempt.id, b->attempt.id, ATTEMPT_BYTES) == 0;
}

static uint64_t frame_bytes(const struct frame_ref *ref)
{
	return (uint64_t)ref->stored_len + FRAME_OVERHEAD_BYTES;
}

/* The raw bytes of `ref`, with the neighbours that follow it in `next` fetched in the same read. */
static enum err fetch(struct page_source *s, const struct frame_ref *ref,
		      const struct frame_ref *next, size_t nexts, struct bytes *out,
		      struct error *why)
{
	char key[STORE_KEY_MAX];
	uint64_t len = frame_bytes(ref);
	enum err e;

	if (s->ahead_len > 0 && same_pack(&s->ahead_pack, &ref->pack) &&
	    ref->offset >= s->ahead_at && len <= s->ahead_len &&
	    ref->offset - s->ahead_at <= s->ahead_len - len) {
		*out = bytes_of(s->ahead + (ref->offset - s->ahead_at), len);
		return ERR_NONE;
	}
	if (len > PAGES_READ_MAX)
		return error_set(why, ERR_CORRUPT, "a frame of %" PRIu64 " bytes", len);
	for (size_t i = 0; i < nexts; i++) {
		if (!same_pack(&next[i].pack, &ref->pack) || next[i].offset != ref->offset + len ||
		    len + frame_bytes(&next[i]) > PAGES_READ_MAX)
			break;
		len += frame_bytes(&next[i]);
	}
	pack_key(s->cluster, &ref->pack, key);
	s->ahead_len = 0;
	e = store_read(s->cluster->repository->store, key, ref->offset, s->ahead, len, why);
	if (e == ERR_MISSING) /* a manifest names it, so its absence is damage */
		e = error_set(why, ERR_CORRUPT, "pack %s is gone", key);
	if (e != ERR_NONE)
		return e;
	s->ahead_pack = ref->pack;
	s->ahead_at = ref->offset;
	s->ahead_len = len;
	s->fetched += len;
	*out = bytes_of(s->ahead, frame_bytes(ref));
	return ERR_NONE;
}

/* The plain bytes of one frame; borrowed until the next frame of the same source. */
static enum err open_frame(struct page_source *s, struct frame_source *from, enum frame_class class,
			   const struct frame_ref *ref, const struct frame_ref *next, size_t nexts,
			   struct error *why)
{
	struct frame_place place = {.ordinal = ref->ordinal,
				    .offset = ref->offset,
				    .stored_len = ref->stored_len,
				    .plain_len = ref->plain_len};
	char key[STORE_KEY_MAX];
	struct bytes raw;
	enum err e;

	if (from->has && from->ordinal == ref->ordinal && same_pack(&from->pack, &ref->pack))
		return ERR_NONE;
	from->has = false;
	pack_key(s->cluster, &ref->pack, key);
	e = object_open(from->reader, key, OBJECT_PACK, why);
	if (e == ERR_MISSING)
		e = error_set(why, ERR_CORRUPT, "pack %s is gone", key);
	if (e == ERR_NONE)
		e = fetch(s, ref, next, nexts, &raw, why);
	if (e == ERR_NONE)
		e = object_frame_from(from->reader, class, &place, raw, &from->plain, why);
	if (e != ERR_NONE)
		return e;
	s->frames++;
	from->has = true;
	from->pack = ref->pack;
	from->ordinal = ref->ordinal;
	return ERR_NONE;
}

/* The encoded shard at `ref`, borrowed. */
static enum err shard_bytes(struct page_source *s, const struct shard_ref *ref, struct bytes *out,
			    struct error *why)
{
	enum err e = open_frame(s, &s->shards, FRAME_SHARD, &ref->frame, NULL, 0, why);

	if (e != ERR_NONE)
		return e;
	if (ref->offset > s->shards.plain.len || ref->len > s->shards.plain.len - ref->offset)
		return error_set(why, ERR_CORRUPT, "a shard lies outside its frame");
	*out = bytes_of(s->shards.plain.data + ref->offset, ref->len);
	return ERR_NONE;
}

/* Decodes the shard at `ref`, over its base when it is a patch. */
static enum err load_shard(struct page_source *s, const struct shard_ref *ref, struct error *why)
{
	struct shard_ref base;
	struct bytes in;
	bool is_patch;
	enum err e = shard_bytes(s, ref, &in, why);

	if (e == ERR_NONE)
		e = shard_patch_base(in, &is_patch, &base, why);
	if (e != ERR_NONE || !is_patch)
		return e != ERR_NONE ? e : shard_decode(in, s->shard, why);
	e = shard_bytes(s, &base, &in, why);
	if (e == ERR_NONE)
		e = shard_decode(in, s->shard, why);
	if (e == ERR_NONE)
		e = shard_bytes(s, ref, &in, why);
	if (e == ERR_NONE)
		e = shard_decode_patch(in, s->shard, why);
	return e;
}

static uint32_t page_len(const struct shard *shard, uint32_t page)
{
	return page + 1U == shard->pages ? shard->last_bytes : MAP_PAGE_BYTES;
}

/* Holds one page against the map. */
static enum err check_page(struct page_source *s, const struct page_entry *entry, struct bytes page,
			   struct error *why)
{
	uint8_t tag[CRYPTO_TAG_BYTES];
	enum err e = page_tag(s->tagger, page, tag, why);

	if (e != ERR_NONE)
		return e;
	if (!crypto_same(tag, entry->tag, sizeof(tag)) || crc32c(page) != entry->crc) {
		char key[STORE_KEY_MAX];

		pack_key(s->cluster, &s->shard->frame[entry->frame].pack, key);
		return error_set(why, ERR_CORRUPT, "%s: a stored page is not the one the map names",
				 key);
	}
	return ERR_NONE;
}

static void visit_zeros(const struct shard *shard, uint32_t first, uint32_t count,
			struct page_run *run)
{
	static const uint8_t zeros[MAP_PAGE_BYTES];

	run->data = NULL;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t len = page_len(shard, first + i);

		run->crc = crc32c_combine(run->crc, crc32c(bytes_of(zeros, len)), len);
		run->len += len;
	}
}

/* Pages from `first` on that lie end to end in one frame, or are zero together. */
static uint32_t run_pages(const struct shard *shard, uint32_t first)
{
	const struct page_entry *page = shard->page;
	uint32_t n = 1;

	while (first + n < shard->pages && page[first + n].zero == page[first].zero) {
		if (!page[first].zero &&
		    (page[first + n].frame != page[first].frame ||
		     page[first + n].offset != page[first].offset + n * MAP_PAGE_BYTES))
			break;
		n++;
	}
	return n;
}

static enum err visit_pages(struct page_source *s, uint32_t first, uint32_t count,
			    struct page_run *run, struct error *why)
{
	const struct shard *shard = s->shard;
	const struct page_entry *entry = &shard->page[first];
	const struct frame_ref *ref = &shard->frame[entry->frame];
	enum err e = open_frame(s, &s->pages, FRAME_PAGES, ref, ref + 1,
				shard->frames - entry->frame - 1U, why);

	if (e != ERR_NONE)
		return e;
	run->data = s->pages.plain.data + entry->offset;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t len = page_len(shard, first + i);

		if (entry->offset + run->len + len > s->pages.plain.len)
			return error_set(why, ERR_CORRUPT, "a page lies outside its frame");
		e = check_page(s, &entry[i], bytes_of(run->data + run->len, len), why);
		if (e != ERR_NONE)
			return e;
		run->crc = crc32c_combine(run->crc, entry[i].crc, len);
		run->len += len;
	}
	return ERR_NONE;
}

/* The absolute reference of shard `index` of a file. */
static enum err find_shard(const struct page_source *s, const struct file_record *file,
			   uint32_t index, struct shard_ref *out, struct error *why)
{
	struct file_shard_ref ref;

	if (index >= file->shards)
		return error_set(why, ERR_CORRUPT, "the file has no shard %" PRIu32, index);
	file_shard_ref_decode(file->shard_refs + (size_t)index * 32, &ref);
	if (ref.pack >= s->manifest->packs)
		return error_set(why, ERR_CORRUPT, "a shard lies in a pack that is not listed");
	*out = (struct shard_ref){
		.frame = {.pack = s->manifest->pack[ref.pack].id,
			  .ordinal = ref.place.ordinal,
			  .offset = ref.place.offset,
			  .stored_len = ref.place.stored_len,
			  .plain_len = ref.place.plain_len},
		.offset = ref.offset,
		.len = ref.len,
	};
	return ERR_NONE;
}

enum err page_source_shard(struct page_source *s, const struct file_record *file, uint32_t index,
			   enum err (*visit)(void *ctx, const struct page_run *, struct error *why),
			   void *ctx, uint32_t *crc, struct error *why)
{
	uint64_t offset = (uint64_t)index * SHARD_FILE_BYTES;
	uint64_t expected =
		file->size - offset < SHARD_FILE_BYTES ? file->size - offset : SHARD_FILE_BYTES;
	uint32_t sum = 0, count;
	struct shard_ref ref;
	enum err e = find_shard(s, file, index, &ref, why);

	if (e == ERR_NONE)
		e = load_shard(s, &ref, why);
	if (e == ERR_NONE && shard_file_bytes(s->shard) != expected)
		e = error_set(why, ERR_CORRUPT, "a shard maps another number of bytes");
	for (uint32_t page = 0; e == ERR_NONE && page < s->shard->pages; page += count) {
		struct page_run run = {.offset = offset};

		count = run_pages(s->shard, page);
		if (s->shard->page[page].zero)
			visit_zeros(s->shard, page, count, &run);
		else
			e = visit_pages(s, page, count, &run, why);
		if (e == ERR_NONE)
			e = visit(ctx, &run, why);
		sum = crc32c_combine(sum, run.crc, run.len);
		offset += run.len;
	}
	if (e != ERR_NONE)
		return error_add(why, "\"%.*s\" at byte %" PRIu64, (int)file->path.len,
				 (const char *)file->path.data, offset),
		       e;
	*crc = sum;
	return ERR_NONE;
}
