/* Log lines, escaping, the progress line. */
#include "log.h"

#include "escape.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct test_clock {
	struct clock clock;
	int64_t us;
};

static int64_t test_now(struct clock *c)
{
	return ((struct test_clock *)c)->us;
}

static void test_sleep(struct clock *c, int64_t us)
{
	((struct test_clock *)c)->us += us;
}

static const struct clock_ops ops = {test_now, test_now, test_now, test_sleep};
static struct test_clock test_clock = {{&ops}, INT64_C(1795442700123456)};
static char *text;
static size_t size;

Test(log, a_line_has_time_with_zone_process_and_level)
{
	char line[LOG_LINE_MAX], expected[128];
	struct log log;

	setenv("TZ", "Europe/Paris", 1);
	log_init(&log, &test_clock.clock, stderr, LEVEL_INFO, false, NULL);
	(void)log_line(&log, LEVEL_WARNING, test_clock.us, "slot is gone\nERROR: forged", line);
	(void)snprintf(expected, sizeof(expected),
		       "2026-11-23 15:05:00.123+01:00 [%d] WARNING:  slot is gone\\x0aERROR: "
		       "forged\n",
		       (int)getpid());
	cr_expect_str_eq(line, expected);
}

Test(log, json_lines_are_json)
{
	char line[LOG_LINE_MAX];
	struct log log;
	json_t *got;
	size_t len;

	log_init(&log, &test_clock.clock, stderr, LEVEL_INFO, true, NULL);
	len = log_line(&log, LEVEL_ERROR, test_clock.us, "bad \"name\" \xff\x1b", line);
	cr_assert_gt(len, 0);
	cr_expect_eq(line[len - 1], '\n');
	got = json_loadb(line, len, 0, NULL);
	cr_assert_not_null(got);
	cr_expect_str_eq(json_string_value(json_object_get(got, "level")), "error");
	cr_expect_str_eq(json_string_value(json_object_get(got, "time")),
			 "2026-11-23T14:05:00.123456Z");
	cr_expect_str_eq(json_string_value(json_object_get(got, "message")),
			 "bad \"name\" \\xff\\x1b");
	json_decref(got);
}

Test(log, the_longest_event_still_makes_a_json_line)
{
	char event[1024], line[LOG_LINE_MAX];
	struct log log;

	memset(event, '\x01', sizeof(event) - 1);
	event[sizeof(event) - 1] = '\0';
	log_init(&log, &test_clock.clock, stderr, LEVEL_INFO, true, NULL);
	cr_expect_gt(log_line(&log, LEVEL_ERROR, test_clock.us, event, line), 4000);
}

Test(log, events_above_the_level_are_not_written)
{
	FILE *err = open_memstream(&text, &size);
	struct log log;

	log_init(&log, &test_clock.clock, err, LEVEL_WARNING, false, NULL);
	log_event(&log, LEVEL_INFO, "quiet");
	log_event(&log, LEVEL_DEBUG, "quieter");
	log_event(&log, LEVEL_WARNING, "loud %d", 1);
	fclose(err);
	cr_expect_null(strstr(text, "quiet"));
	cr_expect_not_null(strstr(text, "loud 1"));
	free(text);
}

Test(log, progress_is_erased_before_a_line)
{
	FILE *err = open_memstream(&text, &size);
	struct progress p = {.phase = "backup", .done_bytes = 1};
	struct progress_line line;
	struct log log;

	progress_init(&line, &test_clock.clock, err, true);
	log_init(&log, &test_clock.clock, err, LEVEL_INFO, false, &line);
	observer_progress(&log.observer, &p);
	log_event(&log, LEVEL_INFO, "event");
	log_event(&log, LEVEL_INFO, "event");
	fclose(err);
	cr_expect_eq(strncmp(text, "\rbackup  1 B\033[K\r\033[K2026", 22), 0, "%s", text);
	cr_expect_null(strstr(strstr(text, "event"), "\r"), "erased once only");
	free(text);
}

Test(escape, keeps_clean_utf8_and_escapes_the_rest)
{
	static const char *const cases[][2] = {
		{"plain", "plain"},
		{"h\xc3\xa4user \xe2\x82\xac \xf0\x9f\x98\x80",
		 "h\xc3\xa4user \xe2\x82\xac \xf0\x9f\x98\x80"},
		{"\x1b[31m", "\\x1b[31m"},
		{"\xc2\x9b", "\\xc2\\x9b"},          /* C1 control */
		{"\xc0\xaf", "\\xc0\\xaf"},          /* overlong */
		{"\xed\xa0\x80", "\\xed\\xa0\\x80"}, /* surrogate */
		{"\xe2\x82", "\\xe2\\x82"},          /* cut */
		{"\xff", "\\xff"},
		{"a\tb\n", "a\\x09b\\x0a"},
		{"\x7f", "\\x7f"},
	};
	char out[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)escape_text(bytes_of_text(cases[i][0]), out, sizeof(out), false);
		cr_expect_str_eq(out, cases[i][1]);
	}
}

Test(escape, never_cuts_an_escape_or_a_character)
{
	char out[6];

	cr_expect_eq(escape_text(bytes_of_text("ab\x1b"), out, sizeof(out), false), 2);
	cr_expect_str_eq(out, "ab");
	cr_expect_eq(escape_text(bytes_of_text("abcd\xc3\xa4"), out, sizeof(out), false), 4);
	cr_expect_str_eq(out, "abcd");
}

Test(escape, shell_words_are_quoted_where_they_must_be)
{
	static const char *const cases[][2] = {
		{"/usr/bin/pgagent", "/usr/bin/pgagent"},
		{"", "''"},
		{"10 minutes ago", "'10 minutes ago'"},
		{"it's", "'it'\\''s'"},
		{"$(rm -rf /)", "'$(rm -rf /)'"},
		{"~", "'~'"},
		{"a;b", "'a;b'"},
	};
	char out[64], small[4];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_expect(escape_shell(cases[i][0], out, sizeof(out)));
		cr_expect_str_eq(out, cases[i][1]);
	}
	cr_expect_not(escape_shell("a b", small, sizeof(small)));
	cr_expect_str_eq(small, "");
}

#define GIB (UINT64_C(1) << 30)

Test(progress, shows_share_rate_and_time_left)
{
	struct progress p = {.phase = "backup", .done_bytes = GIB, .total_bytes = 4 * GIB};
	char out[PROGRESS_TEXT_MAX];

	progress_text(&p, 10 * INT64_C(1000000), GIB, out);
	cr_expect_str_eq(out, "backup  1.0 GiB of 4.0 GiB  25 %  102 MiB/s  30.0 s left");
}

Test(progress, says_nothing_it_does_not_know)
{
	struct progress p = {.phase = "waiting for checkpoint"};
	char out[PROGRESS_TEXT_MAX];

	progress_text(&p, 10 * INT64_C(1000000), 0, out);
	cr_expect_str_eq(out, "waiting for checkpoint");
	p = (struct progress){.phase = "backup", .done_bytes = GIB};
	progress_text(&p, 100, GIB, out);
	cr_expect_str_eq(out, "backup  1.0 GiB");
	p = (struct progress){.phase = "verify", .done_items = 3, .total_items = 7};
	progress_text(&p, 100, 0, out);
	cr_expect_str_eq(out, "verify  3 of 7");
}

Test(progress, an_estimate_that_was_too_low_never_says_done)
{
	struct progress p = {.phase = "backup", .done_bytes = 2 * GIB, .total_bytes = GIB};
	char out[PROGRESS_TEXT_MAX];

	progress_text(&p, INT64_C(10000000), GIB, out);
	cr_expect_not_null(strstr(out, "99 %"), "%s", out);
	cr_expect_null(strstr(out, "left"), "%s", out);
}

Test(progress, is_written_five_times_a_second_at_most)
{
	FILE *err = open_memstream(&text, &size);
	struct progress p = {.phase = "backup", .total_bytes = GIB};
	struct progress_line line;
	size_t updates = 0;

	progress_init(&line, &test_clock.clock, err, true);
	for (int i = 0; i < 1000; i++) {
		test_clock.us += 1000;
		p.done_bytes += 1000;
		progress_show(&line, &p);
	}
	fclose(err);
	for (const char *at = text; (at = strchr(at, '\r')) != NULL; at++)
		updates++;
	cr_expect(updates >= 4 && updates <= 6, "%zu updates in a second", updates);
	free(text);
}

Test(progress, is_quiet_when_off)
{
	FILE *err = open_memstream(&text, &size);
	struct progress p = {.phase = "backup", .done_bytes = 1};
	struct progress_line line;

	progress_init(&line, &test_clock.clock, err, false);
	progress_show(&line, &p);
	progress_erase(&line);
	fclose(err);
	cr_expect_eq(size, 0);
	free(text);
}
