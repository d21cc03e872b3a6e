/* repo/wal_slices.c - joining slices of unfinished segments, and listing what WAL there is. */
#include "base/text.h"
#include "repo/wal_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { SLICES_MAX = 65536 /* of one segment */ };

bool wal_listed_decode(const char *part, struct wal_listed *out)
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
	if (part == NULL || !wal_listed_decode(part + 1, &listed))
		return ERR_NONE;
	if (w->segment_bytes != 0 &&
	    (listed.name.kind == WAL_NAME_HISTORY ||
	     !wal_name_segno(&listed.name, w->segment_bytes, &segno) || segno < w->from_segno))
		return ERR_NONE;
	listed.stored_bytes = object->size;
	listed.stored_at_us = object->stored_at_us;
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

/* Folders under wal/ are named by 8 digits; lower case is not ours. */
static bool decode_folder(const char *part, uint32_t *out)
{
	uint8_t number[4];

	if (strspn(part, "0123456789ABCDEF") != 8 || !text_to_hex(bytes_of_text(part), number, 4))
		return false;
	*out = (uint32_t)number[0] << 24 | (uint32_t)number[1] << 16 | (uint32_t)number[2] << 8 |
	       number[3];
	return true;
}

struct log_walk {
	struct walk walk;
	uint32_t first; /* the folder of from_segno */
	uint32_t timeline;
	const struct cluster *cluster;
};

/* One folder holds 4 GiB of WAL: those before the first are not even listed, or each look at the
 * end of a long archive would cost as much as the whole. */
static enum err walk_log(void *ctx, const char *part, struct error *why)
{
	struct log_walk *l = ctx;
	char prefix[STORE_KEY_MAX];
	uint32_t log;

	if (!decode_folder(part, &log) || log < l->first)
		return ERR_NONE;
	(void)snprintf(prefix, sizeof(prefix), "%swal/%08" PRIX32 "/%08" PRIX32 "/",
		       l->cluster->prefix, l->timeline, log); /* fits */
	return store_list(l->cluster->repository->store, prefix, walk_object, &l->walk, why);
}

enum err wal_list_timeline(const struct cluster *cluster, uint32_t timeline, uint64_t from_segno,
			   uint32_t segment_bytes,
			   enum err (*visit)(void *ctx, const struct wal_listed *,
					     struct error *why),
			   void *ctx, struct error *why)
{
	struct wal_name from;
	struct log_walk l = {.walk = {.visit = visit,
				      .ctx = ctx,
				      .from_segno = from_segno,
				      .segment_bytes = segment_bytes},
			     .timeline = timeline,
			     .cluster = cluster};
	char prefix[STORE_KEY_MAX];

	wal_segment_name(timeline, from_segno, segment_bytes, &from);
	l.first = from.log;
	(void)snprintf(prefix, sizeof(prefix), "%swal/%08" PRIX32 "/", cluster->prefix,
		       timeline); /* fits */
	return store_parts(cluster->repository->store, prefix, walk_log, &l, why);
}

struct timeline_walk {
	enum err (*visit)(void *ctx, uint32_t timeline, bool is_history, struct error *why);
	void *ctx;
};

static enum err walk_timeline(void *ctx, const char *part, struct error *why)
{
	struct timeline_walk *w = ctx;
	struct wal_name name;
	struct error ignored;
	uint32_t timeline;

	if (wal_name_from_text(part, &name, &ignored) == ERR_NONE)
		return name.kind == WAL_NAME_HISTORY ? w->visit(w->ctx, name.timeline, true, why)
						     : ERR_NONE;
	if (!decode_folder(part, &timeline) || timeline == 0)
		return ERR_NONE;
	return w->visit(w->ctx, timeline, false, why);
}

enum err wal_list_timelines(const struct cluster *cluster,
			    enum err (*visit)(void *ctx, uint32_t timeline, bool is_history,
					      struct error *why),
			    void *ctx, struct error *why)
{
	struct timeline_walk w = {.visit = visit, .ctx = ctx};
	char prefix[STORE_KEY_MAX];

	(void)snprintf(prefix, sizeof(prefix), "%swal/", cluster->prefix); /* fits */
	return store_parts(cluster->repository->store, prefix, walk_timeline, &w, why);
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

struct covering {
	uint32_t segment_bytes;
	uint64_t reach; /* LSN */
};

static enum err cover(void *ctx, const struct wal_listed *listed, struct error *why)
{
	struct covering *c = ctx;
	uint64_t segno, from, to;

	(void)why; /* nothing here can fail */
	if (listed->name.kind != WAL_NAME_SEGMENT ||
	    !wal_name_segno(&listed->name, c->segment_bytes, &segno))
		return ERR_NONE;
	from = segno * c->segment_bytes + (listed->slice ? listed->from : 0);
	to = segno * c->segment_bytes + (listed->slice ? listed->to : c->segment_bytes);
	if (from <= c->reach && to > c->reach)
		c->reach = to;
	return ERR_NONE;
}

enum err wal_reaches(const struct cluster *cluster, uint32_t timeline, struct lsn start,
		     uint32_t segment_bytes, struct lsn *out, struct error *why)
{
	struct covering c = {.segment_bytes = segment_bytes,
			     .reach = start.value - start.value % segment_bytes};
	enum err e = wal_list_timeline(cluster, timeline, wal_segno(start, segment_bytes),
				       segment_bytes, cover, &c, why);

	if (e == ERR_NONE)
		*out = lsn_of(c.reach);
	return e;
}

struct slice {
	uint32_t from, to;
};

struct slices {
	uint32_t segment_bytes;
	struct slice *slice; /* owned; by `from`, as keys sort */
	size_t count, max;
};

static enum err collect_slice(void *ctx, const struct wal_listed *listed, struct error *why)
{
	struct slices *s = ctx;

	if (!listed->slice || listed->to > s->segment_bytes)
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
	char key[STORE_KEY_MAX];
	uint8_t *data = NULL;
	size_t len = 0;
	enum err e;

	wal_slice_key(cluster, name, slice->from, slice->to, key);
	e = wal_read(reader, key, OBJECT_WAL_SLICE, slice->to - slice->from, &data, &len, why);
	if (e == ERR_NONE && len != slice->to - slice->from)
		e = error_set(why, ERR_CORRUPT, "%s: fewer bytes than its name says", key);
	if (e == ERR_NONE)
		memcpy(segment + slice->from, data, len);
	free(data);
	return e;
}

/* The slices of one segment: its key and a dot before the range. */
static enum err list_slices(const struct cluster *cluster, const struct wal_name *name,
			    struct slices *s, struct error *why)
{
	struct walk w = {.visit = collect_slice, .ctx = s};
	char prefix[STORE_KEY_MAX];
	size_t len;

	wal_key(cluster, name, prefix);
	len = strlen(prefix);
	(void)snprintf(prefix + len, sizeof(prefix) - len,
		       "."); /* fits: keys of slices are longer */
	return store_list(cluster->repository->store, prefix, walk_object, &w, why);
}

/* Of the slices that continue what is there the one that leads furthest; NULL = none does.  *next
 * goes on where the last call ended, since `reached` only grows. */
static const struct slice *slice_after(const struct slices *s, uint32_t reached, size_t *next,
				       const struct slice *furthest)
{
	for (; *next < s->count && s->slice[*next].from <= reached; ++*next)
		if (furthest == NULL || s->slice[*next].to > furthest->to)
			furthest = &s->slice[*next];
	return furthest;
}

enum err wal_get_sliced(const struct cluster *cluster, const struct wal_name *name,
			uint32_t segment_bytes, uint8_t **out, uint32_t *valid, struct error *why)
{
	struct slices s = {.segment_bytes = segment_bytes};
	const struct slice *furthest = NULL;
	struct object_reader *reader = NULL;
	uint8_t *segment = NULL;
	uint32_t reached = 0;
	uint64_t segno;
	size_t next = 0;
	char text[WAL_NAME_MAX];
	enum err e;

	wal_name_to_text(name, text);
	if (!wal_name_segno(name, segment_bytes, &segno))
		return error_set(why, ERR_CONFIG, "no segment %s with this segment size", text);
	e = list_slices(cluster, name, &s, why);
	if (e == ERR_NONE && s.count == 0)
		e = error_set(why, ERR_MISSING, "no slice of segment %s in %s", text,
			      cluster->repository->store->label);
	if (e == ERR_NONE)
		e = object_reader_new(cluster->repository, &reader, why);
	if (e != ERR_NONE)
		goto out;
	segment = calloc(1, segment_bytes);
	if (segment == NULL) {
		e = error_set(why, ERR_MEMORY, "no memory for a segment");
		goto out;
	}
	for (;;) {
		furthest = slice_after(&s, reached, &next, furthest);
		if (furthest == NULL || furthest->to <= reached)
			break;
		e = read_slice(cluster, reader, name, furthest, segment, why);
		if (e != ERR_NONE)
			goto out;
		reached = furthest->to;
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
