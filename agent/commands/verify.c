/* commands/verify.c - `pgagent verify [BACKUP]`: reads what is stored and proves it whole. */
#include "repo/verify.h"
#include "agent.h"
#include "base/text.h"
#include "commands/catalog.h"
#include "commands/commands.h"
#include "subject.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { JOBS_MAX = 16 };

struct verification {
	struct agent *agent;
	const struct place *place; /* being verified */
	const char *name;          /* of the cluster; NULL = every one */
	struct verify_options options;
	struct verify_totals totals; /* of all places */
	json_t *findings;
	uint64_t found;
	uint64_t backups, clusters;
};

static unsigned jobs(void)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	return processors < 1 ? 1 : processors > JOBS_MAX ? JOBS_MAX : (unsigned)processors;
}

static void add_finding(void *ctx, const struct verify_finding *finding)
{
	struct verification *v = ctx;
	const char *key = finding->key != NULL ? finding->key : "";
	json_t *object = json_object();

	v->found++;
	report_text(&v->agent->report, "DAMAGED %s%s%s: %s%s%s%s%s\n", place_name(v->place),
		    *key != '\0' ? "/" : "", key, finding->text,
		    finding->backup != NULL ? "; backup " : "",
		    finding->backup != NULL ? finding->backup : "",
		    finding->file != NULL ? ", file " : "",
		    finding->file != NULL ? finding->file : "");
	report_put(object, "repository", report_json_text(place_name(v->place)));
	report_put(object, "key", report_json_text(*key != '\0' ? key : NULL));
	report_put(object, "backup", report_json_text(finding->backup));
	report_put(object, "file", report_json_text(finding->file));
	report_put(object, "message", report_json_text(finding->text));
	(void)json_array_append_new(v->findings, object); /* without memory the dump fails */
}

/* Damage is a finding and no reason to stop; it is found at least once, also when it kept the
 * verification itself from going on. */
static enum err settle(struct verification *v, enum err e, uint64_t found_before,
		       const char *backup, const struct error *why)
{
	if (e != ERR_CORRUPT)
		return e;
	if (v->found == found_before)
		add_finding(v, &(struct verify_finding){.backup = backup, .text = why->text});
	return ERR_NONE;
}

static enum err verify_one(struct verification *v, const struct cluster *cluster,
			   const struct attempt *attempt, struct error *why)
{
	uint64_t before = v->found;
	char id[ATTEMPT_TEXT_MAX];

	attempt_to_text(attempt, id);
	v->backups++;
	return settle(v, verify_backup(cluster, attempt, &v->options, &v->totals, why), before, id,
		      why);
}

struct visit {
	struct verification *v;
	const struct cluster *cluster;
};

static enum err visit_backup(void *ctx, const struct backup_info *info, struct error *why)
{
	struct visit *visit = ctx;

	return verify_one(visit->v, visit->cluster, &info->summary->attempt, why);
}

/* All of one cluster in one repository. */
static enum err visit_cluster(void *ctx, const char *name, uint64_t system, struct error *why)
{
	struct verification *v = ctx;
	struct cluster cluster;
	struct visit visit = {v, &cluster};
	uint64_t before = v->found;
	enum err e;

	if (v->name != NULL && strcmp(name, v->name) != 0)
		return ERR_NONE;
	v->clusters++;
	cluster_init(&cluster, v->place->repository, name, system);
	e = verify_records(&cluster, &v->options, &v->totals, why);
	e = settle(v, e, before, NULL, why);
	if (e != ERR_NONE)
		return e;
	before = v->found;
	e = settle(v, backups_list(&cluster, true, visit_backup, &visit, why), before, NULL, why);
	if (e != ERR_NONE)
		return e;
	before = v->found;
	return settle(v, verify_wal(&cluster, &v->options, &v->totals, why), before, NULL, why);
}

/* One backup, in every repository that has it. */
static enum err verify_named(struct verification *v, const struct places *places, const char *text,
			     struct error *why)
{
	struct catalog catalog;
	const struct catalog_entry *entry;
	enum err e = catalog_read(places, v->name, &catalog, why);

	if (e != ERR_NONE)
		return e;
	e = catalog_find(&catalog, text, &entry, why);
	for (size_t i = 0; i < places->count && e == ERR_NONE; i++) {
		struct cluster cluster;

		if ((entry->places & (1u << i)) == 0)
			continue;
		v->place = &places->place[i];
		v->clusters++;
		cluster_init(&cluster, v->place->repository, entry->summary.cluster,
			     entry->summary.system_identifier);
		e = verify_one(v, &cluster, &entry->summary.attempt, why);
	}
	catalog_release(&catalog);
	return e;
}

static enum err verify_all(struct verification *v, const struct places *places, struct error *why)
{
	enum err e = ERR_NONE;

	for (size_t i = 0; i < places->count && e == ERR_NONE; i++) {
		uint64_t before = v->found, clusters = v->clusters;

		v->place = &places->place[i];
		e = clusters_list(v->place->repository, visit_cluster, v, why);
		e = settle(v, e, before, NULL, why);
		if (e != ERR_NONE || v->clusters > clusters)
			continue;
		/* An empty repository has nothing wrong with it, and proves nothing. */
		(void)error_set(why, ERR_MISSING, "repository %s holds nothing of %s%s to verify",
				place_name(v->place), v->name != NULL ? "cluster " : "any cluster",
				v->name != NULL ? v->name : "");
		error_hint(why,
			   "see what is there: pgagent list; the first backup: pgagent backup");
		e = ERR_MISSING;
	}
	return e;
}

static void say_totals(const struct verification *v)
{
	struct report *r = &v->agent->report;
	const struct verify_totals *t = &v->totals;
	char read_text[TEXT_SIZE_MAX];

	progress_erase(&v->agent->progress);
	text_of_size(t->bytes_read, read_text);
	if (v->options.quick)
		report_text(r,
			    "%s: %" PRIu64 " backup(s), %" PRIu64 " objects, %" PRIu64
			    " WAL segments are there with the right sizes; their content was "
			    "not read\n",
			    v->found == 0 ? "ok" : "DAMAGED", v->backups, t->objects,
			    t->wal_segments);
	else
		report_text(r,
			    "%s: %" PRIu64 " backup(s), %" PRIu64 " objects, %" PRIu64
			    " files, %" PRIu64 " pages, %" PRIu64 " WAL segments; %s read\n",
			    v->found == 0 ? "ok" : "DAMAGED", v->backups, t->objects, t->files,
			    t->pages, t->wal_segments, read_text);
	if (v->found > 0)
		report_text(r,
			    "%" PRIu64 " finding(s). Keep what is left, take a new backup now: "
			    "pgagent backup --checkpoint fast; then look at the disk\n",
			    v->found);
	report_put(r->root, "quick", json_boolean(v->options.quick));
	report_put(r->root, "backups", report_json_u64(v->backups));
	report_put(r->root, "objects", report_json_u64(t->objects));
	report_put(r->root, "frames", report_json_u64(t->frames));
	report_put(r->root, "pages", report_json_u64(t->pages));
	report_put(r->root, "files", report_json_u64(t->files));
	report_put(r->root, "wal_segments", report_json_u64(t->wal_segments));
	report_put(r->root, "bytes_read", report_json_u64(t->bytes_read));
	report_put(r->root, "damaged", json_boolean(v->found > 0));
}

int command_verify(struct agent *agent)
{
	const struct config_cluster *config = NULL;
	const char *given = option_text(&agent->options, OPTION_CLUSTER);
	struct places places = {.count = 0};
	struct verification v = {.agent = agent, .findings = json_array()};
	bool one = agent->options.arguments_count > 0;
	struct error why;
	enum err e = subject_config(agent, &config, &why);
	int code = EXIT_DONE;

	v.options = (struct verify_options){.quick = option_given(&agent->options, OPTION_QUICK),
					    .jobs = jobs(),
					    .finding = add_finding,
					    .ctx = &v};
	v.name = given != NULL ? given : config != NULL ? config->section.name : NULL;
	if (e == ERR_NONE)
		e = places_open(agent, config, &places, &why);
	if (e == ERR_NONE) {
		e = one ? verify_named(&v, &places, agent->options.arguments[0], &why)
			: verify_all(&v, &places, &why);
		if (e == ERR_MISSING && one) {
			code = agent_fail_as(agent, EXIT_UNREACHABLE, &why);
			goto out;
		}
	}
	report_put(agent->report.root, "findings", json_incref(v.findings));
	if (e == ERR_NONE) {
		say_totals(&v);
		code = v.found > 0 ? EXIT_DAMAGED : EXIT_DONE;
	} else {
		/* What was found before it broke off weighs more than why it did. */
		code = agent_fail(agent, &why);
		code = v.found > 0 ? EXIT_DAMAGED : code;
	}
out:
	json_decref(v.findings);
	places_close(&places);
	return code;
}
