/* Command lines that others run. */
#include "commands/command_line.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct agent agent;
static struct error why;
static char line[COMMAND_LINE_MAX], path[PATH_MAX];

static void give(enum option_id id, const char *text)
{
	agent.options.value[id].given = true;
	agent.options.value[id].text = text;
}

Test(command_line, paths_become_absolute_and_lose_their_last_slash)
{
	char here[PATH_MAX], expected[3 * PATH_MAX];

	cr_assert_eq(command_line_absolute("/srv/look//", path, &why), ERR_NONE);
	cr_expect_str_eq(path, "/srv/look");
	cr_assert_eq(command_line_absolute("/", path, &why), ERR_NONE);
	cr_expect_str_eq(path, "/");
	cr_assert_not_null(getcwd(here, sizeof(here)));
	(void)snprintf(expected, sizeof(expected), "%s/look", here);
	cr_assert_eq(command_line_absolute("look", path, &why), ERR_NONE);
	cr_expect_str_eq(path, expected);
}

Test(command_line, a_path_that_does_not_fit_is_refused)
{
	static char text[PATH_MAX + 10];

	memset(text, 'x', sizeof(text) - 1);
	text[0] = '/';
	cr_expect_eq(command_line_absolute(text, path, &why), ERR_CONFIG);
}

Test(command_line, without_a_configuration_it_names_place_key_and_cluster)
{
	give(OPTION_REPO, "/mnt/it's here");
	give(OPTION_KEY_FILE, "/root/local.key");
	cr_assert_eq(command_line_source(&agent, NULL, "main", line, &why), ERR_NONE);
	cr_expect_str_eq(line, " --repo '/mnt/it'\\''s here' --key-file /root/local.key "
			       "--cluster main");
}

Test(command_line, a_url_stays_as_it_is)
{
	give(OPTION_REPO, "s3://bucket/prefix");
	cr_assert_eq(command_line_source(&agent, NULL, "main", line, &why), ERR_NONE);
	cr_expect_str_eq(line, " --repo s3://bucket/prefix --cluster main");
}

Test(command_line, with_a_configuration_it_names_the_file_and_the_repositories_used)
{
	struct config_repo one = {.section = {.name = (char *)"local"}};
	struct config_repo two = {.section = {.name = (char *)"offsite"}};
	struct places places = {.place = {{.config = &one}, {.config = &two}}, .count = 2};
	char program[PATH_MAX], expected[3 * PATH_MAX];

	/* Any file that exists will do. */
	cr_assert_eq(command_line_program(program, &why), ERR_NONE);
	give(OPTION_CONFIG, program);
	cr_assert_eq(command_line_for(&agent, "archive-get", &places, "main", line, &why),
		     ERR_NONE);
	(void)snprintf(expected, sizeof(expected),
		       "%s archive-get --config %s --repo local,offsite --cluster main", program,
		       program);
	cr_expect_str_eq(line, expected);
}

Test(command_line, a_configuration_that_is_gone_is_named)
{
	give(OPTION_CONFIG, "/nonexistent/pgagent.conf");
	cr_expect_eq(command_line_source(&agent, NULL, "main", line, &why), ERR_CONFIG);
	cr_expect(strstr(why.text, "/nonexistent/pgagent.conf") != NULL, "%s", why.text);
}

Test(command_line, what_was_typed_comes_again_without_what_is_left_out)
{
	static const struct option_spec own[] = {
		{.id = OPTION_PGDATA, .letter = 'D', .name = "pgdata", .takes = TAKES_TEXT},
		{.id = OPTION_SET, .name = "set", .takes = TAKES_LIST},
		{.id = OPTION_TIMELINE, .name = "timeline", .takes = TAKES_TEXT},
		{.id = OPTION_TO_LSN, .name = "to-lsn", .takes = TAKES_TEXT},
		{.id = OPTION_START, .name = "start"},
	};
	static const struct command_spec restore = {
		.name = "restore", .options = own, .options_count = 5};
	const enum option_id without[] = {OPTION_TIMELINE};
	char expected[2 * PATH_MAX];

	agent.options.command = &restore;
	give(OPTION_CLUSTER, "main");
	give(OPTION_PGDATA, "it's");
	give(OPTION_TIMELINE, "latest");
	give(OPTION_SET, "b=2");
	give(OPTION_TO_LSN, "0/1");
	give(OPTION_START, NULL);
	agent.options.value[OPTION_TO_LSN].from_environment = true;
	agent.options.listed[0].id = agent.options.listed[1].id = OPTION_SET;
	agent.options.listed[0].text = "a=1 2";
	agent.options.listed[1].text = "b=2";
	agent.options.listed_count = 2;
	cr_assert_eq(command_line_again(&agent, without, 1, line, &why), ERR_NONE, "%s", why.text);
	cr_assert_eq(command_line_add(line, OPTION_TIMELINE, "7", &agent, &why), ERR_NONE);
	cr_assert_eq(command_line_program(path, &why), ERR_NONE);
	(void)snprintf(expected, sizeof(expected),
		       "%s restore --cluster main --pgdata 'it'\\''s' --set 'a=1 2' --set b=2 "
		       "--start --timeline 7",
		       path);
	cr_expect_str_eq(line, expected);
	cr_expect_eq(command_line_add(line, OPTION_LABEL, "x", &agent, &why), ERR_CONFIG);
}
