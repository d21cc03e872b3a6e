/* commands/config_recover.c - `pgagent config recover [BACKUP]`: the configuration that a backup carries.
 *
 * For the machine that has a repository and its key and nothing else.  What is printed can be read as a
 * configuration once what it marks is filled in.
 */
#include "commands/config_recover.h"
#include "commands/backup_report.h"
#include "commands/catalog.h"
#include "commands/commands.h"
#include "config_stored.h"
#include "subject.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From the first repository that has it whole; ERR_MISSING when the backup carries none. */
static enum err read_section(const struct places *places, const struct catalog_entry *entry,
			     uint8_t **text, size_t *len, struct error *why)
{
	struct error first = {.kind = ERR_NONE};

	for (size_t i = 0; i < places->count; i++) {
		struct manifest *manifest = NULL;
		struct cluster cluster;
		enum err e;

		if ((entry->places & (1u << i)) == 0)
			continue;
		cluster_init(&cluster, places->place[i].repository, entry->summary.cluster,
			     entry->summary.system_identifier);
		e = manifest_read(&cluster, &entry->summary.attempt, &manifest, why);
		if (e == ERR_NONE)
			e = section_read(&cluster, manifest, SECTION_AGENT_CONFIG,
					 CONFIG_STORED_MAX, text, len, why);
		manifest_free(manifest);
		if (e == ERR_NONE)
			return ERR_NONE;
		if (first.kind == ERR_NONE)
			first = *why;
	}
	*why = first;
	return first.kind;
}

/* Whether a section names the repository where it lies now. */
static bool has_path(const char *text, const char *path)
{
	char line[PATH_MAX + 16];
	int n = snprintf(line, sizeof(line), "\npath=%s\n", path);

	return n > 0 && (size_t)n < sizeof(line) && strstr(text, line) != NULL;
}

static void say(struct agent *agent, const struct places *places, const struct summary *s,
		const char *text)
{
	char id[ATTEMPT_TEXT_MAX], finished[BACKUP_TIME_MAX];
	struct report *r = &agent->report;

	attempt_to_text(&s->attempt, id);
	backup_time_to_text(s->finished_us, finished);
	report_text(r,
		    "; the configuration that backup %s carries, taken on %s, finished %s UTC\n"
		    "; for " CONFIG_FILE_DEFAULT ", mode 0640, owned by the user that runs "
		    "PostgreSQL; then pgagent config check\n%s\n%s",
		    id, s->host, finished,
		    has_path(text, places->place[0].config->path) ? ""
								  : CONFIG_FILL_IN
			    "`path`: none is that of the repository which this was "
			    "read from\n",
		    text);
	report_put(r->root, "backup", report_json_text(id));
	report_put(r->root, "host", report_json_text(s->host));
	report_put(r->root, "finished_at", report_json_time(s->finished_us));
	report_put(r->root, "configuration", report_json_text(text));
}

static enum err recover(struct agent *agent, const struct places *places,
			const struct config_cluster *config, struct error *why)
{
	const char *given = option_text(&agent->options, OPTION_CLUSTER);
	const char *name = given != NULL ? given : config != NULL ? config->section.name : NULL;
	const char *wanted =
		agent->options.arguments_count > 1 ? agent->options.arguments[1] : "latest";
	const struct catalog_entry *entry;
	struct catalog catalog;
	char id[ATTEMPT_TEXT_MAX];
	uint8_t *text = NULL;
	size_t len = 0;
	enum err e = catalog_read(places, name, &catalog, why);

	if (e != ERR_NONE)
		return e;
	e = catalog_find(&catalog, wanted, &entry, why);
	if (e == ERR_NONE) {
		attempt_to_text(&entry->summary.attempt, id);
		e = read_section(places, entry, &text, &len, why);
		if (e == ERR_NONE)
			say(agent, places, &entry->summary, (const char *)text);
		if (e == ERR_MISSING) {
			(void)error_set(why, ERR_MISSING,
					"backup %s carries no configuration: an older pgagent "
					"took it",
					id);
			error_hint(why, "another one may: pgagent list, then pgagent config "
					"recover BACKUP; or begin with the example");
		}
	}
	free(text);
	catalog_release(&catalog);
	return e;
}

int config_recover(struct agent *agent)
{
	const struct config_cluster *config = NULL;
	struct places places = {.count = 0};
	struct error why;
	enum err e = agent_load_config(agent, &why);

	if (e == ERR_NONE)
		e = subject_config(agent, &config, &why);
	if (e == ERR_NONE)
		e = places_open_to_read(agent, config, &places, &why);
	if (e == ERR_NONE)
		e = recover(agent, &places, config, &why);
	places_close(&places);
	return e == ERR_NONE ? EXIT_DONE : agent_fail(agent, &why);
}
