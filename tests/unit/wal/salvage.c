/* Facts about saving the WAL that only a lost server has, with WAL that PostgreSQL 15 wrote. */
#include "base/crc32c.h"
#include "wal_scene.h"

#include "wal/salvage.h"
#include "wal/unarchived.h"
#include "wal/walk.h"

#include <sys/stat.h>

/* In segment 0xD: where the record ends that began in 0xB. */
enum { BEHIND_LONG = 0x1C270 };

struct world {
	struct repo_world repo, sibling;
	struct wal_archive archive;
	struct env env;
	struct listener heard;
	struct scratch scratch; /* a pg_wal */
	struct wal_salvage_source source;
	struct wal_salvage *salvage;
	const struct wal_salvage_found *found;
	struct error why;
};

/* Timeline 1 is archived from 0xB to `last`. */
static struct world *world(unsigned last)
{
	struct world *w = calloc(1, sizeof(*w));
	const struct identity identity = {
		.server_version = 150000, .wal_segment_bytes = SHELF_SEGMENT, .block_bytes = 8192};

	cr_assert_not_null(w);
	scene_archive(&w->repo, &w->heard, &w->archive, &w->env);
	w->scratch = scene_pg_wal();
	w->source = (struct wal_salvage_source){
		.dir = w->scratch.dir, .segment_bytes = SHELF_SEGMENT, .timeline = 1};
	for (unsigned segno = 0xB; segno <= last; segno++)
		shelf_put_golden(&w->repo, 1, segno);
	cr_assert_eq(identity_ensure(&w->repo.cluster, &identity, &w->why), ERR_NONE);
	return w;
}

static void world_end(struct world *w)
{
	wal_salvage_free(w->salvage);
	scratch_close(&w->scratch);
	if (w->archive.count > 1)
		repo_world_release(&w->sibling);
	repo_world_release(&w->repo);
	free(w);
}

/* A server that was promoted from timeline 1. */
static void lay_promoted(struct world *w)
{
	scene_lay(&w->scratch, "00000002.history", bytes_of_text(scene_history));
	scene_lay_golden(&w->scratch, 2, 0xF, 0x11);
	w->source.timeline = 2;
}

static void look(struct world *w)
{
	wal_salvage_free(w->salvage);
	w->salvage = NULL;
	w->archive.salvage = NULL;
	cr_assert_eq(wal_salvage_look(&w->env, &w->archive, &w->source, &w->salvage, &w->why),
		     ERR_NONE, "%s", w->why.text);
	w->found = wal_salvage_found(w->salvage);
}

static void assert_answer(struct world *w, enum wal_salvage_answer answer, const char *reason)
{
	look(w);
	cr_assert_eq(w->found->answer, answer, "%d: %s", w->found->answer, w->found->reason);
	cr_assert_not_null(strstr(w->found->reason, reason), "%s", w->found->reason);
}

static void assert_found(struct world *w, uint64_t segments, const char *first, const char *last)
{
	char text[WAL_NAME_MAX];

	assert_answer(w, WAL_SALVAGE_FOUND, "");
	cr_assert_eq(w->found->segments, segments, "%lu", w->found->segments);
	wal_name_to_text(&w->found->first, text);
	cr_assert_str_eq(text, first);
	wal_name_to_text(&w->found->last, text);
	cr_assert_str_eq(text, last);
}

static void assert_put(struct world *w, size_t complete)
{
	size_t got = 0;

	cr_assert_eq(wal_salvage_put(w->salvage, 1, &got, &w->why), ERR_NONE, "%s", w->why.text);
	cr_assert_eq(got, complete);
}

static void add_sibling(struct world *w)
{
	shelf_world(&w->sibling, &w->repo);
	w->archive.cluster[w->archive.count++] = w->sibling.cluster;
}

static struct wal_reach reach_of(struct world *w)
{
	struct error why;
	struct wal_reach reach = {.timeline = 0};

	OK(wal_archive_reach(&w->env, &w->archive, lsn_of(0xB00028), 1, w->source.timeline,
			     SHELF_SEGMENT, lsn_of(0), &reach, &why));
	return reach;
}

static uint64_t lost_segments(struct world *w)
{
	struct wal_unarchived lost;
	struct error why;

	OK(wal_unarchived_look(&w->env, &w->archive, w->scratch.dir, SHELF_SEGMENT, &lost, &why));
	return lost.segments;
}

/* ---- what is found ---- */

Test(salvage, of_what_is_archived_is_nothing)
{
	struct world *w = world(0xF);

	assert_answer(w, WAL_SALVAGE_NOTHING, "");
	scene_lay_golden(&w->scratch, 1, 0xD, 0xE);
	assert_answer(w, WAL_SALVAGE_NOTHING, "");
	world_end(w);
}

Test(salvage, as_if_it_were_archived_is_what_it_is_afterwards)
{
	struct world *w = world(0xC);
	struct wal_reach before, as_if, after;
	uint32_t bytes;

	scene_lay_golden(&w->scratch, 1, 0xC, 0xE);
	before = reach_of(w);
	assert_found(w, 2, "00000001000000000000000D", "00000001000000000000000E");
	cr_assert_gt(w->found->commits, 0);
	cr_assert_neq(w->found->latest_us, 0);
	w->archive.salvage = w->salvage;
	as_if = reach_of(w);
	cr_assert_eq(lost_segments(w), 0);
	w->archive.salvage = NULL;
	cr_assert_eq(reach_of(w).end.value, before.end.value, "looking stored something");
	cr_assert_eq(lost_segments(w), 2);
	cr_assert_eq(as_if.end.value, w->found->end.value);
	cr_assert_gt(as_if.end.value, before.end.value);

	bytes = w->found->open;
	assert_put(w, 1);
	after = reach_of(w);
	cr_assert_eq(after.end.value, as_if.end.value);
	cr_assert_eq(after.last_record.value, as_if.last_record.value);
	cr_assert_eq(after.last_segno, as_if.last_segno);
	cr_assert_eq(bytes, w->found->open);
	cr_assert_eq(lost_segments(w), 0);
	assert_answer(w, WAL_SALVAGE_NOTHING, "");
	world_end(w);
}

Test(salvage, tells_how_far_it_looked_and_how_far_it_put)
{
	struct world *w = world(0xC);
	const struct progress *progress = &w->heard.progress;

	add_sibling(w);
	scene_lay_golden(&w->scratch, 1, 0xC, 0xE);
	assert_found(w, 2, "00000001000000000000000D", "00000001000000000000000E");
	cr_assert_str_eq(progress->phase, "looking at WAL");
	cr_assert_eq(progress->done_bytes, 2 * SHELF_SEGMENT, "it is in the third");
	cr_assert_eq(progress->total_bytes, 3 * SHELF_SEGMENT);
	cr_assert_eq(w->heard.steps, 2);
	assert_put(w, 2);
	cr_assert_str_eq(progress->phase, "saving WAL");
	cr_assert(progress->done_items == 4 && progress->total_items == 4);
	cr_assert_eq(progress->done_bytes, progress->total_bytes);
	cr_assert_eq(w->heard.steps, 6);
	cr_assert(!w->heard.fell);
	world_end(w);
}

/* The open segment is a slice, never padded under its name. */
Test(salvage, the_open_segment_is_put_up_to_its_last_record)
{
	struct world *w = world(0xC);
	struct golden d = shelf_golden(1, 0xD);
	struct wal_name name = shelf_name(1, 0xD);
	uint8_t *data = NULL;
	size_t len = 0;
	uint32_t valid = 0;
	struct error why;

	memset(d.data + BEHIND_LONG, 0, SHELF_SEGMENT - BEHIND_LONG);
	scene_lay_as(&w->scratch, 1, 0xD, d);
	assert_found(w, 1, "00000001000000000000000D", "00000001000000000000000D");
	cr_assert_eq(w->found->open, BEHIND_LONG);
	cr_assert_eq(w->found->end.value, UINT64_C(0xD00000) + w->found->open);
	assert_put(w, 1);
	cr_assert_eq(wal_get(&w->repo.cluster, &name, &data, &len, &w->why), ERR_MISSING);
	OK(wal_get_sliced(&w->repo.cluster, &name, SHELF_SEGMENT, &data, &valid, &why));
	cr_assert_eq(valid, w->found->open);
	cr_assert_eq(memcmp(data, d.data, valid), 0);
	free(data);
	world_end(w);
}

/* What was streamed of it is compared, and the rest is put. */
Test(salvage, slices_of_the_open_segment_are_gone_on_from)
{
	struct world *w = world(0xC);
	struct golden d = shelf_golden(1, 0xD), other = shelf_golden(1, 0xD);

	memset(d.data + BEHIND_LONG, 0, SHELF_SEGMENT - BEHIND_LONG);
	scene_lay_as(&w->scratch, 1, 0xD, d);
	shelf_put_slice(&w->repo, 1, 0xD, d, 0, 64);
	assert_found(w, 1, "00000001000000000000000D", "00000001000000000000000D");
	assert_put(w, 1);
	assert_answer(w, WAL_SALVAGE_NOTHING, "");
	world_end(w);

	w = world(0xC);
	scene_lay_as(&w->scratch, 1, 0xD, d);
	other.data[50] ^= 1;
	shelf_put_slice(&w->repo, 1, 0xD, other, 0, 64);
	assert_answer(w, WAL_SALVAGE_BRANCH, "00000001000000000000000D");
	world_end(w);
}

/* Names of the future, content of the past; of before the archive's first, and marked as archived. */
Test(salvage, what_was_recycled_or_has_expired_is_left_out)
{
	struct world *w = world(0xD);

	shelf_remove(&w->repo, 1, 0xB);
	scene_lay_golden(&w->scratch, 1, 0xB, 0xE);
	scene_lay(&w->scratch, "archive_status/00000001000000000000000B.done", bytes_of(NULL, 0));
	scene_lay_as(&w->scratch, 1, 0x20, shelf_golden(1, 0xD));
	assert_found(w, 1, "00000001000000000000000E", "00000001000000000000000E");
	/* Another archive may have it, ours has not. */
	scene_lay(&w->scratch, "archive_status/00000001000000000000000E.done", bytes_of(NULL, 0));
	assert_found(w, 1, "00000001000000000000000E", "00000001000000000000000E");
	world_end(w);
}

Test(salvage, a_hole_in_the_archive_is_filled)
{
	struct world *w = world(0xE);

	shelf_remove(&w->repo, 1, 0xD);
	scene_lay_golden(&w->scratch, 1, 0xD, 0xE);
	assert_found(w, 1, "00000001000000000000000D", "00000001000000000000000D");
	cr_assert(reach_of(w).ends_in_hole);
	assert_put(w, 1);
	cr_assert_not(reach_of(w).ends_in_hole);
	world_end(w);
}

Test(salvage, what_does_not_follow_on_the_archive_is_a_gap)
{
	struct world *w = world(0xC);

	scene_lay_golden(&w->scratch, 1, 0xE, 0xE);
	assert_answer(w, WAL_SALVAGE_GAP, "00000001000000000000000D");
	cr_assert_eq(lost_segments(w), 1);
	world_end(w);
}

/* ---- other branches ---- */

struct forging {
	struct golden segment;
	uint64_t begin;
	bool done;
};

static enum err give_segment(void *ctx, uint32_t timeline, uint64_t segno, struct bytes *out,
			     struct error *why)
{
	struct forging *f = ctx;

	if (timeline != 1 || segno * SHELF_SEGMENT != f->begin)
		return error_set(why, ERR_MISSING, "no more");
	*out = golden_view(f->segment);
	return ERR_NONE;
}

/* Another commit in the place of this one: valid by all that a record has. */
static enum err forge(void *ctx, const struct wal_record *record, struct error *why)
{
	struct forging *f = ctx;
	uint8_t *at = f->segment.data + (record->lsn.value - f->begin);
	uint32_t crc;

	(void)why;
	if (f->done || !wal_record_is_commit(record) ||
	    record->lsn.value / WAL_PAGE_BYTES !=
		    (record->lsn.value + record->len) / WAL_PAGE_BYTES)
		return ERR_NONE;
	at[record->len - 1] ^= 1;
	crc = crc32c(bytes_of(at + WAL_RECORD_HEADER_BYTES, record->len - WAL_RECORD_HEADER_BYTES));
	put_u32(at + 20, crc32c_more(crc, bytes_of(at, 20)));
	f->done = true;
	return ERR_NONE;
}

static struct golden forged(unsigned segno)
{
	static const struct history path = {.timeline = 1};
	struct forging f = {.segment = shelf_golden(1, segno),
			    .begin = (uint64_t)segno * SHELF_SEGMENT};
	struct wal_walk walk = {.source = {&f, give_segment},
				.visitor = {&f, forge},
				.path = &path,
				.segment_bytes = SHELF_SEGMENT,
				.start = wal_segment_start(segno, SHELF_SEGMENT)};
	struct wal_walk_end end;
	struct error why;

	OK(wal_walk(&walk, &end, &why));
	cr_assert(f.done, "no commit in segment %x", segno);
	return f.segment;
}

/* By name all of it is archived. */
Test(salvage, other_content_under_an_archived_name_is_another_branch)
{
	struct world *w = world(0xE);

	scene_lay_golden(&w->scratch, 1, 0xD, 0xD);
	scene_lay_as(&w->scratch, 1, 0xE, forged(0xE));
	assert_answer(w, WAL_SALVAGE_BRANCH, "00000001000000000000000E");
	cr_assert_not_null(strstr(w->found->reason, "another branch"));
	world_end(w);
}

Test(salvage, a_branch_is_seen_by_what_lies_before_its_end)
{
	struct world *w = world(0xC);

	shelf_put(&w->repo, 1, 0xD, shelf_golden(1, 0xD));
	shelf_put(&w->repo, 1, 0xE, forged(0xE));
	scene_lay_golden(&w->scratch, 1, 0xD, 0xE);
	scene_lay_golden(&w->scratch, 1, 0xF, 0xF);
	assert_answer(w, WAL_SALVAGE_BRANCH, "00000001000000000000000E");
	world_end(w);
}

/* ---- timelines ---- */

static enum err keep_newest(void *ctx, uint32_t timeline, bool is_history, struct error *why)
{
	uint32_t *newest = ctx;

	(void)is_history;
	(void)why; /* nothing here can fail */
	if (timeline > *newest)
		*newest = timeline;
	return ERR_NONE;
}

static uint32_t newest_of(const struct world *w)
{
	uint32_t newest = 0;
	struct error why;

	OK(wal_archive_timelines(&w->archive, keep_newest, &newest, &why));
	return newest;
}

/* A copy that was promoted must not become the archive's newest history unasked. */
Test(salvage, a_timeline_of_its_own_is_taken_only_when_that_is_said)
{
	struct world *w = world(0xF);

	lay_promoted(w);
	assert_answer(w, WAL_SALVAGE_UNKNOWN, "timeline 2");
	w->source.adopt = true;
	assert_found(w, 3, "00000002000000000000000F", "000000020000000000000011");
	w->archive.salvage = w->salvage;
	cr_assert_eq(newest_of(w), 2);
	cr_assert_eq(reach_of(w).end.value, w->found->end.value);
	w->archive.salvage = NULL;
	cr_assert_eq(newest_of(w), 1);
	assert_put(w, 1);
	cr_assert_eq(newest_of(w), 2);
	cr_assert_eq(reach_of(w).end.value, w->found->end.value);
	w->source.adopt = false;
	assert_answer(w, WAL_SALVAGE_NOTHING, "");
	world_end(w);
}

Test(salvage, a_timeline_that_the_archive_knows_goes_on_where_that_ends)
{
	struct world *w = world(0xE);

	lay_promoted(w);
	shelf_put_text(&w->repo, "00000002.history", scene_history);
	shelf_put_golden(&w->repo, 2, 0xF);
	assert_found(w, 2, "000000020000000000000010", "000000020000000000000011");
	assert_put(w, 1);
	assert_answer(w, WAL_SALVAGE_NOTHING, "");
	world_end(w);
}

Test(salvage, another_history_under_the_same_number_is_another_branch)
{
	struct world *w = world(0xF);

	lay_promoted(w);
	shelf_put_text(&w->repo, "00000002.history", "1\t0/E80000\tanother place\n");
	w->source.adopt = true;
	assert_answer(w, WAL_SALVAGE_BRANCH, "00000002.history");
	world_end(w);
}

/* ---- damage ---- */

/* Up to there it is saved; what lies behind is told as lost. */
Test(salvage, ends_before_damage_and_the_rest_is_told)
{
	struct world *w = world(0xC);
	struct golden d = shelf_golden(1, 0xD);

	d.data[BEHIND_LONG + 30] ^= 1;
	scene_lay_as(&w->scratch, 1, 0xD, d);
	scene_lay_golden(&w->scratch, 1, 0xE, 0xE);
	assert_found(w, 1, "00000001000000000000000D", "00000001000000000000000D");
	cr_assert_eq(w->found->end.value, UINT64_C(0xD00000) + BEHIND_LONG);
	w->archive.salvage = w->salvage;
	cr_assert_gt(lost_segments(w), 0);
	world_end(w);
}

/* The record at the end of 0xB was being written: a page of it is there, the rest is not. */
Test(salvage, a_record_that_was_never_whole_is_nobodys_loss)
{
	struct world *w = world(0xB);
	struct golden c = shelf_golden(1, 0xC);

	memset(c.data + WAL_PAGE_BYTES, 0, SHELF_SEGMENT - WAL_PAGE_BYTES);
	scene_lay_golden(&w->scratch, 1, 0xB, 0xB);
	scene_lay_as(&w->scratch, 1, 0xC, c);
	assert_answer(w, WAL_SALVAGE_NOTHING, "");
	cr_assert_eq(lost_segments(w), 0);
	world_end(w);
}

/* ---- repositories that fail ---- */

Test(salvage, one_of_two_repositories_is_enough_and_the_other_is_told)
{
	struct world *w = world(0xC);

	add_sibling(w);
	scene_lay_golden(&w->scratch, 1, 0xD, 0xE);
	look(w);
	repo_world_fail(&w->sibling, FAULT_DOWN, 1, ERR_TRANSIENT);
	assert_put(w, 1);
	cr_assert_not_null(strstr(w->heard.text, "NOT SALVAGED"), "%s", w->heard.text);
	world_end(w);
}

Test(salvage, that_no_repository_took_is_an_error_and_a_second_try_goes_on)
{
	struct world *w = world(0xC);
	size_t complete;

	scene_lay_golden(&w->scratch, 1, 0xD, 0xE);
	for (unsigned n = 1;; n++) {
		enum err e;

		look(w);
		repo_world_fail(&w->repo, FAULT_DOWN, n, ERR_TRANSIENT);
		e = wal_salvage_put(w->salvage, 1, &complete, &w->why);
		repo_world_fail(&w->repo, FAULT_NONE, 0, ERR_NONE);
		if (e == ERR_NONE)
			break;
		cr_assert_eq(e, ERR_TRANSIENT, "%s", w->why.text);
		cr_assert_lt(n, 1000);
	}
	assert_answer(w, WAL_SALVAGE_NOTHING, "");
	cr_assert_eq(lost_segments(w), 0);
	world_end(w);
}

Test(salvage, a_directory_that_cannot_be_read_is_an_error)
{
	struct world *w = world(0xC);

	w->source.dir = -1;
	cr_assert_eq(wal_salvage_look(&w->env, &w->archive, &w->source, &w->salvage, &w->why),
		     ERR_IO);
	w->source.segment_bytes = 4711;
	cr_assert_eq(wal_salvage_look(&w->env, &w->archive, &w->source, &w->salvage, &w->why),
		     ERR_CONFIG);
	world_end(w);
}
