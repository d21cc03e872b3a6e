/* commands/restore_timelines.h - the other timelines on which a restore's target lies. */
#ifndef COMMANDS_RESTORE_TIMELINES_H
#define COMMANDS_RESTORE_TIMELINES_H

#include "agent.h"
#include "restore/restore.h"

/* As text a line for each that is not followed and its command, which is the one that was typed with the
 * other timeline; "timelines" and "timeline_reason" of the JSON document. */
void restore_timelines_tell(struct agent *, const struct restore_request *,
			    const struct restore_plan *);

#endif
