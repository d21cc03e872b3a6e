/* backup/backup.c - the control flow of one base backup: steps W1 to W7 of the protocol.
 *
 * The happy path: connect, look who the server is; W1 pins in every repository, naming the parent;
 * W2 the parent is read after the pin; BASE_BACKUP, while its WAL is streamed beside it; W3 packs; the server's manifest is
 * held against what was received; W4 the packs are listed; W5 the WAL from start to stop is
 * durable; W6 the manifest, the one commit point; W7 the pins go.  Whatever fails before W6 decides
 * the attempt as aborted, so that its packs are garbage at once, and leaves no backup.
 */
#include "backup/run_internal.h"
#include "base/text.h"
#include "repo/admit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	ITEMS_PER_WORKER = 4, /* batches under way for each worker; about 0.4 MiB each */
	BEGINNINGS_MAX = 3    /* of an incremental backup, each with a checkpoint */
};

/* Who is it, and do we know how its pages and segments look? */
static enum err run_identify(struct run *r)
{
	struct session_options options = {.conninfo = r->request->conninfo,
					  .kind = SESSION_REPLICATION};
	struct error *why = r->why;
	char text[64];
	uint64_t block = 0;
	enum err e = session_open(r->env, &options, &r->session, why);

	if (e == ERR_NONE)
		e = replication_identify(r->session, &r->system, why);
	if (e == ERR_NONE)
		e = replication_segment_bytes(r->session, &r->identity.wal_segment_bytes, why);
	if (e == ERR_NONE)
		e = session_show(r->session, "block_size", text, sizeof(text), why);
	if (e != ERR_NONE)
		return e;
	if (!text_to_u64(bytes_of_text(text), &block) || block != MAP_PAGE_BYTES)
		return error_set(why, ERR_CONFIG, "the server has blocks of %s bytes, not %d", text,
				 MAP_PAGE_BYTES);
	r->identity.block_bytes = (uint32_t)block;
	r->identity.server_version = session_server_version(r->session);
	if (r->identity.server_version < 150000)
		return error_set(why, ERR_CONFIG,
				 "the server is version %d; 15 is the oldest served",
				 r->identity.server_version / 10000);
	e = session_show(r->session, "data_checksums", text, sizeof(text), why);
	r->identity.data_checksums = e != ERR_NONE ? -1 : strcmp(text, "on") == 0;
	return ERR_NONE;
}

/* Which backups may be the parent. */
static enum err run_find_parent(struct run *r)
{
	r->adoption = malloc(sizeof(*r->adoption)); /* a history is 16 KiB */
	if (r->adoption == NULL)
		return error_set(r->why, ERR_MEMORY, "backup: out of memory");
	r->adoption->env = r->env;
	r->adoption->session = r->session;
	r->adoption->cluster = r->cluster;
	r->adoption->clusters = r->clusters;
	r->adoption->timeline = r->system.timeline;
	return adopt_find(r->adoption, r->why);
}

/* What of the parent is stored again. */
static enum err run_renew(struct run *r)
{
	const struct manifest *parent = parent_map_manifest(r->parent);
	struct renewal_policy policy = {
		.now_us = clock_now_us(r->env->clock),
		.refresh_period_us = r->request->refresh_period_us,
	};
	enum err e;

	policy.since_last_us = policy.now_us - parent->summary.finished_us;
	e = renewal_decide(parent, &policy, &r->renewal, r->why);
	for (size_t i = 0; i < r->clusters && e == ERR_NONE; i++) {
		struct verified *verified = NULL;

		e = verified_read(&r->cluster[i], &verified, r->why);
		if (e == ERR_NONE)
			renewal_add_damage(&r->renewal, parent, verified);
		verified_free(verified);
	}
	return e;
}

/* Everything will be read: `why_not` says why. */
static void run_note_full(struct run *r, const struct error *why_not)
{
	(void)snprintf(r->why_full, sizeof(r->why_full), "%s", why_not->text);
	r->incremental = false;
	observer_event(r->env->observer, LEVEL_INFO, "everything is read from the server: %s",
		       why_not->text);
}

/* Whether the server may send only what changed since `parent` (NULL = none). */
static enum err run_choose(struct run *r, const struct manifest *parent)
{
	struct incremental_facts facts = {.data_checksums = r->identity.data_checksums};
	struct error why_not;

	r->incremental = false;
	if (r->request->type == BACKUP_FULL)
		return ERR_NONE;
	incremental_ask(r->session, &facts);
	if (parent != NULL) {
		facts.parent = &parent->summary;
		facts.has_manifest = manifest_section(parent, SECTION_SERVER_MANIFEST) != NULL;
		facts.is_flagged = r->renewal.has_damage;
	}
	r->incremental = incremental_allowed(&facts, &why_not);
	if (r->incremental)
		return ERR_NONE;
	if (r->request->type == BACKUP_INCREMENTAL) {
		*r->why = why_not;
		return error_add(r->why, "an incremental backup can't be taken");
	}
	run_note_full(r, &why_not);
	return ERR_NONE;
}

/* An incremental backup that was asked for and can't be is refused before anything is written. */
static enum err run_refuse_early(struct run *r)
{
	struct manifest *parent = NULL;
	enum err e = ERR_NONE;

	if (r->request->type != BACKUP_INCREMENTAL)
		return ERR_NONE;
	if (r->adoption->candidates > 0)
		e = manifest_read(&r->cluster[0], &r->adoption->candidate[0], &parent, r->why);
	/* One that can't be read is passed over later, for an older one. */
	if (e == ERR_MISSING || e == ERR_CORRUPT || e == ERR_WRONG_KEY)
		return ERR_NONE;
	if (e == ERR_NONE)
		e = run_choose(r, parent);
	manifest_free(parent);
	return e;
}

/* Identity in a repository, and what dead runs left behind there. */
static enum err run_admit(struct run *r, const struct cluster *cluster)
{
	size_t aborted = 0;
	enum err e = identity_admit(cluster, &r->identity, false, r->why);

	if (e == ERR_NONE)
		e = decision_abort_dead(cluster, &aborted, r->why);
	if (e == ERR_NONE && aborted > 0)
		observer_event(r->env->observer, LEVEL_INFO,
			       "%zu unfinished backup(s) of an earlier run marked as aborted",
			       aborted);
	return e;
}

/* The parent is looked for, W1 and W2. */
static enum err run_pin(struct run *r)
{
	struct pin pin = {.kind = "backup"};
	enum err e = attempt_new(r->env, &r->attempt, r->why);

	if (e != ERR_NONE)
		return e;
	attempt_to_text(&r->attempt, r->attempt_text);
	r->clusters = r->request->repositories;
	for (size_t i = 0; i < r->clusters; i++)
		cluster_init(&r->cluster[i], r->request->repository[i], r->request->cluster_name,
			     r->system.system_identifier);
	e = run_find_parent(r);
	if (e == ERR_NONE)
		e = run_refuse_early(r);
	for (size_t i = 0; i < r->clusters && e == ERR_NONE; i++)
		e = run_admit(r, &r->cluster[i]);
	if (e != ERR_NONE)
		return e;
	(void)snprintf(pin.holder, sizeof(pin.holder), "%s", r->attempt_text); /* fits */
	pin.has_backup = r->adoption->candidates > 0;
	if (pin.has_backup)
		pin.backup = r->adoption->candidate[0];
	e = keeper_start(r->env, r->cluster, r->clusters, &pin, &r->keeper, r->why); /* W1 */
	if (e == ERR_NONE)
		e = run_outlast_sweeps(r);
	if (e == ERR_NONE)
		e = adopt_prove(r->adoption, r->keeper, &r->parent, r->why); /* W2 */
	if (e == ERR_NONE && r->parent != NULL)
		e = run_renew(r);
	if (e == ERR_NONE)
		e = run_choose(r, r->parent != NULL ? parent_map_manifest(r->parent) : NULL);
	return e;
}

/* A begun base backup can't be taken back on its session. */
static enum err run_reopen(struct run *r)
{
	struct session_options options = {.conninfo = r->request->conninfo,
					  .kind = SESSION_REPLICATION};

	base_backup_free(r->source);
	r->source = NULL;
	session_close(r->session);
	r->session = NULL;
	return session_open(r->env, &options, &r->session, r->why);
}

/* Summaries reach to the last checkpoint, and beginning a backup makes one: what was cut off between
 * the two is known only then. */
static enum err run_ask_again(struct run *r, bool *covers)
{
	const struct manifest *parent = parent_map_manifest(r->parent);
	struct truncations later = {.count = 0};
	enum err e = truncations_ask(r->env, r->request->conninfo, parent->summary.start, &later,
				     r->why);

	if (e == ERR_NONE)
		e = incremental_covers(&r->cluster[0], parent, &r->truncated, &later, covers,
				       r->why);
	truncations_release(&later);
	return e;
}

static enum err run_begin_changes(struct run *r, const struct base_backup_options *options,
				  bool *covers)
{
	const struct manifest *parent = parent_map_manifest(r->parent);
	enum err e = truncations_ask(r->env, r->request->conninfo, parent->summary.start,
				     &r->truncated, r->why);

	if (e == ERR_NONE)
		e = incremental_upload(r->session, &r->cluster[0], parent, &r->truncated, r->why);
	if (e == ERR_NONE)
		e = base_backup_begin(r->env, r->session, options, &r->source, r->why);
	return e == ERR_NONE ? run_ask_again(r, covers) : e;
}

/* Asks for what changed; again when it was asked too early.  The checkpoint of the time before wrote
 * all there was, so that another one at once costs nothing. */
static enum err run_begin_incremental(struct run *r, struct base_backup_options *options)
{
	bool covers = false;
	enum err e = ERR_NONE;

	options->incremental = true;
	for (int i = 0; i < BEGINNINGS_MAX && e == ERR_NONE && !covers; i++) {
		options->fast_checkpoint |= i > 0;
		if (i > 0)
			e = run_reopen(r);
		if (e == ERR_NONE)
			e = run_begin_changes(r, options, &covers);
	}
	if (e != ERR_NONE || covers)
		return e;
	(void)error_set(
		r->why, ERR_PEER,
		"relations were cut off before each of %d beginnings of the backup, so that "
		"what changed in them is not known",
		BEGINNINGS_MAX);
	error_hint(r->why,
		   "take it when VACUUM, TRUNCATE and DROP rest, or read everything: pgagent "
		   "backup --type full");
	return ERR_PEER;
}

/* Where an incremental backup can't be had everything is asked for, unless only that was wanted. */
static enum err run_begin_backup(struct run *r)
{
	struct base_backup_options options = {
		.label = r->request->label != NULL ? r->request->label : "pgagent",
		.fast_checkpoint = r->request->fast_checkpoint,
		.manifest = true,
		.verify_checksums = true,
		.progress = true,
		.max_rate_kb = r->request->max_rate_kb,
	};
	enum err e = ERR_NONE;

	if (r->incremental) {
		e = run_begin_incremental(r, &options);
		if (e == ERR_NONE || r->request->type == BACKUP_INCREMENTAL || e == ERR_CANCELLED ||
		    e == ERR_MEMORY)
			return e;
		run_note_full(r, r->why);
		e = run_reopen(r);
		if (e != ERR_NONE)
			return e;
	}
	options.incremental = false;
	return base_backup_begin(r->env, r->session, &options, &r->source, r->why);
}

static enum err run_begin_stream(struct run *r)
{
	struct progress waiting = {.phase = "waiting for checkpoint"};
	enum err e = r->request->stream_wal ? run_open_stream(r) : ERR_NONE;

	observer_progress(r->env->observer, &waiting);
	if (e == ERR_NONE)
		e = run_begin_backup(r);
	if (e != ERR_NONE)
		return e;
	e = keeper_set_start(r->keeper, base_backup_start(r->source),
			     base_backup_start_timeline(r->source), r->why);
	if (e == ERR_NONE && r->streamer != NULL)
		e = streamer_start(r->streamer, base_backup_start(r->source),
				   base_backup_start_timeline(r->source),
				   r->identity.wal_segment_bytes, r->why);
	return e;
}

/* What turns an incremental backup into a whole one. */
static enum err run_make_composer(struct run *r)
{
	enum err e = composer_new(r->env, &r->cluster[0], parent_map_manifest(r->parent), r->lookup,
				  &r->composer, r->why);

	if (e == ERR_NONE)
		e = image_new(r->packs, r->system.system_identifier, &r->image, r->why);
	if (e == ERR_NONE)
		builder_set_image(r->builder, r->image);
	return e;
}

static enum err run_make_pipeline(struct run *r)
{
	const struct cluster *clusters[BACKUP_REPOSITORIES_MAX];
	const struct repository *repository = r->request->repository[0];
	int level = r->request->level;
	struct error *why = r->why;
	struct pipeline_config config;
	enum err e;

	for (size_t i = 0; i < r->clusters; i++)
		clusters[i] = &r->cluster[i];
	r->workers = r->request->workers;
	r->items = r->workers * ITEMS_PER_WORKER + 2;
	r->manifest = manifest_new();
	r->seen = seen_new();
	r->batch = calloc(r->items, sizeof(*r->batch));
	r->worker = calloc(r->workers, sizeof(*r->worker));
	if (r->manifest == NULL || r->seen == NULL || r->batch == NULL || r->worker == NULL)
		return error_set(why, ERR_MEMORY, "backup: out of memory");
	for (unsigned i = 0; i < r->items; i++) {
		r->batch[i] = malloc(sizeof(**r->batch));
		if (r->batch[i] == NULL)
			return error_set(why, ERR_MEMORY, "backup: out of memory");
		r->batch[i]->packed = malloc(compressor_bound(FRAME_PAGES_MAX));
		if (r->batch[i]->packed == NULL)
			return error_set(why, ERR_MEMORY, "backup: out of memory");
	}
	e = pack_writer_new(clusters, r->clusters, &r->attempt, r->manifest, &r->packs, why);
	if (e == ERR_NONE)
		e = builder_new(r->packs, r->seen, r->parent, level, &r->builder, why);
	if (e == ERR_NONE && r->parent != NULL)
		e = lookup_new(r->env, r->parent, &r->renewal, &r->lookup, why);
	if (e == ERR_NONE && r->incremental)
		e = run_make_composer(r);
	for (unsigned i = 0; i < r->workers && e == ERR_NONE; i++)
		e = worker_new(repository, level, &r->worker[i], why);
	if (e != ERR_NONE)
		return e;
	config = (struct pipeline_config){
		.workers = r->workers,
		.items = r->items,
		.item = (void **)r->batch,
		.worker_state = (void **)r->worker,
		.work = worker_run,
		.deliver = builder_take,
		.ctx = r->builder,
	};
	return pipeline_new(&config, &r->pipeline, why);
}

/* W3: everything the server sends, into packs. */
static enum err run_receive(struct run *r)
{
	struct reader_config config = {
		.env = r->env, .source = r->source, .total_estimate = base_backup_size(r->source)};
	enum err e = run_make_pipeline(r);

	config.pipeline = r->pipeline;
	config.lookup = r->lookup;
	config.composer = r->composer;
	if (e == ERR_NONE)
		e = reader_run(&config, r->why);
	if (e == ERR_NONE)
		e = pipeline_drain(r->pipeline, r->why);
	/* From here on only this thread uses packs and builder. */
	pipeline_free(r->pipeline);
	r->pipeline = NULL;
	if (e == ERR_NONE)
		e = builder_finish(r->builder, r->why);
	if (e == ERR_NONE)
		e = seen_check(r->seen, r->source, r->packs, r->image, r->why);
	if (e == ERR_NONE)
		e = base_backup_end(r->source, &r->end, r->why);
	if (e == ERR_NONE && r->end.timeline != base_backup_start_timeline(r->source))
		e = error_set(r->why, ERR_PEER,
			      "the timeline changed from %" PRIu32 " to %" PRIu32
			      " during the backup: take it again",
			      base_backup_start_timeline(r->source), r->end.timeline);
	return e;
}

/* W4, W5. */
static enum err run_prove(struct run *r)
{
	enum err e = ERR_NONE;

	for (size_t i = 0; i < r->clusters && e == ERR_NONE; i++)
		e = decision_check_packs(&r->cluster[i], r->manifest, r->why); /* W4 */
	return e == ERR_NONE ? run_bring_wal(r) : e;                           /* W5 */
}

/* W6: the one commit point. */
static enum err run_commit(struct run *r)
{
	struct summary *s = &r->manifest->summary;
	uint8_t digest[CRYPTO_SHA256_BYTES];
	uint64_t generation = 0;
	enum err e = decision_newest(&r->cluster[0], &s->previous, &generation, s->previous_sha256,
				     r->why);

	/* A damaged newest manifest must not keep new backups from being made. */
	if (e == ERR_CORRUPT)
		observer_event(r->env->observer, LEVEL_WARNING,
			       "the backup before this one is damaged, the chain of digests begins "
			       "anew: %s",
			       r->why->text);
	else if (e != ERR_NONE && e != ERR_MISSING)
		return e;
	s->has_previous = e == ERR_NONE;
	s->generation = generation + 1;
	s->finished_us = clock_now_us(r->env->clock);
	for (size_t i = 0; i < r->clusters; i++) {
		e = manifest_commit(&r->cluster[i], r->manifest, digest, r->why);
		if (e != ERR_NONE && r->committed)
			return error_add(r->why, "backup %s is complete in %s, but not in %s",
					 r->attempt_text, r->cluster[0].repository->store->label,
					 r->cluster[i].repository->store->label),
			       e;
		if (e != ERR_NONE)
			return e;
		r->committed = true;
	}
	return ERR_NONE;
}

/* Decides a failed attempt wherever it is not decided, so that its packs are garbage at once; where
 * it was committed it stays.  False where it remains open. */
static bool run_abort(struct run *r)
{
	struct error why;
	bool decided = true;

	for (size_t i = 0; i < r->clusters; i++) {
		enum err e = decision_abort(&r->cluster[i], &r->attempt, r->why->text, &why);

		if (e == ERR_NONE || e == ERR_EXISTS)
			continue;
		decided = false;
		observer_event(r->env->observer, LEVEL_WARNING,
			       "attempt %s could not be marked as aborted, the next backup does "
			       "it: %s",
			       r->attempt_text, why.text);
	}
	return decided;
}

static void run_release(struct run *r, bool failed)
{
	bool drop = true;

	pipeline_free(r->pipeline);
	builder_free(r->builder);
	image_free(r->image);
	composer_free(r->composer);
	lookup_free(r->lookup);
	renewal_release(&r->renewal);
	truncations_release(&r->truncated);
	parent_map_free(r->parent);
	free(r->adoption);
	pack_writer_free(r->packs);
	for (unsigned i = 0; r->worker != NULL && i < r->workers; i++)
		worker_free(r->worker[i]);
	free(r->worker);
	for (unsigned i = 0; r->batch != NULL && i < r->items; i++) {
		if (r->batch[i] != NULL)
			free(r->batch[i]->packed);
		free(r->batch[i]);
	}
	free(r->batch);
	seen_free(r->seen);
	manifest_free(r->manifest);
	base_backup_free(r->source);
	streamer_free(r->streamer);
	session_close(r->session);
	if (failed && r->keeper != NULL)
		drop = run_abort(r);  /* by its pin the next backup finds what is open */
	keeper_stop(r->keeper, drop); /* W7 */
}

static enum err run_once(const struct env *env, const struct backup_request *request,
			 struct backup_result *out, bool *incremental, struct error *why)
{
	struct run r = {.env = env, .request = request, .why = why};
	int64_t began = clock_monotonic_us(env->clock);
	int64_t started_us = clock_now_us(env->clock);
	enum err e = run_identify(&r);

	if (e == ERR_NONE)
		e = run_pin(&r);
	if (e == ERR_NONE)
		e = run_begin_stream(&r);
	if (e == ERR_NONE)
		e = run_receive(&r);
	if (e == ERR_NONE)
		e = run_describe(&r, started_us);
	if (e == ERR_NONE)
		e = run_prove(&r);
	if (e == ERR_NONE)
		e = run_commit(&r);
	if (e == ERR_NONE) {
		out->summary = r.manifest->summary;
		r.manifest->summary = (struct summary){.tablespaces = 0}; /* moved */
		out->wal_bytes = r.wal_bytes;
		out->duration_us = clock_monotonic_us(env->clock) - began;
		memcpy(out->why_full, r.why_full, sizeof(out->why_full));
	}
	*incremental = r.incremental && !r.committed;
	run_release(&r, e != ERR_NONE);
	return e;
}

enum err backup_run(const struct env *env, const struct backup_request *request,
		    struct backup_result *out, struct error *why)
{
	struct backup_request whole = *request;
	char cause[ERROR_TEXT_MAX];
	bool incremental = false;
	enum err e = run_once(env, request, out, &incremental, why);

	if (e != ERR_CORRUPT || !incremental || request->type != BACKUP_AUTO)
		return e;
	/* What the parent has damaged only the server has whole: reading everything stores it again. */
	(void)snprintf(cause, sizeof(cause), "%s", why->text);
	observer_event(env->observer, LEVEL_WARNING,
		       "the incremental backup broke off, everything is read instead: %s", cause);
	whole.type = BACKUP_FULL;
	e = run_once(env, &whole, out, &incremental, why);
	if (e == ERR_NONE)
		(void)snprintf(out->why_full, sizeof(out->why_full), "%s", cause);
	return e;
}
