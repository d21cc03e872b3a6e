/* Facts about the last commits of an archive, with WAL that PostgreSQL 15 wrote. */
#include "wal_scene.h"

#include "pgformat/history.h"
#include "wal/tail.h"

/* Timeline 2 leaves 1 at 0/F000A0.  Transactions end in these segments at (seconds of 12:57):
 *  0B 9.012297 9.048678 9.152743, abort 9.154320, prepared: 9.155076, abort 9.155743
 *  0D 9.227644 9.255136   0E 9.311955 9.339274   0F 9.694859   10 9.838227
 * and in 0C and 11 none; the archive ends in 11. */
#define AT(us) (INT64_C(1795438629000000) + (us))
enum { FROM = 0xB00028, END = 0x11000A0 };

struct world {
	struct repo_world repo;
	struct wal_archive archive;
	struct env env;
	struct listener heard;
	struct history path;
	struct wal_tail_search search;
	struct wal_tail tail;
	struct error why;
};

static void world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
	scene_archive(&w->repo, &w->heard, &w->archive, &w->env);
	scene_put_both(&w->repo);
	w->path = (struct history){.timeline = 2, .count = 1, .entry = {{1, {0xF000A0}}}};
	w->search = (struct wal_tail_search){.path = &w->path,
					     .segment_bytes = SHELF_SEGMENT,
					     .from = lsn_of(FROM),
					     .end = lsn_of(END),
					     .after_us = INT64_MIN,
					     .bytes_max = 100 * SHELF_SEGMENT};
}

static void look(struct world *w)
{
	cr_assert_eq(wal_archive_tail(&w->env, &w->archive, &w->search, &w->tail, &w->why),
		     ERR_NONE, "%s", w->why.text);
}

Test(tail, the_last_commit_may_lie_before_the_last_segment)
{
	struct world w;

	world_init(&w);
	look(&w);
	cr_assert_eq(w.tail.commit_us, AT(838227));
	cr_assert_eq(w.tail.latest_us, AT(838227));
	cr_assert_not(w.tail.whole, "what lies further back was not needed");
	repo_world_release(&w.repo);
}

Test(tail, nothing_behind_the_end_counts)
{
	struct world w;

	world_init(&w);
	w.search.end = lsn_of(0x1000068); /* where the commit of 10 begins */
	look(&w);
	cr_assert_eq(w.tail.commit_us, AT(694859));
	w.search.end = lsn_of(0xB001D8); /* behind the restore point */
	look(&w);
	cr_assert_eq(w.tail.commit_us, AT(48678), "a restore point ends no transaction");
	repo_world_release(&w.repo);
}

Test(tail, aborts_have_times_but_are_no_commits)
{
	struct world w;

	world_init(&w);
	w.search.end = lsn_of(0xC00028);
	look(&w);
	cr_assert_eq(w.tail.commit_us, AT(155076), "%ld", w.tail.commit_us - AT(0));
	cr_assert_eq(w.tail.latest_us, AT(155743), "%ld", w.tail.latest_us - AT(0));
	cr_assert(w.tail.whole);
	repo_world_release(&w.repo);
}

Test(tail, the_search_goes_on_until_it_sees_a_later_time_or_has_seen_all)
{
	struct world w;

	world_init(&w);
	w.search.after_us = AT(838226);
	look(&w);
	cr_assert_not(w.tail.whole);
	w.search.after_us = AT(838227);
	look(&w);
	cr_assert(w.tail.whole);
	cr_assert_eq(w.tail.latest_us, AT(838227));
	cr_assert_eq(w.tail.commit_us, AT(838227), "the last one in the order of the WAL");
	cr_assert_eq(w.tail.last.value, 0x1000068);
	repo_world_release(&w.repo);
}

Test(tail, its_bound_is_two_segments_at_least)
{
	struct world w;

	world_init(&w);
	w.search.end = lsn_of(0xD00000); /* 0C has none, 0B has */
	w.search.bytes_max = 0;
	look(&w);
	cr_assert_eq(w.tail.commit_us, AT(155076));
	w.search.end = lsn_of(END);
	w.search.after_us = INT64_MAX;
	look(&w);
	cr_assert_not(w.tail.whole);
	w.search.end =
		lsn_of(0xC01000); /* the first two pages of 0C hold one record of a relation */
	w.search.from = lsn_of(0xC00000);
	look(&w);
	cr_assert(w.tail.whole);
	cr_assert_eq(w.tail.commit_us, 0);
	cr_assert_eq(w.tail.latest_us, 0);
	repo_world_release(&w.repo);
}

Test(tail, a_damaged_segment_ends_the_search)
{
	struct world w;

	world_init(&w);
	w.search.after_us = INT64_MAX;
	shelf_damage(&w.repo, 2, 0x10);
	look(&w);
	cr_assert_eq(w.tail.commit_us, 0, "11 has none, and 10 is not whole");
	cr_assert_not(w.tail.whole);
	shelf_remove(&w.repo, 2, 0x10);
	look(&w);
	cr_assert_eq(w.tail.commit_us, 0);
	cr_assert_not(w.tail.whole);
	repo_world_release(&w.repo);
}

Test(tail, an_unreachable_repository_is_no_answer)
{
	struct world w;

	world_init(&w);
	repo_world_fail(&w.repo, FAULT_FAIL, 1, ERR_TRANSIENT);
	cr_assert_eq(wal_archive_tail(&w.env, &w.archive, &w.search, &w.tail, &w.why),
		     ERR_TRANSIENT);
	repo_world_release(&w.repo);
}

Test(tail, the_open_segment_comes_from_its_slices)
{
	struct world w;

	world_init(&w);
	shelf_remove(&w.repo, 2, 0x10);
	shelf_remove(&w.repo, 2, 0x11);
	shelf_put_slice(&w.repo, 2, 0x10, shelf_golden(2, 0x10), 0, 0x2000);
	w.search.end = lsn_of(0x1000090);
	look(&w);
	cr_assert_eq(w.tail.commit_us, AT(838227));
	repo_world_release(&w.repo);
}
