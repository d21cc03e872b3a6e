/* commands/command_line.c - one's own command line, written out for another caller. */
#include "commands/command_line.h"
#include "escape.h"
#include "programs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum err command_line_program(char out[PATH_MAX], struct error *why)
{
	return programs_front(out, why);
}

enum err command_line_absolute(const char *path, char out[PATH_MAX], struct error *why)
{
	char directory[PATH_MAX] = "";
	size_t len;
	int n;

	if (*path != '/' && getcwd(directory, sizeof(directory)) == NULL)
		return error_set(why, ERR_IO, "the working directory can't be found out");
	n = snprintf(out, PATH_MAX, "%s%s%s", directory, *path != '/' ? "/" : "", path);
	if (n < 0 || n >= PATH_MAX)
		return error_set(why, ERR_CONFIG, "the path %s is too long", path);
	len = (size_t)n;
	while (len > 1 && out[len - 1] == '/')
		out[--len] = '\0';
	return ERR_NONE;
}

/* Adds " TEXT", quoted when it is a `word`. */
static enum err add(char out[COMMAND_LINE_MAX], const char *text, bool is_word, struct error *why)
{
	char quoted[COMMAND_LINE_MAX];
	size_t len = strlen(out);
	int n;

	if (!is_word)
		n = snprintf(out + len, COMMAND_LINE_MAX - len, " %s", text);
	else if (escape_shell(text, quoted, sizeof(quoted)))
		n = snprintf(out + len, COMMAND_LINE_MAX - len, " %s", quoted);
	else
		n = COMMAND_LINE_MAX;
	if (n < 0 || (size_t)n >= COMMAND_LINE_MAX - len)
		return error_set(why, ERR_LIMIT, "a command line with \"%s\" is too long", text);
	return ERR_NONE;
}

static enum err add_option(char out[COMMAND_LINE_MAX], const char *option, const char *value,
			   struct error *why)
{
	enum err e = add(out, option, false, why);

	return e == ERR_NONE ? add(out, value, true, why) : e;
}

static enum err add_place(const struct agent *agent, char out[COMMAND_LINE_MAX], struct error *why)
{
	static const struct {
		enum option_id id;
		const char *name;
	} option[] = {{OPTION_REPO, "--repo"},
		      {OPTION_KEY_FILE, "--key-file"},
		      {OPTION_PASSPHRASE_FILE, "--passphrase-file"}};
	enum err e = ERR_NONE;

	for (size_t i = 0; i < sizeof(option) / sizeof(option[0]) && e == ERR_NONE; i++) {
		const char *text = option_text(&agent->options, option[i].id);
		char path[PATH_MAX];

		if (text == NULL)
			continue;
		if (strstr(text, "://") == NULL)
			e = command_line_absolute(text, path, why);
		if (e == ERR_NONE)
			e = add_option(out, option[i].name,
				       strstr(text, "://") == NULL ? path : text, why);
	}
	return e;
}

static enum err add_configuration(const struct agent *agent, const struct places *places,
				  char out[COMMAND_LINE_MAX], struct error *why)
{
	char path[PATH_MAX], names[PLACES_MAX * CONFIG_NAME_MAX] = "";
	size_t at = 0;
	enum err e;

	if (realpath(agent_config_path(agent), path) == NULL)
		return error_set(why, ERR_CONFIG, "configuration %s can't be found any more",
				 agent_config_path(agent));
	e = add_option(out, "--config", path, why);
	if (e != ERR_NONE || places == NULL)
		return e;
	for (size_t i = 0; i < places->count && at < sizeof(names); i++)
		at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", i > 0 ? "," : "",
				       places->place[i].config->section.name);
	return at < sizeof(names) ? add_option(out, "--repo", names, why)
				  : error_set(why, ERR_LIMIT, "too many repositories");
}

enum err command_line_source(const struct agent *agent, const struct places *places,
			     const char *cluster, char out[COMMAND_LINE_MAX], struct error *why)
{
	const char *repo = option_text(&agent->options, OPTION_REPO);
	enum err e;

	out[0] = '\0';
	if (repo != NULL && config_repo_is_place(repo))
		e = add_place(agent, out, why);
	else
		e = add_configuration(agent, places, out, why);
	return e == ERR_NONE ? add_option(out, "--cluster", cluster, why) : e;
}

enum err command_line_for(const struct agent *agent, const char *verb, const struct places *places,
			  const char *cluster, char out[COMMAND_LINE_MAX], struct error *why)
{
	char program[PATH_MAX], head[COMMAND_LINE_MAX], source[COMMAND_LINE_MAX];
	enum err e = command_line_program(program, why);
	int n;

	if (e == ERR_NONE)
		e = command_line_source(agent, places, cluster, source, why);
	if (e != ERR_NONE)
		return e;
	if (!escape_shell(program, head, sizeof(head)))
		return error_set(why, ERR_LIMIT, "the program's path is too long");
	n = snprintf(out, COMMAND_LINE_MAX, "%s %s%s", head, verb, source);
	if (n < 0 || n >= COMMAND_LINE_MAX)
		return error_set(why, ERR_LIMIT, "the command line for %s is too long", verb);
	return ERR_NONE;
}

static enum err add_spec(char out[COMMAND_LINE_MAX], const struct option_spec *spec,
			 const char *value, struct error *why)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "--%s", spec->name); /* names of options are short */
	return value == NULL ? add(out, name, false, why) : add_option(out, name, value, why);
}

/* Those of `spec` that were typed. */
static enum err add_typed(const struct options *o, const struct option_spec *spec, size_t specs,
			  const enum option_id *without, size_t count, char out[COMMAND_LINE_MAX],
			  struct error *why)
{
	enum err e = ERR_NONE;

	for (size_t i = 0; i < specs && e == ERR_NONE; i++) {
		const struct option_value *v = &o->value[spec[i].id];
		const char *text;
		size_t at = 0;
		bool left_out = !v->given || v->from_environment;

		for (size_t k = 0; k < count; k++)
			left_out = left_out || spec[i].id == without[k];
		if (left_out)
			continue;
		if (spec[i].takes != TAKES_LIST)
			e = add_spec(out, &spec[i], v->text, why);
		else
			while (e == ERR_NONE && (text = option_next(o, spec[i].id, &at)) != NULL)
				e = add_spec(out, &spec[i], text, why);
	}
	return e;
}

enum err command_line_again(const struct agent *agent, const enum option_id *without, size_t count,
			    char out[COMMAND_LINE_MAX], struct error *why)
{
	const struct options *o = &agent->options;
	char program[PATH_MAX];
	enum err e = command_line_program(program, why);

	if (e != ERR_NONE)
		return e;
	if (!escape_shell(program, out, COMMAND_LINE_MAX))
		return error_set(why, ERR_LIMIT, "the program's path is too long");
	e = add(out, o->command->name, false, why);
	if (e == ERR_NONE)
		e = add_typed(o, options_global, options_global_count, without, count, out, why);
	if (e == ERR_NONE)
		e = add_typed(o, o->command->options, o->command->options_count, without, count,
			      out, why);
	for (size_t i = 0; i < o->arguments_count && e == ERR_NONE; i++)
		e = add(out, o->arguments[i], true, why);
	return e;
}

enum err command_line_add(char out[COMMAND_LINE_MAX], enum option_id id, const char *value,
			  const struct agent *agent, struct error *why)
{
	const struct command_spec *c = agent->options.command;

	for (size_t i = 0; i < c->options_count; i++)
		if (c->options[i].id == id)
			return add_spec(out, &c->options[i], value, why);
	return error_set(why, ERR_CONFIG, "\"%s\" has no such option", c->name);
}

enum err command_line_archive_command(const struct agent *agent, const char *cluster,
				      char out[COMMAND_LINE_MAX], struct error *why)
{
	static const char file[] = " \"%p\"";
	char line[COMMAND_LINE_MAX];
	size_t len = 0;
	enum err e = command_line_for(agent, "archive-push", NULL, cluster, line, why);

	if (e != ERR_NONE)
		return e;
	/* The server expands %, and SQL reads a doubled quote as one. */
	for (const char *at = line; *at != '\0'; at++) {
		if (len + 2 + sizeof(file) > COMMAND_LINE_MAX)
			return error_set(why, ERR_LIMIT, "the archive_command is too long");
		if (*at == '%' || *at == '\'')
			out[len++] = *at;
		out[len++] = *at;
	}
	memcpy(out + len, file, sizeof(file));
	return ERR_NONE;
}
