/* restore/target_clean.c - removes from directories that are reused what the backup does not have.
 *
 * What stays are directories of the backup, and regular files that the backup has as files; their content is
 * the writer's to look at.  Links, pipes and the like go: the backup's own are made anew.
 */
#include "restore/target_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct cleaning {
	const struct target *target;
	const struct file_record **record; /* by path */
	size_t records;
	uint64_t removed;
	struct error *why;
};

static int compare_paths(struct bytes a, struct bytes b)
{
	int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_path(const void *left, const void *right)
{
	return compare_paths((*(const struct file_record *const *)left)->path,
			     (*(const struct file_record *const *)right)->path);
}

/* Of paths that come twice one would overwrite the other, and the file would pass for whole. */
static enum err sort(struct cleaning *c, const struct table *table)
{
	c->record = malloc((table->files + 1) * sizeof(*c->record));
	if (c->record == NULL)
		return error_set(c->why, ERR_MEMORY, "restore: out of memory");
	for (size_t i = 0; i < table->files; i++)
		c->record[i] = &table->file[i];
	c->records = table->files;
	qsort(c->record, c->records, sizeof(*c->record), by_path);
	for (size_t i = 1; i < c->records; i++)
		if (by_path(&c->record[i - 1], &c->record[i]) == 0)
			return error_set(c->why, ERR_CORRUPT, "the file table has \"%.*s\" twice",
					 (int)c->record[i]->path.len,
					 (const char *)c->record[i]->path.data);
	return ERR_NONE;
}

/* The first record at or behind `path`; the number of records when there is none. */
static size_t find(const struct cleaning *c, struct bytes path)
{
	size_t low = 0, high = c->records;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_paths(c->record[middle]->path, path) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The links of tablespaces are made anew, and nothing else belongs there. */
static bool is_place(const char *path)
{
	static const char front[] = "pg_tblspc/";

	return strncmp(path, front, sizeof(front) - 1) == 0 &&
	       strchr(path + sizeof(front) - 1, '/') == NULL;
}

/* `path` has room for one more '/'. */
static bool stays(const struct cleaning *c, char *path, mode_t type)
{
	size_t len = strlen(path), at = find(c, bytes_of_text(path));
	bool found =
		at < c->records && compare_paths(c->record[at]->path, bytes_of_text(path)) == 0;
	bool below;

	if (S_ISREG(type))
		return found && c->record[at]->kind == FILE_PLAIN && !table_is_apart(c->record[at]);
	if (!S_ISDIR(type) || is_place(path))
		return false;
	if (found)
		return c->record[at]->kind == FILE_DIRECTORY && !table_is_apart(c->record[at]);
	path[len] = '/';
	at = find(c, bytes_of((const uint8_t *)path, len + 1));
	below = at < c->records && c->record[at]->path.len > len &&
		memcmp(c->record[at]->path.data, path, len + 1) == 0;
	path[len] = '\0';
	return below;
}

/* The server found more behind this link, and will not any more. */
static void say_link(const struct cleaning *c, int dir, const char *path, const char *name)
{
	const struct env *env = c->target->env;
	char link[PATH_MAX];
	ssize_t n = env->files->ops->readlink(env->files, dir, name, link, sizeof(link) - 1);

	if (n > 0)
		observer_event(env->observer, LEVEL_WARNING,
			       "\"%s/%s\" was a symbolic link to \"%.*s\"; it was removed, what it "
			       "led to was not touched",
			       c->target->path, path, (int)n, link);
}

static enum err clean(struct cleaning *c, int dir, const char *front, unsigned depth);

static enum err clean_name(struct cleaning *c, int dir, const char *front, unsigned depth,
			   const char *name, mode_t type)
{
	struct files *files = c->target->env->files;
	char path[2 * FILE_PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s%s%s", front, *front != '\0' ? "/" : "", name);
	int below;
	enum err e;

	/* A longer path is in no backup. */
	if (n >= FILE_PATH_MAX || !stays(c, path, type)) {
		if (S_ISLNK(type) && !is_place(path))
			say_link(c, dir, path, name);
		c->removed++;
		return target_remove(c->target, dir, c->target->path, depth, name, type, c->why);
	}
	if (!S_ISDIR(type))
		return ERR_NONE;
	below = files->ops->open_beneath(files, dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (below < 0)
		return target_failed(c->why, below, "opening", c->target->path, path);
	e = clean(c, below, path, depth + 1);
	(void)files->ops->close(files, below); /* a directory; files_sync syncs it */
	return e;
}

static enum err clean(struct cleaning *c, int dir, const char *front, unsigned depth)
{
	struct target_names names = {.count = 0};
	struct files *files = c->target->env->files;
	int answer = files->ops->list(files, dir, ".", target_names_add, &names);
	enum err e = ERR_NONE;

	if (answer < 0)
		e = target_failed(c->why, answer, "listing", c->target->path, front);
	else if (depth > TREE_DEPTH_MAX)
		e = error_set(c->why, ERR_LIMIT, "\"%s/%s\" is nested deeper than %d",
			      c->target->path, front, TREE_DEPTH_MAX);
	for (size_t i = 0; e == ERR_NONE && i < names.count; i++) {
		if (*c->target->env->cancelled)
			e = error_set(c->why, ERR_CANCELLED, "restore: stopped on request");
		else if (depth > 0 || strcmp(names.name[i], RESTORE_MARKER) != 0)
			e = clean_name(c, dir, front, depth, names.name[i], names.type[i]);
	}
	target_names_release(&names);
	return e;
}

enum err target_clean(const struct target *t, const struct table *table, struct error *why)
{
	struct cleaning c = {.target = t, .why = why};
	struct progress progress = {.phase = "remove"};
	enum err e = sort(&c, table);

	observer_progress(t->env->observer, &progress);
	if (e == ERR_NONE)
		e = clean(&c, t->dir, "", 0);
	for (size_t i = 0; e == ERR_NONE && i < t->places; i++) {
		char front[32];

		(void)snprintf(front, sizeof(front), "pg_tblspc/%" PRIu32, t->place[i].oid);
		e = clean(&c, t->place[i].dir, front, 0);
	}
	if (e == ERR_NONE && c.removed > 0)
		observer_event(t->env->observer, LEVEL_INFO,
			       "removed %" PRIu64
			       " names from \"%s\" that the backup does not have "
			       "or that are written anew",
			       c.removed, t->path);
	free(c.record);
	return e;
}
