/* Facts about what a pg_wal holds that no repository has, with WAL that PostgreSQL 15 wrote. */
#include "wal_scene.h"

#include "wal/unarchived.h"

#include <sys/stat.h>

struct world {
	struct repo_world repo;
	struct wal_archive archive;
	struct env env;
	struct listener heard;
	struct scratch scratch; /* a pg_wal */
	struct wal_unarchived found;
	struct error why;
};

static void world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
	scene_archive(&w->repo, &w->heard, &w->archive, &w->env);
	w->scratch = scene_pg_wal();
}

static void world_release(struct world *w)
{
	scratch_close(&w->scratch);
	repo_world_release(&w->repo);
}

static void lay_history(struct world *w)
{
	scene_lay(&w->scratch, "00000002.history", bytes_of_text(scene_history));
}

static void look(struct world *w)
{
	cr_assert_eq(wal_unarchived_look(&w->env, &w->archive, w->scratch.dir, SHELF_SEGMENT,
					 &w->found, &w->why),
		     ERR_NONE, "%s", w->why.text);
}

static void assert_nothing(struct world *w)
{
	look(w);
	cr_assert_eq(w->found.segments, 0, "%lu segments, %lu commits", w->found.segments,
		     w->found.commits);
}

static void assert_found(struct world *w, uint64_t segments, const char *first, const char *last)
{
	char text[WAL_NAME_MAX];

	look(w);
	cr_assert_eq(w->found.segments, segments, "%lu", w->found.segments);
	wal_name_to_text(&w->found.first, text);
	cr_assert_str_eq(text, first);
	wal_name_to_text(&w->found.last, text);
	cr_assert_str_eq(text, last);
}

Test(unarchived, of_an_empty_directory_is_nothing)
{
	struct world w;

	world_init(&w);
	assert_nothing(&w);
	world_release(&w);
}

Test(unarchived, segments_are_named_with_their_commits)
{
	struct world w;

	world_init(&w);
	for (unsigned segno = 0xB; segno <= 0xE; segno++)
		scene_lay_golden(&w.scratch, 1, segno, segno);
	shelf_put_golden(&w.repo, 1, 0xB);
	shelf_put_golden(&w.repo, 1, 0xC);
	shelf_put_golden(&w.repo, 1, 0xD);
	assert_found(&w, 1, "00000001000000000000000E", "00000001000000000000000E");
	cr_assert_eq(w.found.commits, 2);
	cr_assert_gt(w.found.latest_us, 0);
	cr_assert_not(w.found.more);
	shelf_remove(&w.repo, 1, 0xC);
	assert_found(&w, 2, "00000001000000000000000C", "00000001000000000000000E");
	world_release(&w);
}

Test(unarchived, what_the_archive_has_or_the_server_marked_is_none)
{
	struct world w;

	world_init(&w);
	scene_lay_golden(&w.scratch, 1, 0xD, 0xD);
	scene_lay_golden(&w.scratch, 1, 0xE, 0xE);
	shelf_put_golden(&w.repo, 1, 0xD);
	scene_lay(&w.scratch, "archive_status/00000001000000000000000E.ready", bytes_of(NULL, 0));
	assert_found(&w, 1, "00000001000000000000000E", "00000001000000000000000E");
	scene_lay(&w.scratch, "archive_status/00000001000000000000000E.done", bytes_of(NULL, 0));
	assert_nothing(&w);
	world_release(&w);
}

/* Their names are of the future, their content of the past; or nobody has written to them yet. */
Test(unarchived, what_was_recycled_or_only_made_is_none)
{
	struct world w;
	struct golden other = shelf_golden(1, 0xE);

	world_init(&w);
	scene_lay_as(&w.scratch, 1, 0x20, shelf_golden(1, 0xD));
	scene_lay_as(&w.scratch, 1, 0x21,
		     (struct golden){.data = golden_new(SHELF_SEGMENT), .len = SHELF_SEGMENT});
	put_u64(other.data + 24, 4711); /* another server's */
	scene_lay_as(&w.scratch, 1, 0xE, other);
	scene_lay(&w.scratch, "000000010000000000000022", bytes_of(NULL, 0));
	scene_lay(&w.scratch, "00000001000000000000000F.partial",
		  golden_view(shelf_golden(2, 0xF)));
	scene_lay(&w.scratch, "xlogtemp.1", bytes_of_text("x"));
	cr_assert_eq(mkdirat(w.scratch.dir, "000000010000000000000023", 0700), 0);
	assert_nothing(&w);
	world_release(&w);
}

/* The server switches, then writes its last checkpoint into a segment that is never archived. */
Test(unarchived, what_a_clean_stop_leaves_is_none)
{
	struct world w;

	world_init(&w);
	scene_lay_golden(&w.scratch, 1, 0xE, 0xE);
	scene_lay_golden(&w.scratch, 1, 0xF, 0xF);
	shelf_put_golden(&w.repo, 1, 0xE);
	assert_nothing(&w);
	shelf_remove(&w.repo, 1, 0xE);
	assert_found(&w, 2, "00000001000000000000000E", "00000001000000000000000F");
	world_release(&w);
}

/* A slice from 0 to behind the last commit, and one that ends before it. */
Test(unarchived, slices_cover_what_they_hold)
{
	struct world w;
	struct golden e = shelf_golden(1, 0xE);

	world_init(&w);
	scene_lay_golden(&w.scratch, 1, 0xE, 0xE);
	shelf_put_slice(&w.repo, 1, 0xE, e, 0, 64);
	assert_found(&w, 1, "00000001000000000000000E", "00000001000000000000000E");
	cr_assert_eq(w.found.commits, 2);
	shelf_put_slice(&w.repo, 1, 0xE, e, 64, SHELF_SEGMENT / 2);
	assert_nothing(&w);
	world_release(&w);
}

/* The end of a long record: it may be anything where nobody has its beginning, and a record as any where the
 * archive has it.  What never became whole is nobody's loss. */
Test(unarchived, the_rest_of_a_record_counts)
{
	struct world w;

	world_init(&w);
	scene_lay_golden(&w.scratch, 1, 0xC, 0xC);
	shelf_put_golden(&w.repo, 1, 0xB);
	assert_nothing(&w);
	scene_lay_golden(&w.scratch, 1, 0xD, 0xD);
	assert_found(&w, 2, "00000001000000000000000C", "00000001000000000000000D");
	cr_assert_eq(unlinkat(w.scratch.dir, "00000001000000000000000D", 0), 0);
	shelf_remove(&w.repo, 1, 0xB);
	assert_found(&w, 1, "00000001000000000000000C", "00000001000000000000000C");
	cr_assert_eq(w.found.commits, 0);
	world_release(&w);
}

Test(unarchived, a_timeline_of_its_own_counts_from_its_beginning_on)
{
	struct world w;

	world_init(&w);
	scene_lay_golden(&w.scratch, 2, 0xF, 0xF);
	scene_lay_golden(&w.scratch, 2, 0x10, 0x10);
	scene_lay_golden(&w.scratch, 2, 0x11, 0x11);
	lay_history(&w);
	shelf_put_golden(&w.repo, 1, 0xF);
	assert_found(&w, 3, "00000002000000000000000F", "000000020000000000000011");
	cr_assert_eq(w.found.commits, 2);
	shelf_put_golden(&w.repo, 2, 0xF);
	assert_found(&w, 2, "000000020000000000000010", "000000020000000000000011");
	cr_assert_eq(w.found.commits, 1);
	shelf_put_golden(&w.repo, 2, 0x10);
	assert_nothing(&w);
	world_release(&w);
}

/* Up to the switch a promoted copy holds its parent's WAL: the parent's archive has it, or not. */
Test(unarchived, the_parents_part_of_a_segment_is_the_parents)
{
	struct world w;

	world_init(&w);
	scene_lay_as(&w.scratch, 2, 0xE, shelf_golden(1, 0xE));
	scene_lay(&w.scratch, "00000002.history",
		  bytes_of_text("1\t0/E80000\tbehind the commits\n"));
	assert_found(&w, 1, "00000002000000000000000E", "00000002000000000000000E");
	shelf_put_golden(&w.repo, 1, 0xE);
	assert_nothing(&w);
	world_release(&w);
}

/* What cannot be walked through may be anything. */
Test(unarchived, behind_damage_everything_counts)
{
	struct world w;
	struct golden d = shelf_golden(1, 0xD);

	world_init(&w);
	d.data[0x1C270 + 30] ^= 1; /* in the record behind the long one */
	scene_lay_as(&w.scratch, 1, 0xD, d);
	scene_lay_golden(&w.scratch, 1, 0xE, 0xE);
	scene_lay_golden(&w.scratch, 1, 0xF, 0xF);
	shelf_put_golden(&w.repo, 1, 0xE);
	assert_found(&w, 2, "00000001000000000000000D", "00000001000000000000000F");
	cr_assert(w.found.more);
	world_release(&w);
}

Test(unarchived, a_repository_that_does_not_answer_has_nothing)
{
	struct world w;

	world_init(&w);
	scene_lay_golden(&w.scratch, 1, 0xE, 0xE);
	shelf_put_golden(&w.repo, 1, 0xE);
	assert_nothing(&w);
	repo_world_fail(&w.repo, FAULT_DOWN, 1, ERR_TRANSIENT);
	assert_found(&w, 1, "00000001000000000000000E", "00000001000000000000000E");
	cr_assert_gt(w.heard.events, 0);
	world_release(&w);
}

Test(unarchived, a_directory_that_cannot_be_read_is_an_error)
{
	struct world w;

	world_init(&w);
	cr_assert_eq(wal_unarchived_look(&w.env, &w.archive, -1, SHELF_SEGMENT, &w.found, &w.why),
		     ERR_IO);
	cr_assert_eq(wal_unarchived_look(&w.env, &w.archive, w.scratch.dir, 4711, &w.found, &w.why),
		     ERR_CONFIG);
	world_release(&w);
}
