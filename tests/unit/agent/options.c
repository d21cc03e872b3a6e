/* The command line and the environment. */
#include "options.h"

#include "commands/commands.h"
#include "help.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct command_spec *const specs[] = {
	&spec_init,         &spec_check,       &spec_backup,  &spec_list,    &spec_show,
	&spec_archive_push, &spec_archive_get, &spec_restore, &spec_verify,  &spec_key,
	&spec_config,       &spec_status,      &spec_help,    &spec_version,
};
enum { SPECS = sizeof(specs) / sizeof(specs[0]) };

static struct options o;
static struct error why;
static char *environment[8];
static char *arguments[32];

#define PARSE(...) parse((const char *const[]){"pgagent", __VA_ARGS__, NULL})

static enum err parse(const char *const *argv)
{
	struct options_input input = {specs, SPECS, arguments, 0, environment};

	for (; argv[input.argc] != NULL; input.argc++)
		arguments[input.argc] = (char *)(uintptr_t)argv[input.argc];
	return options_parse(&o, &input, &why);
}

Test(options, values_come_with_a_blank_or_an_equals_sign)
{
	cr_assert_eq(PARSE("restore", "--to-time", "now ago", "--pgdata=/a b"), ERR_NONE, "%s",
		     why.text);
	cr_expect_eq(o.command, &spec_restore);
	cr_expect_str_eq(option_text(&o, OPTION_TO_TIME), "now ago");
	cr_expect_str_eq(option_text(&o, OPTION_PGDATA), "/a b");
	cr_expect_not(option_given(&o, OPTION_PLAN));
}

Test(options, global_options_stand_before_or_after_the_command)
{
	cr_assert_eq(PARSE("-c", "/x", "--cluster", "main", "list", "--output=json", "-v"),
		     ERR_NONE, "%s", why.text);
	cr_expect_str_eq(option_text(&o, OPTION_CONFIG), "/x");
	cr_expect_str_eq(option_text(&o, OPTION_CLUSTER), "main");
	cr_expect_str_eq(option_text(&o, OPTION_OUTPUT), "json");
	cr_expect(option_given(&o, OPTION_VERBOSE));
}

Test(options, letters_may_be_bundled_and_take_values)
{
	cr_assert_eq(PARSE("restore", "-vyD/dir", "-j4"), ERR_NONE, "%s", why.text);
	cr_expect(option_given(&o, OPTION_YES));
	cr_expect_str_eq(option_text(&o, OPTION_PGDATA), "/dir");
	cr_expect_eq(option_number(&o, OPTION_JOBS, 1), 4);
	cr_assert_eq(PARSE("restore", "-D", "/other"), ERR_NONE);
	cr_expect_str_eq(option_text(&o, OPTION_PGDATA), "/other");
}

Test(options, aliases_are_accepted)
{
	cr_assert_eq(PARSE("restore", "--dry-run", "--target-dir", "/d"), ERR_NONE, "%s", why.text);
	cr_expect(option_given(&o, OPTION_PLAN));
	cr_expect_str_eq(option_text(&o, OPTION_PGDATA), "/d");
	cr_assert_eq(PARSE("info"), ERR_NONE);
	cr_expect_eq(o.command, &spec_list);
	cr_assert_eq(PARSE("backup", "--type=incr"), ERR_NONE);
	cr_expect_str_eq(option_text(&o, OPTION_TYPE), "incremental");
}

Test(options, arguments_are_kept_in_order)
{
	cr_assert_eq(PARSE("archive-get", "--cluster", "c", "000000010000000000000001", "--",
			   "-strange"),
		     ERR_NONE, "%s", why.text);
	cr_assert_eq(o.arguments_count, 2);
	cr_expect_str_eq(o.arguments[0], "000000010000000000000001");
	cr_expect_str_eq(o.arguments[1], "-strange");
}

Test(options, too_few_and_too_many_arguments_are_refused)
{
	cr_assert_eq(PARSE("archive-push"), ERR_CONFIG);
	cr_expect_not_null(strstr(why.hint, "archive-push PATH"), "%s", why.hint);
	cr_assert_eq(PARSE("archive-push", "a", "b"), ERR_CONFIG);
	cr_expect_not_null(strstr(why.text, "b"), "%s", why.text);
}

Test(options, an_unknown_option_names_the_nearest)
{
	cr_assert_eq(PARSE("restore", "--to-tme", "x"), ERR_CONFIG);
	cr_expect_not_null(strstr(why.text, "--to-tme"), "%s", why.text);
	cr_expect_not_null(strstr(why.hint, "--to-time"), "%s", why.hint);
	cr_assert_eq(PARSE("restore", "--target-time", "x"), ERR_CONFIG);
	cr_expect_not_null(strstr(why.hint, "--to-time"), "another tool's word: %s", why.hint);
	cr_assert_eq(PARSE("version", "--hepl"), ERR_CONFIG);
	cr_expect_not_null(strstr(why.hint, "--help"), "the same first letter: %s", why.hint);
	cr_assert_eq(PARSE("restore", "--xyzzyfrobnicate"), ERR_CONFIG);
	cr_expect_not_null(strstr(why.hint, "restore --help"), "%s", why.hint);
}

Test(options, an_option_of_a_command_before_the_command_is_explained)
{
	cr_assert_eq(PARSE("-D", "/x", "restore"), ERR_CONFIG);
	cr_expect_not_null(strstr(why.text, "before the command"), "%s", why.text);
}

Test(options, an_unknown_command_names_the_nearest)
{
	cr_assert_eq(PARSE("restor"), ERR_CONFIG);
	cr_expect_not_null(strstr(why.text, "restor"), "%s", why.text);
	cr_expect_not_null(strstr(why.hint, "restore"), "%s", why.hint);
	cr_assert_eq(PARSE("stanza-create"), ERR_CONFIG);
	cr_expect_not_null(strstr(why.hint, "init"), "%s", why.hint);
}

Test(options, a_missing_value_is_refused)
{
	cr_assert_eq(PARSE("restore", "--to-time"), ERR_CONFIG);
	cr_expect_not_null(strstr(why.text, "--to-time"), "%s", why.text);
	cr_assert_eq(PARSE("restore", "-D"), ERR_CONFIG);
	cr_assert_eq(PARSE("restore", "--to-time="), ERR_CONFIG);
	cr_assert_eq(PARSE("restore", "--plan=yes"), ERR_CONFIG);
}

Test(options, two_targets_exclude_each_other)
{
	cr_assert_eq(PARSE("restore", "--to-time", "x", "--to-latest"), ERR_CONFIG);
	cr_expect_not_null(strstr(why.text, "--to-time"), "%s", why.text);
	cr_expect_not_null(strstr(why.text, "--to-latest"), "%s", why.text);
	cr_assert_eq(PARSE("restore", "--side", "--in-place"), ERR_CONFIG);
	cr_assert_eq(PARSE("restore", "--to-lsn", "0/1", "--to-lsn", "0/2"), ERR_CONFIG);
	cr_expect_not_null(strstr(why.text, "twice"), "%s", why.text);
}

Test(options, values_are_checked_while_parsing)
{
	cr_assert_eq(PARSE("restore", "--port", "70000"), ERR_CONFIG);
	cr_expect_not_null(strstr(why.text, "--port"), "%s", why.text);
	cr_assert_eq(PARSE("restore", "--action", "explode"), ERR_CONFIG);
	cr_expect_not_null(strstr(why.text, "promote"), "the choices are named: %s", why.text);
	cr_assert_eq(PARSE("restore", "--to-xid", "abc"), ERR_CONFIG);
	cr_assert_eq(PARSE("backup", "--max-rate", "100"), ERR_CONFIG);
	cr_expect_not_null(strstr(why.hint, "MB"), "a bare number has no unit: %s", why.hint);
	cr_assert_eq(PARSE("backup", "--max-rate", "100MB"), ERR_NONE, "%s", why.text);
	cr_expect_eq(option_number(&o, OPTION_MAX_RATE, 0), 100000000);
}

Test(options, repeatable_options_keep_their_order)
{
	size_t at = 0;

	cr_assert_eq(PARSE("restore", "--set", "a=1", "--tablespace", "t=/t", "--set=b=2"),
		     ERR_NONE, "%s", why.text);
	cr_expect_str_eq(option_next(&o, OPTION_SET, &at), "a=1");
	cr_expect_str_eq(option_next(&o, OPTION_SET, &at), "b=2");
	cr_expect_null(option_next(&o, OPTION_SET, &at));
}

Test(options, the_environment_stands_below_the_command_line)
{
	environment[0] = (char[]){"PGAGENT_TO_TIME=10 minutes ago"};
	environment[1] = (char[]){"PGAGENT_CLUSTER=env"};
	environment[2] = (char[]){"PGAGENT_PLAN=on"};
	environment[3] = (char[]){"PGAGENT_YES=no"};
	cr_assert_eq(PARSE("restore", "--cluster", "cli"), ERR_NONE, "%s", why.text);
	cr_expect_str_eq(option_text(&o, OPTION_TO_TIME), "10 minutes ago");
	cr_expect_str_eq(option_text(&o, OPTION_CLUSTER), "cli");
	cr_expect(option_given(&o, OPTION_PLAN));
	cr_expect_not(option_given(&o, OPTION_YES));

	cr_assert_eq(PARSE("restore", "--to-lsn", "0/1"), ERR_NONE, "%s", why.text);
	cr_expect_null(option_text(&o, OPTION_TO_TIME), "another target on the command line wins");
	cr_assert_eq(PARSE("list"), ERR_NONE, "%s", why.text);
}

Test(options, a_bad_value_in_the_environment_names_the_variable)
{
	environment[0] = (char[]){"PGAGENT_PORT=none"};
	cr_assert_eq(PARSE("restore"), ERR_CONFIG);
	cr_expect_not_null(strstr(why.text, "PGAGENT_PORT"), "%s", why.text);
	environment[0] = (char[]){"PGAGENT_PLAN=perhaps"};
	cr_assert_eq(PARSE("restore"), ERR_CONFIG);
	cr_expect_not_null(strstr(why.text, "PGAGENT_PLAN"), "%s", why.text);
}

Test(options, the_first_argument_may_be_an_action)
{
	cr_assert_eq(PARSE("config", "check"), ERR_NONE, "%s", why.text);
	cr_assert_eq(PARSE("config", "chekc"), ERR_CONFIG);
	cr_expect_not_null(strstr(why.hint, "config check"), "%s", why.hint);
	cr_assert_eq(PARSE("config"), ERR_CONFIG);
}

Test(options, the_command_is_known_even_after_a_failure)
{
	cr_assert_eq(PARSE("--bogus", "archive-get", "f", "p", "--output", "json"), ERR_CONFIG);
	cr_assert_not_null(o.command, "the exit code depends on it");
	cr_expect_eq(o.command, &spec_archive_get);
	cr_expect_str_eq(option_text(&o, OPTION_OUTPUT), "json");
}

Test(options, no_two_options_of_a_command_share_a_name)
{
	for (size_t s = 0; s < SPECS; s++)
		for (size_t i = 0; i < specs[s]->options_count; i++) {
			const struct option_spec *a = &specs[s]->options[i];

			for (size_t n = 0; n < options_global_count; n++)
				cr_expect(strcmp(a->name, options_global[n].name) != 0 &&
						  (a->letter == 0 ||
						   a->letter != options_global[n].letter),
					  "%s: --%s is global", specs[s]->name, a->name);
			for (size_t n = 0; n < i; n++)
				cr_expect(strcmp(a->name, specs[s]->options[n].name) != 0 &&
						  a->id != specs[s]->options[n].id,
					  "%s: --%s twice", specs[s]->name, a->name);
		}
}

/* Lines and the longest line of a page. */
static void measure(const struct writer *page, size_t *lines, size_t *longest)
{
	size_t column = 0;

	*lines = *longest = 0;
	for (size_t i = 0; i < page->len; i++) {
		column = page->data[i] == '\n' ? 0 : column + 1;
		*lines += page->data[i] == '\n';
		*longest = column > *longest ? column : *longest;
	}
}

Test(options, every_help_page_fits_one_screen_and_names_every_option)
{
	struct writer page;
	size_t lines, longest;

	for (size_t s = 0; s < SPECS; s++) {
		writer_init(&page, HELP_BYTES_MAX);
		help_command(&page, specs[s]);
		measure(&page, &lines, &longest);
		cr_expect_leq(lines, HELP_LINES_MAX, "%s: %zu lines", specs[s]->name, lines);
		cr_expect_leq(longest, HELP_COLUMNS_MAX, "%s: %zu columns", specs[s]->name,
			      longest);
		writer_u8(&page, 0);
		cr_assert_not(page.bad);
		cr_expect_not_null(strstr((char *)page.data, "Example"));
		for (size_t i = 0; i < specs[s]->options_count; i++)
			cr_expect_not_null(strstr((char *)page.data, specs[s]->options[i].name),
					   "%s: --%s", specs[s]->name, specs[s]->options[i].name);
		writer_release(&page);
	}
	writer_init(&page, HELP_BYTES_MAX);
	help_overview(&page, specs, SPECS);
	measure(&page, &lines, &longest);
	cr_expect_leq(lines, HELP_LINES_MAX);
	cr_expect_leq(longest, HELP_COLUMNS_MAX);
	writer_release(&page);
}

Test(options, every_command_of_the_table_is_found_by_its_name)
{
	for (size_t i = 0; i < commands_count; i++)
		cr_expect_eq(command_of_name(commands[i].spec->name), &commands[i]);
	cr_expect_null(command_of_name("daemon"), "later work does not exist yet");
}

Test(options, a_misspelt_archive_get_keeps_its_exit_codes)
{
	/* PostgreSQL promotes on the usual code of a usage error. */
	cr_assert_eq(PARSE("archive-gett", "000000010000000000000001", "pg_wal/RECOVERYXLOG"),
		     ERR_CONFIG);
	cr_expect_eq(o.command, &spec_archive_get);
	cr_assert_eq(PARSE("archiv-get", "000000010000000000000001", "x"), ERR_CONFIG);
	cr_expect_eq(o.command, &spec_archive_get);
	cr_assert_eq(PARSE("bakcup"), ERR_CONFIG);
	cr_expect_null(o.command);
}
