/* repo/map.c - building shards page by page, and their stored form. */
#include "repo/map.h"

#include <assert.h>

enum {
	KIND_WHOLE = 1,
	KIND_PATCH = 2,
	FRAME_OF_ZEROS = 65535,
	/* How many of the newest frames are looked at before a frame gets a new entry: pages that
	 * are where the parent has them alternate with pages of the frame being filled. */
	FRAMES_LOOKED_BACK = 8
};

void shard_reset(struct shard *s)
{
	/* The arrays are 140 KiB: clearing them for every small file would cost more than the
	 * file.  Entries below the counters are always written before they are read. */
	s->pages = 0;
	s->last_bytes = 0;
	s->frames = 0;
}

static struct page_entry *add_page(struct shard *s, uint32_t page_bytes)
{
	assert(s->pages < SHARD_PAGES_MAX);
	assert(s->pages == 0 || s->last_bytes == MAP_PAGE_BYTES); /* only the last may be short */
	assert(page_bytes >= 1 && page_bytes <= MAP_PAGE_BYTES);
	s->last_bytes = page_bytes;
	return &s->page[s->pages++];
}

void shard_add_zero(struct shard *s, uint32_t page_bytes)
{
	*add_page(s, page_bytes) = (struct page_entry){.zero = true};
}

bool pack_id_same(const struct pack_id *a, const struct pack_id *b)
{
	return a->seq == b->seq && memcmp(a->attempt.id, b->attempt.id, ATTEMPT_BYTES) == 0;
}

bool frame_ref_same(const struct frame_ref *a, const struct frame_ref *b)
{
	return a->ordinal == b->ordinal && a->offset == b->offset &&
	       a->stored_len == b->stored_len && a->plain_len == b->plain_len &&
	       pack_id_same(&a->pack, &b->pack);
}

uint16_t shard_add_frame(struct shard *s, const struct frame_ref *frame)
{
	assert(s->frames < SHARD_PAGES_MAX);
	s->frame[s->frames] = *frame;
	return (uint16_t)s->frames++;
}

static uint16_t frame_index(struct shard *s, const struct frame_ref *frame)
{
	for (uint32_t i = s->frames; i > 0 && s->frames - i < FRAMES_LOOKED_BACK; i--)
		if (frame_ref_same(&s->frame[i - 1], frame))
			return (uint16_t)(i - 1);
	return shard_add_frame(s, frame);
}

void shard_add_in(struct shard *s, uint32_t page_bytes, const uint8_t tag[CRYPTO_TAG_BYTES],
		  uint32_t crc, uint16_t frame, uint32_t offset)
{
	struct page_entry *page = add_page(s, page_bytes);

	memcpy(page->tag, tag, CRYPTO_TAG_BYTES);
	page->crc = crc;
	page->zero = false;
	page->frame = frame;
	page->offset = offset;
}

void shard_add(struct shard *s, uint32_t page_bytes, const uint8_t tag[CRYPTO_TAG_BYTES],
	       uint32_t crc, const struct frame_ref *frame, uint32_t offset)
{
	/* Every page adds at most one frame, so that frames <= pages. */
	shard_add_in(s, page_bytes, tag, crc, frame_index(s, frame), offset);
}

uint64_t shard_file_bytes(const struct shard *s)
{
	if (s->pages == 0)
		return 0;
	return (uint64_t)(s->pages - 1) * MAP_PAGE_BYTES + s->last_bytes;
}

/* One run of pages [first, first + pages) that lie end to end, or are all zero. */
struct run {
	uint32_t first, pages;
	uint16_t frame; /* of the shard, or FRAME_OF_ZEROS */
	uint32_t offset;
};

static bool joins(const struct page_entry *before, const struct page_entry *page)
{
	if (before->zero || page->zero)
		return before->zero && page->zero;
	return before->frame == page->frame && page->offset == before->offset + MAP_PAGE_BYTES;
}

/* The longest run that begins at `first` and takes only pages of `wanted` (NULL: of all). */
static struct run run_from(const struct shard *s, uint32_t first, const bool *wanted)
{
	const struct page_entry *page = &s->page[first];
	struct run run = {.first = first, .pages = 1, .frame = FRAME_OF_ZEROS, .offset = 0};

	if (!page->zero) {
		run.frame = page->frame;
		run.offset = page->offset;
	}
	for (uint32_t i = first + 1; i < s->pages; i++, run.pages++)
		if ((wanted && !wanted[i]) || !joins(&s->page[i - 1], &s->page[i]))
			break;
	return run;
}

/* The packs and frames that the wanted pages need, renumbered from 0 on as they appear. */
struct tables {
	uint32_t packs, frames;
	uint16_t pack_at[SHARD_PAGES_MAX];   /* pack -> a frame of the shard that lies in it */
	uint16_t frame_at[SHARD_PAGES_MAX];  /* stored frame -> frame of the shard */
	uint16_t pack_of[SHARD_PAGES_MAX];   /* stored frame -> pack */
	uint16_t stored_as[SHARD_PAGES_MAX]; /* frame of the shard -> stored frame, if used */
	bool used[SHARD_PAGES_MAX];          /* by frame of the shard */
};

static uint16_t tables_pack(struct tables *t, const struct shard *s, uint16_t frame)
{
	/* From the newest on: frames come in the order of their packs, nearly always. */
	for (uint32_t i = t->packs; i > 0; i--)
		if (pack_id_same(&s->frame[t->pack_at[i - 1]].pack, &s->frame[frame].pack))
			return (uint16_t)(i - 1);
	t->pack_at[t->packs] = frame;
	return (uint16_t)t->packs++;
}

static void tables_make(struct tables *t, const struct shard *s, const bool *wanted)
{
	t->packs = 0;
	t->frames = 0;
	memset(t->used, 0, s->frames * sizeof(t->used[0]));
	for (uint32_t i = 0; i < s->pages; i++) {
		uint16_t frame = s->page[i].frame;

		if (s->page[i].zero || (wanted && !wanted[i]) || t->used[frame])
			continue;
		t->used[frame] = true;
		t->pack_of[t->frames] = tables_pack(t, s, frame);
		t->frame_at[t->frames] = frame;
		t->stored_as[frame] = (uint16_t)t->frames++;
	}
}

static void put_pack_id(struct writer *out, const struct pack_id *id)
{
	writer_bytes(out, bytes_of(id->attempt.id, ATTEMPT_BYTES));
	writer_u32(out, id->seq);
}

static void put_tables(struct writer *out, const struct tables *t, const struct shard *s)
{
	writer_u16(out, (uint16_t)t->packs);
	for (uint32_t i = 0; i < t->packs; i++)
		put_pack_id(out, &s->frame[t->pack_at[i]].pack);
	writer_u16(out, (uint16_t)t->frames);
	for (uint32_t i = 0; i < t->frames; i++) {
		const struct frame_ref *frame = &s->frame[t->frame_at[i]];

		writer_u16(out, t->pack_of[i]);
		writer_u16(out, 0);
		writer_u32(out, frame->ordinal);
		writer_u64(out, frame->offset);
		writer_u32(out, frame->stored_len);
		writer_u32(out, frame->plain_len);
	}
}

static void put_runs(struct writer *out, const struct tables *t, const struct shard *s,
		     const bool *wanted)
{
	size_t count_at = out->len;
	uint16_t runs = 0;

	writer_u16(out, 0); /* the count, known below */
	for (uint32_t i = 0; i < s->pages;) {
		struct run run;

		if (wanted && !wanted[i]) {
			i++;
			continue;
		}
		run = run_from(s, i, wanted);
		if (wanted)
			writer_u16(out, (uint16_t)run.first);
		writer_u16(out, (uint16_t)run.pages);
		writer_u16(out,
			   run.frame == FRAME_OF_ZEROS ? FRAME_OF_ZEROS : t->stored_as[run.frame]);
		if (wanted)
			writer_u16(out, 0);
		writer_u32(out, run.offset);
		runs++;
		i += run.pages;
	}
	if (!out->bad)
		put_u16(out->data + count_at, runs);
}

static void put_body(struct writer *out, const struct shard *s, const bool *wanted)
{
	struct tables t;

	tables_make(&t, s, wanted);
	put_tables(out, &t, s);
	put_runs(out, &t, s, wanted);
	for (uint32_t i = 0; i < s->pages; i++) {
		if (s->page[i].zero || (wanted && !wanted[i]))
			continue;
		writer_bytes(out, bytes_of(s->page[i].tag, CRYPTO_TAG_BYTES));
		writer_u32(out, s->page[i].crc);
	}
}

static void put_head(struct writer *out, uint8_t kind, const struct shard *s)
{
	assert(s->pages >= 1);
	writer_u8(out, kind);
	writer_u8(out, 0);
	writer_u16(out, s->pages);
	writer_u32(out, s->last_bytes);
}

void shard_encode(const struct shard *s, struct writer *out)
{
	put_head(out, KIND_WHOLE, s);
	put_body(out, s, NULL);
}

/* Does the patched shard have to say where page `i` is? */
static bool page_differs(const struct shard *base, const struct shard *now, uint32_t i)
{
	const struct page_entry *a = &base->page[i], *b = &now->page[i];

	if (i >= base->pages)
		return !b->zero; /* beyond the base's end all is zero */
	if (a->zero || b->zero)
		return a->zero != b->zero;
	return a->offset != b->offset || a->crc != b->crc ||
	       memcmp(a->tag, b->tag, CRYPTO_TAG_BYTES) != 0 ||
	       !frame_ref_same(&base->frame[a->frame], &now->frame[b->frame]);
}

uint32_t shard_differences(const struct shard *base, const struct shard *now)
{
	uint32_t differences = 0;

	for (uint32_t i = 0; i < now->pages; i++)
		differences += page_differs(base, now, i);
	return differences;
}

void shard_encode_patch(const struct shard *base, const struct shard *now,
			const struct shard_ref *at, struct writer *out)
{
	bool wanted[SHARD_PAGES_MAX];

	for (uint32_t i = 0; i < now->pages; i++)
		wanted[i] = page_differs(base, now, i);
	put_head(out, KIND_PATCH, now);
	put_pack_id(out, &at->frame.pack);
	writer_u32(out, at->frame.ordinal);
	writer_u64(out, at->frame.offset);
	writer_u32(out, at->frame.stored_len);
	writer_u32(out, at->frame.plain_len);
	writer_u32(out, at->offset);
	writer_u32(out, at->len);
	put_body(out, now, wanted);
}
