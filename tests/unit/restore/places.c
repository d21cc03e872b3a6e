/* Where tablespaces go, and paths that are one although they look different. */
#include "scratch.h"
#include "small_backup.h"

#include "restore/restore_internal.h"

struct scene {
	struct scratch scratch;
	struct repo_world repo;
	struct wal_archive archive;
	struct manifest *manifest;
	struct restore_request request;
	struct restore_plan plan;
	struct error why;
	char directory[128], old[2][128];
};

/* Two tablespaces, 16400 "fast" and 16401 "big space", with old paths below the scratch. */
static struct scene *scene(void)
{
	struct scene *s = calloc(1, sizeof(*s));
	struct small_backup b;
	struct attempt attempt;
	struct error why;

	cr_assert_not_null(s);
	s->scratch = scratch_open();
	repo_world_init(&s->repo, NULL);
	s->archive = (struct wal_archive){.cluster = {s->repo.cluster}, .count = 1};
	small_backup_begin(&b, &s->repo, 1);
	attempt = b.manifest->summary.attempt;
	b.manifest->summary.tablespace = calloc(2, sizeof(*b.manifest->summary.tablespace));
	cr_assert_not_null(b.manifest->summary.tablespace);
	b.manifest->summary.tablespaces = 2;
	for (uint32_t i = 0; i < 2; i++) {
		(void)snprintf(s->old[i], sizeof(s->old[i]), "%s/old%u", s->scratch.path, i);
		b.manifest->summary.tablespace[i].oid = 16400 + i;
		(void)snprintf(b.manifest->summary.tablespace[i].path,
			       sizeof(b.manifest->summary.tablespace[i].path), "%s", s->old[i]);
	}
	OK(pack_section_add(b.packs, "tablespaces",
			    bytes_of_text("tablespace 16400\tfast\ntablespace 16401\tbig space\n"),
			    &why));
	small_backup_file(&b, "global/pg_control",
			  golden_view(golden_read("tests/golden/pgformat/pg_control.15")));
	small_backup_file(&b, "pg_tblspc/16400/PG_15_202209061/1", bytes_of_text("x"));
	small_backup_commit(&b);
	OK(manifest_read(&s->repo.cluster, &attempt, &s->manifest, &why));
	(void)snprintf(s->directory, sizeof(s->directory), "%s/r", s->scratch.path);
	s->request = (struct restore_request){.directory = s->directory};
	return s;
}

static enum err resolve(struct scene *s)
{
	free(s->plan.tablespace);
	memset(&s->plan, 0, sizeof(s->plan));
	s->plan.backup.attempt = s->manifest->summary.attempt;
	return places_resolve(&s->repo.env, &s->archive, s->manifest, &s->request, &s->plan,
			      &s->why);
}

static void map(struct scene *s, const char *what, const char *directory)
{
	s->request.tablespace[s->request.tablespaces++] =
		(struct restore_tablespace){what, directory};
}

static void check(struct scene *s)
{
	struct env env = s->repo.env;

	cr_assert_eq(resolve(s), ERR_NONE, "%s", s->why.text);
	cr_assert_eq(target_check(&env, &s->archive, s->manifest, &s->request, &s->plan, &s->why),
		     ERR_NONE, "%s", s->why.text);
}

static void scene_end(struct scene *s)
{
	free(s->plan.tablespace);
	manifest_free(s->manifest);
	repo_world_release(&s->repo);
	scratch_close(&s->scratch);
	free(s);
}

Test(places, without_a_word_they_go_to_their_old_paths)
{
	struct scene *s = scene();

	check(s);
	cr_assert_str_eq(s->plan.tablespace[0].to, s->old[0]);
	cr_assert_eq(s->plan.problems, 0, "%s", s->plan.problem[0].message);
	cr_assert_eq(mkdir(s->old[1], 0700), 0);
	check(s);
	cr_assert_eq(s->plan.problems, 0, "an empty one is free");
	scene_end(s);
}

Test(places, an_old_path_in_use_is_never_written_to)
{
	struct scene *s = scene();
	char inside[160];

	cr_assert_eq(mkdir(s->old[1], 0700), 0);
	(void)snprintf(inside, sizeof(inside), "%s/PG_15_202209061", s->old[1]);
	cr_assert_eq(mkdir(inside, 0700), 0);
	check(s);
	cr_assert_eq(s->plan.problems, 1);
	cr_assert_not_null(strstr(s->plan.problem[0].message, s->old[1]));
	cr_assert_not_null(strstr(s->plan.problem[0].hint, "--tablespace 16401=DIR"));
	scene_end(s);
}

/* In place, where the data directory was moved away and its tablespaces were not. */
Test(places, what_the_lost_server_left_may_be_moved_away_too)
{
	struct scene *s = scene();
	char inside[160];

	cr_assert_eq(mkdir(s->old[0], 0700), 0);
	(void)snprintf(inside, sizeof(inside), "%s/PG_15_202209061", s->old[0]);
	cr_assert_eq(mkdir(inside, 0700), 0);
	for (int delta = 0; delta < 2; delta++) {
		s->request.delta = delta == 1;
		check(s);
		cr_assert_eq(s->plan.problems, 1);
		cr_assert_not_null(strstr(s->plan.problem[0].message, "fast (16400)"));
		cr_assert_null(strstr(s->plan.problem[0].message, "opened"));
		cr_assert_not_null(strstr(s->plan.problem[0].hint, "away, too"), "%s",
				   s->plan.problem[0].hint);
		cr_assert_not_null(strstr(s->plan.problem[0].hint, "--tablespace fast=DIR"));
	}
	/* Of a copy they are the living server's. */
	cr_assert_eq(resolve(s), ERR_NONE);
	s->plan.side = true;
	cr_assert_eq(target_check(&s->repo.env, &s->archive, s->manifest, &s->request, &s->plan,
				  &s->why),
		     ERR_NONE);
	cr_assert_eq(s->plan.problems, 1);
	cr_assert_null(strstr(s->plan.problem[0].hint, "away"), "%s", s->plan.problem[0].hint);
	scene_end(s);
}

Test(places, they_are_named_by_name_oid_or_old_path)
{
	static const char *const names[] = {"big space", "16401"};

	for (int i = 0; i < 3; i++) {
		struct scene *s = scene();

		map(s, i < 2 ? names[i] : s->old[1], "/nowhere/new");
		cr_assert_eq(resolve(s), ERR_NONE, "%s", s->why.text);
		cr_assert_str_eq(s->plan.tablespace[0].to, s->old[0]);
		cr_assert_str_eq(s->plan.tablespace[1].to, "/nowhere/new");
		scene_end(s);
	}
}

Test(places, all_others_go_below_one_directory)
{
	struct scene *s = scene();

	s->request.tablespace_dir = "/nowhere/all/";
	map(s, "fast", "/nowhere/fast");
	cr_assert_eq(resolve(s), ERR_NONE, "%s", s->why.text);
	cr_assert_str_eq(s->plan.tablespace[0].to, "/nowhere/fast");
	cr_assert_str_eq(s->plan.tablespace[1].to, "/nowhere/all/16401");
	scene_end(s);
}

Test(places, a_mapping_of_nothing_is_an_error_that_lists_what_there_is)
{
	struct scene *s = scene();

	map(s, "nonesuch", "/nowhere/new");
	cr_assert_eq(resolve(s), ERR_CONFIG);
	cr_assert_not_null(strstr(s->why.text, "nonesuch"));
	cr_assert_not_null(strstr(s->why.hint, "fast (16400)"));
	cr_assert_not_null(strstr(s->why.hint, "big space (16401)"));
	cr_assert_not_null(strstr(s->why.hint, s->old[1]));
	s->request.tablespaces = 0;
	map(s, "fast", "relative");
	cr_assert_eq(resolve(s), ERR_CONFIG);
	cr_assert_not_null(strstr(s->why.text, "relative"));
	scene_end(s);
}

Test(places, no_place_lies_in_another_even_through_a_link)
{
	struct scene *s = scene();
	char link[160], inside[160], target[160];

	(void)snprintf(target, sizeof(target), "%s/t", s->scratch.path);
	cr_assert_eq(mkdir(target, 0700), 0);
	(void)snprintf(link, sizeof(link), "%s/link", s->scratch.path);
	cr_assert_eq(symlink(target, link), 0);
	(void)snprintf(inside, sizeof(inside), "%s/link/deep/er", s->scratch.path);
	map(s, "fast", target);
	map(s, "big space", inside);
	check(s);
	cr_assert_eq(s->plan.problems, 1);
	cr_assert_str_eq(s->plan.problem[0].code, "tablespaces_overlap");
	scene_end(s);
}

Test(places, no_place_lies_in_the_data_directory_or_around_it)
{
	struct scene *s = scene();
	char inside[160];

	(void)snprintf(inside, sizeof(inside), "%s/ts", s->directory);
	map(s, "fast", inside);
	check(s);
	cr_assert_eq(s->plan.problems, 1);
	cr_assert_str_eq(s->plan.problem[0].code, "tablespace_in_directory");
	s->request.tablespaces = 0;
	(void)snprintf(inside, sizeof(inside), "%s/x/y", s->directory);
	map(s, "fast", s->directory);
	s->request.directory = inside;
	check(s);
	cr_assert_str_eq(s->plan.problem[0].code, "tablespace_in_directory");
	scene_end(s);
}

Test(places, paths_are_resolved_as_far_as_they_exist)
{
	struct scratch scratch = scratch_open();
	char in[160], out[PATH_MAX], expected[160], real[PATH_MAX];
	struct error why;

	cr_assert_not_null(realpath(scratch.path, real));
	(void)snprintf(in, sizeof(in), "%s/./a//b/", scratch.path);
	(void)snprintf(expected, sizeof(expected), "%.64s/a/b", real);
	cr_assert_eq(place_real(in, out, &why), ERR_NONE);
	cr_assert_str_eq(out, expected);
	(void)snprintf(in, sizeof(in), "%s/a/../b", scratch.path);
	cr_assert_eq(place_real(in, out, &why), ERR_CONFIG);
	cr_assert_eq(place_real("/tmp/a\nb", out, &why), ERR_CONFIG);
	cr_assert(place_is_within("/a/b", "/a") && place_is_within("/a", "/a"));
	cr_assert_not(place_is_within("/ab", "/a"));
	cr_assert(place_is_within("/ab", "/"));
	scratch_close(&scratch);
}
