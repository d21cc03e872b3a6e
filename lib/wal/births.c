/* wal/births.c - reads the first records of a timeline, and its last ones. */
#include "wal/births.h"
#include "wal/archive_internal.h"
#include "wal/walk.h"

#include <stdlib.h>

/* Where the last timeline of the path begins. */
static struct lsn begin_of(const struct history *path)
{
	return path->count > 0 ? path->entry[path->count - 1].end : lsn_of(0);
}

/* ---- the first record ---- */

struct birth {
	const struct env *env;
	const struct wal_archive *archive;
	uint32_t timeline, segment_bytes;
	uint8_t *segment;       /* owned: what the walk looks at */
	int64_t from_us, to_us; /* between these; 0 = none was seen */
	bool known;             /* more records would add nothing */
};

static enum err first_segments(void *ctx, uint32_t timeline, uint64_t segno, struct bytes *out,
			       struct error *why)
{
	struct birth *b = ctx;
	struct wal_name name;
	uint32_t valid = 0;
	size_t len = 0;
	enum err e;

	free(b->segment);
	b->segment = NULL;
	if (*b->env->cancelled)
		return error_set(why, ERR_CANCELLED, "reading WAL: cancelled");
	/* The parent's copy has none of it. */
	if (timeline != b->timeline)
		return error_set(why, ERR_MISSING, "of another timeline");
	wal_segment_name(timeline, segno, b->segment_bytes, &name);
	e = archive_read(b->env, b->archive, &name, b->segment_bytes, &b->segment, &len, why);
	if (e == ERR_MISSING) {
		e = archive_read_sliced(b->archive, &name, b->segment_bytes, &b->segment, &valid,
					why);
		len = valid;
	}
	if (e == ERR_NONE)
		*out = bytes_of(b->segment, len);
	return e == ERR_CORRUPT ? error_set(why, ERR_MISSING, "damaged") : e;
}

static enum err see_first(void *ctx, const struct wal_record *record, struct error *why)
{
	struct birth *b = ctx;
	int64_t us;

	if (record->timeline != b->timeline)
		return ERR_NONE;
	if (b->to_us == 0 && wal_record_birth(record, &b->from_us, &b->to_us)) {
		b->known = b->from_us == b->to_us;
	} else if (wal_record_time(record, &us)) {
		if (b->to_us == 0 || (us >= b->from_us && us < b->to_us))
			b->to_us = us;
		b->known = true;
	}
	/* Ends the walk; told from a failure by `known`. */
	return b->known ? error_set(why, ERR_EXISTS, "seen") : ERR_NONE;
}

enum err wal_archive_birth(const struct env *env, const struct wal_archive *archive,
			   const struct history *path, uint32_t segment_bytes, int64_t *at_us,
			   struct error *why)
{
	enum { SEGMENTS = 2 }; /* the first record may not fit into the one with the switch */
	struct birth b = {.env = env,
			  .archive = archive,
			  .timeline = path->timeline,
			  .segment_bytes = segment_bytes};
	struct wal_walk walk = {
		.source = {&b, first_segments},
		.visitor = {&b, see_first},
		.path = path,
		.segment_bytes = segment_bytes,
		.system_identifier = archive->cluster[0].system_identifier,
	};
	struct wal_walk_end end;
	uint64_t segno;
	enum err e;

	if (!wal_is_segment_bytes(segment_bytes))
		return error_set(why, ERR_CONFIG, "reading WAL: %u bytes are no segment size",
				 segment_bytes);
	segno = wal_segno(begin_of(path), segment_bytes);
	walk.start = wal_segment_start(segno, segment_bytes);
	walk.until = wal_segment_start(segno + SEGMENTS, segment_bytes);
	e = wal_walk(&walk, &end, why);
	free(b.segment);
	if (e != ERR_NONE && !b.known)
		return e;
	*at_us = b.to_us;
	return ERR_NONE;
}

/* ---- the last records ---- */

struct furthest {
	uint32_t segment_bytes;
	uint64_t lsn; /* behind the last segment or slice; 0 = there is none */
};

static enum err see_listed(void *ctx, const struct wal_listed *listed, struct error *why)
{
	struct furthest *f = ctx;
	uint64_t segno, behind;

	(void)why; /* nothing here can fail */
	if (listed->name.kind != WAL_NAME_SEGMENT ||
	    !wal_name_segno(&listed->name, f->segment_bytes, &segno))
		return ERR_NONE;
	behind = segno * f->segment_bytes + (listed->slice ? listed->to : f->segment_bytes);
	if (behind > f->lsn)
		f->lsn = behind;
	return ERR_NONE;
}

static enum err list_from(const struct wal_archive *archive, uint32_t timeline, struct lsn from,
			  struct furthest *f, struct error *why)
{
	uint64_t segno = wal_segno(from, f->segment_bytes);
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < archive->count; i++)
		e = wal_list_timeline(&archive->cluster[i], timeline, segno, f->segment_bytes,
				      see_listed, f, why);
	if (e == ERR_NONE)
		e = salvage_list(archive->salvage, timeline, segno, see_listed, f, why);
	return e;
}

static enum err find_furthest(const struct wal_archive *archive, const struct history *path,
			      struct lsn near, struct furthest *f, struct error *why)
{
	struct lsn begin = begin_of(path);
	enum err e = ERR_NONE;

	if (near.value > begin.value)
		e = list_from(archive, path->timeline, near, f, why);
	if (e == ERR_NONE && f->lsn == 0)
		e = list_from(archive, path->timeline, begin, f, why);
	return e;
}

/* The last record, walked to from the beginning of the last segment; where that cannot be read, or holds no
 * beginning of one, somewhere before it. */
static enum err find_last_record(const struct env *env, const struct wal_archive *archive,
				 const struct history *path, uint32_t segment_bytes,
				 struct lsn segment, struct lsn *last, struct lsn *end,
				 struct error *why)
{
	struct wal_reach reach;
	enum err e = wal_archive_reach(env, archive, segment, history_timeline_at(path, segment),
				       path->timeline, segment_bytes, lsn_of(0), &reach, why);
	bool damaged = e == ERR_CORRUPT || e == ERR_MISSING;

	if (e != ERR_NONE && !damaged)
		return e;
	*end = damaged ? segment : reach.end;
	*last = damaged || reach.last_record.value == 0 ? lsn_of(segment.value - 1)
							: reach.last_record;
	return ERR_NONE;
}

enum err wal_archive_own_end(const struct env *env, const struct wal_archive *archive,
			     const struct history *path, uint32_t segment_bytes, struct lsn near,
			     uint64_t bytes_max, struct wal_own_end *out, struct error *why)
{
	struct wal_own_end own = {.tail = {.whole = true}};
	struct furthest f = {.segment_bytes = segment_bytes};
	struct lsn begin = begin_of(path), last;
	struct wal_tail_search search = {.path = path,
					 .segment_bytes = segment_bytes,
					 .from = begin,
					 .after_us = INT64_MIN,
					 .bytes_max = bytes_max};
	enum err e;

	if (!wal_is_segment_bytes(segment_bytes))
		return error_set(why, ERR_CONFIG, "reading WAL: %u bytes are no segment size",
				 segment_bytes);
	e = find_furthest(archive, path, near, &f, why);
	/* The very first segment of a server is of before it ran. */
	if (e == ERR_NONE && f.lsn > segment_bytes) {
		last = wal_segment_start((f.lsn - 1) / segment_bytes, segment_bytes);
		own.has_wal = true;
		e = find_last_record(env, archive, path, segment_bytes, last, &own.last_record,
				     &search.end, why);
	}
	if (own.last_record.value < begin.value)
		own.last_record = lsn_of(0);
	if (e == ERR_NONE && own.last_record.value != 0 && search.end.value > begin.value)
		e = wal_archive_tail(env, archive, &search, &own.tail, why);
	if (e != ERR_NONE)
		return e;
	/* The segment with the switch holds the parent's, too. */
	if (own.tail.last.value < begin.value)
		own.tail = (struct wal_tail){.whole = own.tail.whole};
	*out = own;
	return ERR_NONE;
}
