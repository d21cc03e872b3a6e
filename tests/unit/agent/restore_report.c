/* A restore in words and JSON fields. */
#include "commands/restore_report.h"
#include "commands/restore_complete.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *out_text;
static size_t out_size;
static struct report report;
static struct error why;
static struct restore_request request;
static struct restore_plan plan;
static struct restore_result result;

static void begin(void)
{
	cr_assert_eq(report_init(&report, open_memstream(&out_text, &out_size), stderr, false,
				 "restore", &why),
		     ERR_NONE);
	request = (struct restore_request){.directory = "/srv/look",
					   .kind = TARGET_LSN,
					   .requested = "0/4000028",
					   .program = "/usr/bin/pgagent"};
	plan = (struct restore_plan){.reachable = true,
				     .side = true,
				     .kind = TARGET_LSN,
				     .action = ACTION_PAUSE,
				     .target_lsn = lsn_of(0x4000028),
				     .target_inclusive = true,
				     .timeline = 2,
				     .bytes_to_write = 3 << 20,
				     .bytes_free = 1 << 30,
				     .wal_bytes = 48 << 20,
				     .estimated_seconds = -1};
	plan.backup.timeline = 1;
	plan.backup.wal_segment_bytes = 16 << 20;
	plan.reach.segments = 3;
	plan.reach.first_segno = 2;
	plan.reach.last_segno = 4;
	result = (struct restore_result){
		.start_command = "/usr/lib/postgresql/15/bin/pg_ctl -D /srv/look start"};
}

static void end(void)
{
	(void)fclose(report.out);
	report_release(&report);
}

static const char *text_at(const char *outer, const char *key)
{
	return json_string_value(json_object_get(json_object_get(report.root, outer), key));
}

Test(restore_report, the_plan_names_wal_by_the_timelines_it_is_on)
{
	begin();
	restore_plan_json(report.root, &request, &plan);
	cr_expect_str_eq(text_at("wal", "first"), "000000010000000000000002");
	cr_expect_str_eq(text_at("wal", "last"), "000000020000000000000004");
	cr_expect_str_eq(text_at("target", "kind"), "lsn");
	cr_expect_str_eq(text_at("target", "lsn"), "0/4000028");
	cr_expect(json_is_null(json_object_get(json_object_get(report.root, "target"), "time")));
	cr_expect(json_is_null(json_object_get(report.root, "reason")));
	cr_expect(json_is_null(json_object_get(report.root, "estimated_seconds")));
	cr_expect_eq(json_array_size(json_object_get(report.root, "problems")), 0);
	end();
	free(out_text);
}

Test(restore_report, a_plan_without_a_backup_has_nulls)
{
	begin();
	plan.backup.timeline = 0;
	restore_plan_json(report.root, &request, &plan);
	cr_expect(json_is_null(json_object_get(report.root, "backup")));
	cr_expect(json_is_null(json_object_get(json_object_get(report.root, "wal"), "first")));
	end();
	free(out_text);
}

Test(restore_report, the_text_says_where_to_what_and_whether_it_can_be_done)
{
	begin();
	plan.tablespace = calloc(1, sizeof(*plan.tablespace));
	plan.tablespaces = 1;
	plan.tablespace[0] = (struct restore_place){
		.oid = 16385, .name = "fast", .from = "/fast/ts", .to = "/srv/ts"};
	restore_plan_text(&report, &request, &plan);
	restore_verdict_text(&report, &plan);
	end();
	cr_expect(strstr(out_text, "/srv/look (a side copy") != NULL, "%s", out_text);
	cr_expect(strstr(out_text, "LSN 0/4000028, with the target itself") != NULL);
	cr_expect(strstr(out_text, "fast (16385): /fast/ts -> /srv/ts") != NULL);
	cr_expect(strstr(out_text, "3 segment(s), 48.0 MiB") != NULL, "%s", out_text);
	cr_expect(strstr(out_text, "it can be done") != NULL);
	free(plan.tablespace);
	free(out_text);
}

static void problem(const char *code, bool unreachable)
{
	plan.reachable = false;
	plan.target_unreachable = unreachable;
	plan.problems = 1;
	plan.problem[0] = (struct restore_problem){code, "it is so", "do that"};
	(void)snprintf(plan.reason, sizeof(plan.reason), "it is so");
}

Test(restore_report, the_kind_of_problem_decides_the_exit_code)
{
	begin();
	problem("target_not_archived", true);
	cr_expect_eq(restore_plan_error(&plan, &why), ERR_MISSING);
	cr_expect(strstr(why.text, "it is so") != NULL);
	cr_expect_str_eq(why.hint, "do that");
	cr_expect_eq(report_exit_code(EXITS_TARGET, why.kind, 0), EXIT_UNREACHABLE);
	problem("directory_not_empty", false);
	cr_expect_eq(restore_plan_error(&plan, &why), ERR_CONFIG);
	problem("no_space", false);
	cr_expect_eq(restore_plan_error(&plan, &why), ERR_FULL);
	end();
	free(out_text);
}

static size_t lines(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += *text == '\n';
	return n;
}

Test(restore_report, a_restore_ends_with_three_lines_that_can_be_typed)
{
	struct restore_started started = {.port = 54321, .socket_directory = "/srv/look/s"};
	struct restore_closing closing = {&request, &plan, &result, &started,
					  " --config /etc/pgagent/pgagent.conf --cluster main"};

	begin();
	request.tablespaces = 1;
	request.tablespace[0] = (struct restore_tablespace){"fast disk", "/srv/look.ts"};
	restore_closing_text(&report, &closing);
	end();
	cr_expect_eq(lines(out_text), 3, "%s", out_text);
	cr_expect(strstr(out_text, "psql -h /srv/look/s -p 54321") != NULL, "%s", out_text);
	cr_expect(strstr(out_text, "/usr/lib/postgresql/15/bin/pg_ctl promote -D /srv/look") !=
		  NULL);
	cr_expect(strstr(out_text,
			 "/usr/bin/pgagent restore -D /srv/look --delta --tablespace 'fast "
			 "disk=/srv/look.ts' --to-lsn 0/4000028 "
			 "--config /etc/pgagent/pgagent.conf --cluster main --start") != NULL);
	free(out_text);
}

Test(restore_report, a_server_that_was_not_started_comes_with_its_start_command)
{
	struct restore_closing closing = {&request, &plan, &result, NULL, ""};

	begin();
	plan.side = false;
	restore_closing_text(&report, &closing);
	end();
	cr_expect_eq(lines(out_text), 3, "%s", out_text);
	cr_expect(strstr(out_text, result.start_command) != NULL, "%s", out_text);
	cr_expect(strstr(out_text, "pgagent backup") != NULL, "%s", out_text);
	free(out_text);
}

static void assert_complete(enum target_action action, bool standby, const char *sign)
{
	begin();
	plan.action = action;
	request.standby = standby;
	restore_complete_text(&report, &request, &plan, false);
	end();
	cr_expect(strstr(out_text, "up to 0/4000028") != NULL, "%s", out_text);
	cr_expect(strstr(out_text, sign) != NULL, "%s", out_text);
	free(out_text);
}

Test(restore_report, what_was_not_started_says_when_all_is_there)
{
	assert_complete(ACTION_PROMOTE, false, "SELECT pg_is_in_recovery() answers f");
	assert_complete(ACTION_PAUSE, false,
			"SELECT pg_get_wal_replay_pause_state() answers paused");
	assert_complete(ACTION_SHUTDOWN, false, "shut down");
	assert_complete(ACTION_DEFAULT, true, "pg_last_wal_replay_lsn() > '0/4000028' answers t");
	begin();
	restore_complete_text(&report, &request, &plan, true);
	end();
	cr_expect_eq(lines(out_text), 0, "it was waited for: %s", out_text);
	free(out_text);
}

/* The old data directory was moved away, and a person has not named it. */
Test(restore_report, wal_that_is_left_in_a_directory_beside_the_target_is_told)
{
	json_t *unsalvaged;

	begin();
	plan.side = false;
	plan.without_lost_wal = true;
	restore_plan_text(&report, &request, &plan);
	restore_plan_json(report.root, &request, &plan);
	(void)fflush(report.out);
	cr_assert_not_null(strstr(out_text, "--salvage-wal DIR"), "%s", out_text);
	unsalvaged = json_object_get(report.root, "unsalvaged");
	cr_assert(json_is_null(json_object_get(unsalvaged, "directory")));
	(void)snprintf(plan.moved_to, sizeof(plan.moved_to), "/srv/data.broken");
	plan.moved.segments = 1;
	plan.moved.commits = 7;
	restore_plan_text(&report, &request, &plan);
	restore_plan_json(report.root, &request, &plan);
	(void)fflush(report.out);
	cr_assert_not_null(strstr(out_text, "--salvage-wal /srv/data.broken"), "%s", out_text);
	cr_assert_not_null(strstr(out_text, "7 commits"), "%s", out_text);
	unsalvaged = json_object_get(report.root, "unsalvaged");
	cr_assert_eq(json_integer_value(json_object_get(unsalvaged, "commits")), 7);
	end();
}

/* Its last lines are what is typed next. */
Test(restore_report, in_place_a_paused_server_is_promoted_before_it_is_backed_up)
{
	struct restore_closing closing = {
		.request = &request, .plan = &plan, .result = &result, .source = " --cluster main"};
	const char *resume, *backup;

	begin();
	plan.side = false;
	restore_closing_text(&report, &closing);
	(void)fflush(report.out);
	resume = strstr(out_text, "SELECT pg_wal_replay_resume()");
	backup = strstr(out_text, "pgagent backup");
	cr_assert(resume != NULL && backup != NULL && resume < backup, "%s", out_text);
	end();
	free(out_text);
	begin();
	plan.side = false;
	plan.action = ACTION_PROMOTE;
	restore_closing_text(&report, &closing);
	(void)fflush(report.out);
	cr_assert_null(strstr(out_text, "resume"), "%s", out_text);
	end();
}

Test(restore_report, a_promoted_side_copy_says_what_is_off_and_how_to_have_a_replacement)
{
	struct restore_started started = {.port = 54321, .promoted = true};
	struct restore_closing closing = {.request = &request,
					  .plan = &plan,
					  .result = &result,
					  .started = &started,
					  .source = ""};

	begin();
	plan.action = ACTION_PROMOTE;
	(void)snprintf(plan.backup.data_directory, sizeof(plan.backup.data_directory), "/srv/main");
	restore_closing_text(&report, &closing);
	(void)fflush(report.out);
	cr_assert_not_null(strstr(out_text, "archives nothing"), "%s", out_text);
	cr_assert_null(strstr(out_text, "--delta"), "it may have what is wanted: %s", out_text);
	cr_assert_not_null(strstr(out_text, "restore -D ANOTHER_DIR "), "%s", out_text);
	cr_assert_not_null(strstr(out_text, "-D /srv/main --in-place --archiving keep"), "%s",
			   out_text);
	end();
}

Test(restore_report, a_target_is_repeated_as_it_was_asked_for)
{
	char target[100];

	begin();
	restore_target_option(&request, target, sizeof(target));
	cr_assert_str_eq(target, " --to-lsn 0/4000028");
	request.exclusive = true;
	restore_target_option(&request, target, sizeof(target));
	cr_assert_str_eq(target, " --to-lsn 0/4000028 --exclusive");
	end();
}

Test(restore_report, a_copy_that_would_open_subscriptions_is_warned_of_before_it_is_made)
{
	char *said;
	size_t size;
	FILE *err = open_memstream(&said, &size);

	begin();
	report.err = err;
	plan.wakes = "spock";
	restore_plan_text(&report, &request, &plan);
	restore_plan_json(report.root, &request, &plan);
	restore_waking_warn(&report, &plan);
	(void)fflush(report.out);
	(void)fclose(err);
	cr_assert_not_null(strstr(out_text, "spock opens the original's subscriptions"), "%s",
			   out_text);
	cr_assert_not_null(strstr(said, "--action pause"), "%s", said);
	cr_assert_str_eq(json_string_value(json_object_get(report.root, "opens_subscriptions")),
			 "spock");
	report.err = stderr;
	end();
	free(said);
}
