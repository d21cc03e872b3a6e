/* commands/restore_closing.c - what is said when a restore has ended: tables that are locked, and the three lines to
 * type next.
 */
#include "commands/restore_report.h"
#include "commands/restore_request.h"
#include "commands/restore_standby.h"
#include "escape.h"

#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SERVER_MAX = 1024 }; /* two words for a shell and a port */

void restore_target_option(const struct restore_request *request, char *out, size_t size)
{
	char quoted[512] = "";

	out[0] = '\0';
	if (request->requested == NULL || !escape_shell(request->requested, quoted, sizeof(quoted)))
		return;
	(void)snprintf(out, size, " --to-%s %s%s", restore_target_name(request->kind), quoted,
		       request->exclusive ? " --exclusive" : ""); /* a cut line is still a hint */
}

/* "/usr/lib/postgresql/15/bin/pg_ctl", which is not on everybody's PATH: the start command's first
 * word, as quoted there. */
static void control_command(const struct restore_result *result, char *out, size_t size)
{
	const char *end = strstr(result->start_command, " -D ");

	(void)snprintf(out, size, "%.*s", end != NULL ? (int)(end - result->start_command) : 6,
		       end != NULL ? result->start_command : "pg_ctl"); /* cut: still a hint */
}

/* " -h DIR -p PORT", and the user where that is not who runs it. */
static void server_options(const struct restore_started *started, char out[SERVER_MAX])
{
	char sockets[2 * sizeof(started->socket_directory)], user[4 * sizeof(started->user)];
	const struct passwd *own = getpwuid(geteuid());

	if (!escape_shell(started->socket_directory, sockets, sizeof(sockets)) ||
	    !escape_shell(started->user, user, sizeof(user)))
		return;
	if (*started->user == '\0' || (own != NULL && strcmp(own->pw_name, started->user) == 0))
		(void)snprintf(out, SERVER_MAX, " -h %s -p %d", sockets, started->port); /* fits */
	else
		(void)snprintf(out, SERVER_MAX, " -h %s -p %d -U %s", sockets, started->port,
			       user); /* fits */
}

static void say_look(struct report *r, const struct restore_closing *c, const char *server)
{
	if (c->started != NULL)
		report_text(r, "to look:          psql%s -d postgres\n", server);
	else if (c->plan->side)
		report_text(r, "to look:          %s\n", c->result->start_command);
	else
		report_text(r, "to start it:      %s\n", c->result->start_command);
}

void restore_locks_warn(struct report *r, const struct restore_request *request,
			const struct restore_result *result, const struct restore_started *started)
{
	char names[600] = "", control[PATH_MAX], directory[2 * PATH_MAX];
	json_t *list = json_array();
	size_t used = 0, named = 0;

	for (size_t i = 0; i < started->locks && i < RESTORE_LOCKS_MAX; i++) {
		const struct restore_lock *lock = &started->lock[i];
		json_t *one = json_object();
		int n = snprintf(names + used, sizeof(names) - used, "%s%s (database %s)",
				 i > 0 ? ", " : "", lock->table, lock->database);

		if (n > 0 && (size_t)n < sizeof(names) - used) {
			used += (size_t)n;
			named++;
		} else {
			names[used] = '\0';
		}
		report_put(one, "database", report_json_text(lock->database));
		report_put(one, "table", report_json_text(lock->table));
		(void)json_array_append_new(list, one); /* without memory the dump fails */
	}
	report_put(r->root, "locked", list);
	if (started->locks == 0)
		return;
	control_command(result, control, sizeof(control));
	if (!escape_shell(request->directory, directory, sizeof(directory)))
		(void)snprintf(directory, sizeof(directory), "DIR"); /* fits */
	report_warning(r,
		       "%s%s locked by a transaction that was cut off at the target: to read it "
		       "waits until the server is promoted: %s promote -D %s",
		       names, started->locks > named ? " and others are" : " is", control,
		       directory);
}

/* A server that is paused, or shuts down, at its target cannot be backed up as the new one yet. */
static void say_keep_in_place(struct report *r, const struct restore_closing *c)
{
	const char *first = "once it runs, ";

	if (c->plan->action == ACTION_PAUSE)
		first = "it is paused at the target, read-only, until SELECT "
			"pg_wal_replay_resume(); then ";
	else if (c->plan->action == ACTION_SHUTDOWN)
		first = "it shuts down at the target; recovery_target_action = 'promote' in "
			"postgresql.auto.conf and another start promote it; then ";
	report_text(r, "to keep it:       %spgagent backup --checkpoint fast%s\n", first,
		    c->source);
}

/* Who lost the machine wanted another server in its place, not a copy; that is where its directory was. */
static const char *replace_text(const struct restore_plan *plan, char *out, size_t size)
{
	char directory[PATH_MAX];

	out[0] = '\0';
	if (plan->backup.data_directory[0] != '\0' &&
	    escape_shell(plan->backup.data_directory, directory, sizeof(directory)))
		(void)snprintf(out, size,
			       "; a server in the original's place: restore -D %s --in-place "
			       "--archiving keep",
			       directory); /* a cut line is still a hint */
	return out;
}

/* What cannot be quoted is left out: the plan then says that it is missing. */
static void say_option(struct report *r, const char *name, const char *value)
{
	char quoted[4 * PATH_MAX];

	if (escape_shell(value, quoted, sizeof(quoted)))
		report_text(r, " %s %s", name, quoted);
}

/* The directory is not empty any more.  A copy that is paused has written nothing of its own, so what lies there is
 * reused, and tablespaces go where they are; one that was promoted is not thrown away by what is typed
 * next. */
static void say_reuse(struct report *r, const struct restore_request *request,
		      const char *directory)
{
	char word[2 * PATH_MAX];

	report_text(r, "%s --delta", directory);
	for (size_t i = 0; i < request->tablespaces; i++) {
		const struct restore_tablespace *t = &request->tablespace[i];

		(void)snprintf(word, sizeof(word), "%s=%s", t->name_or_oid, t->directory);
		say_option(r, "--tablespace", word);
	}
	if (request->tablespace_dir != NULL)
		say_option(r, "--tablespace-dir", request->tablespace_dir);
}

void restore_closing_text(struct report *r, const struct restore_closing *c)
{
	const struct restore_request *request = c->request;
	char server[SERVER_MAX] = "", directory[2 * PATH_MAX], target[600];
	char control[PATH_MAX], replace[2 * PATH_MAX];

	if (c->started != NULL)
		server_options(c->started, server);
	if (!escape_shell(request->directory, directory, sizeof(directory)))
		(void)snprintf(directory, sizeof(directory), "DIR"); /* fits */
	restore_target_option(request, target, sizeof(target));
	control_command(c->result, control, sizeof(control));
	say_look(r, c, server);
	if (request->standby) {
		restore_standby_closing(r, control, directory);
		return;
	}
	if (!c->plan->side)
		say_keep_in_place(r, c);
	else if (c->started != NULL && c->started->promoted)
		report_text(r,
			    "to keep it:       it is a server of its own now, with no network, no "
			    "subscriptions and no jobs%s; what you need from it: pg_dump%s%s\n",
			    request->keep_archiving ? "" : ", and archives nothing", server,
			    replace_text(c->plan, replace, sizeof(replace)));
	else
		report_text(r, "to keep it:       %s%s promote -D %s, or pg_dump what you need\n",
			    c->started != NULL ? "" : "once it runs, ", control, directory);
	report_text(r, "to try another:   ");
	/* In place it may be the production server by now, which is nothing to be stopped lightly. */
	if (c->plan->side)
		report_text(r, "%s stop -m immediate -D %s; ", control, directory);
	report_text(r, "%s restore -D ", request->program);
	if (c->plan->side && c->plan->action != ACTION_PROMOTE)
		say_reuse(r, request, directory);
	else
		report_text(r, "ANOTHER_DIR");
	report_text(r, "%s%s --start\n", *target != '\0' ? target : " --to-time '10 minutes ago'",
		    c->source);
}
