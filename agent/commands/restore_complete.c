/* commands/restore_complete.c - by what a person sees that the server has replayed all that was restored.
 *
 * A hot standby lets everybody read while it still replays: rows that are counted then are too few, and
 * look lost.
 */
#include "commands/restore_complete.h"

#include <stdio.h>

/* "0/3002060", "the target" */
static void where_to(const struct restore_request *request, const struct restore_plan *plan,
		     char out[LSN_TEXT_MAX])
{
	if (request->kind == TARGET_BACKUP_END)
		lsn_to_text(plan->backup.stop, out);
	else if (plan->target_lsn.value != 0)
		lsn_to_text(plan->target_lsn, out);
	else
		(void)snprintf(out, LSN_TEXT_MAX, "the target"); /* fits */
}

void restore_complete_text(struct report *r, const struct restore_request *request,
			   const struct restore_plan *plan, bool is_started)
{
	char end[LSN_TEXT_MAX];
	const char *sign = "SELECT pg_is_in_recovery() answers f";

	where_to(request, plan, end);
	if (request->standby) {
		report_text(r,
			    "it replays WAL up to %s first, then what comes: that is there once "
			    "SELECT\npg_last_wal_replay_lsn() > '%s' answers t\n",
			    end, end);
		return;
	}
	if (is_started)
		return;
	if (plan->action == ACTION_PAUSE)
		sign = "SELECT pg_get_wal_replay_pause_state() answers paused";
	else if (plan->action == ACTION_SHUTDOWN)
		sign = "it has shut down by itself";
	report_text(r,
		    "when it is started it replays WAL up to %s, and can be read meanwhile: all is "
		    "there once\n%s\n",
		    end, sign);
}
