/* sim/lying_store.c - the store as one process sees it: every operation is a step, and some are lies. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

struct lying_upload {
	struct upload upload; /* first member */
	struct actor *actor;
	char key[STORE_KEY_MAX + 1];
	struct writer data;
};

static bool lies(const struct actor *a, enum lie lie)
{
	return (a->lies & lie) != 0;
}

static bool is_in(const char *key, const char *folder)
{
	return strstr(key, folder) != NULL;
}

static bool ends_in(const char *key, const char *end)
{
	size_t len = strlen(key), end_len = strlen(end);

	return len >= end_len && strcmp(key + len - end_len, end) == 0;
}

static bool is_end(const char *key)
{
	return is_in(key, "/hidden/") && ends_in(key, ".end");
}

/* Waits for its turn; false: the process is dead, or the run is over. */
static bool take_turn(struct actor *a, bool weighty, struct error *why)
{
	baton_step(a, weighty);
	a->operations++;
	if ((a->crash_at != 0 && a->operations >= a->crash_at) || a->world->violation[0] != '\0') {
		(void)error_set(why, ERR_IO, "process %s is dead", a->name);
		return false;
	}
	return true;
}

static void note(const struct actor *a, const char *what, const char *key, enum err answer)
{
	if (a->world->trace != NULL && a->world->started)
		(void)fprintf(a->world->trace, "  %5llu %-9s %-7s %s = %d\n",
			      (unsigned long long)a->world->steps, a->name, what, key, (int)answer);
}

static enum err lying_begin(struct store *s, const char *key, uint64_t size_hint,
			    struct upload **out, struct error *why)
{
	struct lying_upload *u = calloc(1, sizeof(*u));

	(void)size_hint;
	if (u == NULL)
		return error_set(why, ERR_MEMORY, "no memory");
	u->upload.ops = s->ops;
	u->actor = (struct actor *)s;
	(void)snprintf(u->key, sizeof(u->key), "%s", key);
	writer_init(&u->data, 64 << 20);
	*out = &u->upload;
	return ERR_NONE;
}

static enum err lying_append(struct upload *upload, struct bytes in, struct error *why)
{
	struct lying_upload *u = (struct lying_upload *)upload;

	writer_bytes(&u->data, in);
	return u->data.bad ? error_set(why, ERR_MEMORY, "no memory") : ERR_NONE;
}

static void lying_abandon(struct upload *upload)
{
	struct lying_upload *u = (struct lying_upload *)upload;

	if (u == NULL)
		return;
	writer_release(&u->data);
	free(u);
}

/* The network keeps a copy of the commit and delivers it once more, later. */
static void keep_ghost(struct actor *a, const struct lying_upload *u)
{
	struct world *w = a->world;

	if (w->ghost != NULL)
		return;
	w->ghost = malloc(u->data.len);
	if (w->ghost == NULL)
		abort();
	memcpy(w->ghost, u->data.data, u->data.len);
	w->ghost_len = u->data.len;
	(void)snprintf(w->ghost_key, sizeof(w->ghost_key), "%s", u->key);
}

static bool is_swallowed(const struct actor *a, const struct lying_upload *u)
{
	bool marker = u->data.len >= 8 && memcmp(u->data.data, "pgagent-", 8) == 0;

	return (lies(a, LIE_NO_ABORT) && marker && is_in(u->key, "/backups/")) ||
	       (lies(a, LIE_PINS_SWALLOWED) && is_in(u->key, "/pins/"));
}

static enum err lying_commit(struct upload *upload, struct error *why)
{
	struct lying_upload *u = (struct lying_upload *)upload;
	struct actor *a = u->actor;
	enum err e = ERR_IO;

	if (!take_turn(a, !is_in(u->key, "/packs/"), why)) {
		lying_abandon(upload);
		return e;
	}
	if ((lies(a, LIE_COMMIT_OVERWRITES) && is_in(u->key, "/backups/")) ||
	    (lies(a, LIE_END_OVERWRITES) && is_end(u->key)))
		ignore(store_remove(a->world->memory, u->key, NULL)); /* cannot fail */
	if (is_swallowed(a, u)) {
		e = ERR_NONE;
	} else {
		e = store_put(a->world->memory, u->key, writer_view(&u->data), why);
		if (e == ERR_NONE)
			truth_after_put(a, u->key);
		a->recorded = a->recorded || is_in(u->key, "/gaps/");
		if (is_in(u->key, "/pins/sweep-"))
			(void)snprintf(a->sweep, sizeof(a->sweep), "%.22s",
				       strstr(u->key, "sweep-"));
		if (e == ERR_NONE && lies(a, LIE_COMMIT_TWICE) && is_in(u->key, "/backups/"))
			keep_ghost(a, u);
	}
	note(a, "put", u->key, e);
	lying_abandon(upload);
	return e;
}

/* The pin of a sweep that crashed, where all processes are of one host: who waits for sweeps passes over it. */
static bool is_of_the_dead(const struct actor *a, const char *key)
{
	const struct world *w = a->world;

	if (w->seed % 2 == 0 || a->role == ROLE_MAINTENANCE || a == &w->observer)
		return false;
	for (unsigned i = 0; i < w->actors; i++) {
		const struct actor *other = &w->actor[i];

		if (other->sweep[0] != '\0' && is_in(key, other->sweep) && other->crash_at != 0 &&
		    other->operations >= other->crash_at)
			return true;
	}
	return false;
}

/* An object that this process is not to see. */
static bool is_unseen(const struct actor *a, const char *key)
{
	int attempt;

	if (is_in(key, "/tombs/") &&
	    (lies(a, LIE_NO_TOMBS) || (lies(a, LIE_GONE_IS_MARKER) && a->phase == PHASE_SWEEP)))
		return true;
	if ((lies(a, LIE_NO_GAPS) && is_in(key, "/gaps/")) ||
	    (lies(a, LIE_NO_MARKS) && a->phase == PHASE_EXPIRE && is_in(key, "/keeps/")) ||
	    (lies(a, LIE_PINS_BEHIND_GAPS) && a->phase == PHASE_SWEEP && a->recorded &&
	     is_in(key, "/pins/")))
		return true;
	if (is_in(key, "/pins/sweep-") && (lies(a, LIE_NO_SWEEPS) || is_of_the_dead(a, key)))
		return true;
	if (is_in(key, "/pins/") && ((lies(a, LIE_PINS_IN_EXPIRE) && a->phase == PHASE_EXPIRE) ||
				     (lies(a, LIE_PINS_IN_SWEEP) && a->phase == PHASE_SWEEP)))
		return true;
	if (!a->has_old_decisions || a->phase != PHASE_SWEEP || !is_in(key, "/backups/"))
		return false;
	attempt = world_attempt(a->world, strrchr(key, '/') + 1);
	return attempt >= 0 && (a->old_decisions & 1U << attempt) == 0;
}

static enum err lying_read(struct store *s, const char *key, uint64_t offset, void *out, size_t len,
			   struct error *why)
{
	struct actor *a = (struct actor *)s;
	enum err e;

	if (!take_turn(a, false, why))
		return ERR_IO;
	e = is_unseen(a, key) ? error_set(why, ERR_MISSING, "%s: no such object", key)
			      : store_read(a->world->memory, key, offset, out, len, why);
	note(a, "read", key, e);
	return e;
}

static enum err lying_stat(struct store *s, const char *key, struct store_object *out,
			   struct error *why)
{
	struct actor *a = (struct actor *)s;
	enum err e;

	if (!take_turn(a, is_in(key, "/tombs/"), why))
		return ERR_IO;
	e = is_unseen(a, key) ? error_set(why, ERR_MISSING, "%s: no such object", key)
			      : store_stat(a->world->memory, key, out, why);
	if (e == ERR_MISSING && lies(a, LIE_GONE_IS_MARKER) && a->phase == PHASE_SWEEP &&
	    is_in(key, "/backups/")) {
		*out = (struct store_object){.key = key, .size = 300};
		e = ERR_NONE;
	}
	note(a, "stat", key, e);
	return e;
}

static enum err lying_confirm(struct store *s, const char *key, struct error *why)
{
	(void)s;
	(void)key;
	(void)why;
	return ERR_NONE; /* what is in memory is durable */
}

struct passing {
	const struct actor *actor;
	store_visit *visit;
	void *ctx;
};

static enum err pass_seen(void *ctx, const struct store_object *object, struct error *why)
{
	struct passing *p = ctx;

	return is_unseen(p->actor, object->key) ? ERR_NONE : p->visit(p->ctx, object, why);
}

static enum err note_decision(void *ctx, const struct store_object *object, struct error *why)
{
	struct actor *a = ctx;
	int attempt = world_attempt(a->world, strrchr(object->key, '/') + 1);

	(void)why;
	if (attempt >= 0)
		a->old_decisions |= 1U << attempt;
	return ERR_NONE;
}

static void note_decisions(struct actor *a)
{
	char prefix[STORE_KEY_MAX];

	(void)snprintf(prefix, sizeof(prefix), "%sbackups/", a->cluster.prefix);
	a->old_decisions = 0;
	a->has_old_decisions = true;
	if (store_list(a->world->memory, prefix, note_decision, a, NULL) != ERR_NONE)
		abort();
}

/* All packs that there are or may come, in the order of their keys: what a listing tells that is made
 * at the moment of each removal. */
static enum err list_late_packs(struct actor *a, store_visit *visit, void *ctx, struct error *why)
{
	enum err e = ERR_NONE;

	for (int i = 0; e == ERR_NONE && i < SIM_ATTEMPTS; i++) {
		struct pack_id id = {.attempt = a->world->attempt[i]};
		struct store_object object = {.size = 1000};
		char key[STORE_KEY_MAX];

		pack_key(&a->cluster, &id, key);
		object.key = key;
		e = visit(ctx, &object, why);
	}
	return e;
}

static enum err lying_list(struct store *s, const char *prefix, store_visit *visit, void *ctx,
			   struct error *why)
{
	struct actor *a = (struct actor *)s;
	struct passing p = {.actor = a, .visit = visit, .ctx = ctx};
	bool packs = a->phase == PHASE_SWEEP && is_in(prefix, "/packs/");
	bool wal = a->phase == PHASE_SWEEP && is_in(prefix, "/wal/");

	if (!take_turn(a,
		       is_in(prefix, "/pins/") || is_in(prefix, "/packs/") ||
			       is_in(prefix, "/backups/"),
		       why))
		return ERR_IO;
	note(a, "list", prefix, ERR_NONE);
	if ((packs || wal) && lies(a, LIE_OLD_MANIFESTS))
		note_decisions(a);
	if (packs && lies(a, LIE_LATE_PACKS))
		return list_late_packs(a, visit, ctx, why);
	return store_list(a->world->memory, prefix, pass_seen, &p, why);
}

static enum err lying_parts(struct store *s, const char *prefix, store_part_visit *visit, void *ctx,
			    struct error *why)
{
	struct actor *a = (struct actor *)s;

	if (!take_turn(a, false, why))
		return ERR_IO;
	return store_parts(a->world->memory, prefix, visit, ctx, why);
}

static enum err lying_remove(struct store *s, const char *key, struct error *why)
{
	struct actor *a = (struct actor *)s;
	enum err e;

	if (!take_turn(a, true, why))
		return ERR_IO;
	e = store_remove(a->world->memory, key, why);
	if (e == ERR_NONE)
		truth_after_remove(a, key);
	note(a, "remove", key, e);
	return e;
}

static void lying_close(struct store *s)
{
	(void)s; /* the world's memory, and its store */
}

void lying_store_init(struct actor *a)
{
	static const struct store_ops ops = {
		.name = "lying",
		.begin = lying_begin,
		.append = lying_append,
		.commit = lying_commit,
		.abandon = lying_abandon,
		.read = lying_read,
		.stat = lying_stat,
		.confirm = lying_confirm,
		.list = lying_list,
		.parts = lying_parts,
		.remove = lying_remove,
		.close = lying_close,
	};

	a->store = (struct store){.ops = &ops, .traits = a->world->memory->traits};
	(void)snprintf(a->store.label, sizeof(a->store.label), "%s", a->name);
}
