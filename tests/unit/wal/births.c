/* Facts about the beginning and the end of timelines, with WAL that PostgreSQL 15 wrote. */
#include "wal_scene.h"

#include "base/crc32c.h"

#include "pgformat/history.h"
#include "wal/births.h"

/* Timeline 2 leaves 1 at 0/F000A0 with a checkpoint of the second 12:57:09; transactions end in
 * 0F at 9.694859 and in 10 at 9.838227 (at 0/1000068), in 11 none; the last record is at 0/1100028. */
#define AT(us) (INT64_C(1795438629000000) + (us))
enum {
	FORK = 0xF000A0,
	LAST = 0x1100028,
	COMMIT = 0x1000068,
	END = 0x11000A0,
	BYTES_MAX = 100 * SHELF_SEGMENT
};

struct world {
	struct repo_world repo;
	struct wal_archive archive;
	struct env env;
	struct listener heard;
	struct history path;
	struct lsn near;
	struct error why;
};

static void world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
	scene_archive(&w->repo, &w->heard, &w->archive, &w->env);
	scene_put_both(&w->repo);
	shelf_put_text(&w->repo, "00000002.history", "1\t0/F000A0\tno recovery target\n");
	w->path = (struct history){.timeline = 2, .count = 1, .entry = {{1, {FORK}}}};
}

static int64_t birth(struct world *w)
{
	int64_t at_us = -1;

	cr_assert_eq(
		wal_archive_birth(&w->env, &w->archive, &w->path, SHELF_SEGMENT, &at_us, &w->why),
		ERR_NONE, "%s", w->why.text);
	return at_us;
}

static struct wal_own_end own_end(struct world *w)
{
	struct wal_own_end end;

	cr_assert_eq(wal_archive_own_end(&w->env, &w->archive, &w->path, SHELF_SEGMENT, w->near,
					 BYTES_MAX, &end, &w->why),
		     ERR_NONE, "%s", w->why.text);
	return end;
}

Test(births, a_second_is_bounded_by_the_first_commit_in_it)
{
	struct world w;

	world_init(&w);
	cr_assert_eq(birth(&w), AT(694859));
	repo_world_release(&w.repo);
}

Test(births, a_first_commit_in_a_later_second_says_nothing)
{
	enum { TIME_OFFSET = 24 + 2 + 64 /* of the checkpoint's main data */ };
	struct golden g = shelf_golden(2, 0xF);
	uint8_t *record = g.data + (FORK - 0xF00000);
	struct world w;

	world_init(&w);
	put_u64(record + TIME_OFFSET, get_u64(record + TIME_OFFSET) - 10);
	put_u32(record + 20, crc32c_more(crc32c(bytes_of(record + 24, get_u32(record) - 24)),
					 bytes_of(record, 20)));
	shelf_remove(&w.repo, 2, 0xF);
	shelf_put(&w.repo, 2, 0xF, g);
	cr_assert_eq(birth(&w), AT(999999) - 10 * INT64_C(1000000));
	repo_world_release(&w.repo);
}

Test(births, without_its_first_segment_nothing_is_known)
{
	struct world w;

	world_init(&w);
	shelf_damage(&w.repo, 2, 0xF);
	cr_assert_eq(birth(&w), 0, "damaged");
	shelf_remove(&w.repo, 2, 0xF);
	cr_assert_eq(birth(&w), 0, "gone");
	repo_world_release(&w.repo);
}

Test(births, slices_of_the_first_segment_are_enough)
{
	struct world w;

	world_init(&w);
	shelf_remove(&w.repo, 2, 0xF);
	shelf_put_slice(&w.repo, 2, 0xF, shelf_golden(2, 0xF), 0, 0x118);
	cr_assert_eq(birth(&w), AT(999999), "the end of the second");
	repo_world_release(&w.repo);
}

Test(births, an_unreachable_repository_is_no_answer)
{
	struct world w;
	int64_t at_us = -1;

	world_init(&w);
	repo_world_fail(&w.repo, FAULT_FAIL, 1, ERR_TRANSIENT);
	cr_assert_neq(wal_archive_birth(&w.env, &w.archive, &w.path, SHELF_SEGMENT, &at_us, &w.why),
		      ERR_NONE);
	cr_assert_eq(at_us, -1);
	repo_world_release(&w.repo);
}

Test(births, the_end_is_the_last_record_and_the_last_transaction)
{
	struct world w;
	struct wal_own_end end;

	world_init(&w);
	end = own_end(&w);
	cr_assert(end.has_wal);
	cr_assert_eq(end.last_record.value, LAST);
	cr_assert_eq(end.tail.last.value, COMMIT, "%lx", end.tail.last.value);
	cr_assert_eq(end.tail.latest_us, AT(838227));
	repo_world_release(&w.repo);
}

Test(births, the_end_is_found_behind_a_hole)
{
	struct world w;
	struct wal_own_end end;

	world_init(&w);
	shelf_remove(&w.repo, 2, 0xF);
	end = own_end(&w);
	cr_assert_eq(end.last_record.value, LAST);
	cr_assert_eq(end.tail.last.value, COMMIT);
	repo_world_release(&w.repo);
}

Test(births, a_damaged_last_segment_leaves_what_lies_before_it)
{
	struct world w;
	struct wal_own_end end;

	world_init(&w);
	shelf_damage(&w.repo, 2, 0x11);
	end = own_end(&w);
	cr_assert_eq(end.tail.last.value, COMMIT);
	cr_assert_eq(end.last_record.value, 0x1100000 - 1, "somewhere before it");
	repo_world_release(&w.repo);
}

Test(births, what_was_copied_from_the_parent_is_not_its_own)
{
	struct world w;
	struct wal_own_end end;

	world_init(&w);
	/* A timeline 3 that left 2 behind all of its records: its segment is a copy, and nothing more. */
	w.path = (struct history){.timeline = 3, .count = 2, .entry = {{1, {FORK}}, {2, {END}}}};
	shelf_put_text(&w.repo, "00000003.history", "1\t0/F000A0\tx\n2\t0/11000A0\tx\n");
	end = own_end(&w);
	cr_assert_not(end.has_wal);
	cr_assert_eq(end.last_record.value, 0);
	shelf_put(&w.repo, 3, 0x11, shelf_golden(2, 0x11));
	end = own_end(&w);
	cr_assert(end.has_wal);
	cr_assert_eq(end.last_record.value, 0);
	cr_assert_eq(end.tail.last.value, 0);
	cr_assert(end.tail.whole);
	repo_world_release(&w.repo);
}

Test(births, transactions_of_the_parent_in_the_same_segment_are_not_its_own)
{
	struct world w;
	struct wal_own_end end;

	world_init(&w);
	/* A timeline 3 that left 2 behind the commit; then a switch. */
	w.path = (struct history){
		.timeline = 3, .count = 2, .entry = {{1, {FORK}}, {2, {0x1000090}}}};
	shelf_put_text(&w.repo, "00000003.history", "1\t0/F000A0\tx\n2\t0/1000090\tx\n");
	shelf_put(&w.repo, 3, 0x10, shelf_golden(2, 0x10));
	end = own_end(&w);
	cr_assert_eq(end.last_record.value, 0x1000090);
	cr_assert_eq(end.tail.last.value, 0);
	cr_assert(end.tail.whole);
	repo_world_release(&w.repo);
}

Test(births, the_open_segment_ends_with_its_slices)
{
	struct world w;
	struct wal_own_end end;

	world_init(&w);
	shelf_remove(&w.repo, 2, 0x11);
	shelf_remove(&w.repo, 2, 0x10);
	shelf_put_slice(&w.repo, 2, 0x10, shelf_golden(2, 0x10), 0, 0x90);
	end = own_end(&w);
	cr_assert_eq(end.last_record.value, COMMIT);
	cr_assert_eq(end.tail.last.value, COMMIT);
	repo_world_release(&w.repo);
}

Test(births, what_is_no_segment_size_is_refused)
{
	struct wal_own_end end;
	struct world w;
	int64_t at_us;

	world_init(&w);
	cr_assert_eq(wal_archive_birth(&w.env, &w.archive, &w.path, 0, &at_us, &w.why), ERR_CONFIG);
	cr_assert_eq(wal_archive_own_end(&w.env, &w.archive, &w.path, 0, lsn_of(0), BYTES_MAX, &end,
					 &w.why),
		     ERR_CONFIG);
	repo_world_release(&w.repo);
}

Test(births, a_position_near_the_end_saves_the_listing_and_is_no_condition)
{
	struct world w;

	world_init(&w);
	w.near = lsn_of(0x1000090);
	cr_assert_eq(own_end(&w).last_record.value, LAST);
	w.near = lsn_of(0x1200000); /* what was there is gone */
	cr_assert_eq(own_end(&w).last_record.value, LAST);
	repo_world_release(&w.repo);
}
