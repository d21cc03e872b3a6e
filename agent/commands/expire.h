/* commands/expire.h - what the files of `pgagent expire` share. */
#ifndef COMMANDS_EXPIRE_H
#define COMMANDS_EXPIRE_H

#include "commands/catalog.h"
#include "failures.h"
#include "repo/expire.h"
#include "repo/sweep.h"

struct expiry {
	struct agent *agent;
	const struct config_cluster *config;
	const struct places *places;
	bool confirm, force;
	bool has_target; /* --backup */
	struct attempt target;
	uint64_t target_system;
	struct sightings *sightings;
	struct failures failures; /* of all parts */
	json_t *repositories;
};

/* One system identifier's part of the cluster in one repository. */
struct expire_part {
	struct expiry *expiry;
	const struct place *place;
	struct cluster cluster;
	json_t *backups;       /* of the document */
	struct attempt *going; /* hidden, being removed, or asked to go; owned */
	size_t count, capacity;
	uint64_t due_now; /* of them: would be removed by a run now */
	struct sweep_totals packs;
	struct wal_sweep_totals wal;
};

/* Adds to `going`. */
enum err expire_part_add(struct expire_part *, const struct attempt *,
			 struct error *why) MUST_CHECK;

/* Reads the catalog, and finds what --backup names, a damaged one too.  ERR_MISSING: there is none;
 * ERR_DENIED: it must not go without --force. */
enum err expire_find_target(struct expiry *, struct catalog *, struct error *why) MUST_CHECK;

/* Tells about one backup; `result` as expire_advance gave it, or as it would. */
void expire_say_backup(struct expire_part *, const struct attempt *, const struct expire_result *);
/* Tells what the sweep did, or would do in the end. */
void expire_say_sweep(struct expire_part *);
/* The windows of time that can be restored, with and without `going`.  What can't be told is a warning. */
void expire_say_windows(struct expiry *, const struct catalog *, const struct attempt *going,
			size_t count);

#endif
