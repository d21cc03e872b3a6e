/* A copy that would open subscriptions once it is promoted. */
#include "plan_scene.h"

static struct scene *recorded(const char *settings, bool in_place)
{
	struct scene *s = scene(TARGET_LATEST);

	s->in_place = in_place;
	s->settings = settings;
	add_backup(s, 1, START, STOP);
	return s;
}

static const char with_spock[] = "max_connections 37\nshared_preload_libraries pg_cron, spock\n";

Test(plan_waking, a_library_that_has_to_stay_is_named)
{
	struct scene *s = recorded(with_spock, false);

	plan(s);
	assert_reachable(s);
	cr_assert_not_null(s->plan.wakes);
	cr_assert_str_eq(s->plan.wakes, "spock");
	restore_plan_release(&s->plan);
	/* Left out by hand, at the risk of a replay that needs it. */
	s->request.set[0] = (struct restore_setting){"shared_preload_libraries", "pg_cron"};
	s->request.sets = 1;
	plan(s);
	cr_assert_null(s->plan.wakes);
	restore_plan_release(&s->plan);
	s->request.sets = 0;
	s->request.standby = true;
	plan(s);
	cr_assert_null(s->plan.wakes, "a standby is what the original is");
	scene_end(s);
}

/* Of a role that sees no such settings, the files say. */
Test(plan_waking, a_library_that_was_not_recorded_is_found_in_the_files)
{
	struct scene *s = scene(TARGET_LATEST);

	s->settings = "max_connections 37\n";
	s->file[0] =
		(struct scene_file){"postgresql.conf", "shared_preload_libraries = 'pg_cron'\n"};
	s->file[1] =
		(struct scene_file){"postgresql.auto.conf", "shared_preload_libraries = 'spock'\n"};
	add_backup(s, 1, START, STOP);
	plan(s);
	cr_assert_not_null(s->plan.wakes);
	cr_assert_str_eq(s->plan.wakes, "spock");
	scene_end(s);
}

Test(plan_waking, in_place_and_without_one_nothing_is_said)
{
	static const char *const settings[] = {with_spock, "shared_preload_libraries pglogical\n",
					       "max_connections 37\n", NULL};

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		struct scene *s = recorded(settings[i], i == 0);

		plan(s);
		assert_reachable(s);
		cr_assert_null(s->plan.wakes);
		scene_end(s);
	}
}
