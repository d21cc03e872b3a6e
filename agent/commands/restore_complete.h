/* commands/restore_complete.h - by what a person sees that the server has replayed all that was restored. */
#ifndef COMMANDS_RESTORE_COMPLETE_H
#define COMMANDS_RESTORE_COMPLETE_H

#include "report.h"
#include "restore/restore.h"

/* Before the closing lines; nothing where --start has waited for it (`is_started`). */
void restore_complete_text(struct report *, const struct restore_request *,
			   const struct restore_plan *, bool is_started);

#endif
