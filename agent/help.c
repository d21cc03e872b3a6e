/* help.c - help pages from the option tables. */
#include "help.h"

#include <stdio.h>

enum { SYNOPSIS_COLUMNS = 34 };

static size_t synopsis(char *out, size_t size, const struct option_spec *o)
{
	char letter[8] = "";
	int n;

	if (o->letter != 0)
		(void)snprintf(letter, sizeof(letter), "-%c, ", o->letter); /* 4 characters */
	n = snprintf(out, size, "%s--%s%s%s", letter, o->name, o->argument != NULL ? " " : "",
		     o->argument != NULL ? o->argument : "");
	return n < 0 ? 0 : (size_t)n;
}

/* One line for each option; options without a help line of their own share the next one's. */
static void options_lines(struct writer *out, const struct option_spec *options, size_t count)
{
	char left[128];
	size_t len = 0;

	for (size_t i = 0; i < count && len < sizeof(left); i++) {
		len += synopsis(left + len, sizeof(left) - len, &options[i]);
		if (options[i].help == NULL && len + 3 < sizeof(left)) {
			len += (size_t)snprintf(left + len, sizeof(left) - len, ", ");
			continue;
		}
		writer_text(out, "  %-*s  %s\n", SYNOPSIS_COLUMNS, left, options[i].help);
		len = 0;
	}
}

static void examples(struct writer *out, const char *text)
{
	for (const char *end; *text != '\0'; text = *end == '\n' ? end + 1 : end) {
		for (end = text; *end != '\0' && *end != '\n'; end++)
			;
		writer_text(out, "  %.*s\n", (int)(end - text), text);
	}
}

void help_overview(struct writer *out, const struct command_spec *const *specs, size_t count)
{
	writer_text(out, "Backup and point-in-time recovery for PostgreSQL.\n"
			 "Usage: pgagent [global options] COMMAND [options] [arguments]\n");
	for (size_t i = 0; i < count; i++)
		writer_text(out, "  %-13s %s\n", specs[i]->name, specs[i]->summary);
	writer_text(out,
		    "Global options (each also from the environment, as PGAGENT_LOG_LEVEL):\n");
	options_lines(out, options_global, options_global_count);
	writer_text(out, "Example: pgagent help %s\n", count > 0 ? specs[0]->name : "COMMAND");
}

void help_command(struct writer *out, const struct command_spec *spec)
{
	writer_text(out, "Usage: pgagent %s%s%s%s\n%s%s%s%s\n", spec->name,
		    spec->options_count > 0 ? " [options]" : "",
		    *spec->arguments != '\0' ? " " : "", spec->arguments, spec->summary,
		    spec->alias != NULL ? " (also: " : "", spec->alias != NULL ? spec->alias : "",
		    spec->alias != NULL ? ")" : "");
	if (spec->options_count > 0)
		options_lines(out, spec->options, spec->options_count);
	writer_text(out,
		    "Global: -c FILE, --cluster NAME, --repo NAME|PATH, --output json, -v, -y; "
		    "see \"pgagent help\"\nExample:\n");
	examples(out, spec->example);
}
