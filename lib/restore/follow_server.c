/* restore/follow_server.c - what following asks of the system and of the server: programs, the log,
 * the control file, SQL.
 */
#include "base/file.h"
#include "postgres/session.h"
#include "restore/follow_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

enum { LINES_KEPT = 5 };

/* ---- running pg_ctl ---- */

enum err follow_run_program(struct follow *f, const char *const argv[], int *status)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, usual;
	pid_t pid;
	int answer;

	(void)sigemptyset(&none); /* on valid pointers these cannot fail */
	(void)sigemptyset(&usual);
	(void)sigaddset(&usual, SIGPIPE);
	(void)sigaddset(&usual, SIGINT);
	(void)sigaddset(&usual, SIGTERM);
	if (posix_spawnattr_init(&attributes) != 0)
		return error_set(f->why, ERR_MEMORY, "starting the server: out of memory");
	if (posix_spawn_file_actions_init(&actions) != 0) {
		(void)posix_spawnattr_destroy(&attributes);
		return error_set(f->why, ERR_MEMORY, "starting the server: out of memory");
	}
	(void)posix_spawnattr_setsigmask(&attributes, &none);
	(void)posix_spawnattr_setsigdefault(&attributes, &usual);
	(void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	answer = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	if (answer == 0)
		answer = posix_spawn_file_actions_addopen(&actions, 1, f->out->log_file,
							  O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (answer == 0)
		answer = posix_spawn_file_actions_adddup2(&actions, 1, 2);
	if (answer == 0)
		answer = posix_spawn(&pid, argv[0], &actions, &attributes,
				     (char *const *)(const void *)argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)posix_spawnattr_destroy(&attributes);
	if (answer != 0)
		return error_set_os(f->why, error_kind_of_os(answer), answer, "running %s",
				    argv[0]);
	while (waitpid(pid, status, 0) < 0)
		if (errno != EINTR)
			return error_set_os(f->why, ERR_IO, errno, "waiting for %s", argv[0]);
	return ERR_NONE;
}

/* ---- looking from outside ---- */

bool follow_path(const struct follow *f, const char *name, char out[PATH_MAX])
{
	int n = snprintf(out, PATH_MAX, "%s/%s", f->directory, name);

	return n > 0 && n < PATH_MAX;
}

bool follow_stat(const struct follow *f, const char *name, struct stat *st)
{
	char path[PATH_MAX];

	return follow_path(f, name, path) &&
	       f->env->files->ops->stat(f->env->files, AT_FDCWD, path, 0, st) >= 0;
}

void follow_log_tail(const struct follow *f, char out[LOG_TAIL_BYTES + 1])
{
	struct files *files = f->env->files;
	int fd = files->ops->open(files, AT_FDCWD, f->out->log_file, O_RDONLY, 0);
	struct stat st;
	ssize_t got = 0;

	out[0] = '\0';
	if (fd < 0)
		return;
	if (files->ops->stat_fd(files, fd, &st) >= 0) {
		uint64_t size = (uint64_t)st.st_size;
		uint64_t from = size > LOG_TAIL_BYTES ? size - LOG_TAIL_BYTES : 0;

		if (from < f->log_from)
			from = f->log_from;
		if (from < size)
			got = files->ops->pread(files, fd, out, (size_t)(size - from), (off_t)from);
	}
	(void)files->ops->close(files, fd); /* only read */
	out[got > 0 ? got : 0] = '\0';
}

/* What the server answered those who asked too early, us above all, is no reason of anything. */
static bool is_refusal(const char *line, size_t len)
{
	static const char *const refusals[] = {
		"the database system is ", "Consistent recovery state has not been yet reached"};

	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
		if (memmem(line, len, refusals[i], strlen(refusals[i])) != NULL)
			return true;
	return false;
}

void follow_log_reason(const char *log, char *out, size_t out_len)
{
	static const char *const telling[] = {"FATAL:", "PANIC:", "ERROR:", "HINT:", "DETAIL:"};
	const char *line[LINES_KEPT] = {NULL};
	size_t n = 0, used = 0;

	for (const char *at = log; *at != '\0';) {
		size_t len = strcspn(at, "\n");

		for (size_t i = 0; i < sizeof(telling) / sizeof(telling[0]); i++) {
			const char *hit = memmem(at, len, telling[i], strlen(telling[i]));

			if (hit != NULL && !is_refusal(at, len)) {
				line[n++ % LINES_KEPT] = hit;
				break;
			}
		}
		at += len + (at[len] == '\n');
	}
	out[0] = '\0';
	for (size_t i = n > LINES_KEPT ? n - LINES_KEPT : 0; i < n && used < out_len; i++) {
		const char *text = line[i % LINES_KEPT];
		int k = snprintf(out + used, out_len - used, "%s%.*s", used > 0 ? "; " : "",
				 (int)strcspn(text, "\n"), text);

		used += k > 0 ? (size_t)k : 0;
	}
}

bool follow_control(const struct follow *f, struct control *out)
{
	char path[PATH_MAX];
	uint8_t *data;
	size_t len;
	bool good;

	if (!follow_path(f, "global/pg_control", path) ||
	    file_read_all(f->env->files, AT_FDCWD, path, CONTROL_FILE_BYTES, &data, &len, NULL) !=
		    ERR_NONE)
		return false;
	good = control_decode(bytes_of(data, len), out, NULL) == ERR_NONE;
	free(data);
	return good;
}

/* ---- asking the server ---- */

static const char question[] =
	"SELECT pg_catalog.pg_is_in_recovery(), CASE WHEN pg_catalog.pg_is_in_recovery() "
	"THEN pg_catalog.pg_get_wal_replay_pause_state() END, "
	"pg_catalog.pg_last_wal_replay_lsn(), pg_catalog.to_char("
	"pg_catalog.pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', "
	"'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";

void follow_conninfo_value(struct writer *w, const char *keyword, const char *value)
{
	writer_text(w, "%s='", keyword);
	for (; *value != '\0'; value++) {
		if (*value == '\'' || *value == '\\')
			writer_u8(w, '\\');
		writer_u8(w, (uint8_t)*value);
	}
	writer_text(w, "' ");
}

/* As `user`; "" = like the one who runs the server. */
static enum err session_as(const struct follow *f, const char *user, const char *database,
			   struct session **out)
{
	struct session_options options = {.kind = SESSION_SQL,
					  .database = database,
					  .application_name = "pgagent restore",
					  .connect_timeout_s = 5};
	struct writer conninfo;
	struct error ignored;
	enum err e = ERR_MEMORY;

	writer_init(&conninfo, 2 * PATH_MAX);
	writer_text(&conninfo, "%s", f->conninfo);
	if (*user != '\0')
		follow_conninfo_value(&conninfo, "user", user);
	writer_u8(&conninfo, 0);
	if (!conninfo.bad) {
		options.conninfo = (const char *)conninfo.data;
		e = session_open(f->env, &options, out, &ignored);
	}
	writer_release(&conninfo);
	if (e != ERR_NONE)
		*out = NULL;
	return e;
}

bool follow_session(const struct follow *f, const char *database, struct session **out)
{
	return session_as(f, f->out->user, database, out) == ERR_NONE;
}

/* Other than ERR_NONE: f->session stays NULL. */
static enum err open_as(struct follow *f, const char *user, const char *database)
{
	enum err e = session_as(f, user, database, &f->session);

	if (e == ERR_NONE)
		(void)snprintf(f->out->user, sizeof(f->out->user), "%s", user);
	return e;
}

/* The superuser is named as the backup says, like the one who runs the server, or as everywhere. */
static void open_session(struct follow *f)
{
	static const char *const databases[] = {"postgres", "template1"};
	const char *const users[] = {f->plan->backup.superuser, "", "postgres"};

	for (size_t i = 0; i < sizeof(databases) / sizeof(databases[0]); i++)
		for (size_t u = 0; u < sizeof(users) / sizeof(users[0]); u++) {
			enum err e = open_as(f, users[u], databases[i]);

			/* Who does not let us in yet has no other answer for another name. */
			if (e == ERR_NONE || e == ERR_TRANSIENT || e == ERR_MEMORY)
				return;
		}
}

enum stage follow_ask(struct follow *f)
{
	struct rows *rows = NULL;
	struct error ignored;
	enum stage stage = STAGE_UNKNOWN;
	const char *value;

	if (f->session == NULL)
		open_session(f);
	if (f->session == NULL)
		return STAGE_UNKNOWN;
	if (session_query(f->session, question, &rows, &ignored) != ERR_NONE) {
		session_close(f->session);
		f->session = NULL;
		return STAGE_UNKNOWN;
	}
	value = rows_value(rows, 0, 0);
	if (value != NULL && strcmp(value, "f") == 0)
		stage = STAGE_PROMOTED;
	else if (value != NULL)
		stage = STAGE_REPLAYING;
	value = rows_value(rows, 0, 1);
	if (stage == STAGE_REPLAYING && value != NULL && strcmp(value, "paused") == 0)
		stage = STAGE_PAUSED;
	value = rows_value(rows, 0, 2);
	if (value != NULL && lsn_from_text(value, &f->replayed, &ignored) != ERR_NONE)
		f->replayed = lsn_of(0);
	value = rows_value(rows, 0, 3);
	if (value != NULL)
		(void)snprintf(f->out->reached_time, sizeof(f->out->reached_time), "%s", value);
	rows_free(rows);
	return stage;
}

/* No reload: none of them matters to a server that is promoted, and the postmaster would complain
 * that those which only a start can change were changed. */
void follow_reset_settings(struct follow *f)
{
	struct error cause;
	struct rows *rows = NULL;
	char sql[128];

	for (size_t i = 0; settings_of_recovery[i] != NULL; i++) {
		if (settings_asked(f->request, settings_of_recovery[i]) != NULL)
			continue;
		(void)snprintf(sql, sizeof(sql), "ALTER SYSTEM RESET %s", settings_of_recovery[i]);
		if (session_query(f->session, sql, &rows, &cause) != ERR_NONE) {
			observer_event(f->env->observer, LEVEL_WARNING,
				       "%s failed; remove the recovery settings from "
				       "postgresql.auto.conf before the next start: %s",
				       sql, cause.text);
			return;
		}
		rows_free(rows);
		rows = NULL;
	}
}
