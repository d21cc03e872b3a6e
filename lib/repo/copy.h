/* repo/copy.h - brings into one repository of a family what it lacks of another, byte for byte.
 *
 * Order: identity -> WAL (history files first) -> backups, the newest first, each with W1 and W3 to W6 of
 * the protocol under pins of the copy itself (README.md, "Copying").  What a run that broke off has
 * brought over is found by the next one and not brought again.
 *
 * What is proven of what is copied, before it shows at the target: of packs the SHA-256 in the manifest;
 * of manifests and WAL every frame, the directory and the trailer; of clear records the HMAC.  What was at the
 * target before counts as there by its name (packs: and size); its bytes are not read.
 *
 * What the source lacks because retention removed it (gaps/) is noted at the target as far as it is lacking there
 * too, and no more: what the target has it must not lose unnoticed, and what it had lost before stays a loss.
 *
 * Not copied: hidden backups, WAL before all that the target has or gets, abort markers, verified/ and drills/ (nobody has verified the copy), index/
 * (made anew from the WAL), pins, keys and documents.
 */
#ifndef REPO_COPY_H
#define REPO_COPY_H

#include "repo/pins.h"

enum copy_outcome {
	COPY_DONE,    /* copied now */
	COPY_THERE,   /* the target has it */
	COPY_ABORTED, /* decided as aborted at the target: never copied there again */
	COPY_REMOVED, /* hidden at the target, or being removed there: not brought back */
	COPY_GONE,    /* it went from the source meanwhile */
	COPY_DAMAGED  /* it, or what is stored of it at the target, is damaged */
};

struct copy_totals {
	uint64_t backups[COPY_DAMAGED + 1]; /* by outcome */
	uint64_t packs, wal, others;        /* objects copied */
	uint64_t bytes;                     /* of them */
	uint64_t damaged;                   /* times that `damage` was called */
};

struct copy_options {
	uint64_t max_rate; /* bytes per second; 0 = unlimited */
	const struct sightings
		*seen; /* what this host has seen of pins (struct sweep_wait); NULL = nothing */
	/* Each backup that the source shows, once; `text` says why where it was not copied. */
	void (*backup)(void *ctx, const struct attempt *, enum copy_outcome, uint64_t bytes,
		       const char *text);
	/* Each damaged object, by its key; backups too. */
	void (*damage)(void *ctx, const char *key, const char *text);
	void *ctx;
};

/* ERR_CONFIG unless both are of one family, with the same encryption; the text says what differs. */
enum err copy_check_family(const struct repository *from, const struct repository *to,
			   struct error *why) MUST_CHECK;

/* One cluster of one system identifier.  Damage is told and is no failure: the rest is copied.  `totals` are
 * added to, also before a failure.  ERR_TRANSIENT: also when a sweep of the target did not end.
 * ERR_CONFIG: the target knows the system with other segments or blocks. */
enum err copy_cluster(const struct cluster *from, const struct cluster *to,
		      const struct copy_options *, struct copy_totals *totals,
		      struct error *why) MUST_CHECK;

#endif
