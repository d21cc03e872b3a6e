/* commands/expire_report.c - what `pgagent expire` tells. */
#include "agent.h"
#include "base/text.h"
#include "commands/backup_report.h"
#include "commands/expire.h"
#include "commands/window_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const state_name[] = {
	[EXPIRE_KEPT] = "kept",
	[EXPIRE_GRACE] = "hidden",
	[EXPIRE_PINNED] = "pinned",
	[EXPIRE_REMOVED] = "removed",
};

void expire_say_backup(struct expire_part *part, const struct attempt *attempt,
		       const struct expire_result *result)
{
	struct report *r = &part->expiry->agent->report;
	bool confirm = part->expiry->confirm;
	char id[ATTEMPT_TEXT_MAX], due[BACKUP_TIME_MAX];
	json_t *object = json_object();

	attempt_to_text(attempt, id);
	backup_time_to_text(result->due_us, due);
	switch (result->outcome) {
	case EXPIRE_GRACE:
		report_text(
			r,
			"  %s  hidden, to be removed after %s UTC; until then: pgagent undelete %s\n",
			id, due, id);
		break;
	case EXPIRE_PINNED:
		report_text(r, "  %s  waits: %s reads it; a later run goes on\n", id,
			    result->pinned_by);
		break;
	case EXPIRE_REMOVED:
		report_text(r, "  %s  %s\n", id, confirm ? "removed" : "to be removed now");
		break;
	case EXPIRE_KEPT:
		report_text(r, "  %s  undeleted meanwhile, kept\n", id);
		break;
	}
	report_put(object, "id", report_json_text(id));
	report_put(object, "state",
		   report_json_text(result->outcome == EXPIRE_REMOVED && !confirm
					    ? "due"
					    : state_name[result->outcome]));
	report_put(object, "due_at",
		   report_json_time(result->outcome == EXPIRE_GRACE ? result->due_us : 0));
	report_put(object, "pinned_by",
		   report_json_text(result->outcome == EXPIRE_PINNED ? result->pinned_by : NULL));
	(void)json_array_append_new(part->backups, object); /* without memory the dump fails */
}

void expire_say_sweep(struct expire_part *part)
{
	struct expiry *x = part->expiry;
	struct report *r = &x->agent->report;
	char packs[TEXT_SIZE_MAX], wal[TEXT_SIZE_MAX], system[24];
	json_t *object = json_object();

	text_of_size(part->packs.packs_removed_bytes, packs);
	text_of_size(part->wal.removed_bytes, wal);
	if (part->count == 0)
		report_text(r, "  no backup is hidden or being removed\n");
	report_text(r,
		    "  %s %" PRIu64 " of %" PRIu64 " packs (%s) and %" PRIu64 " of %" PRIu64
		    " WAL files (%s)%s\n",
		    x->confirm ? "removed" : "frees", part->packs.packs_removed, part->packs.packs,
		    packs, part->wal.removed, part->wal.objects, wal,
		    x->confirm || part->count == part->due_now ? ""
							       : ", when all of these are gone");
	if (part->packs.held || part->wal.held)
		report_text(
			r,
			"  a copy into this repository is under way, or broke off less than a day ago: "
			"packs and\n  WAL stay until it is over; what one left that broke off on this "
			"host goes with --force\n");
	(void)snprintf(system, sizeof(system), "%" PRIu64, part->cluster.system_identifier);
	report_put(object, "repository", report_json_text(place_name(part->place)));
	report_put(object, "system_identifier", report_json_text(system));
	report_put(object, "backups", json_incref(part->backups));
	report_put(object, "packs", report_json_u64(part->packs.packs));
	report_put(object, "packs_removed", report_json_u64(part->packs.packs_removed));
	report_put(object, "bytes_freed",
		   report_json_u64(part->packs.packs_removed_bytes + part->wal.removed_bytes));
	report_put(object, "wal_files", report_json_u64(part->wal.objects));
	report_put(object, "wal_files_removed", report_json_u64(part->wal.removed));
	report_put(object, "held_by_copy", json_boolean(part->packs.held || part->wal.held));
	(void)json_array_append_new(x->repositories, object); /* as above */
}

static void say_windows(struct expiry *x, const struct catalog *catalog, const char *text,
			const char *name)
{
	struct report *r = &x->agent->report;
	struct window *window = NULL;
	json_t *list = json_array();
	size_t count = 0;
	struct error why;

	report_text(r, "%s\n", text);
	if (windows_read_all(&x->agent->env, x->places, x->config->section.name, catalog, &window,
			     &count, &why) != ERR_NONE)
		report_warning(r, "%s is not known: %s", text, why.text);
	else if (count == 0)
		report_text(r, "NOTHING can be restored\n");
	for (size_t i = 0; i < count; i++) {
		window_say(r, &window[i]);
		window_put(list, &window[i]);
	}
	free(window);
	report_put(x->agent->report.root, name, list);
}

void expire_say_windows(struct expiry *x, const struct catalog *catalog,
			const struct attempt *going, size_t count)
{
	struct catalog after = {.count = 0};

	after.entry = calloc(catalog->count + 1, sizeof(*after.entry));
	if (after.entry == NULL) {
		report_warning(&x->agent->report, "windows are not known: no memory");
		return;
	}
	for (size_t i = 0; i < catalog->count; i++) {
		bool goes = false;

		for (size_t j = 0; j < count; j++)
			goes = goes ||
			       attempt_compare(&catalog->entry[i].summary.attempt, &going[j]) == 0;
		if (!goes)
			after.entry[after.count++] = catalog->entry[i];
	}
	report_text(&x->agent->report, "\n");
	say_windows(x, catalog, "now:", "windows_before");
	if (after.count < catalog->count)
		say_windows(x, &after, "afterwards:", "windows_after");
	else
		report_text(&x->agent->report, "afterwards: the same\n");
	free(after.entry);
}
