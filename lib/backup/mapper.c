/* backup/mapper.c - pages become shards, and shards find their place: in the parent, when nothing in
 * them changed; as a patch over a whole shard of the parent; or whole.
 *
 * Changed pages that came with too few others for a frame are gathered, across shards and files, in
 * the open page frame.  A shard with pages there waits: its entries name a frame that has no place
 * yet.  At most MAPPER_WAITING_MAX wait, then the frame is written as it is.
 */
#include "backup/backup_internal.h"

#include <assert.h>
#include <stdlib.h>

enum {
	PATCH_QUARTER = 4, /* a patch names at most this part of the pages */
	NO_FRAME = UINT16_MAX
};

/* A shard on its way. */
struct forming {
	struct shard shard;
	struct batch_origin origin;
	bool has_origin;
	uint32_t changed;    /* pages that are not as and where the parent has them */
	uint16_t open_frame; /* of the shard: the open page frame; or NO_FRAME */
	size_t ticket;
};

/* A shard in the open shard frame. */
struct open_ref {
	size_t ticket;
	uint32_t offset, len;
};

struct mapper {
	struct mapper_config config;
	struct parent_reader *bases;
	struct shard *base; /* of a patch at hand */
	struct compressor *compressor;
	uint8_t *packed;     /* compressor_bound(FRAME_SECTION_MAX) */
	struct forming *now; /* the shard at hand */
	struct forming *waiting[MAPPER_WAITING_MAX], *spare[MAPPER_WAITING_MAX + 1];
	uint32_t waitings, spares;
	uint8_t *loose; /* the open page frame, FRAME_PAGES_MAX */
	uint32_t loose_len;
	struct frame_ref frame;                 /* the batch's */
	uint16_t frame_index;                   /* of it in the shard at hand, or NO_FRAME */
	uint16_t index_of_old[SHARD_PAGES_MAX]; /* the parent's frames in the shard at hand */
	struct writer encoded, shards;          /* one shard; the open shard frame */
	struct open_ref *ref;                   /* grows with the shards of a frame */
	size_t refs, refs_max;
	struct frame_ref read_last; /* counted last in bytes_read */
	uint32_t used[SHARD_PAGES_MAX];
	struct mapper_totals totals;
};

static enum err no_memory(struct error *why)
{
	return error_set(why, ERR_MEMORY, "making page maps: out of memory");
}

static struct forming *forming_new(void)
{
	struct forming *f = malloc(sizeof(*f)); /* 140 KiB that need no clearing */

	if (f == NULL)
		return NULL;
	shard_reset(&f->shard);
	f->has_origin = false;
	f->changed = 0;
	f->open_frame = NO_FRAME;
	f->ticket = 0;
	return f;
}

enum err mapper_new(const struct mapper_config *config, struct mapper **out, struct error *why)
{
	struct mapper *m = calloc(1, sizeof(*m));
	enum err e = ERR_NONE;

	if (m == NULL)
		return no_memory(why);
	m->config = *config;
	m->frame_index = NO_FRAME;
	writer_init(&m->encoded, SHARD_ENCODED_MAX);
	writer_init(&m->shards, FRAME_SECTION_MAX);
	m->now = forming_new();
	m->base = malloc(sizeof(*m->base));
	m->packed = malloc(compressor_bound(FRAME_SECTION_MAX));
	m->loose = malloc(FRAME_PAGES_MAX);
	if (m->now == NULL || m->base == NULL || m->packed == NULL || m->loose == NULL)
		e = no_memory(why);
	if (e == ERR_NONE)
		e = compressor_new(config->level, FRAME_SECTION_MAX, &m->compressor, why);
	if (e == ERR_NONE && config->parent != NULL)
		e = parent_reader_new(config->parent, &m->bases, why);
	if (e != ERR_NONE) {
		mapper_free(m);
		return e;
	}
	*out = m;
	return ERR_NONE;
}

void mapper_free(struct mapper *m)
{
	if (m == NULL)
		return;
	parent_reader_free(m->bases);
	compressor_free(m->compressor);
	writer_release(&m->encoded);
	writer_release(&m->shards);
	for (uint32_t i = 0; i < m->waitings; i++)
		free(m->waiting[i]);
	for (uint32_t i = 0; i < m->spares; i++)
		free(m->spare[i]);
	free(m->now);
	free(m->base);
	free(m->packed);
	free(m->loose);
	free(m->ref);
	free(m);
}

const struct mapper_totals *mapper_totals(const struct mapper *m)
{
	return &m->totals;
}

/* ---- placing a shard that is complete ---- */

/* The parent's entry of a pack that is listed there; NULL: it is of this backup. */
static const struct pack_entry *known_pack(const struct mapper *m, const struct pack_id *id)
{
	const struct manifest *parent;
	uint32_t index;

	if (m->config.parent == NULL)
		return NULL;
	parent = parent_map_manifest(m->config.parent);
	return manifest_pack_find(parent, id, &index) ? &parent->pack[index] : NULL;
}

/* Counts a shard of the parent that this backup goes on using. */
static enum err borrow_shard(struct mapper *m, const struct shard_ref *at, struct error *why)
{
	const struct pack_entry *known = known_pack(m, &at->frame.pack);

	assert(known != NULL); /* parent_reader_shard saw to it */
	return pack_borrow(m->config.packs, known, at->len, why);
}

/* Counts what the shard's pages use of each frame: live bytes of packs of earlier backups (those of
 * this one were counted when they were written), and what a restore will read. */
static enum err count_pages(struct mapper *m, const struct shard *s, struct error *why)
{
	memset(m->used, 0, s->frames * sizeof(m->used[0]));
	for (uint32_t i = 0; i < s->pages; i++)
		if (!s->page[i].zero)
			m->used[s->page[i].frame] +=
				i + 1U == s->pages ? s->last_bytes : MAP_PAGE_BYTES;
	for (uint32_t i = 0; i < s->frames; i++) {
		const struct frame_ref *frame = &s->frame[i];
		uint64_t stored = (uint64_t)frame->stored_len + FRAME_OVERHEAD_BYTES;
		const struct pack_entry *known;
		enum err e = ERR_NONE;

		if (m->used[i] == 0)
			continue;
		known = known_pack(m, &frame->pack);
		if (known != NULL)
			e = pack_borrow(m->config.packs, known, m->used[i], why);
		if (e != ERR_NONE)
			return e;
		if (!frame_ref_same(frame, &m->read_last))
			m->totals.bytes_read += stored;
		m->totals.bytes_used += stored * m->used[i] / frame->plain_len;
		m->read_last = *frame;
	}
	return ERR_NONE;
}

/* Writes the open shard frame and tells where its shards lie. */
static enum err write_shards(struct mapper *m, struct error *why)
{
	struct pack_writer *packs = m->config.packs;
	struct file_shard_ref ref;
	struct frame_ref placed;
	enum codec codec;
	size_t packed_len;
	enum err e;

	if (m->shards.len == 0)
		return ERR_NONE;
	e = compressor_run(m->compressor, writer_view(&m->shards), m->packed,
			   compressor_bound(FRAME_SECTION_MAX), &packed_len, &codec, why);
	if (e == ERR_NONE)
		e = pack_add(packs, FRAME_SHARD, codec, bytes_of(m->packed, packed_len),
			     (uint32_t)m->shards.len, &placed, why);
	if (e == ERR_NONE)
		e = pack_index(packs, &placed.pack, &ref.pack, why);
	if (e != ERR_NONE)
		return e;
	ref.place = (struct frame_place){.ordinal = placed.ordinal,
					 .offset = placed.offset,
					 .stored_len = placed.stored_len,
					 .plain_len = placed.plain_len};
	for (size_t i = 0; i < m->refs; i++) {
		ref.offset = m->ref[i].offset;
		ref.len = m->ref[i].len;
		m->config.placed(m->config.ctx, m->ref[i].ticket, &ref);
	}
	m->refs = 0;
	writer_reset(&m->shards);
	return ERR_NONE;
}

/* The encoded shard goes into the open shard frame. */
static enum err add_encoded(struct mapper *m, size_t ticket, struct error *why)
{
	enum err e = ERR_NONE;

	if (m->encoded.bad)
		return no_memory(why);
	if (m->shards.len + m->encoded.len > FRAME_SECTION_MAX)
		e = write_shards(m, why);
	if (e != ERR_NONE)
		return e;
	if (m->refs == m->refs_max) {
		size_t more = m->refs_max == 0 ? 64 : m->refs_max * 2;
		struct open_ref *bigger = reallocarray(m->ref, more, sizeof(*bigger));

		if (bigger == NULL)
			return no_memory(why);
		m->ref = bigger;
		m->refs_max = more;
	}
	m->ref[m->refs++] = (struct open_ref){.ticket = ticket,
					      .offset = (uint32_t)m->shards.len,
					      .len = (uint32_t)m->encoded.len};
	writer_bytes(&m->shards, writer_view(&m->encoded));
	return m->shards.bad ? no_memory(why) : ERR_NONE;
}

/* Nothing changed: the parent's shard is ours. */
static enum err refer(struct mapper *m, const struct forming *f, struct error *why)
{
	const struct parent_origin *from = &f->origin.from;
	const struct frame_ref *frame = &from->at.frame;
	struct file_shard_ref ref = {
		.place = {.ordinal = frame->ordinal,
			  .offset = frame->offset,
			  .stored_len = frame->stored_len,
			  .plain_len = frame->plain_len},
		.offset = from->at.offset,
		.len = from->at.len,
	};
	enum err e = borrow_shard(m, &from->at, why);

	if (e == ERR_NONE && from->is_patch)
		e = borrow_shard(m, &from->base, why);
	if (e == ERR_NONE)
		e = pack_index(m->config.packs, &frame->pack, &ref.pack, why);
	if (e == ERR_NONE)
		m->config.placed(m->config.ctx, f->ticket, &ref);
	return e;
}

/* Encodes a patch over the whole shard that the parent's rests on, when it is worth it. */
static enum err try_patch(struct mapper *m, const struct forming *f, bool *done, struct error *why)
{
	const struct parent_origin *from = &f->origin.from;
	const struct shard *s = &f->shard;
	enum err e;

	*done = false;
	if (!f->has_origin || f->origin.renew_base || f->changed * PATCH_QUARTER > s->pages)
		return ERR_NONE;
	e = parent_reader_base(m->bases, from, m->base, why);
	if (e == ERR_CORRUPT)
		return ERR_NONE; /* written whole, which needs no base */
	if (e != ERR_NONE)
		return e;
	if (shard_differences(m->base, s) * PATCH_QUARTER > s->pages)
		return ERR_NONE;
	shard_encode_patch(m->base, s, &from->base, &m->encoded);
	/* Of few pages a patch is the longer one. */
	*done = !m->encoded.bad &&
		m->encoded.len < s->pages * (CRYPTO_TAG_BYTES + sizeof(uint32_t));
	return *done ? borrow_shard(m, &from->base, why) : ERR_NONE;
}

static bool is_unchanged(const struct forming *f)
{
	return f->has_origin && !f->origin.renew && !f->origin.renew_base && f->changed == 0 &&
	       f->origin.pages == f->shard.pages && f->origin.last_bytes == f->shard.last_bytes;
}

static enum err place(struct mapper *m, const struct forming *f, struct error *why)
{
	bool done;
	enum err e = count_pages(m, &f->shard, why);

	if (e != ERR_NONE)
		return e;
	if (is_unchanged(f))
		return refer(m, f, why);
	writer_reset(&m->encoded);
	e = try_patch(m, f, &done, why);
	if (e == ERR_NONE && !done) {
		writer_reset(&m->encoded);
		shard_encode(&f->shard, &m->encoded);
	}
	return e != ERR_NONE ? e : add_encoded(m, f->ticket, why);
}

/* ---- the open page frame ---- */

static void frame_is_placed(struct forming *f, const struct frame_ref *frame)
{
	if (f->open_frame != NO_FRAME)
		f->shard.frame[f->open_frame] = *frame;
	f->open_frame = NO_FRAME;
}

/* Writes the open page frame; shards that waited for it are placed. */
static enum err write_loose(struct mapper *m, struct error *why)
{
	struct frame_ref frame;
	enum codec codec;
	size_t packed_len;
	enum err e;

	if (m->loose_len == 0)
		return ERR_NONE;
	e = compressor_run(m->compressor, bytes_of(m->loose, m->loose_len), m->packed,
			   compressor_bound(FRAME_SECTION_MAX), &packed_len, &codec, why);
	if (e == ERR_NONE)
		e = pack_add(m->config.packs, FRAME_PAGES, codec, bytes_of(m->packed, packed_len),
			     m->loose_len, &frame, why);
	if (e != ERR_NONE)
		return e;
	m->loose_len = 0;
	frame_is_placed(m->now, &frame);
	for (uint32_t i = 0; i < m->waitings; i++) {
		frame_is_placed(m->waiting[i], &frame);
		if (e == ERR_NONE)
			e = place(m, m->waiting[i], why);
		m->spare[m->spares++] = m->waiting[i];
	}
	m->waitings = 0;
	return e;
}

/* ---- the shard at hand ---- */

uint32_t mapper_pages(const struct mapper *m)
{
	return m->now->shard.pages;
}

void mapper_set_frame(struct mapper *m, const struct frame_ref *frame)
{
	m->frame = *frame;
	m->frame_index = NO_FRAME;
}

void mapper_set_origin(struct mapper *m, const struct batch_origin *origin)
{
	assert(m->now->shard.pages == 0);
	m->now->origin = *origin;
	m->now->has_origin = true;
	for (uint32_t i = 0; i < origin->frames; i++)
		m->index_of_old[i] = NO_FRAME;
}

void mapper_zero(struct mapper *m, uint32_t page_bytes)
{
	shard_add_zero(&m->now->shard, page_bytes);
}

void mapper_zeros_changed(struct mapper *m, uint32_t pages)
{
	m->now->changed += pages;
	m->totals.pages_changed += pages;
}

static void add_same(struct mapper *m, const struct batch_page *page)
{
	uint16_t *index = &m->index_of_old[page->old.frame];
	struct shard *s = &m->now->shard;

	assert(m->now->has_origin);
	if (*index == NO_FRAME)
		*index = shard_add_frame(s, &page->old_frame);
	shard_add_in(s, page->len, page->tag, page->crc, *index, page->old.offset);
}

static enum err add_loose(struct mapper *m, const struct batch_page *page, const uint8_t *data,
			  struct error *why)
{
	static const struct frame_ref nowhere; /* until the frame is written */
	struct forming *now = m->now;

	if (now->open_frame == NO_FRAME)
		now->open_frame = shard_add_frame(&now->shard, &nowhere);
	memcpy(m->loose + m->loose_len, data, page->len);
	shard_add_in(&now->shard, page->len, page->tag, page->crc, now->open_frame, m->loose_len);
	m->loose_len += page->len;
	/* There is always room for one more. */
	return m->loose_len > FRAME_PAGES_MAX - MAP_PAGE_BYTES ? write_loose(m, why) : ERR_NONE;
}

enum err mapper_page(struct mapper *m, const struct batch_page *page, const uint8_t *data,
		     struct error *why)
{
	if (page->state == PAGE_SAME) {
		add_same(m, page);
		return ERR_NONE;
	}
	m->now->changed++;
	if (page->renewed) {
		m->totals.bytes_renewed += page->len;
	} else {
		m->totals.bytes_new += page->len;
		m->totals.pages_changed++;
	}
	if (page->state == PAGE_LOOSE)
		return add_loose(m, page, data, why);
	if (m->frame_index == NO_FRAME)
		m->frame_index = shard_add_frame(&m->now->shard, &m->frame);
	shard_add_in(&m->now->shard, page->len, page->tag, page->crc, m->frame_index, page->place);
	return ERR_NONE;
}

static enum err begin_anew(struct mapper *m, struct error *why)
{
	m->now = m->spares > 0 ? m->spare[--m->spares] : forming_new();
	if (m->now == NULL)
		return no_memory(why);
	shard_reset(&m->now->shard);
	m->now->has_origin = false;
	m->now->changed = 0;
	m->frame_index = NO_FRAME;
	return ERR_NONE;
}

enum err mapper_end_shard(struct mapper *m, size_t ticket, struct error *why)
{
	struct forming *now = m->now;
	enum err e = ERR_NONE;

	now->ticket = ticket;
	if (now->open_frame != NO_FRAME && m->waitings == MAPPER_WAITING_MAX)
		e = write_loose(m, why);
	if (e != ERR_NONE)
		return e;
	if (now->open_frame != NO_FRAME) {
		m->waiting[m->waitings++] = now;
	} else {
		e = place(m, now, why);
		if (e != ERR_NONE)
			return e;
		m->spare[m->spares++] = now;
	}
	m->now = NULL;
	return begin_anew(m, why);
}

enum err mapper_flush(struct mapper *m, struct error *why)
{
	enum err e = write_loose(m, why);

	return e != ERR_NONE ? e : write_shards(m, why);
}
