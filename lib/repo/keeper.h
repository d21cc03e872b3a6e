/* repo/keeper.h - keeps the pins of a long run alive from a thread of its own.
 *
 * A run may wait for many minutes (a spread checkpoint); an observer takes a holder without a new
 * heartbeat for 15 minutes for dead.
 */
#ifndef REPO_KEEPER_H
#define REPO_KEEPER_H

#include "repo/decision.h"

enum { KEEPER_CLUSTERS_MAX = 8, KEEPER_HEARTBEAT_US = 60 * 1000 * 1000 };

struct keeper;
/* Puts `pin` in every repository (W1), then a heartbeat every KEEPER_HEARTBEAT_US.  `pin->kind` and
 * the clusters are borrowed until keeper_stop.  A backup fails unless all of them took it; others go on,
 * with an event, when one did.  After a failure no pin is left. */
enum err keeper_start(const struct env *, const struct cluster *, size_t clusters,
		      const struct pin *pin, struct keeper **out, struct error *why) MUST_CHECK;
/* From now on pins name the start of the backup, so that WAL from there on is protected. */
enum err keeper_set_start(struct keeper *, struct lsn, uint32_t timeline,
			  struct error *why) MUST_CHECK;
/* From now on pins name this backup; on success every repository has one that does. */
enum err keeper_set_backup(struct keeper *, const struct attempt *, struct error *why) MUST_CHECK;
/* Stops the heartbeats; W7, best effort, when `drop`.  NULL is fine. */
void keeper_stop(struct keeper *, bool drop);
/* Stops the heartbeats; the pins stay, name no backup any more, and end after a day of silence.  NULL is
 * fine. */
void keeper_rest(struct keeper *);
/* Stops the heartbeats and leaves the pins to the recovery of what was restored: other processes keep
 * them up, and a day of silence ends them.  NULL is fine. */
void keeper_leave(struct keeper *);

#endif
