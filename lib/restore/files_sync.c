/* restore/files_sync.c - the second pass: what was written is made durable, file by file, or where there are
 * very many by file system.
 */
#include "restore/files_internal.h"

#include <errno.h>
#include <fcntl.h>

/* An fsync for each of that many small files takes some 4 s (ext4 on an SSD: 1200 a second), and a million of
 * them 14 minutes.  The sync of a whole file system takes as long for all as for one, but waits for what
 * others have written there too, up to the dirty pages that the kernel allows (a fifth of the memory as a
 * rule): few files should not pay for that. */
enum { SYNC_EACH_MAX = 5000 };

/* More than a target and its tablespaces can lie on, unless somebody mounts below them. */
enum { FILE_SYSTEMS_MAX = RESTORE_TABLESPACES_MAX + 1 };

struct syncing {
	const struct table *table;
	const struct target *target;
	dev_t device[FILE_SYSTEMS_MAX]; /* that are synced */
	size_t devices;
};

static bool is_directory(const struct file_record *file)
{
	return file->kind == FILE_DIRECTORY && !table_is_apart(file);
}

/* Made by the writer, and not synced yet. */
static bool is_to_be_synced(const struct file_record *file)
{
	return is_directory(file) || (file_is_ours(file) && !file_is_synced_at_once(file));
}

/* *fd = -1 for a tablespace's own directory, which target_sync_roots syncs. */
static enum err open_record(const struct target *target, const struct file_record *file, int *fd,
			    struct error *why)
{
	struct files *files = target->env->files;
	int flags = O_RDONLY | O_NOFOLLOW | (is_directory(file) ? O_DIRECTORY : 0), dir;
	char path[FILE_PATH_MAX];
	enum err e = target_route(target, file->path, &dir, path, why);

	*fd = -1;
	if (e != ERR_NONE || path[0] == '\0')
		return e;
	*fd = files->ops->open_beneath(files, dir, path, flags, 0);
	return *fd < 0 ? file_failed(why, target, file, *fd, "opening") : ERR_NONE;
}

/* ---- file by file ---- */

/* Files and directories alike.  The kernel reports a failed write to a descriptor opened after it as long
 * as nobody has heard of it. */
static enum err sync_one(void *state, size_t index, struct error *why)
{
	struct syncing *s = state;
	const struct file_record *file = &s->table->file[index];
	struct files *files = s->target->env->files;
	int fd, answer;
	enum err e;

	if (*s->target->env->cancelled)
		return error_set(why, ERR_CANCELLED, "restore: stopped on request");
	if (!is_to_be_synced(file))
		return ERR_NONE;
	e = open_record(s->target, file, &fd, why);
	if (e != ERR_NONE || fd < 0)
		return e;
	answer = files->ops->fsync(files, fd);
	(void)files->ops->close(files, fd); /* only synced */
	return answer < 0 ? file_failed(why, s->target, file, answer, "fsync of") : ERR_NONE;
}

/* ---- by file system ---- */

/* The one that holds `fd`, once.  *all = false: it does not say whether that worked, or there are too many. */
static enum err sync_system(struct syncing *s, int fd, bool *all, struct error *why)
{
	struct files *files = s->target->env->files;
	struct stat st;
	int answer = files->ops->stat_fd(files, fd, &st);

	for (size_t i = 0; answer >= 0 && i < s->devices; i++)
		if (s->device[i] == st.st_dev)
			return ERR_NONE;
	if (answer >= 0 && s->devices == FILE_SYSTEMS_MAX) {
		*all = false;
		return ERR_NONE;
	}
	if (answer >= 0)
		answer = files->ops->sync_fs(files, fd);
	if (answer == -EOPNOTSUPP) {
		*all = false;
		return ERR_NONE;
	}
	if (answer < 0)
		return error_set_os(why, ERR_IO, -answer,
				    "sync of the file system of \"%s\" or of its tablespaces",
				    s->target->path);
	s->device[s->devices++] = st.st_dev;
	return ERR_NONE;
}

/* The target's and the tablespaces', whose descriptors are older than what was written and so hear of every
 * failed write; then those of all directories, since something may be mounted there. */
static enum err sync_systems(struct syncing *s, bool *all, struct error *why)
{
	const struct target *t = s->target;
	enum err e = sync_system(s, t->dir, all, why);

	for (size_t i = 0; e == ERR_NONE && *all && i < t->places; i++)
		e = sync_system(s, t->place[i].dir, all, why);
	for (size_t i = 0; e == ERR_NONE && *all && i < s->table->files; i++) {
		int fd;

		if (!is_directory(&s->table->file[i]))
			continue;
		e = open_record(t, &s->table->file[i], &fd, why);
		if (e != ERR_NONE || fd < 0)
			continue;
		e = sync_system(s, fd, all, why);
		(void)t->env->files->ops->close(t->env->files, fd); /* a directory */
	}
	return e;
}

enum err files_sync(const struct table *table, const struct target *target, unsigned jobs,
		    struct error *why)
{
	struct syncing syncing = {.table = table, .target = target};
	void *state[PIPELINE_WORKERS_MAX];
	struct progress progress = {.phase = "fsync"};
	size_t count = 0;
	bool all = true;

	observer_progress(target->env->observer, &progress);
	for (size_t i = 0; i < table->files; i++)
		count += is_to_be_synced(&table->file[i]);
	if (count > SYNC_EACH_MAX) {
		enum err e = sync_systems(&syncing, &all, why);

		if (e != ERR_NONE || all)
			return e;
	}
	if (jobs == 0)
		jobs = 1;
	if (jobs > PIPELINE_WORKERS_MAX)
		jobs = PIPELINE_WORKERS_MAX;
	for (unsigned i = 0; i < jobs; i++)
		state[i] = &syncing;
	return table->files > 0 ? parallel_for(jobs, state, table->files, sync_one, why) : ERR_NONE;
}
