/* commands/expire.c - `pgagent expire`: hides what the retention keeps no more, or one backup by name, and
 * goes on with what earlier runs began.  Without --confirm it only tells.
 */
#include "commands/expire.h"
#include "agent.h"
#include "commands/commands.h"
#include "lock.h"
#include "store/posix/posix.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Temporaries, and directories that are empty. */
static const int64_t leftovers_kept_us = INT64_C(24) * 60 * 60 * 1000 * 1000;

static bool is_posix(const struct expire_part *part)
{
	return part->place->config->type == CONFIG_REPO_POSIX;
}

static enum err run_part(void *ctx, const char *name, uint64_t system, struct error *why)
{
	struct expire_part *part = ctx;
	struct expiry *x = part->expiry;
	struct error swept;
	bool go_on;

	if (strcmp(name, x->config->section.name) != 0)
		return ERR_NONE;
	cluster_init(&part->cluster, part->place->repository, name, system);
	part->backups = json_array();
	part->count = 0;
	part->due_now = 0;
	part->swept = part->now = (struct sweep){.packs = {.packs = 0}};
	part->now_failed = false;
	go_on = expire_run_part(part);
	if (go_on && x->confirm && is_posix(part))
		go_on = expire_note(part,
				    store_posix_sweep_dirs(part->place->store, part->cluster.prefix,
							   leftovers_kept_us, &swept),
				    &swept);
	if (!x->quiet)
		expire_say_backups(part);
	if (!x->quiet && go_on)
		expire_say_sweep(part);
	json_decref(part->backups);
	pins_release(&part->pins);
	return go_on ? ERR_NONE : failures_answer(&x->failures, why);
}

/* What the windows will be told with: entries of the catalog of all, by those of one repository. */
static void remember(struct expiry *x, const struct expire_part *part,
		     const struct expire_policy *policy)
{
	for (size_t i = 0; i < x->catalog.count; i++) {
		const struct summary *s = &x->catalog.entry[i].summary;

		for (size_t j = 0; j < policy->catalog.count; j++) {
			const struct retention_backup *b = &policy->backup[j];

			if (b->system_identifier != s->system_identifier ||
			    attempt_compare(&b->attempt, &s->attempt) != 0)
				continue;
			x->gone[i] |= policy->verdict[j].drop ? 1u << part->index : 0;
			x->alone[i] |= policy->later_verdict[j].wal_to_end ? 0 : 1u << part->index;
		}
		if (x->has_target && s->system_identifier == x->target_system &&
		    attempt_compare(&s->attempt, &x->target) == 0)
			x->gone[i] |= 1u << part->index;
	}
}

/* False: nothing of this repository shall be touched; whatever else fails, what was begun goes on. */
static bool judge(struct expire_part *part, struct expire_policy *policy)
{
	struct expiry *x = part->expiry;
	struct error why;
	enum err e = expire_check_clock(x, &why);

	x->clock_refused = e == ERR_DENIED;
	if (x->has_target)
		e = ERR_NONE; /* one by name is a person's decision, whatever the clock shows */
	else if (e == ERR_NONE)
		e = expire_policy_read(&x->agent->env, x->places, part->index, x->config, policy,
				       &why);
	if (e == ERR_NONE)
		remember(x, part, policy);
	part->policy = policy->decided ? policy : NULL;
	return expire_note(part, e, &why) && e != ERR_DENIED;
}

static bool run_place(struct expire_part *part)
{
	struct expiry *x = part->expiry;
	struct expire_policy policy = {.decided = false};
	size_t probes;
	struct error why;
	bool go_on = true;

	if (judge(part, &policy)) {
		enum err e = clusters_list(part->place->repository, run_part, part, &why);

		go_on = !failures_end(&x->failures) && expire_note(part, e, &why);
		if (go_on && x->confirm)
			go_on = expire_note(
				part, sweep_probes(part->place->repository, &probes, &why), &why);
		if (go_on && x->confirm && is_posix(part))
			go_on = expire_note(
				part,
				store_posix_sweep(part->place->store, leftovers_kept_us, &why),
				&why);
	}
	expire_policy_release(&policy);
	return go_on && !failures_end(&x->failures);
}

/* Every repository, also after one failed; the worst failure is the answer. */
static void run_places(struct expiry *x)
{
	bool go_on = true;

	if (x->places->silent > 0)
		failures_add(&x->failures, &x->places->why_silent);
	for (size_t i = 0; go_on && i < x->places->count; i++) {
		struct expire_part part = {.expiry = x, .place = &x->places->place[i], .index = i};

		go_on = run_place(&part);
		free(part.going);
	}
	if (go_on && !x->confirm)
		expire_say_windows(x);
}

enum err expire_run(struct expiry *x, struct error *why)
{
	enum err e;

	x->gone = calloc(x->catalog.count + 1, sizeof(*x->gone));
	x->alone = calloc(x->catalog.count + 1, sizeof(*x->alone));
	if (x->gone == NULL || x->alone == NULL)
		return error_set(why, ERR_MEMORY, "no memory for %zu backups", x->catalog.count);
	e = expire_load_sightings(x->agent, x->config, &x->sightings, why);
	if (e != ERR_NONE)
		return e;
	run_places(x);
	progress_erase(&x->agent->progress);
	if (x->confirm)
		expire_save_sightings(x->agent, x->config, x->sightings);
	if (x->confirm && !x->clock_refused) /* or it would be refused but once */
		expire_save_clock(x);
	return failures_answer(&x->failures, why);
}

void expire_release(struct expiry *x)
{
	free(x->gone);
	free(x->alone);
	catalog_release(&x->catalog);
	sightings_free(x->sightings);
	json_decref(x->repositories);
}

enum err expire_lock(struct agent *agent, const struct config_cluster *config, struct lock *lock,
		     struct error *why)
{
	char name[CLUSTER_NAME_MAX + 16];

	(void)snprintf(name, sizeof(name), "expire-%s", config->section.name); /* fits */
	return lock_take(lock, &agent->env, agent->config.global.state_directory, name, why);
}

/* ---- the command ---- */

static int expire(struct expiry *x)
{
	struct agent *agent = x->agent;
	char id[ATTEMPT_TEXT_MAX];
	struct error why;
	enum err e = expire_find_target(x, &why);

	if (e == ERR_MISSING)
		return agent_fail_as(agent, EXIT_UNREACHABLE, &why);
	if (e == ERR_NONE) {
		if (!x->confirm)
			report_text(&agent->report,
				    "a plan: nothing is hidden or removed without --confirm\n\n");
		e = expire_run(x, &why);
		if (x->confirm && !x->has_target)
			expire_note_outcome(agent, x->config, e != ERR_NONE ? &why : NULL);
		report_put(agent->report.root, "confirmed", json_boolean(x->confirm));
		report_put(agent->report.root, "repositories", json_incref(x->repositories));
	}
	if (e != ERR_NONE)
		return agent_fail(agent, &why);
	attempt_to_text(&x->target, id);
	if (!x->confirm)
		report_text(
			&agent->report,
			"\nnothing was changed; to carry it out: pgagent expire%s%s --confirm%s%s\n",
			x->has_target ? " --backup " : "", x->has_target ? id : "",
			x->clock_is_right ? " --clock-is-right" : "", x->force ? " --force" : "");
	return EXIT_DONE;
}

int command_expire(struct agent *agent)
{
	struct expiry x = {.agent = agent,
			   .confirm = option_given(&agent->options, OPTION_CONFIRM),
			   .force = option_given(&agent->options, OPTION_FORCE),
			   .clock_is_right = option_given(&agent->options, OPTION_CLOCK_IS_RIGHT),
			   .failures = {.report = &agent->report},
			   .repositories = json_array()};
	struct places places = {.count = 0};
	struct lock lock = {.fd = -1};
	struct error why;
	enum err e = config_cluster(&agent->config, option_text(&agent->options, OPTION_CLUSTER),
				    &x.config, &why);
	int code;

	if (e == ERR_NONE && x.confirm) {
		e = expire_lock(agent, x.config, &lock, &why);
		if (e == ERR_EXISTS) {
			code = agent_fail_as(agent, EXIT_LOCKED, &why);
			goto out;
		}
	}
	if (e == ERR_NONE)
		e = places_open_to_read(agent, x.config, &places, &why);
	x.places = &places;
	code = e == ERR_NONE ? expire(&x) : agent_fail(agent, &why);
out:
	expire_release(&x);
	places_close(&places);
	lock_release(&lock);
	return code;
}
