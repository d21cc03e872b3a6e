/* restore/target.c - the directories being written: opening, emptying, markers, fsync.
 *
 * Nothing is ever reached by a path from the root again once its descriptor is held, and below it
 * no symbolic link is followed: somebody who can write there cannot lead the restore elsewhere.
 */
#include "base/file.h"
#include "restore/target_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>

int target_names_add(void *ctx, const char *name, mode_t type)
{
	struct target_names *n = ctx;

	if (n->count == n->max) {
		size_t max = n->max == 0 ? 32 : n->max * 2;
		char **more = realloc(n->name, max * sizeof(*more));
		mode_t *types;

		if (more == NULL)
			return -ENOMEM;
		n->name = more;
		types = realloc(n->type, max * sizeof(*types));
		if (types == NULL)
			return -ENOMEM;
		n->type = types;
		n->max = max;
	}
	n->type[n->count] = type;
	n->name[n->count] = strdup(name);
	if (n->name[n->count] == NULL)
		return -ENOMEM;
	n->count++;
	return 0;
}

void target_names_release(struct target_names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->name[i]);
	free(n->name);
	free(n->type);
}

enum err target_failed(struct error *why, int answer, const char *what, const char *root,
		       const char *path)
{
	enum err kind = error_kind_of_os(-answer);

	/* What is not there or already there is nobody's answer here: somebody interferes. */
	if (kind == ERR_MISSING || kind == ERR_EXISTS)
		kind = ERR_IO;
	(void)error_set_os(why, kind, -answer, "%s \"%s/%s\"", what, root, path);
	if (kind == ERR_FULL)
		error_hint(why, "free some space there, then run the same command again");
	return kind;
}

enum err target_remove(const struct target *t, int dir, const char *path, unsigned depth,
		       const char *name, mode_t type, struct error *why)
{
	const struct files_ops *ops = t->env->files->ops;
	int flags = S_ISDIR(type) ? AT_REMOVEDIR : 0, answer;

	if (flags != 0) {
		int below = ops->open_beneath(t->env->files, dir, name,
					      O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
		enum err e;

		if (below < 0)
			return target_failed(why, below, "opening", path, name);
		e = target_empty(t, below, path, depth + 1, why);
		(void)ops->close(t->env->files, below); /* only read */
		if (e != ERR_NONE)
			return e;
	}
	answer = ops->unlink(t->env->files, dir, name, flags);
	return answer < 0 ? target_failed(why, answer, "removing", path, name) : ERR_NONE;
}

enum err target_empty(const struct target *t, int dir, const char *path, unsigned depth,
		      struct error *why)
{
	struct target_names names = {.count = 0};
	enum err e = ERR_NONE;
	int answer = t->env->files->ops->list(t->env->files, dir, ".", target_names_add, &names);

	if (answer < 0)
		e = target_failed(why, answer, "listing", path, ".");
	else if (depth > TREE_DEPTH_MAX)
		e = error_set(why, ERR_LIMIT, "\"%s\" is nested deeper than %d", path,
			      TREE_DEPTH_MAX);
	for (size_t i = 0; e == ERR_NONE && i < names.count; i++)
		if (depth > 0 || strcmp(names.name[i], RESTORE_MARKER) != 0)
			e = target_remove(t, dir, path, depth, names.name[i], names.type[i], why);
	target_names_release(&names);
	return e;
}

/* pg_control first and durably, so that at no moment half a directory can be started; nor may the server
 * find one behind a link. */
static enum err remove_control(const struct target *t, struct error *why)
{
	const struct files_ops *ops = t->env->files->ops;
	int global = ops->open_beneath(t->env->files, t->dir, "global", O_RDONLY | O_DIRECTORY, 0);
	int answer;

	if (global == -ENOENT)
		return ERR_NONE;
	if (global < 0) {
		answer = ops->unlink(t->env->files, t->dir, "global", 0);
		if (answer >= 0)
			answer = ops->fsync(t->env->files, t->dir);
		return answer < 0 ? target_failed(why, answer, "removing", t->path, "global")
				  : ERR_NONE;
	}
	answer = ops->unlink(t->env->files, global, "pg_control", 0);
	if (answer >= 0 || answer == -ENOENT) /* a removal may not be durable yet */
		answer = ops->fsync(t->env->files, global);
	(void)ops->close(t->env->files, global); /* synced above */
	return answer < 0 && answer != -EISDIR
		       ? target_failed(why, answer, "removing", t->path, "global/pg_control")
		       : ERR_NONE;
}

static enum err empty_target(const struct target *t, struct error *why)
{
	enum err e = remove_control(t, why);

	if (e == ERR_NONE)
		e = target_empty(t, t->dir, t->path, 0, why);
	for (size_t i = 0; e == ERR_NONE && i < t->places; i++)
		e = target_empty(t, t->place[i].dir, t->place[i].path, 0, why);
	return e;
}

static enum err put_file(const struct target *t, int dir, const char *root, const char *path,
			 struct bytes content, mode_t mode, struct error *why)
{
	struct files *files = t->env->files;
	int fd = files->ops->open_beneath(files, dir, path,
					  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	enum err e = ERR_NONE;
	int answer;

	if (fd < 0)
		return target_failed(why, fd, "creating", root, path);
	if (content.len > 0)
		e = file_pwrite(files, fd, content, 0, why);
	if (e != ERR_NONE)
		error_add(why, "writing \"%s/%s\"", root, path);
	answer = e == ERR_NONE ? files->ops->chmod_fd(files, fd, mode & MODE_BITS) : 0;
	if (e == ERR_NONE && answer >= 0)
		answer = files->ops->fsync(files, fd);
	if (answer < 0)
		e = target_failed(why, answer, "writing", root, path);
	answer = files->ops->close(files, fd);
	if (e == ERR_NONE && answer < 0)
		e = target_failed(why, answer, "closing", root, path);
	return e;
}

enum err target_put(const struct target *t, const char *path, struct bytes content, mode_t mode,
		    struct error *why)
{
	return put_file(t, t->dir, t->path, path, content, mode, why);
}

enum err target_sync_dir(const struct target *t, int dir, const char *root, struct error *why)
{
	int answer = t->env->files->ops->fsync(t->env->files, dir);

	return answer < 0 ? target_failed(why, answer, "fsync of", root, ".") : ERR_NONE;
}

enum marker { MARKER_NONE, MARKER_OTHER, MARKER_PREPARING, MARKER_OURS };

static enum marker marker_look(const struct target *t, int dir, const struct restore_plan *plan)
{
	enum marker found = MARKER_OTHER;
	uint8_t *text;
	size_t len;

	if (file_read_all(t->env->files, dir, RESTORE_MARKER, MARKER_BYTES_MAX, &text, &len,
			  NULL) != ERR_NONE)
		return MARKER_NONE;
	if (marker_is_ours(bytes_of(text, len), &plan->backup.attempt,
			   dir != t->dir ? t->path : NULL))
		found = marker_is_preparing(bytes_of(text, len)) ? MARKER_PREPARING : MARKER_OURS;
	free(text);
	return found;
}

enum phase { PHASE_PREPARING, PHASE_WRITING };

/* What is there is kept when it is this restore's, and replaced in one step where files lie beside it: at
 * no moment may they lie there without one. */
static enum err put_marker(const struct target *t, int dir, const char *root,
			   const struct restore_plan *plan, enum phase phase, struct error *why)
{
	char text[PATH_MAX + 512], attempt[ATTEMPT_TEXT_MAX], now[TIME_TEXT_MAX];
	enum marker found = marker_look(t, dir, plan);
	struct bytes content;
	enum err e;
	int answer;

	if (found == MARKER_OURS)
		return ERR_NONE;
	attempt_to_text(&plan->backup.attempt, attempt);
	time_to_text(clock_now_us(t->env->clock), now);
	/* The directory is the last line, since a path may hold anything.  The phase comes before the
	 * attempt: cut short, it must not pass for one that lets a directory be emptied. */
	content = bytes_of(
		text, (size_t)snprintf(text, sizeof(text),
				       "pgagent-restore 1\n%sattempt %s\ncluster %s\n"
				       "system-identifier %" PRIu64 "\nstarted %s\ndirectory %s\n",
				       phase == PHASE_PREPARING ? "phase preparing\n" : "", attempt,
				       plan->backup.cluster, plan->backup.system_identifier, now,
				       t->path));
	if (found == MARKER_PREPARING || (found == MARKER_OTHER && t->reuses)) {
		e = file_replace(t->env->files, t->env->random, dir, RESTORE_MARKER, content, 0600,
				 why);
		if (e == ERR_UNSURE) /* it may be durable or not: no ground to go on from */
			why->kind = ERR_IO;
		return e != ERR_NONE ? error_add(why, "writing \"%s/" RESTORE_MARKER "\"", root)
				     : e;
	}
	answer = t->env->files->ops->unlink(t->env->files, dir, RESTORE_MARKER, 0);
	if (answer < 0 && answer != -ENOENT)
		return target_failed(why, answer, "removing", root, RESTORE_MARKER);
	e = put_file(t, dir, root, RESTORE_MARKER, content, 0600, why);
	return e == ERR_NONE ? target_sync_dir(t, dir, root, why) : e;
}

/* One restore at a time: a second would take the first for an interrupted one and empty it under its hands.
 * The kernel's lock ends with its holder; where a file system has none, nothing is held up. */
static enum err lock_dir(int fd, const char *path, struct error *why)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
		return ERR_NONE;
	(void)error_set(why, ERR_EXISTS, "another restore is writing \"%s\"; nothing was done",
			path);
	error_hint(why,
		   "wait until it ends, or stop it, and run the same command again; who it is: "
		   "fuser -v %s",
		   path);
	return ERR_EXISTS;
}

/* Makes what is missing of an absolute path, opens and locks it.  The path holds no link (place_real). */
static enum err open_dir(const struct env *env, const char *path, int *out, struct error *why)
{
	struct files *files = env->files;
	enum err e = file_make_dirs(files, AT_FDCWD, path, 0700, why);
	int fd;

	if (e != ERR_NONE)
		return error_add(why, "creating \"%s\"", path);
	fd = files->ops->open(files, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return error_set_os(why, error_kind_of_os(-fd), -fd, "opening \"%s\"", path);
	e = lock_dir(fd, path, why);
	if (e != ERR_NONE) {
		(void)files->ops->close(files, fd); /* nothing was written */
		return e;
	}
	/* PostgreSQL refuses a data directory that others may read. */
	if (files->ops->chmod_fd(files, fd, 0700) < 0) {
		(void)files->ops->close(files, fd); /* nothing was written */
		return error_set(why, ERR_DENIED, "\"%s\" belongs to another user", path);
	}
	*out = fd;
	return ERR_NONE;
}

/* Whether what is there is to be reused is the plan's to say, and is looked at again. */
static enum err check_reuse(struct target *t, const struct restore_plan *plan, size_t place,
			    struct error *why)
{
	char text[DELTA_TEXT_MAX], how[256];
	const char *path = place == 0 ? t->path : t->place[place - 1].path;
	const char *refused =
		place == 0 ? delta_refuses(t->env, t->dir, &plan->backup, text)
			   : delta_refuses_place(t->env, t->dir, t->path,
						 &plan->tablespace[place - 1], plan, text);

	if (refused != NULL)
		return error_set(why, ERR_CONFIG, "\"%s\" %s; nothing was done", path, refused);
	if (place == 0 && directory_is_in_use(t->env, path, how, sizeof(how)) != DIRECTORY_FREE)
		return error_set(why, ERR_CONFIG, "\"%s\" is in use by a server: %s", path, how);
	t->reuses = true;
	return ERR_NONE;
}

/* Nothing but what an interrupted run left may be in a directory that is going to be written; the
 * target (number 0), looked at first, says whether one was interrupted. */
static enum err check_dir(struct target *t, const struct restore_plan *plan, size_t place,
			  bool *ours, struct error *why)
{
	const char *path = place == 0 ? t->path : t->place[place - 1].path;
	enum directory_state state;
	enum err e = directory_look(t->env, path, &plan->backup.attempt,
				    place == 0 ? NULL : t->path, &state, why);

	if (e != ERR_NONE || state == DIRECTORY_EMPTY)
		return e;
	if (plan->delta && state != DIRECTORY_NONE && state != DIRECTORY_ABSENT)
		return check_reuse(t, plan, place, why);
	if (state != DIRECTORY_OURS || (place > 0 && !*ours))
		return error_set(why, ERR_CONFIG, "\"%s\" is not empty any more; nothing was done",
				 path);
	*ours = true;
	return ERR_NONE;
}

/* The markers of all directories, the target's first. */
static enum err put_markers(const struct target *t, const struct restore_plan *plan,
			    enum phase phase, struct error *why)
{
	enum err e = put_marker(t, t->dir, t->path, plan, phase, why);

	for (size_t i = 0; e == ERR_NONE && i < t->places; i++)
		e = put_marker(t, t->place[i].dir, t->place[i].path, plan, PHASE_WRITING, why);
	return e;
}

/* 3a to 3c: until pg_control is gone the server that was there can be started again. */
static enum err take_over(const struct target *t, const struct restore_plan *plan,
			  struct error *why)
{
	enum err e = put_markers(t, plan, PHASE_PREPARING, why); /* 3a */

	if (e == ERR_NONE)
		e = remove_control(t, why); /* 3b */
	if (e == ERR_NONE)
		e = put_marker(t, t->dir, t->path, plan, PHASE_WRITING, why); /* 3c */
	return e;
}

enum err target_open(struct target *t, const struct env *env, const char *directory,
		     const struct restore_plan *plan, struct error *why)
{
	bool ours = false;
	enum err e;

	*t = (struct target){.env = env, .dir = -1};
	e = place_real(directory, t->path, why);
	if (e == ERR_NONE)
		e = open_dir(env, t->path, &t->dir, why);
	if (e == ERR_NONE)
		e = check_dir(t, plan, 0, &ours, why);
	if (e == ERR_NONE && plan->tablespaces > 0) {
		t->place = calloc(plan->tablespaces, sizeof(*t->place));
		if (t->place == NULL)
			e = error_set(why, ERR_MEMORY, "restore: out of memory");
	}
	for (size_t i = 0; e == ERR_NONE && i < plan->tablespaces; i++) {
		t->place[i] = (struct target_place){
			.oid = plan->tablespace[i].oid, .dir = -1, .path = plan->tablespace[i].to};
		t->places = i + 1;
		e = open_dir(env, t->place[i].path, &t->place[i].dir, why);
		if (e == ERR_NONE)
			e = check_dir(t, plan, i + 1, &ours, why);
	}
	if (e == ERR_NONE && t->reuses)
		return take_over(t, plan, why);
	if (e == ERR_NONE)
		e = put_markers(t, plan, PHASE_WRITING, why);
	if (e == ERR_NONE && ours)
		e = empty_target(t, why);
	return e;
}

void target_close(struct target *t)
{
	struct files *files = t->env->files;

	for (size_t i = 0; i < t->places; i++)
		if (t->place[i].dir >= 0)
			(void)files->ops->close(files, t->place[i].dir); /* a directory */
	if (t->dir >= 0)
		(void)files->ops->close(files, t->dir); /* a directory */
	free(t->place);
}

static enum err remove_marker(const struct target *t, int dir, const char *root, struct error *why)
{
	int answer = t->env->files->ops->unlink(t->env->files, dir, RESTORE_MARKER, 0);

	return answer < 0 ? target_failed(why, answer, "removing", root, RESTORE_MARKER)
			  : target_sync_dir(t, dir, root, why);
}

enum err target_remove_markers(const struct target *t, const struct restore_plan *plan,
			       struct error *why)
{
	struct error ignored;
	enum err e = remove_marker(t, t->dir, t->path, why);

	/* The target's own decides: with it gone the restore is whole, and a tablespace's marker that
	 * is left lets nobody empty anything. */
	for (size_t i = 0; e == ERR_NONE && i < t->places; i++)
		e = remove_marker(t, t->place[i].dir, t->place[i].path, why);
	if (e == ERR_NONE)
		return ERR_NONE;
	/* So that the second run is let in; where this fails too, it refuses, which is safe. */
	for (size_t i = 0; i < t->places; i++)
		(void)!put_marker(t, t->place[i].dir, t->place[i].path, plan, PHASE_WRITING,
				  &ignored);
	(void)!put_marker(t, t->dir, t->path, plan, PHASE_WRITING, &ignored);
	return e;
}
