/* repo/retention_read.h - what a policy has to know, read from a repository: which timelines there are and
 * when each ended, which backups were proven whole, which can't be restored.
 */
#ifndef REPO_RETENTION_READ_H
#define REPO_RETENTION_READ_H

#include "repo/repository.h"
#include "repo/retention.h"

struct retention_lineage {
	struct retention_timeline *timeline; /* owned */
	size_t count, capacity;
};
void retention_lineage_release(struct retention_lineage *);

/* For one system's part of a cluster: adds its timelines, and fills in `verified_us` and `unsound` of its
 * backups, of which the rest is set; those of other systems are passed over.  A backup is unsound when its own
 * WAL is not there, or when verification found it damaged and not whole since. */
enum err retention_read(const struct cluster *, struct retention_backup *, size_t backups,
			struct retention_lineage *, struct error *why) MUST_CHECK;

#endif
