/* commands/window_report.c - one window as text and as JSON. */
#include "commands/window_report.h"

#include <inttypes.h>
#include <stdio.h>

static json_t *gap_json(const struct window_gap *gap)
{
	json_t *object = json_object();

	report_put(object, "from_lsn", report_json_lsn(gap->from));
	report_put(object, "to_lsn", report_json_lsn(gap->to));
	report_put(object, "by_retention", json_boolean(gap->by_retention));
	return object;
}

void window_put(json_t *list, const struct window *w)
{
	json_t *object = json_object(), *gaps = json_array();
	char system[24];

	(void)snprintf(system, sizeof(system), "%" PRIu64, w->system_identifier); /* fits */
	for (size_t i = 0; i < w->gaps; i++)
		(void)json_array_append_new(gaps, gap_json(&w->gap[i])); /* as above */
	report_put(object, "system_identifier", report_json_text(system));
	report_put(object, "timeline", json_integer(w->timeline));
	report_put(object, "from", report_json_time(w->from_us));
	report_put(object, "from_lsn", report_json_lsn(w->from));
	report_put(object, "to", report_json_time(window_to_us(w)));
	report_put(object, "to_lsn", report_json_lsn(w->to));
	report_put(object, "latest_commit", report_json_time(w->latest_commit_us));
	report_put(object, "gaps", gaps);
	(void)json_array_append_new(list, object); /* as above */
}

void window_say(struct report *r, const struct window *w)
{
	char from[TIME_TEXT_MAX], to[TIME_TEXT_MAX], a[LSN_TEXT_MAX], b[LSN_TEXT_MAX];

	lsn_to_text(w->from, a);
	lsn_to_text(w->to, b);
	/* To the microsecond, since people type them: a second cut short would leave out the last
	 * commits, or lie before the first backup. */
	time_to_text(w->from_us, from);
	time_to_text(w->latest_commit_us, to);
	report_text(r, "restorable on timeline %" PRIu32 ": from ", w->timeline);
	report_text(r, "%s%s%s (%s)", w->entered ? "where it begins" : "",
		    w->entered && w->from_us != 0 ? ", " : "", w->from_us != 0 ? from : "", a);
	if (w->latest_commit_us != 0 && w->latest_commit_us < w->from_us)
		report_text(r, " to %s, without a commit since\n", b);
	else if (w->latest_commit_us != 0)
		report_text(r, " to %s, its last commit (%s)\n", to, b);
	else
		report_text(r, " to %s\n", b);
	for (size_t i = 0; i < w->gaps; i++) {
		lsn_to_text(w->gap[i].from, a);
		lsn_to_text(w->gap[i].to, b);
		report_text(r, "  but NOT between %s and %s: %s%s\n", a,
			    w->gap[i].to.value != 0 ? b : "later WAL",
			    w->gap[i].by_retention
				    ? "retention keeps the older backups only as they were "
				      "(--to-backup-end)"
				    : "WAL is missing",
			    i + 1 == w->gaps && w->gap[i].to.value > w->to.value
				    ? "; what follows needs a new backup: pgagent backup"
				    : "");
	}
}
