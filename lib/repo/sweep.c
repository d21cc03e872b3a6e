/* repo/sweep.c - packs that nothing refers to, in the order S1 to S4 of sweep.h. */
#include "repo/decision_internal.h"
#include "repo/hide.h"
#include "repo/manifest_internal.h"
#include "repo/pack.h"
#include "repo/sweep_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { LOOKS_MAX = 3 };
#define PROBE_KEPT_US (INT64_C(24) * 60 * 60 * 1000 * 1000)

struct listed_pack {
	struct pack_id id;
	uint64_t size;
};

struct sweeping {
	const struct cluster *cluster;
	const struct sweep_options *options;
	struct listed_pack *pack; /* S1, by id */
	size_t packs, capacity;
	bool *live; /* of `pack` */
	struct pins pins;
	struct key_list decisions;
	bool again; /* a backup went between S3's listing and its reading */
	struct sweep_turn *turn;
};

static int compare_ids(const struct pack_id *a, const struct pack_id *b)
{
	int order = attempt_compare(&a->attempt, &b->attempt);

	return order != 0 ? order : (a->seq > b->seq) - (a->seq < b->seq);
}

static int by_id(const void *a, const void *b)
{
	return compare_ids(&((const struct listed_pack *)a)->id,
			   &((const struct listed_pack *)b)->id);
}

/* "<attempt>/<seq>"; false: nothing of ours. */
static bool pack_of_name(const char *name, struct pack_id *out)
{
	char attempt[ATTEMPT_TEXT_MAX], *rest;
	const char *digits = name + ATTEMPT_TEXT_MAX;
	unsigned long seq;

	if (strlen(name) != ATTEMPT_TEXT_MAX + 8 || name[ATTEMPT_TEXT_MAX - 1] != '/')
		return false;
	memcpy(attempt, name, ATTEMPT_TEXT_MAX - 1);
	attempt[ATTEMPT_TEXT_MAX - 1] = '\0';
	if (*digits < '0' || *digits > '9' || !attempt_from_text(attempt, &out->attempt))
		return false;
	seq = strtoul(digits, &rest, 10);
	out->seq = (uint32_t)seq;
	return *rest == '\0';
}

static enum err add_pack(void *ctx, const struct store_object *object, struct error *why)
{
	struct sweeping *s = ctx;
	struct listed_pack pack = {.size = object->size};

	if (!pack_of_name(object->key + strlen(s->cluster->prefix) + strlen("packs/"), &pack.id))
		return ERR_NONE;
	if (s->packs == SWEEP_PACKS_MAX)
		return error_set(why, ERR_LIMIT, "%spacks/: more than %d packs", s->cluster->prefix,
				 SWEEP_PACKS_MAX);
	if (s->packs == s->capacity) {
		size_t more = s->capacity == 0 ? 1024 : 2 * s->capacity;
		struct listed_pack *bigger = realloc(s->pack, more * sizeof(*bigger));

		if (bigger == NULL)
			return error_set(why, ERR_MEMORY, "no memory for a list of %zu packs",
					 more);
		s->pack = bigger;
		s->capacity = more;
	}
	s->pack[s->packs++] = pack;
	return ERR_NONE;
}

/* S1. */
static enum err list_packs(struct sweeping *s, struct error *why)
{
	char prefix[STORE_KEY_MAX];
	enum err e;

	(void)snprintf(prefix, sizeof(prefix), "%spacks/", s->cluster->prefix);
	e = store_list(s->cluster->repository->store, prefix, add_pack, s, why);
	if (e != ERR_NONE)
		return e;
	if (s->packs > 1)
		qsort(s->pack, s->packs, sizeof(*s->pack), by_id);
	s->live = calloc(s->packs + 1, sizeof(*s->live));
	return s->live != NULL ? ERR_NONE : error_set(why, ERR_MEMORY, "no memory for a sweep");
}

static void mark(struct sweeping *s, const struct pack_id *id)
{
	struct listed_pack key = {.id = *id};
	const struct listed_pack *found =
		s->packs == 0 ? NULL : bsearch(&key, s->pack, s->packs, sizeof(key), by_id);

	if (found != NULL)
		s->live[found - s->pack] = true;
}

static void mark_attempt(struct sweeping *s, const struct attempt *attempt)
{
	for (size_t i = 0; i < s->packs; i++)
		if (attempt_compare(&s->pack[i].id.attempt, attempt) == 0)
			s->live[i] = true;
}

static bool is_decided(const struct sweeping *s, const char *attempt)
{
	for (size_t i = 0; i < s->decisions.count; i++)
		if (strcmp(s->decisions.key[i], attempt) == 0)
			return true;
	return false;
}

/* Whoever holds a pin under an attempt's name, and is not decided, may commit what it wrote. */
static void mark_undecided(struct sweeping *s)
{
	for (size_t i = 0; i < s->pins.count; i++) {
		struct attempt attempt;

		if (attempt_from_text(s->pins.pin[i].holder, &attempt) &&
		    !is_decided(s, s->pins.pin[i].holder))
			mark_attempt(s, &attempt);
	}
}

bool sweep_is_without(const struct sweep_options *options, const struct attempt *attempt)
{
	for (size_t i = 0; i < options->withouts; i++)
		if (attempt_compare(&options->without[i], attempt) == 0)
			return true;
	return false;
}

/* Who asked for it already is not told to ask again. */
enum err sweep_refuse_unreadable(const struct cluster *c, const struct attempt *attempt,
				 const char *what, struct error *why)
{
	char name[ATTEMPT_TEXT_MAX];
	struct hidden hidden;
	struct error unheard;
	bool asked =
		hide_read(c, attempt, &hidden, &unheard) == ERR_NONE && hidden.state != HIDE_SHOWN;

	attempt_to_text(attempt, name);
	(void)error_add(why, "%s is removed while backup %s can't be read", what, name);
	if (asked)
		error_hint(why, "it was asked to go; once it is gone, a later run goes on");
	else
		error_hint(why,
			   "if that backup is lost for good, remove it by name: pgagent expire "
			   "--backup %s --confirm",
			   name);
	return why->kind;
}

/* A decision that was listed and is no manifest now: an abort marker, or a backup that was removed in
 * between.  Then a child that was committed behind the listing may refer to its packs, and nothing
 * that was read here says so: begin again. */
static enum err see_missing(struct sweeping *s, const struct attempt *attempt, struct error *why)
{
	struct store_object object;
	char key[STORE_KEY_MAX];
	enum err e;

	backup_key(s->cluster, attempt, key);
	e = store_stat(s->cluster->repository->store, key, &object, why);
	/* A marker may have been put in the place of a backup that was removed: its tombstone
	 * tells. */
	if (e == ERR_NONE)
		e = hide_check_no_tomb(s->cluster, attempt, why);
	s->again = s->again || e == ERR_MISSING;
	return e == ERR_MISSING ? ERR_NONE : e;
}

static enum err mark_manifest(struct sweeping *s, const char *name, struct error *why)
{
	struct manifest *manifest = NULL;
	struct attempt attempt;
	enum err e;

	if (!attempt_from_text(name, &attempt) || sweep_is_without(s->options, &attempt))
		return ERR_NONE;
	e = manifest_read(s->cluster, &attempt, &manifest, why);
	if (e == ERR_MISSING)
		return see_missing(s, &attempt, why);
	if (e == ERR_CORRUPT || e == ERR_WRONG_KEY)
		return sweep_refuse_unreadable(s->cluster, &attempt, "nothing", why);
	if (e != ERR_NONE)
		return e;
	for (uint32_t i = 0; i < manifest->packs; i++)
		mark(s, &manifest->pack[i].id);
	manifest_free(manifest);
	return ERR_NONE;
}

/* S3. */
static enum err mark_live(struct sweeping *s, struct error *why)
{
	enum err e = key_list_read(s->cluster, "backups/", &s->decisions, why);

	if (e != ERR_NONE)
		return e;
	mark_undecided(s);
	for (size_t i = 0; e == ERR_NONE && i < s->decisions.count; i++)
		e = mark_manifest(s, s->decisions.key[i], why);
	return e;
}

/* Whether somebody removed this attempt as a backup, or gave it up: then its packs go for a reason.  One that
 * is there and S3 did not list shows that a listing can't be believed. */
static enum err is_accounted_for(struct sweeping *s, const struct attempt *attempt, bool *out,
				 struct error *why)
{
	char name[ATTEMPT_TEXT_MAX];
	bool there = false;
	enum err e;

	*out = sweep_is_without(s->options, attempt);
	if (*out)
		return ERR_NONE;
	attempt_to_text(attempt, name);
	e = decision_is_there(s->cluster, attempt, &there, why);
	if (e != ERR_NONE)
		return e;
	if (there && !is_decided(s, name)) {
		s->again = true;
		return ERR_NONE;
	}
	if (there)
		return decision_is_aborted(s->cluster, attempt, out, why);
	e = hide_check_no_tomb(s->cluster, attempt, why);
	*out = e == ERR_MISSING;
	return *out ? ERR_NONE : e;
}

/* What would go; and whether that looks as if something live was not seen. */
static enum err count_dead(struct sweeping *s, struct sweep_totals *totals, struct error *why)
{
	uint64_t live;

	for (size_t i = 0, next; i < s->packs; i = next) {
		const struct attempt *attempt = &s->pack[i].id.attempt;
		uint64_t dead = 0;
		bool accounted = true;
		enum err e = ERR_NONE;

		for (next = i;
		     next < s->packs && attempt_compare(&s->pack[next].id.attempt, attempt) == 0;
		     next++) {
			dead += !s->live[next];
			totals->packs_bytes += s->pack[next].size;
			totals->packs_removed_bytes += s->live[next] ? 0 : s->pack[next].size;
		}
		if (dead > 0)
			e = is_accounted_for(s, attempt, &accounted, why);
		if (e != ERR_NONE)
			return e;
		totals->packs_removed += dead;
		totals->packs_unaccounted += accounted ? 0 : dead;
	}
	live = totals->packs - totals->packs_removed;
	totals->needs_force =
		totals->packs_removed > totals->packs / 2 && totals->packs_unaccounted > live;
	return ERR_NONE;
}

/* S4.  The totals say then what was removed. */
static enum err remove_dead(struct sweeping *s, struct sweep_totals *totals, struct error *why)
{
	struct observer *observer = s->cluster->repository->env->observer;
	struct progress progress = {.phase = "sweep", .total_items = totals->packs_removed};
	uint64_t dead = totals->packs_removed;

	totals->packs_removed = totals->packs_removed_bytes = 0;
	if (totals->needs_force && !s->options->force) {
		(void)error_set(why, ERR_LIMIT,
				"%s: %" PRIu64 " of %" PRIu64
				" packs would go, more than half, and %" PRIu64
				" of them are of no backup that was removed; none was removed",
				s->cluster->repository->store->label, dead, totals->packs,
				totals->packs_unaccounted);
		error_hint(why,
			   "pgagent list shows which backups there are; if none is missing, say "
			   "so: pgagent expire --confirm --force");
		return ERR_LIMIT;
	}
	for (size_t i = 0; i < s->packs; i++) {
		char key[STORE_KEY_MAX];
		enum err e;

		if (s->live[i])
			continue;
		e = sweep_turn_check(s->turn, why);
		if (e != ERR_NONE)
			return e;
		pack_key(s->cluster, &s->pack[i].id, key);
		e = store_remove(s->cluster->repository->store, key, why);
		if (e != ERR_NONE)
			return e;
		totals->packs_removed_bytes += s->pack[i].size;
		progress.done_items = ++totals->packs_removed;
		observer_progress(observer, &progress);
	}
	return ERR_NONE;
}

static void sweeping_release(struct sweeping *s)
{
	key_list_release(&s->decisions);
	pins_release(&s->pins);
	free(s->live);
	free(s->pack);
}

/* S1 to S3; `again` says that they have to be repeated. */
static enum err look(struct sweeping *s, struct sweep_totals *totals, struct error *why)
{
	enum err e = list_packs(s, why); /* S1 */

	*totals = (struct sweep_totals){.packs = s->packs};
	if (e == ERR_NONE)
		e = pins_read(s->cluster, &s->pins, why); /* S2 */
	totals->held = e == ERR_NONE && sweep_is_held(s->cluster, &s->pins, s->options->force);
	if (totals->held)
		memset(s->live, true, s->packs * sizeof(*s->live));
	else if (e == ERR_NONE)
		e = mark_live(s, why); /* S3 */
	return e == ERR_NONE ? count_dead(s, totals, why) : e;
}

enum err sweep_packs(const struct cluster *c, const struct sweep_options *options,
		     struct sweep_totals *totals, struct error *why)
{
	struct sweeping s = {.again = true};
	struct sweep_turn turn = {.cluster = NULL};
	enum err e = options->plan ? ERR_NONE : sweep_turn_take(&turn, c, why);

	*totals = (struct sweep_totals){.packs = 0};
	for (int tries = 0; e == ERR_NONE && s.again && tries < LOOKS_MAX; tries++) {
		sweeping_release(&s);
		s = (struct sweeping){.cluster = c, .options = options, .turn = &turn};
		e = look(&s, totals, why);
	}
	if (e == ERR_NONE && s.again) {
		e = error_set(why, ERR_TRANSIENT,
			      "%s: backups go while the sweep reads them, or a listing leaves out "
			      "some that are there; nothing was removed",
			      c->repository->store->label);
		error_hint(why, "if another run removes backups, let it end; then try again");
	}
	if (e == ERR_NONE && !options->plan)
		e = remove_dead(&s, totals, why); /* S4 */
	sweep_turn_end(&turn);
	sweeping_release(&s);
	return e;
}

/* ---- probes ---- */

struct probes {
	const struct repository *repository;
	int64_t now_us;
	char key[64][STORE_KEY_MAX]; /* more go with the next run */
	size_t count;
};

static enum err add_probe(void *ctx, const struct store_object *object, struct error *why)
{
	struct probes *p = ctx;

	(void)why;
	if (p->count < sizeof(p->key) / sizeof(p->key[0]) && object->stored_at_us != 0 &&
	    p->now_us - object->stored_at_us > PROBE_KEPT_US)
		(void)snprintf(p->key[p->count++], STORE_KEY_MAX, "%s", object->key);
	return ERR_NONE;
}

enum err sweep_probes(const struct repository *r, size_t *removed, struct error *why)
{
	struct probes *p = calloc(1, sizeof(*p));
	enum err e;

	*removed = 0;
	if (p == NULL)
		return error_set(why, ERR_MEMORY, "no memory for a sweep");
	p->now_us = clock_now_us(r->env->clock);
	e = store_list(r->store, "probe/", add_probe, p, why);
	for (size_t i = 0; e == ERR_NONE && i < p->count; i++) {
		e = store_remove(r->store, p->key[i], why);
		*removed += e == ERR_NONE;
	}
	free(p);
	return e;
}
