/* What a server in place would have lower than recovery needs.  pg_control.15 has max_connections 37,
 * max_worker_processes 8, max_wal_senders 10, max_prepared_transactions 5 and max_locks_per_transaction 64. */
#include "plan_scene.h"

static struct scene *in_place(void)
{
	struct scene *s = scene(TARGET_LATEST);

	s->in_place = true;
	return s;
}

static void file(struct scene *s, const char *path, const char *text)
{
	size_t i = 0;

	while (s->file[i].path != NULL)
		i++;
	cr_assert_lt(i, SCENE_FILES_MAX);
	s->file[i] = (struct scene_file){path, text};
}

static void planned(struct scene *s)
{
	add_backup(s, 1, START, STOP);
	plan(s);
	assert_reachable(s);
}

static void assert_raised(const struct scene *s, const char *name, const char *asked, int32_t value,
			  const char *file_end)
{
	for (size_t i = 0; i < s->plan.raised; i++) {
		const struct restore_raised *one = &s->plan.raise[i];
		size_t len = strlen(one->file), end = strlen(file_end);

		if (strcmp(one->name, name) != 0)
			continue;
		cr_assert_str_eq(one->asked, asked);
		cr_assert_eq(one->value, value);
		cr_assert(len >= end && (end > 0 || len == 0) &&
				  strcmp(one->file + len - end, file_end) == 0,
			  "%s", one->file);
		return;
	}
	cr_assert_fail("%s is not raised", name);
}

Test(plan_limits, what_is_enough_is_left_to_the_configuration_and_its_defaults)
{
	struct scene *s = in_place();

	file(s, "postgresql.conf", "max_connections = 37\nmax_wal_senders = 11\n");
	planned(s);
	cr_assert_eq(s->plan.raised, 1, "the default of max_prepared_transactions is 0");
	assert_raised(s, "max_prepared_transactions", "0", 5, "");
	scene_end(s);
}

Test(plan_limits, the_last_file_that_says_something_counts)
{
	struct scene *s = in_place();

	file(s, "postgresql.conf",
	     "max_connections = 30\nmax_wal_senders = 3\n"
	     "max_locks_per_transaction = 10\ninclude_dir 'conf.d'\n"
	     "include_if_exists = 'nowhere.conf'\n");
	file(s, "conf.d/20.conf", "max_connections = 150\n");
	file(s, "conf.d/10.conf", "max_connections = 20\nmax_worker_processes = 4\n");
	file(s, "conf.d/.30.conf", "max_connections = 1\n");
	file(s, "conf.d/deeper/40.conf", "max_connections = 1\n");
	file(s, "conf.d/50.not", "max_connections = 1\n");
	file(s, "postgresql.auto.conf", "max_wal_senders = '12'\nmax_prepared_transactions = 5\n");
	planned(s);
	cr_assert_eq(s->plan.raised, 2);
	assert_raised(s, "max_worker_processes", "4", 8, "/conf.d/10.conf");
	assert_raised(s, "max_locks_per_transaction", "10", 64, "/postgresql.conf");
	cr_assert(s->plan.raise[0].configured);
	scene_end(s);
}

Test(plan_limits, what_lies_outside_is_read_as_it_lies_there)
{
	struct scene *s = in_place();
	char path[192];

	(void)snprintf(s->config_file, sizeof(s->config_file), "%s/postgresql.conf",
		       s->scratch.path);
	(void)snprintf(path, sizeof(path), "%s/conf.d", s->scratch.path);
	cr_assert_eq(mkdir(path, 0700), 0);
	put(s->scratch.path, "postgresql.conf", "include_dir = 'conf.d/'\nmax_wal_senders = 5\n");
	put(s->scratch.path, "conf.d/1.conf", "max_connections = 36\ninclude '../more'\n");
	put(s->scratch.path, "more", "max_locks_per_transaction = 63\n");
	/* The server's own file of that name is not the one that it reads. */
	file(s, "postgresql.conf", "max_connections = 300\n");
	file(s, "postgresql.auto.conf", "max_wal_senders = 10\nmax_prepared_transactions = 9\n");
	planned(s);
	cr_assert_eq(s->plan.raised, 2);
	assert_raised(s, "max_connections", "36", 37, "/conf.d/1.conf");
	assert_raised(s, "max_locks_per_transaction", "63", 64, "/more");
	scene_end(s);
}

Test(plan_limits, what_cannot_be_read_may_have_said_anything)
{
	struct scene *s = in_place();

	file(s, "postgresql.conf",
	     "max_connections = 200\ninclude_dir '/nonexistent/conf.d'\n"
	     "max_wal_senders = 20\nmax_worker_processes = 0x40\n");
	file(s, "postgresql.auto.conf",
	     "include 'postgresql.auto.conf'\n"
	     "max_locks_per_transaction = 64\n");
	s->request.set[0] = (struct restore_setting){"max_prepared_transactions", "5"};
	s->request.sets = 1;
	planned(s);
	cr_assert_eq(s->plan.raised, 3);
	assert_raised(s, "max_connections", "", 37, "");
	assert_raised(s, "max_worker_processes", "", 8, "");
	assert_raised(s, "max_wal_senders", "", 10, "");
	scene_end(s);
}

Test(plan_limits, a_copy_gets_all_of_them_anyway)
{
	struct scene *s = scene(TARGET_LATEST);

	file(s, "postgresql.conf", "max_connections = 30\n");
	planned(s);
	cr_assert(s->plan.side);
	cr_assert_eq(s->plan.raised, 0);
	scene_end(s);
}
