/* repo/verify.c - reads everything a backup refers to and proves it whole.
 *
 * A backup is proven in three passes that meet: every pack's bytes against the SHA-256 in the
 * manifest; every section's frames; every page of every file through its map, against tag, CRC and
 * the file's CRC.  The first catches damage in what no page refers to, the last what a digest
 * cannot know.
 */
#include "repo/verify.h"
#include "base/crc32c.h"
#include "base/pipeline.h"
#include "repo/pack.h"
#include "repo/pages.h"
#include "repo/verify_internal.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { VERIFY_JOBS_MAX = 64, PACK_READ_BYTES = 1 << 20, CHUNK_FILES = 64 };

/* What the threads of one verification share. */
struct verify_run {
	const struct cluster *cluster;
	const struct manifest *manifest;
	const struct verify_options *options;
	char backup[ATTEMPT_TEXT_MAX];
	pthread_mutex_t mutex; /* guards totals and the finding callback */
	struct verify_totals *totals;
	/* The file table, read once; records lie in `table`. */
	uint8_t *table;
	size_t table_len;
	size_t *record; /* offsets of every CHUNK_FILES-th record */
	size_t chunks, chunks_max;
};

void verify_report(const struct verify_options *options, struct verify_totals *totals,
		   const struct verify_finding *finding)
{
	totals->findings++;
	if (options->finding != NULL)
		options->finding(options->ctx, finding);
}

enum err verify_go_on(const struct cluster *cluster, struct error *why)
{
	if (*cluster->repository->env->cancelled)
		return error_set(why, ERR_CANCELLED, "verify: stopped on request");
	return ERR_NONE;
}

/* Damage becomes a finding and the run goes on; anything else stops it. */
static enum err take(struct verify_run *r, enum err e, const char *key, const char *file,
		     const struct error *why)
{
	struct verify_finding finding = {
		.key = key, .backup = r->backup, .file = file, .text = why->text};

	if (e != ERR_CORRUPT && e != ERR_MISSING && e != ERR_WRONG_KEY)
		return e;
	(void)pthread_mutex_lock(&r->mutex); /* default mutex: cannot fail here */
	verify_report(r->options, r->totals, &finding);
	(void)pthread_mutex_unlock(&r->mutex);
	return ERR_NONE;
}

/* Each thread's own. */
struct verify_worker {
	struct verify_run *run;
	struct page_source *pages;
	struct sha256 *digest;
	uint8_t *buffer; /* PACK_READ_BYTES */
	uint64_t page_count;
};

static enum err pack_digest(struct verify_worker *w, const char *key, const struct pack_entry *pack,
			    struct error *why)
{
	struct store *store = w->run->cluster->repository->store;
	uint8_t sum[CRYPTO_SHA256_BYTES];
	enum err e = sha256_start(w->digest, why);

	for (uint64_t at = 0; e == ERR_NONE && at < pack->size;) {
		size_t len = pack->size - at < PACK_READ_BYTES ? (size_t)(pack->size - at)
							       : PACK_READ_BYTES;

		e = store_read(store, key, at, w->buffer, len, why);
		if (e == ERR_NONE)
			e = sha256_add(w->digest, bytes_of(w->buffer, len), why);
		at += len;
	}
	if (e == ERR_NONE)
		e = sha256_end(w->digest, sum, why);
	if (e == ERR_NONE && !crypto_same(sum, pack->sha256, sizeof(sum)))
		e = error_set(why, ERR_CORRUPT,
			      "%s: its bytes have another SHA-256 than the "
			      "manifest states",
			      key);
	return e;
}

static enum err verify_pack(void *state, size_t index, struct error *why)
{
	struct verify_worker *w = state;
	struct verify_run *r = w->run;
	const struct pack_entry *pack = &r->manifest->pack[index];
	struct store_object object;
	char key[STORE_KEY_MAX];
	enum err e = verify_go_on(r->cluster, why);

	if (e != ERR_NONE)
		return e;
	pack_key(r->cluster, &pack->id, key);
	e = store_stat(r->cluster->repository->store, key, &object, why);
	if (e == ERR_NONE && object.size != pack->size)
		e = error_set(why, ERR_CORRUPT,
			      "%s has %" PRIu64 " bytes, the manifest states %" PRIu64, key,
			      object.size, pack->size);
	if (e == ERR_NONE && !r->options->quick)
		e = pack_digest(w, key, pack, why);
	(void)pthread_mutex_lock(&r->mutex);
	r->totals->objects++;
	r->totals->bytes_read += r->options->quick ? 0 : pack->size;
	(void)pthread_mutex_unlock(&r->mutex);
	return e == ERR_NONE ? e : take(r, e, key, NULL, why);
}

static enum err count_pages(void *ctx, const struct page_run *run, struct error *why)
{
	struct verify_worker *w = ctx;

	(void)why;
	w->page_count += (run->len + MAP_PAGE_BYTES - 1) / MAP_PAGE_BYTES;
	return ERR_NONE;
}

static enum err verify_file(struct verify_worker *w, const struct file_record *file,
			    struct error *why)
{
	uint32_t crc = 0;

	for (uint32_t i = 0; i < file->shards; i++) {
		uint64_t at = (uint64_t)i * SHARD_FILE_BYTES;
		uint64_t len =
			file->size - at < SHARD_FILE_BYTES ? file->size - at : SHARD_FILE_BYTES;
		uint32_t part;
		enum err e = page_source_shard(w->pages, file, i, count_pages, w, &part, why);

		if (e != ERR_NONE)
			return e;
		crc = crc32c_combine(crc, part, len);
	}
	if (file->kind == FILE_PLAIN && crc != file->crc)
		return error_set(why, ERR_CORRUPT,
				 "the file's CRC-32C is %08x, the table says %08x", crc, file->crc);
	return ERR_NONE;
}

/* One chunk of the file table. */
static enum err verify_chunk(void *state, size_t index, struct error *why)
{
	struct verify_worker *w = state;
	struct verify_run *r = w->run;
	size_t begin = r->record[index];
	size_t end = index + 1 < r->chunks ? r->record[index + 1] : r->table_len;
	struct reader in = reader_of(bytes_of(r->table + begin, end - begin));
	uint64_t files = 0;

	w->page_count = 0;
	while (in.left > 0) {
		struct file_record file;
		char path[FILE_PATH_MAX + 1];
		enum err e = verify_go_on(r->cluster, why);

		if (e != ERR_NONE)
			return e;
		e = file_record_decode(&in, &file, why);
		if (e != ERR_NONE)
			return take(r, e, r->backup, NULL, why);
		(void)snprintf(path, sizeof(path), "%.*s", (int)file.path.len,
			       (const char *)file.path.data); /* decode bounds it */
		e = verify_file(w, &file, why);
		if (e != ERR_NONE)
			e = take(r, e, r->backup, path, why);
		if (e != ERR_NONE)
			return e;
		files++;
	}
	(void)pthread_mutex_lock(&r->mutex);
	r->totals->files += files;
	r->totals->pages += w->page_count;
	(void)pthread_mutex_unlock(&r->mutex);
	return ERR_NONE;
}

/* Notes where every CHUNK_FILES-th record begins. */
static enum err cut_table(struct verify_run *r, struct error *why)
{
	struct reader in = reader_of(bytes_of(r->table, r->table_len));

	for (size_t n = 0; in.left > 0; n++) {
		struct file_record file;
		size_t at = r->table_len - in.left;
		enum err e;

		if (n % CHUNK_FILES == 0) {
			if (r->chunks == r->chunks_max) {
				size_t more = r->chunks_max == 0 ? 64 : r->chunks_max * 2;
				size_t *bigger = realloc(r->record, more * sizeof(*bigger));

				if (bigger == NULL)
					return error_set(why, ERR_MEMORY, "verify: out of memory");
				r->record = bigger;
				r->chunks_max = more;
			}
			r->record[r->chunks++] = at;
		}
		e = file_record_decode(&in, &file, why);
		if (e != ERR_NONE)
			return e;
	}
	return ERR_NONE;
}

static enum err skip_frame(void *ctx, struct bytes frame, struct error *why)
{
	struct verify_totals *totals = ctx;

	(void)frame;
	(void)why;
	totals->frames++;
	return ERR_NONE;
}

/* Every section opens; the file table is kept. */
static enum err verify_sections(struct verify_run *r, struct error *why)
{
	enum { TABLE_MAX = 1 << 30 };
	enum err e;

	for (uint32_t i = 0; i < r->manifest->sections; i++) {
		e = section_walk(r->cluster, r->manifest, r->manifest->section[i].name, skip_frame,
				 r->totals, why);
		if (e != ERR_NONE)
			e = take(r, e, r->backup, r->manifest->section[i].name, why);
		if (e != ERR_NONE)
			return e;
	}
	e = section_read(r->cluster, r->manifest, "files", TABLE_MAX, &r->table, &r->table_len,
			 why);
	if (e == ERR_NONE)
		e = cut_table(r, why);
	return e == ERR_NONE ? e : take(r, e, r->backup, "files", why);
}

static void workers_free(struct verify_worker **worker, unsigned jobs)
{
	for (unsigned i = 0; worker != NULL && i < jobs; i++) {
		if (worker[i] == NULL)
			continue;
		page_source_free(worker[i]->pages);
		sha256_free(worker[i]->digest);
		free(worker[i]->buffer);
		free(worker[i]);
	}
	free(worker);
}

static enum err workers_new(struct verify_run *r, unsigned jobs, struct verify_worker ***out,
			    struct error *why)
{
	struct verify_worker **worker = calloc(jobs, sizeof(*worker));
	enum err e =
		worker == NULL ? error_set(why, ERR_MEMORY, "verify: out of memory") : ERR_NONE;

	for (unsigned i = 0; e == ERR_NONE && i < jobs; i++) {
		worker[i] = calloc(1, sizeof(**worker));
		if (worker[i] != NULL)
			worker[i]->buffer = malloc(PACK_READ_BYTES);
		if (worker[i] == NULL || worker[i]->buffer == NULL) {
			e = error_set(why, ERR_MEMORY, "verify: out of memory");
			break;
		}
		worker[i]->run = r;
		e = page_source_new(r->cluster, r->manifest, &worker[i]->pages, why);
		if (e == ERR_NONE)
			e = sha256_new(&worker[i]->digest, why);
	}
	if (e != ERR_NONE) {
		workers_free(worker, jobs);
		return e;
	}
	*out = worker;
	return ERR_NONE;
}

enum err verify_backup(const struct cluster *cluster, const struct attempt *attempt,
		       const struct verify_options *options, struct verify_totals *totals,
		       struct error *why)
{
	struct verify_run r = {.cluster = cluster, .options = options, .totals = totals};
	unsigned jobs = options->jobs == 0                ? 1
			: options->jobs > VERIFY_JOBS_MAX ? VERIFY_JOBS_MAX
							  : options->jobs;
	uint64_t before = totals->findings;
	struct manifest *manifest = NULL;
	struct verify_worker **worker = NULL;
	enum err e;

	attempt_to_text(attempt, r.backup);
	(void)pthread_mutex_init(&r.mutex, NULL); /* cannot fail on Linux */
	e = manifest_read(cluster, attempt, &manifest, why);
	if (e == ERR_CORRUPT || e == ERR_WRONG_KEY) {
		(void)take(&r, e, r.backup, NULL, why); /* damage: always survived here */
		goto out;
	}
	if (e != ERR_NONE)
		goto out;
	r.manifest = manifest;
	e = workers_new(&r, jobs, &worker, why);
	if (e == ERR_NONE)
		e = parallel_for(jobs, (void **)worker, manifest->packs, verify_pack, why);
	if (e == ERR_NONE && !options->quick)
		e = verify_sections(&r, why);
	if (e == ERR_NONE && !options->quick)
		e = parallel_for(jobs, (void **)worker, r.chunks, verify_chunk, why);
	if (e == ERR_NONE && totals->findings > before)
		e = error_set(why, ERR_CORRUPT, "backup %s is damaged", r.backup);
out:
	workers_free(worker, jobs);
	manifest_free(manifest);
	free(r.table);
	free(r.record);
	(void)pthread_mutex_destroy(&r.mutex);
	return e;
}
