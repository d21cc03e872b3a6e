/* restore/timeline_table.h - what the archive tells about its timelines. */
#ifndef RESTORE_TIMELINE_TABLE_H
#define RESTORE_TIMELINE_TABLE_H

#include "restore/plan_internal.h"
#include "restore/timeline.h"

struct timeline_table {
	struct history *path; /* owned, one for each row */
	struct timeline_row row[RESTORE_TIMELINES_MAX];
	size_t rows; /* newest first */
};

/* The newest timelines that have WAL or a backup, and those after them that have a history only.  Their WAL
 * is read `with_wal`, where there is more than one.  No row: no history can be read.  Release it in any
 * case. */
enum err timeline_table_make(struct planning *, bool with_wal,
			     struct timeline_table *out) MUST_CHECK;
void timeline_table_release(struct timeline_table *);

#endif
