/* backup/mapper_place.c - the end of a shard: a reference to the parent's, a patch over a whole one of
 * the parent, or written whole; and what it uses of packs is counted.
 */
#include "backup/mapper_internal.h"

#include <assert.h>
#include <stdlib.h>

enum { PATCH_QUARTER = 4 /* a patch names at most this part of the pages */ };

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

enum err mapper_write_shards(struct mapper *m, struct error *why)
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
		return mapper_no_memory(why);
	if (m->shards.len + m->encoded.len > FRAME_SECTION_MAX)
		e = mapper_write_shards(m, why);
	if (e != ERR_NONE)
		return e;
	if (m->refs == m->refs_max) {
		size_t more = m->refs_max == 0 ? 64 : m->refs_max * 2;
		struct open_ref *bigger = reallocarray(m->ref, more, sizeof(*bigger));

		if (bigger == NULL)
			return mapper_no_memory(why);
		m->ref = bigger;
		m->refs_max = more;
	}
	m->ref[m->refs++] = (struct open_ref){.ticket = ticket,
					      .offset = (uint32_t)m->shards.len,
					      .len = (uint32_t)m->encoded.len};
	writer_bytes(&m->shards, writer_view(&m->encoded));
	return m->shards.bad ? mapper_no_memory(why) : ERR_NONE;
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

enum err mapper_place(struct mapper *m, const struct forming *f, struct error *why)
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
