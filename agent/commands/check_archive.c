/* commands/check_archive.c - who archives the server's WAL: its settings, and what its archiver says. */
#include "base/text.h"
#include "commands/check.h"
#include "commands/command_line.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Segments: one or two wait whenever the archiver is at work; this many are 80 MiB of commits. */
enum { WAITING_MAX = 5 };

/* ---- the settings ---- */

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

/* What becomes of WAL under a command that is not ours. */
static const char *fate(const char *value)
{
	char program[PATH_MAX];

	if (*value == '\0')
		return "WAL stays in pg_wal until its disk is full, and the server stops";
	if (check_first_word(value, program, sizeof(program)) &&
	    (strcmp(program, "true") == 0 || strcmp(program, "/bin/true") == 0 ||
	     strcmp(program, "/usr/bin/true") == 0 || strcmp(program, ":") == 0))
		return "it throws WAL away, and says that it is archived";
	return "it is not pgagent archive-push: no WAL reaches the repository";
}

static void check_foreign(struct check *c, const char *what, const char *value)
{
	char hint[COMMAND_LINE_MAX];

	if (c->config->wal_streaming) {
		check_say(c, CHECK_OK, what, NULL, "\"%s\" is not pgagent's; WAL is streamed",
			  value);
		return;
	}
	c->only_config = false;
	check_say(c, CHECK_ERROR, what,
		  archive_command_hint(c, hint, sizeof(hint)) ? hint : "pgagent init prints it",
		  "%s is \"%s\": %s", what, value, fate(value));
}

/* An own command has to name a program that is there, by a path that does not depend on PATH. */
static void check_own(struct check *c, const char *value)
{
	const struct session *any = c->sql != NULL ? c->sql : c->replication;
	const char *host = session_host(any);
	bool here = host == NULL || *host == '\0' || *host == '/';
	char program[PATH_MAX];
	struct stat st;

	if (!check_first_word(value, program, sizeof(program)) || program[0] != '/') {
		check_say(c, CHECK_WARNING, "archive_command",
			  "give the program's absolute path: pgagent init prints the line",
			  "\"%s\" depends on the PATH of the server", value);
	} else if (here && c->agent->env.files->ops->stat(c->agent->env.files, AT_FDCWD, program, 0,
							  &st) < 0) {
		c->only_config = false;
		check_say(c, CHECK_ERROR, "archive_command",
			  "pgagent init prints the line for this installation",
			  "there is no program %s", program);
		return;
	} else {
		check_say(c, CHECK_OK, "archive_command", NULL, "%s", value);
	}
	c->archives = true;
}

static void check_command(struct check *c)
{
	char value[CHECK_SETTING_MAX];

	if (check_ask(c, "archive_library", value) && *value != '\0') {
		check_foreign(c, "archive_library", value);
		return;
	}
	if (!check_ask(c, "archive_command", value))
		return;
	if (check_is_own_archive_command(value))
		check_own(c, value);
	else
		check_foreign(c, "archive_command", value);
}

/* ---- the archiver ---- */

static uint64_t count_of(const struct rows *rows, int column)
{
	const char *value = rows_value(rows, 0, column);
	uint64_t count = 0;

	return value != NULL && text_to_u64(bytes_of_text(value), &count) ? count : 0;
}

static bool flag_of(const struct rows *rows, int column)
{
	const char *value = rows_value(rows, 0, column);

	return value != NULL && *value == 't';
}

static void text_of(const struct rows *rows, int column, char *out, size_t size)
{
	const char *value = rows_value(rows, 0, column);

	(void)snprintf(out, size, "%s", value != NULL ? value : ""); /* names and times fit */
}

bool check_archiver_ask(struct check *c, struct archiver *out)
{
	static const char sql[] =
		"SELECT archived_count, failed_count, last_archived_wal, last_archived_time, "
		"last_failed_wal, last_failed_time, "
		"coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false), "
		"coalesce(last_failed_time > pg_catalog.pg_conf_load_time(), false), "
		"coalesce(last_archived_time > pg_catalog.pg_conf_load_time(), false) "
		"FROM pg_catalog.pg_stat_archiver";
	struct rows *rows = NULL;
	struct error why;

	if (session_query(c->sql, sql, &rows, &why) != ERR_NONE || rows_count(rows) == 0) {
		rows_free(rows);
		return false;
	}
	out->archived = count_of(rows, 0);
	out->failed = count_of(rows, 1);
	text_of(rows, 2, out->last, sizeof(out->last));
	text_of(rows, 3, out->last_at, sizeof(out->last_at));
	text_of(rows, 4, out->failed_last, sizeof(out->failed_last));
	text_of(rows, 5, out->failed_at, sizeof(out->failed_at));
	out->failing = flag_of(rows, 6);
	out->failing_now = out->failing && flag_of(rows, 7);
	out->last_is_recent = flag_of(rows, 8);
	rows_free(rows);
	return true;
}

/* Only a role that may look into pg_wal can tell; false, and said, otherwise. */
static bool ask_queue(struct check *c, struct archiver_queue *out)
{
	/* A new line of configuration and a new start are given their time, too. */
	static const char sql[] =
		"SELECT count(*), greatest(0, extract(epoch FROM pg_catalog.clock_timestamp() - "
		"greatest(min(modification), pg_catalog.pg_postmaster_start_time(), "
		"pg_catalog.pg_conf_load_time(), (SELECT last_archived_time FROM "
		"pg_catalog.pg_stat_archiver))) * 1000000)::bigint "
		"FROM pg_catalog.pg_ls_archive_statusdir() WHERE name LIKE '%.ready'";
	struct rows *rows = NULL;
	struct error why;
	bool may = session_query(c->sql, sql, &rows, &why) == ERR_NONE;

	*out = (struct archiver_queue){.files = 0};
	if (may) {
		out->files = count_of(rows, 0);
		out->idle_us = out->files > 0 ? (int64_t)count_of(rows, 1) : 0;
	} else {
		check_say(c, CHECK_UNPROVEN, "archiver",
			  "let it look: GRANT pg_monitor TO the role of conninfo",
			  "whether segments wait to be archived can't be seen: %s", why.text);
		check_unseen(c);
	}
	rows_free(rows);
	return may;
}

enum check_severity check_archiver_pace(const struct archiver_queue *queue, int64_t archive_wait_us)
{
	if (queue->files == 0 || queue->idle_us < archive_wait_us)
		return CHECK_OK;
	return queue->files > WAITING_MAX ? CHECK_ERROR : CHECK_WARNING;
}

static void say_stalled(struct check *c, enum check_severity severity,
			const struct archiver_queue *queue)
{
	char idle[TEXT_DURATION_MAX];

	text_of_duration(queue->idle_us, idle);
	c->only_config = c->only_config && severity != CHECK_ERROR;
	check_say(c, severity, "archiver",
		  "see what archive_command hangs in, on the server: ps -ef | grep archive-push",
		  "%" PRIu64
		  " file(s) wait to be archived, and for %s none was: what is committed now "
		  "is lost with the server",
		  queue->files, idle);
}

/* A failure from before the configuration was read the last time is history: it is not known yet whether
 * the new line works. */
static void say_archiver(struct check *c, const struct archiver *a,
			 const struct archiver_queue *queue)
{
	enum check_severity pace = check_archiver_pace(queue, c->config->archive_wait_us);

	if (a->failing_now) {
		c->only_config = false;
		check_say(c, CHECK_ERROR, "archiver", CHECK_LOG_HINT,
			  "segment %s failed at %s, and nothing was archived since", a->failed_last,
			  a->failed_at);
	} else if (pace != CHECK_OK) {
		say_stalled(c, pace, queue);
	} else if (a->failing) {
		check_say(c, CHECK_UNPROVEN, "archiver", "try it: SELECT pg_switch_wal();",
			  "segment %s failed at %s, before the configuration was read anew",
			  a->failed_last, a->failed_at);
	} else if (a->last[0] != '\0') {
		check_say(c, CHECK_OK, "archiver", NULL, "last segment %s at %s", a->last,
			  a->last_at);
	} else if (c->arrived[0] != '\0') {
		/* The server hears of it a moment after the repositories. */
		check_say(c, CHECK_OK, "archiver", NULL, "its first segment is %s", c->arrived);
	} else {
		check_say(c, CHECK_UNPROVEN, "archiver", "try it: SELECT pg_switch_wal();",
			  "no segment was archived yet");
	}
}

void check_archiver(struct check *c)
{
	struct archiver_queue queue;
	struct archiver a;
	bool may;

	if (!c->asks_archiver || *c->agent->env.cancelled != 0)
		return;
	if (!check_archiver_ask(c, &a)) {
		check_say(c, CHECK_UNPROVEN, "archiver", NULL, "its statistics can't be read");
		check_unseen(c);
		return;
	}
	may = ask_queue(c, &queue);
	say_archiver(c, &a, &queue);
	if (may)
		check_figure(c, "files_waiting", queue.files, "waiting", "");
}

void check_archiving(struct check *c)
{
	char mode[CHECK_SETTING_MAX];

	if (!check_ask(c, "archive_mode", mode))
		return;
	if (c->in_recovery && strcmp(mode, "always") != 0) {
		check_say(c, CHECK_UNPROVEN, "archive_mode", "let conninfo be the primary's",
			  "this server is a standby, which archives nothing itself");
		return;
	}
	if (strcmp(mode, "off") != 0)
		check_say(c, CHECK_OK, "archive_mode", NULL, "%s", mode);
	else if (c->config->wal_streaming)
		check_say(c, CHECK_OK, "archive_mode", NULL, "off; WAL is streamed");
	else
		check_say_setting(c, CHECK_ERROR, "archive_mode", "on", true,
				  "nothing is archived, so only the moments of the backups can be "
				  "restored",
				  mode);
	check_command(c);
	c->archives = c->archives && strcmp(mode, "off") != 0;
	c->asks_archiver = c->sql != NULL && !c->config->wal_streaming;
}
