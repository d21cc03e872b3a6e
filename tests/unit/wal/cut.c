/* Where a recovery may stop before the locks of a transaction that its target cuts off, in WAL that PostgreSQL
 * 15 wrote. */
#include "wal_scene.h"

#include "pgformat/history.h"
#include "wal/cut.h"

/* In segment D (seconds of 12:57, tests/unit/wal/tail.c): a commit at 0/D1C2F0 (9.227644), a lock behind it at
 * 0/D1C318 of the transaction that drops a table and commits at 0/D1CCB0 (9.255136).  In B: a commit at 0/B002E0
 * (9.152743), a lock behind it of a transaction that aborts at 0/B01360 (9.154320), one prepared at
 * 0/B01428 that commits at 0/B01528 (9.155076), and one prepared at 0/B015D8 that aborts at 0/B016D0. */
#define AT(us) (INT64_C(1795438629000000) + (us))
enum { FROM = 0xB00028, STOP = 0xB00068, END = 0x11000A0, COMMIT = 0xD1C2F0, DROP = 0xD1CCB0 };

struct world {
	struct repo_world repo;
	struct wal_archive archive;
	struct env env;
	struct listener heard;
	struct history path;
	struct wal_cut_search search;
	struct error why;
};

static void world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
	scene_archive(&w->repo, &w->heard, &w->archive, &w->env);
	scene_put_both(&w->repo);
	w->path = (struct history){.timeline = 2, .count = 1, .entry = {{1, {0xF000A0}}}};
	w->search = (struct wal_cut_search){.path = &w->path,
					    .segment_bytes = SHELF_SEGMENT,
					    .from = lsn_of(FROM),
					    .stop = lsn_of(STOP),
					    .end = lsn_of(END)};
}

static uint64_t last(struct world *w)
{
	struct wal_cut cut;

	cr_assert_eq(wal_archive_cut(&w->env, &w->archive, &w->search, &cut, &w->why), ERR_NONE,
		     "%s", w->why.text);
	return cut.last.value;
}

static uint64_t last_at(struct world *w, int64_t time_us)
{
	w->search.after_us = time_us;
	return last(w);
}

Test(cut, before_a_dropped_table_is_behind_the_last_commit)
{
	struct world w;

	world_init(&w);
	cr_assert_eq(last_at(&w, AT(227644)), COMMIT);
	cr_assert_eq(last_at(&w, AT(255135)), COMMIT);
	cr_assert_eq(last_at(&w, AT(153000)), 0xB002E0, "an abort ends it, too");
	repo_world_release(&w.repo);
}

Test(cut, where_nothing_is_locked_the_target_is_as_good)
{
	struct world w;

	world_init(&w);
	cr_assert_eq(last_at(&w, AT(20000)), 0);
	cr_assert_eq(last_at(&w, AT(255136)), 0, "behind the drop");
	cr_assert_eq(last_at(&w, AT(154900)), 0, "prepared is not cut off");
	cr_assert_eq(last_at(&w, AT(900000)), 0, "no target");
	repo_world_release(&w.repo);
}

Test(cut, a_position_is_one_to_stop_before)
{
	struct world w;

	world_init(&w);
	w.search.before = lsn_of(DROP);
	cr_assert_eq(last(&w), COMMIT);
	w.search.before = lsn_of(0xD1C318); /* the lock itself */
	cr_assert_eq(last(&w), 0);
	repo_world_release(&w.repo);
}

/* Before its end a backup is not consistent. */
Test(cut, the_end_of_the_backup_is_the_first_place)
{
	struct world w;

	world_init(&w);
	w.search.from = lsn_of(0xD00000);
	w.search.stop = lsn_of(COMMIT + 0x28);
	cr_assert_eq(last_at(&w, AT(227644)), COMMIT, "its last record, with no commit behind");
	w.search.stop = lsn_of(0xD1C348); /* the first lock is in the backup */
	cr_assert_eq(last_at(&w, AT(227644)), 0xD1C348, "the next one is not");
	w.search.stop = lsn_of(DROP);
	cr_assert_eq(last_at(&w, AT(227644)), 0);
	repo_world_release(&w.repo);
}

Test(cut, damage_in_between_answers_nothing)
{
	struct world w;

	world_init(&w);
	shelf_damage(&w.repo, 1, 0xD);
	cr_assert_eq(last_at(&w, AT(227644)), 0);
	repo_world_release(&w.repo);
}
