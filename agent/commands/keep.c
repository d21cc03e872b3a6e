/* commands/keep.c - `pgagent keep BACKUP`, `pgagent unkeep BACKUP`: out of retention, and back. */
#include "repo/keep.h"
#include "agent.h"
#include "commands/catalog.h"
#include "commands/commands.h"
#include "failures.h"

struct keeping {
	struct agent *agent;
	const struct config_cluster *config;
	bool keep;
	struct places places;
	struct catalog catalog;
	struct failures failures;
	unsigned there, changed; /* repositories */
};

/* In every repository that has it; one that fails keeps nothing from the others. */
static void mark(struct keeping *k, const struct catalog_named *named)
{
	static const char *const reason[] = {"asked for: pgagent unkeep",
					     "asked for: pgagent keep"};

	for (size_t i = 0; i < k->places.count && !failures_end(&k->failures); i++) {
		const struct place *place = &k->places.place[i];
		struct cluster cluster;
		bool changed = false;
		struct error why;

		if ((named->places & (1u << i)) == 0)
			continue;
		cluster_init(&cluster, place->repository, named->cluster, named->system_identifier);
		if (keep_set(&cluster, &named->attempt, k->keep, reason[k->keep], &changed, &why) ==
		    ERR_NONE) {
			k->there++;
			k->changed += changed;
			continue;
		}
		(void)error_add(&why, "repository %s", place_name(place)); /* the kind stays */
		failures_add(&k->failures, &why);
	}
}

static void say(struct keeping *k, const struct catalog_named *named)
{
	struct report *r = &k->agent->report;
	char id[ATTEMPT_TEXT_MAX];

	attempt_to_text(&named->attempt, id);
	if (k->there > 0)
		report_text(r, "backup %s %s%s, in %u repositor%s\n", id,
			    k->changed == 0 ? "already " : "",
			    k->keep ? "stays whatever retention says" : "is under retention again",
			    k->there, k->there == 1 ? "y" : "ies");
	report_put(r->root, "id", report_json_text(id));
	report_put(r->root, "keep", json_boolean(k->keep));
	report_put(r->root, "repositories", json_integer(k->there));
	report_put(r->root, "changed", json_integer(k->changed));
}

static enum err run(struct keeping *k, struct error *why)
{
	struct catalog_named named;
	enum err e = catalog_read(&k->places, k->config->section.name, &k->catalog, why);

	if (e == ERR_NONE)
		e = catalog_name(&k->catalog, k->agent->options.arguments[0], &named, why);
	if (e != ERR_NONE)
		return e;
	if (k->places.silent > 0)
		failures_add(&k->failures, &k->places.why_silent);
	mark(k, &named);
	say(k, &named);
	return failures_answer(&k->failures, why);
}

static int keep_or_not(struct agent *agent, bool keep)
{
	struct keeping k = {.agent = agent, .keep = keep, .failures = {.report = &agent->report}};
	struct error why;
	enum err e = config_cluster(&agent->config, option_text(&agent->options, OPTION_CLUSTER),
				    &k.config, &why);
	int code;

	if (e == ERR_NONE)
		e = places_open_to_read(agent, k.config, &k.places, &why);
	if (e == ERR_NONE)
		e = run(&k, &why);
	code = e == ERR_NONE      ? EXIT_DONE
	       : e == ERR_MISSING ? agent_fail_as(agent, EXIT_UNREACHABLE, &why)
				  : agent_fail(agent, &why);
	catalog_release(&k.catalog);
	places_close(&k.places);
	return code;
}

int command_keep(struct agent *agent)
{
	return keep_or_not(agent, true);
}

int command_unkeep(struct agent *agent)
{
	return keep_or_not(agent, false);
}
