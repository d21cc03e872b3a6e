/* Reports and exit codes. */
#include "report.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *out_text, *err_text;
static size_t out_size, err_size;
static struct report report;
static struct error why;

static void begin(bool json)
{
	FILE *out = open_memstream(&out_text, &out_size);
	FILE *err = open_memstream(&err_text, &err_size);

	cr_assert_eq(report_init(&report, out, err, json, "list", &why), ERR_NONE);
}

static int end(int code)
{
	int answer = report_finish(&report, code, false);

	fclose(report.out);
	fclose(report.err);
	report_release(&report);
	return answer;
}

static void forget(void)
{
	free(out_text);
	free(err_text);
}

Test(report, text_goes_to_stdout_and_no_json)
{
	begin(false);
	report_text(&report, "%d backups\n", 3);
	report_put(report.root, "n", json_integer(3));
	cr_assert_eq(end(EXIT_DONE), EXIT_DONE);
	cr_expect_str_eq(out_text, "3 backups\n");
	cr_expect_str_eq(err_text, "");
	forget();
}

Test(report, json_is_one_document_and_nothing_else)
{
	json_t *got;

	begin(true);
	report_text(&report, "3 backups\n");
	report_put(report.root, "at", report_json_time(INT64_C(1795442700) * 1000000));
	report_put(report.root, "lsn", report_json_lsn(lsn_of(0x3000028)));
	report_put(report.root, "unknown", report_json_time(0));
	report_put(report.root, "label", report_json_text("caf\xe9\x1b"));
	report_put(report.root, "big", report_json_u64(UINT64_MAX));
	cr_assert_eq(end(EXIT_DONE), EXIT_DONE);
	got = json_loads(out_text, 0, NULL);
	cr_assert_not_null(got, "%s", out_text);
	cr_expect_str_eq(json_string_value(json_object_get(got, "schema")), "pgagent.v1");
	cr_expect_str_eq(json_string_value(json_object_get(got, "command")), "list");
	cr_expect_str_eq(json_string_value(json_object_get(got, "at")),
			 "2026-11-23T14:05:00.000000Z");
	cr_expect_str_eq(json_string_value(json_object_get(got, "lsn")), "0/3000028");
	cr_expect(json_is_null(json_object_get(got, "unknown")));
	cr_expect_str_eq(json_string_value(json_object_get(got, "label")), "caf\\xe9\\x1b");
	cr_expect_str_eq(json_string_value(json_object_get(got, "big")), "18446744073709551615");
	json_decref(got);
	forget();
}

Test(report, an_error_is_text_on_stderr_and_the_whole_document_in_json)
{
	json_t *got, *error;

	begin(true);
	report_put(report.root, "backups", json_array());
	(void)error_set_os(&why, ERR_FULL, 28, "writing /r/pack");
	error_hint(&why, "Free some space.\ndf -h /r");
	report_error(&report, &why);
	cr_assert_eq(end(EXIT_FAILED), EXIT_FAILED);
	cr_expect_str_eq(err_text, "pgagent: error: writing /r/pack: No space left on device\n"
				   "hint: Free some space.\nhint: df -h /r\n");
	got = json_loads(out_text, 0, NULL);
	cr_assert_not_null(got, "%s", out_text);
	cr_expect_null(json_object_get(got, "backups"));
	error = json_object_get(got, "error");
	cr_expect_str_eq(json_string_value(json_object_get(error, "code")), "full");
	cr_expect_not_null(strstr(json_string_value(json_object_get(error, "message")), "/r/pack"));
	cr_expect_str_eq(json_string_value(json_object_get(error, "detail")),
			 "No space left on device");
	cr_expect_not_null(strstr(json_string_value(json_object_get(error, "hint")), "df -h"));
	json_decref(got);
	forget();
}

Test(report, what_must_be_seen_at_once_begins_the_document_that_an_error_ends)
{
	static const bool fails[] = {false, true};

	for (size_t i = 0; i < 2; i++) {
		json_t *got;

		begin(true);
		cr_assert_eq(report_put_now(&report, "code", report_json_text("ABC"), &why),
			     ERR_NONE);
		cr_expect_not_null(strstr(out_text, "\"code\": \"ABC\""), "%s", out_text);
		cr_assert_eq(report_put_now(&report, "more", json_integer(2), &why), ERR_NONE);
		report_put(report.root, "slots", json_array());
		if (fails[i])
			report_error(&report, &(struct error){.kind = ERR_FULL, .text = "no"});
		(void)end(EXIT_DONE);
		got = json_loads(out_text, JSON_REJECT_DUPLICATES, NULL);
		cr_assert_not_null(got, "%s", out_text);
		cr_expect_eq(json_object_size(got), 5);
		cr_expect_str_eq(json_string_value(json_object_get(got, "schema")), "pgagent.v1");
		cr_expect_str_eq(json_string_value(json_object_get(got, "code")), "ABC");
		cr_expect_eq(json_integer_value(json_object_get(got, "more")), 2);
		cr_expect_not_null(json_object_get(got, fails[i] ? "error" : "slots"));
		json_decref(got);
		forget();
	}
	begin(true);
	cr_assert_eq(report_put_now(&report, "code", json_null(), &why), ERR_NONE);
	(void)end(EXIT_DONE);
	cr_expect_str_eq(out_text, "{\n  \"schema\": \"pgagent.v1\",\n  \"command\": \"list\",\n"
				   "  \"code\": null\n}\n");
	forget();
	begin(false);
	report_text(&report, "code ABC\n");
	cr_assert_eq(report_put_now(&report, "code", report_json_text("ABC"), &why), ERR_NONE);
	cr_expect_str_eq(out_text, "code ABC\n");
	(void)end(EXIT_DONE);
	cr_expect_str_eq(out_text, "code ABC\n");
	forget();
}

Test(report, what_cant_be_seen_at_once_is_a_failure)
{
	for (int json = 0; json < 2; json++) {
		begin(json);
		fclose(report.out);
		report.out = fopen("/dev/full", "w");
		cr_assert_not_null(report.out);
		report_text(&report, "code ABC\n");
		cr_expect_eq(report_put_now(&report, "code", report_json_text("ABC"), &why),
			     ERR_IO);
		(void)end(EXIT_DONE);
		forget();
	}
}

Test(report, control_characters_never_reach_the_terminal)
{
	begin(false);
	report_text(&report, "label \x1b[2J\ttab\n");
	(void)error_set(&why, ERR_IO, "name\nwith a newline");
	report_error(&report, &why);
	(void)end(EXIT_FAILED);
	cr_expect_str_eq(out_text, "label \\x1b[2J\ttab\n");
	cr_expect_str_eq(err_text, "pgagent: error: name\\x0awith a newline\n");
	forget();
}

Test(report, long_text_comes_whole)
{
	char text[10001];

	memset(text, '\x01', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	begin(false);
	report_text(&report, "%s", text);
	(void)end(EXIT_DONE);
	cr_expect_eq(out_size, 4 * (sizeof(text) - 1));
	forget();
}

Test(report, stdout_that_cannot_be_written_is_a_failure)
{
	FILE *full = fopen("/dev/full", "w");

	cr_assert_not_null(full);
	begin(false);
	fclose(report.out);
	report.out = full;
	report_text(&report, "something\n");
	cr_expect_eq(report_finish(&report, EXIT_DONE, false), EXIT_FAILED);
	fclose(report.err);
	report_release(&report);
	cr_expect_not_null(strstr(err_text, "No space left on device"), "%s", err_text);
	forget();
}

Test(report, exit_codes_of_ordinary_commands)
{
	cr_expect_eq(report_exit_code(EXITS_USUAL, ERR_NONE, 0), 0);
	cr_expect_eq(report_exit_code(EXITS_USUAL, ERR_IO, 0), 1);
	cr_expect_eq(report_exit_code(EXITS_USUAL, ERR_MISSING, 0), 1);
	cr_expect_eq(report_exit_code(EXITS_USUAL, ERR_CONFIG, 0), 2);
	cr_expect_eq(report_exit_code(EXITS_USUAL, ERR_CORRUPT, 0), 4);
	cr_expect_eq(report_exit_code(EXITS_USUAL, ERR_WRONG_KEY, 0), 4);
	cr_expect_eq(report_exit_code(EXITS_USUAL, ERR_CANCELLED, SIGINT), 130);
	cr_expect_eq(report_exit_code(EXITS_USUAL, ERR_CANCELLED, SIGTERM), 1);
}

Test(report, what_is_not_there_is_3_for_restore_and_show)
{
	cr_expect_eq(report_exit_code(EXITS_TARGET, ERR_MISSING, 0), 3);
	cr_expect_eq(report_exit_code(EXITS_TARGET, ERR_CORRUPT, 0), 4);
	cr_expect_eq(report_exit_code(EXITS_TARGET, ERR_CONFIG, 0), 2);
}

Test(report, archive_get_never_says_end_of_archive_for_an_error)
{
	for (int kind = ERR_MISSING; kind <= ERR_WRONG_KEY; kind++) {
		int get = report_exit_code(EXITS_ARCHIVE_GET, (enum err)kind, SIGINT);
		int push = report_exit_code(EXITS_ARCHIVE_PUSH, (enum err)kind, SIGINT);

		cr_expect_eq(get, 200, "archive-get: %s", error_kind_word((enum err)kind));
		cr_expect(push >= 1 && push <= 125, "archive-push: %s gives %d",
			  error_kind_word((enum err)kind), push);
	}
	cr_expect_eq(report_exit_code(EXITS_ARCHIVE_GET, ERR_NONE, 0), 0);
}

Test(report, what_was_said_before_a_warning_comes_before_it)
{
	FILE *file = tmpfile(), *out, *err;
	char text[200] = "";
	struct report r;
	struct error why;

	cr_assert_not_null(file);
	out = fdopen(dup(fileno(file)), "w"); /* a pipe's buffer: written when it is full */
	err = fdopen(dup(fileno(file)), "w");
	cr_assert(out != NULL && err != NULL);
	cr_assert_eq(setvbuf(err, NULL, _IONBF, 0), 0);
	cr_assert_eq(report_init(&r, out, err, false, "restore", &why), ERR_NONE);
	report_text(&r, "the plan\n");
	report_warning(&r, "the warning");
	cr_assert_eq(fclose(out), 0);
	rewind(file);
	cr_assert_gt(fread(text, 1, sizeof(text) - 1, file), 0);
	cr_assert(strstr(text, "the plan") < strstr(text, "the warning"), "%s", text);
	(void)fclose(err);
	(void)fclose(file);
	report_release(&r);
}
