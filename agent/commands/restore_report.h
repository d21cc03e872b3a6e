/* commands/restore_report.h - a restore in words and JSON fields: plan, result, how to go on. */
#ifndef COMMANDS_RESTORE_REPORT_H
#define COMMANDS_RESTORE_REPORT_H

#include "report.h"
#include "restore/restore.h"

/* Puts the fields of the contract into `object`. */
void restore_plan_json(json_t *object, const struct restore_request *, const struct restore_plan *);
void restore_plan_text(struct report *, const struct restore_request *,
		       const struct restore_plan *);
/* Every problem with what to do, or that there is none. */
void restore_verdict_text(struct report *, const struct restore_plan *);

/* The plan's first problem as an error: ERR_MISSING when the target is out of reach, ERR_FULL for
 * lack of space, else ERR_CONFIG. */
enum err restore_plan_error(const struct restore_plan *, struct error *why);

/* The three lines that end every restore.  `started` NULL: the server was not started; `source` is
 * " --config ... --cluster ...". */
struct restore_closing {
	const struct restore_request *request;
	const struct restore_plan *plan;
	const struct restore_result *result;
	const struct restore_started *started;
	const char *source;
};
/* Tables that nobody can read while the server is paused; also to JSON. */
void restore_locks_warn(struct report *, const struct restore_request *,
			const struct restore_result *, const struct restore_started *);
void restore_closing_text(struct report *, const struct restore_closing *);

/* " --to-time '...'": what was asked for; "" for the latest. */
void restore_target_option(const struct restore_request *, char *out, size_t size);

/* After a restore in place that has nothing of the lost server's own WAL. */
void restore_moved_warn(struct report *, const struct restore_plan *);

/* Before the restore: what its copy cannot be kept from. */
void restore_waking_warn(struct report *, const struct restore_plan *);

/* What was saved into how many of the `places` repositories. */
void restore_salvaged_report(struct report *, const struct restore_salvaged *, size_t places);

#endif
