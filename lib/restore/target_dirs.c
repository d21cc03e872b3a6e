/* restore/target_dirs.c - directories of a backup in the target: routes, making, links, fsync. */
#include "base/file.h"
#include "restore/target_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* "pg_tblspc/<oid>" and what follows; false when the path is none. */
static bool split_place(const char *path, uint32_t *oid, const char **rest)
{
	static const char front[] = "pg_tblspc/";
	uint64_t value = 0;

	if (strncmp(path, front, sizeof(front) - 1) != 0)
		return false;
	path += sizeof(front) - 1;
	if (*path == '\0')
		return false;
	while (*path >= '0' && *path <= '9' && value <= UINT32_MAX)
		value = value * 10 + (uint64_t)(*path++ - '0');
	*oid = value <= UINT32_MAX && (*path == '/' || *path == '\0') ? (uint32_t)value : 0;
	*rest = *path == '/' ? path + 1 : path;
	return true;
}

enum err target_route(const struct target *t, struct bytes path, int *dir, char rest[FILE_PATH_MAX],
		      struct error *why)
{
	char text[FILE_PATH_MAX];
	const char *inside;
	uint32_t oid;

	if (path.len >= sizeof(text))
		return error_set(why, ERR_CORRUPT, "the file table has a path of %zu bytes",
				 path.len);
	memcpy(text, path.data, path.len);
	text[path.len] = '\0';
	if (!split_place(text, &oid, &inside)) {
		*dir = t->dir;
		memcpy(rest, text, path.len + 1);
		return ERR_NONE;
	}
	for (size_t i = 0; i < t->places; i++) {
		if (oid == 0 || t->place[i].oid != oid)
			continue;
		*dir = t->place[i].dir;
		(void)snprintf(rest, FILE_PATH_MAX, "%s", inside);
		return ERR_NONE;
	}
	return error_set(why, ERR_CORRUPT,
			 "the file table has \"%s\", but the backup no such tablespace", text);
}

/* Makes one directory and whatever is missing above it. */
static enum err make_dir(const struct target *t, int dir, char *path, struct error *why)
{
	struct files *files = t->env->files;
	char *slash = strrchr(path, '/');
	int parent = dir, answer;

	if (slash != NULL) {
		*slash = '\0';
		parent = files->ops->open_beneath(files, dir, path, O_RDONLY | O_DIRECTORY, 0);
		if (parent == -ENOENT) {
			enum err e = make_dir(t, dir, path, why);

			if (e != ERR_NONE)
				return e;
			parent = files->ops->open_beneath(files, dir, path, O_RDONLY | O_DIRECTORY,
							  0);
		}
		*slash = '/';
		if (parent < 0)
			return target_failed(why, parent, "opening the directory of", t->path,
					     path);
	}
	answer = files->ops->mkdir(files, parent, slash != NULL ? slash + 1 : path, 0700);
	if (parent != dir)
		(void)files->ops->close(files, parent); /* a directory */
	return answer < 0 && answer != -EEXIST
		       ? target_failed(why, answer, "creating directory", t->path, path)
		       : ERR_NONE;
}

static enum err make_dir_of(const struct target *t, const struct file_record *record,
			    struct error *why)
{
	char path[FILE_PATH_MAX];
	int dir;
	enum err e = target_route(t, record->path, &dir, path, why);

	if (e == ERR_NONE && record->kind != FILE_DIRECTORY) {
		char *slash = strrchr(path, '/');

		if (slash == NULL)
			return ERR_NONE;
		*slash = '\0';
	}
	return e == ERR_NONE && path[0] != '\0' ? make_dir(t, dir, path, why) : e;
}

enum err target_make_dirs(const struct target *t, const struct table *table, struct error *why)
{
	const struct file_record *last = NULL;
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < table->files; i++) {
		const struct file_record *file = &table->file[i];

		if (file->kind == FILE_SYMLINK || (table_is_apart(file) && file != table->control))
			continue;
		/* Neighbours lie in one directory as a rule: it is there already. */
		if (file->kind == FILE_PLAIN && last != NULL) {
			const uint8_t *slash = memrchr(file->path.data, '/', file->path.len);
			size_t len = slash != NULL ? (size_t)(slash - file->path.data) + 1 : 0;

			if (len <= last->path.len &&
			    memcmp(file->path.data, last->path.data, len) == 0 &&
			    memchr(last->path.data + len, '/', last->path.len - len) == NULL)
				continue;
		}
		e = make_dir_of(t, file, why);
		if (file->kind == FILE_PLAIN)
			last = file;
	}
	return e;
}

static enum err set_mode(const struct target *t, const struct file_record *record,
			 struct error *why)
{
	struct files *files = t->env->files;
	char path[FILE_PATH_MAX];
	int dir, fd, answer;
	enum err e = target_route(t, record->path, &dir, path, why);

	if (e != ERR_NONE || path[0] == '\0')
		return e;
	fd = files->ops->open_beneath(files, dir, path, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return target_failed(why, fd, "opening directory", t->path, path);
	/* Without the owner's part nobody could go on below; the server's directories all have it. */
	answer = files->ops->chmod_fd(files, fd, (record->mode & MODE_BITS) | S_IRWXU);
	(void)files->ops->close(files, fd); /* a directory */
	return answer < 0 ? target_failed(why, answer, "setting the mode of", t->path, path)
			  : ERR_NONE;
}

enum err target_set_modes(const struct target *t, const struct table *table, struct error *why)
{
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < table->files; i++)
		if (table->file[i].kind == FILE_DIRECTORY && !table_is_apart(&table->file[i]))
			e = set_mode(t, &table->file[i], why);
	return e;
}

enum err target_sync_roots(const struct target *t, struct error *why)
{
	char parent[PATH_MAX];
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < t->places; i++)
		e = target_sync_dir(t, t->place[i].dir, t->place[i].path, why);
	if (e == ERR_NONE)
		e = target_sync_dir(t, t->dir, t->path, why);
	if (e == ERR_NONE)
		e = file_parent(t->path, parent, why);
	return e == ERR_NONE ? file_sync_dir(t->env->files, AT_FDCWD, parent, why) : e;
}

enum err target_link_places(const struct target *t, struct error *why)
{
	struct files *files = t->env->files;
	enum err e = ERR_NONE;
	int dir, answer;

	if (t->places == 0)
		return ERR_NONE;
	answer = files->ops->mkdir(files, t->dir, "pg_tblspc", 0700);
	if (answer < 0 && answer != -EEXIST)
		return target_failed(why, answer, "creating directory", t->path, "pg_tblspc");
	dir = files->ops->open_beneath(files, t->dir, "pg_tblspc", O_RDONLY | O_DIRECTORY, 0);
	if (dir < 0)
		return target_failed(why, dir, "opening directory", t->path, "pg_tblspc");
	for (size_t i = 0; e == ERR_NONE && i < t->places; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "%" PRIu32, t->place[i].oid);
		answer = files->ops->symlink(files, t->place[i].path, dir, name);
		if (answer < 0)
			e = target_failed(why, answer, "linking tablespace", t->place[i].path,
					  name);
	}
	if (e == ERR_NONE)
		e = target_sync_dir(t, dir, t->path, why);
	(void)files->ops->close(files, dir); /* a directory, synced */
	return e;
}
