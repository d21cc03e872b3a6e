/* What a policy keeps: the promised window above all, over random histories of backups, timelines, system
 * identifiers and times; and each rule by itself.
 */
#include "repo/retention.h"
#include "repo/wal_need.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOUR INT64_C(3600000000)
#define DAY (24 * HOUR)
/* 2026-11-26, a Thursday, 12:00 */
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

/* ---- rules one by one ---- */

/* One backup a day at noon, the newest first, today's first; a segment of WAL an hour. */
static void daily(struct retention_backup *b, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		b[i] = (struct retention_backup){.attempt = attempt_of(count - i),
						 .system_identifier = 7,
						 .timeline = 1,
						 .start = at_segment(24 * (count - i)),
						 .stop = at_segment(24 * (count - i) + 1),
						 .finished_us = NOON - (int64_t)i * DAY};
}

static const struct retention_timeline one_timeline = {
	.system_identifier = 7, .timeline = 1, .last_us = NOON};

static void decide(struct retention_policy policy, const struct retention_backup *b, size_t count,
		   struct retention_verdict *out)
{
	struct retention_input in = {.policy = policy,
				     .now_us = NOON + HOUR,
				     .backup = b,
				     .backups = count,
				     .timeline = &one_timeline,
				     .timelines = 1};
	struct error why;

	cr_assert_eq(retention_decide(&in, out, &why), ERR_NONE, "%s", why.text);
}

Test(retention, the_window_keeps_what_lies_in_it_and_the_one_it_begins_with)
{
	struct retention_backup b[10];
	struct retention_verdict v[10];

	daily(b, 10);
	decide((struct retention_policy){.window_us = 3 * DAY, .backups = 1}, b, 10, v);
	for (unsigned i = 0; i < 10; i++)
		cr_expect_eq(v[i].drop, i > 3, "%u", i);
	cr_expect_eq(v[2].rules, RETAIN_WINDOW);
	cr_expect_eq(v[3].rules, RETAIN_ANCHOR);
}

Test(retention, wal_goes_only_after_the_grace)
{
	struct retention_backup b[10];
	struct retention_verdict v[10];

	daily(b, 10);
	decide(
		(struct retention_policy){
			.window_us = 3 * DAY, .backups = 1, .daily = 10, .grace_us = DAY},
		b, 10, v);
	for (unsigned i = 0; i < 10; i++) {
		cr_expect(!v[i].drop);
		cr_expect_eq(v[i].wal_to_end, i <= 4, "%u", i);
	}
}

Test(retention, numbers_count_days_weeks_months_and_years_that_have_a_backup)
{
	struct retention_backup b[60];
	struct retention_verdict v[60];
	char period[RETENTION_PERIOD_MAX];

	daily(b, 60);
	decide(
		(struct retention_policy){
			.backups = 2, .daily = 3, .weekly = 2, .monthly = 2, .yearly = 1},
		b, 60, v);
	for (unsigned i = 0; i < 60; i++) {
		/* The last Sunday is the 22nd, 4 days ago; October ended 26 days ago. */
		bool kept = i < 3 || i == 4 || i == 26;

		cr_expect_eq(v[i].drop, !kept, "%u", i);
	}
	retention_period(RETAIN_WEEKLY, NOON, period);
	cr_expect_str_eq(period, "week of 2026-11-23");
	retention_period(RETAIN_MONTHLY, NOON, period);
	cr_expect_str_eq(period, "2026-11");
}

Test(retention, a_mark_and_the_newest_verified_stay)
{
	struct retention_backup b[10];
	struct retention_verdict v[10];

	daily(b, 10);
	b[8].keep = true;
	b[6].verified_us = b[7].verified_us = NOON;
	decide((struct retention_policy){.backups = 1}, b, 10, v);
	cr_expect_eq(v[8].rules, RETAIN_KEEP);
	cr_expect_eq(v[6].rules, RETAIN_VERIFIED);
	cr_expect(v[7].drop && !v[8].wal_to_end);
}

Test(retention, what_cant_be_restored_counts_for_nothing_and_stays)
{
	struct retention_backup b[4];
	struct retention_verdict v[4];

	daily(b, 4);
	b[0].unsound = true;
	b[2].hidden = true;
	decide((struct retention_policy){.backups = 1}, b, 4, v);
	cr_expect_eq(v[0].rules, RETAIN_UNSOUND);
	cr_expect((v[1].rules & RETAIN_NEWEST) != 0);
	cr_expect(!v[2].drop && v[2].rules == 0);
	cr_expect(v[3].drop);
}

Test(retention, wrong_checksums_do_not_displace_the_last_good_one)
{
	struct retention_backup b[4];
	struct retention_verdict v[4];

	daily(b, 4);
	b[0].checksum_failures = b[1].checksum_failures = true;
	decide((struct retention_policy){.backups = 1}, b, 4, v);
	cr_expect(!v[0].drop && v[1].drop && v[3].drop);
	cr_expect(v[2].rules == (RETAIN_SOUND | RETAIN_ANCHOR) && v[2].wal_to_end);
}

Test(retention, the_last_good_one_leads_past_the_wrong_checksums)
{
	struct retention_backup b[10];
	struct retention_verdict v[10];

	daily(b, 10);
	for (unsigned i = 0; i < 7; i++)
		b[i].checksum_failures = true;
	decide((struct retention_policy){.window_us = 3 * DAY, .backups = 1}, b, 10, v);
	cr_expect_eq(v[7].rules, RETAIN_SOUND | RETAIN_ANCHOR);
	cr_expect(v[7].wal_to_end);
	for (unsigned i = 0; i < 10; i++)
		cr_expect_eq(v[i].drop, i > 3 && i != 7, "%u", i);
	/* Later ones are good: still what the window begins with is not all there is of it. */
	b[0].checksum_failures = b[1].checksum_failures = false;
	decide((struct retention_policy){.window_us = 3 * DAY, .backups = 1}, b, 10, v);
	cr_expect(v[7].rules == RETAIN_ANCHOR && v[7].wal_to_end);
}

Test(retention, the_last_verified_leads_on_for_another_window)
{
	struct retention_backup b[10];
	struct retention_verdict v[10];

	daily(b, 10);
	b[6].verified_us = NOON;
	decide((struct retention_policy){.window_us = 3 * DAY, .backups = 1}, b, 10, v);
	cr_expect(v[6].rules == RETAIN_VERIFIED && !v[6].wal_to_end);
	b[5].verified_us = NOON;
	decide((struct retention_policy){.window_us = 3 * DAY, .backups = 1}, b, 10, v);
	cr_expect(v[5].rules == RETAIN_VERIFIED && v[5].wal_to_end);
}

Test(retention, without_a_rule_nothing_goes)
{
	struct retention_backup b[10];
	struct retention_verdict v[10];

	daily(b, 10);
	b[4].hidden = true; /* by name */
	decide((struct retention_policy){.grace_us = DAY}, b, 10, v);
	for (unsigned i = 0; i < 10; i++) {
		cr_expect(!v[i].drop && v[i].wal_to_end, "%u", i);
		cr_expect_eq(v[i].rules, i == 4 ? 0 : RETAIN_ALL, "%u", i);
	}
}

Test(retention, time_stands_still_while_no_backup_succeeds)
{
	struct retention_backup b[10];
	struct retention_verdict now[10], later[10];
	struct retention_input in = {.policy = {.window_us = 3 * DAY, .backups = 1},
				     .now_us = NOON + DAY,
				     .backup = b,
				     .backups = 10,
				     .timeline = &one_timeline,
				     .timelines = 1};
	struct error why;

	daily(b, 10);
	cr_assert_eq(retention_decide(&in, now, &why), ERR_NONE);
	in.now_us = NOON + 400 * DAY;
	cr_assert_eq(retention_decide(&in, later, &why), ERR_NONE);
	for (unsigned i = 0; i < 10; i++)
		cr_expect(now[i].rules == later[i].rules && now[i].drop == later[i].drop);
}

Test(retention, a_clock_that_went_wrong_is_refused)
{
	struct retention_backup b[3];
	struct retention_verdict v[3];
	struct retention_input in = {.policy = {.backups = 1},
				     .now_us = NOON - HOUR,
				     .backup = b,
				     .backups = 3,
				     .timeline = &one_timeline,
				     .timelines = 1};
	struct error why;

	daily(b, 3);
	cr_expect_eq(retention_decide(&in, v, &why), ERR_DENIED);
	in.now_us = NOON - RETENTION_FUTURE_US;
	cr_expect_eq(retention_decide(&in, v, &why), ERR_NONE);
	b[1].finished_us = NOON - 400 * DAY;
	cr_expect_eq(retention_decide(&in, v, &why), ERR_DENIED);
	/* Until the one whose time is wrong was told to go. */
	b[1].hidden = true;
	cr_expect_eq(retention_decide(&in, v, &why), ERR_NONE);
	b[0].finished_us = NOON + 400 * DAY;
	cr_expect_eq(retention_decide(&in, v, &why), ERR_DENIED);
	cr_expect_not_null(strstr(why.hint, "--confirm"), "%s", why.hint);
	b[0].hidden = true;
	cr_expect_eq(retention_decide(&in, v, &why), ERR_NONE);
}

/* ---- random histories ---- */

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
	b->finished_us = h->us;
	b->verified_us = below(h, 3) == 0 ? h->us : 0;
	b->keep = below(h, 12) == 0;
	b->hidden = below(h, 8) == 0;
	b->unsound = below(h, 12) == 0;
	b->checksum_failures = below(h, 12) == 0;
	h->backups++;
}

static void live(struct history_of_all *h, uint64_t seed)
{
	unsigned events;

	memset(h, 0, sizeof(*h));
	h->state = seed;
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

/* Decides about those that are there; verdicts of the others are zero. */
static void judge(struct history_of_all *h, const bool *there, const struct retention_input *of,
		  bool backwards, struct retention_verdict *out)
{
	struct retention_backup some[BACKUPS];
	struct retention_verdict v[BACKUPS];
	struct retention_input in = *of;
	size_t at[BACKUPS], count = 0;
	struct error why;

	for (size_t k = 0; k < h->backups; k++) {
		size_t i = backwards ? h->backups - 1 - k : k;

		if (there[i]) {
			at[count] = i;
			some[count++] = h->backup[i];
		}
	}
	in.backup = some;
	in.backups = count;
	cr_assert_eq(retention_decide(&in, v, &why), ERR_NONE, "%s", why.text);
	memset(out, 0, h->backups * sizeof(*out));
	for (size_t k = 0; k < count; k++)
		out[at[k]] = v[k];
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

static void run_case(struct history_of_all *h, uint64_t seed)
{
	struct retention_verdict v[BACKUPS], again[BACKUPS];
	struct retention_input in;
	static struct could could;
	bool there[BACKUPS], idle;
	size_t newest_verified = SIZE_MAX;
	int64_t from_us;

	live(h, seed);
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
	from_us = in.now_us - in.policy.window_us;
	cr_assert(retention_window_from(&in, &idle) <= from_us, "the window is never shorter");
	memset(there, true, sizeof(there));
	for (size_t i = 0; i < h->count; i++) {
		could.at_all[i] = can_restore(h, there, &h->wal[i], false);
		could.soundly[i] = can_restore(h, there, &h->wal[i], true);
	}

	judge(h, there, &in, false, v);
	judge(h, there, &in, true, again);
	cr_assert_arr_eq(v, again, h->backups * sizeof(*v), "seed %llu: the order counts",
			 (unsigned long long)seed);
	for (size_t i = 0; i < h->backups; i++) {
		const struct retention_backup *b = &h->backup[i];

		if (b->verified_us != 0 && !b->hidden && !b->unsound)
			newest_verified = i;
		cr_assert(!v[i].drop || (!b->keep && !b->unsound && !b->hidden));
	}
	cr_assert(newest_verified == SIZE_MAX || !v[newest_verified].drop);
	/* What is dropped is hidden first, and can be brought back with its own WAL. */
	sweep(h, there, v);
	check_promise(h, there, &could, from_us, seed, "after hiding");
	for (size_t i = 0; i < h->backups; i++)
		there[i] = !v[i].drop;
	judge(h, there, &in, false, again);
	for (size_t i = 0; i < h->backups; i++)
		cr_assert(!again[i].drop, "seed %llu: the second plan drops more",
			  (unsigned long long)seed);
	sweep(h, there, again);
	check_promise(h, there, &could, from_us, seed, "after removing");
	for (size_t i = 0; i < h->backups; i++)
		there[i] = there[i] && !h->backup[i].hidden;
	judge(h, there, &in, false, again);
	sweep(h, there, again);
	check_promise(h, there, &could, from_us, seed, "without the hidden");
}

Test(retention, the_window_is_never_broken_whatever_happened)
{
	struct history_of_all *h = calloc(1, sizeof(*h));
	const char *text = getenv("PGAGENT_TEST_SEED");
	uint64_t from = text != NULL ? strtoull(text, NULL, 10) : 1;

	cr_assert_not_null(h);
	for (uint64_t seed = from; seed < from + (text != NULL ? 1 : CASES); seed++)
		run_case(h, seed);
	free(h);
}
