/* commands/expire.c - `pgagent expire`: removes one backup by name, and goes on with what earlier
 * runs began.  Without --confirm it only tells.
 */
#include "commands/expire.h"
#include "agent.h"
#include "base/file.h"
#include "commands/commands.h"
#include "lock.h"
#include "store/posix/posix.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIGHTINGS_FILE_MAX = 32 << 20 /* bytes; SIGHTINGS_MAX lines */ };

static const int64_t temporaries_kept_us = INT64_C(24) * 60 * 60 * 1000 * 1000;
static const char asked_for[] = "asked for by name: pgagent expire --backup";

enum err expire_part_add(struct expire_part *part, const struct attempt *attempt, struct error *why)
{
	if (part->count == part->capacity) {
		size_t more = part->capacity == 0 ? 16 : 2 * part->capacity;
		struct attempt *bigger = realloc(part->going, more * sizeof(*bigger));

		if (bigger == NULL)
			return error_set(why, ERR_MEMORY, "no memory for %zu backups", more);
		part->going = bigger;
		part->capacity = more;
	}
	part->going[part->count++] = *attempt;
	return ERR_NONE;
}

/* ---- what this host saw of heartbeats ---- */

static void sightings_path(const struct expiry *x, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/pins-%s", x->agent->config.global.state_directory,
		       x->config->section.name); /* cut: not found, as if it were new */
}

/* A file that is not there or can't be read means: observed from now on. */
static enum err load_sightings(struct expiry *x, struct error *why)
{
	struct env *env = &x->agent->env;
	char path[PATH_MAX], boot[64];
	uint8_t *text = NULL;
	size_t len = 0;
	enum err e;

	sightings_path(x, path);
	sightings_boot_id(env, boot);
	e = file_read_all(env->files, AT_FDCWD, path, SIGHTINGS_FILE_MAX, &text, &len, why);
	if (e == ERR_NONE)
		e = sightings_decode(bytes_of(text, len), boot, &x->sightings, why);
	if (e != ERR_NONE && e != ERR_MISSING)
		log_event(&x->agent->log, LEVEL_WARNING,
			  "%s can't be used, pins are observed from now on: %s", path, why->text);
	free(text);
	return e == ERR_NONE ? ERR_NONE : sightings_new(boot, &x->sightings, why);
}

static void save_sightings(const struct expiry *x)
{
	struct env *env = &x->agent->env;
	char path[PATH_MAX];
	struct writer text;
	struct error why;
	enum err e;

	sightings_path(x, path);
	writer_init(&text, SIGHTINGS_FILE_MAX);
	sightings_encode(x->sightings, &text);
	e = text.bad ? error_set(&why, ERR_LIMIT, "too much was seen")
		     : file_replace(env->files, env->random, AT_FDCWD, path, writer_view(&text),
				    0600, &why);
	writer_release(&text);
	if (e != ERR_NONE)
		log_event(&x->agent->log, LEVEL_WARNING,
			  "what was seen of pins is not kept, stale ones are found later: %s",
			  why.text);
}

/* ---- one part ---- */

/* Notes a failure and where it was; false when nothing else shall be begun. */
static bool note(struct expire_part *part, enum err e, struct error *why)
{
	if (e == ERR_NONE)
		return true;
	(void)error_add(why, "repository %s", place_name(part->place)); /* the kind stays */
	failures_add(&part->expiry->failures, why);
	return !failures_end(&part->expiry->failures);
}

/* Attempts whose writers are gone or silent are decided, and pins of silent readers end. */
static enum err end_stale(struct expire_part *part, struct error *why)
{
	struct expiry *x = part->expiry;
	int64_t now_us = clock_monotonic_us(x->agent->env.clock);
	size_t aborted, ended = 0;
	struct pins pins = {.count = 0};
	enum err e = decision_abort_dead(&part->cluster, &aborted, why);

	if (e == ERR_NONE)
		e = pins_read(&part->cluster, &pins, why);
	if (e == ERR_NONE)
		e = sightings_note(x->sightings, &part->cluster, &pins, now_us, why);
	if (e == ERR_NONE)
		e = pins_end_stale(&part->cluster, &pins, x->sightings, now_us, &ended, why);
	pins_release(&pins);
	if (e == ERR_NONE && aborted + ended > 0)
		log_event(&x->agent->log, LEVEL_INFO,
			  "%zu run(s) that gave no sign of life any more were ended",
			  aborted + ended);
	return e;
}

/* What expire_advance would do now. */
static enum err foresee(struct expire_part *part, const struct attempt *attempt,
			struct expire_result *out, struct error *why)
{
	int64_t grace_us = part->expiry->config->expire_grace_us;
	int64_t now_us = clock_now_us(part->expiry->agent->env.clock);
	const struct pin_seen *holder = NULL;
	struct pins pins = {.count = 0};
	struct hidden hidden;
	enum err e = hide_read(&part->cluster, attempt, &hidden, why);

	*out = (struct expire_result){.outcome = EXPIRE_REMOVED};
	if (e != ERR_NONE)
		return e;
	if (hidden.state == HIDE_SHOWN)
		hidden.since_us = now_us; /* the target: it would be hidden now */
	out->due_us = hidden.since_us + grace_us;
	if (hidden.state != HIDE_REMOVED &&
	    (hidden.since_us > now_us || now_us - hidden.since_us < grace_us)) {
		out->outcome = EXPIRE_GRACE;
		return ERR_NONE;
	}
	e = pins_read(&part->cluster, &pins, why);
	if (e == ERR_NONE)
		e = expire_holder(&part->cluster, &pins, attempt, &holder, why);
	if (e == ERR_NONE && holder != NULL) {
		out->outcome = EXPIRE_PINNED;
		(void)snprintf(out->pinned_by, sizeof(out->pinned_by), "%s", holder->holder);
	}
	pins_release(&pins);
	return e;
}

static bool is_target(const struct expire_part *part, const struct attempt *attempt)
{
	const struct expiry *x = part->expiry;

	return x->has_target && part->cluster.system_identifier == x->target_system &&
	       attempt_compare(attempt, &x->target) == 0;
}

/* A tombstone without a manifest is done with; a shown backup is none of ours, unless it is the
 * target. */
static enum err take_going(void *ctx, const struct attempt *attempt, struct error *why)
{
	struct expire_part *part = ctx;
	struct hidden hidden;
	bool there = false;
	enum err e = hide_read(&part->cluster, attempt, &hidden, why);

	if (e == ERR_NONE && (hidden.state != HIDE_SHOWN || is_target(part, attempt)))
		e = decision_is_there(&part->cluster, attempt, &there, why);
	if (e == ERR_NONE && there)
		e = expire_part_add(part, attempt, why);
	return note(part, e, why) ? ERR_NONE : e; /* the others have their turn */
}

static enum err find_going(struct expire_part *part, struct error *why)
{
	const struct expiry *x = part->expiry;
	enum err e = hide_list(&part->cluster, take_going, part, why);
	bool listed = false;

	for (size_t i = 0; i < part->count; i++)
		listed = listed || is_target(part, &part->going[i]);
	if (e == ERR_NONE && x->has_target && !listed &&
	    part->cluster.system_identifier == x->target_system)
		e = take_going(part, &x->target, why);
	return e;
}

static enum err advance(struct expire_part *part, const struct attempt *attempt, struct error *why)
{
	struct expiry *x = part->expiry;
	struct expire_result result;
	enum err e = ERR_NONE;

	if (x->confirm && is_target(part, attempt)) {
		e = hide_backup(&part->cluster, attempt, asked_for, why); /* E1 */
		if (e == ERR_EXISTS)
			e = ERR_NONE;
	}
	if (e == ERR_NONE)
		e = x->confirm ? expire_advance(&part->cluster, attempt, x->config->expire_grace_us,
						&result, why)
			       : foresee(part, attempt, &result, why);
	if (e != ERR_NONE)
		return e;
	part->due_now += result.outcome == EXPIRE_REMOVED;
	expire_say_backup(part, attempt, &result);
	return ERR_NONE;
}

/* Packs, WAL and what is left of removed backups do not wait for one another. */
static bool sweep(struct expire_part *part)
{
	struct expiry *x = part->expiry;
	struct sweep_options options = {.plan = !x->confirm, .force = x->force};
	size_t forgotten;
	struct error why;
	bool go_on;

	if (!x->confirm) {
		options.without = part->going;
		options.withouts = part->count;
	}
	go_on = note(part, sweep_packs(&part->cluster, &options, &part->packs, &why), &why);
	if (go_on)
		go_on = note(part, sweep_wal(&part->cluster, &options, &part->wal, &why), &why);
	if (go_on && x->confirm)
		go_on = note(part, expire_forget(&part->cluster, &forgotten, &why), &why);
	return go_on;
}

/* Each step does what it can: what an earlier one left undone is only ever kept too long. */
static bool run_steps(struct expire_part *part)
{
	struct error why;
	bool go_on = true;

	if (part->expiry->confirm)
		go_on = note(part, end_stale(part, &why), &why);
	if (go_on && find_going(part, &why) != ERR_NONE)
		go_on = !failures_end(&part->expiry->failures) && note(part, why.kind, &why);
	for (size_t i = 0; go_on && i < part->count; i++)
		go_on = note(part, advance(part, &part->going[i], &why), &why);
	return go_on && sweep(part);
}

static enum err run_part(void *ctx, const char *name, uint64_t system, struct error *why)
{
	struct expire_part *part = ctx;
	struct expiry *x = part->expiry;
	bool go_on;

	if (strcmp(name, x->config->section.name) != 0)
		return ERR_NONE;
	cluster_init(&part->cluster, part->place->repository, name, system);
	part->backups = json_array();
	part->count = 0;
	part->due_now = 0;
	part->packs = (struct sweep_totals){.packs = 0};
	part->wal = (struct wal_sweep_totals){.objects = 0};
	report_text(&x->agent->report, "cluster %s, system identifier %" PRIu64 ", repository %s\n",
		    name, system, place_name(part->place));
	go_on = run_steps(part);
	if (go_on)
		expire_say_sweep(part);
	json_decref(part->backups);
	return go_on ? ERR_NONE : failures_answer(&x->failures, why);
}

/* ---- all of it ---- */

static bool run_place(struct expire_part *part)
{
	struct expiry *x = part->expiry;
	size_t probes;
	struct error why;
	bool go_on;
	enum err e = clusters_list(part->place->repository, run_part, part, &why);

	if (failures_end(&x->failures))
		return false;
	go_on = note(part, e, &why);
	if (go_on && x->confirm)
		go_on = note(part, sweep_probes(part->place->repository, &probes, &why), &why);
	if (go_on && x->confirm && part->place->config->type == CONFIG_REPO_POSIX)
		go_on = note(part, store_posix_sweep(part->place->store, temporaries_kept_us, &why),
			     &why);
	return go_on;
}

/* Every repository, also after one failed; the worst failure is the answer. */
static enum err run_all(struct expiry *x, const struct catalog *catalog, struct error *why)
{
	bool go_on = true;

	for (size_t i = 0; go_on && i < x->places->count; i++) {
		struct expire_part part = {.expiry = x, .place = &x->places->place[i]};

		go_on = run_place(&part);
		if (go_on && i + 1 == x->places->count && !x->confirm)
			expire_say_windows(x, catalog, part.going, part.count);
		free(part.going);
	}
	return failures_answer(&x->failures, why);
}

static int expire(struct expiry *x)
{
	struct agent *agent = x->agent;
	struct catalog catalog = {.count = 0};
	char id[ATTEMPT_TEXT_MAX];
	struct error why;
	int code = EXIT_DONE;
	enum err e = expire_find_target(x, &catalog, &why);

	if (e == ERR_MISSING) {
		code = agent_fail_as(agent, EXIT_UNREACHABLE, &why);
		goto out;
	}
	if (e == ERR_NONE)
		e = load_sightings(x, &why);
	if (e == ERR_NONE) {
		report_put(agent->report.root, "confirmed", json_boolean(x->confirm));
		e = run_all(x, &catalog, &why);
		progress_erase(&agent->progress);
		report_put(agent->report.root, "repositories", json_incref(x->repositories));
		if (x->confirm)
			save_sightings(x);
	}
	if (e == ERR_NONE && !x->confirm) {
		attempt_to_text(&x->target, id);
		report_text(
			&agent->report,
			"\nnothing was changed; to carry it out: pgagent expire%s%s --confirm\n",
			x->has_target ? " --backup " : "", x->has_target ? id : "");
	}
	if (e != ERR_NONE)
		code = agent_fail(agent, &why);
out:
	catalog_release(&catalog);
	return code;
}

int command_expire(struct agent *agent)
{
	struct expiry x = {.agent = agent,
			   .confirm = option_given(&agent->options, OPTION_CONFIRM),
			   .force = option_given(&agent->options, OPTION_FORCE),
			   .failures = {.report = &agent->report},
			   .repositories = json_array()};
	struct places places = {.count = 0};
	struct lock lock = {.fd = -1};
	char name[CLUSTER_NAME_MAX + 16];
	struct error why;
	enum err e = config_cluster(&agent->config, option_text(&agent->options, OPTION_CLUSTER),
				    &x.config, &why);
	int code;

	if (e == ERR_NONE && x.confirm) {
		(void)snprintf(name, sizeof(name), "expire-%s", x.config->section.name);
		e = lock_take(&lock, &agent->env, agent->config.global.state_directory, name, &why);
		if (e == ERR_EXISTS) {
			code = agent_fail_as(agent, EXIT_LOCKED, &why);
			goto out;
		}
	}
	if (e == ERR_NONE)
		e = places_open(agent, x.config, &places, &why);
	x.places = &places;
	code = e == ERR_NONE ? expire(&x) : agent_fail(agent, &why);
out:
	sightings_free(x.sightings);
	json_decref(x.repositories);
	places_close(&places);
	lock_release(&lock);
	return code;
}
