/* What a place to write to lies in, and what of pgagent's own lies in it. */
#include "scratch.h"
#include "small_backup.h"

#include "restore/restore_internal.h"

#include <stdarg.h>
#include <sys/stat.h>

struct scene {
	struct scratch scratch;
	struct repo_world repo;
	char root[PATH_MAX]; /* of the scratch, without links */
	struct restore_own own[3];
	char own_path[3][PATH_MAX];
	struct restore_request request;
	struct restore_plan plan;
	char path[PATH_MAX], target[2 * PATH_MAX];
	struct inside inside;
};

static void make_dir(const struct scene *s, const char *name)
{
	char path[2 * PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", s->root, name);
	cr_assert_eq(mkdir(path, 0700), 0, "%s", path);
}

static void make_file(const struct scene *s, const char *name, const char *text)
{
	char path[2 * PATH_MAX];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", s->root, name);
	f = fopen(path, "w");
	cr_assert_not_null(f, "%s", path);
	cr_assert_geq(fputs(text, f), 0);
	cr_assert_eq(fclose(f), 0);
}

/* A server's data directory `pg`, a tablespace `ts`, somebody's repository `repo`, ours in `own`. */
static struct scene *scene(void)
{
	static const char *const directories[] = {"pg",  "pg/global",          "pg/base",
						  "ts",  "ts/PG_15_202209061", "repo",
						  "own", "own/repo",           "own/state"};
	static const char *const own[] = {"own/repo", "own/state", "own/key"};
	struct scene *s = calloc(1, sizeof(*s));

	cr_assert_not_null(s);
	s->scratch = scratch_open();
	repo_world_init(&s->repo, NULL);
	cr_assert_not_null(realpath(s->scratch.path, s->root));
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++)
		make_dir(s, directories[i]);
	make_file(s, "pg/PG_VERSION", "15\n");
	make_file(s, "pg/global/pg_control", "x");
	make_file(s, "repo/FORMAT", "pgagent-record format 1\n");
	make_file(s, "own/key", "secret");
	for (size_t i = 0; i < 3; i++) {
		(void)snprintf(s->own_path[i], sizeof(s->own_path[i]), "%s/%s", s->scratch.path,
			       own[i]);
		s->own[i] = (struct restore_own){.what = own[i], .path = s->own_path[i]};
	}
	s->own[0].is_repository = true;
	s->request = (struct restore_request){.own = s->own, .owns = 3};
	s->inside = (struct inside){.env = &s->repo.env,
				    .request = &s->request,
				    .plan = &s->plan,
				    .what = "directory",
				    .path = s->path};
	return s;
}

static void scene_end(struct scene *s)
{
	repo_world_release(&s->repo);
	scratch_close(&s->scratch);
	free(s);
}

static bool refuses(struct scene *s, const char *name)
{
	char path[2 * PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", s->root, name);
	cr_assert_eq(place_real(path, s->path, NULL), ERR_NONE);
	s->plan.problems = 0;
	return inside_refuses(&s->inside);
}

/* `around` is the directory that it is told of. */
static void assert_refused(struct scene *s, const char *name, const char *words, const char *around)
{
	char quoted[2 * PATH_MAX];

	cr_assert(refuses(s, name), "%s", name);
	cr_assert_eq(s->plan.problems, 1);
	cr_assert_not_null(strstr(s->plan.problem[0].message, words), "%s",
			   s->plan.problem[0].message);
	(void)snprintf(quoted, sizeof(quoted), "\"%s%s%s\"", s->root, *around != '\0' ? "/" : "",
		       around);
	cr_assert_not_null(strstr(s->plan.problem[0].message, quoted), "%s not in: %s", quoted,
			   s->plan.problem[0].message);
}

Test(inside, nothing_goes_below_a_data_directory_however_deep)
{
	struct scene *s = scene();

	assert_refused(s, "pg/sub", "lies in the data directory", "pg");
	assert_refused(s, "pg/base/a/b/c", "lies in the data directory", "pg");
	cr_assert(!refuses(s, "pg"), "the directory itself may be the target");
	cr_assert(!refuses(s, "pgsub"));
	/* Half of one, as a restore leaves it that was killed. */
	make_dir(s, "half");
	make_file(s, "half/" RESTORE_MARKER, "pgagent-restore 1\n");
	assert_refused(s, "half/sub", "lies in the data directory", "half");
	cr_assert(!refuses(s, "half"));
	scene_end(s);
}

Test(inside, a_link_leads_to_what_counts)
{
	struct scene *s = scene();
	char link[2 * PATH_MAX];

	(void)snprintf(link, sizeof(link), "%s/link", s->root);
	cr_assert_eq(symlink("pg/base", link), 0);
	assert_refused(s, "link/new", "lies in the data directory", "pg");
	scene_end(s);
}

Test(inside, nothing_goes_into_a_tablespace)
{
	struct scene *s = scene();

	assert_refused(s, "ts/sub", "lies in the directory of a tablespace", "ts");
	assert_refused(s, "ts/PG_15_202209061/sub", "lies in the directory of a tablespace", "ts");
	assert_refused(s, "ts", "is the directory of a tablespace", "ts");
	s->inside.target = "/nowhere";
	cr_assert(!refuses(s, "ts"), "a tablespace goes where it was");
	assert_refused(s, "ts/sub", "lies in the directory of a tablespace", "ts");
	/* Names that no server gives. */
	make_dir(s, "no");
	make_dir(s, "no/PG_15_");
	make_dir(s, "no/PG_15_2022x");
	make_dir(s, "no/PG_x_1");
	make_file(s, "no/PG_15_202209061", "");
	cr_assert(!refuses(s, "no/sub"));
	scene_end(s);
}

Test(inside, nothing_goes_into_a_repository_configured_or_not)
{
	struct scene *s = scene();

	assert_refused(s, "repo/sub/x", "lies in a repository of pgagent", "repo");
	assert_refused(s, "repo", "is a repository of pgagent", "repo");
	assert_refused(s, "own/repo/sub", "lies in own/repo", "own/repo");
	assert_refused(s, "own/repo", "is own/repo", "own/repo");
	make_dir(s, "other");
	make_file(s, "other/FORMAT", "something else\n");
	cr_assert(!refuses(s, "other/sub"));
	/* One whose file system is not mounted is none yet, and would be covered by the mount. */
	(void)snprintf(s->own_path[0], sizeof(s->own_path[0]), "%s/unmounted", s->scratch.path);
	assert_refused(s, "unmounted/sub", "lies in own/repo", "unmounted");
	scene_end(s);
}

Test(inside, what_is_ours_is_not_restored_over)
{
	struct scene *s = scene();

	assert_refused(s, "own", "holds own/repo", "own/repo");
	assert_refused(s, "", "holds own/repo", "own/repo");
	assert_refused(s, "own/state", "is own/state", "own/state");
	cr_assert(!refuses(s, "own/state/scratch"), "below it is room");
	s->own[0].path = s->own[1].path = "/nowhere";
	assert_refused(s, "own", "holds own/key", "own/key");
	s->own[2].path = "/nowhere";
	cr_assert(!refuses(s, "own"), "what is not there cannot be lost");
	(void)snprintf(s->own_path[0], sizeof(s->own_path[0]), "%s/pg/base", s->scratch.path);
	s->own[0].path = s->own_path[0];
	assert_refused(s, "pg", "holds own/repo", "pg/base");
	cr_assert_not_null(strstr(s->plan.problem[0].hint, "move it out"), "%s",
			   s->plan.problem[0].hint);
	scene_end(s);
}

Test(inside, a_tablespace_in_the_target_is_told_by_another_check)
{
	struct scene *s = scene();

	(void)snprintf(s->target, sizeof(s->target), "%s/pg", s->root);
	s->inside.target = s->target;
	cr_assert(!refuses(s, "pg/sub"));
	assert_refused(s, "ts/sub", "lies in the directory of a tablespace", "ts");
	scene_end(s);
}
