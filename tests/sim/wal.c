/* sim/wal.c - the WAL of the simulated server: what a backup begins with and stores, and its sweep.
 *
 * A segment is stood for by a slice of one page, which goes by the same rules.  On a primary a backup
 * begins in the segment that is being written, which nobody has stored yet; on a standby where its last restartpoint
 * was.
 */
#include "repo/admit.h"
#include "repo/wal_object.h"
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

enum { SEGMENT = 16 << 20, STORED = 8192, LEVEL = 1, RECORD_AT = 0x28 };

struct lsn wal_lsn(unsigned segment)
{
	return (struct lsn){(uint64_t)segment * SEGMENT + RECORD_AT};
}

struct lsn wal_stop(const struct world *w, unsigned first)
{
	return w->scenario->wal ? wal_lsn(first) : (struct lsn){(uint64_t)first * SEGMENT};
}

void wal_init(struct world *w)
{
	const struct identity identity = {.server_version = 150020,
					  .wal_segment_bytes = SEGMENT,
					  .block_bytes = STORED,
					  .data_checksums = 1};
	struct error why;

	w->writing = 1;
	if (identity_ensure(&w->observer.cluster, &identity, &why) != ERR_NONE)
		abort();
}

enum err wal_begin(struct actor *a, int number, struct pin *pin, struct error *why)
{
	struct world *w = a->world;

	w->truth.begins[number] = w->writing;
	if (w->scenario->standby && a->role == ROLE_WRITER && w->started)
		w->truth.begins[number] = 1 + sim_below(&a->random, w->writing - 1);
	if (!w->scenario->wal)
		return ERR_NONE;
	pin->start = wal_lsn(w->truth.begins[number]);
	pin->timeline = 1;
	return pin_put(&a->cluster, pin, why);
}

static enum err store_one(struct actor *a, unsigned segment, struct error *why)
{
	static const uint8_t page[STORED];
	struct wal_name name;

	wal_segment_name(1, segment, SEGMENT, &name);
	return wal_put_slice(&a->cluster, &name, SEGMENT, LEVEL, 0, STORED,
			     bytes_of(page, sizeof(page)), why);
}

enum err wal_store(struct actor *a, int number, struct error *why)
{
	struct world *w = a->world;
	unsigned first = w->truth.begins[number];
	enum err e = ERR_NONE;

	if (w->writing < first + SIM_SEGMENTS)
		w->writing = first + SIM_SEGMENTS; /* pg_backup_stop ends the last one */
	for (unsigned i = first; w->scenario->wal && e == ERR_NONE && i < first + SIM_SEGMENTS; i++)
		e = store_one(a, i, why);
	return e;
}

enum err wal_archive(struct actor *a, unsigned segments, struct error *why)
{
	enum err e = ERR_NONE;

	for (unsigned i = 0; e == ERR_NONE && i < segments; i++)
		e = store_one(a, a->world->writing++, why);
	return e;
}

enum err wal_look(struct actor *a, unsigned segment, struct error *why)
{
	struct store_object object;
	struct wal_name name;
	char key[STORE_KEY_MAX];

	wal_segment_name(1, segment, SEGMENT, &name);
	wal_slice_key(&a->cluster, &name, 0, STORED, key);
	return store_stat(&a->store, key, &object, why);
}

enum err wal_fetch(struct actor *a, int number, struct error *why)
{
	unsigned first = a->world->truth.begins[number];
	enum err e = ERR_NONE;

	for (unsigned i = first;
	     a->world->scenario->wal && e == ERR_NONE && i < first + SIM_SEGMENTS; i++) {
		e = wal_look(a, i, why);
		if (e == ERR_MISSING)
			world_violate(a->world, "a pinned restore misses WAL segment %u", i);
	}
	return e;
}

enum err wal_sweep(struct actor *a, struct error *why)
{
	const struct sweep_options options = {.force = true};
	struct wal_sweep_totals totals;
	enum err e;

	a->phase = PHASE_SWEEP;
	e = sweep_wal(&a->cluster, &options, &totals, why);
	a->phase = PHASE_OTHER;
	return e;
}

/* ".../wal/TTTTTTTT/HHHHHHHH/TTTTTTTTHHHHHHHHSSSSSSSS.FFFFFFFF-TTTTTTTT" */
static unsigned segment_of(const char *key)
{
	return (unsigned)strtoul(strrchr(key, '/') + 1 + 16, NULL, 16);
}

void wal_after_put(struct world *w, const char *key)
{
	w->truth.wal |= UINT64_C(1) << segment_of(key);
}

/* Whether a restore of that backup, or of what may still become one, replays from a segment on. */
static bool is_replayed(struct world *w, int attempt, unsigned segment)
{
	const struct truth *t = &w->truth;
	unsigned bit = 1U << attempt;

	if (t->begins[attempt] == 0 || segment < t->begins[attempt])
		return false;
	/* With a policy its own WAL is that of its first segment, where it stops. */
	if (w->scenario->policy && (t->manifests & ~t->tombs & bit) != 0)
		return segment == t->begins[attempt] || policy_promises(w, attempt) ||
		       (t->reads == attempt && segment <= t->reads_to);
	if (w->scenario->policy && t->reads == attempt)
		return segment <= t->reads_to;
	return (t->manifests & ~t->tombs & bit) != 0 || t->reads == attempt ||
	       (((t->manifests | t->aborts) & bit) == 0 && truth_is_pinned(w, attempt));
}

void wal_after_remove(struct world *w, const char *key)
{
	unsigned segment = segment_of(key);

	w->truth.wal &= ~(UINT64_C(1) << segment);
	for (int i = 0; i < SIM_ATTEMPTS; i++)
		if (is_replayed(w, i, segment))
			world_violate(w, "WAL segment %u removed; attempt %d needs it from %u on",
				      segment, i, w->truth.begins[i]);
}

void wal_check(struct world *w, int attempt)
{
	unsigned first = w->truth.begins[attempt];
	unsigned count = w->scenario->policy ? 1 : SIM_SEGMENTS;

	for (unsigned i = first; w->scenario->wal && i < first + count; i++)
		if ((w->truth.wal & UINT64_C(1) << i) == 0)
			world_violate(w, "backup %d has lost WAL segment %u", attempt, i);
}

void wal_check_end(struct world *w)
{
	const struct truth *t = &w->truth;
	unsigned first = 0;

	for (int i = 0; i < SIM_ATTEMPTS; i++)
		if ((t->manifests & 1U << i) != 0 && (first == 0 || t->begins[i] < first))
			first = t->begins[i];
	/* Where no backup is left nothing goes. */
	if (first > 0 && (t->wal & ((UINT64_C(1) << first) - 1)) != 0)
		world_violate(w, "at the end dead WAL is left before segment %u (bits): %llx",
			      first, (unsigned long long)t->wal);
}
