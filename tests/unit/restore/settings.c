/* What is written into the configuration of a restored server. */
#include "golden.h"

#include "restore/restore_internal.h"

struct scene {
	struct restore_request request;
	struct restore_plan plan;
	struct control control;
	struct settings_input in;
	struct error why;
};

static struct scene *scene(enum target_kind kind)
{
	struct scene *s = (struct scene *)(void *)golden_new(sizeof(*s));

	s->request = (struct restore_request){
		.directory = "/r", .kind = kind, .archive_get = "/usr/bin/pgagent archive-get"};
	s->plan = (struct restore_plan){.kind = kind,
					.action = ACTION_PAUSE,
					.side = true,
					.target_inclusive = true,
					.timeline = 26};
	s->control = (struct control){.max_connections = 60,
				      .max_worker_processes = 8,
				      .max_prepared_transactions = 2,
				      .max_locks_per_transaction = 64};
	s->in = (struct settings_input){.request = &s->request,
					.plan = &s->plan,
					.directory = "/r",
					.pin = "restore-0123456789abcdef",
					.written = "2026-11-23T14:05:00.000000Z",
					.control = &s->control};
	return s;
}

/* Its memory stays: each test is a process of its own. */
static const char *text_of(struct writer *w)
{
	char *text = (char *)golden_new(w->len + 1);

	cr_assert_not(w->bad);
	memcpy(text, w->data, w->len);
	writer_release(w);
	return text;
}

static const char *written(struct scene *s)
{
	struct writer w;
	enum err e;

	writer_init(&w, 1 << 16);
	e = settings_auto_conf(&s->in, &w, &s->why);
	cr_assert_eq(e, ERR_NONE, "%s", s->why.text);
	return text_of(&w);
}

#define HAS(text, part) cr_assert_not_null(strstr(text, part), "no %s in\n%s", part, text)
#define HAS_NOT(text, part) cr_assert_null(strstr(text, part), "%s in\n%s", part, text)

Test(settings, a_side_copy_is_this_text)
{
	struct scene *s = scene(TARGET_LSN);

	s->plan.target_lsn = lsn_of(0x3000028);
	s->plan.target_inclusive = false;
	cr_assert_str_eq(
		written(s),
		"\n# written by pgagent restore 2026-11-23T14:05:00.000000Z; removed by pgagent "
		"restore --start after promotion, or:\n"
		"# ALTER SYSTEM RESET restore_command, and likewise every recovery_target* below\n"
		"restore_command = '/usr/bin/pgagent archive-get --pin restore-0123456789abcdef "
		"%f \"%p\"'\n"
		"recovery_target = ''\n"
		"recovery_target_name = ''\n"
		"recovery_target_time = ''\n"
		"recovery_target_xid = ''\n"
		"recovery_target_lsn = '0/3000028'\n"
		"recovery_target_inclusive = 'off'\n"
		"recovery_target_timeline = '26'\n"
		"recovery_target_action = 'pause'\n"
		"hot_standby = 'on'\n"
		"archive_mode = 'off'\n"
		"archive_command = ''\n"
		"archive_library = ''\n"
		"max_logical_replication_workers = '0'\n"
		"synchronous_standby_names = ''\n"
		"primary_conninfo = ''\n"
		"primary_slot_name = ''\n"
		"recovery_end_command = ''\n"
		"archive_cleanup_command = ''\n"
		"listen_addresses = ''\n"
		"external_pid_file = 'pgagent-external.pid'\n"
		"max_connections = '60'\n"
		"max_worker_processes = '8'\n"
		"max_wal_senders = '0'\n"
		"max_prepared_transactions = '2'\n"
		"max_locks_per_transaction = '64'\n");
}

/* What recovery cannot do with is not asked of the server, in whatever order it comes. */
Test(settings, what_recovery_needs_is_never_less_than_the_original_had)
{
	struct scene *s = scene(TARGET_LATEST);
	const char *text;

	s->request.set[0] = (struct restore_setting){"max_connections", "10"};
	s->request.set[1] = (struct restore_setting){"max_locks_per_transaction", "128"};
	s->request.set[2] = (struct restore_setting){"shared_buffers", "16MB"};
	s->request.sets = 3;
	s->plan.raise[0] = (struct restore_raised){.name = "max_connections", .value = 60};
	s->plan.raised = 1;
	text = written(s);
	HAS(text, "max_connections = '60'\n");
	HAS_NOT(text, "'10'");
	HAS(text, "max_locks_per_transaction = '128'\n");
	HAS(text, "shared_buffers = '16MB'\n");
	s->plan.side = false;
	text = written(s);
	HAS(text, "max_connections = '60'\n");
	HAS_NOT(text, "max_worker_processes");
	s->request.set[0].value = "ten";
	cr_assert_eq(settings_check(&s->request, &s->why), ERR_CONFIG);
}

Test(settings, a_standby_has_no_target_and_no_pin_and_follows_what_it_is_told_to)
{
	struct scene *s = scene(TARGET_LATEST);
	const char *text;

	s->request.standby = s->request.keep_archiving = true;
	s->in.pin = NULL;
	text = written(s);
	HAS(text, "restore_command = '/usr/bin/pgagent archive-get %f \"%p\"'\n");
	HAS(text, "recovery_target_lsn = ''\n");
	HAS(text, "recovery_target_timeline = 'latest'\n");
	HAS(text, "primary_conninfo = ''\n");
	HAS(text, "primary_slot_name = ''\n");
	HAS_NOT(text, "recovery_target_action");
	HAS_NOT(text, "archive_mode");
	HAS_NOT(text, "max_logical_replication_workers");
	HAS_NOT(text, "listen_addresses");
	s->request.set[s->request.sets++] =
		(struct restore_setting){"primary_conninfo", "host=db1"};
	s->request.timeline = 26;
	text = written(s);
	HAS(text, "primary_conninfo = 'host=db1'\n");
	HAS(text, "recovery_target_timeline = '26'\n");
	s->request.copy_wal = true;
	HAS(written(s), "restore_command = ''\n");
	s->request.standby = false;
	HAS(written(s), "restore_command = 'false'\n");
}

Test(settings, nothing_is_read_ahead_where_wal_may_be_missing_behind_the_target)
{
	struct scene *s = scene(TARGET_LATEST);

	HAS_NOT(written(s), "recovery_prefetch");
	s->plan.reach.ends_in_hole = true;
	HAS(written(s), "recovery_prefetch = 'off'\n");
	s->plan.reach.ends_in_hole = false;
	s->request.kind = TARGET_BACKUP_END;
	s->plan.kind = TARGET_LSN; /* of a standby's */
	HAS(written(s), "recovery_prefetch = 'off'\n");
}

/* The one that is set must come behind the empty ones, or the server refuses to start. */
Test(settings, the_target_is_the_last_of_its_kind)
{
	static const struct {
		enum target_kind kind;
		const char *line;
	} cases[] = {{TARGET_BACKUP_END, "recovery_target = 'immediate'"},
		     {TARGET_NAME, "recovery_target_name = 'it''s \\\\here'"},
		     {TARGET_TIME, "recovery_target_time = '2026-11-23 14:05:00.074058+00'"},
		     {TARGET_XID, "recovery_target_xid = '4294967295'"},
		     {TARGET_LATEST, "recovery_target_lsn = '1A/2B'"}};
	static const char *const names[] = {"recovery_target = ''", "recovery_target_name = ''",
					    "recovery_target_time = ''", "recovery_target_xid = ''",
					    "recovery_target_lsn = ''"};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct scene *s = scene(cases[i].kind);
		const char *text, *target;
		int empty = 0;

		s->request.name = "it's \\here";
		s->request.time_us = INT64_C(1795442700074058);
		s->request.xid = UINT32_MAX;
		s->plan.target_lsn = lsn_of(UINT64_C(0x1A0000002B));
		text = written(s);
		target = strstr(text, cases[i].line);
		cr_assert_not_null(target, "no %s in\n%s", cases[i].line, text);
		for (size_t k = 0; k < 5; k++) {
			const char *hit = strstr(text, names[k]);

			empty += hit != NULL;
			cr_assert(hit == NULL || hit < target, "%s is behind it", names[k]);
		}
		cr_assert_eq(empty, 4);
	}
}

Test(settings, percent_signs_of_a_path_are_doubled_for_the_server)
{
	struct scene *s = scene(TARGET_LATEST);

	s->request.archive_get = "'/a%b/it'\\''s' archive-get";
	s->in.pin = NULL;
	HAS(written(s), "restore_command = '''/a%%b/it''\\\\''''s'' archive-get %f \"%p\"'\n");
}

Test(settings, in_place_only_recovery_and_archiving_are_touched)
{
	struct scene *s = scene(TARGET_LATEST);
	const char *text;

	s->plan.side = false;
	text = written(s);
	HAS(text, "archive_mode = 'off'");
	HAS_NOT(text, "primary_conninfo");
	s->request.keep_archiving = true;
	text = written(s);
	HAS_NOT(text, "archive_mode");
	HAS_NOT(text, "archive_command");
}

Test(settings, what_is_kept_is_not_neutralised_and_what_is_set_wins)
{
	struct scene *s = scene(TARGET_LATEST);
	const char *text;

	s->request.keep_setting[0] = "Listen_Addresses";
	s->request.keep_settings = 1;
	s->request.set[0] = (struct restore_setting){"work_mem", "1MB"};
	s->request.set[1] = (struct restore_setting){"archive_mode", "always"};
	s->request.set[2] = (struct restore_setting){"WORK_MEM", "9MB"};
	s->request.sets = 3;
	cr_assert_eq(settings_check(&s->request, &s->why), ERR_NONE);
	text = written(s);
	HAS_NOT(text, "listen_addresses");
	HAS(text, "work_mem = '9MB'\n");
	HAS_NOT(text, "1MB");
	HAS(text, "archive_mode = 'always'\n");
	HAS_NOT(text, "archive_mode = 'off'");
	cr_assert_str_eq(settings_asked(&s->request, "work_mem"), "9MB");
	cr_assert_null(settings_asked(&s->request, "port"));
}

Test(settings, what_the_restore_decides_itself_cannot_be_set)
{
	static const char *const names[] = {"recovery_target_time",
					    "Recovery_Target",
					    "restore_command",
					    "data_directory",
					    "1st",
					    "a b",
					    ""};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct scene *s = scene(TARGET_LATEST);

		s->request.set[0] = (struct restore_setting){names[i], "x"};
		s->request.sets = 1;
		cr_assert_eq(settings_check(&s->request, &s->why), ERR_CONFIG, "%s", names[i]);
		cr_assert_not_null(strstr(s->why.text, names[i]));
	}
}

Test(settings, a_newline_in_a_value_is_refused)
{
	struct scene *s = scene(TARGET_LATEST);

	s->request.set[0] = (struct restore_setting){"work_mem", "1MB'\nfsync = off"};
	s->request.sets = 1;
	cr_assert_eq(settings_check(&s->request, &s->why), ERR_CONFIG);
	s->request.sets = 0;
	s->request.name = "a\nb";
	cr_assert_eq(settings_check(&s->request, &s->why), ERR_CONFIG);
}

Test(settings, libraries_that_run_jobs_are_left_out)
{
	char out[256];

	cr_assert(settings_quiet_libraries("pg_stat_statements, pg_cron,timescaledb", out, 256));
	cr_assert_str_eq(out, "pg_stat_statements,timescaledb");
	cr_assert(settings_quiet_libraries("$libdir/pg_cron.so", out, 256));
	cr_assert_str_eq(out, "");
	cr_assert(settings_quiet_libraries("\"pg_partman_bgw\" , x", out, 256));
	cr_assert_str_eq(out, " x");
	cr_assert(settings_quiet_libraries("pglogical,auto_explain", out, 256));
	cr_assert_str_eq(out, "auto_explain");
	cr_assert_not(settings_quiet_libraries("spock", out, 256), "replay may need it");
	cr_assert_str_eq(settings_waking_library("pg_cron, \"$libdir/spock\",x"), "spock");
	cr_assert_str_eq(settings_waking_library("Spock.so"), "spock");
	cr_assert_null(settings_waking_library("pglogical,spock_extra,myspock"));
	cr_assert_null(settings_waking_library(""));
	cr_assert_not(settings_quiet_libraries("pg_cron_like,my_pg_cron", out, 256));
	cr_assert_not(settings_quiet_libraries("", out, 256));
}

Test(settings, a_library_that_runs_jobs_is_written_away_unless_kept)
{
	struct scene *s = scene(TARGET_LATEST);

	s->in.preload = "pg_stat_statements";
	HAS_NOT(written(s), "shared_preload_libraries");
	s->in.preload = "pg_stat_statements,pg_cron";
	HAS(written(s), "shared_preload_libraries = 'pg_stat_statements'\n");
	s->request.keep_setting[0] = "shared_preload_libraries";
	s->request.keep_settings = 1;
	HAS_NOT(written(s), "shared_preload_libraries");
}

Test(settings, a_configuration_of_its_own_names_only_the_copy)
{
	struct scene *s = scene(TARGET_LATEST);
	struct writer w;
	const char *text;

	s->control.max_connections = 100;
	s->control.max_worker_processes = 8;
	s->control.max_wal_senders = 10;
	s->control.max_prepared_transactions = 5;
	s->control.max_locks_per_transaction = 64;
	s->in.directory = "/r/it's";
	s->in.preload = "pg_cron,custom_rmgr";
	writer_init(&w, 1 << 16);
	cr_assert_eq(settings_start_conf(&s->in,
					 bytes_of_text("TimeZone Europe/Paris\nssl on\n"
						       "external_pid_file /run/x\n"),
					 &w, &s->why),
		     ERR_NONE, "%s", s->why.text);
	text = text_of(&w);
	HAS(text, "data_directory = '/r/it''s'\n");
	HAS(text, "hba_file = '/r/it''s/pgagent-start.hba'\n");
	HAS(text, "ident_file = '/r/it''s/pgagent-start.ident'\n");
	HAS(text, "max_connections = 100\nmax_worker_processes = 8\nmax_wal_senders = 10\n"
		  "max_prepared_transactions = 5\nmax_locks_per_transaction = 64\n");
	HAS(text, "TimeZone = 'Europe/Paris'\n");
	HAS(text, "shared_preload_libraries = 'custom_rmgr'\n");
	HAS_NOT(text, "ssl");
	HAS_NOT(text, "external_pid_file");
	HAS_NOT(text, "include");
}

Test(settings, a_stop_before_locks_takes_the_place_of_the_target)
{
	struct scene *s = scene(TARGET_TIME);
	const char *text;

	s->request.time_us = INT64_C(1700000000000000);
	s->plan.target_inclusive = false;
	s->plan.stop_behind = lsn_of(0xD1C2F0);
	text = written(s);
	HAS(text, "recovery_target_lsn = '0/D1C2F0'\n");
	HAS(text, "recovery_target_inclusive = 'on'\n");
	HAS(text, "recovery_target_time = ''\n");
}

Test(settings, what_cannot_be_kept_is_no_word_of_a_restore)
{
	static const char *const names[] = {"archive_comand", "LISTEN_ADRESSES", "restore_command",
					    "work_mem"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct restore_request request = {.keep_setting = {names[i]}, .keep_settings = 1};
		struct error why;

		cr_expect_eq(settings_check(&request, &why), ERR_CONFIG, "%s", names[i]);
		cr_expect_not_null(strstr(why.text, names[i]));
		cr_expect_not_null(
			strstr(why.hint, i == 0 ? "mean \"archive_command\"" : "archive_mode, "),
			"%s", why.hint);
		request.keep_setting[0] = "Archive_Command";
		cr_expect_eq(settings_check(&request, &why), ERR_NONE);
	}
}
