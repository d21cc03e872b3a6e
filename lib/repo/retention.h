/* repo/retention.h - which backups a policy keeps, and how much WAL each of them needs.  Pure: what
 * there is and what time it is come in, verdicts come out.
 *
 * Time counts from the newest backup at most RETENTION_IDLE_US on: while none succeeds nothing gets older, so
 * that a policy never eats what nothing replaces.  Days, weeks (from Monday on), months and years are
 * those of UTC.
 */
#ifndef REPO_RETENTION_H
#define REPO_RETENTION_H

#include "pgformat/lsn.h"
#include "repo/attempt.h"

struct retention_policy {
	int64_t window_us; /* any moment of that long can be restored; 0 = none is promised */
	uint64_t backups;  /* the newest so many stay; at least 1 is taken */
	uint64_t daily, weekly, monthly, yearly;
	int64_t grace_us; /* WAL goes this much later than the window needs: it can't be undeleted */
};

/* False: it says nothing, and nothing goes by it. */
bool retention_is_set(const struct retention_policy *);

struct retention_backup {
	struct attempt attempt;
	uint64_t system_identifier;
	uint32_t timeline;
	struct lsn start, stop;
	int64_t finished_us; /* by the clock of the host that took it */
	int64_t verified_us; /* last proven whole; 0 = never */
	bool keep;           /* somebody marked it */
	bool hidden;         /* asked to go */
	bool unsound;        /* known not to be restorable: counts for no rule */
	bool checksum_failures;
};

/* A timeline of one system, and what led to it. */
struct retention_timeline {
	uint64_t system_identifier;
	uint32_t timeline;
	uint32_t parent;  /* 0 = it is the first */
	struct lsn begin; /* where it left its parent */
	bool unknown;     /* its history is missing: any lower one may lead to it */
	int64_t last_us; /* when its newest WAL was stored; 0 = it has none; INT64_MAX = not known */
};

struct retention_input {
	struct retention_policy policy;
	int64_t now_us;
	const struct retention_backup *backup; /* in any order */
	size_t backups;
	const struct retention_timeline *timeline; /* those of all systems, each once */
	size_t timelines;
};

/* Why a backup stays, as a set of bits. */
enum retention_rule {
	RETAIN_NEWEST = 1 << 0,
	RETAIN_SOUND = 1 << 1, /* the newest without wrong checksums, where the newest has some */
	RETAIN_VERIFIED = 1 << 2, /* the newest that was proven whole */
	RETAIN_WINDOW = 1 << 3,   /* it ended within the window */
	RETAIN_ANCHOR =
		1 << 4, /* the first moments of the window need it, or need it to be undamaged */
	RETAIN_BACKUPS = 1 << 5,
	RETAIN_DAILY = 1 << 6, /* the last of one of the last days that have any; and so on */
	RETAIN_WEEKLY = 1 << 7,
	RETAIN_MONTHLY = 1 << 8,
	RETAIN_YEARLY = 1 << 9,
	RETAIN_KEEP = 1 << 10,
	RETAIN_UNSOUND = 1 << 11, /* only by name: a policy does not judge what can't be restored */
	RETAIN_LINEAGE = 1 << 12, /* a timeline of which the history is missing may need it */
	RETAIN_ALL = 1 << 13      /* no rule is set: nothing goes by policy */
};

struct retention_verdict {
	unsigned rules; /* enum retention_rule; 0 = nothing keeps it, or it is hidden */
	bool drop;      /* shown, and nothing keeps it */
	/* All WAL from its start on is needed; else that from its start to its stop. */
	bool wal_to_end;
};

#define RETENTION_FUTURE_US (INT64_C(5) * 60 * 1000 * 1000) /* clocks of two hosts differ */
#define RETENTION_DISORDER_US                                                                      \
	(INT64_C(60) * 60 * 1000 * 1000) /* two backups at a time, the
								  first one's commit is late */
#define RETENTION_IDLE_US (INT64_C(24) * 60 * 60 * 1000 * 1000)

/* A verdict for each backup, in their order.  ERR_DENIED: a clock went wrong, so that nothing can be told by
 * time: a backup ends in the future, or ended before one that it follows.  Else ERR_MEMORY. */
enum err retention_decide(const struct retention_input *, struct retention_verdict *out,
			  struct error *why) MUST_CHECK;

/* The moment from which the window is promised, as retention_decide takes it; *idle: time stands still,
 * as no backup succeeds.  INT64_MIN: there is no sound backup. */
int64_t retention_window_from(const struct retention_input *, bool *idle);

/* Whether another system took over from this one, as after pg_upgrade: it is younger (the upper half of an
 * identifier is when initdb ran), and has a backup later than all of this one's.  What this one would write
 * on nobody waits for. */
bool retention_is_superseded(const struct retention_input *, uint64_t system_identifier);

enum { RETENTION_PERIOD_MAX = 24 };
/* The period of one of the four rules that a moment lies in: "2026-11-26", "week of 2026-11-23",
 * "2026-11", "2026". */
void retention_period(enum retention_rule, int64_t us, char out[RETENTION_PERIOD_MAX]);

/* ---- whether a clock can be trusted ---- */

/* What a clock showed, kept between runs. */
struct retention_clock {
	char boot[64];
	int64_t wall_us, since_boot_us;
};
void retention_clock_look(const struct env *, struct retention_clock *out);
#define RETENTION_JUMP_US (INT64_C(60) * 60 * 1000 * 1000)
/* How long a host may have been off between two runs: nothing there counts that time, so that it can't be
 * told from a clock that came up ahead.  Half of the window, so that a wrong clock leaves at least the
 * other half; a week at most, a holiday; never below a day and a half, or a host that is off at night, with
 * a short window, would be asked each morning. */
#define RETENTION_OFF_MAX_US (INT64_C(7) * 24 * 60 * 60 * 1000 * 1000)
#define RETENTION_OFF_MIN_US (INT64_C(36) * 60 * 60 * 1000 * 1000)
/* ERR_DENIED: since `before` the wall clock went back, within one boot further than time did, or across
 * boots further than a host may have been off. */
enum err retention_check_clock(const struct retention_policy *,
			       const struct retention_clock *before,
			       const struct retention_clock *now, struct error *why) MUST_CHECK;
void retention_clock_encode(const struct retention_clock *, struct writer *out);
/* ERR_CORRUPT: it is not what retention_clock_encode wrote. */
enum err retention_clock_decode(struct bytes text, struct retention_clock *out,
				struct error *why) MUST_CHECK;

#endif
