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
