/* commands/status.c - `pgagent status`: one verdict with reasons.
 *
 * It only looks: nothing is written, locked or switched.  What can be seen of the server and its archiver is
 * asked by the links of check, what can be restored by what list computes.
 */
#include "commands/status.h"
#include "base/text.h"
#include "commands/commands.h"

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

/* The moments of the system that is looked at. */
static void choose(struct status *s)
{
	const struct stored *stored = &s->stored;

	for (size_t i = 0; i < stored->catalog.count; i++) {
		const struct catalog_entry *entry = &stored->catalog.entry[i];

		if (entry->summary.system_identifier == stored->system_identifier &&
		    entry->verified_us > s->verified_us)
			s->verified_us = entry->verified_us;
	}
	for (size_t i = 0; i < stored->windows; i++) {
		const struct window *w = &stored->window[i];

		if (w->system_identifier == stored->system_identifier && w->from_us != 0 &&
		    (s->from_us == 0 || w->from_us < s->from_us))
			s->from_us = w->from_us;
	}
	if (stored->current == NULL || stored->newest == NULL)
		return;
	s->restorable_us = window_to_us(stored->current);
	if (stored->newest->summary.finished_us > s->restorable_us &&
	    windows_hold(stored->current, 1, stored->system_identifier,
			 stored->newest->summary.timeline, stored->newest->summary.stop))
		s->restorable_us = stored->newest->summary.finished_us;
}

/* ---- what is wrong with it ---- */

static void judge_age(struct status *s)
{
	const struct summary *newest = &s->stored.newest->summary;
	char id[ATTEMPT_TEXT_MAX], age[TEXT_DURATION_MAX];

	attempt_to_text(&newest->attempt, id);
	text_of_duration(s->now_us - newest->finished_us, age);
	if (check_backup_is_overdue(s->check.config->backup_schedule,
				    s->now_us - newest->finished_us))
		check_say(
			&s->check, CHECK_WARNING, "backup",
			"see why none came: systemctl list-timers 'pgagent-*'; then: pgagent backup",
			"the newest backup, %s, is %s old, and backup_schedule is \"%s\"", id, age,
			s->check.config->backup_schedule);
}

static void judge(struct status *s)
{
	struct check *c = &s->check;

	if (c->places.count == 0)
		return; /* said */
	if (s->stored.newest != NULL)
		judge_age(s);
	else
		check_say(c, CHECK_ERROR, "backup",
			  s->stored.catalog.count > 0 ? "after pg_upgrade or initdb: pgagent init "
							"--upgrade, then pgagent backup; else "
							"conninfo leads to another server"
						      : "take the first: pgagent backup",
			  "there is no backup of %s%s", c->config->section.name,
			  s->stored.catalog.count > 0 ? " under its system identifier" : "");
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
	c->unseen = json_array();
	s.now_us = clock_now_us(agent->env.clock);
	if (check_connect(c)) {
		check_archiving(c);
		if (c->sql != NULL && c->config->wal_streaming)
			check_slot(c);
		if (c->sql != NULL)
			check_leftovers(c);
	}
	open_places(&s);
	if (c->places.count > 0)
		stored_read(c, &c->places, &s.stored);
	choose(&s);
	judge(&s);
	check_round_trip(c); /* quiet: only what the server says it archived */
	check_archiver(c);
	check_retention(c);
	session_close(c->sql);
	session_close(c->replication);
	code = status_report(&s);
	json_decref(c->links);
	json_decref(c->unseen);
	stored_release(&s.stored);
	places_close(&c->places);
	return code;
}
