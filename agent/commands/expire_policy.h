/* commands/expire_policy.h - what the retention of a cluster says about the backups of one repository. */
#ifndef COMMANDS_EXPIRE_POLICY_H
#define COMMANDS_EXPIRE_POLICY_H

#include "commands/catalog.h"
#include "repo/retention_read.h"

/* Each repository keeps the promise by itself: what another one has may not be there when it is wanted. */
struct expire_policy {
	struct catalog catalog;            /* of this repository, hidden ones too */
	struct retention_backup *backup;   /* of each entry; owned, as the next two */
	struct retention_verdict *verdict; /* of each entry */
	struct attempt *alone;             /* of which just their own WAL is needed */
	size_t alones;
	/* The same when all that is hidden or to be hidden is gone, and no undelete can ask for WAL. */
	struct retention_verdict
		*later_verdict; /* of each entry that is left; owned, as the next */
	struct attempt *later_alone;
	size_t later_alones;
	struct retention_lineage lineage;
	struct retention_input input; /* what was decided about; refers to the above */
	bool decided;                 /* else nothing above but the catalog is set */
};

/* ERR_DENIED: a clock can't be trusted.  Release it also after a failure. */
enum err expire_policy_read(const struct env *, const struct places *, size_t place,
			    const struct config_cluster *, struct expire_policy *out,
			    struct error *why) MUST_CHECK;
void expire_policy_release(struct expire_policy *);

enum { EXPIRE_REASON_MAX = 256 };
/* Why entry `i` stays, in words: "the newest; in the window; last of 2026-11-26". */
void expire_policy_reason(const struct expire_policy *, size_t i, char out[EXPIRE_REASON_MAX]);
/* The names of those rules, for the document. */
json_t *expire_policy_rules(const struct expire_policy *, size_t i);
/* The settings that count: "retain_window 14d, retain_backups 2, ...". */
void expire_policy_settings(const struct config_cluster *, char out[EXPIRE_REASON_MAX]);

/* What the configuration of a cluster says. */
struct retention_policy expire_policy_of(const struct config_cluster *);

#endif
