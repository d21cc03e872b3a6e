/* commands/restore_report.c - what a restore will do, and has done. */
#include "commands/restore_report.h"
#include "base/text.h"
#include "commands/backup_report.h"
#include "commands/restore_request.h"
#include "commands/restore_standby.h"
#include "escape.h"
#include "time_target.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool has_backup(const struct restore_plan *plan)
{
	return plan->backup.timeline != 0;
}

/* Name of the first or last segment that is needed; false when none is known. */
static bool segment_text(const struct restore_plan *plan, bool last, char out[WAL_NAME_MAX])
{
	const struct wal_reach *reach = &plan->reach;
	struct wal_name name;

	if (!has_backup(plan) || reach->segments == 0)
		return false;
	wal_segment_name(last ? plan->timeline : plan->backup.timeline,
			 last ? reach->last_segno : reach->first_segno,
			 plan->backup.wal_segment_bytes, &name);
	wal_name_to_text(&name, out);
	return true;
}

static json_t *target_json(const struct restore_request *request, const struct restore_plan *plan)
{
	json_t *target = json_object();

	report_put(target, "kind", report_json_text(restore_target_name(request->kind)));
	report_put(target, "requested", report_json_text(request->requested));
	report_put(target, "lsn", report_json_lsn(plan->target_lsn));
	report_put(target, "stop_lsn", report_json_lsn(plan->stop_behind));
	report_put(target, "time",
		   report_json_time(request->kind == TARGET_TIME ? request->time_us : 0));
	report_put(target, "xid",
		   request->kind == TARGET_XID ? report_json_u64(request->xid) : json_null());
	report_put(target, "timeline",
		   plan->timeline != 0 ? json_integer(plan->timeline) : json_null());
	return target;
}

static json_t *wal_json(const struct restore_plan *plan)
{
	char first[WAL_NAME_MAX], last[WAL_NAME_MAX];
	bool has_first = segment_text(plan, false, first),
	     has_last = segment_text(plan, true, last);
	json_t *wal = json_object();

	report_put(wal, "first", report_json_text(has_first ? first : NULL));
	report_put(wal, "last", report_json_text(has_last ? last : NULL));
	report_put(wal, "segments", report_json_u64(plan->reach.segments));
	report_put(wal, "bytes", report_json_u64(plan->wal_bytes));
	return wal;
}

/* "000000010000000000000007 to 000000010000000000000009 (3 segments, 12 commits, the last at ...)" */
static void salvage_text(const struct wal_salvage_found *found, char out[256])
{
	char first[WAL_NAME_MAX], last[WAL_NAME_MAX], moment[TIME_TEXT_MAX] = "";

	wal_name_to_text(&found->first, first);
	wal_name_to_text(&found->last, last);
	if (found->latest_us != 0)
		time_to_text(found->latest_us, moment);
	(void)snprintf(out, 256, "%s%s%s (%" PRIu64 " segment%s, %" PRIu64 " commit%s%s%s)", first,
		       found->segments > 1 ? " to " : "", found->segments > 1 ? last : "",
		       found->segments, found->segments == 1 ? "" : "s", found->commits,
		       found->commits == 1 ? "" : "s", *moment != '\0' ? ", the last at " : "",
		       moment); /* fits */
}

static json_t *salvage_json(const struct wal_salvage_found *found)
{
	char first[WAL_NAME_MAX], last[WAL_NAME_MAX];
	json_t *salvage = json_object();

	wal_name_to_text(&found->first, first);
	wal_name_to_text(&found->last, last);
	report_put(salvage, "first", report_json_text(first));
	report_put(salvage, "last", report_json_text(last));
	report_put(salvage, "segments", report_json_u64(found->segments));
	report_put(salvage, "end_lsn", report_json_lsn(found->end));
	report_put(salvage, "commits", report_json_u64(found->commits));
	report_put(salvage, "latest_commit", report_json_time(found->latest_us));
	return salvage;
}

static json_t *moved_json(const struct restore_plan *plan)
{
	json_t *moved;

	if (!plan->without_lost_wal)
		return json_null();
	moved = plan->moved_to[0] != '\0' ? salvage_json(&plan->moved) : json_object();
	report_put(moved, "directory",
		   report_json_text(plan->moved_to[0] != '\0' ? plan->moved_to : NULL));
	return moved;
}

static json_t *text_or_null(const char *text)
{
	return report_json_text(*text != '\0' ? text : NULL);
}

static json_t *raised_json(const struct restore_plan *plan)
{
	json_t *list = json_array();

	for (size_t i = 0; i < plan->raised; i++) {
		json_t *one = json_object();

		report_put(one, "name", report_json_text(plan->raise[i].name));
		report_put(one, "asked", text_or_null(plan->raise[i].asked));
		report_put(one, "value", json_integer(plan->raise[i].value));
		report_put(one, "configured", json_boolean(plan->raise[i].configured));
		report_put(one, "file", text_or_null(plan->raise[i].file));
		(void)json_array_append_new(list, one); /* without memory the dump fails */
	}
	return list;
}

void restore_plan_json(json_t *object, const struct restore_request *request,
		       const struct restore_plan *plan)
{
	json_t *problems = json_array();
	char id[ATTEMPT_TEXT_MAX];

	attempt_to_text(&plan->backup.attempt, id);
	for (size_t i = 0; i < plan->problems; i++) {
		const struct restore_problem *p = &plan->problem[i];
		json_t *problem = json_object();

		report_put(problem, "code", report_json_text(p->code));
		report_put(problem, "message", report_json_text(p->message));
		report_put(problem, "hint", report_json_text(*p->hint != '\0' ? p->hint : NULL));
		(void)json_array_append_new(problems, problem); /* without memory the dump fails */
	}
	report_put(object, "reachable", json_boolean(plan->reachable));
	report_put(object, "reason", report_json_text(*plan->reason != '\0' ? plan->reason : NULL));
	report_put(object, "backup", report_json_text(has_backup(plan) ? id : NULL));
	report_put(object, "side", json_boolean(plan->side));
	report_put(object, "standby", json_boolean(request->standby));
	report_put(object, "note", report_json_text(*plan->note != '\0' ? plan->note : NULL));
	report_put(object, "threat", text_or_null(plan->threat));
	report_put(object, "target", target_json(request, plan));
	report_put(object, "wal", wal_json(plan));
	report_put(object, "salvage",
		   plan->salvage.answer == WAL_SALVAGE_FOUND ? salvage_json(&plan->salvage)
							     : json_null());
	report_put(object, "unsalvaged", moved_json(plan));
	report_put(object, "wal_copied", report_json_u64(plan->wal_copied));
	report_put(object, "raised", raised_json(plan));
	report_put(object, "opens_subscriptions", report_json_text(plan->wakes));
	report_put(object, "bytes_to_write", report_json_u64(plan->bytes_to_write));
	report_put(object, "delta", json_boolean(plan->delta));
	report_put(object, "bytes_present", report_json_u64(plan->bytes_present));
	report_put(object, "bytes_free", report_json_u64(plan->bytes_free));
	report_put(object, "estimated_seconds",
		   plan->estimated_seconds < 0 ? json_null() : json_real(plan->estimated_seconds));
	report_put(object, "problems", problems);
}

/* What the started server takes on, other than what was asked for or was to be expected. */
static void settings_text(struct report *r, const struct restore_request *request,
			  const struct restore_plan *plan)
{
	for (size_t i = 0; i < plan->raised; i++) {
		const struct restore_raised *one = &plan->raise[i];
		bool known = one->asked[0] != '\0', file = one->file[0] != '\0';

		report_text(r,
			    "  setting     %s = %" PRId32 ", not %s%s%s%s: recovery needs no less "
			    "than the original had\n",
			    one->name, one->value,
			    !known ? "what its configuration says, which cannot "
				     "be read here"
			    : one->configured && !file ? "the default "
						       : "",
			    one->asked, file ? " as in " : "", one->file);
	}
	if (plan->wakes != NULL)
		report_text(
			r,
			"  BEWARE      %s opens the original's subscriptions in this copy as soon "
			"as that is promoted:\n"
			"              it stays in shared_preload_libraries, as replay may need it. "
			"--action pause\n"
			"              leaves the copy read-only, where it opens none\n",
			plan->wakes);
	if (plan->wal_copied > 0)
		report_text(r,
			    "  pg_wal      gets %" PRIu64
			    " segment(s): the recovery asks no agent\n",
			    plan->wal_copied);
	if (request->standby && request->keep_archiving)
		report_text(r, "  archiving   as the original's, from the promotion on\n");
}

static const char *where_to(const struct restore_request *request, const struct restore_plan *plan)
{
	if (!plan->side)
		return "in place: the recorded data directory";
	return request->standby ? "elsewhere than the recorded data directory"
				: "a side copy that can't disturb the running systems";
}

static const char *action_text(const struct restore_request *request, enum target_action action)
{
	if (request->standby)
		return restore_standby_text(request);
	switch (action) {
	case ACTION_PROMOTE:
		return "promote: it becomes a server of its own, on a new timeline";
	case ACTION_SHUTDOWN:
		return "shut down at the target";
	case ACTION_DEFAULT:
	case ACTION_PAUSE:
		break;
	}
	return "pause at the target, read-only, until you decide";
}

static void salvage_plan_text(struct report *r, const struct restore_plan *plan)
{
	char what[256], end[LSN_TEXT_MAX];

	if (plan->salvage.answer != WAL_SALVAGE_FOUND)
		return;
	salvage_text(&plan->salvage, what);
	lsn_to_text(plan->salvage.end, end);
	report_text(r,
		    "  salvage     %s/pg_wal has WAL that was never archived, up to %s:\n"
		    "              %s\n"
		    "              It is saved into the archive first, and counts in this plan\n",
		    plan->salvage_from, end, what);
}

/* A directory that was moved away, beside the target; without one a person may know of it. */
static void moved_plan_text(struct report *r, const struct restore_plan *plan)
{
	char what[256], typed[4 * sizeof(plan->moved_to)];

	if (!plan->without_lost_wal)
		return;
	if (plan->moved_to[0] == '\0') {
		report_text(r, "  not saved   what the lost server had committed and not archived; "
			       "where its data\n"
			       "              directory still is: --salvage-wal DIR\n");
		return;
	}
	salvage_text(&plan->moved, what);
	if (!escape_shell(plan->moved_to, typed, sizeof(typed)))
		(void)snprintf(typed, sizeof(typed), "DIR"); /* fits */
	report_text(r,
		    "  NOT SAVED   %s has WAL of this server that was never archived:\n"
		    "              %s\n"
		    "              To save it first, and restore it: --salvage-wal %s\n",
		    plan->moved_to, what, typed);
}

void restore_moved_warn(struct report *r, const struct restore_plan *plan)
{
	char what[256];

	if (!plan->without_lost_wal)
		return;
	if (plan->moved_to[0] == '\0') {
		report_warning(
			r, "what the lost server had committed and not archived is not in this "
			   "restore; if its data directory still exists, do not start this one, "
			   "and repeat the command with --delta --salvage-wal DIR");
		return;
	}
	salvage_text(&plan->moved, what);
	report_warning(
		r,
		"given up as asked: %s has WAL of this server that was never archived, and is not "
		"in this restore: %s",
		plan->moved_to, what);
}

void restore_waking_warn(struct report *r, const struct restore_plan *plan)
{
	if (plan->wakes != NULL)
		report_warning(
			r,
			"%s is loaded in this copy, as replay may need it: once promoted, the copy opens "
			"the original's subscriptions and takes their slots over, and rows are lost "
			"there. Promote it only where it cannot reach the other nodes; to look, "
			"--action pause",
			plan->wakes);
}

void restore_salvaged_report(struct report *r, const struct restore_salvaged *salvaged,
			     size_t places)
{
	const struct wal_salvage_found *found = &salvaged->found;
	char what[256], end[LSN_TEXT_MAX];

	if (salvaged->complete == 0)
		return;
	salvage_text(found, what);
	lsn_to_text(found->end, end);
	report_text(r, "salvaged %s, up to %s\n", what, end);
	if (salvaged->complete < places)
		report_warning(
			r,
			"the salvaged WAL is in %zu of %zu repositories only; once the others "
			"answer: pgagent copy --from REPO --to REPO",
			salvaged->complete, places);
	report_put(r->root, "salvaged", salvage_json(found));
}

static void target_text(struct report *r, const struct restore_request *request,
			const struct restore_plan *plan)
{
	char lsn[LSN_TEXT_MAX], moment[TIME_TARGET_TEXT_MAX];
	const char *edge = plan->target_inclusive ? "with the target itself" : "just before it";

	lsn_to_text(request->kind == TARGET_BACKUP_END ? plan->backup.stop : plan->target_lsn, lsn);
	switch (request->kind) {
	case TARGET_LATEST:
		report_text(r, "  target      all that is archived without a gap, up to %s\n", lsn);
		return;
	case TARGET_BACKUP_END:
		report_text(r, "  target      the end of the backup, %s\n", lsn);
		return;
	case TARGET_TIME:
		time_target_to_text(request->time_us, moment);
		report_text(r, "  target      time %s, %s\n", moment, edge);
		return;
	case TARGET_LSN:
		report_text(r, "  target      LSN %s, %s\n", lsn, edge);
		return;
	case TARGET_XID:
		report_text(r, "  target      transaction %" PRIu32 ", %s\n", request->xid, edge);
		return;
	case TARGET_NAME:
		report_text(r, "  target      restore point \"%s\"\n", request->name);
		return;
	}
}

void restore_plan_text(struct report *r, const struct restore_request *request,
		       const struct restore_plan *plan)
{
	char id[ATTEMPT_TEXT_MAX], finished[BACKUP_TIME_MAX], size[TEXT_SIZE_MAX];
	char first[WAL_NAME_MAX], last[WAL_NAME_MAX], space[TEXT_SIZE_MAX];

	report_text(r, "restore plan\n");
	if (has_backup(plan)) {
		attempt_to_text(&plan->backup.attempt, id);
		backup_time_to_text(plan->backup.finished_us, finished);
		report_text(r, "  backup      %s, finished %s UTC%s\n", id, finished,
			    plan->backup.checksum_failures > 0
				    ? ", TAKEN OF A SERVER WITH DAMAGED PAGES"
				    : "");
	}
	target_text(r, request, plan);
	if (plan->stop_behind.value != 0) {
		lsn_to_text(plan->stop_behind, first);
		report_text(r,
			    "  stops       behind the record at %s, with the same rows: what comes "
			    "until the target\n"
			    "              locks tables of a transaction that is cut off\n",
			    first);
	}
	if (plan->note[0] != '\0')
		report_text(r, "  note        %s\n", plan->note);
	if (plan->timeline != 0)
		report_text(r, "  timeline    %" PRIu32 "%s%s\n", plan->timeline,
			    plan->timeline_reason[0] != '\0' ? ": " : "", plan->timeline_reason);
	if (segment_text(plan, false, first) && segment_text(plan, true, last)) {
		text_of_size(plan->wal_bytes, size);
		report_text(r, "  WAL         %s to %s, %" PRIu64 " segment(s), %s\n", first, last,
			    plan->reach.segments, size);
	}
	if (plan->threat[0] != '\0')
		report_text(r,
			    "  AT RISK     %s:\n"
			    "              the restore is refused while that is under way\n",
			    plan->threat);
	salvage_plan_text(r, plan);
	moved_plan_text(r, plan);
	report_text(r, "  into        %s (%s)\n", request->directory, where_to(request, plan));
	for (size_t i = 0; i < plan->tablespaces; i++) {
		const struct restore_place *place = &plan->tablespace[i];
		bool named = place->name[0] != '\0';

		report_text(r, "  tablespace  %s%s%" PRIu32 "%s: %s -> %s\n", place->name,
			    named ? " (" : "", place->oid, named ? ")" : "", place->from,
			    place->to);
	}
	text_of_size(plan->bytes_to_write, size);
	text_of_size(plan->bytes_free, space);
	if (plan->bytes_to_write > 0) /* else no backup was found, and nothing was looked at */
		report_text(r, "  writes      %s%s; free there: %s\n",
			    plan->delta ? "at most " : "", size, space);
	settings_text(r, request, plan);
	report_text(r, "  then        %s\n", action_text(request, plan->action));
	if (plan->delta) {
		text_of_size(plan->bytes_present, size);
		report_text(r,
			    "  delta       %s lie there: every page is compared, what differs is "
			    "fetched and\n"
			    "              written, and what the backup does not have is removed\n",
			    size);
	} else if (plan->resumes) {
		report_text(r, "  note        the directory holds an interrupted restore of this "
			       "backup, which is begun anew\n");
	}
}

void restore_verdict_text(struct report *r, const struct restore_plan *plan)
{
	for (size_t i = 0; i < plan->problems; i++) {
		report_text(r, "PROBLEM: %s\n", plan->problem[i].message);
		if (*plan->problem[i].hint != '\0')
			report_text(r, "  %s\n", plan->problem[i].hint);
	}
	if (plan->reachable)
		report_text(r, "it can be done\n");
}

static enum err kind_of(const struct restore_plan *plan)
{
	const char *code = plan->problems > 0 ? plan->problem[0].code : "";

	if (strcmp(code, "no_space") == 0)
		return ERR_FULL;
	return plan->target_unreachable ? ERR_MISSING : ERR_CONFIG;
}

enum err restore_plan_error(const struct restore_plan *plan, struct error *why)
{
	enum err e = error_set(why, kind_of(plan), "restore: %s", plan->reason);

	if (plan->problems > 0 && *plan->problem[0].hint != '\0')
		error_hint(why, "%s", plan->problem[0].hint);
	return e;
}
