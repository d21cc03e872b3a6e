/* wal/cut.c - finds the segment that a target lies in, then walks up to it from a little before. */
#include "wal/cut.h"
#include "wal/archive_internal.h"
#include "wal/record.h"
#include "wal/walk.h"

enum { BACK_SEGMENTS_MAX = 16, BACK_BYTES_MAX = 256 << 20 };

struct cutting {
	const struct wal_cut_search *search;
	struct archive_segments segments;
	/* Of the walk. */
	struct lsn last; /* where it would stop */
	bool ended;      /* a transaction did, behind the backup, or that is where it began */
	bool locked;     /* since then */
	bool reached;    /* the target */
	bool unknown;    /* a time could not be read */
};

/* Ends the walk: nothing behind it is asked for. */
static enum err stop_here(struct error *why)
{
	return error_set(why, ERR_EXISTS, "found");
}

static bool is_target(struct cutting *c, const struct wal_record *record)
{
	const struct wal_cut_search *s = c->search;
	int64_t us;

	if (s->before.value != 0)
		return record->lsn.value >= s->before.value;
	switch (wal_record_kind(record)) {
	case WAL_RECORD_COMMIT:
	case WAL_RECORD_ABORT:
	case WAL_RECORD_COMMIT_PREPARED:
	case WAL_RECORD_ABORT_PREPARED:
		c->unknown = !wal_record_time(record, &us);
		return c->unknown || us > s->after_us;
	default:
		return false;
	}
}

static bool ends_a_transaction(const struct wal_record *record)
{
	int64_t us;

	return wal_record_time(record, &us) || wal_record_is_prepare(record);
}

static enum err see_record(void *ctx, const struct wal_record *record, struct error *why)
{
	struct cutting *c = ctx;

	if (is_target(c, record)) {
		c->reached = true;
		return stop_here(why);
	}
	if (record->lsn.value < c->search->stop.value || ends_a_transaction(record)) {
		c->ended = c->ended || record->end.value >= c->search->stop.value;
		c->locked = false;
		c->last = record->lsn;
	} else if (wal_record_locks(record)) {
		c->locked = true;
	} else if (!c->locked) {
		c->last = record->lsn;
	}
	return ERR_NONE;
}

/* From the segment on, up to the target or `until`. */
static enum err walk(struct cutting *c, uint64_t segno, struct lsn until, struct error *why)
{
	const struct wal_cut_search *s = c->search;
	struct lsn start = wal_segment_start(segno, s->segment_bytes);
	struct wal_walk walk = {
		.source = {&c->segments, archive_segment_read},
		.visitor = {c, see_record},
		.path = s->path,
		.segment_bytes = s->segment_bytes,
		.system_identifier = c->segments.archive->cluster[0].system_identifier,
		.start = start.value > s->from.value ? start : s->from,
		.until = until,
	};
	struct wal_walk_end end;
	enum err e;

	c->ended = c->locked = c->reached = c->unknown = false;
	c->last = lsn_of(0);
	e = wal_walk(&walk, &end, why);
	if (e == ERR_EXISTS && c->reached)
		return ERR_NONE;
	/* It ended before its end. */
	if (e == ERR_NONE && end.stop != WAL_STOP_UNTIL)
		c->unknown = true;
	return e;
}

/* The first segment, by halves, in which the target lies. */
static enum err find(struct cutting *c, uint64_t first, uint64_t *segno, struct error *why)
{
	const struct wal_cut_search *s = c->search;
	uint64_t low = first, high = (s->end.value - 1) / s->segment_bytes;

	if (s->before.value != 0)
		low = high = s->before.value / s->segment_bytes;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		enum err e = walk(c, middle, wal_segment_start(middle + 1, s->segment_bytes), why);

		if (e != ERR_NONE)
			return e;
		if (c->reached)
			high = middle;
		else
			low = middle + 1;
	}
	*segno = low;
	return ERR_NONE;
}

enum err wal_archive_cut(const struct env *env, const struct wal_archive *archive,
			 const struct wal_cut_search *s, struct wal_cut *out, struct error *why)
{
	struct cutting c = {.search = s, .segments = {env, archive, s->segment_bytes, NULL}};
	uint64_t first, segno = 0, back_max, back = 1;
	bool done = false;
	enum err e;

	if (!wal_is_segment_bytes(s->segment_bytes) || s->from.value == 0 ||
	    s->end.value <= s->from.value)
		return error_set(why, ERR_CONFIG, "looking for a target in the WAL: no WAL");
	first = s->from.value / s->segment_bytes;
	back_max = BACK_BYTES_MAX / s->segment_bytes;
	back_max = back_max < 1 ? 1 : back_max > BACK_SEGMENTS_MAX ? BACK_SEGMENTS_MAX : back_max;
	e = find(&c, first, &segno, why);
	while (e == ERR_NONE && !done) {
		uint64_t from = segno - first > back ? segno - back : first;

		e = walk(&c, from, s->end, why);
		done = (c.reached && c.ended) || from == first || back >= back_max;
		back = back * 2 < back_max ? back * 2 : back_max;
	}
	archive_segments_release(&c.segments);
	if (e == ERR_NONE)
		*out = (struct wal_cut){.last = c.reached && c.ended && c.locked && !c.unknown
							? c.last
							: lsn_of(0)};
	return e;
}
