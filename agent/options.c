/* options.c - walks argv once, then the environment, by the tables of the command. */
#include "options.h"

#include "base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array[0]))

const struct option_spec options_global[] = {
	{.id = OPTION_CONFIG,
	 .letter = 'c',
	 .name = "config",
	 .takes = TAKES_TEXT,
	 .argument = "FILE",
	 .help = "configuration file (/etc/pgagent/pgagent.conf)"},
	{.id = OPTION_CLUSTER,
	 .name = "cluster",
	 .takes = TAKES_TEXT,
	 .argument = "NAME",
	 .help = "the [cluster:NAME] section; may be left out when there is one"},
	{.id = OPTION_REPO,
	 .name = "repo",
	 .takes = TAKES_TEXT,
	 .argument = "NAME|PATH|URL",
	 .help = "only this one; a path or URL needs no configuration file"},
	{.id = OPTION_OUTPUT,
	 .name = "output",
	 .takes = TAKES_CHOICE,
	 .argument = "text|json",
	 .choices = "text|json",
	 .help = "what is written to stdout (text)"},
	{.id = OPTION_LOG_LEVEL,
	 .name = "log-level",
	 .takes = TAKES_CHOICE,
	 .argument = "LEVEL",
	 .choices = "error|warning|info|debug",
	 .help = "error, warning, info or debug (info)"},
	{.id = OPTION_LOG_FORMAT,
	 .name = "log-format",
	 .takes = TAKES_CHOICE,
	 .argument = "text|json",
	 .choices = "text|json",
	 .help = "form of the log on stderr (text)"},
	{.id = OPTION_VERBOSE, .letter = 'v', .name = "verbose", .help = "as --log-level debug"},
	{.id = OPTION_PROGRESS, .name = "progress", .set = SET_PROGRESS},
	{.id = OPTION_NO_PROGRESS,
	 .name = "no-progress",
	 .set = SET_PROGRESS,
	 .help = "a live line on stderr (on a terminal)"},
	{.id = OPTION_YES, .letter = 'y', .name = "yes", .help = "answer yes to every question"},
	{.id = OPTION_VERSION, .letter = 'V', .name = "version", .help = "print the version"},
	{.id = OPTION_HELP, .letter = 'h', .name = "help", .help = "print this page"},
};
const size_t options_global_count = COUNT(options_global);

struct walk {
	struct options *out;
	const struct options_input *in;
	struct error *why;
};

static const struct option_spec *find_in(const struct option_spec *specs, size_t count,
					 const char *name, size_t len)
{
	for (size_t i = 0; i < count; i++) {
		const char *names[] = {specs[i].name, specs[i].alias};

		for (size_t n = 0; n < COUNT(names); n++)
			if (names[n] != NULL && strlen(names[n]) == len &&
			    strncmp(names[n], name, len) == 0)
				return &specs[i];
	}
	return NULL;
}

static const struct option_spec *find_option(const struct command_spec *command, const char *name,
					     size_t len)
{
	const struct option_spec *found = NULL;

	if (command != NULL)
		found = find_in(command->options, command->options_count, name, len);
	return found != NULL ? found : find_in(options_global, options_global_count, name, len);
}

static const struct option_spec *find_letter(const struct command_spec *command, char letter)
{
	for (size_t i = 0; command != NULL && i < command->options_count; i++)
		if (command->options[i].letter == letter)
			return &command->options[i];
	for (size_t i = 0; i < options_global_count; i++)
		if (options_global[i].letter == letter)
			return &options_global[i];
	return NULL;
}

static const struct command_spec *find_command(const struct options_input *in, const char *name)
{
	for (size_t i = 0; i < in->commands_count; i++) {
		const struct command_spec *c = in->commands[i];

		if (strcmp(c->name, name) == 0 || (c->alias != NULL && strcmp(c->alias, name) == 0))
			return c;
	}
	return NULL;
}

/* The option as the user would type it. */
static const char *shown(const struct option_spec *spec, bool from_environment, char out[64])
{
	size_t at = (size_t)snprintf(out, 64, from_environment ? "PGAGENT_%s" : "--%s", spec->name);

	if (from_environment)
		for (size_t i = 0; i < at && i < 64; i++)
			out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
	return out;
}

static enum err check_value(const struct option_spec *spec, const char *name, const char *text,
			    struct option_value *out, struct error *why)
{
	size_t len = strlen(text);

	switch (spec->takes) {
	case TAKES_CHOICE:
		if (choice_index(spec->choices, text) < 0)
			return error_set(why, ERR_CONFIG, "%s: \"%s\" is not one of %s", name, text,
					 spec->choices);
		out->text = choice_full_name(spec->choices, text);
		return ERR_NONE;
	case TAKES_NUMBER:
		if (!text_to_u64(bytes_of_text(text), &out->number) || out->number < spec->min ||
		    out->number > spec->max)
			return error_set(why, ERR_CONFIG,
					 "%s: \"%s\" is not a number from %llu to %llu", name, text,
					 (unsigned long long)spec->min,
					 (unsigned long long)spec->max);
		return ERR_NONE;
	case TAKES_RATE:
		if (len == 0 || isdigit((unsigned char)text[len - 1]) ||
		    text_to_size(text, &out->number, NULL) != ERR_NONE) {
			(void)error_set(why, ERR_CONFIG, "%s: \"%s\" is not a rate", name, text);
			error_hint(why, "Write a size with its unit, meant per second: %s 50MB",
				   name);
			return ERR_CONFIG;
		}
		return ERR_NONE;
	case TAKES_TEXT:
	case TAKES_LIST:
		if (len == 0)
			return error_set(why, ERR_CONFIG, "%s: the value is empty", name);
		return ERR_NONE;
	case TAKES_NOTHING:
		break;
	}
	return ERR_NONE;
}

/* Another option of the same set that is there already, or NULL. */
static const struct option_spec *rival(const struct walk *w, const struct option_spec *spec)
{
	const struct command_spec *c = w->out->command;
	const struct option_spec *lists[] = {options_global, c != NULL ? c->options : NULL};
	size_t counts[] = {options_global_count, c != NULL ? c->options_count : 0};

	if (spec->set == SET_NONE)
		return NULL;
	for (size_t l = 0; l < COUNT(lists); l++)
		for (size_t i = 0; i < counts[l]; i++)
			if (lists[l][i].set == spec->set && lists[l][i].id != spec->id &&
			    w->out->value[lists[l][i].id].given)
				return &lists[l][i];
	return NULL;
}

static enum err keep_value(struct walk *w, const struct option_spec *spec, const char *text,
			   bool from_environment)
{
	struct option_value value = {true, from_environment, text, 0};
	const struct option_spec *other = rival(w, spec);
	char name[64], other_name[64];
	enum err err;

	(void)shown(spec, from_environment, name);
	if (other != NULL)
		return error_set(
			w->why, ERR_CONFIG, "%s and %s exclude each other", name,
			shown(other, w->out->value[other->id].from_environment, other_name));
	if (w->out->value[spec->id].given && spec->takes != TAKES_LIST &&
	    spec->takes != TAKES_NOTHING)
		return error_set(w->why, ERR_CONFIG, "%s is given twice", name);
	if (text != NULL && (err = check_value(spec, name, text, &value, w->why)) != ERR_NONE)
		return err;
	if (spec->takes == TAKES_LIST) {
		if (w->out->listed_count == OPTION_LISTED_MAX)
			return error_set(w->why, ERR_CONFIG, "%s: more than %d values", name,
					 OPTION_LISTED_MAX);
		w->out->listed[w->out->listed_count].id = spec->id;
		w->out->listed[w->out->listed_count++].text = text;
	}
	w->out->value[spec->id] = value;
	return ERR_NONE;
}

static enum err unknown_option(struct walk *w, const char *typed, const char *name, size_t len)
{
	const struct command_spec *c = w->out->command;
	const char *names[2 * OPTION_COUNT], *near;
	char text[128];
	size_t n = 0;

	(void)snprintf(text, sizeof(text), "%.*s", (int)len, name); /* cut is far from any name */
	for (size_t i = 0; c != NULL && i < c->options_count; i++) {
		names[n++] = c->options[i].name;
		names[n++] = c->options[i].alias;
	}
	for (size_t i = 0; i < options_global_count; i++)
		names[n++] = options_global[i].name;
	near = nearest_name(text, names, n);
	if (c == NULL)
		(void)error_set(w->why, ERR_CONFIG, "unknown option before the command: %s", typed);
	else
		(void)error_set(w->why, ERR_CONFIG, "unknown option of \"%s\": %s", c->name, typed);
	if (near != NULL)
		error_hint(w->why, "Did you mean --%s?", near);
	else if (c != NULL)
		error_hint(w->why, "Run: pgagent %s --help", c->name);
	else
		error_hint(w->why, "Options of a command come after its name: pgagent COMMAND %s",
			   typed);
	return ERR_CONFIG;
}

/* One long option at argv[*at]; moves *at past its value. */
static enum err take_long(struct walk *w, int *at)
{
	const char *typed = w->in->argv[*at], *name = typed + 2;
	size_t len = strcspn(name, "=");
	const char *value = name[len] == '=' ? name + len + 1 : NULL;
	const struct option_spec *spec = find_option(w->out->command, name, len);

	if (spec == NULL)
		return unknown_option(w, typed, name, len);
	if (spec->takes == TAKES_NOTHING && value != NULL)
		return error_set(w->why, ERR_CONFIG, "--%s takes no value", spec->name);
	if (spec->takes != TAKES_NOTHING && value == NULL) {
		if (*at + 1 >= w->in->argc) {
			return error_set(w->why, ERR_CONFIG, "--%s needs a value: %s", spec->name,
					 spec->argument);
		}
		value = w->in->argv[++*at];
	}
	return keep_value(w, spec, value, false);
}

/* A bundle of letters at argv[*at]; the last may take a value. */
static enum err take_letters(struct walk *w, int *at)
{
	for (const char *p = w->in->argv[*at] + 1; *p != '\0'; p++) {
		const struct option_spec *spec = find_letter(w->out->command, *p);
		const char *value = NULL;
		enum err err;

		if (spec == NULL)
			return unknown_option(w, w->in->argv[*at], p, 1);
		if (spec->takes != TAKES_NOTHING) {
			if (p[1] != '\0')
				value = p[1] == '=' ? p + 2 : p + 1;
			else if (*at + 1 < w->in->argc)
				value = w->in->argv[++*at];
			else
				return error_set(w->why, ERR_CONFIG, "-%c needs a value: %s", *p,
						 spec->argument);
		}
		if ((err = keep_value(w, spec, value, false)) != ERR_NONE || value != NULL)
			return err;
	}
	return ERR_NONE;
}

static enum err take_command(struct walk *w, const char *name)
{
	const char *names[2 * 64], *near;
	size_t n = 0;

	w->out->command = find_command(w->in, name);
	if (w->out->command != NULL)
		return ERR_NONE;
	for (size_t i = 0; i < w->in->commands_count && n + 2 <= COUNT(names); i++) {
		names[n++] = w->in->commands[i]->name;
		names[n++] = w->in->commands[i]->alias;
	}
	near = nearest_name(name, names, n);
	(void)error_set(w->why, ERR_CONFIG, "unknown command: %s", name);
	if (near != NULL)
		error_hint(w->why, "Did you mean \"pgagent %s\"?", near);
	else
		error_hint(w->why, "Run \"pgagent help\" for the list of commands.");
	return ERR_CONFIG;
}

static enum err walk_arguments(struct walk *w)
{
	bool only_arguments = false;
	enum err err = ERR_NONE;
	int kept = 1;

	for (int at = 1; at < w->in->argc && err == ERR_NONE; at++) {
		char *arg = w->in->argv[at];

		if (!only_arguments && strcmp(arg, "--") == 0)
			only_arguments = true;
		else if (!only_arguments && strncmp(arg, "--", 2) == 0)
			err = take_long(w, &at);
		else if (!only_arguments && arg[0] == '-' && arg[1] != '\0')
			err = take_letters(w, &at);
		else if (w->out->command == NULL)
			err = take_command(w, arg);
		else
			w->in->argv[kept++] = arg;
	}
	w->out->arguments = (const char *const *)(w->in->argv + 1);
	w->out->arguments_count = (size_t)(kept - 1);
	return err;
}

static const char *variable(char *const *environment, const char *name)
{
	size_t len = strlen(name);

	for (; environment != NULL && *environment != NULL; environment++)
		if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=')
			return *environment + len + 1;
	return NULL;
}

static enum err take_variable(struct walk *w, const struct option_spec *spec)
{
	static const char yes_or_no[] = "off|on|no=off|yes=on|false=off|true=on|0=off|1=on";
	const struct option_spec *other = rival(w, spec);
	const char *text;
	char name[64];

	/* The command line wins, also with another option of the same set. */
	if (w->out->value[spec->id].given ||
	    (other != NULL && !w->out->value[other->id].from_environment))
		return ERR_NONE;
	text = variable(w->in->environment, shown(spec, true, name));
	if (text == NULL || *text == '\0')
		return ERR_NONE;
	if (spec->takes != TAKES_NOTHING)
		return keep_value(w, spec, text, true);
	switch (choice_index(yes_or_no, text)) {
	case 0:
		return ERR_NONE;
	case 1:
		return keep_value(w, spec, NULL, true);
	default:
		return error_set(w->why, ERR_CONFIG, "%s: \"%s\" is neither on nor off", name,
				 text);
	}
}

static enum err walk_environment(struct walk *w)
{
	const struct command_spec *c = w->out->command;
	enum err err = ERR_NONE;

	for (size_t i = 0; i < options_global_count && err == ERR_NONE; i++)
		if (options_global[i].id != OPTION_VERSION && options_global[i].id != OPTION_HELP)
			err = take_variable(w, &options_global[i]);
	for (size_t i = 0; c != NULL && i < c->options_count && err == ERR_NONE; i++)
		err = take_variable(w, &c->options[i]);
	return err;
}

static enum err check_arguments(const struct options *o, struct error *why)
{
	const struct command_spec *c = o->command;

	if (c->actions != NULL && o->arguments_count > 0 &&
	    choice_index(c->actions, o->arguments[0]) < 0) {
		char words[16][64];
		const char *names[16], *near;
		size_t n = 0;

		while (n < COUNT(names) && choice_name(c->actions, (int)n, words[n], 64)) {
			names[n] = words[n];
			n++;
		}
		near = nearest_name(o->arguments[0], names, n);
		(void)error_set(why, ERR_CONFIG, "%s: \"%s\" is not one of %s", c->name,
				o->arguments[0], c->actions);
		if (near != NULL)
			error_hint(why, "Did you mean \"pgagent %s %s\"?", c->name, near);
		return ERR_CONFIG;
	}
	if (o->arguments_count >= c->arguments_min && o->arguments_count <= c->arguments_max)
		return ERR_NONE;
	if (o->arguments_count < c->arguments_min)
		(void)error_set(why, ERR_CONFIG, "%s: an argument is missing", c->name);
	else
		(void)error_set(why, ERR_CONFIG, "%s: one argument too many: %s", c->name,
				o->arguments[c->arguments_max]);
	error_hint(why, "Usage: pgagent %s%s%s", c->name, *c->arguments != '\0' ? " " : "",
		   c->arguments);
	return ERR_CONFIG;
}

enum { MISSPELT_MAX = 3 /* letters */ };

/* After a failure: what command and what output were most probably meant. */
static void guess_rest(struct options *o, const struct options_input *in)
{
	const char *text = NULL;

	for (int i = 1; i < in->argc && o->command == NULL; i++)
		o->command = find_command(in, in->argv[i]);
	/* A misspelt archive-get in restore_command: PostgreSQL takes the 2 of a usage error for the
	 * end of the archive and promotes, so its own exit codes hold for what is near it, too. */
	for (int i = 1; i < in->argc && o->command == NULL; i++)
		for (size_t n = 0; n < in->commands_count && o->command == NULL; n++)
			if (in->commands[n]->exits == EXITS_ARCHIVE_GET &&
			    text_distance(in->argv[i], in->commands[n]->name, MISSPELT_MAX) <=
				    MISSPELT_MAX)
				o->command = in->commands[n];
	for (int i = 1; i < in->argc && !o->value[OPTION_OUTPUT].given; i++) {
		if (strcmp(in->argv[i], "--output") == 0 && i + 1 < in->argc)
			text = in->argv[i + 1];
		else if (strncmp(in->argv[i], "--output=", 9) == 0)
			text = in->argv[i] + 9;
	}
	if (text == NULL && !o->value[OPTION_OUTPUT].given)
		text = variable(in->environment, "PGAGENT_OUTPUT");
	if (text != NULL && strcmp(text, "json") == 0)
		o->value[OPTION_OUTPUT] = (struct option_value){.given = true, .text = text};
}

enum err options_parse(struct options *out, const struct options_input *in, struct error *why)
{
	struct walk w = {out, in, why};
	enum err err;

	memset(out, 0, sizeof(*out));
	err = walk_arguments(&w);
	if (err == ERR_NONE &&
	    (option_given(out, OPTION_HELP) || option_given(out, OPTION_VERSION)))
		return ERR_NONE;
	if (err == ERR_NONE)
		err = walk_environment(&w);
	if (err == ERR_NONE && out->command != NULL)
		err = check_arguments(out, why);
	if (err != ERR_NONE)
		guess_rest(out, in);
	return err;
}

const char *option_next(const struct options *o, enum option_id id, size_t *at)
{
	while (*at < o->listed_count) {
		size_t i = (*at)++;

		if (o->listed[i].id == id)
			return o->listed[i].text;
	}
	return NULL;
}
