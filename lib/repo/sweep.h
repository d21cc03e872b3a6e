/* repo/sweep.h - removing what nobody needs: packs that no existing manifest and no undecided attempt
 * refers to, and WAL that no backup needs.
 *
 * The order is what makes it safe: S1 list packs -> S2 list pins -> S3 list decisions and read
 * manifests -> S4 remove, of the first listing, what is not live.  A backup that is gone when S3 comes to
 * read it sends the sweep back to S1: a child of it may have been committed behind the listing.  Anything that can't be read ends
 * the sweep before its first removal.
 *
 * A sweep and a copy into the same repository exclude each other: a sweep pins first too, and removes
 * nothing when S2 shows a copy; a copy that finds the pin of a sweep waits until it is gone.  So does a backup from a
 * standby, whose first WAL may have been stored long before its pin.
 */
#ifndef REPO_SWEEP_H
#define REPO_SWEEP_H

#include "repo/pins.h"

enum { SWEEP_PACKS_MAX = 1 << 24 /* 256 TiB of packs */ };

struct sweep_options {
	bool plan;  /* only count what would go */
	bool force; /* also with needs_force, or what a copy that is gone left */
	/* As if these backups were removed already; for plans only. */
	const struct attempt *without;
	size_t withouts;
	/* Of WAL: backups of which just what makes them consistent is needed, from their start to their stop;
	 * unless a restore or recovery reads one.  Of all others everything from their start on. */
	const struct attempt *alone;
	size_t alones;
	bool superseded; /* of WAL: another system took over (retention_is_superseded) */
};

struct sweep_totals {
	uint64_t packs, packs_bytes;                 /* listed */
	uint64_t packs_removed, packs_removed_bytes; /* or would be */
	uint64_t
		packs_unaccounted; /* of the removed: their attempt was neither removed as a backup nor given up */
	/* More than half of all packs would go, and of them more are unaccounted for than stay: so it looks
	 * when live backups were not seen. */
	bool needs_force;
	bool held; /* a copy into this repository holds sweeps back: nothing was removed */
};

/* A sweep that takes longer ends with ERR_TRANSIENT, and the next goes on: well before its pin, which has no
 * heartbeat, can be taken for left behind (STALE_READER_US). */
#define SWEEP_TIME_MAX_US (INT64_C(12) * 60 * 60 * 1000 * 1000)

/* ERR_CORRUPT: a manifest can't be read; nothing was removed, and the hint names the backup to
 * remove by name.  ERR_LIMIT: needs_force, and not `force`.  ERR_TRANSIENT: another run kept removing
 * backups between their listing and their reading, or listings leave out backups that are there, so that what is
 * live can't be told. */
enum err sweep_packs(const struct cluster *, const struct sweep_options *, struct sweep_totals *,
		     struct error *why) MUST_CHECK;

struct wal_sweep_totals {
	uint64_t objects, bytes;         /* listed */
	uint64_t removed, removed_bytes; /* as of packs */
	bool held;
};
/* A segment (its slices, `.partial` and `.backup` files with it) goes when every backup on its timeline or
 * an ancestor of it starts behind it, or needs just its own WAL and stops before it.  Nothing goes while an undecided attempt has no start yet, or when something can't be read
 * (ERR_CORRUPT).  Unless superseded nothing goes while there is no backup either, nor the newest timeline when
 * no backup needs it: it may be all there is, and is still written.  History files stay. */
enum err sweep_wal(const struct cluster *, const struct sweep_options *, struct wal_sweep_totals *,
		   struct error *why) MUST_CHECK;

/* How long one run waits for sweeps to end, in all repositories together. */
#define SWEEP_WAIT_US (INT64_C(60) * 60 * 1000 * 1000)

struct sweep_wait {
	const char *who; /* waits: "copy", "backup"; is told */
	/* What this host has seen of pins; NULL = nothing.  One that by it is stale is ended, also when it becomes so
	 * while it is waited for. */
	const struct sightings *seen;
	int64_t waited_us; /* by this run, until now */
};
/* Returns when no sweep is under way that may have looked for pins before the caller put his: what is there then, and
 * what his pin protects, stays.  ERR_TRANSIENT when the run has waited for SWEEP_WAIT_US. */
enum err sweep_outlast(const struct cluster *, struct sweep_wait *, struct error *why) MUST_CHECK;

struct history;
/* For a reader that has pinned a backup and will replay from `from` to `to` along a path: the sweep that may not have
 * seen the pin and is about to remove some of that; its holder is "" where none is.  A sweep records gaps behind backups
 * of `alone` and then looks for pins again; a reader pins and then looks here: of two that meet one yields.  When nobody
 * is, what of the WAL is there now stays. */
enum err sweep_threatens(const struct cluster *, const struct history *path, struct lsn from,
			 struct lsn to, struct pin_seen *by, struct error *why) MUST_CHECK;

/* Objects below probe/ that are older than a day. */
enum err sweep_probes(const struct repository *, size_t *removed, struct error *why) MUST_CHECK;

#endif
