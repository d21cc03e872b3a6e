/* Facts about what a pg_wal holds that no repository has, with WAL that PostgreSQL 15 wrote. */
#include "scratch.h"
#include "wal_shelf.h"

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
	listener_init(&w->heard);
	shelf_world(&w->repo, NULL);
	w->archive = (struct wal_archive){.cluster = {w->repo.cluster}, .count = 1};
	w->env = w->repo.env;
	w->env.observer = &w->heard.observer;
	w->scratch = scratch_open();
	cr_assert_eq(mkdirat(w->scratch.dir, "archive_status", 0700), 0);
}

static void world_release(struct world *w)
{
	scratch_close(&w->scratch);
	repo_world_release(&w->repo);
}

static void lay(struct world *w, const char *name, struct bytes in)
{
	int fd = openat(w->scratch.dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	cr_assert_geq(fd, 0, "%s", name);
	cr_assert_eq(write(fd, in.data, in.len), (ssize_t)in.len);
	(void)close(fd);
}

static void lay_as(struct world *w, uint32_t timeline, uint64_t segno, struct golden bytes)
{
	struct wal_name name = shelf_name(timeline, segno);
	char text[WAL_NAME_MAX];

	wal_name_to_text(&name, text);
	lay(w, text, golden_view(bytes));
}

static void lay_golden(struct world *w, uint32_t timeline, unsigned segno)
{
	lay_as(w, timeline, segno, shelf_golden(timeline, segno));
}

static void lay_history(struct world *w)
{
	lay(w, "00000002.history", bytes_of_text("1\t0/F000A0\tno recovery target specified\n"));
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
		lay_golden(&w, 1, segno);
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
	lay_golden(&w, 1, 0xD);
	lay_golden(&w, 1, 0xE);
	shelf_put_golden(&w.repo, 1, 0xD);
	lay(&w, "archive_status/00000001000000000000000E.ready", bytes_of(NULL, 0));
	assert_found(&w, 1, "00000001000000000000000E", "00000001000000000000000E");
	lay(&w, "archive_status/00000001000000000000000E.done", bytes_of(NULL, 0));
	assert_nothing(&w);
	world_release(&w);
}

/* Their names are of the future, their content of the past; or nobody has written to them yet. */
Test(unarchived, what_was_recycled_or_only_made_is_none)
{
	struct world w;
	struct golden other = shelf_golden(1, 0xE);

	world_init(&w);
	lay_as(&w, 1, 0x20, shelf_golden(1, 0xD));
	lay_as(&w, 1, 0x21,
	       (struct golden){.data = golden_new(SHELF_SEGMENT), .len = SHELF_SEGMENT});
	put_u64(other.data + 24, 4711); /* another server's */
	lay_as(&w, 1, 0xE, other);
	lay(&w, "000000010000000000000022", bytes_of(NULL, 0));
	lay(&w, "00000001000000000000000F.partial", golden_view(shelf_golden(2, 0xF)));
	lay(&w, "xlogtemp.1", bytes_of_text("x"));
	cr_assert_eq(mkdirat(w.scratch.dir, "000000010000000000000023", 0700), 0);
	assert_nothing(&w);
	world_release(&w);
}

/* The server switches, then writes its last checkpoint into a segment that is never archived. */
Test(unarchived, what_a_clean_stop_leaves_is_none)
{
	struct world w;

	world_init(&w);
	lay_golden(&w, 1, 0xE);
	lay_golden(&w, 1, 0xF);
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
	lay_golden(&w, 1, 0xE);
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
	lay_golden(&w, 1, 0xC);
	shelf_put_golden(&w.repo, 1, 0xB);
	assert_nothing(&w);
	lay_golden(&w, 1, 0xD);
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
	lay_golden(&w, 2, 0xF);
	lay_golden(&w, 2, 0x10);
	lay_golden(&w, 2, 0x11);
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
	lay_as(&w, 2, 0xE, shelf_golden(1, 0xE));
	lay(&w, "00000002.history", bytes_of_text("1\t0/E80000\tbehind the commits\n"));
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
	lay_as(&w, 1, 0xD, d);
	lay_golden(&w, 1, 0xE);
	lay_golden(&w, 1, 0xF);
	shelf_put_golden(&w.repo, 1, 0xE);
	assert_found(&w, 2, "00000001000000000000000D", "00000001000000000000000F");
	cr_assert(w.found.more);
	world_release(&w);
}

Test(unarchived, a_repository_that_does_not_answer_has_nothing)
{
	struct world w;

	world_init(&w);
	lay_golden(&w, 1, 0xE);
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
