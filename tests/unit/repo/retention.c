/* What a policy keeps, rule by rule; all of them over random histories are in retention_histories.c. */
#include "repo/retention.h"

#include <criterion/criterion.h>
#include <string.h>

#define HOUR INT64_C(3600000000)
#define DAY (24 * HOUR)
/* 2026-11-26, a Thursday, 12:00 */
#define NOON (INT64_C(1795694400) * 1000000)

enum { SEGMENT = 1 << 20 };

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

Test(retention, a_system_is_superseded_by_a_later_backup_of_a_younger_one)
{
	struct retention_backup b[4];
	struct retention_input in = {.backup = b, .backups = 4};

	daily(b, 4);
	b[0].system_identifier = b[1].system_identifier = 9;
	cr_expect(retention_is_superseded(&in, 7));
	cr_expect(retention_is_superseded(&in, 8)); /* has none any more */
	cr_expect(!retention_is_superseded(&in, 9));
	b[0].system_identifier = b[1].system_identifier =
		5; /* whatever made it, it is not younger */
	cr_expect(!retention_is_superseded(&in, 7));
	b[0].system_identifier = 7;
	b[1].system_identifier = 9; /* the old one is still backed up */
	cr_expect(!retention_is_superseded(&in, 7));
	b[0].system_identifier = 9;
	b[0].unsound = b[1].unsound = true;
	cr_expect(!retention_is_superseded(&in, 7));
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
