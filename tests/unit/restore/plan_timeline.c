/* Plans over WAL of two timelines that PostgreSQL 15 wrote: which one a target means.
 *
 * Timeline 2 left 1 at 0/F000A0 and began with a checkpoint of the second 12:57:09; commits end on it at .694859
 * and .838227, on timeline 1 at .339274 at the latest.  Timeline 1 is archived up to 0/F00000.
 */
#include "plan_scene.h"

#include "restore/timeline_table.h"

#define AT(us) (INT64_C(1795438629000000) + (us))

static void at_time(struct scene *s, int64_t time_us)
{
	restore_plan_release(&s->plan);
	s->request.time_us = time_us;
	plan(s);
}

static void at_lsn(struct scene *s, uint64_t lsn)
{
	restore_plan_release(&s->plan);
	s->request.lsn = lsn_of(lsn);
	plan(s);
}

/* On every page that was written. */
static void put_timeline(struct golden g, uint32_t timeline)
{
	for (size_t at = 0; at < g.len; at += WAL_PAGE_BYTES)
		if (g.data[at] != 0)
			put_u32(g.data + at + 4, timeline);
}

/* Timeline 1 goes on in the segment that timeline 2 left it in, with records and a commit of its own. */
static void let_parent_go_on(struct scene *s)
{
	enum { TIMELINE_OFFSET = 24 + 2 + 8 /* of the checkpoint's main data */ };
	struct golden g = shelf_golden(2, 0xF);
	uint8_t *record = g.data + (FORK - 0xF00000);

	put_u32(record + TIMELINE_OFFSET, 1);
	put_u32(record + 20, crc32c_more(crc32c(bytes_of(record + 24, get_u32(record) - 24)),
					 bytes_of(record, 20)));
	put_timeline(g, 1);
	shelf_put(&s->repo, 1, 0xF, g);
}

Test(plan_timeline, a_time_before_the_birth_means_the_parent)
{
	struct scene *s = usual(TARGET_TIME);

	at_time(s, AT(300000));
	assert_reachable(s);
	cr_assert_eq(s->plan.timeline, 1);
	cr_assert_eq(s->plan.candidates, 0);
	cr_assert_not_null(strstr(s->plan.timeline_reason, "2 began at 2026-11-23T12:57:09.694859"),
			   "%s", s->plan.timeline_reason);
	at_time(s, AT(500000)); /* behind its last commit: what stops recovery lies on the child */
	assert_reachable(s);
	cr_assert_eq(s->plan.timeline, 2);
	cr_assert_not_null(strstr(s->plan.timeline_reason, "written on 1,"), "%s",
			   s->plan.timeline_reason);
	at_time(s, AT(694859));
	assert_reachable(s);
	cr_assert_eq(s->plan.timeline, 2);
	scene_end(s);
}

Test(plan_timeline, one_that_goes_on_is_shown_and_warned_of)
{
	struct scene *s = usual(TARGET_TIME);

	let_parent_go_on(s);
	at_time(s, AT(694859));
	assert_reachable(s);
	cr_assert_eq(s->plan.timeline, 2);
	cr_assert_eq(s->plan.candidates, 2);
	cr_assert_eq(s->plan.candidate[0].timeline, 2);
	cr_assert_eq(s->plan.candidate[0].parent, 1);
	cr_assert_eq(s->plan.candidate[0].born.value, FORK);
	cr_assert_eq(s->plan.candidate[0].born_us, AT(694859));
	cr_assert_eq(s->plan.candidate[1].timeline, 1);
	cr_assert_eq(s->plan.candidate[1].born_us, 0);
	cr_assert_eq(s->plan.candidate[1].latest_us, AT(694859));
	cr_assert_not_null(strstr(s->heard.text, "timeline 1 was being written"), "%s",
			   s->heard.text);
	scene_end(s);
}

Test(plan_timeline, an_lsn_means_the_one_that_wrote_it)
{
	struct scene *s = usual(TARGET_LSN);

	at_lsn(s, 0xE00028);
	assert_reachable(s);
	cr_assert_eq(s->plan.timeline, 1);
	at_lsn(s, FORK);
	assert_reachable(s);
	cr_assert_eq(s->plan.timeline, 2);
	s->request.exclusive = true;
	at_lsn(s, FORK);
	assert_reachable(s);
	cr_assert_eq(s->plan.timeline, 2, "1 is not archived up to there");
	scene_end(s);
}

Test(plan_timeline, an_lsn_of_two_is_no_target_before_somebody_says_which)
{
	struct scene *s = usual(TARGET_LSN);

	let_parent_go_on(s);
	at_lsn(s, FORK);
	assert_problem(s, "timeline_ambiguous", "0/F000A0 lies on several timelines", false);
	cr_assert_not_null(strstr(s->plan.problem[0].hint, "--timeline 2 or --timeline 1"), "%s",
			   s->plan.problem[0].hint);
	cr_assert_eq(s->plan.timeline, 0);
	cr_assert_eq(s->plan.candidates, 2);
	s->request.timeline = 1;
	at_lsn(s, FORK);
	assert_reachable(s);
	cr_assert_eq(s->plan.timeline, 1);
	scene_end(s);
}

Test(plan_timeline, the_newest_is_followed_and_the_abandoned_one_shown)
{
	struct scene *s = usual(TARGET_LATEST);

	let_parent_go_on(s);
	plan(s);
	assert_reachable(s);
	cr_assert_eq(s->plan.timeline, 2);
	cr_assert_eq(s->plan.candidates, 2);
	cr_assert_eq(s->heard.events, 0, "it ended before the newest did");
	restore_plan_release(&s->plan);
	s->request.timeline_rule = TIMELINE_LATEST;
	plan(s);
	cr_assert_eq(s->plan.timeline, 2);
	cr_assert_eq(s->plan.candidates, 0, "nobody looked");
	scene_end(s);
}

Test(plan_timeline, a_newest_that_was_not_written_last_is_warned_of)
{
	struct scene *s = usual(TARGET_LATEST);
	struct golden g = shelf_golden(1, 0xE);

	/* Timeline 3 began in the segment before, at its first page, and ended with the commits in it. */
	put_timeline(g, 3);
	shelf_put(&s->repo, 3, 0xE, g);
	shelf_put_text(&s->repo, "00000003.history", "1\t0/E00000\tx\n");
	plan(s);
	assert_reachable(s);
	cr_assert_eq(s->plan.timeline, 3);
	cr_assert_eq(s->plan.candidate[1].timeline, 2);
	cr_assert_not_null(strstr(s->heard.text, "3 is the newest, but 2 was written later, until "
						 "2026-11-23T12:57:09.838227Z"),
			   "%s", s->heard.text);
	scene_end(s);
}

Test(plan_timeline, current_is_that_of_the_newest_backup)
{
	struct scene *s = usual(TARGET_LATEST);

	s->request.timeline_rule = TIMELINE_CURRENT;
	plan(s);
	assert_reachable(s);
	cr_assert_eq(s->plan.timeline, 1);
	scene_end(s);
}

Test(plan_timeline, hints_name_the_timeline)
{
	struct scene *s = usual(TARGET_LSN);

	s->request.timeline = 1;
	at_lsn(s, 0xF00000);
	assert_problem(s, "target_not_archived", "timeline 1", true);
	cr_assert_not_null(strstr(s->plan.problem[0].hint, "--to-latest --timeline 1"), "%s",
			   s->plan.problem[0].hint);
	scene_end(s);
}

Test(plan_timeline, a_history_that_nobody_can_read_leads_nowhere)
{
	struct scene *s = usual(TARGET_LATEST);

	shelf_put_text(&s->repo, "00000004.history", "no history\n");
	plan(s);
	assert_reachable(s);
	cr_assert_eq(s->plan.timeline, 2);
	cr_assert_not_null(strstr(s->heard.text, "timeline 4 passed over"), "%s", s->heard.text);
	scene_end(s);
}

Test(plan_timeline, what_only_history_is_left_of_is_no_row)
{
	struct scene *s = usual(TARGET_LATEST);

	/* 70 timelines whose WAL expired long ago, below one that has some. */
	for (unsigned i = 3; i < 73; i++) {
		char name[WAL_NAME_MAX];

		(void)snprintf(name, sizeof(name), "%08X.history", i);
		shelf_put_text(&s->repo, name, "1\t0/100000\tx\n");
	}
	shelf_put_text(&s->repo, "00000050.history", "1\t0/F000A0\tx\n");
	shelf_put(&s->repo, 0x50, 0x10, shelf_made(&s->repo, 0x50, 0x10, 1));
	plan(s);
	cr_assert_eq(s->plan.timeline, 0x50);
	cr_assert_eq(s->heard.events, 1, "the hole: %s", s->heard.text);
	scene_end(s);
}

/* ---- the table ---- */

/* With one backup on timeline 1, or 2 where it is behind the fork. */
static const struct timeline_row *row_of(struct scene *s, uint32_t timeline,
					 struct timeline_table *table)
{
	struct candidate backup = {.timeline = s->request.lsn.value > FORK ? 2 : 1,
				   .segment_bytes = SHELF_SEGMENT,
				   .start = s->request.lsn,
				   .stop = s->request.lsn,
				   .finished_us = AT(100)};
	struct planning p = {.env = &s->env,
			     .archive = &s->archive,
			     .request = &s->request,
			     .plan = &s->plan,
			     .why = &s->why,
			     .list = &backup,
			     .count = 1};

	s->request.time_us = AT(900000);
	cr_assert_eq(timeline_table_make(&p, true, table), ERR_NONE, "%s", s->why.text);
	for (size_t i = 0; i < table->rows; i++)
		if (table->row[i].timeline == timeline)
			return &table->row[i];
	cr_assert_fail("no row of %u", timeline);
	return NULL;
}

Test(plan_timeline, what_a_child_copied_is_looked_at)
{
	struct scene *s = scene(TARGET_TIME);
	struct timeline_table table;
	const struct timeline_row *r;

	/* Segment E, with two commits, was archived as the beginning of timeline 3 only. */
	shelf_remove(&s->repo, 1, 0xE);
	shelf_put(&s->repo, 3, 0xE, shelf_golden(1, 0xE));
	shelf_put_text(&s->repo, "00000003.history", "1\t0/E00150\tx\n");
	s->request.lsn = lsn_of(STOP);
	r = row_of(s, 3, &table);
	cr_assert_eq(r->copied_us, AT(339274), "%ld", r->copied_us - AT(0));
	cr_assert(r->copied_last.value > 0xE00000 && r->copied_last.value < 0xE00150);
	cr_assert_eq(r->born_us, TIMELINE_UNBORN, "and nothing else");
	cr_assert_eq(r->last_commit.value, 0);
	timeline_table_release(&table);
	scene_end(s);
}

Test(plan_timeline, a_backup_shows_that_its_timeline_had_begun)
{
	struct scene *s = scene(TARGET_TIME);
	struct timeline_table table;

	shelf_remove(&s->repo, 2, 0xF);
	s->request.lsn = lsn_of(0x1000090);
	cr_assert_eq(row_of(s, 2, &table)->born_us, AT(100));
	timeline_table_release(&table);
	scene_end(s);
}
