/* commands/status.c - `pgagent status`: one verdict with reasons.
 *
 * It only looks: nothing is written, locked or switched.  What can be seen of the server and its archiver is
 * asked by the links of check, what can be restored by what list computes.
 */
#include "commands/status.h"
#include "base/text.h"
#include "commands/commands.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- repositories ---- */

static void open_places(struct status *s)
{
	struct check *c = &s->check;
	struct error why;

	if (places_open_to_read(c->agent, c->config, &c->places, &why) != ERR_NONE) {
		c->repository_failed = true;
		check_fail(c, "repository", &why);
	} else if (c->places.silent > 0) {
		c->repository_failed = true;
		check_fail(c, "repository", &c->places.why_silent);
	}
}

static void read_stored(struct status *s)
{
	struct check *c = &s->check;
	const char *name = c->config->section.name;
	struct error why;

	if (!stored_read(c, &c->places, &s->stored))
		return;
	if (windows_read_all(&c->agent->env, &c->places, name, &s->stored.catalog, &s->window,
			     &s->windows, &why) != ERR_NONE)
		check_fail(c, "windows", &why);
}

/* The newest backup and the newest moment of one system. */
static void choose(struct status *s)
{
	const struct catalog *catalog = &s->stored.catalog;
	const struct check *c = &s->check;

	if (c->has_system)
		s->system_identifier = c->system_identifier;
	else if (catalog->count > 0)
		s->system_identifier = catalog->entry[catalog->count - 1].summary.system_identifier;
	for (size_t i = 0; i < catalog->count; i++) {
		const struct catalog_entry *entry = &catalog->entry[i];

		if (entry->summary.system_identifier != s->system_identifier)
			continue;
		s->newest = entry;
		if (entry->verified_us > s->verified_us)
			s->verified_us = entry->verified_us;
	}
	for (size_t i = 0; i < s->windows; i++) {
		const struct window *w = &s->window[i];

		if (w->system_identifier != s->system_identifier)
			continue;
		if (w->from_us != 0 && (s->from_us == 0 || w->from_us < s->from_us))
			s->from_us = w->from_us;
		/* In order of timelines; the server's own comes before a later one of somebody else. */
		if (s->current == NULL || !c->has_system || s->current->timeline != c->timeline)
			s->current = w;
	}
	if (s->current == NULL || s->newest == NULL)
		return;
	s->restorable_us = window_to_us(s->current);
	if (s->newest->summary.finished_us > s->restorable_us &&
	    windows_hold(s->current, 1, s->system_identifier, s->newest->summary.timeline,
			 s->newest->summary.stop))
		s->restorable_us = s->newest->summary.finished_us;
}

/* ---- what is wrong with it ---- */

static void judge_newest(struct status *s)
{
	const struct summary *newest = &s->newest->summary;
	char id[ATTEMPT_TEXT_MAX], age[TEXT_DURATION_MAX];

	attempt_to_text(&newest->attempt, id);
	text_of_duration(s->now_us - newest->finished_us, age);
	if (newest->checksum_failures > 0)
		check_say(&s->check, CHECK_ERROR, "checksums",
			  "pgagent show latest lists the files; a moment before the damage can be "
			  "restored beside the server",
			  "the newest backup, %s, met %" PRIu64
			  " page(s) with a wrong checksum: the server's data is damaged",
			  id, newest->checksum_failures);
	if (check_backup_is_overdue(s->check.config->backup_schedule,
				    s->now_us - newest->finished_us))
		check_say(
			&s->check, CHECK_WARNING, "backup",
			"see why none came: systemctl list-timers 'pgagent-*'; then: pgagent backup",
			"the newest backup, %s, is %s old, and backup_schedule is \"%s\"", id, age,
			s->check.config->backup_schedule);
	if (s->window != NULL && !windows_hold(s->window, s->windows, s->system_identifier,
					       newest->timeline, newest->stop))
		check_say(&s->check, CHECK_ERROR, "window", "take a new one: pgagent backup",
			  "the newest backup, %s, can't be restored: its WAL is missing", id);
}

/* A hole at the end is behind all that can be restored: what the server does from then on is lost. */
static void judge_holes(struct status *s)
{
	for (size_t i = 0; s->current != NULL && i < s->current->gaps; i++) {
		const struct window_gap *gap = &s->current->gap[i];
		bool last = gap->to.value == 0 || gap->to.value > s->current->to.value;
		char from[LSN_TEXT_MAX], to[LSN_TEXT_MAX];

		if (gap->by_retention)
			continue;
		lsn_to_text(gap->from, from);
		lsn_to_text(gap->to, to);
		if (last)
			check_say(&s->check, CHECK_ERROR, "window",
				  "take a new backup, from which WAL counts again: pgagent backup",
				  "WAL is missing from %s on: nothing later can be restored", from);
		else
			check_say(&s->check, CHECK_WARNING, "window",
				  "see where: pgagent list; another repository may have it",
				  "no moment between %s and %s can be restored: WAL is missing",
				  from, to);
	}
}

static void judge(struct status *s)
{
	struct check *c = &s->check;

	if (c->places.count == 0)
		return; /* said */
	if (s->newest == NULL)
		check_say(c, CHECK_ERROR, "backup",
			  s->stored.catalog.count > 0 ? "after pg_upgrade or initdb: pgagent init "
							"--upgrade, then pgagent backup; else "
							"conninfo leads to another server"
						      : "take the first: pgagent backup",
			  "there is no backup of %s%s", c->config->section.name,
			  s->stored.catalog.count > 0 ? " under its system identifier" : "");
	else
		judge_newest(s);
	judge_holes(s);
	stored_judge(c, &s->stored);
}

int command_status(struct agent *agent)
{
	struct status s = {.check = {.agent = agent, .quiet = true}};
	struct check *c = &s.check;
	struct error why;
	int code;

	if (config_cluster(&agent->config, option_text(&agent->options, OPTION_CLUSTER), &c->config,
			   &why) != ERR_NONE)
		return agent_fail(agent, &why);
	c->links = json_array();
	s.now_us = clock_now_us(agent->env.clock);
	if (check_connect(c)) {
		check_archiving(c);
		if (c->sql != NULL && c->config->wal_streaming)
			check_slot(c);
	}
	open_places(&s);
	if (c->places.count > 0)
		read_stored(&s);
	choose(&s);
	judge(&s);
	check_round_trip(c); /* quiet: only what the server says it archived */
	check_archiver(c);
	check_retention(c);
	session_close(c->sql);
	session_close(c->replication);
	code = status_report(&s);
	json_decref(c->links);
	free(s.window);
	stored_release(&s.stored);
	places_close(&c->places);
	return code;
}
