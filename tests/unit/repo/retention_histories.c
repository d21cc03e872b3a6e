/* The window that a policy promises, over random histories of backups, timelines, system identifiers, times and
 * wrong clocks.
 */
#include "repo/retention.h"
#include "repo/wal_need.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOUR INT64_C(3600000000)
#define DAY (24 * HOUR)
/* 2026-11-26 12:00 */
#define NOON (INT64_C(1795694400) * 1000000)

enum { SEGMENT = 1 << 20, BACKUPS = 64, TIMELINES = 16, WAL = 1024, CASES = 400 };

static struct attempt attempt_of(unsigned n)
{
	struct attempt a = {.id = {0}};

	a.id[14] = (uint8_t)(n >> 8);
	a.id[15] = (uint8_t)n;
	return a;
}

static struct lsn at_segment(uint64_t segno)
{
	return lsn_of(segno * SEGMENT);
}

struct stored {
	uint64_t system, segno;
	uint32_t timeline;
	int64_t us;
	bool there;
};

struct history_of_all {
	uint64_t state;
	struct retention_backup backup[BACKUPS];
	size_t backups;
	struct retention_timeline timeline[TIMELINES];
	size_t timelines;
	struct stored wal[WAL];
	size_t count;
	int64_t us;
	bool wrong_clocks;
	int64_t ahead_us; /* of the clock that backups are told by, for now */
	int64_t early_us; /* the most that a backup says it ended too early */
	uint64_t system, segno;
	uint32_t number; /* of the timeline that is written */
};

static uint32_t below(struct history_of_all *h, uint32_t bound)
{
	uint64_t z = h->state += 0x9E3779B97F4A7C15;

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
	z ^= z >> 31;
	return (uint32_t)((z >> 32) * bound >> 32);
}

static struct retention_timeline *timeline(struct history_of_all *h, uint64_t system,
					   uint32_t number)
{
	for (size_t i = 0; i < h->timelines; i++)
		if (h->timeline[i].system_identifier == system && h->timeline[i].timeline == number)
			return &h->timeline[i];
	return NULL;
}

static void write_segments(struct history_of_all *h, unsigned count)
{
	for (unsigned i = 0; i < count && h->count < WAL; i++) {
		h->us += (int64_t)below(h, 8) * HOUR;
		h->wal[h->count++] = (struct stored){h->system, h->segno++, h->number, h->us, true};
		timeline(h, h->system, h->number)->last_us = h->us;
	}
}

static void branch(struct history_of_all *h)
{
	const struct retention_timeline *parent;
	uint64_t from, to = h->segno;
	uint32_t highest = 0;

	if (h->timelines == TIMELINES)
		return;
	parent = timeline(h, h->system, h->number);
	from = parent->begin.value / SEGMENT + 1;
	if (to <= from)
		return;
	from += below(h, (uint32_t)(to - from));
	for (size_t i = 0; i < h->timelines; i++)
		if (h->timeline[i].system_identifier == h->system &&
		    h->timeline[i].timeline > highest)
			highest = h->timeline[i].timeline;
	h->timeline[h->timelines++] = (struct retention_timeline){.system_identifier = h->system,
								  .timeline = highest + 1,
								  .parent = parent->timeline,
								  .begin = at_segment(from)};
	h->number = highest + 1;
	h->segno = from;
}

static void begin_system(struct history_of_all *h)
{
	if (h->timelines == TIMELINES)
		return;
	h->system++;
	h->number = 1;
	h->segno = 1 + below(h, 5);
	h->timeline[h->timelines++] = (struct retention_timeline){
		.system_identifier = h->system, .timeline = 1, .begin = at_segment(h->segno)};
}

/* Minutes, hours or years, either way. */
static int64_t far_off(struct history_of_all *h)
{
	static const int64_t unit[] = {HOUR / 60, HOUR, 365 * DAY};
	int64_t us = (int64_t)(1 + below(h, 90)) * unit[below(h, 3)];

	return below(h, 2) == 0 ? us : -us;
}

static void take(struct history_of_all *h)
{
	struct retention_backup *b = &h->backup[h->backups];

	*b = (struct retention_backup){.attempt = attempt_of((unsigned)h->backups + 1),
				       .system_identifier = h->system,
				       .timeline = h->number,
				       .start = lsn_of(h->segno * SEGMENT + 40)};
	write_segments(h, 1 + below(h, 3));
	b->stop = at_segment(h->segno);
	h->us += (int64_t)below(h, 3) * HOUR;
	if (h->wrong_clocks && below(h, 6) == 0)
		h->ahead_us = below(h, 2) == 0 ? 0 : far_off(h);
	b->finished_us = h->us + h->ahead_us;
	if (-h->ahead_us > h->early_us)
		h->early_us = -h->ahead_us;
	b->verified_us = below(h, 3) == 0 ? h->us : 0;
	b->keep = below(h, 12) == 0;
	b->hidden = below(h, 8) == 0;
	b->unsound = below(h, 12) == 0;
	b->checksum_failures = below(h, 12) == 0;
	h->backups++;
}

static void live(struct history_of_all *h, uint64_t seed, bool wrong_clocks)
{
	unsigned events;

	memset(h, 0, sizeof(*h));
	h->state = seed;
	h->wrong_clocks = wrong_clocks;
	h->us = NOON;
	begin_system(h);
	events = 4 + below(h, 80);
	for (unsigned i = 0; i < events && h->backups < BACKUPS && h->count + 16 < WAL; i++) {
		uint32_t what = below(h, 20);

		write_segments(h, below(h, 6));
		if (what == 0)
			begin_system(h);
		else if (what <= 3)
			branch(h);
		else if (what <= 13)
			take(h);
		else
			h->us += (int64_t)below(h, 60) * HOUR;
	}
}

/* The path to a timeline, as a history file has it. */
static void history_of(struct history_of_all *h, const struct retention_timeline *t,
		       struct history *out)
{
	const struct retention_timeline *up = t;
	size_t count = 0;

	out->timeline = t->timeline;
	for (; up->parent != 0; up = timeline(h, up->system_identifier, up->parent))
		count++;
	out->count = count;
	for (up = t; up->parent != 0; up = timeline(h, up->system_identifier, up->parent))
		out->entry[--count] = (struct history_entry){up->parent, up->begin};
}

static bool is_stored(const struct history_of_all *h, uint64_t system, uint32_t number,
		      uint64_t segno)
{
	for (size_t i = 0; i < h->count; i++)
		if (h->wal[i].there && h->wal[i].system == system && h->wal[i].segno == segno &&
		    h->wal[i].timeline == number)
			return true;
	return false;
}

/* Whether some backup that is there comes to this moment by replaying what is stored. */
static bool can_restore(struct history_of_all *h, const bool *there, const struct stored *moment,
			bool sound)
{
	static struct history path;

	history_of(h, timeline(h, moment->system, moment->timeline), &path);
	for (size_t i = 0; i < h->backups; i++) {
		const struct retention_backup *b = &h->backup[i];
		struct lsn begin, end;
		bool whole = true;

		if (!there[i] || b->hidden || b->unsound || (sound && b->checksum_failures) ||
		    b->system_identifier != moment->system ||
		    !history_has(&path, b->timeline, &begin, &end) || b->stop.value > end.value ||
		    b->stop.value > (moment->segno + 1) * SEGMENT)
			continue;
		for (uint64_t s = b->start.value / SEGMENT; whole && s <= moment->segno; s++)
			whole = is_stored(h, moment->system,
					  history_timeline_at(&path, at_segment(s)), s);
		if (whole)
			return true;
	}
	return false;
}

/* Sweeps what no backup that is there needs. */
static void sweep(struct history_of_all *h, const bool *there, const struct retention_verdict *v)
{
	static struct history path;

	for (size_t i = 0; i < h->count; i++) {
		struct stored *w = &h->wal[i];
		struct wal_need need[BACKUPS];
		size_t needs = 0;

		for (size_t j = 0; j < h->backups; j++)
			if (there[j] && h->backup[j].system_identifier == w->system)
				need[needs++] = (struct wal_need){
					h->backup[j].timeline, h->backup[j].start,
					v[j].wal_to_end ? lsn_of(0) : h->backup[j].stop};
		history_of(h, timeline(h, w->system, w->timeline), &path);
		w->there = w->there &&
			   wal_need_any(need, needs, w->timeline, &path, w->segno, SEGMENT);
	}
	for (size_t i = 0; i < h->timelines; i++) {
		h->timeline[i].last_us = 0;
		for (size_t j = 0; j < h->count; j++)
			if (h->wal[j].there &&
			    h->wal[j].system == h->timeline[i].system_identifier &&
			    h->wal[j].timeline == h->timeline[i].timeline &&
			    h->wal[j].us > h->timeline[i].last_us)
				h->timeline[i].last_us = h->wal[j].us;
	}
}

/* Whether a shown one ended in the future, or before one that its WAL follows, by more than that. */
static bool is_plain(struct history_of_all *h, const bool *there, int64_t now_us, int64_t future_us,
		     int64_t disorder_us)
{
	static struct history path;

	for (size_t i = 0; i < h->backups; i++) {
		const struct retention_backup *b = &h->backup[i];
		struct lsn begin, end;

		if (!there[i] || b->hidden)
			continue;
		if (b->finished_us > now_us + future_us)
			return true;
		history_of(h, timeline(h, b->system_identifier, b->timeline), &path);
		for (size_t j = 0; j < h->backups; j++) {
			const struct retention_backup *a = &h->backup[j];

			if (there[j] && !a->hidden &&
			    a->system_identifier == b->system_identifier &&
			    history_has(&path, a->timeline, &begin, &end) &&
			    a->stop.value <= end.value && a->stop.value < b->stop.value &&
			    a->finished_us > b->finished_us + disorder_us)
				return true;
		}
	}
	return false;
}

/* Decides about those that are there; verdicts of the others are zero.  False: a clock was refused. */
static bool judge(struct history_of_all *h, const bool *there, const struct retention_input *of,
		  bool backwards, struct retention_verdict *out)
{
	struct retention_backup some[BACKUPS];
	struct retention_verdict v[BACKUPS];
	struct retention_input in = *of;
	size_t at[BACKUPS], count = 0;
	struct error why;
	enum err e;

	for (size_t k = 0; k < h->backups; k++) {
		size_t i = backwards ? h->backups - 1 - k : k;

		if (there[i]) {
			at[count] = i;
			some[count++] = h->backup[i];
		}
	}
	in.backup = some;
	in.backups = count;
	memset(out, 0, h->backups * sizeof(*out));
	e = retention_decide(&in, v, &why);
	if (e == ERR_DENIED && h->wrong_clocks) {
		cr_assert(is_plain(h, there, in.now_us, 0, 0), "%s", why.text);
		return false;
	}
	cr_assert_eq(e, ERR_NONE, "%s", why.text);
	cr_assert(!is_plain(h, there, in.now_us, RETENTION_FUTURE_US, RETENTION_DISORDER_US),
		  "a wrong clock was not noticed");
	for (size_t k = 0; k < count; k++)
		out[at[k]] = v[k];
	return true;
}

/* The run after the history, by a clock that may have gone wrong since it was looked at last.  False: it is
 * refused. */
static bool admits_clock(struct history_of_all *h, struct retention_input *in)
{
	int64_t passed_us = in->now_us - h->us, wrong_us = below(h, 2) == 0 ? 0 : far_off(h);
	bool booted = below(h, 2) == 0;
	const struct retention_clock before = {"a", h->us, DAY};
	struct retention_clock now = {"a", in->now_us + wrong_us, DAY + passed_us};
	struct error why;

	if (booted)
		now = (struct retention_clock){"b", in->now_us + wrong_us, 0};
	in->now_us = now.wall_us;
	if (retention_check_clock(&in->policy, &before, &now, &why) != ERR_NONE) {
		cr_assert(wrong_us != 0 || booted, "%s", why.text);
		return false;
	}
	cr_assert(wrong_us <= (booted ? RETENTION_OFF_MAX_US : RETENTION_JUMP_US));
	return true;
}

/* What could be restored at first: at all, from a backup without wrong checksums. */
struct could {
	bool at_all[WAL], soundly[WAL];
};

static void check_promise(struct history_of_all *h, const bool *there, const struct could *could,
			  int64_t from_us, uint64_t seed, const char *when)
{
	for (size_t i = 0; i < h->count; i++)
		if (h->wal[i].us >= from_us)
			cr_assert((!could->at_all[i] || can_restore(h, there, &h->wal[i], false)) &&
					  (!could->soundly[i] ||
					   can_restore(h, there, &h->wal[i], true)),
				  "seed %llu, %s: system %llu timeline %u segment %llu is lost",
				  (unsigned long long)seed, when,
				  (unsigned long long)h->wal[i].system, h->wal[i].timeline,
				  (unsigned long long)h->wal[i].segno);
	for (size_t i = 0; i < h->backups; i++)
		for (uint64_t s = h->backup[i].start.value / SEGMENT;
		     there[i] && s * SEGMENT < h->backup[i].stop.value; s++)
			cr_assert(is_stored(h, h->backup[i].system_identifier,
					    h->backup[i].timeline, s),
				  "seed %llu, %s: backup %zu lost its own WAL",
				  (unsigned long long)seed, when, i);
}

/* A backup that says it ended too early may be taken for what the window begins with: the window is shorter by as
 * much, and no more.  False: it was refused. */
static bool run_case(struct history_of_all *h, uint64_t seed, bool wrong_clocks)
{
	struct retention_verdict v[BACKUPS], again[BACKUPS];
	struct retention_input in;
	static struct could could;
	bool there[BACKUPS], idle;
	size_t newest_verified = SIZE_MAX;
	int64_t from_us;

	live(h, seed, wrong_clocks);
	in = (struct retention_input){.policy = {.window_us = (int64_t)below(h, 20) * DAY,
						 .backups = 1 + below(h, 3),
						 .daily = below(h, 5),
						 .weekly = below(h, 3),
						 .monthly = below(h, 3),
						 .yearly = below(h, 2),
						 .grace_us = (int64_t)below(h, 3) * DAY},
				      .now_us = h->us + (int64_t)below(h, 100) * HOUR,
				      .backup = h->backup,
				      .backups = h->backups,
				      .timeline = h->timeline,
				      .timelines = h->timelines};
	if (wrong_clocks && !admits_clock(h, &in))
		return false;
	from_us = in.now_us - in.policy.window_us;
	cr_assert(retention_window_from(&in, &idle) <= from_us, "the window is never shorter");
	from_us += h->early_us;
	memset(there, true, sizeof(there));
	for (size_t i = 0; i < h->count; i++) {
		could.at_all[i] = can_restore(h, there, &h->wal[i], false);
		could.soundly[i] = can_restore(h, there, &h->wal[i], true);
	}

	if (!judge(h, there, &in, false, v)) {
		cr_assert(!judge(h, there, &in, true, again));
		return false;
	}
	(void)judge(h, there, &in, true, again); /* the same, as is looked at now */
	cr_assert_arr_eq(v, again, h->backups * sizeof(*v), "seed %llu: the order counts",
			 (unsigned long long)seed);
	for (size_t i = 0; i < h->backups; i++) {
		const struct retention_backup *b = &h->backup[i];

		if (b->verified_us != 0 && !b->hidden && !b->unsound &&
		    (newest_verified == SIZE_MAX ||
		     b->finished_us >= h->backup[newest_verified].finished_us))
			newest_verified = i;
		cr_assert(!v[i].drop || (!b->keep && !b->unsound && !b->hidden));
	}
	cr_assert(newest_verified == SIZE_MAX || !v[newest_verified].drop);
	/* What is dropped is hidden first, and can be brought back with its own WAL. */
	sweep(h, there, v);
	check_promise(h, there, &could, from_us, seed, "after hiding");
	for (size_t i = 0; i < h->backups; i++)
		there[i] = !v[i].drop;
	cr_assert(judge(h, there, &in, false, again));
	for (size_t i = 0; i < h->backups; i++)
		cr_assert(!again[i].drop, "seed %llu: the second plan drops more",
			  (unsigned long long)seed);
	sweep(h, there, again);
	check_promise(h, there, &could, from_us, seed, "after removing");
	for (size_t i = 0; i < h->backups; i++)
		there[i] = there[i] && !h->backup[i].hidden;
	cr_assert(judge(h, there, &in, false, again));
	sweep(h, there, again);
	check_promise(h, there, &could, from_us, seed, "without the hidden");
	return true;
}

Test(retention_histories, the_window_is_never_broken_whatever_happened)
{
	struct history_of_all *h = calloc(1, sizeof(*h));
	const char *text = getenv("PGAGENT_TEST_SEED");
	uint64_t from = text != NULL ? strtoull(text, NULL, 10) : 1;

	cr_assert_not_null(h);
	for (uint64_t seed = from; seed < from + (text != NULL ? 1 : CASES); seed++)
		cr_assert(run_case(h, seed, false));
	free(h);
}

/* Backups in the future, out of order, all behind a jump: refused, or the promise holds. */
Test(retention_histories, wrong_clocks_are_refused_or_cost_no_more_than_they_were_wrong)
{
	struct history_of_all *h = calloc(1, sizeof(*h));
	const char *text = getenv("PGAGENT_TEST_SEED");
	uint64_t from = text != NULL ? strtoull(text, NULL, 10) : 1;
	unsigned refused = 0;

	cr_assert_not_null(h);
	for (uint64_t seed = from; seed < from + (text != NULL ? 1 : CASES); seed++)
		refused += !run_case(h, seed, true);
	cr_assert(text != NULL || (refused > CASES / 8 && refused < CASES - CASES / 8),
		  "%u refused: neither side is looked at", refused);
	free(h);
}
