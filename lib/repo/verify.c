/* repo/verify.c - one run of verification, from what is known to what is remembered.
 *
 *  1. records and key slots are read; then what earlier runs said, every manifest, the list of packs
 *  2. the maps of backups that are new, with the packs they name (verify_maps.c)
 *  3. WAL that was never read, and whether it has holes (verify_wal.c)
 *  4. packs that are due, longest unread first (verify_pack.c)
 *  5. WAL that is due
 *  6. what damage means for each backup (verify_name.c)
 *  7. the record of the run
 *
 * When the time is up, 2 to 5 end early and the rest is done all the same.  A failure that is no
 * damage ends the run; what it has proven is remembered.
 */
#include "repo/verify.h"
#include "base/pipeline.h"
#include "repo/manifest_internal.h"
#include "repo/verify_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { SLEEP_MAX_US = 100 * 1000, SECOND_US = 1000 * 1000 };

/* ---- what the parts of a run ask ---- */

void verify_report(struct verify_run *r, const struct verify_finding *finding)
{
	(void)pthread_mutex_lock(&r->mutex); /* default mutex: cannot fail here */
	r->totals->findings++;
	if (r->options->finding != NULL)
		r->options->finding(r->options->ctx, finding);
	(void)pthread_mutex_unlock(&r->mutex);
}

enum err verify_go_on(const struct verify_run *r, struct error *why)
{
	if (*r->cluster->repository->env->cancelled)
		return error_set(why, ERR_CANCELLED, "verify: stopped on request");
	return ERR_NONE;
}

bool verify_is_over(const struct verify_run *r)
{
	return clock_monotonic_us(r->cluster->repository->env->clock) >= r->ends_us;
}

void verify_count_read(struct verify_run *r, uint64_t bytes)
{
	const struct env *env = r->cluster->repository->env;
	struct progress progress = {.phase = "verify"};
	int64_t wait_us = 0;

	(void)pthread_mutex_lock(&r->mutex);
	r->totals->bytes_read += bytes;
	r->done_bytes += bytes;
	progress.done_bytes = r->done_bytes;
	progress.total_bytes = r->total_bytes > r->done_bytes ? r->total_bytes : r->done_bytes;
	if (r->options->max_rate > 0)
		wait_us = r->began_us +
			  (int64_t)((double)r->done_bytes * SECOND_US /
				    (double)r->options->max_rate) -
			  clock_monotonic_us(env->clock);
	(void)pthread_mutex_unlock(&r->mutex);
	observer_progress(env->observer, &progress);
	for (; wait_us > 0 && !*env->cancelled; wait_us -= SLEEP_MAX_US)
		clock_sleep_us(env->clock, wait_us < SLEEP_MAX_US ? wait_us : SLEEP_MAX_US);
}

bool verify_is_due(const struct verify_run *r, int64_t us)
{
	return us == 0 || r->options->all ||
	       r->started_us - us >= (int64_t)VERIFY_PERIOD_DAYS * 86400 * SECOND_US;
}

bool verify_is_damage(enum err e)
{
	return e == ERR_CORRUPT || e == ERR_MISSING || e == ERR_WRONG_KEY;
}

enum err verify_damage(struct verify_run *r, uint32_t index, uint32_t ordinal, uint32_t offset,
		       const char *text, struct error *why)
{
	struct verify_pack *pack = &r->table.pack[index];
	struct verified_damage damage = {
		.pack = pack->id, .ordinal = ordinal, .offset = offset, .us = r->started_us};
	enum err e = ERR_NONE;

	(void)pthread_mutex_lock(&r->mutex);
	if (pack->text == NULL)
		pack->text = strdup(text); /* without memory the text is a general one */
	pack->proven_us = 0;
	if (++pack->damages == VERIFY_DAMAGE_PACK_MAX)
		damage.ordinal = damage.offset = VERIFIED_ALL;
	if (pack->damages <= VERIFY_DAMAGE_PACK_MAX && r->now->damage.count < VERIFIED_DAMAGE_MAX)
		e = verified_add_damage(r->now, &damage, why);
	(void)pthread_mutex_unlock(&r->mutex);
	return e;
}

enum err verify_backup_stays(const struct verify_run *r, const struct attempt *attempt, bool *out,
			     struct error *why)
{
	const struct cluster *c = r->cluster;
	struct store *store = c->repository->store;
	char key[STORE_KEY_MAX], name[ATTEMPT_TEXT_MAX];
	struct store_object object;
	enum err e;

	attempt_to_text(attempt, name);
	backup_key(c, attempt, key);
	e = store_stat(store, key, &object, why);
	if (e == ERR_NONE) {
		(void)snprintf(key, sizeof(key), "%stombs/%s", c->prefix, name); /* fits */
		e = store_stat(store, key, &object, why);
		if (e == ERR_NONE || e == ERR_MISSING)
			*out = e == ERR_MISSING;
		return e == ERR_MISSING ? ERR_NONE : e;
	}
	if (e == ERR_MISSING)
		*out = false;
	return e == ERR_MISSING ? ERR_NONE : e;
}

/* ---- 4: packs that are due ---- */

struct due {
	struct verify_job job;
	int64_t us;
};

static int by_age(const void *left, const void *right)
{
	const struct due *a = left, *b = right;

	if (a->us != b->us)
		return a->us < b->us ? -1 : 1;
	return (a->job.pack > b->job.pack) - (a->job.pack < b->job.pack);
}

struct due_list {
	struct due *due;
	struct verify_run *run;
};

static enum err read_due(void *state, size_t index, struct error *why)
{
	struct verify_worker *w = state;
	struct verify_run *r = w->run;
	const struct verify_job *job = &w->group->job[index];

	if (!verify_is_over(r))
		return verify_pack_read(w, job, why);
	(void)pthread_mutex_lock(&r->mutex);
	r->totals->packs_left++;
	r->totals->bytes_left += r->table.pack[job->pack].size;
	(void)pthread_mutex_unlock(&r->mutex);
	return ERR_NONE;
}

static bool pack_is_due(const struct verify_run *r, const struct verify_pack *pack)
{
	return pack->in_scope && !pack->read && pack->present != UINT64_MAX &&
	       verify_is_due(r, pack->proven_us);
}

static enum err read_packs(struct verify_run *r, struct error *why)
{
	struct due *due = calloc((size_t)r->table.count + 1, sizeof(*due));
	struct verify_group group = {.jobs = 0};
	enum err e = ERR_NONE;

	group.job = calloc((size_t)r->table.count + 1, sizeof(*group.job));
	if (due == NULL || group.job == NULL)
		e = error_set(why, ERR_MEMORY, "verify: no memory for the order of packs");
	for (uint32_t i = 0; i < r->table.count && e == ERR_NONE; i++) {
		const struct verify_pack *pack = &r->table.pack[i];

		if (pack_is_due(r, pack))
			due[group.jobs++] = (struct due){{.pack = i}, pack->proven_us};
		else if (pack->in_scope && !pack->read && pack->proven_us != 0)
			r->totals->packs_lately++;
	}
	if (e == ERR_NONE && group.jobs > 1)
		qsort(due, group.jobs, sizeof(*due), by_age);
	for (size_t i = 0; i < group.jobs && e == ERR_NONE; i++)
		group.job[i] = due[i].job;
	for (unsigned i = 0; i < r->jobs; i++)
		r->worker[i]->group = &group;
	if (e == ERR_NONE)
		e = parallel_for(r->jobs, (void **)r->worker, group.jobs, read_due, why);
	for (unsigned i = 0; i < r->jobs; i++)
		r->worker[i]->group = NULL;
	free(due);
	free(group.job);
	return e;
}

/* ---- the run ---- */

static void workers_free(struct verify_run *r)
{
	for (unsigned i = 0; r->worker != NULL && i < r->jobs; i++) {
		struct verify_worker *w = r->worker[i];

		if (w == NULL)
			continue;
		object_reader_free(w->reader);
		sha256_free(w->digest);
		page_tagger_free(w->tagger);
		free(w->raw);
		free(w->plain);
		free(w);
	}
	free(r->worker);
}

static enum err worker_new(struct verify_run *r, struct verify_worker **out, struct error *why)
{
	const struct repository *repository = r->cluster->repository;
	struct verify_worker *w = calloc(1, sizeof(*w));
	uint8_t key[CRYPTO_KEY_BYTES];
	enum err e;

	*out = w; /* freed with the run, whatever it has by then */
	if (w == NULL)
		return error_set(why, ERR_MEMORY, "verify: out of memory");
	w->run = r;
	w->raw = bytes_new_large(VERIFY_READ_BYTES);
	w->plain = malloc(FRAME_PLAIN_MAX);
	if (w->raw == NULL || w->plain == NULL)
		return error_set(why, ERR_MEMORY, "verify: out of memory");
	e = object_reader_new(repository, &w->reader, why);
	if (e == ERR_NONE)
		e = sha256_new(&w->digest, why);
	if (e == ERR_NONE)
		e = keyring_tag_key(repository->keyring, key, why);
	if (e == ERR_NONE)
		e = page_tagger_new(repository->tag_kind, key, &w->tagger, why);
	explicit_bzero(key, sizeof(key));
	return e;
}

static enum err workers_new(struct verify_run *r, struct error *why)
{
	enum err e = ERR_NONE;

	r->worker = calloc(r->jobs, sizeof(struct verify_worker *));
	if (r->worker == NULL)
		return error_set(why, ERR_MEMORY, "verify: out of memory");
	for (unsigned i = 0; i < r->jobs && e == ERR_NONE; i++)
		e = worker_new(r, &r->worker[i], why);
	return e;
}

/* 2 to 5. */
static enum err read_all(struct verify_run *r, struct error *why)
{
	enum err e = ERR_NONE;

	for (uint32_t i = 0; i < r->table.count; i++)
		if (pack_is_due(r, &r->table.pack[i]))
			r->total_bytes += r->table.pack[i].size;
	if (!r->options->quick)
		e = workers_new(r, why);
	if (e == ERR_NONE && !r->options->quick)
		e = verify_maps(r, why);
	if (e == ERR_NONE && !r->options->bare)
		e = verify_wal(r, VERIFY_WAL_NEW, why);
	if (e == ERR_NONE && !r->options->quick)
		e = read_packs(r, why);
	if (e == ERR_NONE && !r->options->quick && !r->options->bare)
		e = verify_wal(r, VERIFY_WAL_OLD, why);
	return e;
}

static void run_release(struct verify_run *r)
{
	workers_free(r);
	verify_table_release(&r->table);
	verified_free(r->before);
	verified_free(r->now);
	free(r->backup);
	(void)pthread_mutex_destroy(&r->mutex);
}

enum err verify_cluster(const struct cluster *cluster, const struct verify_options *options,
			struct verify_totals *totals, struct error *why)
{
	const struct env *env = cluster->repository->env;
	struct verify_run r = {.cluster = cluster,
			       .options = options,
			       .totals = totals,
			       .jobs = options->jobs,
			       .started_us = clock_now_us(env->clock),
			       .began_us = clock_monotonic_us(env->clock),
			       .ends_us = INT64_MAX};
	uint64_t before = totals->findings;
	char name[CLUSTER_NAME_MAX];
	enum err e = ERR_NONE;

	r.jobs = r.jobs == 0 ? 1 : r.jobs > VERIFY_JOBS_MAX ? VERIFY_JOBS_MAX : r.jobs;
	if (options->max_time_us > 0)
		r.ends_us = r.began_us + options->max_time_us;
	(void)pthread_mutex_init(&r.mutex, NULL);                /* cannot fail on Linux */
	(void)snprintf(name, sizeof(name), "%s", cluster->name); /* an attempt fits, too */
	r.now = verified_new();
	if (r.now == NULL)
		e = error_set(why, ERR_MEMORY, "verify: out of memory");
	if (e == ERR_NONE && options->only == NULL)
		e = verify_records(&r, why);
	if (e == ERR_NONE)
		e = verified_read(cluster, &r.before, why);
	if (e == ERR_NONE)
		e = verify_gather(&r, why);
	if (e == ERR_NONE)
		e = verify_end(&r, read_all(&r, why), why);
	if (e == ERR_NONE && options->only != NULL)
		attempt_to_text(options->only, name);
	if (e == ERR_NONE && totals->findings > before)
		e = error_set(why, ERR_CORRUPT, "%s %s is damaged: %" PRIu64 " finding(s)",
			      options->only != NULL ? "backup" : "cluster", name,
			      totals->findings - before);
	run_release(&r);
	return e;
}
