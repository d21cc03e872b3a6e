/* commands/check_server.c - the server's links: connections, rights, settings, clock, archiver. */
#include "base/text.h"
#include "commands/check.h"
#include "commands/command_line.h"
#include "postgres/replication.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	VERSION_MIN = 150000,
	VERSION_TESTED_MAX = 189999,
	SENDERS_MIN = 2, /* a backup and the WAL it streams */
	SETTING_MAX = 2 * PATH_MAX
};
#define SKEW_MAX_US (INT64_C(5) * 1000000)
#define DATABASE_ANYWHERE "postgres"

struct server {
	struct check *check;
	struct session *sql, *replication; /* NULL = refused */
};

/* ---- connections ---- */

static void open_sql(struct server *s)
{
	struct check *c = s->check;
	struct session_options options = {.conninfo = c->config->conninfo, .kind = SESSION_SQL};
	struct error why, second;

	if (session_open(&c->agent->env, &options, &s->sql, &why) == ERR_NONE)
		return;
	/* Without a dbname libpq takes the user's name, and a backup role has no such database. */
	options.database = DATABASE_ANYWHERE;
	if (session_open(&c->agent->env, &options, &s->sql, &second) == ERR_NONE)
		return;
	s->sql = NULL;
	check_say(c, CHECK_UNPROVEN, "sql_connection", why.hint[0] != '\0' ? why.hint : NULL,
		  "%s; settings are asked over replication, the clock can't be asked", why.text);
}

static void open_replication(struct server *s)
{
	struct check *c = s->check;
	struct session_options options = {.conninfo = c->config->conninfo,
					  .kind = SESSION_REPLICATION};
	struct system_identity identity;
	struct error why;
	enum err e = session_open(&c->agent->env, &options, &s->replication, &why);

	if (e == ERR_NONE)
		e = replication_identify(s->replication, &identity, &why);
	if (e != ERR_NONE) {
		session_close(s->replication);
		s->replication = NULL;
		check_fail(c, "connection", &why);
		return;
	}
	c->has_system = true;
	c->system_identifier = identity.system_identifier;
	check_say(c, CHECK_OK, "connection", NULL,
		  "replication as %s, system identifier %" PRIu64 ", timeline %" PRIu32,
		  session_label(s->replication), identity.system_identifier, identity.timeline);
}

static void check_version(struct server *s)
{
	const struct session *any = s->replication != NULL ? s->replication : s->sql;
	int version = session_server_version(any);

	if (version < VERSION_MIN)
		check_say(s->check, CHECK_ERROR, "server_version",
			  "PostgreSQL 15 or newer is needed", "PostgreSQL %d is too old",
			  version / 10000);
	else
		check_say(s->check, version > VERSION_TESTED_MAX ? CHECK_WARNING : CHECK_OK,
			  "server_version", NULL, "PostgreSQL %d.%d%s", version / 10000,
			  version % 10000,
			  version > VERSION_TESTED_MAX ? ": newer than what was tested" : "");
}

/* ---- settings ---- */

static bool ask(struct server *s, const char *name, char out[SETTING_MAX])
{
	struct error why = {.kind = ERR_NONE};
	struct session *any = s->sql != NULL ? s->sql : s->replication;
	enum err e = session_show(any, name, out, SETTING_MAX, &why);

	if (e != ERR_NONE)
		check_say(s->check, CHECK_UNPROVEN, name, NULL, "%s", why.text);
	return e == ERR_NONE;
}

static void say_setting(struct server *s, const char *name, const char *wanted, const char *why,
			const char *value)
{
	char hint[256];

	(void)snprintf(hint, sizeof(hint), "ALTER SYSTEM SET %s = '%s';  then restart the server",
		       name, wanted); /* fits */
	check_say(s->check, CHECK_ERROR, name, hint, "%s is %s: %s", name, value, why);
	s->check->only_config = false;
}

static void check_levels(struct server *s)
{
	char value[SETTING_MAX], *end;

	if (ask(s, "wal_level", value)) {
		if (strcmp(value, "minimal") == 0)
			say_setting(s, "wal_level", "replica", "WAL of that kind restores nothing",
				    value);
		else
			check_say(s->check, CHECK_OK, "wal_level", NULL, "%s", value);
	}
	if (ask(s, "max_wal_senders", value)) {
		if (strtol(value, &end, 10) < SENDERS_MIN)
			say_setting(s, "max_wal_senders", "10",
				    "a backup needs two connections for replication", value);
		else
			check_say(s->check, CHECK_OK, "max_wal_senders", NULL, "%s", value);
	}
	if (ask(s, "data_checksums", value)) {
		if (strcmp(value, "on") != 0)
			check_say(s->check, CHECK_WARNING, "data_checksums",
				  "with the server stopped: pg_checksums --enable -D PGDATA",
				  "off: pages that the server's disks damage go unnoticed into "
				  "every backup");
		else
			check_say(s->check, CHECK_OK, "data_checksums", NULL, "on");
	}
}

/* ---- archiving ---- */

bool check_is_own_archive_command(const char *command)
{
	return strstr(command, "archive-push") != NULL && strstr(command, "pgagent") != NULL &&
	       strstr(command, "%p") != NULL;
}

bool check_first_word(const char *command, char *out, size_t size)
{
	char quote = '\0';
	size_t len = 0;

	command += strspn(command, " \t");
	for (; *command != '\0' && (quote != '\0' || strchr(" \t", *command) == NULL); command++) {
		if (quote != '\0' ? *command == quote : strchr("'\"", *command) != NULL) {
			quote = quote != '\0' ? '\0' : *command;
			continue;
		}
		if (len + 1 >= size)
			return false;
		out[len++] = *command;
	}
	out[len] = '\0';
	return len > 0;
}

/* ALTER SYSTEM with the command line of this program. */
static bool archive_command_hint(const struct check *c, char *out, size_t size)
{
	char value[COMMAND_LINE_MAX];
	struct error why;

	return command_line_archive_command(c->agent, c->config->section.name, value, &why) ==
		       ERR_NONE &&
	       snprintf(out, size,
			"ALTER SYSTEM SET archive_command = '%s';\nSELECT pg_reload_conf();",
			value) < (int)size;
}

static void check_foreign(struct server *s, const char *what, const char *value)
{
	struct check *c = s->check;
	char hint[COMMAND_LINE_MAX];

	if (c->config->wal_streaming) {
		check_say(c, CHECK_OK, what, NULL, "\"%s\" is not pgagent's; WAL is streamed",
			  value);
		return;
	}
	c->only_config = false;
	check_say(c, CHECK_ERROR, what,
		  archive_command_hint(c, hint, sizeof(hint)) ? hint : "pgagent init prints it",
		  "%s is \"%s\", which is not pgagent archive-push: no WAL reaches the repository",
		  what, value);
}

/* An own command has to name a program that is there, by a path that does not depend on PATH. */
static void check_own(struct server *s, const char *value)
{
	struct check *c = s->check;
	const struct session *any = s->sql != NULL ? s->sql : s->replication;
	const char *host = session_host(any);
	bool here = host == NULL || *host == '\0' || *host == '/';
	char program[PATH_MAX];
	struct stat st;

	if (!check_first_word(value, program, sizeof(program)) || program[0] != '/') {
		check_say(c, CHECK_WARNING, "archive_command",
			  "give the program's absolute path: pgagent init prints the line",
			  "\"%s\" depends on the PATH of the server", value);
		return;
	}
	if (here &&
	    c->agent->env.files->ops->stat(c->agent->env.files, AT_FDCWD, program, 0, &st) < 0) {
		c->only_config = false;
		check_say(c, CHECK_ERROR, "archive_command",
			  "pgagent init prints the line for this installation",
			  "there is no program %s", program);
		return;
	}
	check_say(c, CHECK_OK, "archive_command", NULL, "%s", value);
}

static void check_archiving(struct server *s)
{
	struct check *c = s->check;
	char value[SETTING_MAX];

	if (ask(s, "archive_mode", value)) {
		if (strcmp(value, "off") != 0)
			check_say(c, CHECK_OK, "archive_mode", NULL, "%s", value);
		else if (c->config->wal_streaming)
			check_say(c, CHECK_OK, "archive_mode", NULL, "off; WAL is streamed");
		else
			say_setting(s, "archive_mode", "on",
				    "only the moments of the backups can be restored", value);
	}
	if (ask(s, "archive_library", value) && *value != '\0') {
		check_foreign(s, "archive_library", value);
		return;
	}
	if (!ask(s, "archive_command", value))
		return;
	if (check_is_own_archive_command(value))
		check_own(s, value);
	else
		check_foreign(s, "archive_command", value);
}

/* What the archiver itself says.  A failure from before the configuration was read the last time is
 * history: it is not known yet whether the new line works. */
static void check_archiver(struct server *s)
{
	static const char sql[] =
		"SELECT archived_count, last_archived_wal, last_archived_time, failed_count, "
		"last_failed_wal, last_failed_time, "
		"coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false), "
		"coalesce(last_failed_time > pg_conf_load_time(), false) "
		"FROM pg_catalog.pg_stat_archiver";
	struct check *c = s->check;
	struct rows *rows = NULL;
	struct error why;
	const char *failing, *since;

	if (s->sql == NULL || c->config->wal_streaming)
		return;
	if (session_query(s->sql, sql, &rows, &why) != ERR_NONE || rows_count(rows) == 0) {
		check_say(c, CHECK_UNPROVEN, "archiver", NULL, "its statistics can't be read");
		rows_free(rows);
		return;
	}
	failing = rows_value(rows, 0, 6);
	since = rows_value(rows, 0, 7);
	if (failing != NULL && *failing == 't' && since != NULL && *since == 't') {
		c->only_config = false;
		check_say(c, CHECK_ERROR, "archiver",
			  "the server's log has pgagent's own words on why: grep archive-push",
			  "segment %s failed at %s, and nothing was archived since",
			  rows_value(rows, 0, 4), rows_value(rows, 0, 5));
	} else if (failing != NULL && *failing == 't') {
		check_say(c, CHECK_UNPROVEN, "archiver", "try it: SELECT pg_switch_wal();",
			  "segment %s failed at %s, before the configuration was read anew",
			  rows_value(rows, 0, 4), rows_value(rows, 0, 5));
	} else if (rows_value(rows, 0, 1) == NULL) {
		check_say(c, CHECK_UNPROVEN, "archiver", "try it: SELECT pg_switch_wal();",
			  "no segment was archived yet");
	} else {
		check_say(c, CHECK_OK, "archiver", NULL, "last segment %s at %s",
			  rows_value(rows, 0, 1), rows_value(rows, 0, 2));
	}
	rows_free(rows);
}

/* ---- clock ---- */

static void check_clock(struct server *s)
{
	struct check *c = s->check;
	struct clock *clock = c->agent->env.clock;
	struct rows *rows = NULL;
	struct error why;
	int64_t before = clock_now_us(clock), skew;
	uint64_t server = 0;
	char text[TEXT_DURATION_MAX];
	const char *value;

	if (s->sql == NULL)
		return;
	if (session_query(s->sql,
			  "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", &rows,
			  &why) != ERR_NONE ||
	    (value = rows_value(rows, 0, 0)) == NULL ||
	    !text_to_u64(bytes_of_text(value), &server)) {
		rows_free(rows);
		check_say(c, CHECK_UNPROVEN, "clock", NULL, "the server's clock can't be asked");
		return;
	}
	rows_free(rows);
	skew = (int64_t)server - (before + (clock_now_us(clock) - before) / 2);
	skew = skew < 0 ? -skew : skew;
	text_of_duration(skew, text);
	if (skew > SKEW_MAX_US)
		check_say(c, CHECK_WARNING, "clock", "keep both with NTP: chronyc tracking",
			  "the server's clock and this one differ by %s: --to-time counts by the "
			  "server's",
			  text);
	else
		check_say(c, CHECK_OK, "clock", NULL, "differs by %s", text);
}

void check_server(struct check *c)
{
	struct server s = {.check = c};

	if (*c->config->conninfo == '\0') {
		check_say(c, CHECK_ERROR, "connection",
			  "add conninfo = ... to its section of the configuration",
			  "cluster %s has no conninfo", c->config->section.name);
		return;
	}
	open_replication(&s);
	open_sql(&s);
	if (s.replication == NULL && s.sql == NULL) {
		check_say(c, CHECK_UNPROVEN, "settings", NULL,
			  "no connection: wal_level, archive_mode, archive_command, clock");
		return;
	}
	check_version(&s);
	check_levels(&s);
	check_archiving(&s);
	check_archiver(&s);
	check_clock(&s);
	session_close(s.sql);
	session_close(s.replication);
}
