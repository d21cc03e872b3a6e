/* repo/manifest_codec.c - a manifest in memory, and the plain bytes of its pack table and root
 * (FORMAT.md section 10).  No I/O.
 */
#include "repo/manifest_internal.h"

#include <stdlib.h>

enum {
	PACKS_MIN = 64,     /* first capacity */
	PACKS_MAX = 1 << 18 /* 18 MiB of table: above what an object of 16 MiB holds */
};

/* Packs by id: open addressing, at most half full; a slot holds index + 1, 0 = empty. */
struct pack_index {
	uint32_t *slot;
	uint32_t slots;    /* a power of two, or 0 */
	uint32_t capacity; /* of manifest.pack */
	uint32_t last;     /* the answer before: frames come in the order of their packs */
};

struct manifest *manifest_new(void)
{
	struct manifest *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->summary.data_checksums = -1;
	m->index = calloc(1, sizeof(*m->index));
	if (!m->index) {
		free(m);
		return NULL;
	}
	return m;
}

void manifest_free(struct manifest *m)
{
	if (!m)
		return;
	for (uint32_t i = 0; i < m->sections; i++)
		free(m->section[i].frame);
	free(m->section);
	free(m->pack);
	free(m->index->slot);
	free(m->index);
	summary_release(&m->summary);
	free(m);
}

/* The slot that holds `id`, or the empty one where it belongs. */
static uint32_t *slot_of(const struct manifest *m, const struct pack_id *id)
{
	struct pack_index *index = m->index;
	/* The second half of an attempt is random; consecutive packs take consecutive slots. */
	uint64_t hash = get_u64(id->attempt.id + 8) + id->seq;

	for (uint32_t i = (uint32_t)(hash ^ hash >> 32);; i++) {
		uint32_t *slot = &index->slot[i & (index->slots - 1)];

		if (*slot == 0 || pack_id_same(&m->pack[*slot - 1].id, id))
			return slot;
	}
}

static enum err make_room(struct manifest *m, struct error *why)
{
	struct pack_index *index = m->index;
	uint32_t capacity = index->capacity ? 2 * index->capacity : PACKS_MIN;
	struct pack_entry *pack;
	uint32_t *slot;

	if (m->packs < index->capacity)
		return ERR_NONE;
	if (m->packs >= PACKS_MAX)
		return error_set(why, ERR_LIMIT, "manifest: more than %d packs", PACKS_MAX);
	pack = realloc(m->pack, capacity * sizeof(*pack));
	if (!pack)
		return error_set(why, ERR_MEMORY, "manifest: no memory for %u packs", capacity);
	m->pack = pack;
	slot = calloc((size_t)capacity * 2, sizeof(*slot));
	if (!slot)
		return error_set(why, ERR_MEMORY, "manifest: no memory for %u packs", capacity);
	free(index->slot);
	index->slot = slot;
	index->slots = capacity * 2;
	index->capacity = capacity;
	for (uint32_t i = 0; i < m->packs; i++)
		*slot_of(m, &m->pack[i].id) = i + 1;
	return ERR_NONE;
}

enum err manifest_pack_index(struct manifest *m, const struct pack_id *id, uint32_t *out,
			     struct error *why)
{
	struct pack_index *index = m->index;
	enum err err;

	if (index->last < m->packs && pack_id_same(&m->pack[index->last].id, id)) {
		*out = index->last;
		return ERR_NONE;
	}
	err = make_room(m, why);
	if (err)
		return err;
	uint32_t *slot = slot_of(m, id);

	if (*slot == 0) {
		m->pack[m->packs] = (struct pack_entry){.id = *id};
		*slot = ++m->packs;
	}
	*out = index->last = *slot - 1;
	return ERR_NONE;
}

bool manifest_pack_find(const struct manifest *m, const struct pack_id *id, uint32_t *out)
{
	const uint32_t *slot = m->packs > 0 ? slot_of(m, id) : NULL;

	if (slot == NULL || *slot == 0)
		return false;
	*out = *slot - 1;
	return true;
}

static struct section *find_section(const struct manifest *m, const char *name)
{
	for (uint32_t i = 0; i < m->sections; i++)
		if (strcmp(m->section[i].name, name) == 0)
			return &m->section[i];
	return NULL;
}

const struct section *manifest_section(const struct manifest *m, const char *name)
{
	return find_section(m, name);
}

enum err manifest_section_ensure(struct manifest *m, const char *name, struct section **out,
				 struct error *why)
{
	struct section *more = find_section(m, name);
	size_t len = strlen(name);

	if (more) {
		*out = more;
		return ERR_NONE;
	}
	if (len == 0 || len >= SECTION_NAME_MAX || m->sections == MANIFEST_SECTIONS_MAX)
		return error_set(why, ERR_LIMIT,
				 "manifest: section '%s': its name is too long, or there are %d",
				 name, MANIFEST_SECTIONS_MAX);
	more = realloc(m->section, (m->sections + 1) * sizeof(*more));
	if (!more)
		return error_set(why, ERR_MEMORY, "manifest: section '%s': no memory", name);
	m->section = more;
	more += m->sections++;
	*more = (struct section){.frames = 0};
	memcpy(more->name, name, len);
	*out = more;
	return ERR_NONE;
}

enum err section_add_frame(struct section *s, uint32_t pack, const struct frame_place *place,
			   struct error *why)
{
	/* Doubled whenever the count is a power of two: no capacity needs keeping. */
	if ((s->frames & (s->frames - 1)) == 0) {
		size_t capacity = s->frames ? 2 * (size_t)s->frames : 1;
		struct section_frame *more = realloc(s->frame, capacity * sizeof(*more));

		if (!more)
			return error_set(why, ERR_MEMORY, "manifest: section '%s': no memory",
					 s->name);
		s->frame = more;
	}
	s->frame[s->frames++] = (struct section_frame){.pack = pack, .place = *place};
	s->plain_bytes += place->plain_len;
	return ERR_NONE;
}

void pack_table_encode(const struct manifest *m, struct writer *out)
{
	for (uint32_t i = 0; i < m->packs; i++) {
		const struct pack_entry *pack = &m->pack[i];

		writer_bytes(out, bytes_of(pack->id.attempt.id, ATTEMPT_BYTES));
		writer_u32(out, pack->id.seq);
		writer_u32(out, pack->plain_kib);
		writer_u64(out, pack->size);
		writer_u64(out, pack->live_bytes);
		writer_bytes(out, bytes_of(pack->sha256, CRYPTO_SHA256_BYTES));
	}
}

enum err pack_table_decode(struct bytes in, struct manifest *m, struct error *why)
{
	if (in.len % PACK_ENTRY_BYTES)
		return error_set(why, ERR_CORRUPT, "pack table: it ends inside an entry");
	for (const uint8_t *at = in.data; at != in.data + in.len; at += PACK_ENTRY_BYTES) {
		struct pack_id id = {.seq = get_u32(at + ATTEMPT_BYTES)};
		struct pack_entry *pack;
		uint32_t before = m->packs, index;
		enum err err;

		memcpy(id.attempt.id, at, ATTEMPT_BYTES);
		err = manifest_pack_index(m, &id, &index, why);
		if (err)
			return err;
		if (index != before)
			return error_set(why, ERR_CORRUPT, "pack table: entry %u is there twice",
					 before);
		pack = &m->pack[index];
		pack->plain_kib = get_u32(at + 20);
		pack->size = get_u64(at + 24);
		pack->live_bytes = get_u64(at + 32);
		memcpy(pack->sha256, at + 40, CRYPTO_SHA256_BYTES);
	}
	return ERR_NONE;
}

void root_encode(const struct manifest *m, struct writer *out)
{
	writer_u32(out, m->sections);
	for (uint32_t i = 0; i < m->sections; i++) {
		const struct section *s = &m->section[i];

		writer_short_bytes(out, bytes_of_text(s->name));
		writer_u64(out, s->plain_bytes);
		writer_u32(out, s->frames);
		for (uint32_t n = 0; n < s->frames; n++) {
			uint8_t ref[FRAME_REF_BYTES];

			put_frame_ref(ref, s->frame[n].pack, &s->frame[n].place);
			writer_bytes(out, bytes_of(ref, sizeof(ref)));
		}
	}
}

static enum err bad_root(struct error *why, const char *what)
{
	return error_set(why, ERR_CORRUPT, "root of the manifest: %s", what);
}

static enum err decode_frames(struct reader *r, uint32_t frames, const struct manifest *m,
			      struct section *s, struct error *why)
{
	for (uint32_t i = 0; i < frames; i++) {
		struct bytes at = reader_take(r, FRAME_REF_BYTES);
		struct section_frame frame;
		enum err err;

		if (!at.data)
			return bad_root(why, "it ends inside a section");
		get_frame_ref(at.data, &frame.pack, &frame.place);
		if (frame.pack >= m->packs)
			return bad_root(why, "a section lies in a pack that is not in the table");
		if (frame.place.plain_len == 0 || frame.place.plain_len > FRAME_PLAIN_MAX)
			return bad_root(why, "the length of a section's frame is out of range");
		err = section_add_frame(s, frame.pack, &frame.place, why);
		if (err)
			return err;
	}
	return ERR_NONE;
}

static enum err decode_section(struct reader *r, struct manifest *m, struct error *why)
{
	struct bytes name = reader_short_bytes(r);
	uint64_t plain_bytes = reader_u64(r);
	uint32_t frames = reader_u32(r);
	char text[SECTION_NAME_MAX] = "";
	struct section *s;
	enum err err;

	if (r->bad)
		return bad_root(why, "it ends inside a section");
	if (name.len == 0 || name.len >= SECTION_NAME_MAX || memchr(name.data, '\0', name.len))
		return bad_root(why, "the name of a section makes no sense");
	memcpy(text, name.data, name.len);
	if (find_section(m, text))
		return bad_root(why, "a section is there twice");
	err = manifest_section_ensure(m, text, &s, why);
	if (!err)
		err = decode_frames(r, frames, m, s, why);
	if (!err && s->plain_bytes != plain_bytes)
		return bad_root(why, "the length of a section is not that of its frames");
	return err;
}

enum err root_decode(struct bytes in, struct manifest *m, struct error *why)
{
	struct reader r = reader_of(in);
	uint32_t sections = reader_u32(&r);
	enum err err;

	if (r.bad || sections > MANIFEST_SECTIONS_MAX)
		return bad_root(why, "its number of sections is out of range");
	for (uint32_t i = 0; i < sections; i++) {
		err = decode_section(&r, m, why);
		if (err)
			return err;
	}
	return r.left ? bad_root(why, "it goes on after its last section") : ERR_NONE;
}
