/* commands/undelete.c - `pgagent undelete BACKUP`: brings a hidden backup back while its grace lasts. */
#include "agent.h"
#include "commands/commands.h"
#include "places.h"
#include "repo/hide.h"

#include <stdio.h>
#include <string.h>

struct undeletion {
	struct agent *agent;
	const char *name; /* of the cluster */
	const char *text; /* what was given */
	const struct place *place;
	struct attempt attempt;
	bool several;
	unsigned found; /* repositories where it is hidden */
	unsigned done;
	bool decided; /* found one, so that the others must be the same */
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

static enum err look(void *ctx, const char *name, uint64_t system, struct error *why)
{
	struct undeletion *u = ctx;
	struct cluster cluster;

	if (strcmp(name, u->name) != 0)
		return ERR_NONE;
	cluster_init(&cluster, u->place->repository, name, system);
	return hide_list(&cluster, take_hidden, u, why);
}

static enum err undelete_there(void *ctx, const char *name, uint64_t system, struct error *why)
{
	struct undeletion *u = ctx;
	struct cluster cluster;
	struct hidden hidden;
	enum err e;

	if (strcmp(name, u->name) != 0)
		return ERR_NONE;
	cluster_init(&cluster, u->place->repository, name, system);
	e = hide_read(&cluster, &u->attempt, &hidden, why);
	if (e != ERR_NONE || (!hidden.has_record && !hidden.tomb))
		return e;
	u->found++;
	if (hidden.state == HIDE_SHOWN) /* an earlier try got this far */
		return ERR_NONE;
	e = hide_undelete(&cluster, &u->attempt, "asked for: pgagent undelete", why);
	u->done += e == ERR_NONE;
	return e;
}

static enum err each_place(struct undeletion *u, const struct places *places,
			   enum err (*visit)(void *, const char *, uint64_t, struct error *),
			   struct error *why)
{
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < places->count; i++) {
		u->place = &places->place[i];
		e = clusters_list(u->place->repository, visit, u, why);
		if (e != ERR_NONE)
			(void)error_add(why, "repository %s", place_name(u->place));
	}
	return e;
}

static enum err undelete(struct undeletion *u, const struct places *places, struct error *why)
{
	char id[ATTEMPT_TEXT_MAX];
	enum err e = each_place(u, places, look, why);

	if (e == ERR_NONE && u->several)
		return error_set(why, ERR_CONFIG,
				 "\"%s\" may be several backups: give more of the id", u->text);
	if (e == ERR_NONE && u->decided)
		e = each_place(u, places, undelete_there, why);
	if (e == ERR_NONE && u->done == 0) {
		(void)error_set(why, ERR_MISSING, "no hidden backup \"%s\"", u->text);
		error_hint(why, "see what is hidden: pgagent expire; what is there: pgagent list");
		return ERR_MISSING;
	}
	if (e != ERR_NONE)
		return e;
	attempt_to_text(&u->attempt, id);
	report_text(&u->agent->report, "backup %s is there again, in %u repositor%s\n", id, u->done,
		    u->done == 1 ? "y" : "ies");
	report_put(u->agent->report.root, "id", report_json_text(id));
	report_put(u->agent->report.root, "repositories", json_integer(u->done));
	return ERR_NONE;
}

int command_undelete(struct agent *agent)
{
	struct undeletion u = {.agent = agent, .text = agent->options.arguments[0]};
	const struct config_cluster *config = NULL;
	struct places places = {.count = 0};
	struct error why;
	enum err e = config_cluster(&agent->config, option_text(&agent->options, OPTION_CLUSTER),
				    &config, &why);
	int code = EXIT_DONE;

	if (e == ERR_NONE)
		e = places_open(agent, config, &places, &why);
	if (e == ERR_NONE) {
		u.name = config->section.name;
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
