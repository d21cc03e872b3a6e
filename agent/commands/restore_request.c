/* commands/restore_request.c - from options to a request; nothing is opened but the server's clock. */
#include "commands/restore_request.h"
#include "base/text.h"
#include "commands/command_line.h"
#include "commands/restore_standby.h"
#include "postgres/session.h"
#include "time_target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { JOBS_MAX = 64, CLOCK_TIMEOUT_S = 5, XID_FIRST = 3 };

void restore_asked_release(struct restore_asked *asked)
{
	for (size_t i = 0; i < asked->owned_count; i++)
		free(asked->owned[i]);
	asked->owned_count = 0;
	for (size_t i = 0; i < asked->request.owns; i++)
		free((char *)asked->own[i].what); /* made by add_own */
	free(asked->own);
	asked->own = NULL;
	asked->request.owns = 0;
}

static enum err add_own(struct restore_asked *asked, const char *before, const char *name,
			const char *path, bool is_repository, struct error *why)
{
	struct restore_own *own = &asked->own[asked->request.owns];
	char *what = NULL;

	if (*path == '\0')
		return ERR_NONE;
	if (asprintf(&what, "%s%s", before, name) < 0)
		return error_set(why, ERR_MEMORY, "no memory for the options");
	*own = (struct restore_own){.what = what, .path = path, .is_repository = is_repository};
	asked->request.owns++;
	return ERR_NONE;
}

static enum err add_repo(struct restore_asked *asked, const struct config_repo *repo,
			 struct error *why)
{
	const char *name = repo->section.name;
	enum err e = ERR_NONE;

	if (repo->type == CONFIG_REPO_POSIX)
		e = add_own(asked, "repository ", name, repo->path, true, why);
	if (e == ERR_NONE)
		e = add_own(asked, "the key file of repository ", name, repo->key_file, false, why);
	if (e == ERR_NONE)
		e = add_own(asked, "the passphrase of repository ", name, repo->passphrase_file,
			    false, why);
	return e;
}

enum err restore_request_own(const struct agent *agent, struct restore_asked *asked,
			     struct error *why)
{
	const struct config *config = &agent->config;
	enum err e = ERR_NONE;

	/* Three of each repository, the one of --repo PATH too, and the two directories. */
	asked->own = calloc(3 * (config->repos_count + 1) + 2, sizeof(*asked->own));
	asked->request.own = asked->own;
	if (asked->own == NULL)
		return error_set(why, ERR_MEMORY, "no memory for the options");
	for (size_t i = 0; e == ERR_NONE && i < config->repos_count; i++)
		e = add_repo(asked, config->repos[i], why);
	if (e == ERR_NONE && config->adhoc != NULL)
		e = add_repo(asked, config->adhoc, why);
	if (e == ERR_NONE)
		e = add_own(asked, "the state directory", " of pgagent",
			    config->global.state_directory, false, why);
	if (e == ERR_NONE)
		e = add_own(asked, "the spool", " of pgagent", config->global.spool_directory,
			    false, why);
	return e;
}

const char *restore_target_name(enum target_kind kind)
{
	switch (kind) {
	case TARGET_LATEST:
		return "latest";
	case TARGET_BACKUP_END:
		return "backup-end";
	case TARGET_TIME:
		return "time";
	case TARGET_LSN:
		return "lsn";
	case TARGET_XID:
		return "xid";
	case TARGET_NAME:
		return "name";
	}
	return "unknown";
}

static enum err keep_text(struct restore_asked *asked, const char *text, size_t len,
			  const char **out, struct error *why)
{
	char *copy = strndup(text, len);

	if (copy == NULL || asked->owned_count == sizeof(asked->owned) / sizeof(asked->owned[0])) {
		free(copy);
		return error_set(why, ERR_MEMORY, "no memory for the options");
	}
	asked->owned[asked->owned_count++] = copy;
	*out = copy;
	return ERR_NONE;
}

/* "10 minutes ago" means ago on the server, whose clock stamped the commits. */
static int64_t server_now(struct agent *agent, const struct config_cluster *config)
{
	struct session_options options = {.kind = SESSION_SQL,
					  .connect_timeout_s = CLOCK_TIMEOUT_S};
	struct session *session = NULL;
	struct rows *rows = NULL;
	struct error why;
	uint64_t us = 0;
	const char *text;

	if (config != NULL) {
		options.conninfo = config->conninfo;
		if (session_open(&agent->env, &options, &session, &why) == ERR_NONE &&
		    session_query(session,
				  "SELECT (extract(epoch FROM clock_timestamp()) * "
				  "1000000)::bigint",
				  &rows, &why) == ERR_NONE &&
		    (text = rows_value(rows, 0, 0)) != NULL)
			(void)text_to_u64(bytes_of_text(text), &us); /* 0 stays */
		rows_free(rows);
		session_close(session);
	}
	if (us == 0 || us > INT64_MAX) {
		report_warning(&agent->report, "the server's clock can't be asked; the time is "
					       "counted back from this machine's clock");
		return clock_now_us(agent->env.clock);
	}
	return (int64_t)us;
}

/* The same command with the day in it: the person who typed it most likely meant the last such hour. */
static void hint_date(const struct agent *agent, const char *text, struct error *why)
{
	static const enum option_id changed[] = {OPTION_TO_TIME};
	char line[COMMAND_LINE_MAX], full[TIME_TARGET_TEXT_MAX];
	struct error ignored;

	if (!time_target_with_date(text, clock_now_us(agent->env.clock), full))
		return;
	/* A cut command is none. */
	if (command_line_again(agent, changed, 1, line, &ignored) == ERR_NONE &&
	    command_line_add(line, OPTION_TO_TIME, full, agent, &ignored) == ERR_NONE &&
	    strlen(line) + sizeof("the last one was: ") < ERROR_HINT_MAX)
		error_hint(why, "the last one was: %s", line);
	else
		error_hint(why, "the last one was: --to-time '%s'", full);
}

static enum err read_time(struct agent *agent, const struct config_cluster *config,
			  const char *text, struct restore_request *r, struct error *why)
{
	char echo[TIME_TARGET_TEXT_MAX];
	int64_t now = time_target_is_relative(text) ? server_now(agent, config) : INT64_C(0);
	enum err e = time_target_from_text(text, now, &r->time_us, why);

	if (e != ERR_NONE)
		return hint_date(agent, text, why), e;
	r->kind = TARGET_TIME;
	r->requested = text;
	time_target_to_text(r->time_us, echo);
	report_text(&agent->report, "target time: %s\n", echo);
	return ERR_NONE;
}

static enum err read_xid(uint64_t xid, struct restore_request *r, struct error *why)
{
	/* WAL records carry the low half of what pg_current_xact_id() shows. */
	r->xid = (uint32_t)xid;
	r->kind = TARGET_XID;
	if (r->xid < XID_FIRST)
		return error_set(why, ERR_CONFIG, "--to-xid %llu is no transaction of a user",
				 (unsigned long long)xid);
	return ERR_NONE;
}

static enum err read_target(struct agent *agent, const struct config_cluster *config,
			    struct restore_request *r, struct error *why)
{
	const struct options *o = &agent->options;
	enum err e = ERR_NONE;

	r->kind = option_given(o, OPTION_TO_BACKUP_END) ? TARGET_BACKUP_END : TARGET_LATEST;
	r->exclusive = option_given(o, OPTION_EXCLUSIVE);
	if (option_given(o, OPTION_TO_TIME)) {
		e = read_time(agent, config, option_text(o, OPTION_TO_TIME), r, why);
	} else if (option_given(o, OPTION_TO_LSN)) {
		r->kind = TARGET_LSN;
		r->requested = option_text(o, OPTION_TO_LSN);
		e = lsn_from_text(r->requested, &r->lsn, why);
		if (e != ERR_NONE)
			(void)error_add(why, "--to-lsn");
	} else if (option_given(o, OPTION_TO_XID)) {
		e = read_xid(option_number(o, OPTION_TO_XID, 0), r, why);
		r->requested = option_text(o, OPTION_TO_XID);
	} else if (option_given(o, OPTION_TO_NAME)) {
		r->kind = TARGET_NAME;
		r->name = r->requested = option_text(o, OPTION_TO_NAME);
		if (*r->name == '\0')
			e = error_set(why, ERR_CONFIG, "--to-name is empty");
	}
	if (e == ERR_NONE && r->exclusive && r->kind != TARGET_TIME && r->kind != TARGET_LSN &&
	    r->kind != TARGET_XID)
		e = error_set(why, ERR_CONFIG,
			      "--exclusive goes with --to-time, --to-lsn and --to-xid only");
	return e;
}

static enum err read_timeline(const struct options *o, struct restore_request *r, struct error *why)
{
	static const char *const rule[] = {[TIMELINE_AUTO] = "auto",
					   [TIMELINE_LATEST] = "latest",
					   [TIMELINE_CURRENT] = "current"};
	const char *text = option_text(o, OPTION_TIMELINE);
	uint64_t number;

	if (text == NULL)
		return ERR_NONE; /* auto */
	for (size_t i = 0; i < sizeof(rule) / sizeof(rule[0]); i++)
		if (strcmp(text, rule[i]) == 0) {
			r->timeline_rule = (enum timeline_rule)i;
			return ERR_NONE;
		}
	if (text_to_u64(bytes_of_text(text), &number) && number > 0 && number <= UINT32_MAX) {
		r->timeline = (uint32_t)number;
		return ERR_NONE;
	}
	(void)error_set(why, ERR_CONFIG,
			"--timeline %s: neither a number nor auto, latest or current", text);
	error_hint(why, "the timelines that can be restored: pgagent list");
	return ERR_CONFIG;
}

/* NAME=VALUE in two. */
static enum err split(struct restore_asked *asked, const char *option, const char *text,
		      const char **name, const char **value, struct error *why)
{
	const char *equals = strchr(text, '=');

	if (equals == NULL || equals == text) {
		(void)error_set(why, ERR_CONFIG, "--%s %s: it has the form NAME=VALUE", option,
				text);
		return ERR_CONFIG;
	}
	*value = equals + 1;
	return keep_text(asked, text, (size_t)(equals - text), name, why);
}

static enum err read_settings(const struct options *o, struct restore_asked *asked,
			      struct error *why)
{
	struct restore_request *r = &asked->request;
	const char *text;
	size_t at = 0;
	enum err e = ERR_NONE;

	while (e == ERR_NONE && (text = option_next(o, OPTION_SET, &at)) != NULL) {
		if (r->sets == RESTORE_SETTINGS_MAX)
			return error_set(why, ERR_CONFIG, "--set: more than %d settings",
					 RESTORE_SETTINGS_MAX);
		e = split(asked, "set", text, &r->set[r->sets].name, &r->set[r->sets].value, why);
		r->sets++;
	}
	at = 0;
	while (e == ERR_NONE && (text = option_next(o, OPTION_KEEP_SETTING, &at)) != NULL) {
		if (r->keep_settings == RESTORE_SETTINGS_MAX)
			return error_set(why, ERR_CONFIG, "--keep-setting: more than %d settings",
					 RESTORE_SETTINGS_MAX);
		r->keep_setting[r->keep_settings++] = text;
	}
	return e;
}

static enum err read_tablespaces(const struct options *o, struct restore_asked *asked,
				 struct error *why)
{
	struct restore_request *r = &asked->request;
	const char *text, *value, *all = option_text(o, OPTION_TABLESPACE_DIR);
	char path[PATH_MAX];
	size_t at = 0;
	enum err e = ERR_NONE;

	while (e == ERR_NONE && (text = option_next(o, OPTION_TABLESPACE, &at)) != NULL) {
		struct restore_tablespace *t = &r->tablespace[r->tablespaces];

		if (r->tablespaces == RESTORE_TABLESPACES_MAX)
			return error_set(why, ERR_CONFIG, "--tablespace: more than %d",
					 RESTORE_TABLESPACES_MAX);
		e = split(asked, "tablespace", text, &t->name_or_oid, &value, why);
		if (e == ERR_NONE)
			e = command_line_absolute(value, path, why);
		if (e == ERR_NONE)
			e = keep_text(asked, path, strlen(path), &t->directory, why);
		r->tablespaces++;
	}
	if (e == ERR_NONE && all != NULL) {
		e = command_line_absolute(all, asked->tablespace_dir, why);
		r->tablespace_dir = asked->tablespace_dir;
	}
	return e;
}

static enum target_action read_action(const struct options *o)
{
	const char *text = option_text(o, OPTION_ACTION);

	if (text == NULL)
		return ACTION_DEFAULT;
	return strcmp(text, "pause") == 0     ? ACTION_PAUSE
	       : strcmp(text, "promote") == 0 ? ACTION_PROMOTE
					      : ACTION_SHUTDOWN;
}

static unsigned processors(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > JOBS_MAX ? JOBS_MAX : (unsigned)n;
}

static enum err read_wal(const struct options *o, struct restore_asked *asked, struct error *why)
{
	const char *salvage = option_text(o, OPTION_SALVAGE_WAL);
	struct restore_request *r = &asked->request;

	r->delta = option_given(o, OPTION_DELTA);
	r->discard_wal = option_given(o, OPTION_DISCARD_WAL);
	if (salvage == NULL)
		return ERR_NONE;
	r->salvage_directory = asked->salvage_directory;
	return command_line_absolute(salvage, asked->salvage_directory, why);
}

enum err restore_request_read(struct agent *agent, const struct config_cluster *config,
			      struct restore_asked *out, struct error *why)
{
	const struct options *o = &agent->options;
	const char *directory = option_text(o, OPTION_PGDATA);
	const char *archiving = option_text(o, OPTION_ARCHIVING), *wal = option_text(o, OPTION_WAL);
	struct restore_request *r = &out->request;
	enum err e;

	*out = (struct restore_asked){.owned_count = 0};
	if (directory == NULL || *directory == '\0') {
		(void)error_set(why, ERR_CONFIG, "restore: -D DIR is missing: where to?");
		error_hint(why, "an empty or new directory: pgagent restore -D /srv/look --plan");
		return ERR_CONFIG;
	}
	e = command_line_absolute(directory, out->directory, why);
	if (e == ERR_NONE)
		e = command_line_program(out->program, why);
	if (e == ERR_NONE)
		e = read_wal(o, out, why);
	if (e == ERR_NONE)
		e = read_timeline(o, r, why);
	if (e == ERR_NONE)
		e = read_settings(o, out, why);
	if (e == ERR_NONE)
		e = read_tablespaces(o, out, why);
	if (e == ERR_NONE)
		e = read_target(agent, config, r, why);
	r->directory = out->directory;
	r->program = out->program;
	r->action = read_action(o);
	r->standby = option_given(o, OPTION_STANDBY);
	r->copy_wal = wal != NULL && strcmp(wal, "copy") == 0;
	/* A standby archives nothing until it is the primary. */
	r->keep_archiving = archiving != NULL ? strcmp(archiving, "keep") == 0 : r->standby;
	r->jobs = (unsigned)option_number(o, OPTION_JOBS, processors());
	r->port = (int)option_number(o, OPTION_PORT, 0);
	r->start = option_given(o, OPTION_START);
	r->search_path = getenv("PATH");
	if (e == ERR_NONE && r->standby)
		e = restore_standby_check(r, why);
	if (e == ERR_NONE)
		restore_standby_warn(agent, r);
	return e;
}
