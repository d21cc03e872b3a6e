/* repo/wal_gaps.h - WAL that is missing and known to be: `gaps/<timeline>.<from>-<to>` (FORMAT.md sections 2
 * and 3).  A sweep puts one before it removes WAL between an older backup, which keeps just its own, and
 * what comes later, so that nobody takes the hole for a loss.
 */
#ifndef REPO_WAL_GAPS_H
#define REPO_WAL_GAPS_H

#include "pgformat/lsn.h"
#include "repo/repository.h"

enum { WAL_GAPS_MAX = 65536 };

struct wal_gap {
	uint32_t timeline;
	struct lsn from, to; /* [from, to) */
};
struct wal_gaps {
	struct wal_gap *gap; /* owned; by timeline, then by `from` */
	size_t count, capacity;
};

/* Those whose record is whole; what is damaged is verify's to tell.  It begins anew when one went meanwhile: a
 * sweep may have joined it with others.  ERR_LIMIT past WAL_GAPS_MAX.  Release it also after a failure. */
enum err wal_gaps_read(const struct cluster *, struct wal_gaps *out, struct error *why) MUST_CHECK;
enum err wal_gaps_add(struct wal_gaps *, const struct wal_gap *, struct error *why) MUST_CHECK;
void wal_gaps_release(struct wal_gaps *);

/* Pure: in order, and those that meet or overlap as one. */
void wal_gaps_join(struct wal_gaps *);

/* Pure: whether all of [from, to) of that timeline lies in known gaps. */
bool wal_gaps_cover(const struct wal_gaps *, const struct wal_gap *);

/* Durable when it returns; again is success. */
enum err wal_gap_put(const struct cluster *, const struct wal_gap *, const char *reason,
		     struct error *why) MUST_CHECK;
/* Not there is success. */
enum err wal_gap_remove(const struct cluster *, const struct wal_gap *,
			struct error *why) MUST_CHECK;

#endif
