/* The choice of the backup, over summaries alone. */
#include <criterion/criterion.h>

#include "restore/restore_internal.h"

static struct candidate backup(uint8_t number, uint32_t timeline, uint64_t start, uint64_t stop)
{
	struct candidate c = {.timeline = timeline,
			      .start = lsn_of(start),
			      .stop = lsn_of(stop),
			      .finished_us = (int64_t)stop * 1000,
			      .has_next_xid = true,
			      .next_xid = (uint32_t)stop};

	c.attempt.id[0] = number;
	return c;
}

/* Timeline 1 left at 500 by timeline 2; backups 1 to 3 on 1 (the last one behind the fork), 4 on 2. */
struct scene {
	struct candidate list[4];
	struct history path;
	struct choice choice;
	size_t found, earliest;
};

static struct scene scene_on(uint32_t timeline, enum target_kind kind)
{
	struct scene s = {.list = {backup(1, 1, 100, 200), backup(2, 1, 300, 400),
				   backup(3, 1, 520, 600), backup(4, 2, 700, 800)},
			  .path = {.timeline = timeline},
			  .choice = {.kind = kind},
			  .found = 99,
			  .earliest = 99};

	if (timeline == 2) {
		s.path.count = 1;
		s.path.entry[0] = (struct history_entry){.timeline = 1, .end = lsn_of(500)};
	}
	return s;
}

static enum choice_answer choose(struct scene *s)
{
	s->choice.path = &s->path;
	return choose_backup(s->list, 4, &s->choice, &s->found, &s->earliest);
}

Test(choose, latest_takes_the_newest_on_the_path)
{
	struct scene s = scene_on(2, TARGET_LATEST);

	cr_assert_eq(choose(&s), CHOICE_FOUND);
	cr_assert_eq(s.found, 3);
	s = scene_on(1, TARGET_LATEST);
	cr_assert_eq(choose(&s), CHOICE_FOUND);
	cr_assert_eq(s.found, 2);
}

Test(choose, an_lsn_at_the_very_end_of_a_backup_is_reached_from_it)
{
	struct scene s = scene_on(1, TARGET_LSN);

	s.choice.lsn = lsn_of(400);
	cr_assert_eq(choose(&s), CHOICE_FOUND);
	cr_assert_eq(s.found, 1);
	s.choice.lsn = lsn_of(399);
	cr_assert_eq(choose(&s), CHOICE_FOUND);
	cr_assert_eq(s.found, 0);
}

Test(choose, before_the_first_end_nothing_is_reached_and_the_earliest_is_named)
{
	struct scene s = scene_on(1, TARGET_LSN);

	s.choice.lsn = lsn_of(199);
	cr_assert_eq(choose(&s), CHOICE_TOO_EARLY);
	cr_assert_eq(s.earliest, 0);
	s = scene_on(1, TARGET_TIME);
	s.choice.time_us = 199999;
	cr_assert_eq(choose(&s), CHOICE_TOO_EARLY);
	s.choice.time_us = 200000;
	cr_assert_eq(choose(&s), CHOICE_FOUND);
	cr_assert_eq(s.found, 0);
}

Test(choose, a_backup_that_ends_behind_the_fork_is_off_the_path)
{
	struct scene s = scene_on(2, TARGET_LSN);

	s.choice.lsn = lsn_of(650);
	cr_assert_eq(choose(&s), CHOICE_FOUND);
	cr_assert_eq(s.found, 1);
	s.choice.backup = &s.list[2].attempt;
	cr_assert_eq(choose(&s), CHOICE_OFF_PATH);
}

Test(choose, a_backup_asked_for_is_taken_or_refused)
{
	struct scene s = scene_on(1, TARGET_LATEST);
	struct attempt other = {.id = {77}};

	s.choice.backup = &s.list[0].attempt;
	cr_assert_eq(choose(&s), CHOICE_FOUND);
	cr_assert_eq(s.found, 0);
	s.choice.backup = &other;
	cr_assert_eq(choose(&s), CHOICE_UNKNOWN_BACKUP);
	s = scene_on(1, TARGET_LSN);
	s.choice.lsn = lsn_of(300);
	s.choice.backup = &s.list[1].attempt;
	cr_assert_eq(choose(&s), CHOICE_TOO_EARLY);
	cr_assert_eq(s.earliest, 1);
}

Test(choose, an_xid_is_compared_in_a_circle_and_never_refused)
{
	struct scene s = scene_on(1, TARGET_XID);

	s.choice.xid = 450;
	cr_assert_eq(choose(&s), CHOICE_FOUND);
	cr_assert_eq(s.found, 1);
	s.list[1].next_xid = UINT32_MAX - 5;
	s.list[2].next_xid = 700;
	s.choice.xid = 3; /* wrapped: behind UINT32_MAX - 5 */
	cr_assert_eq(choose(&s), CHOICE_FOUND);
	cr_assert_eq(s.found, 1);
	s = scene_on(1, TARGET_XID);
	s.choice.xid = 50;
	cr_assert_eq(choose(&s), CHOICE_FOUND);
	cr_assert_eq(s.found, 0);
}

Test(choose, no_backups_are_off_every_path)
{
	struct scene s = scene_on(1, TARGET_LATEST);

	s.choice.path = &s.path;
	cr_assert_eq(choose_backup(s.list, 0, &s.choice, &s.found, &s.earliest), CHOICE_OFF_PATH);
}
