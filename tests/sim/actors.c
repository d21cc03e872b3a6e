/* sim/actors.c - what the processes do: writers, maintenance, a restore, a person, the network. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

enum { PERSON_ACTS = 4, NETWORK_WAITS_MAX = 120, BEATS_MAX = 2, SETTLE_ROUNDS = 3, PAGE = 8192 };
#define MINUTE_US (INT64_C(60) * 1000 * 1000)
#define HOUR_US (60 * MINUTE_US)

/* ---- common ---- */

static enum err fill_random(struct random *r, void *out, size_t len, struct error *why)
{
	struct sim_random *random = (struct sim_random *)r;
	uint8_t *bytes = out;

	(void)why;
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)sim_below(random, 256);
	return ERR_NONE;
}

void sim_random_init(struct sim_random *r, uint64_t seed)
{
	static const struct random_ops ops = {.fill = fill_random};

	*r = (struct sim_random){.random = {.ops = &ops}, .state = seed};
}

/* SplitMix64 */
uint32_t sim_below(struct sim_random *r, uint32_t bound)
{
	uint64_t z = r->state += 0x9E3779B97F4A7C15;

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
	z ^= z >> 31;
	return (uint32_t)((z >> 32) * bound >> 32);
}

void actor_open(struct actor *a, struct world *w, uint64_t seed)
{
	struct error why;

	a->world = w;
	sim_random_init(&a->random, seed);
	a->priority = sim_below(&a->random, 1000);
	a->env = env_os();
	a->env.clock = &w->clock;
	a->env.random = &a->random.random;
	(void)pthread_cond_init(&a->turn, NULL); /* cannot fail on Linux */
	lying_store_init(a);
	if (repository_open(&a->env, &a->store, NULL, &a->repository, &why) != ERR_NONE) {
		(void)fprintf(stderr, "%s\n", why.text);
		abort();
	}
	cluster_init(&a->cluster, a->repository, "main", 7301234567890123456U);
	a->operations = 0;
}

void actor_close(struct actor *a)
{
	repository_close(a->repository);
	(void)pthread_cond_destroy(&a->turn);
}

struct found {
	struct world *world;
	int attempt[SIM_ATTEMPTS];
	unsigned count;
};

static enum err take_backup(void *ctx, const struct backup_info *info, struct error *why)
{
	struct found *f = ctx;
	char name[ATTEMPT_TEXT_MAX];
	int attempt;

	(void)why;
	attempt_to_text(&info->summary->attempt, name);
	attempt = world_attempt(f->world, name);
	if (attempt >= 0 && f->count < SIM_ATTEMPTS)
		f->attempt[f->count++] = attempt;
	return ERR_NONE;
}

int choose_backup(struct actor *a, bool all)
{
	struct found f = {.world = a->world};
	struct error why;

	if (backups_list(&a->cluster, all, take_backup, &f, &why) != ERR_NONE || f.count == 0)
		return -1;
	return f.attempt[sim_below(&a->random, f.count)];
}

/* ---- a writer: W1 to W7 ---- */

static void summary_of(const struct actor *a, int number, int parent, struct summary *s)
{
	s->attempt = a->world->attempt[number];
	s->system_identifier = a->cluster.system_identifier;
	s->server_version = 150020;
	s->timeline = s->stop_timeline = 1;
	s->start = wal_lsn(a->world->truth.begins[number]);
	s->stop = wal_stop(a->world, a->world->truth.begins[number]);
	s->started_us = s->finished_us = clock_now_us(a->env.clock);
	s->wal_segment_bytes = 16 << 20;
	s->block_bytes = PAGE;
	s->generation = (uint64_t)number;
	s->has_parent = parent >= 0;
	if (parent >= 0)
		s->parent = a->world->attempt[parent];
	(void)snprintf(s->cluster, sizeof(s->cluster), "%s", a->cluster.name);
}

/* W3: one pack of its own, and all of the parent's. */
static enum err write_packs(struct actor *a, const struct attempt *attempt, struct manifest *m,
			    const struct manifest *parent, struct error *why)
{
	const struct cluster *cluster = &a->cluster;
	struct pack_writer *packs = NULL;
	struct frame_ref ref;
	uint8_t page[PAGE];
	enum err e = pack_writer_new(&cluster, 1, attempt, m, &packs, why);

	memset(page, attempt->id[ATTEMPT_BYTES - 1], sizeof(page));
	if (e == ERR_NONE)
		e = pack_add(packs, FRAME_PAGES, CODEC_STORED, bytes_of(page, sizeof(page)),
			     sizeof(page), &ref, why);
	for (uint32_t i = 0; e == ERR_NONE && parent != NULL && i < parent->packs; i++)
		e = pack_borrow(packs, &parent->pack[i], PAGE, why);
	if (e == ERR_NONE)
		e = pack_writer_finish(packs, why);
	pack_writer_free(packs);
	return e;
}

static enum err commit(struct actor *a, int number, const struct manifest *parent,
		       int parent_number, struct error *why)
{
	struct manifest *m = manifest_new();
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	enum err e;

	if (m == NULL)
		abort();
	summary_of(a, number, parent_number, &m->summary);
	e = write_packs(a, &a->world->attempt[number], m, parent, why); /* W3 */
	if (e == ERR_NONE)
		e = decision_check_packs(&a->cluster, m, why); /* W4 */
	if (e == ERR_NONE)
		e = wal_store(a, number, why); /* W5 */
	if (e == ERR_NONE)
		e = manifest_commit(&a->cluster, m, sha256, why); /* W6 */
	manifest_free(m);
	return e;
}

enum err writer_backup(struct actor *a, int number, int parent, struct error *why)
{
	struct pin pin = {.kind = "backup", .has_backup = parent >= 0};
	struct sweep_wait wait = {.who = "backup"};
	struct manifest *proven = NULL;
	struct error ignored;
	enum err e;

	if (parent >= 0)
		pin.backup = a->world->attempt[parent];
	attempt_to_text(&a->world->attempt[number], pin.holder);
	e = pin_put(&a->cluster, &pin, why); /* W1 */
	if (e != ERR_NONE)
		return e;
	if (a->world->scenario->standby)
		e = sweep_outlast(&a->cluster, &wait, why);
	if (e == ERR_NONE && parent >= 0) {
		e = parent_prove(&a->cluster, 1, &a->world->attempt[parent], &proven, why); /* W2 */
		if (e == ERR_MISSING || e == ERR_CORRUPT) {
			parent = -1;
			e = ERR_NONE;
		}
	}
	if (e == ERR_NONE)
		e = wal_begin(a, number, &pin, why);
	for (uint32_t beats = sim_below(&a->random, BEATS_MAX + 1); e == ERR_NONE && beats > 0;
	     beats--)
		e = pin_put(&a->cluster, &pin, why);
	if (e == ERR_NONE)
		e = commit(a, number, proven, parent, why);
	manifest_free(proven);
	if (e != ERR_NONE) {
		enum err decided =
			decision_abort(&a->cluster, &a->world->attempt[number], "sim", &ignored);

		if (decided != ERR_NONE && decided != ERR_EXISTS)
			return e;
	}
	ignore(pin_drop(&a->cluster, pin.holder, &ignored)); /* W7, best effort */
	return e;
}

void writer_run(struct actor *a)
{
	struct error why;
	bool fresh = a->world->scenario->fresh || sim_below(&a->random, 8) == 0;
	int parent = fresh ? -1 : choose_backup(a, false);

	if (a->world->scenario->policy &&
	    wal_archive(a, sim_below(&a->random, 3), &why) != ERR_NONE)
		return;
	ignore(writer_backup(a, SIM_ATTEMPTS - SIM_WRITERS + (int)a->index, parent, &why));
}

/* ---- maintenance ---- */

static enum err end_stale(struct actor *a, struct sightings *seen, int64_t silence_us,
			  struct error *why)
{
	struct clock *clock = &a->world->clock;
	size_t ended;
	enum err e = ERR_NONE;

	for (int look = 0; e == ERR_NONE && look < 2; look++) {
		struct pins pins;

		e = pins_read(&a->cluster, &pins, why);
		if (e == ERR_NONE)
			e = sightings_note(seen, &a->cluster, &pins, clock_monotonic_us(clock),
					   why);
		/* However long the writer was suspended: it may be wrong to take it for dead. */
		if (e == ERR_NONE && look == 0)
			a->world->now_us += silence_us;
		if (e == ERR_NONE && look == 1)
			e = pins_end_stale(&a->cluster, &pins, seen, clock_monotonic_us(clock),
					   &ended, why);
		pins_release(&pins);
	}
	return e;
}

/* What a broken program would do with the tombstone. */
static void mistreat_tomb(struct actor *a, int attempt, enum expire_outcome outcome)
{
	char key[STORE_KEY_MAX], name[ATTEMPT_TEXT_MAX];
	struct error why;

	if (!((a->lies & LIE_TOMB_WITHDRAWN) != 0 && outcome == EXPIRE_PINNED) &&
	    !((a->lies & LIE_TOMB_GOES_EARLY) != 0 && outcome == EXPIRE_REMOVED))
		return;
	attempt_to_text(&a->world->attempt[attempt], name);
	(void)snprintf(key, sizeof(key), "%stombs/%s", a->cluster.prefix, name);
	ignore(store_remove(&a->store, key, &why)); /* a variant's, not the protocol's */
}

static enum err advance(struct actor *a, int attempt, int64_t grace_us, struct error *why)
{
	struct expire_result result;
	enum err e;

	a->phase = PHASE_EXPIRE;
	e = expire_advance(&a->cluster, &a->world->attempt[attempt], grace_us, &result, why);
	if (e == ERR_NONE)
		mistreat_tomb(a, attempt, result.outcome);
	a->phase = PHASE_OTHER;
	return e;
}

static enum err expire_one(struct actor *a, int attempt, struct error *why)
{
	enum err e;

	if (attempt < 0)
		return ERR_NONE;
	e = hide_backup(&a->cluster, &a->world->attempt[attempt], "sim", why);
	return e == ERR_NONE || e == ERR_EXISTS ? advance(a, attempt, 0, why) : e;
}

struct advancing {
	struct actor *actor;
	int64_t grace_us;
};

static enum err advance_listed(void *ctx, const struct attempt *attempt, struct error *why)
{
	struct advancing *all = ctx;
	char name[ATTEMPT_TEXT_MAX];
	int number;

	attempt_to_text(attempt, name);
	number = world_attempt(all->actor->world, name);
	return number < 0 ? ERR_NONE : advance(all->actor, number, all->grace_us, why);
}

static enum err advance_all(struct actor *a, int64_t grace_us, struct error *why)
{
	struct advancing all = {.actor = a, .grace_us = grace_us};

	return hide_list(&a->cluster, advance_listed, &all, why);
}

static enum err sweep(struct actor *a, struct error *why)
{
	const struct sweep_options options = {.force = true};
	struct sweep_totals totals;
	enum err e;

	a->phase = PHASE_SWEEP;
	e = sweep_packs(&a->cluster, &options, &totals, why);
	a->phase = PHASE_OTHER;
	return e;
}

static struct sightings *new_sightings(void)
{
	struct sightings *seen = NULL;
	struct error why;

	if (sightings_new("boot", &seen, &why) != ERR_NONE)
		abort();
	return seen;
}

static enum err maintain(struct actor *a, struct sightings *seen, char act, struct error *why)
{
	size_t forgotten;

	switch (act) {
	case 't':
		return end_stale(a, seen, 16 * MINUTE_US, why);
	case 'd':
		return end_stale(a, seen, 25 * HOUR_US, why);
	case 'a':
		return advance_all(a, sim_below(&a->random, 2) * HOUR_US, why);
	case 'f':
		return expire_forget(&a->cluster, &forgotten, why);
	case 'b':
		return expire_one(a, 1, why);
	case 'o':
		return expire_one(a, 0, why);
	case 'e':
		return expire_one(a, choose_backup(a, true), why);
	case 'p':
		return policy_expire(a, why);
	case 'w':
		return wal_sweep(a, why);
	default:
		return sweep(a, why);
	}
}

void maintenance_run(struct actor *a)
{
	const struct scenario *s = a->world->scenario;
	/* Who sweeps is not taken for dead while it does: its pin has no heartbeat. */
	const char *acts = s->copies > 0 && s->maintenance == 1 ? "ddtaeobbsssswww"
			   : s->copies > 0                      ? "ttaeobbsssswww"
			   : s->policy                          ? "tpppps"
			   : s->wal                             ? "ttaeeeeewwwwwwss"
								: "tttafeeeeessssss";
	struct sightings *seen = new_sightings();
	struct error why;
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < (s->script ? strlen(s->script) : s->operations);
	     i++)
		e = maintain(a, seen,
			     s->script ? s->script[i]
				       : acts[sim_below(&a->random, (uint32_t)strlen(acts))],
			     &why);
	sightings_free(seen);
}

void settle_run(struct actor *a)
{
	struct sightings *seen = new_sightings();
	size_t forgotten;
	struct error why;
	enum err e = ERR_NONE;

	for (int round = 0; round < SETTLE_ROUNDS && e == ERR_NONE; round++) {
		e = end_stale(a, seen, 25 * HOUR_US, &why);
		if (e == ERR_NONE)
			e = advance_all(a, HOUR_US, &why);
		if (e == ERR_NONE)
			e = sweep(a, &why);
		if (e == ERR_NONE && a->world->scenario->wal)
			e = wal_sweep(a, &why);
		a->world->now_us += TOMB_KEPT_US;
		if (e == ERR_NONE)
			e = expire_forget(&a->cluster, &forgotten, &why);
	}
	if (e != ERR_NONE)
		world_violate(a->world, "maintenance fails where nothing is wrong: %s", why.text);
	sightings_free(seen);
}

/* ---- a restore: pin, read, fetch ---- */

enum err restore_fetch_packs(struct actor *a, const struct manifest *m, struct error *why)
{
	enum err e = ERR_NONE;

	for (uint32_t i = 0; e == ERR_NONE && i < m->packs; i++) {
		char key[STORE_KEY_MAX];
		uint8_t byte;

		pack_key(&a->cluster, &m->pack[i].id, key);
		e = store_read(&a->store, key, m->pack[i].size - 1, &byte, 1, why);
		if (e == ERR_MISSING)
			world_violate(a->world, "a pinned restore misses %s", key);
	}
	return e;
}

static enum err fetch(struct actor *a, const struct manifest *m, int number, struct error *why)
{
	enum err e = restore_fetch_packs(a, m, why);

	return e == ERR_NONE ? wal_fetch(a, number, why) : e;
}

void restore_run(struct actor *a)
{
	struct pin pin = {.kind = "restore", .holder = "restore-0123456789abcdef"};
	/* By name also one that is hidden may be asked for. */
	int backup = a->world->scenario->script ? 1 : choose_backup(a, false);
	struct manifest *m = NULL;
	struct error why;
	enum err e;

	if (backup < 0)
		return;
	pin.has_backup = true;
	pin.backup = a->world->attempt[backup];
	if (pin_put(&a->cluster, &pin, &why) != ERR_NONE)
		return;
	e = manifest_read(&a->cluster, &pin.backup, &m, &why);
	if (e == ERR_NONE)
		e = hide_check_no_tomb(&a->cluster, &pin.backup, &why);
	if (e == ERR_NONE) {
		a->world->truth.reads = backup;
		e = fetch(a, m, backup, &why);
		for (uint32_t again = sim_below(&a->random, 3); e == ERR_NONE && again > 0; again--)
			e = fetch(a, m, backup, &why);
		a->world->truth.reads = -1;
	}
	manifest_free(m);
	ignore(pin_drop(&a->cluster, pin.holder, &why)); /* a crashed one stays */
}

/* ---- a person who hides, and thinks better of it ---- */

void person_run(struct actor *a)
{
	struct error why;

	for (int i = 0; i < PERSON_ACTS; i++) {
		int backup = choose_backup(a, true);

		if (backup < 0)
			return;
		ignore(hide_backup(&a->cluster, &a->world->attempt[backup], "sim", &why));
		if (sim_below(&a->random, 4) == 0)
			continue;
		if (hide_undelete(&a->cluster, &a->world->attempt[backup], "sim", &why) == ERR_NONE)
			truth_undeleted(a, backup);
	}
}

/* ---- the network, which delivers a commit once more ---- */

void network_run(struct actor *a)
{
	struct world *w = a->world;
	struct error why;

	for (int i = 0; i < NETWORK_WAITS_MAX; i++) {
		baton_step(a, true);
		if (w->ghost == NULL || sim_below(&a->random, 16) != 0)
			continue;
		if (store_put(w->memory, w->ghost_key, bytes_of(w->ghost, w->ghost_len), &why) ==
		    ERR_NONE)
			truth_after_put(a, w->ghost_key);
		return;
	}
}
