/* commands/copy.c - `pgagent copy`: what one repository of a cluster has and another lacks. */
#include "repo/copy.h"
#include "agent.h"
#include "base/text.h"
#include "commands/commands.h"
#include "commands/expire.h"
#include "lock.h"
#include "places.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { FROM, TO };

struct copy_run {
	struct agent *agent;
	const struct config_cluster *config;
	struct places places; /* FROM and TO */
	struct copy_options options;
	struct copy_totals totals;
	uint64_t system; /* being copied */
	unsigned systems;
	int64_t began_us;
	json_t *backups, *damage;
};

static const char *const state_name[] = {
	[COPY_DONE] = "copied",     [COPY_THERE] = "there", [COPY_ABORTED] = "aborted",
	[COPY_REMOVED] = "removed", [COPY_GONE] = "gone",   [COPY_DAMAGED] = "damaged",
};

static void add_backup(void *ctx, const struct attempt *attempt, enum copy_outcome outcome,
		       uint64_t bytes, const char *text)
{
	struct copy_run *r = ctx;
	char id[ATTEMPT_TEXT_MAX], size[TEXT_SIZE_MAX], system[24];
	json_t *object = json_object();

	attempt_to_text(attempt, id);
	text_of_size(bytes, size);
	progress_erase(&r->agent->progress);
	if (outcome == COPY_DONE)
		report_text(&r->agent->report, "  %s  copied, %s\n", id, size);
	else if (outcome != COPY_THERE)
		report_text(&r->agent->report, "  %s  not copied: %s\n", id, text);
	(void)snprintf(system, sizeof(system), "%" PRIu64, r->system); /* fits */
	report_put(object, "id", report_json_text(id));
	report_put(object, "system_identifier", report_json_text(system));
	report_put(object, "state", report_json_text(state_name[outcome]));
	report_put(object, "bytes", report_json_u64(bytes));
	report_put(object, "reason", report_json_text(text));
	(void)json_array_append_new(r->backups, object); /* without memory the dump fails */
}

static void add_damage(void *ctx, const char *key, const char *text)
{
	struct copy_run *r = ctx;
	json_t *object = json_object();
	struct error why;

	(void)error_set(&why, ERR_CORRUPT, "DAMAGED %s: %s", key, text);
	report_lesser(&r->agent->report, &why);
	report_put(object, "key", report_json_text(key));
	report_put(object, "message", report_json_text(text));
	(void)json_array_append_new(r->damage, object); /* as above */
}

static enum err copy_system(void *ctx, const char *name, uint64_t system, struct error *why)
{
	struct copy_run *r = ctx;
	struct cluster from, to;

	if (strcmp(name, r->config->section.name) != 0)
		return ERR_NONE;
	r->systems++;
	r->system = system;
	cluster_init(&from, r->places.place[FROM].repository, name, system);
	cluster_init(&to, r->places.place[TO].repository, name, system);
	report_text(&r->agent->report,
		    "cluster %s, system identifier %" PRIu64 ", from repository %s to %s\n", name,
		    system, place_name(&r->places.place[FROM]), place_name(&r->places.place[TO]));
	return copy_cluster(&from, &to, &r->options, &r->totals, why);
}

static void say_totals(struct copy_run *r)
{
	struct report *report = &r->agent->report;
	const struct copy_totals *t = &r->totals;
	int64_t took_us = clock_monotonic_us(r->agent->env.clock) - r->began_us;
	char size[TEXT_SIZE_MAX], took[TEXT_DURATION_MAX];
	json_t *objects = json_object();

	progress_erase(&r->agent->progress);
	text_of_size(t->bytes, size);
	text_of_duration(took_us, took);
	report_text(report,
		    "copied %" PRIu64 " backup(s), %" PRIu64 " packs, %" PRIu64
		    " WAL files, %s in %s; %" PRIu64 " backup(s) were there\n",
		    t->backups[COPY_DONE], t->packs, t->wal, size, took, t->backups[COPY_THERE]);
	if (t->damaged > 0)
		report_text(report,
			    "%" PRIu64
			    " object(s) are damaged; all else was copied. What is lost by it: "
			    "pgagent verify --all --repo %s\n",
			    t->damaged, place_name(&r->places.place[FROM]));
	report_put(objects, "packs", report_json_u64(t->packs));
	report_put(objects, "wal", report_json_u64(t->wal));
	report_put(objects, "others", report_json_u64(t->others));
	report_put(report->root, "cluster", report_json_text(r->config->section.name));
	report_put(report->root, "from", report_json_text(place_name(&r->places.place[FROM])));
	report_put(report->root, "to", report_json_text(place_name(&r->places.place[TO])));
	report_put(report->root, "backups", json_incref(r->backups));
	report_put(report->root, "damage", json_incref(r->damage));
	report_put(report->root, "objects", objects);
	report_put(report->root, "bytes", report_json_u64(t->bytes));
	report_put(report->root, "seconds", json_real((double)took_us / 1e6));
}

static enum err copy(struct copy_run *r, struct error *why)
{
	const struct place *from = &r->places.place[FROM], *to = &r->places.place[TO];
	enum err e = copy_check_family(from->repository, to->repository, why);

	if (e == ERR_CONFIG)
		error_hint(why,
			   "give %s an empty place, name it in repos = of [cluster:%s] beside %s, "
			   "then: pgagent init --cluster %s",
			   place_name(to), r->config->section.name, place_name(from),
			   r->config->section.name);
	if (e == ERR_NONE) {
		struct sightings *seen = expire_watch(r->agent, r->config, to, 1);

		r->options.seen = seen;
		e = clusters_list(from->repository, copy_system, r, why);
		sightings_free(seen);
	}
	if (e == ERR_NONE && r->systems == 0) {
		(void)error_set(why, ERR_MISSING, "repository %s holds nothing of cluster %s",
				place_name(from), r->config->section.name);
		error_hint(why, "see what there is: pgagent list");
		e = ERR_MISSING;
	}
	return e;
}

/* The repositories, and the lock: of copies into one of them only one runs on this host. */
static enum err begin(struct copy_run *r, const struct config_repo *repo[2], struct lock *lock,
		      struct error *why)
{
	char name[2 * CONFIG_NAME_MAX + 16];
	enum err e;

	(void)snprintf(name, sizeof(name), "copy-%s@%s", r->config->section.name,
		       repo[TO]->section.name); /* fits by its parts */
	e = lock_take(lock, &r->agent->env, r->agent->config.global.state_directory, name, why);
	if (e == ERR_NONE)
		e = places_add(r->agent, repo[FROM], &r->places, why);
	if (e == ERR_NONE)
		e = places_add(r->agent, repo[TO], &r->places, why);
	return e;
}

static enum err read_options(struct copy_run *r, const struct config_repo *repo[2],
			     struct error *why)
{
	const struct options *o = &r->agent->options;
	const char *from = option_text(o, OPTION_FROM), *to = option_text(o, OPTION_TO);
	enum err e;

	r->options = (struct copy_options){.max_rate = option_number(o, OPTION_MAX_RATE, 0),
					   .backup = add_backup,
					   .damage = add_damage,
					   .ctx = r};
	if (from == NULL || to == NULL || option_given(o, OPTION_REPO)) {
		(void)error_set(why, ERR_CONFIG, "copy takes --from REPO and --to REPO%s",
				option_given(o, OPTION_REPO) ? ", and no --repo" : "");
		error_hint(why, "pgagent copy --from local --to offsite; the names are those of "
				"the sections [repo:NAME]: pgagent config show");
		return ERR_CONFIG;
	}
	e = config_repo_named(&r->agent->config, "--from", from, &repo[FROM], why);
	if (e == ERR_NONE)
		e = config_repo_named(&r->agent->config, "--to", to, &repo[TO], why);
	if (e == ERR_NONE && repo[FROM] == repo[TO])
		e = error_set(why, ERR_CONFIG, "--from and --to name the same repository");
	return e;
}

int command_copy(struct agent *agent)
{
	struct copy_run r = {.agent = agent,
			     .began_us = clock_monotonic_us(agent->env.clock),
			     .backups = json_array(),
			     .damage = json_array()};
	const struct config_repo *repo[2];
	struct lock lock = {.fd = -1};
	struct error why;
	int code = EXIT_DONE;
	enum err e = config_cluster(&agent->config, option_text(&agent->options, OPTION_CLUSTER),
				    &r.config, &why);

	if (e == ERR_NONE)
		e = read_options(&r, repo, &why);
	if (e == ERR_NONE) {
		e = begin(&r, repo, &lock, &why);
		if (e == ERR_EXISTS) {
			code = agent_fail_as(agent, EXIT_LOCKED, &why);
			goto out;
		}
	}
	if (e == ERR_NONE) {
		e = copy(&r, &why);
		say_totals(&r);
	}
	if (e != ERR_NONE)
		code = agent_fail(agent, &why);
	/* What is damaged weighs more than why the rest was not copied. */
	if (r.totals.damaged > 0)
		code = EXIT_DAMAGED;
out:
	json_decref(r.backups);
	json_decref(r.damage);
	places_close(&r.places);
	lock_release(&lock);
	return code;
}
