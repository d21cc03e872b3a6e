/* repo/verify.h - reading what is stored and proving it whole.
 *
 * A run reads what was longest unread first and remembers what it has proven (repo/verified.h), so
 * that the next one goes on where it ended.  Each pack is read once, however many backups refer to it:
 * its digest, every frame's authentication.  Pages are held against tag and CRC of the maps that name
 * them once, when a backup is new: maps and packs never change, so after that it is enough that the
 * packs are whole.  What was found is then named for every backup, by trying to read the pages it needs.
 *
 * It pins nothing: a long run would keep expired backups for days.  Instead, before it calls anything
 * damage, it looks whether the backup that needs it is still there and not being removed; packs go
 * only after their manifests.
 */
#ifndef REPO_VERIFY_H
#define REPO_VERIFY_H

#include "repo/decision.h"

enum {
	VERIFY_PERIOD_DAYS = 7, /* what was proven in the last days is not read again */
	VERIFY_JOBS_MAX = 16,
	/* Pages whose tags are checked together: 2 GiB of files; less when the time is limited, as a
	 * group that was begun is finished. */
	VERIFY_GROUP_PAGES = 1 << 18,
	VERIFY_GROUP_PAGES_SMALL = 1 << 16
};

/* What an archiver has not delivered so long after it was written is a hole.  A backup's own WAL comes
 * before that of an archiver which is behind; the nightly verification begins hours later. */
#define VERIFY_AWAIT_US (INT64_C(60) * 60 * 1000 * 1000)

struct verify_range {
	uint32_t first, last; /* blocks */
};

struct verify_finding {
	const char *key;      /* of the damaged object, or NULL */
	const char *backup;   /* attempt text, or NULL for WAL and what no backup needs */
	const char *file;     /* of the cluster, or a section of the backup, or NULL */
	const char *relation; /* DATABASE.SCHEMA.NAME, or NULL */
	/* Damaged pages, ascending: blocks of the relation, or of a file that belongs to none. */
	const struct verify_range *range;
	size_t ranges;
	const char *text;  /* what is wrong */
	const char *newer; /* of WAL: attempt text of a backup that does without it; NULL = none */
};

enum verify_state {
	VERIFY_WHOLE,     /* everything it needs is proven */
	VERIFY_DAMAGED,   /* it can't be restored in full */
	VERIFY_UNFINISHED /* nothing wrong was found, and not all was read yet */
};

struct verify_options {
	bool quick;                 /* presence and sizes only; nothing is remembered */
	bool all;                   /* also what was proven lately */
	bool bare;                  /* packs and pages alone: no WAL, nothing is remembered */
	unsigned jobs;              /* 1..VERIFY_JOBS_MAX; more count as that many */
	int64_t max_time_us;        /* then the run ends in order; 0 = when all is read */
	uint64_t max_rate;          /* bytes read per second; 0 = any */
	const struct attempt *only; /* this backup, and the WAL it needs; NULL = everything */
	/* Calls come one at a time. */
	void (*finding)(void *ctx, const struct verify_finding *);
	void (*backup)(void *ctx, const struct attempt *, enum verify_state); /* may be NULL */
	void *ctx;
};

struct verify_totals {
	uint64_t objects, frames, pages, bytes_read, files, wal_segments, findings;
	uint64_t backups;
	uint64_t packs_lately, wal_lately;         /* proven lately, and so not read */
	uint64_t packs_left, bytes_left, wal_left; /* due, and left for the next run */
	uint64_t backups_left;                     /* whose maps were not checked to their end */
	uint64_t
		wal_awaited; /* segments that an archiver may still deliver; an event tells of them */
};

/* Everything of a cluster in one repository, or one backup.  Counts are added to `totals`.
 * ERR_CORRUPT when there was any finding, after everything was looked at; ERR_MISSING: `only` is no
 * backup.  Any other failure (a store that does not answer is never called damage): what was proven
 * before it is remembered.  A record that may not be written is an event. */
enum err verify_cluster(const struct cluster *, const struct verify_options *,
			struct verify_totals *, struct error *why) MUST_CHECK;

#endif
