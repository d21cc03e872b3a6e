/* restore/follow.c - starts the restored server and follows its replay until it is paused at the
 * target, promoted, or gone.
 *
 * pg_ctl says "started" long before recovery ends, and in some cases before it fails.  So the
 * server itself is asked, again and again, and where it cannot be asked (before it is consistent,
 * or when it lets nobody in) its process, its log and its files are looked at.
 */
#include "base/file.h"
#include "postgres/session.h"
#include "restore/restore_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/wait.h>

#define POLL_US INT64_C(200000)
#define STALL_US (INT64_C(10) * 60 * 1000 * 1000)
#define APPEAR_US (INT64_C(30) * 1000 * 1000) /* for postmaster.pid to be written */

enum { LOG_TAIL_BYTES = 16 << 10, LINES_KEPT = 5 };

struct follow {
	const struct env *env;
	const struct restore_request *request;
	const struct restore_plan *plan;
	struct error *why;
	char directory[PATH_MAX], binaries[PATH_MAX], conninfo[PATH_MAX];
	struct restore_started *out;
	struct session *session;
	int64_t started_us;
	uint64_t log_from; /* bytes that were in the log before */
	bool seen_alive;
	/* What has to change now and then. */
	uint64_t log_bytes, control_sum, wal_mtime_ns;
	struct lsn replayed;
	int64_t moved_us;
};

/* ---- running pg_ctl ---- */

/* Runs a program to its end, its output appended to the server's log: stdout is the caller's. */
static enum err run_program(struct follow *f, const char *const argv[], int *status)
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

static bool in_directory(const struct follow *f, const char *name, char out[PATH_MAX])
{
	int n = snprintf(out, PATH_MAX, "%s/%s", f->directory, name);

	return n > 0 && n < PATH_MAX;
}

static bool stat_in(const struct follow *f, const char *name, struct stat *st)
{
	char path[PATH_MAX];

	return in_directory(f, name, path) &&
	       f->env->files->ops->stat(f->env->files, AT_FDCWD, path, 0, st) >= 0;
}

/* What the server wrote since we started it, its last part; "" when nothing can be read. */
static void log_tail(const struct follow *f, char out[LOG_TAIL_BYTES + 1])
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

/* The last lines of the server's log that say why, joined by "; ". */
static void log_reason(const char *log, char *out, size_t out_len)
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

static bool read_control(const struct follow *f, struct control *out)
{
	char path[PATH_MAX];
	uint8_t *data;
	size_t len;
	bool good;

	if (!in_directory(f, "global/pg_control", path) ||
	    file_read_all(f->env->files, AT_FDCWD, path, CONTROL_FILE_BYTES, &data, &len, NULL) !=
		    ERR_NONE)
		return false;
	good = control_decode(bytes_of(data, len), out, NULL) == ERR_NONE;
	free(data);
	return good;
}

/* ---- asking the server ---- */

enum stage { STAGE_UNKNOWN, STAGE_REPLAYING, STAGE_PAUSED, STAGE_PROMOTED };

static const char question[] =
	"SELECT pg_catalog.pg_is_in_recovery(), CASE WHEN pg_catalog.pg_is_in_recovery() "
	"THEN pg_catalog.pg_get_wal_replay_pause_state() END, "
	"pg_catalog.pg_last_wal_replay_lsn(), pg_catalog.to_char("
	"pg_catalog.pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', "
	"'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";

static void open_session(struct follow *f)
{
	/* The superuser is named like the one who runs the server, or as everywhere. */
	static const char *const users[] = {"", " user=postgres"};

	for (size_t i = 0; i < 2 && f->session == NULL; i++) {
		char conninfo[PATH_MAX + 32];
		struct session_options options = {.conninfo = conninfo,
						  .kind = SESSION_SQL,
						  .application_name = "pgagent restore",
						  .connect_timeout_s = 5};
		struct error ignored;

		(void)snprintf(conninfo, sizeof(conninfo), "%s%s", f->conninfo, users[i]);
		if (session_open(f->env, &options, &f->session, &ignored) != ERR_NONE) {
			f->session = NULL;
			if (ignored.kind == ERR_TRANSIENT)
				return;
		}
	}
}

static enum stage ask(struct follow *f)
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

/* Recovery settings must not outlive recovery: the next start would stop at them again. */
static void reset_settings(struct follow *f)
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
	if (session_query(f->session, "SELECT pg_catalog.pg_reload_conf()", &rows, &cause) ==
	    ERR_NONE)
		rows_free(rows);
}

/* ---- deciding ---- */

static void report_progress(struct follow *f)
{
	struct lsn start = f->plan->backup.start;
	struct lsn end = f->plan->target_lsn.value != 0 ? f->plan->target_lsn : f->plan->reach.end;
	struct progress progress = {.phase = "replay"};

	progress.total_bytes = end.value > start.value ? end.value - start.value : 0;
	if (f->replayed.value > start.value)
		progress.done_bytes = f->replayed.value - start.value;
	if (progress.done_bytes > progress.total_bytes)
		progress.done_bytes = progress.total_bytes;
	observer_progress(f->env->observer, &progress);
}

/* ERR_TRANSIENT when nothing has moved for too long. */
static enum err check_stall(struct follow *f, struct lsn before)
{
	int64_t now = clock_monotonic_us(f->env->clock);
	uint64_t log = 0, control = 0, wal = 0;
	struct stat st;

	if (f->env->files->ops->stat(f->env->files, AT_FDCWD, f->out->log_file, 0, &st) >= 0)
		log = (uint64_t)st.st_size;
	if (stat_in(f, "global/pg_control", &st))
		control = (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
	if (stat_in(f, "pg_wal", &st))
		wal = (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
	if (log != f->log_bytes || control != f->control_sum || wal != f->wal_mtime_ns ||
	    before.value != f->replayed.value)
		f->moved_us = now;
	f->log_bytes = log;
	f->control_sum = control;
	f->wal_mtime_ns = wal;
	if (now - f->moved_us < STALL_US)
		return ERR_NONE;
	(void)error_set(f->why, ERR_TRANSIENT,
			"the server in \"%s\" has not moved on for 10 minutes; it is left running",
			f->directory);
	error_hint(f->why,
		   "look at its log, \"%s\", and at what it waits for: a restore_command "
		   "that hangs, a full disk",
		   f->out->log_file);
	return ERR_TRANSIENT;
}

/* The process has ended: as it was asked to, or not. */
static enum err judge_end(struct follow *f)
{
	char log[LOG_TAIL_BYTES + 1], reason[700];
	struct control control;

	if (f->plan->action == ACTION_SHUTDOWN && read_control(f, &control) &&
	    control.state == CONTROL_SHUTDOWNED_IN_RECOVERY) {
		f->out->reached = control.min_recovery;
		return ERR_NONE;
	}
	log_tail(f, log);
	log_reason(log, reason, sizeof(reason));
	if (strstr(log, "recovery ended before configured recovery target was reached") != NULL ||
	    strstr(log, "requested recovery stop point is before consistent recovery point") !=
		    NULL) {
		(void)error_set(f->why, ERR_MISSING,
				"the target was not reached, and the server in \"%s\" stopped "
				"instead of being promoted: %s",
				f->directory, reason);
		error_hint(f->why, "pgagent list shows what can be reached; for an earlier start "
				   "name a backup with --backup, for all there is --to-latest, "
				   "each with an empty directory");
		return ERR_MISSING;
	}
	(void)error_set(f->why, ERR_PEER, "the server in \"%s\" stopped: %s", f->directory,
			reason[0] != '\0' ? reason : "its log says nothing");
	error_hint(f->why, "its log is \"%s\"", f->out->log_file);
	return ERR_PEER;
}

/* Replay also pauses when the original raised a limit that the copy does not have. */
static bool paused_for_limits(struct follow *f)
{
	char log[LOG_TAIL_BYTES + 1], reason[256];

	log_tail(f, log);
	if (strstr(log, "hot standby is not possible because of insufficient parameter settings") ==
	    NULL)
		return false;
	log_reason(log, reason, sizeof(reason));
	(void)error_set(f->why, ERR_PEER,
			"replay in \"%s\" is paused before the target: a setting is lower than "
			"the original's: %s",
			f->directory, reason);
	error_hint(f->why, "restore again with --set and the values that the log names: \"%s\"",
		   f->out->log_file);
	return true;
}

static enum err stop_server(struct follow *f)
{
	char program[PATH_MAX + 16];
	const char *argv[] = {program, "stop", "-D", f->directory, "-m", "fast", "-w", NULL};
	struct error cancelled;
	int status;

	(void)snprintf(program, sizeof(program), "%s/pg_ctl", f->binaries);
	(void)error_set(&cancelled, ERR_CANCELLED,
			"restore: stopped on request; the server in \"%s\" was stopped, the "
			"restored directory is whole",
			f->directory);
	if (run_program(f, argv, &status) != ERR_NONE)
		(void)error_set(&cancelled, ERR_CANCELLED,
				"restore: stopped on request; the server in \"%s\" still runs",
				f->directory);
	*f->why = cancelled;
	return ERR_CANCELLED;
}

/* One look; *done when there is nothing more to wait for. */
static enum err look(struct follow *f, bool *done)
{
	struct lsn before = f->replayed;
	char how[256];
	struct control control;
	enum stage stage;

	*done = true;
	if (!directory_is_in_use(f->env, f->directory, how, sizeof(how))) {
		int64_t waited = clock_monotonic_us(f->env->clock) - f->started_us;
		char log[LOG_TAIL_BYTES + 1];

		log_tail(f, log);
		if (f->seen_alive || waited > APPEAR_US || strstr(log, "FATAL:") != NULL)
			return judge_end(f);
		*done = false;
		return ERR_NONE;
	}
	f->seen_alive = true;
	stage = ask(f);
	f->out->reached = f->replayed;
	if (stage == STAGE_PROMOTED) {
		f->out->promoted = true;
		reset_settings(f);
		return ERR_NONE;
	}
	if (stage == STAGE_PAUSED)
		return paused_for_limits(f) ? ERR_PEER : ERR_NONE;
	/* Where nobody is let in, the control file tells at least that recovery is over: by its new
	 * timeline, since "in production" is what the backup's own says. */
	if (stage == STAGE_UNKNOWN && read_control(f, &control) &&
	    control.state == CONTROL_IN_PRODUCTION && control.timeline > f->plan->timeline) {
		if (ask(f) == STAGE_UNKNOWN)
			observer_event(f->env->observer, LEVEL_WARNING,
				       "the server in \"%s\" is promoted, but lets nobody in: run "
				       "ALTER SYSTEM RESET for restore_command and every "
				       "recovery_target* yourself",
				       f->directory);
		else
			reset_settings(f);
		f->out->reached = f->replayed.value != 0 ? f->replayed : control.checkpoint;
		f->out->promoted = true;
		return ERR_NONE;
	}
	*done = false;
	report_progress(f);
	return check_stall(f, before);
}

/* ---- starting ---- */

/* keyword='value' of libpq, with its own quoting. */
static void conninfo_value(struct writer *w, const char *keyword, const char *value)
{
	writer_text(w, "%s='", keyword);
	for (; *value != '\0'; value++) {
		if (*value == '\'' || *value == '\\')
			writer_u8(w, '\\');
		writer_u8(w, (uint8_t)*value);
	}
	writer_text(w, "' ");
}

static enum err prepare(struct follow *f)
{
	unsigned major = (unsigned)(f->plan->backup.server_version / 10000);
	const char *asked = settings_asked(f->request, "port");
	char how[256], hba[PATH_MAX];
	struct writer conninfo;
	struct stat st;
	enum err e = start_find_binaries(major, f->request->search_path, f->binaries, f->why);

	if (e == ERR_NONE)
		e = place_real(f->request->directory, f->directory, f->why);
	if (e == ERR_NONE && directory_is_in_use(f->env, f->directory, how, sizeof(how)))
		e = error_set(f->why, ERR_CONFIG, "a server runs in \"%s\" already: %s",
			      f->directory, how);
	if (e == ERR_NONE)
		e = start_socket_directory(f->env, f->directory, f->out->socket_directory, f->why);
	if (e == ERR_NONE &&
	    (size_t)snprintf(f->out->log_file, sizeof(f->out->log_file), "%s/" RESTORE_LOG,
			     f->directory) >= sizeof(f->out->log_file))
		e = error_set(f->why, ERR_CONFIG, "\"%s\" is too long", f->directory);
	if (e == ERR_NONE && f->plan->side && in_directory(f, RESTORE_HBA, hba) &&
	    !stat_in(f, RESTORE_HBA, &st))
		e = file_replace(f->env->files, f->env->random, AT_FDCWD, hba,
				 bytes_of_text(settings_hba), 0600, f->why);
	if (e != ERR_NONE)
		return e;
	f->out->port = f->request->port != 0 ? f->request->port
		       : asked != NULL       ? (int)strtol(asked, NULL, 10)
					     : start_free_port(f->env);
	if (stat_in(f, RESTORE_LOG, &st))
		f->log_from = (uint64_t)st.st_size;
	writer_init(&conninfo, sizeof(f->conninfo));
	conninfo_value(&conninfo, "host", f->out->socket_directory);
	writer_text(&conninfo, "port=%d dbname=postgres", f->out->port);
	writer_u8(&conninfo, 0);
	if (conninfo.bad)
		e = error_set(f->why, ERR_CONFIG, "\"%s\" is too long", f->directory);
	else
		memcpy(f->conninfo, conninfo.data, conninfo.len);
	writer_release(&conninfo);
	return e;
}

static enum err start(struct follow *f)
{
	char program[PATH_MAX + 16];
	struct writer options;
	struct stat st;
	int status = 0;
	enum err e;

	(void)snprintf(program, sizeof(program), "%s/pg_ctl", f->binaries);
	writer_init(&options, 16384);
	start_options(&options, f->plan, f->directory, f->out->socket_directory, f->out->port,
		      stat_in(f, RESTORE_CONF, &st), true);
	writer_u8(&options, 0);
	if (options.bad) {
		e = error_set(f->why, ERR_CONFIG, "\"%s\" is too long", f->directory);
	} else {
		const char *argv[] = {program, "start",
				      "-W",    "-s",
				      "-D",    f->directory,
				      "-l",    f->out->log_file,
				      "-o",    (const char *)options.data,
				      NULL};

		e = run_program(f, argv, &status);
	}
	writer_release(&options);
	f->started_us = f->moved_us = clock_monotonic_us(f->env->clock);
	if (e == ERR_NONE && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
		return judge_end(f);
	return e;
}

enum err restore_start(const struct env *env, const struct restore_request *request,
		       const struct restore_plan *plan, struct restore_started *out,
		       struct error *why)
{
	struct restore_started started = {.port = 0};
	struct follow *f = calloc(1, sizeof(*f));
	struct error unheard;
	bool done = false;
	enum err e;

	if (f == NULL)
		return error_set(why, ERR_MEMORY, "restore: out of memory");
	*f = (struct follow){.env = env,
			     .request = request,
			     .plan = plan,
			     .why = why != NULL ? why : &unheard,
			     .out = &started};
	e = prepare(f);
	if (e == ERR_NONE)
		e = start(f);
	while (e == ERR_NONE && !done) {
		if (*env->cancelled)
			e = stop_server(f);
		else
			e = look(f, &done);
		if (e == ERR_NONE && !done)
			clock_sleep_us(env->clock, POLL_US);
	}
	session_close(f->session);
	started.duration_us = clock_monotonic_us(env->clock) - f->started_us;
	free(f);
	if (e == ERR_NONE)
		*out = started;
	return e;
}
