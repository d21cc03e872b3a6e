/* Which moments can be restored. */
#include "commands/windows.h"

#include <criterion/criterion.h>

static struct window_entry entry(uint64_t start, uint64_t end, uint64_t hole, uint64_t next)
{
	struct window_entry e = {.finished_us = (int64_t)start,
				 .start = lsn_of(start),
				 .stop = lsn_of(start + 1),
				 .reached = end != 0,
				 .next = lsn_of(next)};

	e.reach.end = lsn_of(end);
	e.reach.ends_in_hole = hole != 0;
	e.reach.hole = lsn_of(hole);
	return e;
}

Test(windows, begin_at_the_end_of_the_first_backup_and_end_with_the_wal)
{
	struct window_entry e[] = {entry(100, 900, 0, 0), entry(200, 0, 0, 0)};
	struct window w;

	window_merge(3, e, 2, &w);
	cr_expect_eq(w.timeline, 3);
	cr_expect_eq(w.from.value, 101);
	cr_expect_eq(w.from_us, 100);
	cr_expect_eq(w.to.value, 900);
	cr_expect_eq(w.gaps, 0);
}

Test(windows, a_hole_without_a_later_backup_ends_the_window_and_is_a_gap)
{
	struct window_entry e[] = {entry(100, 390, 400, 500)};
	struct window w;

	window_merge(1, e, 1, &w);
	cr_expect_eq(w.to.value, 390);
	cr_assert_eq(w.gaps, 1);
	cr_expect_eq(w.gap[0].from.value, 400);
	cr_expect_eq(w.gap[0].to.value, 500);
}

Test(windows, a_gap_lasts_to_the_end_of_the_next_backup_behind_the_hole)
{
	struct window_entry e[] = {entry(100, 390, 400, 500), entry(150, 0, 0, 0),
				   entry(600, 900, 0, 0)};
	struct window w;

	window_merge(1, e, 3, &w);
	cr_expect_eq(w.from.value, 101);
	cr_expect_eq(w.to.value, 900);
	cr_assert_eq(w.gaps, 1);
	cr_expect_eq(w.gap[0].from.value, 400);
	cr_expect_eq(w.gap[0].to.value, 601);
}

Test(windows, a_gap_says_whose_hole_it_is)
{
	struct window_entry e[] = {entry(100, 390, 400, 500), entry(600, 690, 700, 800),
				   entry(900, 990, 0, 0)};
	struct window w;

	e[0].by_retention = true;
	window_merge(1, e, 3, &w);
	cr_assert_eq(w.gaps, 2);
	cr_expect(w.gap[0].by_retention && !w.gap[1].by_retention);
}

Test(windows, end_no_earlier_than_they_begin)
{
	struct window w = {.from_us = 100, .latest_commit_us = 90};

	cr_expect_eq(window_to_us(&w), 100);
	w.latest_commit_us = 110;
	cr_expect_eq(window_to_us(&w), 110);
	w.latest_commit_us = 0;
	cr_expect_eq(window_to_us(&w), 0);
}

Test(windows, wal_that_just_ends_before_a_later_backup_is_a_gap_too)
{
	struct window_entry e[] = {entry(100, 300, 0, 0), entry(600, 700, 720, 0)};
	struct window w;

	window_merge(1, e, 2, &w);
	cr_assert_eq(w.gaps, 2);
	cr_expect_eq(w.gap[0].from.value, 300);
	cr_expect_eq(w.gap[0].to.value, 601);
	cr_expect_eq(w.gap[1].from.value, 720);
	cr_expect_eq(w.gap[1].to.value, 0, "where WAL goes on is not known");
}

Test(windows, gaps_beyond_the_bound_are_left_out)
{
	static struct window_entry e[WINDOW_GAPS_MAX + 5];
	static struct window w;

	for (uint64_t i = 0; i < WINDOW_GAPS_MAX + 5; i++)
		e[i] = entry(100 * i + 100, 100 * i + 150, 100 * i + 160, 0);
	window_merge(1, e, WINDOW_GAPS_MAX + 5, &w);
	cr_expect_eq(w.gaps, WINDOW_GAPS_MAX);
	cr_expect_eq(w.to.value, 100 * (WINDOW_GAPS_MAX + 4) + 150);
}

Test(windows, hold_what_is_in_them_and_in_no_gap)
{
	struct window_entry e[] = {entry(100, 390, 400, 500), entry(600, 900, 0, 0)};
	struct window w;

	window_merge(1, e, 2, &w);
	w.system_identifier = 7;
	cr_expect(windows_hold(&w, 1, 7, 1, lsn_of(101)));
	cr_expect(windows_hold(&w, 1, 7, 1, lsn_of(601)), "the end of the second backup");
	cr_expect(windows_hold(&w, 1, 7, 1, lsn_of(900)));
	cr_expect_not(windows_hold(&w, 1, 7, 1, lsn_of(450)));
	cr_expect_not(windows_hold(&w, 1, 7, 1, lsn_of(100)));
	cr_expect_not(windows_hold(&w, 1, 7, 1, lsn_of(901)));
	cr_expect_not(windows_hold(&w, 1, 7, 2, lsn_of(601)), "another timeline");
	cr_expect_not(windows_hold(&w, 1, 8, 1, lsn_of(601)), "another system");
}
