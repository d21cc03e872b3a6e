/* repo/wal_slices.c - joining slices of unfinished segments, and listing what WAL there is. */
#include "base/text.h"
#include "repo/wal_object.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { SLICES_MAX = 100000 }; /* of one segment */

/* Parses the last part of a key under wal/: a name, or a segment name and ".FROM-TO". */
static bool decode_part(const char *part, struct wal_listed *out)
{
	uint8_t range[8];
	struct error ignored;
	char segment[WAL_SEGMENT_NAME_LEN + 1];

	out->slice = false;
	out->from = out->to = 0;
	if (wal_name_from_text(part, &out->name, &ignored) == ERR_NONE)
		return true;
	/* 24 digits, '.', 8 digits, '-', 8 digits */
	if (strlen(part) != 42 || part[24] != '.' || part[33] != '-')
		return false;
	memcpy(segment, part, WAL_SEGMENT_NAME_LEN);
	segment[WAL_SEGMENT_NAME_LEN] = '\0';
	if (wal_name_from_text(segment, &out->name, &ignored) != ERR_NONE ||
	    !text_to_hex(bytes_of(part + 25, 8), range, 4) ||
	    !text_to_hex(bytes_of(part + 34, 8), range + 4, 4))
		return false;
	out->slice = true;
	for (int i = 0; i < 4; i++) {
		out->from = out->from << 8 | range[i];
		out->to = out->to << 8 | range[4 + i];
	}
	return out->from < out->to;
}

struct walk {
	enum err (*visit)(void *ctx, const struct wal_listed *, struct error *why);
	void *ctx;
	uint64_t from_segno;
	uint32_t segment_bytes; /* 0 = everything */
};

static enum err walk_object(void *ctx, const struct store_object *object, struct error *why)
{
	struct walk *w = ctx;
	struct wal_listed listed;
	const char *part = strrchr(object->key, '/');
	uint64_t segno;

	/* Foreign names are nobody's WAL; verify reports them. */
	if (part == NULL || !decode_part(part + 1, &listed))
		return ERR_NONE;
	if (w->segment_bytes != 0 &&
	    (listed.name.kind == WAL_NAME_HISTORY ||
	     !wal_name_segno(&listed.name, w->segment_bytes, &segno) || segno < w->from_segno))
		return ERR_NONE;
	listed.stored_bytes = object->size;
	return w->visit(w->ctx, &listed, why);
}

enum err wal_list(const struct cluster *cluster,
		  enum err (*visit)(void *ctx, const struct wal_listed *, struct error *why),
		  void *ctx, struct error *why)
{
	struct walk w = {.visit = visit, .ctx = ctx};
	char prefix[STORE_KEY_MAX];

	(void)snprintf(prefix, sizeof(prefix), "%swal/", cluster->prefix); /* fits */
	return store_list(cluster->repository->store, prefix, walk_object, &w, why);
}

enum err wal_list_timeline(const struct cluster *cluster, uint32_t timeline, uint64_t from_segno,
			   uint32_t segment_bytes,
			   enum err (*visit)(void *ctx, const struct wal_listed *,
					     struct error *why),
			   void *ctx, struct error *why)
{
	struct walk w = {.visit = visit,
			 .ctx = ctx,
			 .from_segno = from_segno,
			 .segment_bytes = segment_bytes};
	char prefix[STORE_KEY_MAX];

	(void)snprintf(prefix, sizeof(prefix), "%swal/%08" PRIX32 "/", cluster->prefix,
		       timeline); /* fits */
	return store_list(cluster->repository->store, prefix, walk_object, &w, why);
}

static enum err found_one(void *ctx, const struct wal_listed *listed, struct error *why)
{
	if (listed->name.kind != WAL_NAME_SEGMENT) /* slices have the segment's kind */
		return ERR_NONE;
	*(bool *)ctx = true;
	return error_set(why, ERR_EXISTS, "found"); /* ends the walk */
}

enum err wal_has_later(const struct cluster *cluster, uint32_t timeline, uint64_t segno,
		       uint32_t segment_bytes, bool *out, struct error *why)
{
	bool found = false;
	enum err e =
		wal_list_timeline(cluster, timeline, segno, segment_bytes, found_one, &found, why);

	if (e != ERR_NONE && !found)
		return e;
	*out = found;
	return ERR_NONE;
}

enum err wal_any(const struct cluster *cluster, bool *out, struct error *why)
{
	bool found = false;
	enum err e = wal_list(cluster, found_one, &found, why);

	if (e != ERR_NONE && !found)
		return e;
	*out = found;
	return ERR_NONE;
}

struct slice {
	uint32_t from, to;
};

struct slices {
	uint64_t segno;
	uint32_t segment_bytes;
	struct slice *slice; /* owned */
	size_t count, max;
};

static enum err collect_slice(void *ctx, const struct wal_listed *listed, struct error *why)
{
	struct slices *s = ctx;
	uint64_t segno;

	if (!wal_name_segno(&listed->name, s->segment_bytes, &segno) || segno != s->segno)
		return error_set(why, ERR_EXISTS, "past it"); /* ends the walk */
	if (!listed->slice)
		return ERR_NONE;
	if (s->count == s->max) {
		size_t more = s->max == 0 ? 64 : s->max * 2;
		struct slice *bigger;

		if (more > SLICES_MAX)
			return error_set(why, ERR_LIMIT, "more than %d slices of a segment",
					 SLICES_MAX);
		bigger = realloc(s->slice, more * sizeof(*bigger));
		if (bigger == NULL)
			return error_set(why, ERR_MEMORY, "list of slices: out of memory");
		s->slice = bigger;
		s->max = more;
	}
	s->slice[s->count++] = (struct slice){.from = listed->from, .to = listed->to};
	return ERR_NONE;
}

/* Reads one slice into its place. */
static enum err read_slice(const struct cluster *cluster, struct object_reader *reader,
			   const struct wal_name *name, const struct slice *slice, uint8_t *segment,
			   struct error *why)
{
	const struct frame_entry *entry;
	char key[STORE_KEY_MAX];
	uint32_t at = slice->from;
	uint64_t size;
	size_t count;
	enum err e;

	wal_slice_key(cluster, name, slice->from, slice->to, key);
	e = object_open(reader, key, OBJECT_WAL_SLICE, why);
	if (e == ERR_NONE)
		e = object_directory(reader, &entry, &count, &size, why);
	for (size_t i = 0; e == ERR_NONE && i < count; i++) {
		struct bytes plain;

		if (entry[i].frame_class != FRAME_WAL_BYTES)
			continue;
		e = object_frame(reader, FRAME_WAL_BYTES, &entry[i].place, &plain, why);
		if (e == ERR_NONE && plain.len > slice->to - at)
			e = error_set(why, ERR_CORRUPT, "%s: more bytes than its name says", key);
		if (e == ERR_NONE) {
			memcpy(segment + at, plain.data, plain.len);
			at += (uint32_t)plain.len;
		}
	}
	if (e == ERR_NONE && at != slice->to)
		e = error_set(why, ERR_CORRUPT, "%s: fewer bytes than its name says", key);
	return e;
}

enum err wal_get_sliced(const struct cluster *cluster, const struct wal_name *name,
			uint32_t segment_bytes, uint8_t **out, uint32_t *valid, struct error *why)
{
	struct slices s = {.segment_bytes = segment_bytes};
	struct object_reader *reader = NULL;
	uint8_t *segment = NULL;
	uint32_t reached = 0;
	char text[WAL_NAME_MAX];
	enum err e;

	wal_name_to_text(name, text);
	if (!wal_name_segno(name, segment_bytes, &s.segno))
		return error_set(why, ERR_CONFIG, "no segment %s with this segment size", text);
	e = wal_list_timeline(cluster, name->timeline, s.segno, segment_bytes, collect_slice, &s,
			      why);
	if (e == ERR_EXISTS)
		e = ERR_NONE;
	if (e == ERR_NONE)
		e = object_reader_new(cluster->repository, &reader, why);
	if (e != ERR_NONE)
		goto out;
	segment = calloc(1, segment_bytes);
	if (segment == NULL) {
		e = error_set(why, ERR_MEMORY, "no memory for a segment");
		goto out;
	}
	/* Keys ascend by `from`; of those that continue what is there, the longest wins. */
	for (;;) {
		const struct slice *best = NULL;

		for (size_t i = 0; i < s.count && s.slice[i].from <= reached; i++)
			if (s.slice[i].to > reached && (best == NULL || s.slice[i].to > best->to))
				best = &s.slice[i];
		if (best == NULL || best->to > segment_bytes)
			break;
		e = read_slice(cluster, reader, name, best, segment, why);
		if (e != ERR_NONE)
			goto out;
		reached = best->to;
	}
	if (reached == 0) {
		e = error_set(why, ERR_MISSING, "no slice of segment %s in %s", text,
			      cluster->repository->store->label);
		goto out;
	}
	*out = segment;
	*valid = reached;
	segment = NULL;
out:
	free(segment);
	free(s.slice);
	object_reader_free(reader);
	return e;
}
