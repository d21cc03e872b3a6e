/* Facts about how far the WAL in an archive reaches, with WAL that PostgreSQL 15 wrote. */
#include "wal_shelf.h"

#include "pgformat/history.h"
#include "wal/archive.h"

/* Timeline 2 leaves 1 at 0/F000A0; its last record is at 0/1100028. */
enum { START = 0xB00028, FORK = 0xF000A0, LAST = 0x1100028, END = 0x11000A0 };

struct world {
	struct repo_world repo[2];
	struct wal_archive archive;
	struct env env;
	struct listener heard;
	struct wal_reach reach;
	struct error why;
};

static void add_repository(struct world *w)
{
	struct repo_world *r = &w->repo[w->archive.count];

	shelf_world(r, w->archive.count > 0 ? &w->repo[0] : NULL);
	w->archive.cluster[w->archive.count++] = r->cluster;
}

static void world_empty(struct world *w)
{
	memset(w, 0, sizeof(*w));
	listener_init(&w->heard);
	add_repository(w);
	w->env = w->repo[0].env;
	w->env.observer = &w->heard.observer;
}

static void put_path(struct repo_world *r)
{
	for (unsigned segno = 0xB; segno <= 0xE; segno++)
		shelf_put_golden(r, 1, segno);
	for (unsigned segno = 0xF; segno <= 0x11; segno++)
		shelf_put_golden(r, 2, segno);
	shelf_put_text(r, "00000002.history", "1\t0/F000A0\tno recovery target specified\n");
}

static void world_init(struct world *w)
{
	world_empty(w);
	put_path(&w->repo[0]);
}

static void world_release(struct world *w)
{
	for (size_t i = 0; i < w->archive.count; i++)
		repo_world_release(&w->repo[i]);
}

static enum err reach_from(struct world *w, uint64_t start, uint32_t timeline, uint64_t until)
{
	memset(&w->reach, 0, sizeof(w->reach));
	return wal_archive_reach(&w->env, &w->archive, lsn_of(start), 1, timeline, SHELF_SEGMENT,
				 lsn_of(until), &w->reach, &w->why);
}

static void assert_reach(struct world *w, uint32_t timeline, uint64_t until, uint64_t last,
			 uint64_t end)
{
	cr_assert_eq(reach_from(w, START, timeline, until), ERR_NONE, "%s", w->why.text);
	cr_assert_eq(w->reach.last_record.value, last, "last: %lX", w->reach.last_record.value);
	cr_assert_eq(w->reach.end.value, end, "end: %lX", w->reach.end.value);
	cr_assert_eq(w->reach.timeline, timeline);
	cr_assert_eq(w->reach.first_segno, 0xB);
	cr_assert_eq(w->reach.segments, w->reach.last_segno - 0xB + 1);
}

static void assert_hole(const struct world *w, uint64_t at)
{
	cr_assert(w->reach.ends_in_hole);
	cr_assert_eq(w->reach.hole.value, at, "hole: %lX", w->reach.hole.value);
}

Test(reach, leads_across_a_promotion_to_the_last_record)
{
	struct world w;

	world_init(&w);
	assert_reach(&w, 2, 0, LAST, END);
	cr_assert_eq(w.reach.last_segno, 0x11);
	cr_assert(!w.reach.ends_in_hole);
	world_release(&w);
}

Test(reach, reads_no_more_than_the_end)
{
	struct world w;

	world_init(&w);
	/* Would be found damaged if it were read. */
	shelf_damage(&w.repo[0], 1, 0xC);
	assert_reach(&w, 2, 0, LAST, END);
	cr_assert_eq(w.heard.events, 0);
	world_release(&w);
}

Test(reach, ends_before_a_missing_segment_and_names_the_hole)
{
	struct world w;

	world_init(&w);
	shelf_remove(&w.repo[0], 2, 0x10);
	cr_assert_eq(reach_from(&w, START, 2, 0), ERR_NONE, "%s", w.why.text);
	cr_assert_eq(w.reach.end.value, 0x1000000);
	cr_assert_eq(w.reach.last_segno, 0xF);
	assert_hole(&w, 0x1000000);
	world_release(&w);
}

Test(reach, goes_back_as_far_as_a_record_is_long)
{
	struct world w;

	world_init(&w);
	/* A message begins in B, fills C and ends in the missing D. */
	shelf_remove(&w.repo[0], 1, 0xD);
	cr_assert_eq(reach_from(&w, START, 2, 0), ERR_NONE, "%s", w.why.text);
	cr_assert_eq(w.reach.end.value / SHELF_SEGMENT, 0xB);
	cr_assert_gt(w.reach.last_record.value, START);
	assert_hole(&w, 0xD00000);
	world_release(&w);
}

Test(reach, of_the_parent_stops_where_its_own_segments_do)
{
	struct world w;

	world_init(&w);
	cr_assert_eq(reach_from(&w, START, 1, 0), ERR_NONE, "%s", w.why.text);
	cr_assert_eq(w.reach.end.value, 0xF00000);
	cr_assert(!w.reach.ends_in_hole);
	world_release(&w);
}

Test(reach, uses_the_parents_segment_up_to_the_switch_only)
{
	struct world w;
	struct golden parent;

	world_init(&w);
	parent = shelf_golden(1, 0xF);
	/* Behind the first pages the server left older WAL, which a whole segment must not hold. */
	memset(parent.data + WAL_PAGE_BYTES, 0, parent.len - WAL_PAGE_BYTES);
	shelf_remove(&w.repo[0], 2, 0xF);
	shelf_put(&w.repo[0], 1, 0xF, parent);
	cr_assert_eq(reach_from(&w, START, 2, 0), ERR_NONE, "%s", w.why.text);
	cr_assert_eq(w.reach.end.value, FORK);
	cr_assert_eq(w.reach.last_segno, 0xF);
	assert_hole(&w, FORK);
	shelf_remove(&w.repo[0], 2, 0x10);
	shelf_remove(&w.repo[0], 2, 0x11);
	assert_reach(&w, 2, 0, w.reach.last_record.value, FORK);
	cr_assert(!w.reach.ends_in_hole);
	world_release(&w);
}

Test(reach, ends_at_until_although_there_is_more)
{
	struct world w;

	world_init(&w);
	/* Not needed for it. */
	shelf_damage(&w.repo[0], 2, 0x11);
	cr_assert_eq(reach_from(&w, START, 2, 0xE00028), ERR_NONE, "%s", w.why.text);
	cr_assert_geq(w.reach.end.value, 0xE00028);
	cr_assert_lt(w.reach.end.value, 0xF00000);
	cr_assert_eq(w.reach.last_segno, 0xE);
	cr_assert(!w.reach.ends_in_hole);
	cr_assert_eq(w.heard.events, 0);
	world_release(&w);
}

Test(reach, takes_what_any_repository_has)
{
	struct world w;

	world_init(&w);
	add_repository(&w);
	put_path(&w.repo[1]);
	shelf_remove(&w.repo[0], 1, 0xC);
	shelf_remove(&w.repo[0], 2, 0x10);
	shelf_remove(&w.repo[1], 1, 0xB);
	shelf_remove(&w.repo[1], 2, 0x11);
	assert_reach(&w, 2, 0, LAST, END);
	world_release(&w);
}

Test(reach, reads_a_damaged_segment_from_the_other_repository)
{
	struct world w;

	world_init(&w);
	add_repository(&w);
	put_path(&w.repo[1]);
	shelf_damage(&w.repo[0], 2, 0x11);
	assert_reach(&w, 2, 0, LAST, END);
	cr_assert_not_null(strstr(w.heard.text, "000000020000000000000011"), "%s", w.heard.text);
	world_release(&w);
}

Test(reach, ends_before_a_damaged_segment)
{
	struct world w;

	world_init(&w);
	shelf_damage(&w.repo[0], 2, 0x11);
	cr_assert_eq(reach_from(&w, START, 2, 0), ERR_NONE, "%s", w.why.text);
	cr_assert_eq(w.reach.end.value, 0x1100000);
	cr_assert_eq(w.reach.last_segno, 0x10);
	assert_hole(&w, 0x1100000);
	cr_assert_not_null(strstr(w.heard.text, "000000020000000000000011"), "%s", w.heard.text);
	world_release(&w);
}

Test(reach, goes_on_into_slices_of_the_unfinished_segment)
{
	struct golden last = shelf_golden(2, 0x11);
	struct world w;

	world_init(&w);
	shelf_remove(&w.repo[0], 2, 0x11);
	shelf_put_slice(&w.repo[0], 2, 0x11, last, 0, 0x28);
	shelf_put_slice(&w.repo[0], 2, 0x11, last, 0x28, 0x2000);
	assert_reach(&w, 2, 0, LAST, END);
	cr_assert_eq(w.reach.last_segno, 0x11);
	cr_assert(!w.reach.ends_in_hole);
	world_release(&w);
}

Test(reach, slices_with_a_gap_end_in_a_hole)
{
	struct golden last = shelf_golden(2, 0x11);
	struct world w;

	world_init(&w);
	shelf_remove(&w.repo[0], 2, 0x11);
	shelf_put_slice(&w.repo[0], 2, 0x11, last, 0, 0x28);
	shelf_put_slice(&w.repo[0], 2, 0x11, last, 0x60, 0x2000);
	cr_assert_eq(reach_from(&w, START, 2, 0), ERR_NONE, "%s", w.why.text);
	cr_assert_eq(w.reach.end.value, 0x1100000);
	assert_hole(&w, 0x1100028);
	world_release(&w);
}

Test(reach, slices_with_later_segments_behind_them_are_a_hole)
{
	struct world w;

	world_init(&w);
	shelf_remove(&w.repo[0], 2, 0x10);
	shelf_put_slice(&w.repo[0], 2, 0x10, shelf_golden(2, 0x10), 0, 0x2000);
	cr_assert_eq(reach_from(&w, START, 2, 0), ERR_NONE, "%s", w.why.text);
	cr_assert_eq(w.reach.end.value, 0x1000000);
	assert_hole(&w, 0x1000000);
	world_release(&w);
}

Test(reach, an_end_inside_a_segment_with_others_behind_it_is_a_hole)
{
	struct world w;

	world_init(&w);
	/* 11 ends in zeros: another run of the server wrote 12. */
	shelf_put_golden(&w.repo[0], 2, 0x12);
	cr_assert_eq(reach_from(&w, START, 2, 0), ERR_NONE, "%s", w.why.text);
	assert_hole(&w, END);
	world_release(&w);
}

Test(reach, without_the_segment_of_the_start_is_missing)
{
	struct world w;

	world_init(&w);
	shelf_remove(&w.repo[0], 1, 0xB);
	cr_assert_eq(reach_from(&w, START, 2, 0), ERR_MISSING);
	cr_assert_not_null(strstr(w.why.text, "0/B00028"), "%s", w.why.text);
	world_release(&w);
}

Test(reach, with_a_damaged_segment_of_the_start_is_corrupt)
{
	struct world w;

	world_init(&w);
	for (unsigned segno = 0xC; segno <= 0xE; segno++)
		shelf_remove(&w.repo[0], 1, segno);
	shelf_damage(&w.repo[0], 1, 0xB);
	cr_assert_eq(reach_from(&w, START, 2, 0), ERR_CORRUPT);
	cr_assert_not_null(strstr(w.why.text, "00000001000000000000000B"), "%s", w.why.text);
	world_release(&w);
}

Test(reach, a_silent_repository_leaves_the_end_open_but_not_until)
{
	struct world w;

	world_init(&w);
	add_repository(&w);
	put_path(&w.repo[1]);
	repo_world_fail(&w.repo[1], FAULT_FAIL, 1, ERR_TRANSIENT);
	cr_assert_eq(reach_from(&w, START, 2, 0), ERR_TRANSIENT);
	repo_world_fail(&w.repo[1], FAULT_FAIL, 1, ERR_TRANSIENT);
	cr_assert_eq(reach_from(&w, START, 2, 0xE00028), ERR_NONE, "%s", w.why.text);
	cr_assert_gt(w.heard.events, 0);
	world_release(&w);
}

Test(reach, a_timeline_that_left_before_the_start_is_refused)
{
	struct world w;

	world_init(&w);
	shelf_put_text(&w.repo[0], "00000003.history", "1\t0/A00000\tbefore\n");
	cr_assert_eq(reach_from(&w, START, 3, 0), ERR_CONFIG);
	cr_assert_not_null(strstr(w.why.text, "timeline 3"), "%s", w.why.text);
	cr_assert_eq(reach_from(&w, START, 4, 0), ERR_MISSING);
	cr_assert_not_null(strstr(w.why.text, "00000004.history"), "%s", w.why.text);
	world_release(&w);
}

Test(reach, needs_no_history_where_the_timeline_does_not_change)
{
	struct error why;
	struct world w;

	world_empty(&w);
	shelf_put_golden(&w.repo[0], 2, 0x10);
	shelf_put_golden(&w.repo[0], 2, 0x11);
	OK(wal_archive_reach(&w.env, &w.archive, lsn_of(0x1000028), 2, 2, SHELF_SEGMENT, lsn_of(0),
			     &w.reach, &why));
	cr_assert_eq(w.reach.last_record.value, LAST);
	world_release(&w);
}

Test(reach, history_of_the_first_timeline_is_empty)
{
	struct history history;
	struct error why;
	struct world w;

	world_init(&w);
	OK(wal_archive_history(&w.env, &w.archive, 1, &history, &why));
	cr_assert_eq(history.count, 0);
	OK(wal_archive_history(&w.env, &w.archive, 2, &history, &why));
	cr_assert_eq(history.entry[0].end.value, FORK);
	cr_assert_eq(wal_archive_history(&w.env, &w.archive, 5, &history, &why), ERR_MISSING);
	world_release(&w);
}
