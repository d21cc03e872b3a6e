/* restore/timeline.c - the rules of timeline.h.
 *
 *  time          the youngest timeline that was born by then and has a later transaction, or else the
 *                one of those born that was seen last; where its own WAL shows no later transaction, a child that
 *                holds all of it is followed instead
 *  LSN           the timeline that wrote that position; several: ambiguous
 *  all others    the newest
 */
#include "restore/timeline.h"

#include <assert.h>

struct table {
	const struct timeline_row *row;
	size_t rows;
	const struct timeline_question *asked;
};

static const size_t none = SIZE_MAX;

static size_t newest(const struct table *t, bool usable)
{
	size_t best = none;

	for (size_t i = 0; i < t->rows; i++)
		if ((t->row[i].usable || !usable) &&
		    (best == none || t->row[i].timeline > t->row[best].timeline))
			best = i;
	return best;
}

/* The newest that a backup leads to; where there is none, the plan says why. */
static size_t newest_of_all(const struct table *t)
{
	size_t best = newest(t, true);

	return best != none ? best : newest(t, false);
}

/* Where the path of `follower` leaves row `i`; 0 when it does not pass it, UINT64_MAX at its end. */
static uint64_t left_at(const struct table *t, size_t follower, size_t i)
{
	struct lsn begin, end;

	return history_has(t->row[follower].path, t->row[i].timeline, &begin, &end) ? end.value : 0;
}

/* Where the last transaction of row `i` lies that is known; 0 = it has none. */
static uint64_t last_of(const struct table *t, size_t i)
{
	uint64_t last = t->row[i].last_commit.value;

	for (size_t k = 0; k < t->rows; k++)
		if (t->row[k].parent == t->row[i].timeline && t->row[k].copied_last.value > last)
			last = t->row[k].copied_last.value;
	return last;
}

/* True when something ended on row `i` that the path of `follower` does not pass. */
static bool has_more_than(const struct table *t, size_t i, size_t follower)
{
	uint64_t last = last_of(t, i);

	return last != 0 && last >= left_at(t, follower, i);
}

static void add_other(struct timeline_answer *a, size_t i)
{
	for (size_t k = 0; k < a->others; k++)
		if (a->other[k] == i)
			return;
	a->other[a->others++] = i; /* each row once: there is room */
}

/* ---- a time ---- */

/* The latest transaction of row `i` that is known, wherever it lies. */
static int64_t latest_of(const struct table *t, size_t i)
{
	int64_t latest = t->row[i].latest_us;

	for (size_t k = 0; k < t->rows; k++)
		if (t->row[k].parent == t->row[i].timeline && t->row[k].copied_us > latest)
			latest = t->row[k].copied_us;
	return latest;
}

static bool is_born(const struct table *t, size_t i)
{
	return t->row[i].usable && t->row[i].born_us != TIMELINE_UNBORN &&
	       t->row[i].born_us <= t->asked->time_us;
}

static bool is_written(const struct table *t, size_t i)
{
	return is_born(t, i) && latest_of(t, i) >= t->asked->time_us;
}

static bool is_younger(const struct timeline_row *a, const struct timeline_row *b)
{
	return a->born_us != b->born_us ? a->born_us > b->born_us : a->timeline > b->timeline;
}

static size_t youngest_written(const struct table *t)
{
	size_t best = none;

	for (size_t i = 0; i < t->rows; i++)
		if (is_written(t, i) && (best == none || is_younger(&t->row[i], &t->row[best])))
			best = i;
	return best;
}

/* When anything is known to have happened on row `i`. */
static int64_t last_sign(const struct table *t, size_t i)
{
	int64_t latest = latest_of(t, i);

	return latest > t->row[i].born_us ? latest : t->row[i].born_us;
}

/* A copy that was promoted for a minute is younger than the server that lived on. */
static size_t last_seen(const struct table *t)
{
	size_t best = none;

	for (size_t i = 0; i < t->rows; i++) {
		int64_t sign, best_sign;

		if (!is_born(t, i))
			continue;
		sign = last_sign(t, i);
		best_sign = best != none ? last_sign(t, best) : TIMELINE_ALWAYS;
		if (best == none || sign > best_sign ||
		    (sign == best_sign && is_younger(&t->row[i], &t->row[best])))
			best = i;
	}
	return best;
}

/* PostgreSQL stops at a time only when it meets a later transaction.  Where the row's own WAL has none, that
 * of a child may, which has all of the row's own before it: the state at the time is the same. */
static size_t follow_time(const struct table *t, size_t i)
{
	for (size_t steps = 0; steps < t->rows; steps++) {
		const struct timeline_row *r = &t->row[i], *best = NULL;

		if (r->latest_us >= t->asked->time_us)
			break;
		for (size_t k = 0; k < t->rows; k++) {
			const struct timeline_row *c = &t->row[k];

			if (c->parent == r->timeline && c->usable && c->has_wal &&
			    c->born.value > r->last_commit.value &&
			    (best == NULL || c->born.value > best->born.value ||
			     (c->born.value == best->born.value && c->timeline > best->timeline)))
				best = c;
		}
		if (best == NULL)
			break;
		i = (size_t)(best - t->row);
	}
	return i;
}

static void choose_for_time(const struct table *t, struct timeline_answer *a)
{
	size_t written = youngest_written(t);

	if (written == none)
		written = last_seen(t);
	if (written == none)
		written = newest_of_all(t);
	a->written = written;
	a->followed = follow_time(t, written);
	for (size_t i = 0; i < t->rows; i++) {
		size_t followed;

		if (i == written || !is_written(t, i) || !has_more_than(t, i, a->followed))
			continue;
		followed = follow_time(t, i);
		if (followed != a->followed)
			add_other(a, followed);
	}
}

/* ---- an LSN ---- */

/* A record that begins just there is replayed, or with `exclusive` just not. */
static uint64_t position(const struct table *t)
{
	uint64_t at = t->asked->lsn.value;

	return t->asked->exclusive && at > 0 ? at - 1 : at;
}

/* The newest child that took what row `i` wrote there along; none. */
static size_t heir(const struct table *t, size_t i)
{
	size_t best = none;

	for (size_t k = 0; k < t->rows; k++)
		if (t->row[k].parent == t->row[i].timeline && t->row[k].usable &&
		    t->row[k].has_wal && t->row[k].born.value > position(t) &&
		    (best == none || t->row[k].timeline > t->row[best].timeline))
			best = k;
	return best;
}

static bool owns(const struct table *t, size_t i)
{
	const struct timeline_row *r = &t->row[i];

	return r->usable && r->born.value <= position(t) &&
	       (r->last_record.value >= position(t) || heir(t, i) != none);
}

/* PostgreSQL stops at the first record that begins at the LSN or behind it: there must be one. */
static size_t follow_lsn(const struct table *t, size_t i)
{
	for (size_t steps = 0; steps < t->rows; steps++) {
		size_t next = heir(t, i);

		if (t->row[i].last_record.value >= t->asked->lsn.value || next == none)
			break;
		i = next;
	}
	return i;
}

static void choose_for_lsn(const struct table *t, struct timeline_answer *a)
{
	for (size_t i = 0; i < t->rows; i++) {
		if (!owns(t, i))
			continue;
		a->written = i;
		add_other(a, follow_lsn(t, i));
	}
	a->ambiguous = a->others > 1;
	if (a->ambiguous)
		return;
	if (a->others == 0)
		add_other(a, a->written = newest_of_all(t));
	a->followed = a->other[0];
	a->others = 0;
}

/* ---- all others ---- */

/* All that row `i` has lies on a child that is listed itself. */
static bool is_inherited(const struct table *t, size_t i)
{
	for (size_t k = 0; k < t->rows; k++)
		if (t->row[k].parent == t->row[i].timeline && t->row[k].usable &&
		    t->row[k].last_commit.value != 0 && t->row[k].born.value > last_of(t, i))
			return true;
	return false;
}

static void choose_newest(const struct table *t, struct timeline_answer *a)
{
	a->written = a->followed = newest_of_all(t);
	for (size_t i = 0; i < t->rows; i++)
		if (i != a->followed && t->row[i].usable && has_more_than(t, i, a->followed) &&
		    !is_inherited(t, i))
			add_other(a, i);
}

void timeline_choose(const struct timeline_row *row, size_t rows,
		     const struct timeline_question *asked, struct timeline_answer *out)
{
	struct table t = {.row = row, .rows = rows, .asked = asked};

	assert(rows > 0 && rows <= RESTORE_TIMELINES_MAX);
	*out = (struct timeline_answer){.ambiguous = false};
	switch (asked->kind) {
	case TARGET_TIME:
		choose_for_time(&t, out);
		break;
	case TARGET_LSN:
		choose_for_lsn(&t, out);
		break;
	case TARGET_LATEST:
	case TARGET_BACKUP_END:
	case TARGET_XID:
	case TARGET_NAME:
		choose_newest(&t, out);
		break;
	}
}
