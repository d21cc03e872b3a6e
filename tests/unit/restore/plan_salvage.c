/* Plans of a restore in place: what is said of the lost server's directory. */
#include "plan_scene.h"

static struct scene *in_place(enum target_kind kind)
{
	struct scene *s = scene(kind);

	s->in_place = true;
	add_backup(s, 1, START, STOP);
	return s;
}

/* A server that runs, as far as this process can be one. */
static void run_in(struct scene *s)
{
	char pid[256];

	(void)snprintf(pid, sizeof(pid), "%d\n%s\n1\n5432\n/nowhere\n\n 1 2\nready\n",
		       (int)getpid(), s->directory);
	put(s->directory, "postmaster.pid", pid);
	cr_assert_eq(chdir(s->directory), 0);
}

/* What of its WAL can be saved, and what can be reached, is not known before it is stopped. */
Test(plan_salvage, of_a_server_that_runs_nothing_else_is_said)
{
	struct scene *s = in_place(TARGET_LSN);

	s->request.lsn = lsn_of(LAST + 1);
	lay_server(s);
	put(s->directory, "pg_wal/000000020000000000000010", "damaged");
	run_in(s);
	s->request.delta = true;
	for (int named = 0; named < 2; named++) {
		s->request.salvage_directory = named == 1 ? s->directory : NULL;
		plan(s);
		assert_problem(s, "server_running", s->directory, false);
		cr_assert_eq(s->plan.problems, 1);
		cr_assert_not_null(strstr(s->plan.problem[0].hint, "stop that server"));
		cr_assert_null(strstr(s->plan.problem[0].hint, "discard"));
		cr_assert_eq(s->plan.salvage_from[0], '\0', "its WAL was looked at");
		restore_plan_release(&s->plan);
	}
	cr_assert_eq(chdir("/"), 0);
	scene_end(s);
}

/* The old directory was moved away, and nobody named it. */
Test(plan_salvage, a_directory_that_was_moved_away_is_found_beside_the_target)
{
	struct scene *s = in_place(TARGET_LATEST);
	char away[256];

	plan(s);
	assert_reachable(s);
	cr_assert(s->plan.without_lost_wal);
	cr_assert_str_eq(s->plan.moved_to, "");
	restore_plan_release(&s->plan);

	lay_server(s);
	(void)snprintf(away, sizeof(away), "%s.broken", s->directory);
	cr_assert_eq(rename(s->directory, away), 0);
	plan(s);
	cr_assert_not(s->plan.reachable);
	cr_assert_str_eq(s->plan.problem[0].code, "wal_not_saved");
	restore_plan_release(&s->plan);

	s->request.discard_wal = true;
	plan(s);
	s->request.discard_wal = false;
	assert_reachable(s);
	cr_assert_lt(s->plan.target_lsn.value, 0x1000000, "it is not used without being named");
	cr_assert(s->plan.without_lost_wal);
	cr_assert_str_eq(s->plan.moved_to, away);
	cr_assert_eq(s->plan.moved.answer, WAL_SALVAGE_FOUND);
	cr_assert_eq(s->plan.moved.segments, 1);
	restore_plan_release(&s->plan);

	s->request.salvage_directory = away;
	plan(s);
	assert_reachable(s);
	cr_assert_not(s->plan.without_lost_wal);
	cr_assert_gt(s->plan.target_lsn.value, 0x1000000);
	restore_plan_release(&s->plan);

	/* All of it is archived. */
	s->request.salvage_directory = NULL;
	shelf_put_golden(&s->repo, 2, 0x10);
	plan(s);
	cr_assert(s->plan.without_lost_wal);
	cr_assert_str_eq(s->plan.moved_to, "");
	scene_end(s);
}

Test(plan_salvage, what_lies_beside_a_side_copy_is_nobodys_lost_server)
{
	struct scene *s = usual(TARGET_LATEST);
	char away[256];

	lay_server(s);
	(void)snprintf(away, sizeof(away), "%s.broken", s->directory);
	cr_assert_eq(rename(s->directory, away), 0);
	plan(s);
	assert_reachable(s);
	cr_assert_not(s->plan.without_lost_wal);
	cr_assert_str_eq(s->plan.moved_to, "");
	scene_end(s);
}
