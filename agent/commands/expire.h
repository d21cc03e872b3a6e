/* commands/expire.h - what the files of `pgagent expire` share, and what `pgagent backup` prunes with. */
#ifndef COMMANDS_EXPIRE_H
#define COMMANDS_EXPIRE_H

#include "commands/expire_policy.h"
#include "failures.h"
#include "repo/expire.h"
#include "repo/sweep.h"

struct expiry {
	struct agent *agent;
	const struct config_cluster *config;
	const struct places *places;
	bool confirm, force, clock_is_right;
	bool quiet; /* after a backup: only the numbers below are told */
	/* The clock jumped: nothing goes by it, and what it showed at the last run is remembered on. */
	bool clock_refused;
	bool has_target; /* --backup: then no policy decides anything */
	struct attempt target;
	uint64_t target_system;
	struct catalog catalog; /* what is shown, in all repositories */
	unsigned *gone;         /* of each entry: bit i: it goes from place i */
	unsigned *alone;        /* ... and has just its own WAL there; owned, as `gone` */
	struct sightings *sightings;
	struct failures failures; /* of all parts */
	json_t *repositories;
	/* What a quiet run tells in one line. */
	uint64_t hidden, removed, freed_bytes;
};

/* One system identifier's part of the cluster in one repository. */
struct expire_part {
	struct expiry *expiry;
	const struct place *place;
	size_t index; /* of the place */
	struct cluster cluster;
	const struct expire_policy *policy; /* of the repository; NULL with a target */
	json_t *backups;                    /* of the document */
	struct expire_going {
		struct attempt attempt;
		bool told;  /* `result` is set */
		bool hides; /* it was shown until this run */
		struct expire_result result;
	} * going; /* hidden, being removed, or to go now; owned */
	size_t count, capacity;
	struct pins pins; /* that hold something now; owned; its pin NULL = not known */
	uint64_t due_now; /* of those that go: would be removed by a run now */
	/* What is swept behind all of them; of a plan also behind those that are due now. */
	struct sweep {
		struct sweep_totals packs;
		struct wal_sweep_totals wal;
	} swept, now;
	bool now_failed; /* it is not known, because of: */
	struct error now_why;
};

/* Carries out or tells, with what expire_find_target left; the caller holds the lock when it is carried out.  Failures are in
 * `failures`, and the worst is the answer. */
enum err expire_run(struct expiry *, struct error *why) MUST_CHECK;
void expire_release(struct expiry *);
/* Takes the lock of runs that remove.  ERR_EXISTS: another holds it. */
struct lock;
enum err expire_lock(struct agent *, const struct config_cluster *, struct lock *,
		     struct error *why) MUST_CHECK;
/* What a backup does after its commit with expire_auto: as `expire --confirm`, told in a line.  A failure is a
 * warning, as the backup is there; what another run removes right now is left to it.  The exit code: other than
 * EXIT_DONE only when a signal ended it. */
int expire_after_backup(struct agent *, const struct config_cluster *, const struct places *);

/* One part; false when nothing else shall be begun. */
bool expire_run_part(struct expire_part *);
/* Notes a failure and where it was; false when nothing else shall be begun. */
bool expire_note(struct expire_part *, enum err, struct error *why);

/* Notes the pins as seen now; attempts whose writers are silent are decided, and pins of silent readers end. */
enum err expire_end_silent(struct agent *, const struct cluster *, struct sightings *,
			   struct error *why) MUST_CHECK;
/* The same in these repositories, for who does not remove but may wait for sweeps (sweep_outlast), and kept for the
 * next run.  Best effort: what fails is told.  The caller frees what was seen; NULL = nothing. */
struct sightings *expire_watch(struct agent *, const struct config_cluster *, const struct place *,
			       size_t places);

/* What this host remembers between runs. */
enum err expire_load_sightings(struct agent *, const struct config_cluster *,
			       struct sightings **out, struct error *why) MUST_CHECK;
void expire_save_sightings(struct agent *, const struct config_cluster *, const struct sightings *);
/* ERR_DENIED: the clock jumped since the last run, and nobody says that it is right. */
enum err expire_check_clock(const struct expiry *, struct error *why) MUST_CHECK;
void expire_save_clock(const struct expiry *);
/* A backup that does not prune lets the clock be looked at all the same: the shorter it is ago, the less is
 * unknown about it. */
void expire_note_clock(struct agent *, const struct config_cluster *);

/* How the removing by policy went of late: each run that could not do all counts, one that did begins anew. */
struct expire_history {
	uint64_t refused; /* runs since the last that did all; 0: that was the last one */
	char why[ERROR_TEXT_MAX], hint[ERROR_HINT_MAX];
};
/* `failed` NULL: all was done.  A run that was stopped, or was for one repository only, does not count. */
void expire_note_outcome(struct agent *, const struct config_cluster *, const struct error *failed);
/* What is not there or can't be read says nothing: all zero. */
void expire_read_history(struct agent *, const struct config_cluster *, struct expire_history *out);

/* Reads the catalog, and finds what --backup names, a damaged one too.  ERR_MISSING: there is none;
 * ERR_DENIED: it must not go without --force. */
enum err expire_find_target(struct expiry *, struct error *why) MUST_CHECK;

/* The pin because of which a backup, or WAL behind one that stays for itself alone, waits; NULL = none. */
const struct pin_seen *expire_pin_of(const struct expire_part *, const struct attempt *);
/* Who that is, and when it ends, below the line of its backup; "the WAL behind it" or what else goes then. */
void expire_say_pin(const struct expire_part *, const struct pin_seen *, const char *what);
json_t *expire_pin_json(const struct expire_part *, const struct pin_seen *); /* NULL: null */
bool expire_is_target(const struct expire_part *, const struct attempt *);

/* Tells about the backups of a part: with a policy about all of them, else about those that go. */
void expire_say_backups(struct expire_part *);
/* Tells what the sweep did, or would do in the end. */
void expire_say_sweep(struct expire_part *);
/* The windows of time that can be restored, now and afterwards.  What can't be told is a warning. */
void expire_say_windows(struct expiry *);

#endif
