/* Facts about archive-push and archive-get: delivered, proven absent, and everything else. */
#include "scratch.h"
#include "wal_shelf.h"

#include "wal/archive.h"

struct world {
	struct repo_world repo[2];
	struct wal_archive archive;
	struct env env;
	struct listener heard;
	struct scratch scratch;
	struct wal_push_result pushed;
	struct error why;
};

static void add_repository(struct world *w)
{
	struct identity identity = {.server_version = 150020,
				    .wal_segment_bytes = SHELF_SEGMENT,
				    .block_bytes = 8192,
				    .data_checksums = -1};
	struct repo_world *r = &w->repo[w->archive.count];
	struct error why;

	shelf_world(r, w->archive.count > 0 ? &w->repo[0] : NULL);
	OK(identity_ensure(&r->cluster, &identity, &why));
	w->archive.cluster[w->archive.count++] = r->cluster;
}

static void world_init(struct world *w, unsigned repositories)
{
	memset(w, 0, sizeof(*w));
	listener_init(&w->heard);
	while (w->archive.count < repositories)
		add_repository(w);
	w->env = w->repo[0].env;
	w->env.observer = &w->heard.observer;
	w->scratch = scratch_open();
}

static void world_release(struct world *w)
{
	scratch_close(&w->scratch);
	for (size_t i = 0; i < w->archive.count; i++)
		repo_world_release(&w->repo[i]);
}

static void file_write(struct world *w, const char *name, struct bytes in)
{
	int fd = openat(w->scratch.dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, in.data, in.len), (ssize_t)in.len);
	(void)close(fd);
}

/* What lies at `name`; len 0 = nothing. */
static struct golden file_read(struct world *w, const char *name)
{
	struct golden g = {.data = golden_new(2 * SHELF_SEGMENT)};
	int fd = openat(w->scratch.dir, name, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, g.data, 2 * SHELF_SEGMENT);

	cr_assert_geq(n, 0);
	g.len = (size_t)n;
	if (fd >= 0)
		(void)close(fd);
	return g;
}

static enum err push(struct world *w, const char *name, struct bytes in)
{
	file_write(w, name, in);
	return wal_archive_push(&w->env, &w->archive, w->scratch.dir, name, 1, &w->pushed, &w->why);
}

static enum err get(struct world *w, const char *name)
{
	struct wal_name parsed;
	struct error why;

	OK(wal_name_from_text(name, &parsed, &why));
	return wal_archive_get(&w->env, &w->archive, &parsed, SHELF_SEGMENT, w->scratch.dir,
			       "RECOVERYXLOG", &w->why);
}

static size_t stored(struct world *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->archive.count; i++)
		n += keys_below(&w->repo[i], "wal/");
	return n;
}

static const char *const segment_c = "00000001000000000000000C";

Test(archive, push_stores_in_every_repository_and_get_delivers)
{
	struct golden g = shelf_golden(1, 0xC), got;
	struct world w;

	world_init(&w, 2);
	cr_assert_eq(push(&w, segment_c, golden_view(g)), ERR_NONE, "%s", w.why.text);
	cr_assert_eq(w.pushed.stored, 2);
	cr_assert_eq(w.pushed.bytes, SHELF_SEGMENT);
	cr_assert_eq(stored(&w), 2);
	cr_assert_eq(get(&w, segment_c), ERR_NONE, "%s", w.why.text);
	got = file_read(&w, "RECOVERYXLOG");
	cr_assert_eq(got.len, g.len);
	cr_assert_eq(memcmp(got.data, g.data, g.len), 0);
	world_release(&w);
}

Test(archive, the_same_again_is_success_other_content_is_not)
{
	struct golden g = shelf_golden(1, 0xC), other = shelf_golden(1, 0xC);
	struct world w;

	world_init(&w, 2);
	shelf_put(&w.repo[1], 1, 0xC, g);
	cr_assert_eq(push(&w, segment_c, golden_view(g)), ERR_NONE, "%s", w.why.text);
	cr_assert_eq(w.pushed.stored, 1);
	cr_assert_eq(w.pushed.same, 1);
	cr_assert_eq(push(&w, segment_c, golden_view(g)), ERR_NONE, "%s", w.why.text);
	cr_assert_eq(w.pushed.same, 2);
	other.data[9000] ^= 1;
	cr_assert_eq(push(&w, segment_c, golden_view(other)), ERR_EXISTS);
	cr_assert_eq(stored(&w), 2);
	world_release(&w);
}

Test(archive, what_is_no_sound_file_of_pg_wal_is_refused_before_anything_is_stored)
{
	struct golden g = shelf_golden(1, 0xC), foreign = shelf_golden(1, 0xC);
	struct world w;

	world_init(&w, 2);
	foreign.data[24] ^= 1;
	cr_assert_eq(push(&w, "notes.txt", bytes_of_text("x")), ERR_CONFIG);
	cr_assert_not_null(strstr(w.why.text, "notes.txt"), "%s", w.why.text);
	cr_assert_eq(push(&w, segment_c, bytes_of_text("")), ERR_CORRUPT);
	cr_assert_not_null(strstr(w.why.text, "empty"), "%s", w.why.text);
	cr_assert_eq(push(&w, segment_c, bytes_of(g.data, g.len / 2)), ERR_CORRUPT);
	cr_assert_eq(push(&w, segment_c, bytes_of(g.data, g.len - 1)), ERR_CORRUPT);
	cr_assert_eq(push(&w, "00000001000000000000000D", golden_view(g)), ERR_CORRUPT);
	cr_assert_eq(push(&w, segment_c, golden_view(foreign)), ERR_CONFIG);
	cr_assert_eq(push(&w, "00000002.history", bytes_of_text("")), ERR_CORRUPT);
	memset(g.data, 0, g.len);
	cr_assert_eq(push(&w, segment_c, golden_view(g)), ERR_CORRUPT);
	cr_assert_not_null(strstr(w.why.text, segment_c), "%s", w.why.text);
	cr_assert_eq(wal_archive_push(&w.env, &w.archive, w.scratch.dir, "00000003.history", 1,
				      &w.pushed, &w.why),
		     ERR_MISSING);
	cr_assert_eq(stored(&w), 0);
	world_release(&w);
}

Test(archive, a_first_push_needs_no_identity)
{
	struct world w;

	world_init(&w, 0);
	shelf_world(&w.repo[0], NULL);
	w.archive.cluster[w.archive.count++] = w.repo[0].cluster;
	w.env = w.repo[0].env;
	cr_assert_eq(push(&w, "00000002.history", bytes_of_text("1\t0/F000A0\tx\n")), ERR_NONE,
		     "%s", w.why.text);
	cr_assert_eq(push(&w, segment_c, golden_view(shelf_golden(1, 0xC))), ERR_NONE, "%s",
		     w.why.text);
	world_release(&w);
}

Test(archive, a_silent_repository_fails_the_push_but_not_the_other_copy)
{
	struct world w;

	for (unsigned silent = 0; silent < 2; silent++) {
		world_init(&w, 2);
		repo_world_fail(&w.repo[silent], FAULT_DOWN, 1, ERR_TRANSIENT);
		cr_assert_eq(push(&w, segment_c, golden_view(shelf_golden(1, 0xC))), ERR_TRANSIENT,
			     "%s", w.why.text);
		cr_assert_eq(keys_below(&w.repo[silent], "wal/"), 0);
		cr_assert_eq(keys_below(&w.repo[1 - silent], "wal/"), 1);
		repo_world_fail(&w.repo[silent], FAULT_NONE, 0, ERR_NONE);
		cr_assert_eq(push(&w, segment_c, golden_view(shelf_golden(1, 0xC))), ERR_NONE);
		cr_assert_eq(w.pushed.stored, 1);
		cr_assert_eq(w.pushed.same, 1);
		world_release(&w);
	}
}

Test(archive, absence_is_proven_only_when_nothing_later_is_there)
{
	struct world w;

	world_init(&w, 2);
	shelf_put_golden(&w.repo[0], 1, 0xB);
	shelf_put_golden(&w.repo[1], 1, 0xB);
	cr_assert_eq(get(&w, segment_c), ERR_MISSING);
	cr_assert_not_null(strstr(w.why.text, segment_c), "%s", w.why.text);
	cr_assert_eq(get(&w, "00000002.history"), ERR_MISSING);
	/* Another timeline's segments are no proof of a hole in this one. */
	shelf_put_golden(&w.repo[1], 2, 0x10);
	cr_assert_eq(get(&w, segment_c), ERR_MISSING);
	shelf_put_golden(&w.repo[1], 1, 0xE);
	cr_assert_eq(get(&w, segment_c), ERR_CORRUPT);
	cr_assert_not_null(strstr(w.why.text, "hole"), "%s", w.why.text);
	cr_assert_not_null(strstr(w.why.text, segment_c), "%s", w.why.text);
	cr_assert_eq(file_read(&w, "RECOVERYXLOG").len, 0);
	world_release(&w);
}

static void two_more(void *ctx)
{
	struct repo_world *w = ctx;

	w->fault.meanwhile = NULL;
	shelf_put_golden(w, 1, 0xC);
	shelf_put_golden(w, 1, 0xD);
}

Test(archive, segments_that_come_during_the_question_are_no_hole)
{
	unsigned calls = 2;
	struct world w;

	for (unsigned at = 1; at <= calls; at++) {
		world_init(&w, 1);
		shelf_put_golden(&w.repo[0], 1, 0xB);
		repo_world_fail(&w.repo[0], FAULT_NONE, 0, ERR_NONE);
		cr_assert_eq(get(&w, segment_c), ERR_MISSING);
		calls = w.repo[0].fault.calls;
		repo_world_fail(&w.repo[0], FAULT_NONE, at, ERR_NONE);
		w.repo[0].fault.meanwhile = two_more;
		w.repo[0].fault.ctx = &w.repo[0];
		/* After the last look at what is later it is as absent as it was. */
		if (get(&w, segment_c) != ERR_NONE)
			cr_assert_eq(w.why.kind, ERR_MISSING, "call %u: %s", at, w.why.text);
		world_release(&w);
	}
	cr_assert_gt(calls, 3);
}

Test(archive, an_empty_or_recreated_repository_proves_nothing)
{
	struct world w;

	world_init(&w, 2);
	shelf_put_golden(&w.repo[0], 1, 0xB);
	cr_assert_eq(get(&w, segment_c), ERR_CONFIG, "%s", w.why.text);
	cr_assert_not_null(strstr(w.why.text, "holds no WAL"), "%s", w.why.text);
	/* What is there is delivered all the same. */
	cr_assert_eq(get(&w, "00000001000000000000000B"), ERR_NONE, "%s", w.why.text);
	world_release(&w);
	world_init(&w, 0);
	shelf_world(&w.repo[0], NULL);
	w.archive.cluster[w.archive.count++] = w.repo[0].cluster;
	w.env = w.repo[0].env;
	cr_assert_eq(get(&w, segment_c), ERR_CONFIG);
	world_release(&w);
}

/* Whatever question a repository does not answer: absence is not proven. */
Test(archive, an_unanswered_question_is_never_absence)
{
	struct world w;
	enum err e;

	world_init(&w, 2);
	shelf_put_golden(&w.repo[0], 1, 0xB);
	shelf_put_golden(&w.repo[1], 1, 0xB);
	for (unsigned r = 0; r < 2; r++) {
		for (unsigned at = 1; at < 50; at++) {
			repo_world_fail(&w.repo[r], FAULT_FAIL, at, ERR_TRANSIENT);
			e = get(&w, segment_c);
			if (w.repo[r].fault.calls < at)
				break;
			cr_assert_eq(e, ERR_TRANSIENT, "repository %u call %u: %s", r, at,
				     w.why.text);
		}
		cr_assert_eq(e, ERR_MISSING);
		cr_assert_gt(w.repo[r].fault.calls, 2);
		repo_world_fail(&w.repo[r], FAULT_NONE, 0, ERR_NONE);
	}
	world_release(&w);
}

Test(archive, a_damaged_copy_is_served_from_the_next_repository)
{
	struct golden g = shelf_golden(1, 0xC), got;
	struct world w;

	world_init(&w, 2);
	shelf_put(&w.repo[0], 1, 0xC, g);
	shelf_put(&w.repo[1], 1, 0xC, g);
	shelf_damage(&w.repo[0], 1, 0xC);
	cr_assert_eq(get(&w, segment_c), ERR_NONE, "%s", w.why.text);
	got = file_read(&w, "RECOVERYXLOG");
	cr_assert_eq(memcmp(got.data, g.data, g.len), 0);
	cr_assert_eq(w.heard.events, 1);
	cr_assert_not_null(strstr(w.heard.text, segment_c), "%s", w.heard.text);
	shelf_damage(&w.repo[1], 1, 0xC);
	cr_assert_eq(get(&w, segment_c), ERR_CORRUPT);
	world_release(&w);
}

Test(archive, a_silent_first_repository_is_passed_over)
{
	struct world w;

	world_init(&w, 2);
	shelf_put_golden(&w.repo[1], 1, 0xC);
	repo_world_fail(&w.repo[0], FAULT_FAIL, 1, ERR_TRANSIENT);
	cr_assert_eq(get(&w, segment_c), ERR_NONE, "%s", w.why.text);
	cr_assert_eq(w.heard.events, 1);
	world_release(&w);
}

Test(archive, slices_are_delivered_joined_and_padded_when_nothing_later_is_there)
{
	struct golden g = shelf_golden(1, 0xC), got;
	enum { CUT = 5 * WAL_PAGE_BYTES };
	struct world w;

	world_init(&w, 2);
	shelf_put_golden(&w.repo[0], 1, 0xB);
	shelf_put_slice(&w.repo[0], 1, 0xC, g, 0, WAL_PAGE_BYTES);
	shelf_put_slice(&w.repo[1], 1, 0xC, g, 0, CUT);
	cr_assert_eq(get(&w, segment_c), ERR_NONE, "%s", w.why.text);
	got = file_read(&w, "RECOVERYXLOG");
	cr_assert_eq(got.len, SHELF_SEGMENT, "the longest one is taken, and padded");
	cr_assert_eq(memcmp(got.data, g.data, CUT), 0);
	cr_assert(bytes_are_zero(bytes_of(got.data + CUT, got.len - CUT)));
	shelf_put_slice(&w.repo[1], 1, 0xD, shelf_golden(1, 0xD), 0, CUT);
	cr_assert_eq(get(&w, segment_c), ERR_CORRUPT, "a later slice makes it a hole");
	world_release(&w);
}

Test(archive, a_destination_is_replaced_whole_or_left_alone)
{
	struct golden got;
	struct world w;
	struct wal_name name;
	struct error why;

	world_init(&w, 1);
	shelf_put_golden(&w.repo[0], 1, 0xC);
	file_write(&w, "RECOVERYXLOG", bytes_of_text("old"));
	shelf_damage(&w.repo[0], 1, 0xC);
	cr_assert_eq(get(&w, segment_c), ERR_CORRUPT);
	got = file_read(&w, "RECOVERYXLOG");
	cr_assert_eq(got.len, 3);
	shelf_damage(&w.repo[0], 1, 0xC); /* turns the byte back */
	cr_assert_eq(get(&w, segment_c), ERR_NONE, "%s", w.why.text);
	cr_assert_eq(file_read(&w, "RECOVERYXLOG").len, SHELF_SEGMENT);
	OK(wal_name_from_text(segment_c, &name, &why));
	cr_assert_neq(wal_archive_get(&w.env, &w.archive, &name, SHELF_SEGMENT, w.scratch.dir,
				      "no/such/directory", &w.why),
		      ERR_NONE);
	cr_assert_neq(w.why.kind, ERR_MISSING, "the archive has it: %s", w.why.text);
	world_release(&w);
}

Test(archive, what_a_killed_get_left_is_removed_and_nothing_else)
{
	static const char gone[] = "wal/.tmp-999999999-0123456789abcdef";
	struct wal_name name = shelf_name(1, 0xB);
	struct world w;
	char living[64];
	const char *const spared[] = {living,
				      "wal/.tmp-999999999-0123456789abcde",
				      "wal/.tmp-thesis",
				      "wal/.tmp-x-0123456789abcdef",
				      "wal/000000010000000000000001",
				      ".tmp-999999999-0123456789abcdef"};

	world_init(&w, 1);
	shelf_put_golden(&w.repo[0], 1, 0xB);
	(void)snprintf(living, sizeof(living), "wal/.tmp-%d-0123456789abcdef", (int)getpid());
	cr_assert_eq(mkdirat(w.scratch.dir, "wal", 0700), 0);
	file_write(&w, gone, bytes_of_text("x"));
	for (size_t i = 0; i < sizeof(spared) / sizeof(spared[0]); i++)
		file_write(&w, spared[i], bytes_of_text("x"));
	cr_assert_eq(wal_archive_get(&w.env, &w.archive, &name, SHELF_SEGMENT, w.scratch.dir,
				     "wal/RECOVERYXLOG", &w.why),
		     ERR_NONE, "%s", w.why.text);
	cr_assert_eq(faccessat(w.scratch.dir, gone, F_OK, 0), -1);
	for (size_t i = 0; i < sizeof(spared) / sizeof(spared[0]); i++)
		cr_assert_eq(faccessat(w.scratch.dir, spared[i], F_OK, 0), 0, "%s", spared[i]);
	world_release(&w);
}
