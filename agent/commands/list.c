/* commands/list.c - `pgagent list`: which backups there are, which moments can be restored. */
#include "agent.h"
#include "base/text.h"
#include "commands/backup_report.h"
#include "commands/catalog.h"
#include "commands/commands.h"
#include "commands/windows.h"
#include "subject.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void say_backups(struct agent *agent, const struct places *places,
			const struct catalog *catalog)
{
	struct report *r = &agent->report;
	json_t *list = json_array();

	if (catalog->count > 0)
		report_text(r, "%-33s  %-19s  %8s  %8s  %2s  %s\n", "backup", "finished (UTC)",
			    "size", "stored", "TL", "label");
	for (size_t i = catalog->count; i-- > 0;) {
		const struct catalog_entry *entry = &catalog->entry[i];
		const struct summary *s = &entry->summary;
		char id[ATTEMPT_TEXT_MAX], finished[BACKUP_TIME_MAX], where[256];
		char size[TEXT_SIZE_MAX], stored[TEXT_SIZE_MAX];
		json_t *object = json_object();

		attempt_to_text(&s->attempt, id);
		backup_time_to_text(s->finished_us, finished);
		text_of_size(s->bytes_cluster, size);
		text_of_size(s->bytes_stored, stored);
		catalog_places(places, entry, where, sizeof(where));
		report_text(r, "%-33s  %-19s  %8s  %8s  %2" PRIu32 "  %s%s%s", id, finished, size,
			    stored, s->timeline, s->label, entry->keep ? " [keep]" : "",
			    s->checksum_failures > 0 ? " [damaged in the server]" : "");
		if (entry->places != (1u << places->count) - 1)
			report_text(r, " [only in %s]", where);
		report_text(r, "\n");
		backup_report_json(object, s);
		report_put(object, "keep", json_boolean(entry->keep));
		report_put(object, "hidden", json_boolean(entry->hidden));
		report_put(object, "repositories", report_json_text(where));
		(void)json_array_append_new(list, object); /* without memory the dump fails */
	}
	report_put(agent->report.root, "backups", list);
}

static json_t *gap_json(const struct window_gap *gap)
{
	json_t *object = json_object();

	report_put(object, "from_lsn", report_json_lsn(gap->from));
	report_put(object, "to_lsn", report_json_lsn(gap->to));
	return object;
}

static void put_window(json_t *list, const struct window *w)
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
	report_put(object, "to", report_json_time(w->latest_commit_us));
	report_put(object, "to_lsn", report_json_lsn(w->to));
	report_put(object, "latest_commit", report_json_time(w->latest_commit_us));
	report_put(object, "gaps", gaps);
	(void)json_array_append_new(list, object); /* as above */
}

static void say_window(struct agent *agent, const struct window *w)
{
	struct report *r = &agent->report;
	char from[BACKUP_TIME_MAX], to[BACKUP_TIME_MAX], a[LSN_TEXT_MAX], b[LSN_TEXT_MAX];

	lsn_to_text(w->from, a);
	lsn_to_text(w->to, b);
	backup_time_to_text(w->from_us, from);
	backup_time_to_text(w->latest_commit_us, to);
	report_text(r, "restorable on timeline %" PRIu32 ": from ", w->timeline);
	if (w->from_us != 0)
		report_text(r, "%s UTC (%s)", from, a);
	else
		report_text(r, "where it begins (%s)", a);
	if (w->latest_commit_us != 0)
		report_text(r, " to %s UTC, its last commit (%s)\n", to, b);
	else
		report_text(r, " to %s\n", b);
	for (size_t i = 0; i < w->gaps; i++) {
		lsn_to_text(w->gap[i].from, a);
		lsn_to_text(w->gap[i].to, b);
		report_text(r, "  but NOT between %s and %s: WAL is missing%s\n", a,
			    w->gap[i].to.value != 0 ? b : "later WAL",
			    i + 1 == w->gaps && w->gap[i].to.value > w->to.value
				    ? "; what follows needs a new backup: pgagent backup"
				    : "");
	}
}

/* The windows of every system identifier that the backups have, oldest first. */
static enum err say_windows(struct agent *agent, const struct places *places, const char *name,
			    const struct catalog *catalog, struct error *why)
{
	struct window *window = calloc(WINDOWS_MAX, sizeof(*window));
	json_t *list = json_array();
	uint64_t done[WINDOWS_MAX];
	size_t systems = 0;
	enum err e = ERR_NONE;

	if (window == NULL)
		e = error_set(why, ERR_MEMORY, "no memory to look for windows");
	for (size_t i = 0; i < catalog->count && e == ERR_NONE; i++) {
		uint64_t system = catalog->entry[i].summary.system_identifier;
		struct wal_archive archive = {.count = places->count};
		size_t count = 0;
		bool seen = false;

		for (size_t j = 0; j < systems; j++)
			seen = seen || done[j] == system;
		if (seen || systems == WINDOWS_MAX)
			continue;
		done[systems++] = system;
		for (size_t j = 0; j < places->count; j++)
			cluster_init(&archive.cluster[j], places->place[j].repository, name,
				     system);
		e = windows_read(&agent->env, &archive, catalog, system, window, &count, why);
		for (size_t j = 0; j < count && e == ERR_NONE; j++) {
			say_window(agent, &window[j]);
			put_window(list, &window[j]);
		}
	}
	report_put(agent->report.root, "windows", list);
	free(window);
	return e;
}

static void say_nothing_there(struct agent *agent, const char *name)
{
	report_text(&agent->report, "no backup of %s%s yet; take the first: pgagent backup\n",
		    name != NULL ? "cluster " : "any cluster", name != NULL ? name : "");
	report_put(agent->report.root, "backups", json_array());
	report_put(agent->report.root, "windows", json_array());
}

static enum err list(struct agent *agent, const struct places *places,
		     const struct config_cluster *config, struct error *why)
{
	struct catalog catalog = {.entry = NULL};
	struct subject subject;
	enum err e = subject_of_stored(agent, places, config, &subject, why);

	if (e == ERR_MISSING) {
		const char *given = option_text(&agent->options, OPTION_CLUSTER);

		say_nothing_there(agent, given != NULL    ? given
					 : config != NULL ? config->section.name
							  : NULL);
		return ERR_NONE;
	}
	if (e == ERR_NONE)
		e = catalog_read(places, subject.name, &catalog, why);
	if (e == ERR_NONE && catalog.count == 0) {
		say_nothing_there(agent, subject.name);
	} else if (e == ERR_NONE) {
		report_text(&agent->report, "cluster %s\n\n", subject.name);
		report_put(agent->report.root, "cluster", report_json_text(subject.name));
		say_backups(agent, places, &catalog);
		report_text(&agent->report, "\n");
		e = say_windows(agent, places, subject.name, &catalog, why);
	}
	if (e == ERR_NONE && catalog.count > 0)
		report_text(&agent->report,
			    "not proven by this list: that every byte can be read (pgagent verify) "
			    "and that it starts (pgagent restore)\n");
	catalog_release(&catalog);
	return e;
}

int command_list(struct agent *agent)
{
	const struct config_cluster *config = NULL;
	struct places places = {.count = 0};
	struct error why;
	enum err e = subject_config(agent, &config, &why);
	int code = EXIT_DONE;

	if (e == ERR_NONE)
		e = places_open_to_read(agent, config, &places, &why);
	if (e == ERR_NONE)
		e = list(agent, &places, config, &why);
	if (e != ERR_NONE)
		code = agent_fail(agent, &why);
	places_close(&places);
	return code;
}
