/* restore/export_files.c - the files of a backup into tars: read in parallel, written in order.
 *
 * The owner cuts the file table into chunks of at most 16 MiB, workers fill them with pages that are
 * checked, the deliverer writes them.  The order is the server's, with backup_label in front and
 * pg_control at the end, as the server sends them.
 */
#include "base/crc32c.h"
#include "base/pipeline.h"
#include "restore/export_internal.h"

#include <inttypes.h>
#include <stdlib.h>

enum { CHUNK_BYTES = SHARD_FILE_BYTES, CHUNK_PIECES_MAX = 1024, RANKS = 4 };

/* 16 MiB of one file, or a record without content. */
struct piece {
	const struct file_record *file;
	uint32_t shard;
	size_t at, len; /* in the chunk */
	uint32_t crc;   /* once read */
	bool first, last;
};

struct chunk {
	uint8_t *data; /* CHUNK_BYTES */
	struct piece piece[CHUNK_PIECES_MAX];
	size_t pieces, len;
	const struct env *env;
};

struct writing {
	const struct source *source;
	const struct table *table;
	struct export_outputs *outputs;
	struct progress progress;
	struct export_result *result;
	/* The cursor of the owner. */
	unsigned rank;
	size_t file;
	uint32_t shard;
	/* The deliverer's: the file being written. */
	struct export_output *output;
	uint32_t crc;
	bool skipping;
};

static unsigned rank_of(const struct file_record *file)
{
	if (path_is(file->path, "backup_label"))
		return 0;
	if (path_is(file->path, "tablespace_map"))
		return 1;
	return path_is(file->path, "global/pg_control") ? RANKS - 1 : 2;
}

static size_t piece_bytes(const struct file_record *file, uint32_t shard)
{
	uint64_t left = file->size - (uint64_t)shard * SHARD_FILE_BYTES;

	return (size_t)(left < SHARD_FILE_BYTES ? left : SHARD_FILE_BYTES);
}

/* The next pieces in order; none at the end. */
static void cut_chunk(struct writing *w, struct chunk *chunk)
{
	chunk->pieces = chunk->len = 0;
	while (w->rank < RANKS) {
		const struct file_record *file = &w->table->file[w->file];
		struct piece *piece = &chunk->piece[chunk->pieces];
		size_t len;

		if (w->file == w->table->files) {
			w->file = 0;
			w->rank++;
			continue;
		}
		if (rank_of(file) != w->rank) {
			w->file++;
			continue;
		}
		len = file->shards > 0 ? piece_bytes(file, w->shard) : 0;
		if (chunk->pieces == CHUNK_PIECES_MAX || chunk->len + len > CHUNK_BYTES)
			return;
		*piece = (struct piece){.file = file,
					.shard = w->shard,
					.at = chunk->len,
					.len = len,
					.first = w->shard == 0,
					.last = w->shard + 1 >= file->shards};
		chunk->pieces++;
		chunk->len += len;
		w->shard = piece->last ? 0 : w->shard + 1;
		w->file += piece->last;
	}
}

/* ---- workers ---- */

struct filling {
	uint8_t *data;
	uint64_t from; /* of the piece in its file */
};

static enum err fill_run(void *ctx, const struct page_run *run, struct error *why)
{
	struct filling *f = ctx;
	uint8_t *at = f->data + (run->offset - f->from);

	(void)why;
	if (run->data == NULL)
		memset(at, 0, (size_t)run->len);
	else
		memcpy(at, run->data, (size_t)run->len);
	return ERR_NONE;
}

static enum err fill_chunk(void *worker, void *item, struct error *why)
{
	struct fetcher *fetcher = worker;
	struct chunk *chunk = item;

	for (size_t i = 0; i < chunk->pieces; i++) {
		struct piece *piece = &chunk->piece[i];
		struct filling f = {.data = chunk->data + piece->at,
				    .from = (uint64_t)piece->shard * SHARD_FILE_BYTES};
		struct fetch fetch = {
			.file = piece->file, .index = piece->shard, .visit = fill_run, .ctx = &f};
		enum err e;

		if (*chunk->env->cancelled)
			return error_set(why, ERR_CANCELLED, "export: stopped on request");
		if (piece->len == 0)
			continue;
		e = fetcher_shard(fetcher, &fetch, &piece->crc, why);
		if (e != ERR_NONE)
			return error_add(why, "file \"%.*s\"", (int)piece->file->path.len,
					 (const char *)piece->file->path.data);
	}
	return ERR_NONE;
}

/* ---- the deliverer ---- */

static enum err put_header(struct writing *w, const struct file_record *file, struct error *why)
{
	static const enum tar_kind kinds[] = {[FILE_PLAIN] = TAR_FILE,
					      [FILE_DIRECTORY] = TAR_DIRECTORY,
					      [FILE_SYMLINK] = TAR_SYMLINK};
	struct tar_entry entry = {.kind = kinds[file->kind],
				  .mode = file->mode,
				  .modified_s = file->modified_s,
				  .size = file->size};
	struct bytes member;

	w->output = outputs_route(w->outputs, file->path, &member);
	w->crc = 0;
	w->skipping =
		member.len == 0; /* the server's tar of a tablespace has no entry for itself */
	if (w->skipping)
		return ERR_NONE;
	if (member.len >= sizeof(entry.path) || file->target.len >= sizeof(entry.target))
		return error_set(why, ERR_LIMIT, "\"%.*s\" is too long for a tar",
				 (int)file->path.len, (const char *)file->path.data);
	memcpy(entry.path, member.data, member.len);
	if (file->target.len > 0)
		memcpy(entry.target, file->target.data, file->target.len);
	w->result->files += file->kind == FILE_PLAIN;
	return tar_writer_entry(w->output->tar, &entry, why);
}

static enum err put_chunk(void *ctx, void *item, struct error *why)
{
	struct writing *w = ctx;
	const struct chunk *chunk = item;
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < chunk->pieces; i++) {
		const struct piece *piece = &chunk->piece[i];

		if (piece->first)
			e = put_header(w, piece->file, why);
		if (e == ERR_NONE && piece->len > 0 && !w->skipping)
			e = tar_writer_data(w->output->tar,
					    bytes_of(chunk->data + piece->at, piece->len), why);
		w->crc = piece->first ? piece->crc : crc32c_combine(w->crc, piece->crc, piece->len);
		if (e == ERR_NONE && piece->last && piece->file->kind == FILE_PLAIN &&
		    w->crc != piece->file->crc)
			e = error_set(why, ERR_CORRUPT,
				      "file \"%.*s\": its CRC differs from the backup's",
				      (int)piece->file->path.len,
				      (const char *)piece->file->path.data);
		w->progress.done_bytes += piece->len;
		w->progress.done_items += piece->last;
	}
	(void)pthread_mutex_lock(w->source->speaking); /* default mutex: cannot fail here */
	observer_progress(w->source->env->observer, &w->progress);
	(void)pthread_mutex_unlock(w->source->speaking);
	return e;
}

/* ---- the owner ---- */

struct machine {
	void *chunk[EXPORT_JOBS_MAX + 2]; /* struct chunk */
	void *fetcher[EXPORT_JOBS_MAX];   /* struct fetcher */
	unsigned jobs;
};

static enum err chunk_new(const struct env *env, void **out, struct error *why)
{
	struct chunk *chunk = calloc(1, sizeof(*chunk));

	if (chunk != NULL)
		chunk->data = bytes_new_large(CHUNK_BYTES);
	if (chunk == NULL || chunk->data == NULL) {
		free(chunk);
		return error_set(why, ERR_MEMORY, "export: out of memory");
	}
	chunk->env = env;
	*out = chunk;
	return ERR_NONE;
}

static void chunk_free(struct chunk *chunk)
{
	if (chunk != NULL)
		free(chunk->data);
	free(chunk);
}

static enum err machine_make(struct machine *m, const struct source *source, unsigned jobs,
			     struct error *why)
{
	enum err e = ERR_NONE;

	m->jobs = jobs == 0 ? 1 : jobs > EXPORT_JOBS_MAX ? EXPORT_JOBS_MAX : jobs;
	for (unsigned i = 0; e == ERR_NONE && i < m->jobs; i++) {
		struct fetcher *fetcher = NULL;

		e = fetcher_new(source, &fetcher, why);
		m->fetcher[i] = fetcher;
	}
	for (unsigned i = 0; e == ERR_NONE && i < m->jobs + 2; i++)
		e = chunk_new(source->env, &m->chunk[i], why);
	return e;
}

static void machine_release(struct machine *m)
{
	for (unsigned i = 0; i < EXPORT_JOBS_MAX; i++)
		fetcher_free(m->fetcher[i]);
	for (unsigned i = 0; i < EXPORT_JOBS_MAX + 2; i++)
		chunk_free(m->chunk[i]);
}

static enum err run(struct writing *w, struct machine *m, struct error *why)
{
	struct pipeline_config config = {.workers = m->jobs,
					 .items = m->jobs + 2,
					 .item = m->chunk,
					 .worker_state = m->fetcher,
					 .work = fill_chunk,
					 .deliver = put_chunk,
					 .ctx = w};
	struct pipeline *pipeline = NULL;
	enum err e = pipeline_new(&config, &pipeline, why);

	while (e == ERR_NONE && w->rank < RANKS) {
		void *item;

		e = pipeline_take(pipeline, &item, why);
		if (e != ERR_NONE)
			break;
		cut_chunk(w, item);
		pipeline_submit(pipeline, item);
	}
	if (e == ERR_NONE)
		e = pipeline_drain(pipeline, why);
	pipeline_free(pipeline);
	return e;
}

enum err export_files(const struct source *source, const struct table *table,
		      struct export_outputs *outputs, unsigned jobs, struct export_result *result,
		      struct error *why)
{
	struct writing w = {.source = source,
			    .table = table,
			    .outputs = outputs,
			    .result = result,
			    .progress = {.phase = "export", .total_items = table->files}};
	struct machine m = {.jobs = 0};
	enum err e;

	for (size_t i = 0; i < table->files; i++)
		w.progress.total_bytes += table->file[i].size;
	e = machine_make(&m, source, jobs, why);
	if (e == ERR_NONE)
		e = run(&w, &m, why);
	machine_release(&m);
	return e;
}
