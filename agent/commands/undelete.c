/* commands/undelete.c - `pgagent undelete BACKUP`: brings a hidden backup back while its grace lasts. */
#include "agent.h"
#include "commands/commands.h"
#include "commands/expire_policy.h"
#include "failures.h"
#include "places.h"
#include "repo/hide.h"

#include <stdio.h>
#include <string.h>

struct undeletion {
	struct agent *agent;
	const struct config_cluster *config;
	const char *text; /* what was given */
	const struct place *place;
	struct attempt attempt;
	bool several;
	unsigned done;
	bool decided; /* found one, so that the others must be the same */
	struct failures failures;
};

static enum err take_hidden(void *ctx, const struct attempt *attempt, struct error *why)
{
	struct undeletion *u = ctx;
	char id[ATTEMPT_TEXT_MAX];

	(void)why;
	attempt_to_text(attempt, id);
	if (*u->text == '\0' || strncmp(id, u->text, strlen(u->text)) != 0)
		return ERR_NONE;
	u->several = u->several || (u->decided && attempt_compare(attempt, &u->attempt) != 0);
	u->decided = true;
	u->attempt = *attempt;
	return ERR_NONE;
}

/* One part's failure keeps nothing from the others: the grace runs in each. */
static enum err note(struct undeletion *u, enum err e, struct error *why)
{
	if (e == ERR_NONE)
		return e;
	(void)error_add(why, "repository %s", place_name(u->place)); /* the kind stays */
	failures_add(&u->failures, why);
	return failures_end(&u->failures) ? e : ERR_NONE;
}

static enum err look(void *ctx, const char *name, uint64_t system, struct error *why)
{
	struct undeletion *u = ctx;
	struct cluster cluster;

	if (strcmp(name, u->config->section.name) != 0)
		return ERR_NONE;
	cluster_init(&cluster, u->place->repository, name, system);
	return note(u, hide_list(&cluster, take_hidden, u, why), why);
}

static enum err undelete_there(void *ctx, const char *name, uint64_t system, struct error *why)
{
	struct undeletion *u = ctx;
	struct cluster cluster;
	struct hidden hidden;
	enum err e;

	if (strcmp(name, u->config->section.name) != 0)
		return ERR_NONE;
	cluster_init(&cluster, u->place->repository, name, system);
	e = hide_read(&cluster, &u->attempt, &hidden, why);
	if (e != ERR_NONE || (!hidden.has_record && !hidden.tomb))
		return note(u, e, why);
	if (hidden.state == HIDE_SHOWN) /* an earlier try got this far */
		return ERR_NONE;
	e = hide_undelete(&cluster, &u->attempt, "asked for: pgagent undelete", why);
	u->done += e == ERR_NONE;
	return note(u, e, why);
}

/* False when nothing else shall be begun. */
static bool each_place(struct undeletion *u, const struct places *places,
		       enum err (*visit)(void *, const char *, uint64_t, struct error *))
{
	bool go_on = true;
	struct error why;

	for (size_t i = 0; go_on && i < places->count; i++) {
		enum err e;

		u->place = &places->place[i];
		e = clusters_list(u->place->repository, visit, u, &why);
		go_on = !failures_end(&u->failures) && note(u, e, &why) == ERR_NONE;
	}
	return go_on;
}

/* Whether the next run of the retention hides it again somewhere.  False where that can't be told. */
static bool is_dropped(const struct undeletion *u, const struct places *places)
{
	bool dropped = false;

	for (size_t i = 0; i < places->count; i++) {
		struct expire_policy policy;
		struct error unheard;
		enum err e =
			expire_policy_read(&u->agent->env, places, i, u->config, &policy, &unheard);

		for (size_t j = 0; e == ERR_NONE && j < policy.catalog.count; j++)
			dropped = dropped ||
				  (policy.verdict[j].drop &&
				   attempt_compare(&policy.backup[j].attempt, &u->attempt) == 0);
		expire_policy_release(&policy);
	}
	return dropped;
}

static void say_done(struct undeletion *u, const struct places *places)
{
	bool dropped = is_dropped(u, places);
	char id[ATTEMPT_TEXT_MAX];

	attempt_to_text(&u->attempt, id);
	report_text(&u->agent->report, "backup %s is there again, in %u repositor%s\n", id, u->done,
		    u->done == 1 ? "y" : "ies");
	if (dropped)
		report_warning(&u->agent->report,
			       "no rule of the retention keeps it: the next %s hides it again, "
			       "unless: pgagent keep %s",
			       u->config->expire_auto ? "backup" : "pgagent expire --confirm", id);
	report_put(u->agent->report.root, "id", report_json_text(id));
	report_put(u->agent->report.root, "kept_by_a_rule", json_boolean(!dropped));
	report_put(u->agent->report.root, "repositories", json_integer(u->done));
}

static enum err undelete(struct undeletion *u, const struct places *places, struct error *why)
{
	if (places->silent > 0)
		failures_add(&u->failures, &places->why_silent);
	if (!each_place(u, places, look))
		return failures_answer(&u->failures, why);
	if (u->several)
		return error_set(why, ERR_CONFIG,
				 "\"%s\" may be several backups: give more of the id", u->text);
	if (u->decided && !each_place(u, places, undelete_there))
		return failures_answer(&u->failures, why);
	if (u->done > 0)
		say_done(u, places);
	if (u->done > 0 || u->failures.worst.kind != ERR_NONE)
		return failures_answer(&u->failures, why);
	(void)error_set(why, ERR_MISSING, "no hidden backup \"%s\"", u->text);
	error_hint(why, "see what is hidden: pgagent expire; what is there: pgagent list");
	return ERR_MISSING;
}

int command_undelete(struct agent *agent)
{
	struct undeletion u = {.agent = agent,
			       .text = agent->options.arguments[0],
			       .failures = {.report = &agent->report}};
	const struct config_cluster *config = NULL;
	struct places places = {.count = 0};
	struct error why;
	enum err e = config_cluster(&agent->config, option_text(&agent->options, OPTION_CLUSTER),
				    &config, &why);
	int code = EXIT_DONE;

	if (e == ERR_NONE)
		e = places_open_to_read(agent, config, &places, &why);
	if (e == ERR_NONE) {
		u.config = config;
		e = undelete(&u, &places, &why);
		if (e == ERR_MISSING) {
			code = agent_fail_as(agent, EXIT_UNREACHABLE, &why);
			goto out;
		}
	}
	if (e != ERR_NONE)
		code = agent_fail(agent, &why);
out:
	places_close(&places);
	return code;
}
