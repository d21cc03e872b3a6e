/* sim/sim.h - the protocol of the repository, run by several processes at once on one store.
 *
 * The processes are threads with a baton: every operation of the store is one atomic step, and before
 * it a seeded scheduler chooses who goes next.  What they run is the shipped code; only the store
 * is ours.  A process crashes by having every operation fail from some step on.  A broken variant is a
 * store that lies to one process, never a hook in what is shipped.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "repo/decision.h"
#include "repo/expire.h"
#include "repo/hide.h"
#include "repo/pack.h"
#include "repo/parent.h"
#include "repo/pins.h"
#include "repo/retention.h"
#include "repo/sweep.h"
#include "store/memory/memory.h"

#include <pthread.h>
#include <stdio.h>

enum {
	SIM_ACTORS_MAX = 8,
	SIM_ATTEMPTS = 4, /* A, B: there from the start, B a child of A; two that writers make */
	SIM_WRITERS = 2,
	SIM_COPIED =
		3, /* instead of a writer's: a child of B in another repository, to be copied here */
	SIM_SEGMENTS = 2, /* of WAL, that each backup needs */
	SIM_GENERATIONS_MAX = 64
};

/* For answers that change nothing for the caller. */
static inline void ignore(enum err answer)
{
	(void)answer;
}

/* ---- randomness ---- */

struct sim_random {
	struct random random; /* first member */
	uint64_t state;
};
void sim_random_init(struct sim_random *, uint64_t seed);
uint32_t sim_below(struct sim_random *, uint32_t bound);

/* ---- what a store does to one process ---- */

enum lie {
	LIE_PINS_IN_EXPIRE = 1 << 0, /* no pins are listed while it removes a backup */
	LIE_PINS_IN_SWEEP = 1 << 1,  /* ... while it sweeps */
	LIE_OLD_MANIFESTS = 1 << 2,  /* decisions are those of when packs were listed */
	LIE_LATE_PACKS = 1 << 3,     /* the listing of packs names those still to come */
	LIE_NO_TOMBS = 1 << 4,       /* no tombstone is ever seen */
	LIE_NO_ABORT = 1 << 5,       /* abort markers are swallowed */
	LIE_COMMIT_OVERWRITES = 1 << 6,
	LIE_PINS_SWALLOWED = 1 << 7,
	LIE_END_OVERWRITES = 1 << 8,   /* of hiding */
	LIE_TOMB_WITHDRAWN = 1 << 9,   /* where a pin is met */
	LIE_TOMB_GOES_EARLY = 1 << 10, /* together with the manifest */
	LIE_GONE_IS_MARKER = 1 << 12,  /* a backup that went looks like an abort marker */
	LIE_NO_SWEEPS = 1 << 13,       /* pins of sweeps are never seen */
	LIE_NO_GAPS = 1 << 14,         /* ... nor the gaps that they record */
	LIE_PINS_BEHIND_GAPS =
		1 << 15,           /* no pins are listed once it has recorded a gap in a sweep */
	LIE_NO_MARKS = 1 << 16,    /* no mark is seen while it removes a backup */
	LIE_COMMIT_TWICE = 1 << 11 /* its duplicate arrives later; no lie, networks do that */
};

enum phase { PHASE_OTHER, PHASE_EXPIRE, PHASE_SWEEP };

/* ---- one process ---- */

struct world;
struct actor {
	struct store store; /* first member: what it sees of the world */
	struct world *world;
	unsigned index;
	char name[16];
	enum role {
		ROLE_WRITER,
		ROLE_MAINTENANCE,
		ROLE_RESTORE,
		ROLE_PERSON,
		ROLE_NETWORK,
		ROLE_COPY
	} role;
	void (*run)(struct actor *);
	unsigned lies; /* enum lie */
	enum phase phase;
	unsigned operations, crash_at; /* 0 = does not crash */
	unsigned end_put;              /* generation whose end this process put last */
	bool done;
	uint32_t priority;
	struct env env;
	struct sim_random random;
	struct repository *repository;
	struct cluster cluster;
	pthread_t thread;
	pthread_cond_t turn;
	/* LIE_OLD_MANIFESTS: which decisions there were. */
	unsigned old_decisions; /* a bit for each attempt */
	bool has_old_decisions;
	bool recorded;              /* a gap, in this sweep */
	char sweep[PIN_HOLDER_MAX]; /* holder of the pin of its last sweep; "" = none yet */
};

/* ---- the world ---- */

struct scenario {
	const char *name;
	unsigned writers, maintenance, operations; /* of each maintenance process, at most */
	unsigned copies;                           /* of SIM_COPIED, beside at most one writer */
	bool restore, person;
	/* Maintenance goes by a policy, a recovery replays behind its backup, the person marks; with `wal`. */
	bool policy;
	bool wal;     /* backups store theirs, and maintenance sweeps it */
	bool standby; /* writers read one: they begin in a segment that was stored long ago */
	bool steady;  /* nobody crashes */
	bool fresh;   /* writers take no parent */
	/* Of maintenance; NULL = drawn: e expire one, b expire the backup B, o the older one, A;
	 * s sweep, w sweep WAL, p expire by the policy, t end what is stale, d end what is silent for a day, a advance all, f forget. */
	const char *script;
	unsigned lies[6];     /* by role */
	bool broken;          /* a violation has to be found */
	uint64_t search_from; /* the seed at which looking for it begins; 0 = the first */
};

struct truth { /* what really is so, from the store's own operations */
	unsigned manifests, aborts, packs, tombs; /* a bit for each attempt */
	unsigned refers[SIM_ATTEMPTS];            /* packs that its manifest names */
	int undeleted[SIM_ATTEMPTS]; /* generation that undelete answered success for; -1 = none */
	int hidden[SIM_ATTEMPTS];    /* newest generation; -1 = none */
	bool removed_end[SIM_ATTEMPTS]; /* the newest generation's end says so */
	bool back[SIM_ATTEMPTS];        /* ... says that it was undeleted */
	unsigned kept;                  /* of which a person was told that they stay */
	int64_t finished_us[SIM_ATTEMPTS];
	int reads;                     /* attempt that a pinned restore reads; -1 = none */
	unsigned reads_to;             /* with a policy: the last segment that it replays */
	unsigned begins[SIM_ATTEMPTS]; /* segment of its start; 0 = it has none yet */
	uint64_t wal;                  /* segments that are stored */
};

struct world {
	const struct scenario *scenario;
	uint64_t seed;
	struct sim_random random;
	struct clock clock;
	int64_t now_us;
	struct store *memory;
	struct actor observer; /* no process: for the set-up, the truth and the end */
	struct actor actor[SIM_ACTORS_MAX];
	unsigned actors;
	struct attempt attempt[SIM_ATTEMPTS];
	struct truth truth;
	char violation[512]; /* "" = none; the first one counts */

	pthread_mutex_t mutex; /* over `running` */
	pthread_cond_t over;
	bool started;
	int running; /* index of an actor; -1 = nobody */
	uint64_t steps;
	enum { ORDER_UNIFORM, ORDER_STICKY, ORDER_PRIORITY, ORDER_WEIGHTY } order;
	unsigned changes; /* of priority, that are left */

	unsigned writing; /* segment of WAL that the server has not finished */
	struct retention_policy policy;

	struct store *
		source; /* another repository of the family, as the set-up left this one; NULL = none */
	struct repository *source_repository;
	struct cluster source_cluster;

	uint8_t *ghost; /* ROLE_NETWORK: the duplicate of a commit; owned */
	size_t ghost_len;
	char ghost_key[STORE_KEY_MAX + 1];
	bool ghost_sent;
	FILE *trace; /* NULL = none */
};

/* One run; the answer is world->violation. */
void world_run(struct world *, const struct scenario *, uint64_t seed, FILE *trace);
void world_release(struct world *);
void world_violate(struct world *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The number of the attempt that a key's part begins with; -1 = none of ours. */
int world_attempt(const struct world *, const char *name);

/* ---- its parts ---- */

/* source.c: makes the backup SIM_COPIED, and takes it to `source` alone. */
void source_init(struct world *);
void source_release(struct world *);
void copy_run(struct actor *);

/* baton.c: waits until it is this process's turn again.  `weighty`: others see what comes now, or it sees
 * what they do, so that it is a better place for a turn than most. */
void baton_step(struct actor *, bool weighty);
void baton_run(struct world *);

/* lying_store.c */
void lying_store_init(struct actor *);

/* truth.c: with the baton held, after the operation. */
void truth_after_put(struct actor *, const char *key);
void truth_after_remove(struct actor *, const char *key);
/* Everything that may go is gone, all that must stay is there. */
void truth_check_end(struct world *);
void truth_undeleted(struct actor *, int attempt);
bool truth_is_pinned(const struct world *, int attempt);

/* wal.c */
void wal_init(struct world *);
struct lsn wal_lsn(unsigned segment);
/* BASE_BACKUP has begun: the pin says where. */
enum err wal_begin(struct actor *, int number, struct pin *, struct error *why);
enum err wal_store(struct actor *, int number, struct error *why); /* W5 */
/* Where a backup that begins in that segment ends; in the simulation its own beginning is all that W5 asks for. */
struct lsn wal_stop(const struct world *, unsigned first);
/* Looks for what a restore of that backup replays. */
enum err wal_fetch(struct actor *, int number, struct error *why);
enum err wal_sweep(struct actor *, struct error *why);
/* The server finishes so many segments and archives them. */
enum err wal_archive(struct actor *, unsigned segments, struct error *why);
/* ERR_MISSING: the segment is not there. */
enum err wal_look(struct actor *, unsigned segment, struct error *why);
void wal_after_put(struct world *, const char *key);
void wal_after_remove(struct world *, const char *key);
/* A committed backup, or one that is read, has its WAL. */
void wal_check(struct world *, int attempt);
void wal_check_end(struct world *);

/* policy.c */
void policy_init(struct world *);
/* Between two backups of the set-up. */
enum err policy_pause(struct actor *, struct error *why);
enum err policy_expire(struct actor *, struct error *why);
/* A backup that is in the window, or that the window begins with: it stays, and all WAL from its start on. */
bool policy_promises(const struct world *, int attempt);
void recovery_run(struct actor *);
void marker_run(struct actor *);

/* actors.c */
/* One of the backups that are listed; -1 = none, or the list can't be read. */
int choose_backup(struct actor *, bool all);
enum err restore_fetch_packs(struct actor *, const struct manifest *, struct error *why);
void actor_open(struct actor *, struct world *, uint64_t seed);
void actor_close(struct actor *);
void writer_run(struct actor *);
void maintenance_run(struct actor *);
void restore_run(struct actor *);
void person_run(struct actor *);
void network_run(struct actor *);
/* The backup `number` on top of `parent` (-1 = none), as writers make it. */
enum err writer_backup(struct actor *, int number, int parent, struct error *why);
/* Maintenance until nothing is left to do. */
void settle_run(struct actor *);

#endif
