/* restore/follow.c - starts the restored server and follows its replay until it is paused at the
 * target, promoted, or gone.
 *
 * pg_ctl says "started" long before recovery ends, and in some cases before it fails.  So the
 * server itself is asked, again and again, and where it cannot be asked (before it is consistent,
 * or when it lets nobody in) its process, its log and its files are looked at.
 */
#include "base/file.h"
#include "postgres/session.h"
#include "restore/follow_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#define POLL_US INT64_C(200000)
#define STALL_US (INT64_C(10) * 60 * 1000 * 1000)
#define APPEAR_US (INT64_C(30) * 1000 * 1000) /* for postmaster.pid to be written */

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
	if (follow_stat(f, "global/pg_control", &st))
		control = (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
	if (follow_stat(f, "pg_wal", &st))
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

/* Shut down at the target, as it was asked to. */
static bool is_shut_down(struct follow *f)
{
	struct control control;

	if (f->plan->action != ACTION_SHUTDOWN || !follow_control(f, &control) ||
	    control.state != CONTROL_SHUTDOWNED_IN_RECOVERY)
		return false;
	f->out->reached = control.min_recovery;
	return true;
}

/* What to do when the target was not there.  A time is over for PostgreSQL only when a transaction
 * behind it ended, so the last one that it saw is what the next try has to know. */
static void hint_not_reached(struct follow *f, const char *log)
{
	static const char last[] = "last completed transaction was at log time ";
	const char *at = strstr(log, last);

	if (f->plan->kind == TARGET_TIME && at != NULL) {
		at += strlen(last);
		error_hint(f->why,
			   "the last transaction that is archived ended at %.*s: an earlier "
			   "--to-time stops before it, --to-latest takes it too; each with "
			   "--delta, which reuses this directory, or with an empty one",
			   (int)strcspn(at, "\n"), at);
		return;
	}
	error_hint(f->why, "pgagent list shows what can be reached; for an earlier start "
			   "name a backup with --backup, for all there is --to-latest, "
			   "each with --delta, which reuses this directory, or with an empty one");
}

/* The process has ended: as it was asked to, or not. */
static enum err judge_end(struct follow *f)
{
	char log[LOG_TAIL_BYTES + 1], reason[700];

	if (is_shut_down(f))
		return ERR_NONE;
	follow_log_tail(f, log);
	follow_log_reason(log, reason, sizeof(reason));
	if (strstr(log, "recovery ended before configured recovery target was reached") != NULL ||
	    strstr(log, "requested recovery stop point is before consistent recovery point") !=
		    NULL) {
		(void)error_set(f->why, ERR_MISSING,
				"the target was not reached, and the server in \"%s\" stopped "
				"instead of being promoted: %s",
				f->directory, reason);
		hint_not_reached(f, log);
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

	follow_log_tail(f, log);
	if (strstr(log, "hot standby is not possible because of insufficient parameter settings") ==
	    NULL)
		return false;
	follow_log_reason(log, reason, sizeof(reason));
	(void)error_set(f->why, ERR_PEER,
			"replay in \"%s\" is paused before the target: a setting is lower than "
			"the original's: %s",
			f->directory, reason);
	error_hint(f->why,
		   "stop it, and restore again with --delta, and with --set and the values that "
		   "the log names: \"%s\"",
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
	if (follow_run_program(f, argv, &status) != ERR_NONE)
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
	if (directory_is_in_use(f->env, f->directory, how, sizeof(how)) != DIRECTORY_USED) {
		int64_t waited = clock_monotonic_us(f->env->clock) - f->started_us;
		char log[LOG_TAIL_BYTES + 1];

		follow_log_tail(f, log);
		if (f->seen_alive || waited > APPEAR_US || strstr(log, "FATAL:") != NULL ||
		    is_shut_down(f))
			return judge_end(f);
		*done = false;
		return ERR_NONE;
	}
	f->seen_alive = true;
	stage = follow_ask(f);
	f->out->reached = f->replayed;
	if (stage == STAGE_PROMOTED) {
		f->out->promoted = true;
		follow_reset_settings(f);
		return ERR_NONE;
	}
	if (stage == STAGE_PAUSED) {
		if (paused_for_limits(f))
			return ERR_PEER;
		follow_locks(f);
		return ERR_NONE;
	}
	/* One that answers is consistent; it has no end that could be waited for. */
	if (stage == STAGE_REPLAYING && f->request->standby)
		return ERR_NONE;
	/* Where nobody is let in, the control file tells at least that recovery is over: by its new
	 * timeline, since "in production" is what the backup's own says. */
	if (stage == STAGE_UNKNOWN && follow_control(f, &control) &&
	    control.state == CONTROL_IN_PRODUCTION && control.timeline > f->plan->timeline) {
		if (follow_ask(f) == STAGE_UNKNOWN)
			observer_event(f->env->observer, LEVEL_WARNING,
				       "the server in \"%s\" is promoted, but lets nobody in: run "
				       "ALTER SYSTEM RESET for restore_command and every "
				       "recovery_target* yourself",
				       f->directory);
		else
			follow_reset_settings(f);
		f->out->reached = f->replayed.value != 0 ? f->replayed : control.checkpoint;
		f->out->promoted = true;
		return ERR_NONE;
	}
	*done = false;
	report_progress(f);
	return check_stall(f, before);
}

/* ---- starting ---- */

static enum err prepare(struct follow *f)
{
	unsigned major = (unsigned)(f->plan->backup.server_version / 10000);
	const char *asked = settings_asked(f->request, "port");
	char how[256], hba[PATH_MAX];
	struct writer conninfo;
	struct stat st;
	enum err e = programs_find(f->env, major, f->request->search_path, f->binaries, f->why);

	if (e == ERR_NONE)
		e = place_real(f->request->directory, f->directory, f->why);
	if (e == ERR_NONE &&
	    directory_is_in_use(f->env, f->directory, how, sizeof(how)) != DIRECTORY_FREE)
		e = error_set(f->why, ERR_CONFIG, "a server runs in \"%s\" already: %s",
			      f->directory, how);
	if (e == ERR_NONE)
		e = start_socket_directory(f->env, f->directory, f->out->socket_directory, f->why);
	if (e == ERR_NONE &&
	    (size_t)snprintf(f->out->log_file, sizeof(f->out->log_file), "%s/" RESTORE_LOG,
			     f->directory) >= sizeof(f->out->log_file))
		e = error_set(f->why, ERR_CONFIG, "\"%s\" is too long", f->directory);
	if (e == ERR_NONE && f->plan->side && follow_path(f, RESTORE_HBA, hba) &&
	    !follow_stat(f, RESTORE_HBA, &st))
		e = file_replace(f->env->files, f->env->random, AT_FDCWD, hba,
				 bytes_of_text(settings_hba), 0600, f->why);
	if (e != ERR_NONE)
		return e;
	f->out->port = f->request->port != 0 ? f->request->port
		       : asked != NULL       ? (int)strtol(asked, NULL, 10)
					     : start_free_port(f->env);
	if (follow_stat(f, RESTORE_LOG, &st))
		f->log_from = (uint64_t)st.st_size;
	writer_init(&conninfo, sizeof(f->conninfo));
	follow_conninfo_value(&conninfo, "host", f->out->socket_directory);
	writer_text(&conninfo, "port=%d ", f->out->port);
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
		      follow_stat(f, RESTORE_CONF, &st), true);
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

		e = follow_run_program(f, argv, &status);
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
