/* repo/decision.h - which backups exist: commit, abort, listing, pins (repository.md section 3).
 *
 * Backup: W1 pin_put -> W2 parent -> W3 packs -> W4 decision_check_packs -> W5 WAL durable ->
 * W6 manifest_commit -> W7 pin_drop.
 */
#ifndef REPO_DECISION_H
#define REPO_DECISION_H

#include "repo/manifest.h"

struct pin {
	char holder[64];  /* the attempt, or "restore-…" */
	const char *kind; /* "backup", "restore", ... */
	bool has_backup;
	/* Being read; of a running backup its parent, of "copy-to" what it is about to commit. */
	struct attempt backup;
	struct lsn start; /* of a backup; 0 = not known yet */
	uint32_t timeline;
	uint32_t n; /* the next heartbeat's number; kept by pin_put */
};
/* W1, and every heartbeat after it: puts `pins/<holder>/<n>` and counts n up; the one before it is
 * removed after the new one is there.  Taken numbers are skipped, so that a holder may go on where
 * another process of it left off. */
enum err pin_put(const struct cluster *, struct pin *, struct error *why) MUST_CHECK;
/* W7: removes every pin of the holder, best effort: the first failure is returned. */
enum err pin_drop(const struct cluster *, const char *holder, struct error *why) MUST_CHECK;
/* The same for those up to heartbeat `n`: a holder that was taken for dead and is not keeps its newer one. */
enum err pin_drop_until(const struct cluster *, const char *holder, uint32_t n,
			struct error *why) MUST_CHECK;

/* W4: lists every pack in the manifest's table and compares sizes.  ERR_CORRUPT names the pack. */
enum err decision_check_packs(const struct cluster *, const struct manifest *,
			      struct error *why) MUST_CHECK;

/* Of the manifest's table, by index: `there` (room for m->packs) says which packs are listed.  ERR_CORRUPT
 * names one of another size. */
enum err decision_find_packs(const struct cluster *, const struct manifest *, bool *there,
			     struct error *why) MUST_CHECK;

/* Decides an attempt as aborted: create-if-absent at the same key.  ERR_EXISTS: it was decided. */
enum err decision_abort(const struct cluster *, const struct attempt *, const char *reason,
			struct error *why) MUST_CHECK;

/* Whether the attempt is decided, as a backup or as none; what the object holds is not looked at. */
enum err decision_is_there(const struct cluster *, const struct attempt *, bool *out,
			   struct error *why) MUST_CHECK;

/* Whether the attempt was decided as aborted; anything else at its key, damage too, is not. */
enum err decision_is_aborted(const struct cluster *, const struct attempt *, bool *out,
			     struct error *why) MUST_CHECK;

/* Aborts attempts whose pins were left by dead processes of this host (same boot id, pid gone, or
 * an earlier boot), and drops their pins; pins of recoveries live by time and stay.  Others are left
 * alone, damaged pins too (an event for the observer).  `aborted` counts decisions made here. */
enum err decision_abort_dead(const struct cluster *, size_t *aborted, struct error *why) MUST_CHECK;

/* Every committed backup, oldest first, hidden and tombed ones left out (unless `all`).  A damaged
 * manifest is ERR_CORRUPT (and an event for the observer) after all others were visited, so that one
 * does not hide the rest. */
struct backup_info {
	const struct summary *summary; /* until the visit returns */
	bool hidden;                   /* or tombed */
	bool keep; /* the last word: the newest of keeps/, else what was asked for at birth */
	uint64_t manifest_bytes;
};
enum err backups_list(const struct cluster *, bool all,
		      enum err (*visit)(void *ctx, const struct backup_info *, struct error *why),
		      void *ctx, struct error *why) MUST_CHECK;

/* A backup of which the manifest, or what says whether it is hidden, can't be read. */
struct backup_damage {
	struct attempt attempt;
	bool keep;                  /* by keeps/; what was asked for at birth is not known */
	const struct error *reason; /* until the visit returns */
};
typedef enum err backup_damage_visit(void *ctx, const struct backup_damage *, struct error *why);
/* The same for who decides about a damaged one himself: `damaged` is called in its place, and its
 * answer is what counts; no event. */
enum err backups_list_all(const struct cluster *, bool all,
			  enum err (*visit)(void *ctx, const struct backup_info *,
					    struct error *why),
			  backup_damage_visit *damaged, void *ctx, struct error *why) MUST_CHECK;

/* Digest of the newest committed manifest and its generation, for `previous`; ERR_MISSING: none. */
enum err decision_newest(const struct cluster *, struct attempt *out, uint64_t *generation,
			 uint8_t sha256[CRYPTO_SHA256_BYTES], struct error *why) MUST_CHECK;
/* The newest attempt that is not aborted, a damaged one too; ERR_MISSING: none. */
enum err decision_newest_attempt(const struct cluster *, struct attempt *out,
				 struct error *why) MUST_CHECK;

#endif
