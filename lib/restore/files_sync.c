/* restore/files_sync.c - the second pass: what was written is made durable. */
#include "restore/files_internal.h"

#include <fcntl.h>

struct syncing {
	const struct table *table;
	const struct target *target;
};

/* Files and directories alike.  The kernel reports a failed write to a descriptor opened after it as long
 * as nobody has heard of it. */
static enum err sync_one(void *state, size_t index, struct error *why)
{
	struct syncing *s = state;
	const struct file_record *file = &s->table->file[index];
	struct files *files = s->target->env->files;
	bool is_directory = file->kind == FILE_DIRECTORY && !table_is_apart(file);
	char path[FILE_PATH_MAX];
	int dir, fd, answer;
	enum err e;

	if (*s->target->env->cancelled)
		return error_set(why, ERR_CANCELLED, "restore: stopped on request");
	if (!is_directory && (!file_is_ours(file) || file_is_synced_at_once(file)))
		return ERR_NONE;
	e = target_route(s->target, file->path, &dir, path, why);
	if (e != ERR_NONE || path[0] == '\0') /* a tablespace's own directory: target_sync_dirs */
		return e;
	fd = files->ops->open_beneath(files, dir, path,
				      O_RDONLY | O_NOFOLLOW | (is_directory ? O_DIRECTORY : 0), 0);
	if (fd < 0)
		return file_failed(why, s->target, file, fd, "opening");
	answer = files->ops->fsync(files, fd);
	(void)files->ops->close(files, fd); /* only synced */
	return answer < 0 ? file_failed(why, s->target, file, answer, "fsync of") : ERR_NONE;
}

enum err files_sync(const struct table *table, const struct target *target, unsigned jobs,
		    struct error *why)
{
	struct syncing syncing = {.table = table, .target = target};
	void *state[PIPELINE_WORKERS_MAX];
	struct progress progress = {.phase = "fsync"};

	if (jobs == 0)
		jobs = 1;
	if (jobs > PIPELINE_WORKERS_MAX)
		jobs = PIPELINE_WORKERS_MAX;
	for (unsigned i = 0; i < jobs; i++)
		state[i] = &syncing;
	observer_progress(target->env->observer, &progress);
	return table->files > 0 ? parallel_for(jobs, state, table->files, sync_one, why) : ERR_NONE;
}
