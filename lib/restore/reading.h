/* restore/reading.h - beginning to read a backup: pinned first, its manifest read after that. */
#ifndef RESTORE_READING_H
#define RESTORE_READING_H

#include "repo/keeper.h"
#include "wal/archive.h"

struct reading {
	struct keeper *keeper; /* NULL: no repository could be written to */
	struct pin pin; /* the caller sets backup, and start and timeline where they are known */
};
/* Pins the backup in every repository; where that can't be done, warns and goes on.  Then reads the
 * manifest from the first repository that has it whole.  ERR_MISSING: there is no such backup, or it is
 * being removed.  After a failure nothing is pinned. */
enum err reading_begin(struct reading *, const struct env *, const struct wal_archive *,
		       struct manifest **out, struct error *why) MUST_CHECK;
/* Drops the pin. */
void reading_end(struct reading *);
/* Leaves the pin to the recovery, whose archive-get keeps it alive. */
void reading_leave(struct reading *);

#endif
