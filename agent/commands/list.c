/* commands/list.c - `pgagent list`: which backups there are, which moments can be restored. */
#include "agent.h"
#include "base/text.h"
#include "commands/backup_report.h"
#include "commands/catalog.h"
#include "commands/commands.h"
#include "commands/window_report.h"
#include "subject.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Everything that list tells. */
struct listing {
	const struct places *places;
	const char *name;
	struct catalog catalog;
	struct window *window;
	size_t windows;
	bool windows_known;
};

static bool is_restorable(const struct listing *l, const struct summary *s)
{
	return !l->windows_known ||
	       windows_hold(l->window, l->windows, s->system_identifier, s->timeline, s->stop);
}

/* Where the backup is damaged, as bits: its manifest, or what verify has found. */
static unsigned damaged_in(const struct listing *l, const struct catalog_entry *entry)
{
	const struct catalog_damage *damage = catalog_damage_of(
		&l->catalog, entry->summary.system_identifier, &entry->summary.attempt);

	return entry->damaged_places | (damage != NULL ? damage->places : 0);
}

static void say_flags(struct report *r, const struct listing *l, const struct catalog_entry *entry)
{
	const struct summary *s = &entry->summary;
	unsigned damaged = damaged_in(l, entry);
	char where[256];

	if (entry->keep)
		report_text(r, " [keep]");
	if (entry->verified_us != 0) {
		char at[BACKUP_TIME_MAX];

		backup_time_to_text(entry->verified_us, at);
		report_text(r, " [verified %.10s]", at);
	}
	if (s->checksum_failures > 0)
		report_text(r, " [damaged in the server]");
	if (!is_restorable(l, s))
		report_text(r, " [NOT RESTORABLE: its WAL is missing]");
	if (damaged != 0) {
		catalog_places(l->places, damaged, where, sizeof(where));
		report_text(r, " [DAMAGED in %s]", where);
	}
	catalog_places(l->places, entry->places, where, sizeof(where));
	if (entry->places != (1u << l->places->count) - 1)
		report_text(r, " [only in %s]", where);
	report_text(r, "\n");
}

static void put_damage(json_t *object, const struct listing *l, unsigned places,
		       const char *problem)
{
	char where[256];

	catalog_places(l->places, places, where, sizeof(where));
	report_put(object, "damaged_in", report_json_text(places != 0 ? where : NULL));
	report_put(object, "problem", report_json_text(places != 0 ? problem : NULL));
}

/* The damage of one that can be read somewhere. */
static void put_entry_damage(json_t *object, const struct listing *l,
			     const struct catalog_entry *entry)
{
	const struct catalog_damage *damage = catalog_damage_of(
		&l->catalog, entry->summary.system_identifier, &entry->summary.attempt);
	char found[128], at[TIME_TEXT_MAX];

	time_to_text(entry->damaged_us, at);
	(void)snprintf(found, sizeof(found), "verify found at %s that not all of it is whole",
		       at); /* fits */
	report_put(object, "damaged", json_boolean((entry->places & ~entry->damaged_places) == 0));
	put_damage(object, l, damaged_in(l, entry), damage != NULL ? damage->text : found);
}

static void say_backup(struct agent *agent, const struct listing *l,
		       const struct catalog_entry *entry, json_t *object)
{
	const struct summary *s = &entry->summary;
	char id[ATTEMPT_TEXT_MAX], finished[BACKUP_TIME_MAX], where[256];
	char size[TEXT_SIZE_MAX], stored[TEXT_SIZE_MAX];

	attempt_to_text(&s->attempt, id);
	backup_time_to_text(s->finished_us, finished);
	text_of_size(s->bytes_cluster, size);
	text_of_size(s->bytes_stored, stored);
	report_text(&agent->report, "%-33s  %-19s  %8s  %8s  %2" PRIu32 "  %s", id, finished, size,
		    stored, s->timeline, s->label);
	say_flags(&agent->report, l, entry);
	catalog_places(l->places, entry->places, where, sizeof(where));
	backup_report_json(object, s);
	report_put(object, "keep", json_boolean(entry->keep));
	report_put(object, "hidden", json_boolean(entry->hidden));
	report_put(object, "verified_at", report_json_time(entry->verified_us));
	report_put(object, "repositories", report_json_text(where));
	report_put(object, "restorable",
		   l->windows_known ? json_boolean(is_restorable(l, s)) : json_null());
	put_entry_damage(object, l, entry);
}

/* One that can be read nowhere. */
static void say_damaged(struct agent *agent, const struct listing *l,
			const struct catalog_damage *damage, json_t *object)
{
	char id[ATTEMPT_TEXT_MAX], where[256];

	attempt_to_text(&damage->attempt, id);
	catalog_places(l->places, damage->places, where, sizeof(where));
	report_text(&agent->report, "%-33s  DAMAGED in %s: %s\n", id, where, damage->text);
	report_text(
		&agent->report,
		"%-33s  what it hits: pgagent verify %s; to remove it: pgagent expire --backup %s\n",
		"", id, id);
	backup_report_unknown_json(object, &damage->attempt, damage->cluster,
				   damage->system_identifier);
	report_put(object, "repositories", report_json_text(where));
	report_put(object, "restorable", json_false());
	report_put(object, "damaged", json_true());
	put_damage(object, l, damage->places, damage->text);
}

/* The damaged ones where their names put them among the others. */
static void say_backups(struct agent *agent, const struct listing *l)
{
	const struct catalog *catalog = &l->catalog;
	size_t i = catalog->count, j = catalog->damages;
	json_t *list = json_array();

	report_text(&agent->report, "%-33s  %-19s  %8s  %8s  %2s  %s\n", "backup", "finished (UTC)",
		    "size", "stored", "TL", "label");
	while (i > 0 || j > 0) {
		const struct catalog_entry *entry = i > 0 ? &catalog->entry[i - 1] : NULL;
		const struct catalog_damage *damage = j > 0 ? &catalog->damage[j - 1] : NULL;
		json_t *object;

		if (damage != NULL && catalog_entry_of(catalog, damage->system_identifier,
						       &damage->attempt) != NULL) {
			j--;
			continue; /* whole elsewhere */
		}
		object = json_object();
		if (damage != NULL &&
		    (entry == NULL ||
		     attempt_compare(&damage->attempt, &entry->summary.attempt) > 0)) {
			j--;
			say_damaged(agent, l, damage, object);
		} else {
			i--;
			say_backup(agent, l, entry, object);
		}
		(void)json_array_append_new(list, object); /* without memory the dump fails */
	}
	report_put(agent->report.root, "backups", list);
}

static void say_found(struct agent *agent, const struct listing *l, int *code)
{
	bool found = false;

	for (size_t i = 0; i < l->catalog.count; i++)
		found = found || l->catalog.entry[i].damaged_places != 0;
	if (found)
		report_text(&agent->report,
			    "DAMAGED is what verify found, until it finds it whole: "
			    "pgagent verify BACKUP says what it hits\n");
	if (l->catalog.wal_damage.count > 0)
		report_text(&agent->report,
			    "DAMAGED is WAL, too, as verify found: %zu segment(s), the last %s; no "
			    "restore gets past it where no other repository has it\n",
			    l->catalog.wal_damage.count, l->catalog.wal_damage.segment);
	report_put(agent->report.root, "damaged_segments",
		   report_json_u64(l->catalog.wal_damage.count));
	if (found || l->catalog.damages > 0 || l->catalog.wal_damage.count > 0)
		*code = EXIT_DAMAGED;
}

static void say_windows(struct agent *agent, const struct listing *l)
{
	json_t *list = json_array();

	report_text(&agent->report, "\n");
	for (size_t i = 0; i < l->windows; i++) {
		window_say(&agent->report, &l->window[i]);
		window_put(list, &l->window[i]);
	}
	if (l->catalog.count == 0)
		report_text(&agent->report, "NOTHING can be restored: no backup can be read; what "
					    "is wrong: pgagent verify; take a new one: pgagent "
					    "backup\n");
	else if (l->windows_known && l->windows == 0)
		report_text(&agent->report,
			    "NOTHING can be restored: the WAL that the backups need "
			    "is missing; take a new one: pgagent backup\n");
	report_text(
		&agent->report,
		"not proven by this list: that every byte can be read (pgagent verify) and that "
		"it starts (pgagent restore)\n");
	report_put(agent->report.root, "windows", list);
}

static void say_nothing_there(struct agent *agent, const char *name)
{
	report_text(&agent->report, "no backup of %s%s yet; take the first: pgagent backup\n",
		    name != NULL ? "cluster " : "any cluster", name != NULL ? name : "");
	report_put(agent->report.root, "backups", json_array());
	report_put(agent->report.root, "windows", json_array());
}

/* `code`: what list exits with although it told what it could. */
static enum err list(struct agent *agent, const struct places *places,
		     const struct config_cluster *config, int *code, struct error *why)
{
	struct listing l = {.places = places};
	struct subject subject;
	enum err e = subject_of_stored(agent, places, config, &subject, why);

	if (e == ERR_MISSING) {
		const char *given = option_text(&agent->options, OPTION_CLUSTER);

		say_nothing_there(agent, given != NULL    ? given
					 : config != NULL ? config->section.name
							  : NULL);
		return ERR_NONE;
	}
	l.name = subject.name;
	if (e == ERR_NONE)
		e = catalog_read(places, l.name, &l.catalog, why);
	if (e != ERR_NONE)
		return e;
	report_put(agent->report.root, "cluster", report_json_text(l.name));
	if (l.catalog.count == 0 && l.catalog.damages == 0) {
		say_nothing_there(agent, l.name);
		goto out;
	}
	if (catalog_read_verified(places, &l.catalog, why) != ERR_NONE)
		report_warning(&agent->report, "when backups were verified is not known: %s",
			       why->text);
	/* Unreadable WAL is no reason to hide the backups from somebody in need of one. */
	l.windows_known = windows_read_all(&agent->env, l.places, l.name, &l.catalog, &l.window,
					   &l.windows, why) == ERR_NONE;
	if (!l.windows_known) {
		report_warning(&agent->report, "what can be restored is not known: %s", why->text);
		*code = report_exit_code(EXITS_USUAL, why->kind, *agent->env.cancelled);
	}
	report_text(&agent->report, "cluster %s\n\n", l.name);
	say_backups(agent, &l);
	say_found(agent, &l, code);
	say_windows(agent, &l);
out:
	free(l.window);
	catalog_release(&l.catalog);
	return ERR_NONE;
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
		e = list(agent, &places, config, &code, &why);
	if (e != ERR_NONE)
		code = agent_fail(agent, &why);
	places_close(&places);
	return code;
}
