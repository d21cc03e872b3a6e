/* repo/pins.h - who reads or writes right now: the pins of a cluster, and which have gone silent.
 *
 * Reading them decides nothing.  A holder without a new heartbeat is stale when the observer has seen
 * the same newest number for so long by its own monotonic clock; what it saw is kept between runs
 * (struct sightings), so that runs of a minute can observe too.
 */
#ifndef REPO_PINS_H
#define REPO_PINS_H

#include "repo/decision.h"

enum { PIN_HOLDER_MAX = 64, PIN_BACKUPS_MAX = 8, PINS_MAX = 65536 };

/* Kinds of the two that exclude each other: who copies into a repository, and who sweeps it. */
#define PIN_COPY_TO "copy-to"
#define PIN_SWEEP "sweep"

struct pin_seen {
	char holder[PIN_HOLDER_MAX];
	char kind[16]; /* "" when unreadable */
	char host[64]; /* where its process runs, cut; "" when unreadable */
	uint32_t n;    /* its newest heartbeat */
	/* It can't be read, or names more than PIN_BACKUPS_MAX backups: protects everything. */
	bool unreadable;
	bool is_writer; /* of a backup: `attempt` is its own */
	bool is_copy;   /* into this repository: `attempt` is what it is about to commit, if any */
	bool has_attempt;
	struct attempt attempt;
	struct attempt backup[PIN_BACKUPS_MAX]; /* what it reads; of a writer: its parent */
	size_t backups;
	struct lsn start; /* of a writer; 0 = not known yet */
	uint32_t timeline;
	bool gone; /* its process certainly is no more */
};

struct pins {
	struct pin_seen *pin; /* owned; by holder */
	size_t count;
};
/* The newest pin of every holder.  ERR_LIMIT past PINS_MAX.  Release it also after a failure. */
enum err pins_read(const struct cluster *, struct pins *out, struct error *why) MUST_CHECK;
void pins_release(struct pins *);
/* The newest pin of one holder.  ERR_MISSING: it has none. */
enum err pins_read_holder(const struct cluster *, const char *holder, struct pin_seen *out,
			  struct error *why) MUST_CHECK;
/* "<word>-" and 16 random hex digits: who is no attempt. */
enum err pin_holder_new(const struct env *, const char *word, char out[PIN_HOLDER_MAX],
			struct error *why) MUST_CHECK;

/* A copy into this repository is under way, or ended without a word less than a day ago: nothing is
 * swept, as it may refer to packs and WAL that nobody else refers to (README.md, "Copying"). */
bool pin_holds_sweeps(const struct pin_seen *);

/* ---- staleness ---- */

enum { SIGHTINGS_MAX = 65536 };
#define STALE_BACKUP_US (INT64_C(15) * 60 * 1000 * 1000)      /* 15 heartbeats */
#define STALE_READER_US (INT64_C(24) * 60 * 60 * 1000 * 1000) /* restore, recovery, copy, ... */

struct sightings;
/* `boot` names the clock: what was seen before a restart counts from now on. */
enum err sightings_new(const char *boot, struct sightings **out, struct error *why) MUST_CHECK;
void sightings_free(struct sightings *); /* NULL is fine */
/* What sightings_encode wrote.  ERR_CORRUPT: it is not; begin with an empty one. */
enum err sightings_decode(struct bytes text, const char *boot, struct sightings **out,
			  struct error *why) MUST_CHECK;
void sightings_encode(const struct sightings *, struct writer *out);
/* Notes the pins of one cluster in one repository as seen now; holders that are not among them are
 * forgotten.  `now_us` is monotonic. */
enum err sightings_note(struct sightings *, const struct cluster *, const struct pins *,
			int64_t now_us, struct error *why) MUST_CHECK;
/* How long this holder's newest heartbeat has been the newest; 0 = not noted. */
int64_t sightings_silent_us(const struct sightings *, const struct cluster *,
			    const struct pin_seen *, int64_t now_us);
/* This machine's boot id, for the two above; "unknown" where the system does not say. */
void sightings_boot_id(const struct env *, char out[64]);

/* How long this holder may give no sign of life. */
int64_t pin_silence_max_us(const struct pin_seen *);
/* Whether one that was silent for so long is ended by the next run that removes: by the two that end pins,
 * decision_abort_dead and pins_end_stale. */
bool pin_is_over(const struct pin_seen *, int64_t silent_us);

/* Ends what is stale: the attempt of a writer, or of a copy whose process may still live, is decided as
 * aborted first, then its pins go; a reader's
 * pins go.  One that can't be read has a reader's time, and is decided like a writer's where its holder is
 * an attempt.  `sightings` must have noted `pins`.  `ended` counts.  Afterwards read the pins again. */
enum err pins_end_stale(const struct cluster *, const struct pins *, const struct sightings *,
			int64_t now_us, size_t *ended, struct error *why) MUST_CHECK;

#endif
