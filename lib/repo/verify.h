/* repo/verify.h - reading what is stored and proving it whole.
 *
 * One finding per damaged thing goes to `finding`; verification goes on after it.  The result is
 * ERR_CORRUPT when there was any, after everything was looked at.
 */
#ifndef REPO_VERIFY_H
#define REPO_VERIFY_H

#include "repo/decision.h"

struct verify_finding {
	const char *key;    /* of the damaged object */
	const char *backup; /* attempt text, or NULL for WAL */
	const char *file;   /* of the cluster, or NULL */
	const char *text;   /* what is wrong */
};

struct verify_options {
	bool quick; /* presence and sizes only */
	unsigned jobs;
	void (*finding)(void *ctx, const struct verify_finding *); /* one at a time */
	void *ctx;
};

struct verify_totals {
	uint64_t objects, frames, pages, bytes_read, files, wal_segments, findings;
};

/* One backup: every pack's digest and frames, every page's tag and CRC, every file's CRC, every
 * section; W4's sizes. */
enum err verify_backup(const struct cluster *, const struct attempt *,
		       const struct verify_options *, struct verify_totals *,
		       struct error *why) MUST_CHECK;
/* Every WAL object of the cluster: opens, digest; from each backup's start to the newest segment
 * of its timeline no hole. */
enum err verify_wal(const struct cluster *, const struct verify_options *, struct verify_totals *,
		    struct error *why) MUST_CHECK;
/* Clear records (format, identity, pins, ...), key slots parse; orphans are no damage. */
enum err verify_records(const struct cluster *, const struct verify_options *,
			struct verify_totals *, struct error *why) MUST_CHECK;

#endif
