/* backup/mapper.c - pages become shards, and shards find their place: in the parent, when nothing in
 * them changed; as a patch over a whole shard of the parent; or whole.
 *
 * Changed pages that came with too few others for a frame are gathered, across shards and files, in
 * the open page frame.  A shard with pages there waits: its entries name a frame that has no place
 * yet.  At most MAPPER_WAITING_MAX wait, then the frame is written as it is.
 */
#include "backup/mapper_internal.h"

#include <assert.h>
#include <stdlib.h>

enum err mapper_no_memory(struct error *why)
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
		return mapper_no_memory(why);
	m->config = *config;
	m->frame_index = NO_FRAME;
	writer_init(&m->encoded, SHARD_ENCODED_MAX);
	writer_init(&m->shards, FRAME_SECTION_MAX);
	m->now = forming_new();
	m->base = malloc(sizeof(*m->base));
	m->packed = malloc(compressor_bound(FRAME_SECTION_MAX));
	m->loose = malloc(FRAME_PAGES_MAX);
	if (m->now == NULL || m->base == NULL || m->packed == NULL || m->loose == NULL)
		e = mapper_no_memory(why);
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
			e = mapper_place(m, m->waiting[i], why);
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
		return mapper_no_memory(why);
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
		e = mapper_place(m, now, why);
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

	return e != ERR_NONE ? e : mapper_write_shards(m, why);
}
