/* restore/salvage.c - WAL that only the lost server's pg_wal has: into the plan, and into the archive.
 *
 * The lost server's directory is the one being restored over in place, or one that was moved away and is
 * named.  What can be saved is planned with as if it were archived; what cannot is a problem of the plan, as
 * it would be lost, or with --discard-wal a warning.
 */
#include "base/file.h"
#include "restore/plan_internal.h"
#include "wal/unarchived.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum err lost_open(const struct env *env, const char *path, struct lost_server *out,
		   struct error *why)
{
	struct files *files = env->files;
	int top = files->ops->open(files, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	uint8_t *data = NULL;
	size_t len = 0;
	enum err e;

	if (top < 0)
		return error_set(why, ERR_MISSING, "\"%s\" cannot be opened", path);
	e = file_read_all(files, top, "global/pg_control", CONTROL_FILE_BYTES, &data, &len, why);
	if (e == ERR_NONE)
		e = control_decode(bytes_of(data, len), &out->control, why);
	free(data);
	/* Also through a link: it is only read, and WAL is often kept on another disk. */
	if (e == ERR_NONE) {
		out->wal = files->ops->open(files, top, "pg_wal", O_RDONLY | O_DIRECTORY, 0);
		if (out->wal < 0)
			e = error_set(why, ERR_MISSING, "\"%s/pg_wal\" cannot be opened", path);
	}
	(void)files->ops->close(files, top); /* a directory */
	return e == ERR_NONE || e == ERR_MEMORY ? e : (why->kind = ERR_MISSING);
}

struct wal_salvage_source lost_source(const struct lost_server *server, bool adopt)
{
	const struct control *c = &server->control;

	return (struct wal_salvage_source){
		.dir = server->wal,
		.segment_bytes = c->wal_segment_bytes,
		.timeline = c->min_recovery_timeline > c->timeline ? c->min_recovery_timeline
								   : c->timeline,
		.adopt = adopt,
	};
}

/* ---- planning ---- */

void plan_see_recorded(struct planning *p, const char *data_directory)
{
	char there[PATH_MAX], recorded[PATH_MAX];

	if (!p->recorded_here && data_directory[0] == '/' &&
	    place_real(data_directory, recorded, NULL) == ERR_NONE &&
	    place_real(p->request->directory, there, NULL) == ERR_NONE)
		p->recorded_here = strcmp(there, recorded) == 0;
}

static void named_is_none(struct planning *p, const char *path, const char *why)
{
	problem_add(p->plan, "salvage_foreign", "--salvage-wal \"%s\": %s", path, why);
	problem_hint(p->plan,
		     "name the data directory of the lost server itself, with its global and "
		     "pg_wal in it");
}

/* What no salvage would save.  --discard-wal makes a warning of it. */
static void say_lost(struct planning *p, const char *path, const char *code, const char *what)
{
	const char *reason = p->plan->salvage.reason;

	if (p->request->discard_wal) {
		observer_event(p->env->observer, LEVEL_WARNING,
			       "\"%s/pg_wal\" holds WAL that was never archived, which is "
			       "discarded as asked: %s%s%s",
			       path, what, *what != '\0' && *reason != '\0' ? "; " : "", reason);
		return;
	}
	problem_add(p->plan, code,
		    "\"%s/pg_wal\" holds WAL that was never archived and cannot be saved: "
		    "%s%s%s",
		    path, what, *what != '\0' && *reason != '\0' ? "; " : "", reason);
	if (p->plan->salvage.answer == WAL_SALVAGE_UNKNOWN)
		problem_hint(
			p->plan,
			"when it is what is to be restored: --salvage-wal %s with the same command; to "
			"lose it: --discard-wal",
			path);
	else
		problem_hint(p->plan, "copy pg_wal away if it may be needed; to go on and lose it: "
				      "--discard-wal");
}

static enum err look_at_lost(struct planning *p, const char *path, int wal)
{
	struct wal_unarchived lost = {.segments = 0};
	char what[320];
	enum err e =
		wal_unarchived_look(p->env, p->archive, wal, p->lost_segment_bytes, &lost, p->why);

	if (e != ERR_NONE)
		return error_add(p->why, "what \"%s/pg_wal\" holds", path);
	if (lost.segments > 0) {
		delta_describe_wal(&lost, what);
		say_lost(p, path, "wal_not_archived", what);
	} else if (p->plan->salvage.answer == WAL_SALVAGE_BRANCH) {
		say_lost(p, path, "wal_of_another_branch", "");
	}
	return ERR_NONE;
}

/* A server writes where its last checkpoint is only once that is on the disk. */
static void say_damaged(struct planning *p, const char *path, const struct control *control)
{
	char end[LSN_TEXT_MAX], checkpoint[LSN_TEXT_MAX], what[160];

	lsn_to_text(p->plan->salvage.end, end);
	lsn_to_text(control->checkpoint, checkpoint);
	(void)snprintf(
		what, sizeof(what),
		"it is damaged at %s, before the server's last checkpoint at %s, and what lies "
		"behind cannot be replayed",
		end, checkpoint); /* fits */
	say_lost(p, path, "wal_damaged", what);
}

static enum err look_at(struct planning *p, const char *path, const struct lost_server *server)
{
	const struct wal_salvage_source source =
		lost_source(server, p->request->salvage_directory != NULL);
	struct restore_plan *plan = p->plan;
	enum err e = wal_salvage_look(p->env, p->archive, &source, &p->salvage, p->why);

	if (e != ERR_NONE)
		return error_add(p->why, "what \"%s/pg_wal\" holds", path);
	plan->salvage = *wal_salvage_found(p->salvage);
	(void)snprintf(plan->salvage_from, sizeof(plan->salvage_from), "%s", path);
	if (plan->salvage.answer == WAL_SALVAGE_FOUND)
		p->as_if.salvage = p->salvage;
	p->lost_segment_bytes = server->control.wal_segment_bytes;
	if (plan->salvage.end.value != 0 &&
	    plan->salvage.end.value <= server->control.checkpoint.value)
		say_damaged(p, path, &server->control);
	return look_at_lost(p, path, server->wal);
}

/* What a server still writes cannot be judged: not what is lost, and not what can be reached.  So that is all
 * that is said. */
static bool is_stopped(struct planning *p, const char *path)
{
	const char *what = p->request->salvage_directory != NULL ? "--salvage-wal" : "directory";
	char how[256], hint[PATH_MAX + 256];
	enum directory_use use = directory_is_in_use(p->env, path, how, sizeof(how));

	if (use == DIRECTORY_FREE)
		return true;
	directory_use_hint(use, path, hint, sizeof(hint));
	problem_add(p->plan, "server_running", "%s \"%s\" %s in use by a server: %s", what, path,
		    use == DIRECTORY_USED ? "is" : "may be", how);
	problem_hint(p->plan, "%s", hint);
	p->lost_is_in_use = true;
	return false;
}

enum err plan_salvage(struct planning *p)
{
	const struct restore_request *r = p->request;
	const char *named = r->salvage_directory;
	struct lost_server server;
	char path[PATH_MAX];
	enum err e;

	if (r->skip_salvage)
		return ERR_NONE;
	for (size_t i = 0; named == NULL && r->delta && i < p->archive->count; i++) {
		struct identity identity;

		if (identity_read(&p->archive->cluster[i], &identity, p->why) == ERR_NONE)
			plan_see_recorded(p, identity.data_directory);
	}
	if (named == NULL && (!r->delta || !p->recorded_here))
		return ERR_NONE;
	e = place_real(named != NULL ? named : r->directory, path, p->why);
	if (e == ERR_NONE)
		e = lost_open(p->env, path, &server, p->why);
	if (e != ERR_NONE) {
		/* Of the directory itself target_check says what it is. */
		if (named != NULL && e != ERR_MEMORY)
			named_is_none(p, path, p->why->text);
		return e == ERR_MEMORY ? e : ERR_NONE;
	}
	p->lost_wal = server.wal;
	if (server.control.system_identifier != p->archive->cluster[0].system_identifier) {
		if (named != NULL)
			named_is_none(p, path, "it belongs to another cluster");
		return ERR_NONE;
	}
	return is_stopped(p, path) ? look_at(p, path, &server) : ERR_NONE;
}

void plan_salvage_release(struct planning *p)
{
	wal_salvage_free(p->salvage);
	if (p->lost_wal >= 0)
		(void)p->env->files->ops->close(p->env->files, p->lost_wal); /* a directory */
}

/* ---- doing ---- */

/* A server may have been started since the plan was made. */
static enum err refuse_running(const struct env *env, const char *path, struct error *why)
{
	char how[256], hint[PATH_MAX + 256];
	enum directory_use use = directory_is_in_use(env, path, how, sizeof(how));

	if (use == DIRECTORY_FREE)
		return ERR_NONE;
	directory_use_hint(use, path, hint, sizeof(hint));
	(void)error_set(why, ERR_CONFIG, "\"%s\" %s in use by a server: %s", path,
			use == DIRECTORY_USED ? "is" : "may be", how);
	error_hint(why, "%s", hint);
	return ERR_CONFIG;
}

/* Behind what the repository itself has to say. */
static void hint_discard(struct error *why)
{
	char old[sizeof(why->hint)];

	memcpy(old, why->hint, sizeof(old));
	error_hint(why,
		   "nothing in the directory was changed; to go on without that WAL, and lose it: "
		   "--discard-wal%s%.300s",
		   *old != '\0' ? "; " : "", old);
}

enum err restore_salvage(const struct env *env, const struct wal_archive *archive,
			 const struct restore_request *request, const struct restore_plan *plan,
			 int level, struct restore_salvaged *out, struct error *why)
{
	struct wal_salvage_source source;
	struct wal_salvage *salvage = NULL;
	struct lost_server server = {.wal = -1};
	size_t complete = 0;
	enum err e;

	if (!plan->reachable)
		return error_set(why, ERR_CONFIG, "restore: %s", plan->reason);
	e = refuse_running(env, plan->salvage_from, why);
	if (e == ERR_NONE)
		e = lost_open(env, plan->salvage_from, &server, why);
	if (e != ERR_NONE)
		return e;
	source = lost_source(&server, request->salvage_directory != NULL);
	e = wal_salvage_look(env, archive, &source, &salvage, why);
	if (e == ERR_NONE && wal_salvage_found(salvage)->answer == WAL_SALVAGE_FOUND)
		e = wal_salvage_put(salvage, level, &complete, why);
	if (e == ERR_NONE)
		*out = (struct restore_salvaged){.found = *wal_salvage_found(salvage),
						 .complete = complete};
	else
		hint_discard(why);
	wal_salvage_free(salvage);
	(void)env->files->ops->close(env->files, server.wal); /* a directory */
	return e;
}
