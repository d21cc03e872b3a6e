/* restore/files.c - writes the files of a backup in parallel.
 *
 * Work is cut into chunks of about 16 MiB in the order of the file table: neighbours there are
 * neighbours in the packs, so that small files share the frames that one worker has at hand.  A
 * file of several chunks is made first and finished by whoever ends its last piece.
 *
 * Nothing is waited for until all is written: an fsync after each small file would cost a commit of the
 * file system's journal each.  Writing out begins at once, and a second pass syncs everything.
 */
#include "base/crc32c.h"
#include "base/file.h"
#include "base/pipeline.h"
#include "restore/restore_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>

enum { CHUNK_BYTES = SHARD_FILE_BYTES, CHUNK_ITEMS_MAX = 1024, MODE_BITS = 07777 };

/* 16 MiB of one file, or an empty file. */
struct item {
	uint32_t file, shard;
	uint32_t crc; /* once written */
};

struct job {
	const struct source *source;
	const struct table *table;
	const struct target *target;
	struct item *item;
	size_t items;
	size_t *chunk; /* first item of each, and the end */
	size_t chunks;
	pthread_mutex_t mutex; /* guards what follows */
	uint32_t *left;        /* items of each file not written yet */
	struct progress progress;
	uint64_t reported;
};

struct hand {
	struct job *job;
	struct fetcher *fetcher;
};

enum { PROGRESS_STEP_BYTES = 4 << 20 };

static uint32_t items_of(const struct file_record *file)
{
	return file->shards > 0 ? file->shards : 1;
}

static bool is_ours(const struct file_record *file)
{
	return file->kind == FILE_PLAIN && !table_is_apart(file);
}

static uint64_t item_bytes(const struct job *job, const struct item *item)
{
	const struct file_record *file = &job->table->file[item->file];
	uint64_t left = file->size - (uint64_t)item->shard * SHARD_FILE_BYTES;

	return left < SHARD_FILE_BYTES ? left : SHARD_FILE_BYTES;
}

static enum err file_failed(struct error *why, const struct job *job,
			    const struct file_record *file, int answer, const char *what)
{
	enum err kind = error_kind_of_os(-answer);

	if (kind == ERR_MISSING || kind == ERR_EXISTS)
		kind = ERR_IO; /* the directory was empty: somebody interferes */
	(void)error_set_os(why, kind, -answer, "%s \"%s/%.*s\"", what, job->target->path,
			   (int)file->path.len, (const char *)file->path.data);
	if (kind == ERR_FULL)
		error_hint(why, "free some space there, then run the same command again");
	return kind;
}

static enum err open_file(const struct job *job, const struct file_record *file, int flags,
			  int *out, struct error *why)
{
	struct files *files = job->target->env->files;
	char path[FILE_PATH_MAX];
	int dir, fd;
	enum err e = target_route(job->target, file->path, &dir, path, why);

	if (e != ERR_NONE)
		return e;
	fd = files->ops->open_beneath(files, dir, path, O_WRONLY | O_NOFOLLOW | flags, 0600);
	if (fd < 0)
		return file_failed(why, job, file, fd, flags != 0 ? "creating" : "opening");
	*out = fd;
	return ERR_NONE;
}

/* Files that several workers write must be there before, in their full size: what is not written
 * is zero. */
static enum err make_large(const struct job *job, struct error *why)
{
	struct files *files = job->target->env->files;

	for (size_t i = 0; i < job->table->files; i++) {
		const struct file_record *file = &job->table->file[i];
		int fd, answer;
		enum err e;

		if (!is_ours(file) || file->shards < 2)
			continue;
		e = open_file(job, file, O_CREAT | O_EXCL, &fd, why);
		if (e != ERR_NONE)
			return e;
		answer = files->ops->truncate(files, fd, (off_t)file->size);
		if (answer < 0)
			e = file_failed(why, job, file, answer, "extending");
		answer = files->ops->close(files, fd);
		if (e == ERR_NONE && answer < 0)
			e = file_failed(why, job, file, answer, "closing");
		if (e != ERR_NONE)
			return e;
	}
	return ERR_NONE;
}

struct writing {
	struct files *files;
	int fd;
	bool ends_in_hole;
};

/* Pages of zeros stay holes. */
static enum err write_run(void *ctx, const struct page_run *run, struct error *why)
{
	struct writing *w = ctx;

	w->ends_in_hole = run->data == NULL;
	return run->data == NULL
		       ? ERR_NONE
		       : file_pwrite(w->files, w->fd, bytes_of(run->data, (size_t)run->len),
				     run->offset, why);
}

static enum err write_shard(struct hand *hand, struct item *item, int fd, struct error *why)
{
	struct job *job = hand->job;
	const struct file_record *file = &job->table->file[item->file];
	struct writing writing = {.files = job->target->env->files, .fd = fd};
	enum err e = fetcher_shard(hand->fetcher, file, item->shard, write_run, &writing,
				   &item->crc, why);

	if (e == ERR_NONE && file->shards == 1 && writing.ends_in_hole) {
		int answer = writing.files->ops->truncate(writing.files, fd, (off_t)file->size);

		if (answer < 0)
			e = error_set_os(why, error_kind_of_os(-answer), -answer, "extending");
	}
	if (e == ERR_FULL)
		error_hint(why, "free some space there, then run the same command again");
	if (e != ERR_NONE)
		return error_add(why, "file \"%s/%.*s\"", job->target->path, (int)file->path.len,
				 (const char *)file->path.data);
	return ERR_NONE;
}

/* Who owns a file but may not read it cannot open it again. */
static bool is_synced_at_once(const struct file_record *file)
{
	return (file->mode & S_IRUSR) == 0;
}

/* All of it is written: the whole is what the server's manifest says.  It is on its way to the disk,
 * so that files_sync finds little to wait for. */
static enum err finish_file(struct job *job, const struct item *first, int fd, struct error *why)
{
	const struct file_record *file = &job->table->file[first->file];
	struct files *files = job->target->env->files;
	uint32_t crc = first->crc;
	int answer;

	for (uint32_t i = 1; i < items_of(file); i++)
		crc = crc32c_combine(crc, first[i].crc, item_bytes(job, &first[i]));
	if (crc != file->crc)
		return error_set(why, ERR_CORRUPT,
				 "file \"%.*s\": its CRC differs from the backup's",
				 (int)file->path.len, (const char *)file->path.data);
	answer = files->ops->chmod_fd(files, fd, file->mode & MODE_BITS);
	if (answer < 0)
		return file_failed(why, job, file, answer, "setting the mode of");
	if (!is_synced_at_once(file)) {
		(void)files->ops->writeback(files, fd); /* best effort */
		return ERR_NONE;
	}
	answer = files->ops->fsync(files, fd);
	return answer < 0 ? file_failed(why, job, file, answer, "fsync of") : ERR_NONE;
}

/* Counts what is written; true when `done` items were the file's last. */
static bool count_written(struct job *job, uint32_t file, uint32_t done, uint64_t bytes)
{
	bool last;

	(void)pthread_mutex_lock(&job->mutex); /* default mutexes: cannot fail here */
	job->left[file] -= done;
	last = job->left[file] == 0;
	job->progress.done_bytes += bytes;
	job->progress.done_items += last;
	if (job->progress.done_bytes - job->reported >= PROGRESS_STEP_BYTES) {
		job->reported = job->progress.done_bytes;
		(void)pthread_mutex_lock(job->source->speaking);
		observer_progress(job->target->env->observer, &job->progress);
		(void)pthread_mutex_unlock(job->source->speaking);
	}
	(void)pthread_mutex_unlock(&job->mutex);
	return last;
}

/* The items of one file that are in this chunk. */
static enum err write_items(struct hand *hand, size_t from, size_t to, struct error *why)
{
	struct job *job = hand->job;
	struct item *item = job->item;
	const struct file_record *file = &job->table->file[item[from].file];
	struct files *files = job->target->env->files;
	uint64_t bytes = 0;
	int fd = -1, answer;
	enum err e = open_file(job, file, file->shards < 2 ? O_CREAT | O_EXCL : 0, &fd, why);

	if (e != ERR_NONE)
		return e;
	for (size_t i = from; e == ERR_NONE && i < to && file->shards > 0; i++) {
		if (*job->target->env->cancelled)
			e = error_set(why, ERR_CANCELLED, "restore: stopped on request");
		else
			e = write_shard(hand, &item[i], fd, why);
		bytes += item_bytes(job, &item[i]);
	}
	if (e == ERR_NONE && count_written(job, item[from].file, (uint32_t)(to - from), bytes))
		e = finish_file(job, &item[from] - item[from].shard, fd, why);
	answer = files->ops->close(files, fd);
	if (e == ERR_NONE && answer < 0)
		e = file_failed(why, job, file, answer, "closing");
	return e;
}

static enum err write_chunk(void *state, size_t index, struct error *why)
{
	struct hand *hand = state;
	struct job *job = hand->job;
	size_t at = job->chunk[index], end = job->chunk[index + 1];
	enum err e = ERR_NONE;

	while (e == ERR_NONE && at < end) {
		size_t from = at;

		if (*job->target->env->cancelled)
			return error_set(why, ERR_CANCELLED, "restore: stopped on request");
		while (at < end && job->item[at].file == job->item[from].file)
			at++;
		e = write_items(hand, from, at, why);
	}
	return e;
}

static enum err cut(struct job *job, struct error *why)
{
	const struct table *table = job->table;
	uint64_t bytes = 0;
	size_t n = 0, since = 0;

	for (size_t i = 0; i < table->files; i++)
		n += is_ours(&table->file[i]) ? items_of(&table->file[i]) : 0;
	job->item = calloc(n + 1, sizeof(*job->item));
	job->chunk = calloc(n + 2, sizeof(*job->chunk));
	job->left = calloc(table->files + 1, sizeof(*job->left));
	if (job->item == NULL || job->chunk == NULL || job->left == NULL)
		return error_set(why, ERR_MEMORY, "restore: out of memory");
	for (size_t i = 0; i < table->files; i++) {
		const struct file_record *file = &table->file[i];

		if (!is_ours(file))
			continue;
		job->left[i] = items_of(file);
		job->progress.total_bytes += file->size;
		job->progress.total_items++;
		for (uint32_t shard = 0; shard < items_of(file); shard++) {
			struct item *item = &job->item[job->items];

			*item = (struct item){.file = (uint32_t)i, .shard = shard};
			if (since == 0 || bytes + item_bytes(job, item) > CHUNK_BYTES ||
			    since >= CHUNK_ITEMS_MAX) {
				job->chunk[job->chunks++] = job->items;
				bytes = since = 0;
			}
			bytes += item_bytes(job, item);
			since++;
			job->items++;
		}
	}
	job->chunk[job->chunks] = job->items;
	return ERR_NONE;
}

static enum err run_hands(struct job *job, unsigned jobs, struct error *why)
{
	struct hand hand[PIPELINE_WORKERS_MAX] = {{.job = NULL}};
	void *state[PIPELINE_WORKERS_MAX];
	enum err e = ERR_NONE;

	if (jobs == 0)
		jobs = 1;
	if (jobs > PIPELINE_WORKERS_MAX)
		jobs = PIPELINE_WORKERS_MAX;
	if (jobs > job->chunks && job->chunks > 0)
		jobs = (unsigned)job->chunks;
	for (unsigned i = 0; e == ERR_NONE && i < jobs; i++) {
		hand[i].job = job;
		state[i] = &hand[i];
		e = fetcher_new(job->source, &hand[i].fetcher, why);
	}
	if (e == ERR_NONE && job->chunks > 0)
		e = parallel_for(jobs, state, job->chunks, write_chunk, why);
	for (unsigned i = 0; i < jobs; i++)
		fetcher_free(hand[i].fetcher);
	return e;
}

enum err files_write(const struct source *source, const struct table *table,
		     const struct target *target, unsigned jobs, struct files_totals *totals,
		     struct error *why)
{
	struct job job = {.source = source,
			  .table = table,
			  .target = target,
			  .progress = {.phase = "restore"}};
	enum err e;

	if (table->files > UINT32_MAX)
		return error_set(why, ERR_LIMIT, "the file table has %zu records", table->files);
	(void)pthread_mutex_init(&job.mutex, NULL); /* cannot fail on Linux */
	e = cut(&job, why);
	if (e == ERR_NONE)
		e = make_large(&job, why);
	if (e == ERR_NONE)
		e = run_hands(&job, jobs, why);
	if (e == ERR_NONE) {
		observer_progress(target->env->observer, &job.progress);
		totals->bytes += job.progress.done_bytes;
		totals->files += job.progress.done_items;
	}
	(void)pthread_mutex_destroy(&job.mutex);
	free(job.item);
	free(job.chunk);
	free(job.left);
	return e;
}

/* ---- fsync ---- */

struct syncing {
	const struct table *table;
	const struct target *target;
};

/* Files and directories alike.  The kernel reports a failed write to a descriptor opened after it as long
 * as nobody has heard of it. */
static enum err sync_one(void *state, size_t index, struct error *why)
{
	struct syncing *s = state;
	struct job job = {.target = s->target};
	const struct file_record *file = &s->table->file[index];
	struct files *files = s->target->env->files;
	bool is_directory = file->kind == FILE_DIRECTORY && !table_is_apart(file);
	char path[FILE_PATH_MAX];
	int dir, fd, answer;
	enum err e;

	if (*s->target->env->cancelled)
		return error_set(why, ERR_CANCELLED, "restore: stopped on request");
	if (!is_directory && (!is_ours(file) || is_synced_at_once(file)))
		return ERR_NONE;
	e = target_route(s->target, file->path, &dir, path, why);
	if (e != ERR_NONE || path[0] == '\0') /* a tablespace's own directory: target_sync_dirs */
		return e;
	fd = files->ops->open_beneath(files, dir, path,
				      O_RDONLY | O_NOFOLLOW | (is_directory ? O_DIRECTORY : 0), 0);
	if (fd < 0)
		return file_failed(why, &job, file, fd, "opening");
	answer = files->ops->fsync(files, fd);
	(void)files->ops->close(files, fd); /* only synced */
	return answer < 0 ? file_failed(why, &job, file, answer, "fsync of") : ERR_NONE;
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
