/* commands/expire_after.c - what `pgagent backup` removes after its commit: as `pgagent expire --confirm`. */
#include "agent.h"
#include "base/text.h"
#include "commands/expire.h"
#include "lock.h"

#include <inttypes.h>

static void say(struct expiry *x, const struct error *failed)
{
	struct report *r = &x->agent->report;
	char freed[TEXT_SIZE_MAX];
	json_t *object = json_object();

	text_of_size(x->freed_bytes, freed);
	if (x->hidden + x->removed > 0 || x->freed_bytes > 0)
		report_text(r,
			    "retention: %" PRIu64 " backup(s) hidden, %" PRIu64
			    " removed, %s freed; pgagent expire tells which and why\n",
			    x->hidden, x->removed, freed);
	report_put(object, "hidden", report_json_u64(x->hidden));
	report_put(object, "removed", report_json_u64(x->removed));
	report_put(object, "bytes_freed", report_json_u64(x->freed_bytes));
	report_put(object, "error", report_json_text(failed != NULL ? failed->text : NULL));
	report_put(r->root, "expire", object);
	if (failed == NULL)
		return;
	report_warning(r, "the backup is complete, but not all that is due was removed: %s",
		       failed->text);
	report_warning(r, "%s",
		       *failed->hint != '\0' ? failed->hint
					     : "see what stands in the way: pgagent expire");
}

int expire_after_backup(struct agent *agent, const struct config_cluster *config,
			const struct places *places)
{
	struct expiry x = {.agent = agent,
			   .config = config,
			   .places = places,
			   .confirm = true,
			   .quiet = true,
			   .failures = {.report = &agent->report},
			   .repositories = json_array()};
	struct lock lock = {.fd = -1};
	struct error why;
	int code = EXIT_DONE;
	enum err e = expire_lock(agent, config, &lock, &why);

	if (e == ERR_EXISTS) {
		log_event(&agent->log, LEVEL_INFO,
			  "another run removes backups right now: what is due is left to it");
		report_put(agent->report.root, "expire", json_null());
		goto out;
	}
	if (e == ERR_NONE)
		e = expire_run(&x, &why);
	progress_erase(&agent->progress);
	say(&x, e != ERR_NONE ? &why : NULL);
	expire_note_outcome(agent, config, e != ERR_NONE ? &why : NULL);
	if (e == ERR_CANCELLED)
		code = report_exit_code(EXITS_USUAL, e, *agent->env.cancelled);
out:
	expire_release(&x);
	lock_release(&lock);
	return code;
}
