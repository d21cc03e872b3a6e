/* repo/retention.c - the verdicts of a policy.
 *
 * The window is kept for each timeline by itself: its anchor is the last backup on its path that ended
 * before the window begins; without that one the first moments could not be restored.  A timeline whose
 * WAL ended before the window has no moment in it, and needs none.
 */
#include "repo/retention.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct deciding {
	const struct retention_input *in;
	struct retention_verdict *out;
	size_t *newest_first; /* shown and sound ones, by when they ended */
	size_t order;
};

static bool counts(const struct retention_backup *b)
{
	return !b->hidden && !b->unsound;
}

static int64_t earlier(int64_t us, int64_t by)
{
	return us < INT64_MIN + by ? INT64_MIN : us - by;
}

/* ---- which backup lies on the path of which timeline ---- */

static const struct retention_timeline *timeline_of(const struct retention_input *in,
						    uint64_t system, uint32_t number)
{
	for (size_t i = 0; i < in->timelines; i++)
		if (in->timeline[i].system_identifier == system &&
		    in->timeline[i].timeline == number)
			return &in->timeline[i];
	return NULL;
}

/* A parent has a lower number, so that this ends. */
static bool is_on_path(const struct retention_input *in, const struct retention_timeline *t,
		       const struct retention_backup *b)
{
	uint64_t left = UINT64_MAX;

	if (t->system_identifier != b->system_identifier)
		return false;
	while (t != NULL && t->timeline > b->timeline) {
		if (t->parent == 0 || t->parent >= t->timeline)
			return false;
		if (t->begin.value < left)
			left = t->begin.value;
		t = timeline_of(in, t->system_identifier, t->parent);
	}
	return t != NULL && t->timeline == b->timeline && b->stop.value <= left;
}

/* ---- the clock ---- */

static enum err refuse_future(const struct retention_input *in, const struct retention_backup *b,
			      struct error *why)
{
	char id[ATTEMPT_TEXT_MAX], at[TIME_TEXT_MAX], now[TIME_TEXT_MAX];

	attempt_to_text(&b->attempt, id);
	time_to_text(b->finished_us, at);
	time_to_text(in->now_us, now);
	(void)error_set(why, ERR_DENIED,
			"backup %s ended at %s, and now it is %s: a clock is or was wrong, so "
			"nothing is removed by time",
			id, at, now);
	error_hint(why,
		   "set this host's clock; if it is right, that backup's time is wrong: pgagent "
		   "expire --backup %s --confirm hides it, then pgagent expire --confirm goes on",
		   id);
	return ERR_DENIED;
}

static enum err refuse_disorder(const struct retention_backup *first,
				const struct retention_backup *second, struct error *why)
{
	char a[ATTEMPT_TEXT_MAX], b[ATTEMPT_TEXT_MAX];

	attempt_to_text(&first->attempt, a);
	attempt_to_text(&second->attempt, b);
	(void)error_set(why, ERR_DENIED,
			"backup %s follows %s in the WAL, and ended before it by the clock: the "
			"clock jumped, so nothing is removed by time",
			b, a);
	error_hint(
		why,
		"hide the one whose time is wrong, then go on: pgagent expire --backup %s --confirm, "
		"or pgagent expire --backup %s --confirm; pgagent expire --confirm",
		a, b);
	return ERR_DENIED;
}

/* Time and WAL have to agree about what came first.  What is hidden has been dealt with: it is nobody's
 * beginning, and its WAL stays as far as it says. */
static enum err check_times(const struct retention_input *in, struct error *why)
{
	for (size_t i = 0; i < in->backups; i++) {
		const struct retention_backup *b = &in->backup[i];
		const struct retention_timeline *t =
			timeline_of(in, b->system_identifier, b->timeline);

		if (b->hidden)
			continue;
		if (b->finished_us > in->now_us &&
		    b->finished_us - in->now_us > RETENTION_FUTURE_US)
			return refuse_future(in, b, why);
		for (size_t j = 0; t != NULL && j < in->backups; j++) {
			const struct retention_backup *a = &in->backup[j];

			if (!a->hidden && a->stop.value < b->stop.value && is_on_path(in, t, a) &&
			    earlier(a->finished_us, RETENTION_DISORDER_US) > b->finished_us)
				return refuse_disorder(a, b, why);
		}
	}
	return ERR_NONE;
}

/* ---- the order of time ---- */

static int by_end(const struct retention_backup *a, const struct retention_backup *b)
{
	if (a->finished_us != b->finished_us)
		return a->finished_us < b->finished_us ? -1 : 1;
	return attempt_compare(&a->attempt, &b->attempt);
}

/* By insertion: there are a few thousand at most. */
static enum err sort(struct deciding *d, struct error *why)
{
	const struct retention_input *in = d->in;

	d->newest_first = calloc(in->backups + 1, sizeof(*d->newest_first));
	if (d->newest_first == NULL)
		return error_set(why, ERR_MEMORY, "no memory for %zu backups", in->backups);
	for (size_t i = 0; i < in->backups; i++) {
		size_t at = d->order;

		if (!counts(&in->backup[i]))
			continue;
		while (at > 0 && by_end(&in->backup[d->newest_first[at - 1]], &in->backup[i]) < 0) {
			d->newest_first[at] = d->newest_first[at - 1];
			at--;
		}
		d->newest_first[at] = i;
		d->order++;
	}
	return ERR_NONE;
}

/* ---- rules that go by number ---- */

static void mark_newest(struct deciding *d)
{
	const struct retention_backup *backup = d->in->backup;
	uint64_t few = d->in->policy.backups > 0 ? d->in->policy.backups : 1;
	bool sound = false, verified = false;

	for (size_t k = 0; k < d->order; k++) {
		size_t i = d->newest_first[k];

		if (k == 0)
			d->out[i].rules |= RETAIN_NEWEST;
		if (k < few)
			d->out[i].rules |= RETAIN_BACKUPS;
		if (!sound && !backup[i].checksum_failures) {
			sound = true;
			if (k > 0)
				d->out[i].rules |= RETAIN_SOUND;
		}
		if (!verified && backup[i].verified_us != 0) {
			verified = true;
			d->out[i].rules |= RETAIN_VERIFIED;
		}
	}
}

void retention_period(enum retention_rule rule, int64_t us, char out[RETENTION_PERIOD_MAX])
{
	static const int64_t day_us = INT64_C(86400) * 1000 * 1000;
	char text[TIME_TEXT_MAX];
	int64_t day = us / day_us - (us % day_us < 0);
	int64_t weekday = ((day + 3) % 7 + 7) % 7; /* 1970-01-01 was a Thursday */

	time_to_text(rule == RETAIN_WEEKLY ? (day - weekday) * day_us : us, text);
	if (rule == RETAIN_WEEKLY)
		(void)snprintf(out, RETENTION_PERIOD_MAX, "week of %.10s", text); /* fits */
	else
		(void)snprintf(out, RETENTION_PERIOD_MAX, "%.*s",
			       rule == RETAIN_DAILY     ? 10
			       : rule == RETAIN_MONTHLY ? 7
							: 4,
			       text); /* fits */
}

/* The last one of each of the last `periods` that have any. */
static void mark_periods(struct deciding *d, enum retention_rule rule, uint64_t periods)
{
	char before[RETENTION_PERIOD_MAX] = "", period[RETENTION_PERIOD_MAX];

	for (size_t k = 0; k < d->order && periods > 0; k++) {
		size_t i = d->newest_first[k];

		retention_period(rule, d->in->backup[i].finished_us, period);
		if (strcmp(period, before) == 0)
			continue;
		memcpy(before, period, sizeof(before));
		d->out[i].rules |= rule;
		periods--;
	}
}

/* ---- the window ---- */

int64_t retention_window_from(const struct retention_input *in, bool *idle)
{
	const struct retention_backup *newest = NULL;
	int64_t now_us = in->now_us;

	*idle = false;
	for (size_t i = 0; i < in->backups; i++)
		if (counts(&in->backup[i]) &&
		    (newest == NULL || by_end(&in->backup[i], newest) > 0))
			newest = &in->backup[i];
	if (newest == NULL)
		return INT64_MIN;
	if (earlier(now_us, RETENTION_IDLE_US) > newest->finished_us) {
		*idle = true;
		now_us = newest->finished_us + RETENTION_IDLE_US;
	}
	return earlier(now_us, in->policy.window_us);
}

bool retention_is_superseded(const struct retention_input *in, uint64_t system_identifier)
{
	int64_t last_us = INT64_MIN;

	for (size_t i = 0; i < in->backups; i++)
		if (in->backup[i].system_identifier == system_identifier &&
		    in->backup[i].finished_us > last_us)
			last_us = in->backup[i].finished_us;
	for (size_t i = 0; i < in->backups; i++)
		if (counts(&in->backup[i]) && in->backup[i].system_identifier > system_identifier &&
		    in->backup[i].finished_us > last_us)
			return true;
	return false;
}

/* Whether moments at or after `from_us` may lie on it. */
static bool is_alive(const struct deciding *d, const struct retention_timeline *t, int64_t from_us)
{
	const struct retention_input *in = d->in;
	const struct retention_backup *newest = &in->backup[d->newest_first[0]];

	if (t->last_us >= from_us ||
	    (newest->system_identifier == t->system_identifier && newest->timeline == t->timeline))
		return true;
	for (size_t i = 0; i < in->backups; i++)
		if (in->backup[i].system_identifier == t->system_identifier &&
		    in->backup[i].timeline == t->timeline && in->backup[i].finished_us >= from_us)
			return true;
	return false;
}

/* Which backups are looked at: those that stay, or also those that may come back. */
typedef bool choice(const struct deciding *, size_t i);

static bool is_shown(const struct deciding *d, size_t i)
{
	return counts(&d->in->backup[i]);
}

static bool stays(const struct deciding *d, size_t i)
{
	return counts(&d->in->backup[i]) && !d->out[i].drop;
}

static bool is_there(const struct deciding *d, size_t i)
{
	return !d->in->backup[i].unsound;
}

typedef void marking(struct retention_verdict *, enum retention_rule);

static void mark_rule(struct retention_verdict *out, enum retention_rule rule)
{
	out->rules |= rule;
}

static void mark_wal(struct retention_verdict *out, enum retention_rule rule)
{
	(void)rule;
	out->wal_to_end = true;
}

/* The last backup on the path of a timeline that ended at or before `from_us`; SIZE_MAX = none. */
static size_t anchor_of(const struct deciding *d, const struct retention_timeline *t,
			int64_t from_us, choice *choose, bool sound)
{
	const struct retention_backup *backup = d->in->backup;
	size_t best = SIZE_MAX;

	for (size_t i = 0; i < d->in->backups; i++)
		if (choose(d, i) && backup[i].finished_us <= from_us &&
		    !(sound && backup[i].checksum_failures) && is_on_path(d->in, t, &backup[i]) &&
		    (best == SIZE_MAX || backup[i].stop.value > backup[best].stop.value ||
		     (backup[i].stop.value == backup[best].stop.value &&
		      by_end(&backup[i], &backup[best]) > 0)))
			best = i;
	return best;
}

/* Of one timeline; and where what it begins with has wrong checksums, also the last before that has none: its
 * WAL is what rolls it past the damage.  Where the timeline's history is not known and it has none of its
 * own, everything on lower ones. */
static void mark_anchor(const struct deciding *d, const struct retention_timeline *t,
			int64_t from_us, choice *choose, marking *mark)
{
	const struct retention_backup *backup = d->in->backup;
	size_t best = anchor_of(d, t, from_us, choose, false);
	size_t sound = anchor_of(d, t, from_us, choose, true);

	if (best != SIZE_MAX)
		mark(&d->out[best], RETAIN_ANCHOR);
	if (sound != SIZE_MAX)
		mark(&d->out[sound], RETAIN_ANCHOR);
	for (size_t i = 0; best == SIZE_MAX && t->unknown && i < d->in->backups; i++)
		if (choose(d, i) && backup[i].system_identifier == t->system_identifier &&
		    backup[i].timeline < t->timeline)
			mark(&d->out[i], RETAIN_LINEAGE);
}

/* What a window from `from_us` on needs of the chosen ones. */
static void mark_window(const struct deciding *d, int64_t from_us, choice *choose, marking *mark)
{
	for (size_t i = 0; i < d->in->backups; i++)
		if (choose(d, i) && d->in->backup[i].finished_us > from_us)
			mark(&d->out[i], RETAIN_WINDOW);
	for (size_t i = 0; i < d->in->timelines; i++)
		if (is_alive(d, &d->in->timeline[i], from_us))
			mark_anchor(d, &d->in->timeline[i], from_us, choose, mark);
}

/* ---- all of it ---- */

bool retention_is_set(const struct retention_policy *p)
{
	return p->window_us > 0 || p->backups > 0 || p->daily > 0 || p->weekly > 0 ||
	       p->monthly > 0 || p->yearly > 0;
}

static void keep_all(struct deciding *d)
{
	for (size_t i = 0; i < d->in->backups; i++) {
		d->out[i].rules |= d->in->backup[i].hidden ? 0 : RETAIN_ALL;
		d->out[i].wal_to_end = true;
	}
}

/* What stays in case the others turn out damaged has to lead past them: without wrong checksums however
 * old it is, as the server is damaged and says so each night; verified up to a window before the window, as
 * that the later ones are not verified tells nothing against them, and WAL must not grow for ever. */
static void mark_proven(struct deciding *d, int64_t from_us)
{
	int64_t since_us = earlier(from_us, d->in->policy.window_us);

	for (size_t i = 0; i < d->in->backups; i++)
		if ((d->out[i].rules & RETAIN_SOUND) != 0 ||
		    ((d->out[i].rules & RETAIN_VERIFIED) != 0 &&
		     d->in->backup[i].finished_us >= since_us))
			d->out[i].wal_to_end = true;
}

static void decide(struct deciding *d)
{
	const struct retention_input *in = d->in;
	const struct retention_policy *p = &in->policy;
	bool idle;
	int64_t from_us = retention_window_from(in, &idle);

	for (size_t i = 0; i < in->backups; i++) {
		d->out[i].rules |= in->backup[i].keep && !in->backup[i].hidden ? RETAIN_KEEP : 0;
		d->out[i].rules |=
			in->backup[i].unsound && !in->backup[i].hidden ? RETAIN_UNSOUND : 0;
		/* How far it may be of use nobody knows. */
		d->out[i].wal_to_end = in->backup[i].unsound || d->order == 0;
	}
	if (!retention_is_set(p))
		keep_all(d);
	if (d->order == 0 || !retention_is_set(p))
		return;
	mark_newest(d);
	mark_periods(d, RETAIN_DAILY, p->daily);
	mark_periods(d, RETAIN_WEEKLY, p->weekly);
	mark_periods(d, RETAIN_MONTHLY, p->monthly);
	mark_periods(d, RETAIN_YEARLY, p->yearly);
	mark_window(d, from_us, is_shown, mark_rule);
	for (size_t i = 0; i < in->backups; i++)
		d->out[i].drop = !in->backup[i].hidden && d->out[i].rules == 0;
	/* WAL: for what stays, and for what undelete would bring back. */
	from_us = earlier(from_us, p->grace_us);
	mark_window(d, from_us, stays, mark_wal);
	mark_window(d, from_us, is_there, mark_wal);
	mark_proven(d, from_us);
}

enum err retention_decide(const struct retention_input *in, struct retention_verdict *out,
			  struct error *why)
{
	struct deciding d = {.in = in, .out = out};
	enum err e = check_times(in, why);

	if (e == ERR_NONE)
		e = sort(&d, why);
	if (e == ERR_NONE) {
		memset(out, 0, in->backups * sizeof(*out));
		decide(&d);
	}
	free(d.newest_first);
	return e;
}
