/* repo/map_decode.c - reading shards: everything is checked before the first byte of the output
 * changes, so that a damaged shard can neither crash a reader nor leave half of itself behind.
 */
#include "repo/map.h"
#include "repo/object.h"

enum {
	KIND_WHOLE = 1,
	KIND_PATCH = 2,
	FRAME_OF_ZEROS = 65535,
	PACK_BYTES_STORED = ATTEMPT_BYTES + 4,
	FRAME_BYTES_STORED = 24,
	RUN_BYTES_WHOLE = 8,
	RUN_BYTES_PATCH = 12,
	PAGE_BYTES_STORED = CRYPTO_TAG_BYTES + 4
};

/* A shard cut into its tables, all borrowed. */
struct parts {
	bool patch;
	uint16_t pages;
	uint32_t last_bytes;
	struct shard_ref base; /* of a patch */
	uint32_t packs, frames, runs;
	struct bytes pack, frame, run, page;
	uint32_t stored_pages; /* in runs that are not zero; set by check_runs */
};

struct run {
	uint32_t first, pages;
	uint16_t frame;
	uint32_t offset;
};

static enum err corrupt(struct error *why, const char *what)
{
	return error_set(why, ERR_CORRUPT, "page map: %s", what);
}

static struct pack_id pack_id_at(const uint8_t *at)
{
	struct pack_id id;

	memcpy(id.attempt.id, at, ATTEMPT_BYTES);
	id.seq = get_u32(at + ATTEMPT_BYTES);
	return id;
}

static enum err parse_base(struct reader *r, struct shard_ref *base, struct error *why)
{
	struct bytes pack = reader_take(r, PACK_BYTES_STORED);

	if (!pack.data)
		return corrupt(why, "it ends inside the reference to its base");
	base->frame.pack = pack_id_at(pack.data);
	base->frame.ordinal = reader_u32(r);
	base->frame.offset = reader_u64(r);
	base->frame.stored_len = reader_u32(r);
	base->frame.plain_len = reader_u32(r);
	base->offset = reader_u32(r);
	base->len = reader_u32(r);
	if (r->bad)
		return corrupt(why, "it ends inside the reference to its base");
	if (base->frame.plain_len > FRAME_SECTION_MAX || base->len > SHARD_ENCODED_MAX ||
	    base->len == 0 || base->offset > base->frame.plain_len ||
	    base->len > base->frame.plain_len - base->offset)
		return corrupt(why, "the reference to its base does not lie in a frame");
	return ERR_NONE;
}

static enum err parse_head(struct reader *r, struct parts *p, struct error *why)
{
	uint8_t kind = reader_u8(r), reserved = reader_u8(r);

	p->pages = reader_u16(r);
	p->last_bytes = reader_u32(r);
	if (r->bad)
		return corrupt(why, "it ends inside its head");
	if ((kind != KIND_WHOLE && kind != KIND_PATCH) || reserved != 0)
		return corrupt(why, "its kind is not known");
	if (p->pages == 0 || p->pages > SHARD_PAGES_MAX)
		return corrupt(why, "its number of pages is out of range");
	if (p->last_bytes == 0 || p->last_bytes > MAP_PAGE_BYTES)
		return corrupt(why, "the length of its last page is out of range");
	p->patch = kind == KIND_PATCH;
	return p->patch ? parse_base(r, &p->base, why) : ERR_NONE;
}

static enum err parse_tables(struct reader *r, struct parts *p, struct error *why)
{
	p->packs = reader_u16(r);
	p->pack = reader_take(r, (size_t)p->packs * PACK_BYTES_STORED);
	p->frames = reader_u16(r);
	p->frame = reader_take(r, (size_t)p->frames * FRAME_BYTES_STORED);
	p->runs = reader_u16(r);
	p->run = reader_take(r, p->runs * (p->patch ? (size_t)RUN_BYTES_PATCH : RUN_BYTES_WHOLE));
	p->page = reader_take(r, r->left);
	if (r->bad)
		return corrupt(why, "it ends inside its tables");
	return ERR_NONE;
}

static struct frame_ref frame_at(const struct parts *p, uint32_t index)
{
	const uint8_t *at = p->frame.data + (size_t)index * FRAME_BYTES_STORED;

	return (struct frame_ref){
		.pack = pack_id_at(p->pack.data + (size_t)get_u16(at) * PACK_BYTES_STORED),
		.ordinal = get_u32(at + 4),
		.offset = get_u64(at + 8),
		.stored_len = get_u32(at + 16),
		.plain_len = get_u32(at + 20),
	};
}

/* `next` is the page after the run before; a whole shard's runs begin there. */
static struct run run_at(const struct parts *p, uint32_t index, uint32_t next)
{
	const uint8_t *at;

	if (!p->patch) {
		at = p->run.data + (size_t)index * RUN_BYTES_WHOLE;
		return (struct run){next, get_u16(at), get_u16(at + 2), get_u32(at + 4)};
	}
	at = p->run.data + (size_t)index * RUN_BYTES_PATCH;
	return (struct run){get_u16(at), get_u16(at + 2), get_u16(at + 4), get_u32(at + 8)};
}

static enum err check_frames(const struct parts *p, struct error *why)
{
	for (uint32_t i = 0; i < p->frames; i++) {
		const uint8_t *at = p->frame.data + (size_t)i * FRAME_BYTES_STORED;
		uint32_t plain_len = get_u32(at + 20);

		if (get_u16(at) >= p->packs || get_u16(at + 2) != 0)
			return corrupt(why, "a frame lies in a pack that is not in its table");
		if (plain_len == 0 || plain_len > FRAME_PAGES_MAX)
			return corrupt(why, "the length of a frame is out of range");
	}
	return ERR_NONE;
}

static uint32_t page_bytes(const struct parts *p, uint32_t page)
{
	return page + 1 == p->pages ? p->last_bytes : MAP_PAGE_BYTES;
}

static enum err check_run(const struct parts *p, const struct run *run, uint32_t next,
			  struct error *why)
{
	uint64_t end;
	uint32_t last = run->first + run->pages - 1;

	if (run->pages == 0 || run->first < next || run->pages > p->pages ||
	    run->first > p->pages - run->pages)
		return corrupt(why, "a run of pages is out of range");
	if (run->frame == FRAME_OF_ZEROS)
		return ERR_NONE;
	if (run->frame >= p->frames)
		return corrupt(why, "a run of pages lies in a frame that is not in its table");
	end = (uint64_t)run->offset + (uint64_t)(run->pages - 1) * MAP_PAGE_BYTES +
	      page_bytes(p, last);
	if (end > frame_at(p, run->frame).plain_len)
		return corrupt(why, "a run of pages ends beyond its frame");
	return ERR_NONE;
}

static enum err check_runs(struct parts *p, struct error *why)
{
	uint32_t next = 0;
	enum err err;

	p->stored_pages = 0;
	for (uint32_t i = 0; i < p->runs; i++) {
		struct run run = run_at(p, i, next);

		err = check_run(p, &run, next, why);
		if (err)
			return err;
		next = run.first + run.pages;
		if (run.frame != FRAME_OF_ZEROS)
			p->stored_pages += run.pages;
	}
	if (!p->patch && next != p->pages)
		return corrupt(why, "its runs do not cover its pages");
	if (p->page.len != (size_t)p->stored_pages * PAGE_BYTES_STORED)
		return corrupt(why, "its tags are not as many as its pages");
	/* Frames that no page uses could make the frames of base and patch overflow. */
	if (p->frames > p->stored_pages)
		return corrupt(why, "it has more frames than pages");
	return ERR_NONE;
}

static enum err parse(struct bytes in, struct parts *p, struct error *why)
{
	struct reader r = reader_of(in);
	enum err err = parse_head(&r, p, why);

	if (!err)
		err = parse_tables(&r, p, why);
	if (!err)
		err = check_frames(p, why);
	if (!err)
		err = check_runs(p, why);
	return err;
}

/* Puts the checked runs over the pages; frames of `p` are numbered from `first_frame` on. */
static void fill(const struct parts *p, uint32_t first_frame, struct shard *out)
{
	const uint8_t *stored = p->page.data;
	uint32_t next = 0;

	for (uint32_t i = 0; i < p->frames; i++)
		out->frame[first_frame + i] = frame_at(p, i);
	for (uint32_t i = 0; i < p->runs; i++) {
		struct run run = run_at(p, i, next);

		next = run.first + run.pages;
		for (uint32_t n = run.first; n < next; n++) {
			struct page_entry *page = &out->page[n];

			*page = (struct page_entry){.zero = true};
			if (run.frame == FRAME_OF_ZEROS)
				continue;
			memcpy(page->tag, stored, CRYPTO_TAG_BYTES);
			page->crc = get_u32(stored + CRYPTO_TAG_BYTES);
			page->zero = false;
			page->frame = (uint16_t)(first_frame + run.frame);
			page->offset = run.offset + (n - run.first) * MAP_PAGE_BYTES;
			stored += PAGE_BYTES_STORED;
		}
	}
	out->frames = first_frame + p->frames;
	out->pages = p->pages;
	out->last_bytes = p->last_bytes;
}

enum err shard_decode(struct bytes in, struct shard *out, struct error *why)
{
	struct parts p;
	enum err err = parse(in, &p, why);

	if (err)
		return err;
	if (p.patch)
		return corrupt(why, "it is a patch where a whole one was expected");
	fill(&p, 0, out);
	return ERR_NONE;
}

enum err shard_patch_base(struct bytes in, bool *is_patch, struct shard_ref *base,
			  struct error *why)
{
	struct parts p;
	struct reader r = reader_of(in);
	enum err err = parse_head(&r, &p, why);

	if (err)
		return err;
	*is_patch = p.patch;
	if (p.patch)
		*base = p.base;
	return ERR_NONE;
}

static void mark_patched(const struct parts *p, bool patched[SHARD_PAGES_MAX])
{
	memset(patched, 0, SHARD_PAGES_MAX * sizeof(patched[0]));
	for (uint32_t i = 0; i < p->runs; i++) {
		struct run run = run_at(p, i, 0);

		memset(patched + run.first, 1, run.pages);
	}
}

/* A page kept from the base may be longer now, when the base ended with it. */
static enum err check_kept(const struct parts *p, const struct shard *base,
			   const bool patched[SHARD_PAGES_MAX], struct error *why)
{
	for (uint32_t i = 0; i < p->pages && i < base->pages; i++) {
		const struct page_entry *page = &base->page[i];

		if (patched[i] || page->zero)
			continue;
		if ((uint64_t)page->offset + page_bytes(p, i) > base->frame[page->frame].plain_len)
			return corrupt(why, "a page of its base ends beyond its frame");
	}
	return ERR_NONE;
}

/* Drops frames that only patched pages used and closes the gaps: what is left, with the patch's
 * own, is at most one frame for each page. */
static void keep_frames(const struct parts *p, struct shard *base,
			const bool patched[SHARD_PAGES_MAX])
{
	bool used[SHARD_PAGES_MAX] = {false};
	uint16_t moved_to[SHARD_PAGES_MAX];
	uint32_t frames = 0;

	for (uint32_t i = 0; i < p->pages && i < base->pages; i++)
		if (!patched[i] && !base->page[i].zero)
			used[base->page[i].frame] = true;
	for (uint32_t i = 0; i < base->frames; i++) {
		if (!used[i])
			continue;
		moved_to[i] = (uint16_t)frames;
		base->frame[frames++] = base->frame[i];
	}
	base->frames = frames;
	for (uint32_t i = 0; i < p->pages && i < base->pages; i++)
		if (!patched[i] && !base->page[i].zero)
			base->page[i].frame = moved_to[base->page[i].frame];
}

enum err shard_decode_patch(struct bytes in, struct shard *out, struct error *why)
{
	struct parts p;
	bool patched[SHARD_PAGES_MAX];
	enum err err = parse(in, &p, why);

	if (err)
		return err;
	if (!p.patch)
		return corrupt(why, "it is a whole one where a patch was expected");
	mark_patched(&p, patched);
	err = check_kept(&p, out, patched, why);
	if (err)
		return err;
	keep_frames(&p, out, patched);
	for (uint32_t i = out->pages; i < p.pages; i++)
		out->page[i] = (struct page_entry){.zero = true};
	fill(&p, out->frames, out);
	return ERR_NONE;
}
