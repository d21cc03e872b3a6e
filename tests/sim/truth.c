/* sim/truth.c - what is really stored, and what must never be so.
 *
 * It hears of every operation that happened, in order, whatever the processes were told.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

static unsigned bit(int attempt)
{
	return 1U << attempt;
}

static bool is_below(const struct world *w, const char *key, const char *folder, const char **name)
{
	size_t len = strlen(w->observer.cluster.prefix);

	if (strncmp(key, w->observer.cluster.prefix, len) != 0 ||
	    strncmp(key + len, folder, strlen(folder)) != 0)
		return false;
	*name = key + len + strlen(folder);
	return true;
}

/* A committed backup whose removal was not decided has all its packs; so has one that is read. */
static void check_whole(struct world *w)
{
	const struct truth *t = &w->truth;

	for (int i = 0; i < SIM_ATTEMPTS; i++) {
		unsigned lost = t->refers[i] & ~t->packs;

		if ((t->manifests & ~t->tombs & bit(i)) != 0 && lost != 0)
			world_violate(w, "backup %d lost packs of attempts (bits) %x", i, lost);
		if (t->reads == i && lost != 0)
			world_violate(w, "the restore of backup %d lost packs %x", i, lost);
		if ((t->manifests & ~t->tombs & bit(i)) != 0 || t->reads == i)
			wal_check(w, i);
	}
}

/* ---- what was put ---- */

static void put_decision(struct world *w, int attempt, const char *key)
{
	struct truth *t = &w->truth;
	struct manifest *m = NULL;
	struct error why;
	uint8_t first[8];

	if (store_read(w->memory, key, 0, first, sizeof(first), &why) != ERR_NONE)
		abort();
	if (memcmp(first, "pgagent-", sizeof(first)) == 0) {
		if ((t->manifests & bit(attempt)) != 0)
			world_violate(w, "attempt %d was committed, and aborted now", attempt);
		t->manifests &= ~bit(attempt);
		t->aborts |= bit(attempt);
		return;
	}
	if ((t->aborts & bit(attempt)) != 0)
		world_violate(w, "attempt %d was aborted, and committed now", attempt);
	if (manifest_read(&w->observer.cluster, &w->attempt[attempt], &m, &why) != ERR_NONE) {
		world_violate(w, "the manifest of %d can't be read: %s", attempt, why.text);
		return;
	}
	t->manifests |= bit(attempt);
	t->aborts &= ~bit(attempt);
	t->finished_us[attempt] = m->summary.finished_us;
	t->refers[attempt] = 0;
	for (uint32_t i = 0; i < m->packs; i++)
		for (int k = 0; k < SIM_ATTEMPTS; k++)
			if (attempt_compare(&m->pack[i].id.attempt, &w->attempt[k]) == 0)
				t->refers[attempt] |= bit(k);
	manifest_free(m);
	check_whole(w);
}

/* "<attempt>.<g>" or "<attempt>.<g>.end" */
static void put_hidden(struct actor *a, int attempt, const char *name, const char *key)
{
	struct world *w = a->world;
	struct truth *t = &w->truth;
	int generation = (int)strtol(name + ATTEMPT_TEXT_MAX, NULL, 10);
	uint8_t *text = NULL;
	size_t len = 0;
	bool removed;

	if (strstr(name, ".end") == NULL) {
		if (w->scenario->policy && a->role == ROLE_MAINTENANCE &&
		    policy_promises(w, attempt))
			world_violate(w, "%d is promised, and the policy hides it", attempt);
		t->back[attempt] = false;
		t->hidden[attempt] = generation;
		t->removed_end[attempt] = false;
		return;
	}
	a->end_put = (unsigned)generation;
	if (store_get(w->memory, key, RECORD_BYTES_MAX, &text, &len, NULL) != ERR_NONE)
		abort();
	removed = strstr((const char *)text, "\nend removed\n") != NULL;
	free(text);
	if (removed && generation <= t->undeleted[attempt])
		world_violate(w, "generation %d of %d was undeleted, and is removed now",
			      generation, attempt);
	if (!removed && generation == t->hidden[attempt] && t->removed_end[attempt])
		world_violate(w, "generation %d of %d was removed, and is undeleted now",
			      generation, attempt);
	if (generation == t->hidden[attempt]) {
		t->removed_end[attempt] = removed;
		t->back[attempt] = !removed;
	}
}

/* Nothing is taken away that somebody was told is back. */
static void check_undeleted(struct world *w, int attempt, const char *what)
{
	const struct truth *t = &w->truth;

	if (t->undeleted[attempt] >= 0 && t->hidden[attempt] <= t->undeleted[attempt])
		world_violate(w, "%s of %d, of which undelete said that it is back", what, attempt);
}

void truth_after_put(struct actor *a, const char *key)
{
	struct world *w = a->world;
	struct truth *t = &w->truth;
	const char *name;
	int attempt;

	if (is_below(w, key, "packs/", &name) && (attempt = world_attempt(w, name)) >= 0)
		t->packs |= bit(attempt);
	if (is_below(w, key, "wal/", &name))
		wal_after_put(w, key);
	if (is_below(w, key, "backups/", &name) && (attempt = world_attempt(w, name)) >= 0)
		put_decision(w, attempt, key);
	if (is_below(w, key, "hidden/", &name) && (attempt = world_attempt(w, name)) >= 0)
		put_hidden(a, attempt, name, key);
	if (is_below(w, key, "tombs/", &name) && (attempt = world_attempt(w, name)) >= 0) {
		check_undeleted(w, attempt, "tombstone");
		if ((t->kept & bit(attempt)) != 0)
			world_violate(w, "%d was marked, and is removed", attempt);
		t->tombs |= bit(attempt);
	}
}

/* ---- what was removed ---- */

static enum err count(void *ctx, const struct store_object *object, struct error *why)
{
	(void)object;
	(void)why;
	++*(size_t *)ctx;
	return ERR_NONE;
}

static size_t count_below(const struct world *w, const char *folder)
{
	char prefix[STORE_KEY_MAX];
	size_t n = 0;

	(void)snprintf(prefix, sizeof(prefix), "%s%s", w->observer.cluster.prefix, folder);
	if (store_list(w->memory, prefix, count, &n, NULL) != ERR_NONE)
		abort();
	return n;
}

bool truth_is_pinned(const struct world *w, int attempt)
{
	char name[ATTEMPT_TEXT_MAX], folder[80];

	attempt_to_text(&w->attempt[attempt], name);
	(void)snprintf(folder, sizeof(folder), "pins/%s/", name);
	return count_below(w, folder) > 0;
}

static void removed_pack(struct world *w, int attempt)
{
	struct truth *t = &w->truth;

	if ((t->packs & bit(attempt)) == 0)
		return; /* a repeated removal */
	t->packs &= ~bit(attempt);
	check_whole(w);
	if (((t->manifests | t->aborts) & bit(attempt)) == 0 && truth_is_pinned(w, attempt))
		world_violate(w, "pack of attempt %d removed: it is pinned and undecided", attempt);
}

void truth_after_remove(struct actor *a, const char *key)
{
	struct world *w = a->world;
	struct truth *t = &w->truth;
	const char *name;
	int attempt;

	if (is_below(w, key, "packs/", &name) && (attempt = world_attempt(w, name)) >= 0)
		removed_pack(w, attempt);
	if (is_below(w, key, "wal/", &name))
		wal_after_remove(w, key);
	if (is_below(w, key, "backups/", &name) && (attempt = world_attempt(w, name)) >= 0) {
		if ((t->manifests & bit(attempt)) != 0)
			check_undeleted(w, attempt, "removal");
		if (t->reads == attempt)
			world_violate(w, "the manifest of %d went while it was restored", attempt);
		t->manifests &= ~bit(attempt);
		t->aborts &= ~bit(attempt);
	}
	if (is_below(w, key, "tombs/", &name) && (attempt = world_attempt(w, name)) >= 0) {
		t->tombs &= ~bit(attempt);
		check_whole(w);
	}
}

/* ---- what a process was told, and the end ---- */

void truth_undeleted(struct actor *a, int attempt)
{
	struct truth *t = &a->world->truth;

	t->undeleted[attempt] = (int)a->end_put;
	if (t->removed_end[attempt] && t->hidden[attempt] == (int)a->end_put)
		world_violate(a->world, "undelete of %d succeeded, and its end says removed",
			      attempt);
	if ((t->tombs & bit(attempt)) != 0)
		world_violate(a->world, "undelete of %d succeeded under its tombstone", attempt);
}

void truth_check_end(struct world *w)
{
	static const char *const gone[] = {"pins/", "tombs/"};
	const struct truth *t = &w->truth;
	unsigned live = 0;

	check_whole(w);
	wal_check_end(w);
	for (int i = 0; i < SIM_ATTEMPTS; i++) {
		struct manifest *m = NULL;
		struct error why;

		if ((t->manifests & bit(i)) == 0)
			continue;
		live |= t->refers[i];
		if (manifest_read(&w->observer.cluster, &w->attempt[i], &m, &why) != ERR_NONE ||
		    decision_check_packs(&w->observer.cluster, m, &why) != ERR_NONE)
			world_violate(w, "at the end backup %d is not whole: %s", i, why.text);
		manifest_free(m);
	}
	if ((t->packs & ~live) != 0)
		world_violate(w, "at the end dead packs are left (bits): %x", t->packs & ~live);
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		if (count_below(w, gone[i]) > 0)
			world_violate(w, "at the end %zu objects are left in %s",
				      count_below(w, gone[i]), gone[i]);
}
