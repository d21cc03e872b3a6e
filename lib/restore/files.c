/* restore/files.c - writes the files of a backup in parallel.
 *
 * Work is cut into chunks of 16 to 64 MiB in the order of the file table, and each worker has a part of
 * that order to itself: neighbours there are neighbours in the packs, so that small files, and the shards of
 * a large one, share the frames that one worker has at hand, and two workers seldom write to one file,
 * which has one lock.  A file of several chunks is made first and finished by whoever ends its last piece.
 *
 * Nothing is waited for until all is written: an fsync after each small file would cost a commit of the
 * file system's journal each.  Writing out begins at once, and a second pass (files_sync.c) syncs
 * everything.
 */
#include "base/crc32c.h"
#include "restore/files_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>

enum {
	CHUNK_BYTES_MIN = SHARD_FILE_BYTES,
	CHUNK_BYTES_MAX = 4 * SHARD_FILE_BYTES,
	CHUNKS_PER_JOB = 16, /* at least, where the minimum allows: so that all end together */
	CHUNK_ITEMS_MAX = 1024,
	MODE_BITS = 07777,
	PROGRESS_STEP_BYTES = 4 << 20
};

static uint32_t items_of(const struct file_record *file)
{
	return file->shards > 0 ? file->shards : 1;
}

/* Files that several workers write must be there before, in their full size. */
static enum err make_large(const struct job *job, struct error *why)
{
	struct files *files = job->target->env->files;

	for (size_t i = 0; i < job->table->files; i++) {
		const struct file_record *file = &job->table->file[i];
		struct opened_file opened;
		int answer;
		enum err e;

		if (!file_is_ours(file) || file->shards < 2)
			continue;
		e = file_prepare(job->target, file, &opened, why);
		if (e != ERR_NONE)
			return e;
		/* Bytes behind what was there are zeros, which is what a comparison will find. */
		job->fresh[i] = opened.fresh || opened.size == 0;
		answer = files->ops->close(files, opened.fd);
		if (answer < 0)
			return file_failed(why, job->target, file, answer, "closing");
	}
	return ERR_NONE;
}

/* One that make_large made or found. */
static enum err open_made(const struct job *job, uint32_t index, struct opened_file *out,
			  struct error *why)
{
	struct files *files = job->target->env->files;
	const struct file_record *file = &job->table->file[index];
	struct stat st;
	int answer;
	enum err e;

	*out = (struct opened_file){.fd = -1, .fresh = job->fresh[index]};
	e = file_open(job->target, file, O_RDWR, &out->fd, why);
	if (e != ERR_NONE)
		return e;
	answer = files->ops->stat_fd(files, out->fd, &st);
	if (answer < 0)
		e = file_failed(why, job->target, file, answer, "looking at");
	else if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		e = error_set(why, ERR_IO, "\"%s/%.*s\" was replaced by somebody meanwhile",
			      job->target->path, (int)file->path.len,
			      (const char *)file->path.data);
	if (e != ERR_NONE) {
		(void)files->ops->close(files, out->fd); /* nothing was written */
		return e;
	}
	out->size = (uint64_t)st.st_size;
	out->mode = st.st_mode;
	return ERR_NONE;
}

/* All of it is written: the whole is what the server's manifest says. */
static enum err finish_file(struct job *job, const struct item *first,
			    const struct opened_file *opened, struct error *why)
{
	const struct file_record *file = &job->table->file[first->file];
	struct files *files = job->target->env->files;
	uint32_t crc = first->crc;
	int answer = 0;

	for (uint32_t i = 1; i < items_of(file); i++)
		crc = crc32c_combine(crc, first[i].crc, item_bytes(file, first[i].shard));
	if (crc != file->crc)
		return error_set(why, ERR_CORRUPT,
				 "file \"%.*s\": its CRC differs from the backup's",
				 (int)file->path.len, (const char *)file->path.data);
	if ((opened->mode & MODE_BITS) != (file->mode & MODE_BITS))
		answer = files->ops->chmod_fd(files, opened->fd, file->mode & MODE_BITS);
	if (answer < 0)
		return file_failed(why, job->target, file, answer, "setting the mode of");
	if (!file_is_synced_at_once(file))
		return ERR_NONE;
	answer = files->ops->fsync(files, opened->fd);
	return answer < 0 ? file_failed(why, job->target, file, answer, "fsync of") : ERR_NONE;
}

/* What a chunk did to one file. */
struct done {
	uint32_t file, items;
	uint64_t bytes, reused;
};

/* Counts what is written; true when these items were the file's last. */
static bool count_written(struct job *job, const struct done *done)
{
	bool last;

	(void)pthread_mutex_lock(&job->mutex); /* default mutexes: cannot fail here */
	job->left[done->file] -= done->items;
	last = job->left[done->file] == 0;
	job->progress.done_bytes += done->bytes;
	job->progress.done_items += last;
	job->reused += done->reused;
	if (job->progress.done_bytes - job->reported >= PROGRESS_STEP_BYTES) {
		job->reported = job->progress.done_bytes;
		(void)pthread_mutex_lock(job->source->speaking);
		observer_progress(job->target->env->observer, &job->progress);
		(void)pthread_mutex_unlock(job->source->speaking);
	}
	(void)pthread_mutex_unlock(&job->mutex);
	return last;
}

/* The disk works while the next shard is fetched, and files_sync finds little to wait for. */
static void begin_writing_out(const struct job *job, const struct item *item,
			      const struct opened_file *opened)
{
	struct files *files = job->target->env->files;

	(void)files->ops->writeback(files, opened->fd, (off_t)item->shard * SHARD_FILE_BYTES,
				    SHARD_FILE_BYTES); /* best effort */
}

/* The items of one file that are in this chunk. */
static enum err write_items(struct hand *hand, size_t from, size_t to, struct error *why)
{
	struct job *job = hand->job;
	struct item *item = job->item;
	const struct file_record *file = &job->table->file[item[from].file];
	struct files *files = job->target->env->files;
	struct done done = {.file = item[from].file, .items = (uint32_t)(to - from)};
	struct opened_file opened;
	int answer;
	enum err e = file->shards < 2 ? file_prepare(job->target, file, &opened, why)
				      : open_made(job, item[from].file, &opened, why);

	if (e != ERR_NONE)
		return e;
	for (size_t i = from; e == ERR_NONE && i < to && file->shards > 0; i++) {
		uint64_t reused = 0;

		if (*job->target->env->cancelled)
			e = error_set(why, ERR_CANCELLED, "restore: stopped on request");
		else
			e = shard_write(hand, &item[i], &opened, &item[i].crc, &reused, why);
		done.bytes += item_bytes(file, item[i].shard);
		done.reused += reused;
		if (e == ERR_NONE && reused < item_bytes(file, item[i].shard))
			begin_writing_out(job, &item[i], &opened);
	}
	if (e == ERR_NONE && count_written(job, &done))
		e = finish_file(job, &item[from] - item[from].shard, &opened, why);
	answer = files->ops->close(files, opened.fd);
	if (e == ERR_NONE && answer < 0)
		e = file_failed(why, job->target, file, answer, "closing");
	return e;
}

/* The next one of its own, or the last one of whoever has the most left. */
static size_t take_chunk(struct hand *hand)
{
	struct job *job = hand->job;
	struct hand *most = &job->hand[0];
	size_t taken;

	(void)pthread_mutex_lock(&job->mutex);
	for (unsigned i = 1; i < job->hands; i++)
		if (job->hand[i].end - job->hand[i].at > most->end - most->at)
			most = &job->hand[i];
	taken = hand->at < hand->end ? hand->at++ : --most->end;
	(void)pthread_mutex_unlock(&job->mutex);
	return taken;
}

/* One chunk; as many calls as there are chunks. */
static enum err write_chunk(void *state, size_t index, struct error *why)
{
	struct hand *hand = state;
	struct job *job = hand->job;
	size_t mine = take_chunk(hand);
	size_t at = job->chunk[mine], end = job->chunk[mine + 1];
	enum err e = ERR_NONE;

	(void)index;
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

/* Bytes of one chunk. */
static uint64_t chunk_bytes(const struct table *table, unsigned jobs)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < table->files; i++)
		bytes += file_is_ours(&table->file[i]) ? table->file[i].size : 0;
	bytes /= (uint64_t)(jobs > 0 ? jobs : 1) * CHUNKS_PER_JOB;
	return bytes < CHUNK_BYTES_MIN   ? CHUNK_BYTES_MIN
	       : bytes > CHUNK_BYTES_MAX ? CHUNK_BYTES_MAX
					 : bytes;
}

static enum err cut(struct job *job, unsigned jobs, struct error *why)
{
	const struct table *table = job->table;
	uint64_t bytes = 0, most = chunk_bytes(table, jobs);
	size_t n = 0, since = 0;

	for (size_t i = 0; i < table->files; i++)
		n += file_is_ours(&table->file[i]) ? items_of(&table->file[i]) : 0;
	job->item = calloc(n + 1, sizeof(*job->item));
	job->chunk = calloc(n + 2, sizeof(*job->chunk));
	job->left = calloc(table->files + 1, sizeof(*job->left));
	job->fresh = calloc(table->files + 1, sizeof(*job->fresh));
	if (job->item == NULL || job->chunk == NULL || job->left == NULL || job->fresh == NULL)
		return error_set(why, ERR_MEMORY, "restore: out of memory");
	for (size_t i = 0; i < table->files; i++) {
		const struct file_record *file = &table->file[i];

		if (!file_is_ours(file))
			continue;
		job->left[i] = items_of(file);
		job->progress.total_bytes += file->size;
		job->progress.total_items++;
		for (uint32_t shard = 0; shard < items_of(file); shard++) {
			struct item *item = &job->item[job->items];

			*item = (struct item){.file = (uint32_t)i, .shard = shard};
			if (since == 0 || bytes + item_bytes(file, shard) > most ||
			    since >= CHUNK_ITEMS_MAX) {
				job->chunk[job->chunks++] = job->items;
				bytes = since = 0;
			}
			bytes += item_bytes(file, shard);
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
	job->hand = hand;
	job->hands = jobs;
	for (unsigned i = 0; e == ERR_NONE && i < jobs; i++) {
		hand[i] = (struct hand){.job = job,
					.at = job->chunks * i / jobs,
					.end = job->chunks * (i + 1) / jobs};
		state[i] = &hand[i];
		e = fetcher_new(job->source, &hand[i].fetcher, why);
		if (e == ERR_NONE && job->target->reuses &&
		    (hand[i].compare = malloc(COMPARE_BYTES)) == NULL)
			e = error_set(why, ERR_MEMORY, "restore: out of memory");
	}
	if (e == ERR_NONE && job->chunks > 0)
		e = parallel_for(jobs, state, job->chunks, write_chunk, why);
	for (unsigned i = 0; i < jobs; i++) {
		fetcher_free(hand[i].fetcher);
		free(hand[i].compare);
	}
	return e;
}

enum err files_write(const struct source *source, const struct table *table,
		     const struct target *target, unsigned jobs, struct files_totals *totals,
		     struct error *why)
{
	struct job job = {.source = source,
			  .table = table,
			  .target = target,
			  .progress = {.phase = target->reuses ? "compare" : "restore"}};
	enum err e;

	if (table->files > UINT32_MAX)
		return error_set(why, ERR_LIMIT, "the file table has %zu records", table->files);
	(void)pthread_mutex_init(&job.mutex, NULL); /* cannot fail on Linux */
	e = cut(&job, jobs, why);
	if (e == ERR_NONE)
		e = make_large(&job, why);
	if (e == ERR_NONE)
		e = run_hands(&job, jobs, why);
	if (e == ERR_NONE) {
		observer_progress(target->env->observer, &job.progress);
		totals->written += job.progress.done_bytes - job.reused;
		totals->reused += job.reused;
		totals->files += job.progress.done_items;
	}
	(void)pthread_mutex_destroy(&job.mutex);
	free(job.item);
	free(job.chunk);
	free(job.left);
	free(job.fresh);
	return e;
}
