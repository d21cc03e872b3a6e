/* commands/restore_in_place.h - what is said of a restore over the server's own directory, and of no other. */
#ifndef COMMANDS_RESTORE_IN_PLACE_H
#define COMMANDS_RESTORE_IN_PLACE_H

#include "report.h"
#include "restore/restore.h"

/* The directory is the server's own and not empty: the hint becomes the command that restores over it.
 * `source` is " --config ... --cluster ...". */
void restore_in_place_hint(struct restore_plan *, const struct restore_request *,
			   const char *source);
/* What is different about a server that is restored over itself, before the closing lines. */
void restore_in_place_text(struct report *, const struct restore_request *,
			   const struct restore_plan *);

#endif
