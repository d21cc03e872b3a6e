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

enum { TREE_DEPTH_MAX = 64 };

struct names {
	char **name;
	mode_t *type;
	size_t count, max;
};

static int names_add(void *ctx, const char *name, mode_t type)
{
	struct names *n = ctx;

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

static void names_release(struct names *n)
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

/* Removes all that is in `dir` but the marker. */
static enum err empty(const struct target *t, int dir, const char *path, unsigned depth,
		      struct error *why)
{
	const struct files_ops *ops = t->env->files->ops;
	struct names names = {.count = 0};
	enum err e = ERR_NONE;
	int answer = ops->list(t->env->files, dir, ".", names_add, &names);

	if (answer < 0)
		e = target_failed(why, answer, "listing", path, ".");
	else if (depth > TREE_DEPTH_MAX)
		e = error_set(why, ERR_LIMIT, "\"%s\" is nested deeper than %d", path,
			      TREE_DEPTH_MAX);
	for (size_t i = 0; e == ERR_NONE && i < names.count; i++) {
		const char *name = names.name[i];
		int flags = S_ISDIR(names.type[i]) ? AT_REMOVEDIR : 0;

		if (depth == 0 && strcmp(name, RESTORE_MARKER) == 0)
			continue;
		if (flags != 0) {
			int below = ops->open_beneath(t->env->files, dir, name,
						      O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

			if (below < 0) {
				e = target_failed(why, below, "opening", path, name);
				break;
			}
			e = empty(t, below, path, depth + 1, why);
			(void)ops->close(t->env->files, below); /* only read */
		}
		if (e == ERR_NONE)
			answer = ops->unlink(t->env->files, dir, name, flags);
		if (e == ERR_NONE && answer < 0)
			e = target_failed(why, answer, "removing", path, name);
	}
	names_release(&names);
	return e;
}

/* pg_control first and durably, so that at no moment half a directory can be started. */
static enum err empty_target(const struct target *t, struct error *why)
{
	const struct files_ops *ops = t->env->files->ops;
	int global = ops->open_beneath(t->env->files, t->dir, "global", O_RDONLY | O_DIRECTORY, 0);
	enum err e = ERR_NONE;
	int answer;

	if (global >= 0) {
		answer = ops->unlink(t->env->files, global, "pg_control", 0);
		if (answer >= 0)
			answer = ops->fsync(t->env->files, global);
		(void)ops->close(t->env->files, global); /* synced above */
		if (answer < 0 && answer != -ENOENT)
			return target_failed(why, answer, "removing", t->path, "global/pg_control");
	}
	e = empty(t, t->dir, t->path, 0, why);
	for (size_t i = 0; e == ERR_NONE && i < t->places; i++)
		e = empty(t, t->place[i].dir, t->place[i].path, 0, why);
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

/* What is there is kept when it is this restore's: at no moment may files lie there without one. */
static bool has_marker(const struct target *t, int dir, const struct restore_plan *plan)
{
	uint8_t *text;
	size_t len;
	bool ours;

	if (file_read_all(t->env->files, dir, RESTORE_MARKER, MARKER_BYTES_MAX, &text, &len,
			  NULL) != ERR_NONE)
		return false;
	ours = marker_is_ours(bytes_of(text, len), &plan->backup.attempt,
			      dir != t->dir ? t->path : NULL);
	free(text);
	return ours;
}

static enum err put_marker(const struct target *t, int dir, const char *root,
			   const struct restore_plan *plan, struct error *why)
{
	char text[PATH_MAX + 512], attempt[ATTEMPT_TEXT_MAX], now[TIME_TEXT_MAX];
	enum err e;
	int len, answer;

	if (has_marker(t, dir, plan))
		return ERR_NONE;
	answer = t->env->files->ops->unlink(t->env->files, dir, RESTORE_MARKER, 0);
	if (answer < 0 && answer != -ENOENT)
		return target_failed(why, answer, "removing", root, RESTORE_MARKER);
	attempt_to_text(&plan->backup.attempt, attempt);
	time_to_text(clock_now_us(t->env->clock), now);
	/* The directory is the last line, since a path may hold anything. */
	len = snprintf(text, sizeof(text),
		       "pgagent-restore 1\nattempt %s\ncluster %s\nsystem-identifier %" PRIu64
		       "\nstarted %s\ndirectory %s\n",
		       attempt, plan->backup.cluster, plan->backup.system_identifier, now, t->path);
	e = put_file(t, dir, root, RESTORE_MARKER, bytes_of(text, (size_t)len), 0600, why);
	return e == ERR_NONE ? target_sync_dir(t, dir, root, why) : e;
}

/* Makes what is missing of an absolute path, opens it.  The path holds no link (place_real). */
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
	/* PostgreSQL refuses a data directory that others may read. */
	if (files->ops->chmod_fd(files, fd, 0700) < 0) {
		(void)files->ops->close(files, fd); /* nothing was written */
		return error_set(why, ERR_DENIED, "\"%s\" belongs to another user", path);
	}
	*out = fd;
	return ERR_NONE;
}

/* Nothing but what an interrupted run left may be in a directory that is going to be written; the
 * target, looked at first, says whether one was interrupted. */
static enum err check_dir(const struct target *t, const char *path, const struct attempt *attempt,
			  bool *ours, struct error *why)
{
	bool is_target = path == t->path;
	enum directory_state state;
	enum err e = directory_look(t->env, path, attempt, is_target ? NULL : t->path, &state, why);

	if (e != ERR_NONE)
		return e;
	if (state != DIRECTORY_EMPTY && (state != DIRECTORY_OURS || (!is_target && !*ours)))
		return error_set(why, ERR_CONFIG, "\"%s\" is not empty any more; nothing was done",
				 path);
	if (is_target)
		*ours = state == DIRECTORY_OURS;
	return ERR_NONE;
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
		e = check_dir(t, t->path, &plan->backup.attempt, &ours, why);
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
			e = check_dir(t, t->place[i].path, &plan->backup.attempt, &ours, why);
	}
	if (e == ERR_NONE)
		e = put_marker(t, t->dir, t->path, plan, why);
	for (size_t i = 0; e == ERR_NONE && i < t->places; i++)
		e = put_marker(t, t->place[i].dir, t->place[i].path, plan, why);
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
		(void)!put_marker(t, t->place[i].dir, t->place[i].path, plan, &ignored);
	(void)!put_marker(t, t->dir, t->path, plan, &ignored);
	return e;
}
