/* wal/cut.c - one walk as recovery's own finds the place; for a time it is made only where it may be worth it.
 *
 *  1. By halves, a segment before the target, as if times only grew.
 *  2. From there up to the target: is there a lock?
 *  3. The same walk from where recovery begins.  Only this one counts.
 * A position in the WAL needs no proof: from before it on, the walk sees the same ends of transactions.
 */
#include "wal/cut.h"
#include "wal/archive_internal.h"
#include "wal/record.h"
#include "wal/walk.h"

/* For the next end of a transaction, or the last one before a position. */
enum { LOOK_BYTES_MAX = 256 << 20 };

struct cutting {
	const struct wal_cut_search *search;
	struct archive_segments segments;
	/* Of the walk. */
	struct lsn last;   /* where it would stop; 0 = it knows of no place yet */
	struct lsn target; /* 0 = not reached */
	bool locked;       /* behind `last` */
	bool unknown;      /* a time could not be read, or the WAL */
	bool earlier;      /* the next transaction ended by the time */
};

typedef enum err see(void *cutting, const struct wal_record *, struct error *why);

/* Ends the walk: nothing behind it is asked for. */
static enum err stop_here(struct error *why)
{
	return error_set(why, ERR_EXISTS, "found");
}

static bool ends_a_transaction(const struct wal_record *record)
{
	switch (wal_record_kind(record)) {
	case WAL_RECORD_COMMIT:
	case WAL_RECORD_ABORT:
	case WAL_RECORD_COMMIT_PREPARED:
	case WAL_RECORD_ABORT_PREPARED:
		return true;
	default:
		return false;
	}
}

/* recoveryStopsBefore of xlogrecovery.c. */
static bool is_behind_time(struct cutting *c, const struct wal_record *record)
{
	int64_t us;

	if (!ends_a_transaction(record))
		return false;
	if (wal_record_time(record, &us))
		return us > c->search->after_us;
	c->unknown = true;
	return true;
}

static void pass(struct cutting *c, const struct wal_record *record)
{
	bool in_backup = record->lsn.value < c->search->stop.value;

	if (in_backup || ends_a_transaction(record) || wal_record_is_prepare(record)) {
		c->locked = false;
		c->last = record->lsn;
	} else if (wal_record_locks(record)) {
		c->locked = true;
	} else if (!c->locked && c->last.value != 0) {
		c->last = record->lsn;
	}
}

static enum err see_record(void *cutting, const struct wal_record *record, struct error *why)
{
	struct cutting *c = cutting;
	const struct wal_cut_search *s = c->search;
	bool is_target =
		s->at.value != 0 ? record->lsn.value >= s->at.value : is_behind_time(c, record);

	if (!is_target || (s->at.value != 0 && s->inclusive))
		pass(c, record);
	if (!is_target)
		return ERR_NONE;
	c->target = record->lsn;
	return stop_here(why);
}

static enum err see_end(void *cutting, const struct wal_record *record, struct error *why)
{
	struct cutting *c = cutting;

	if (!ends_a_transaction(record))
		return ERR_NONE;
	c->earlier = !is_behind_time(c, record);
	return stop_here(why);
}

static enum err walk(struct cutting *c, see *record, struct lsn start, struct lsn until,
		     struct error *why)
{
	const struct wal_cut_search *s = c->search;
	struct wal_walk walk = {
		.source = {&c->segments, archive_segment_read},
		.visitor = {c, record},
		.path = s->path,
		.segment_bytes = s->segment_bytes,
		.system_identifier = c->segments.archive->cluster[0].system_identifier,
		.start = start,
		.until = until.value < s->end.value ? until : s->end,
	};
	struct wal_walk_end end;
	enum err e;

	c->last = c->target = lsn_of(0);
	c->locked = c->unknown = c->earlier = false;
	e = wal_walk(&walk, &end, why);
	if (e == ERR_EXISTS)
		return ERR_NONE;
	if (e == ERR_NONE && end.stop != WAL_STOP_UNTIL)
		c->unknown = true;
	return e;
}

static struct lsn behind(struct lsn lsn, uint64_t bytes)
{
	return lsn_of(lsn.value + bytes);
}

/* By halves, the start of the last segment behind which the next transaction ended by the time; none within the bound, or
 * none that can be read, counts as a later one.  `from` where all are later.  *until: no target is
 * looked for behind that. */
static enum err look(struct cutting *c, struct lsn *start, struct lsn *until, struct error *why)
{
	const struct wal_cut_search *s = c->search;
	uint64_t low = s->from.value / s->segment_bytes;
	uint64_t high = (s->end.value - 1) / s->segment_bytes + 1;

	*start = s->from;
	*until = s->end;
	while (high - low > 1) {
		uint64_t middle = low + (high - low) / 2;
		struct lsn at = wal_segment_start(middle, s->segment_bytes);
		struct lsn bound = behind(at, LOOK_BYTES_MAX);
		enum err e = walk(c, see_end, at, bound, why);

		if (e != ERR_NONE)
			return e;
		if (c->earlier) {
			low = middle;
			*start = at;
		} else {
			high = middle;
			*until = bound;
		}
	}
	return ERR_NONE;
}

static enum err cut_time(struct cutting *c, struct error *why)
{
	const struct wal_cut_search *s = c->search;
	struct lsn start, until, proof = behind(s->from, s->bytes_max);
	enum err e = look(c, &start, &until, why);

	if (e == ERR_NONE)
		e = walk(c, see_record, start, until, why);
	if (e != ERR_NONE || start.value == s->from.value)
		return e;
	if (!c->locked || c->target.value == 0 || c->target.value >= proof.value) {
		c->target = lsn_of(0);
		return ERR_NONE;
	}
	return walk(c, see_record, s->from, proof, why);
}

static enum err cut_position(struct cutting *c, struct error *why)
{
	const struct wal_cut_search *s = c->search;
	uint64_t page = s->at.value - s->at.value % WAL_PAGE_BYTES;
	bool is_far = page > behind(s->from, LOOK_BYTES_MAX).value;

	return walk(c, see_record, is_far ? lsn_of(page - LOOK_BYTES_MAX) : s->from, s->end, why);
}

enum err wal_archive_cut(const struct env *env, const struct wal_archive *archive,
			 const struct wal_cut_search *s, struct wal_cut *out, struct error *why)
{
	struct cutting c = {.search = s, .segments = {env, archive, s->segment_bytes, NULL}};
	enum err e;

	if (!wal_is_segment_bytes(s->segment_bytes) || s->from.value == 0 ||
	    s->end.value <= s->from.value)
		return error_set(why, ERR_CONFIG, "looking for a target in the WAL: no WAL");
	e = s->at.value != 0 ? cut_position(&c, why) : cut_time(&c, why);
	archive_segments_release(&c.segments);
	if (e == ERR_NONE)
		*out = (struct wal_cut){
			.last = c.target.value != 0 && c.locked && !c.unknown ? c.last : lsn_of(0)};
	return e;
}
