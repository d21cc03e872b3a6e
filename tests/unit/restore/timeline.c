/* The choice of the timeline, over tables alone.  Times are minutes of a day, LSNs hundreds. */
#include <criterion/criterion.h>

#include "restore/timeline.h"

static struct history path[8];
static struct timeline_row row[8];
static size_t rows;
static struct timeline_answer answer;

static void begin(void)
{
	rows = 0;
	answer = (struct timeline_answer){.others = 0};
}

/* Timeline number rows + 1. */
static struct timeline_row *add(uint32_t parent, uint64_t born, int64_t born_us, uint64_t last,
				int64_t latest_us)
{
	struct history *h = &path[rows];
	uint32_t timeline = (uint32_t)rows + 1;

	*h = (struct history){.timeline = timeline};
	if (parent != 0) {
		*h = path[parent - 1];
		h->timeline = timeline;
		h->entry[h->count++] =
			(struct history_entry){.timeline = parent, .end = lsn_of(born)};
	}
	row[rows] = (struct timeline_row){.timeline = timeline,
					  .parent = parent,
					  .born = lsn_of(born),
					  .born_us = born_us,
					  .path = h,
					  .usable = true,
					  .has_wal = true,
					  .last_record = lsn_of(last + 10),
					  .last_commit = lsn_of(last),
					  .latest_us = latest_us,
					  .copied_us = TIMELINE_NONE_SEEN};
	return &row[rows++];
}

static void choose(const struct timeline_question *asked)
{
	timeline_choose(row, rows, asked, &answer);
}

/* The timeline that is followed. */
static uint32_t at_time(int64_t us)
{
	struct timeline_question q = {.kind = TARGET_TIME, .time_us = us};

	choose(&q);
	return row[answer.followed].timeline;
}

static uint32_t at_lsn(uint64_t lsn, bool exclusive)
{
	struct timeline_question q = {
		.kind = TARGET_LSN, .lsn = lsn_of(lsn), .exclusive = exclusive};

	choose(&q);
	return answer.ambiguous ? 0 : row[answer.followed].timeline;
}

static uint32_t newest(void)
{
	struct timeline_question q = {.kind = TARGET_LATEST};

	choose(&q);
	return row[answer.followed].timeline;
}

static bool is_other(uint32_t timeline)
{
	for (size_t i = 0; i < answer.others; i++)
		if (row[answer.other[i]].timeline == timeline)
			return true;
	return false;
}

/* 1 until 12:00; at 12:30 restored in place to 11:00, whose position is 500. */
static void second_guess(void)
{
	begin();
	(void)add(0, 0, TIMELINE_ALWAYS, 900, 1200);
	(void)add(1, 500, 1230, 800, 1500);
}

Test(timeline, a_later_guess_lies_on_the_timeline_that_was_left)
{
	second_guess();
	cr_expect_eq(at_time(1030), 1, "before the first guess");
	cr_expect_eq(at_time(1130), 1, "between the first guess and the birth");
	cr_expect_eq(at_time(1200), 1, "its last transaction");
	cr_expect_eq(at_time(1229), 1, "nothing was written: its end");
	cr_expect_eq(answer.others, 0);
	cr_expect_eq(at_time(1230), 2, "at the birth");
	cr_expect_eq(at_time(1400), 2);
	cr_expect_eq(answer.others, 0, "1 was not written any more");
	cr_expect_eq(at_time(1600), 2, "behind everything");
}

Test(timeline, a_promoted_standby_has_the_end_of_its_parent)
{
	begin();
	(void)add(0, 0, TIMELINE_ALWAYS, 400, 1100);
	add(1, 500, 1230, 800, 1500)->copied_us = 1200;
	row[1].copied_last = lsn_of(450);
	cr_expect_eq(at_time(1000), 1);
	cr_expect_eq(at_time(1150), 2, "that transaction was archived with the child only");
	cr_expect_eq(row[answer.written].timeline, 1);
	cr_expect_eq(at_time(1210), 2, "PostgreSQL needs a later transaction to stop at");
	cr_expect_eq(row[answer.written].timeline, 1);
	cr_expect_eq(answer.others, 0);
	cr_expect_eq(at_time(1230), 2);
	cr_expect_eq(row[answer.written].timeline, 2);
}

Test(timeline, a_child_without_transactions_hands_on_to_its_own_child)
{
	begin();
	(void)add(0, 0, TIMELINE_ALWAYS, 400, 1100);
	(void)add(1, 500, 1200, 0, TIMELINE_NONE_SEEN);
	(void)add(2, 600, 1210, 800, 1500);
	cr_expect_eq(at_time(1150), 3);
	cr_expect_eq(row[answer.written].timeline, 1);
	row[2].has_wal = false;
	cr_expect_eq(at_time(1150), 2, "what is not archived leads nowhere");
}

Test(timeline, a_child_that_left_before_the_end_does_not_stand_for_it)
{
	second_guess();
	cr_expect_eq(at_time(1210), 1);
	row[0].last_commit = lsn_of(499);
	cr_expect_eq(at_time(1210), 2);
}

Test(timeline, what_only_a_child_brought_counts_for_the_parent)
{
	begin();
	(void)add(0, 0, TIMELINE_ALWAYS, 400, 1100);
	(void)add(1, 420, 1150, 430, 1160); /* a copy, promoted for a while */
	add(1, 500, 1230, 800, 1500)->copied_us = 1200;
	row[2].copied_last = lsn_of(450);
	cr_expect_eq(at_time(1180), 3);
	cr_expect_eq(row[answer.written].timeline, 1);
	cr_expect_eq(answer.others, 0);
	cr_expect_eq(at_time(1155), 2);
	cr_expect(answer.others == 1 && is_other(3), "by the way that leads there");
}

Test(timeline, two_promoted_from_one_are_both_there)
{
	begin();
	(void)add(0, 0, TIMELINE_ALWAYS, 400, 1100);
	(void)add(1, 500, 1200, 800, 1500);
	(void)add(1, 500, 1210, 800, 1400);
	cr_expect_eq(at_time(1100), 1);
	cr_expect_eq(answer.others, 0);
	cr_expect_eq(at_time(1205), 2);
	cr_expect_eq(answer.others, 0, "3 was not born");
	cr_expect_eq(at_time(1300), 3, "the youngest");
	cr_expect(answer.others == 1 && is_other(2));
	cr_expect_eq(at_time(1450), 2, "3 had ended");
	cr_expect_eq(answer.others, 0);
}

Test(timeline, a_parent_that_goes_on_is_another_state)
{
	second_guess();
	row[0].latest_us = 1400;
	cr_expect_eq(at_time(1300), 2);
	cr_expect(answer.others == 1 && is_other(1));
	/* Only its clock is ahead: it has nothing that the child does not have. */
	row[0].last_commit = lsn_of(499);
	cr_expect_eq(at_time(1300), 2);
	cr_expect_eq(answer.others, 0);
}

Test(timeline, behind_all_transactions_it_is_the_one_that_was_seen_last)
{
	begin();
	(void)add(0, 0, TIMELINE_ALWAYS, 900, 1200);
	(void)add(1, 500, 1100, 600, 1101); /* a copy, promoted for a minute */
	cr_expect_eq(at_time(1100), 2);
	cr_expect(is_other(1));
	cr_expect_eq(at_time(1210), 1);
	second_guess();
	row[1].last_commit = lsn_of(0);
	row[1].latest_us = TIMELINE_NONE_SEEN;
	cr_expect_eq(at_time(1240), 2, "its birth is a sign, too");
}

Test(timeline, a_fork_of_a_fork_is_told_by_its_birth)
{
	second_guess();
	(void)add(2, 700, 1600, 900, 1700);
	cr_expect_eq(at_time(1130), 1);
	cr_expect_eq(at_time(1450), 2);
	cr_expect_eq(at_time(1650), 3);
	/* Restored at 16:00 to a state of timeline 1 before all of that. */
	path[2] = path[1];
	path[2].timeline = 3;
	path[2].entry[0].end = row[2].born = lsn_of(300);
	row[2].parent = 1;
	cr_expect_eq(at_time(1130), 1);
	cr_expect_eq(at_time(1450), 2);
	cr_expect_eq(at_time(1650), 3);
}

Test(timeline, what_no_backup_leads_to_is_not_chosen)
{
	second_guess();
	row[1].usable = false;
	cr_expect_eq(at_time(1400), 1);
	cr_expect_eq(newest(), 1);
	row[0].usable = false;
	cr_expect_eq(at_time(1400), 2, "the plan says why it cannot be");
	cr_expect_eq(newest(), 2);
}

Test(timeline, where_the_end_is_not_known_it_may_have_gone_on)
{
	second_guess();
	row[1].latest_us = TIMELINE_NOT_KNOWN;
	cr_expect_eq(at_time(1600), 2);
	row[0].latest_us = TIMELINE_NOT_KNOWN;
	cr_expect_eq(at_time(1600), 2);
	cr_expect(is_other(1), "rather shown than hidden");
}

Test(timeline, a_birth_that_is_not_archived_owns_no_time)
{
	second_guess();
	row[1].born_us = TIMELINE_UNBORN;
	cr_expect_eq(at_time(1400), 1);
	cr_expect_eq(newest(), 2);
}

Test(timeline, an_lsn_means_the_one_that_wrote_it)
{
	begin();
	(void)add(0, 0, TIMELINE_ALWAYS, 400, 1100); /* its last record at 410 */
	(void)add(1, 500, 1200, 800, 1500);
	cr_expect_eq(at_lsn(400, false), 1);
	cr_expect_eq(at_lsn(410, false), 1);
	cr_expect_eq(at_lsn(411, false), 2, "no record begins there but on the child");
	cr_expect_eq(row[answer.written].timeline, 1);
	cr_expect_eq(at_lsn(500, false), 2);
	cr_expect_eq(row[answer.written].timeline, 2);
	cr_expect_eq(at_lsn(500, true), 2);
	cr_expect_eq(row[answer.written].timeline, 1, "just before it");
	cr_expect_eq(at_lsn(2000, false), 2, "behind everything: the newest says so");
	cr_expect_eq(answer.others, 0);
}

Test(timeline, an_lsn_on_several_is_ambiguous_and_lists_them)
{
	second_guess();
	cr_expect_eq(at_lsn(499, false), 1);
	cr_expect_eq(at_lsn(500, true), 1);
	cr_expect_eq(at_lsn(500, false), 0);
	cr_expect(answer.ambiguous && answer.others == 2 && is_other(1) && is_other(2));
	cr_expect_eq(at_lsn(810, false), 0);
	cr_expect_eq(at_lsn(811, false), 1, "2 has not come so far");
	row[1].usable = false;
	cr_expect_eq(at_lsn(600, false), 1);
}

Test(timeline, the_newest_shows_what_it_has_not)
{
	second_guess();
	cr_expect_eq(newest(), 2);
	cr_expect(answer.others == 1 && is_other(1));
	row[0].last_commit = lsn_of(499);
	cr_expect_eq(newest(), 2);
	cr_expect_eq(answer.others, 0);
	/* 3 left 1, 4 goes on from all of 2: what 2 has is shown once, as 4. */
	(void)add(2, 900, 1600, 950, 1700);
	(void)add(1, 300, 1800, 0, TIMELINE_NONE_SEEN);
	row[3].last_commit = lsn_of(0);
	cr_expect_eq(newest(), 4);
	cr_expect(is_other(3) && !is_other(2));
}
