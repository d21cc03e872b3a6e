/* commands/show.c - `pgagent show BACKUP`: one backup in full. */
#include "agent.h"
#include "base/text.h"
#include "commands/backup_report.h"
#include "commands/backup_use.h"
#include "commands/catalog.h"
#include "commands/collations.h"
#include "commands/commands.h"
#include "commands/show_history.h"
#include "subject.h"

#include <inttypes.h>
#include <stdio.h>

static void say_size(struct report *r, const char *what, uint64_t value)
{
	char size[TEXT_SIZE_MAX];

	text_of_size(value, size);
	report_text(r, "%-16s %s\n", what, size);
}

static void say_origin(struct report *r, const struct summary *s)
{
	char parent[ATTEMPT_TEXT_MAX], start[LSN_TEXT_MAX], stop[LSN_TEXT_MAX];
	char began[BACKUP_TIME_MAX], took[BACKUP_TIME_MAX];

	lsn_to_text(s->start, start);
	lsn_to_text(s->stop, stop);
	backup_time_to_text(s->started_us, began);
	backup_time_to_text(s->finished_us, took);
	report_text(r, "%-16s %s (system identifier %" PRIu64 ")\n", "cluster", s->cluster,
		    s->system_identifier);
	report_text(r, "%-16s %d.%d%s\n", "server version", s->server_version / 10000,
		    s->server_version % 10000, s->from_standby ? ", read from a standby" : "");
	report_text(r, "%-16s %s UTC\n", "started", began);
	report_text(r, "%-16s %s UTC\n", "finished", took);
	report_text(r, "%-16s %" PRIu32 ", %s to %s\n", "timeline, WAL", s->timeline, start, stop);
	report_text(r, "%-16s %s\n", "type", s->incremental ? "incremental" : "full");
	attempt_to_text(&s->parent, parent);
	report_text(r, "%-16s %s\n", "parent",
		    s->has_parent ? parent : "none, every page was stored");
	report_text(r, "%-16s %s\n", "data directory",
		    s->data_directory[0] != '\0' ? s->data_directory : "not known");
	if (s->config_file[0] != '\0')
		report_text(r, "%-16s %s\n", "configuration", s->config_file);
	report_text(r, "%-16s %s by %s\n", "taken on", s->host, s->writer);
}

static void say_verified(struct report *r, const struct catalog_entry *entry)
{
	char at[BACKUP_TIME_MAX];

	backup_time_to_text(entry->verified_us, at);
	if (entry->verified_us != 0)
		report_text(r, "%-16s all it needs was whole at %s UTC\n", "verified", at);
	else if (entry->damaged_places == 0)
		report_text(r, "%-16s not proven; prove it: pgagent verify\n", "verified");
}

static void say_damaged(struct report *r, const struct places *places,
			const struct catalog_entry *entry)
{
	char at[BACKUP_TIME_MAX], where[256];

	if (entry->damaged_places == 0)
		return;
	backup_time_to_text(entry->damaged_us, at);
	catalog_places(places, entry->damaged_places, where, sizeof(where));
	report_text(r, "%-16s in %s, as verify found at %s UTC; what it hits: pgagent verify\n",
		    "DAMAGED", where, at);
}

static void say_backup(struct agent *agent, const struct manifest *manifest,
		       const struct backup_use *use, const struct catalog_entry *entry,
		       const char *where)
{
	const struct summary *s = &manifest->summary;
	struct report *r = &agent->report;
	char id[ATTEMPT_TEXT_MAX];

	attempt_to_text(&s->attempt, id);
	report_text(r, "backup %s\n\n", id);
	if (s->label[0] != '\0')
		report_text(r, "%-16s %s\n", "label", s->label);
	say_origin(r, s);
	report_text(r, "%-16s %" PRIu64 "\n", "files", s->files);
	say_size(r, "size", s->bytes_cluster);
	report_text(r, "%-16s %" PRIu64 "\n", "pages changed", s->pages_changed);
	say_size(r, "new", s->bytes_new);
	say_size(r, "renewed", s->bytes_renewed);
	say_size(r, "stored", s->bytes_stored);
	backup_use_say(r, use);
	for (size_t i = 0; i < s->tablespaces; i++)
		report_text(r, "%-16s %" PRIu32 " at %s\n", "tablespace", s->tablespace[i].oid,
			    s->tablespace[i].path);
	report_text(r, "%-16s %s\n", "repositories", where);
	report_text(r, "%-16s %s\n", "kept", entry->keep ? "yes, retention leaves it alone" : "no");
	say_verified(r, entry);
	if (s->checksum_failures == 0) {
		report_text(r, "%-16s %s\n", "checksums",
			    s->data_checksums == 1 ? "no failure" : "off in the server");
		return;
	}
	report_text(r, "%-16s %" PRIu64 " file(s) with wrong pages in the server\n", "checksums",
		    s->checksum_failures);
	for (size_t i = 0; i < s->bad_files; i++) {
		char text[BAD_FILE_TEXT_MAX];

		backup_bad_file_text(s->bad_file[i], text, sizeof(text));
		report_text(r, "%-16s %s\n", "", text);
	}
}

static void put_backup(json_t *root, const struct manifest *manifest, const struct backup_use *use,
		       const struct catalog_entry *entry, const char *where)
{
	const struct summary *s = &manifest->summary;
	json_t *tablespaces = json_array(), *bad = json_array();

	for (size_t i = 0; i < s->tablespaces; i++) {
		json_t *object = json_object();

		report_put(object, "oid", json_integer(s->tablespace[i].oid));
		report_put(object, "path", report_json_text(s->tablespace[i].path));
		(void)json_array_append_new(tablespaces,
					    object); /* without memory the dump fails */
	}
	for (size_t i = 0; i < s->bad_files; i++)
		(void)json_array_append_new(bad,
					    backup_bad_file_json(s->bad_file[i])); /* as above */
	backup_report_json(root, s);
	backup_use_json(root, use);
	report_put(root, "keep", json_boolean(entry->keep));
	report_put(root, "hidden", json_boolean(entry->hidden));
	report_put(root, "verified_at", report_json_time(entry->verified_us));
	report_put(root, "repositories", report_json_text(where));
	report_put(root, "data_directory",
		   report_json_text(s->data_directory[0] != '\0' ? s->data_directory : NULL));
	report_put(root, "tablespaces", tablespaces);
	report_put(root, "bad_files", bad);
}

/* The whole manifest, and what text was sorted by, from the first repository that has both. */
static enum err read_backup(const struct places *places, const struct catalog_entry *entry,
			    struct manifest **out, struct collations *collations, struct error *why)
{
	enum err e = ERR_MISSING;

	for (size_t i = 0; i < places->count && e != ERR_NONE; i++) {
		struct cluster cluster;

		if ((entry->places & (1u << i)) == 0)
			continue;
		manifest_free(*out);
		*out = NULL;
		collations_release(collations);
		cluster_init(&cluster, places->place[i].repository, entry->summary.cluster,
			     entry->summary.system_identifier);
		e = manifest_read(&cluster, &entry->summary.attempt, out, why);
		if (e == ERR_NONE)
			e = collations_read(&cluster, *out, collations, why);
	}
	return e;
}

static enum err show(struct agent *agent, const struct places *places,
		     const struct config_cluster *config, struct error *why)
{
	const char *given = option_text(&agent->options, OPTION_CLUSTER);
	const char *name = given != NULL ? given : config != NULL ? config->section.name : NULL;
	struct catalog catalog;
	const struct catalog_entry *entry;
	struct manifest *manifest = NULL;
	struct collations collations = {.count = 0};
	struct backup_use use;
	char where[256];
	enum err e = catalog_read(places, name, &catalog, why);

	if (e != ERR_NONE)
		return e;
	if (catalog_read_verified(places, &catalog, why) != ERR_NONE)
		report_warning(&agent->report, "when it was verified is not known: %s", why->text);
	e = catalog_find(&catalog, agent->options.arguments[0], &entry, why);
	if (e == ERR_NONE && option_given(&agent->options, OPTION_RELATION)) {
		e = show_history(agent, places, entry, why);
		goto out;
	}
	if (e == ERR_NONE)
		e = read_backup(places, entry, &manifest, &collations, why);
	if (e == ERR_NONE)
		e = backup_use_of(manifest, &use, why);
	if (e == ERR_NONE) {
		catalog_places(places, entry->places, where, sizeof(where));
		say_backup(agent, manifest, &use, entry, where);
		say_damaged(&agent->report, places, entry);
		collations_say(&agent->report, &collations);
		put_backup(agent->report.root, manifest, &use, entry, where);
		catalog_places(places, entry->damaged_places, where, sizeof(where));
		report_put(agent->report.root, "damaged_in",
			   report_json_text(entry->damaged_places != 0 ? where : NULL));
		report_put(agent->report.root, "collations", collations_json(&collations));
	}
out:
	collations_release(&collations);
	manifest_free(manifest);
	catalog_release(&catalog);
	return e;
}

int command_show(struct agent *agent)
{
	const struct config_cluster *config = NULL;
	struct places places = {.count = 0};
	struct error why;
	enum err e = ERR_NONE;
	int code = EXIT_DONE;

	if (option_given(&agent->options, OPTION_BLOCK) &&
	    !option_given(&agent->options, OPTION_RELATION))
		e = error_set(
			&why, ERR_CONFIG,
			"--block is a page of a relation: --relation DB.SCHEMA.NAME --block N");
	if (e == ERR_NONE)
		e = subject_config(agent, &config, &why);
	if (e == ERR_NONE) {
		e = places_open_to_read(agent, config, &places, &why);
		if (e == ERR_MISSING) {
			/* A repository that is not there is no "nothing matches". */
			code = agent_fail_as(agent, EXIT_FAILED, &why);
			goto out;
		}
	}
	if (e == ERR_NONE)
		e = show(agent, &places, config, &why);
	if (e != ERR_NONE)
		code = agent_fail(agent, &why);
out:
	places_close(&places);
	return code;
}
