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

enum { JOBS_MAX = VERIFY_JOBS_MAX, RANGES_SHOWN = 16 };

struct verification {
	struct agent *agent;
	const struct place *place; /* being verified */
	const char *name;          /* of the cluster; NULL = every one */
	struct verify_options options;
	struct verify_totals totals; /* of all places */
	json_t *findings, *states;
	uint64_t found;
	uint64_t clusters;
	uint64_t states_of[3]; /* backups, by enum verify_state */
	/* Of the cluster being verified, its newest backup as long as all are told of in turn. */
	char newest[ATTEMPT_TEXT_MAX];
	enum verify_state newest_state;
	bool open; /* WAL is damaged or missing without which no backup does */
	/* Of all of them, what helps. */
	bool wants_backup;            /* a new backup */
	bool unseen;                  /* one was asked for by name, and there are newer ones */
	char whole[ATTEMPT_TEXT_MAX]; /* a newest backup that nothing found touches */
};

static unsigned jobs(void)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	return processors < 1 ? 1 : processors > JOBS_MAX ? JOBS_MAX : (unsigned)processors;
}

/* "3-5, 9", cut where it is too long for a line; JSON has all of them. */
static void ranges_to_text(const struct verify_finding *finding, char *out, size_t size)
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < finding->ranges && at < size; i++) {
		const struct verify_range *range = &finding->range[i];

		if (i == RANGES_SHOWN) {
			(void)snprintf(out + at, size - at, " and %zu more ranges",
				       finding->ranges - i); /* cut is fine */
			return;
		}
		at += (size_t)snprintf(out + at, size - at, "%s%" PRIu32, i > 0 ? ", " : "",
				       range->first);
		if (range->last > range->first && at < size)
			at += (size_t)snprintf(out + at, size - at, "-%" PRIu32, range->last);
	}
}

static bool is_wal(const struct verify_finding *f)
{
	return f->key != NULL && strstr(f->key, "/wal/") != NULL;
}

/* To stderr: of a nightly run that is all that anybody reads. */
static void say_finding(struct verification *v, const struct verify_finding *f)
{
	char blocks[512];
	struct error why;

	ranges_to_text(f, blocks, sizeof(blocks));
	(void)error_set(&why, ERR_CORRUPT, "%s%s%s: %s", place_name(v->place),
			f->key != NULL ? "/" : "", f->key != NULL ? f->key : "", f->text);
	if (f->ranges > 0)
		(void)error_add(&why, "%s %s", f->relation != NULL ? "blocks" : "pages", blocks);
	if (f->file != NULL)
		(void)error_add(&why, "file %s", f->file);
	if (f->relation != NULL)
		(void)error_add(&why, "%s", f->relation);
	if (f->backup != NULL) /* a hole behind its end leaves the backup itself whole */
		(void)error_add(&why, "DAMAGED %sbackup %s", is_wal(f) ? "WAL after " : "",
				f->backup);
	else
		(void)error_add(&why, "DAMAGED object");
	report_lesser(&v->agent->report, &why);
}

static void add_finding(void *ctx, const struct verify_finding *f)
{
	struct verification *v = ctx;
	json_t *object = json_object(), *blocks = f->ranges > 0 ? json_array() : json_null();

	v->found++;
	v->open = v->open || (is_wal(f) && f->newer == NULL);
	say_finding(v, f);
	for (size_t i = 0; i < f->ranges; i++)
		(void)json_array_append_new(blocks, json_pack("[II]", (json_int_t)f->range[i].first,
							      (json_int_t)f->range[i].last));
	report_put(object, "repository", report_json_text(place_name(v->place)));
	report_put(object, "key", report_json_text(f->key));
	report_put(object, "backup", report_json_text(f->backup));
	report_put(object, "relation", report_json_text(f->relation));
	report_put(object, "file", report_json_text(f->file));
	report_put(object, "blocks", blocks);
	report_put(object, "newer_backup", report_json_text(f->newer));
	report_put(object, "message", report_json_text(f->text));
	(void)json_array_append_new(v->findings, object); /* without memory the dump fails */
}

static void add_state(void *ctx, const struct attempt *attempt, enum verify_state state)
{
	static const char *const words[] = {"whole", "damaged", "unfinished"};
	struct verification *v = ctx;
	json_t *object = json_object();
	char id[ATTEMPT_TEXT_MAX];

	attempt_to_text(attempt, id);
	memcpy(v->newest, id, sizeof(id)); /* they come oldest first */
	v->newest_state = state;
	v->states_of[state]++;
	report_put(object, "repository", report_json_text(place_name(v->place)));
	report_put(object, "id", report_json_text(id));
	report_put(object, "state", report_json_text(words[state]));
	(void)json_array_append_new(v->states, object); /* as above */
}

/* Damage is a finding and no reason to stop; it is found at least once, also when it kept the
 * verification itself from going on. */
static enum err settle(struct verification *v, enum err e, uint64_t found_before,
		       const struct error *why)
{
	if (e != ERR_CORRUPT)
		return e;
	if (v->found == found_before)
		add_finding(v, &(struct verify_finding){.text = why->text});
	return ERR_NONE;
}

/* One cluster in one repository, by the options.  What was found there says what helps: a new backup, as
 * long as the newest is not whole with all WAL behind it. */
static enum err verify_one(struct verification *v, const struct cluster *cluster, struct error *why)
{
	uint64_t before = v->found;
	enum err e;

	v->newest[0] = '\0';
	v->open = false;
	e = settle(v, verify_cluster(cluster, &v->options, &v->totals, why), before, why);
	if (v->found == before)
		return e;
	if (v->newest[0] == '\0' || v->newest_state != VERIFY_WHOLE || v->open)
		v->wants_backup = true;
	else
		memcpy(v->whole, v->newest, sizeof(v->whole));
	return e;
}

/* All of one cluster in one repository. */
static enum err visit_cluster(void *ctx, const char *name, uint64_t system, struct error *why)
{
	struct verification *v = ctx;
	struct cluster cluster;

	if (v->name != NULL && strcmp(name, v->name) != 0)
		return ERR_NONE;
	v->clusters++;
	cluster_init(&cluster, v->place->repository, name, system);
	return verify_one(v, &cluster, why);
}

/* Whether the cluster has backups that were made after this one. */
static bool is_older(const struct catalog *catalog, const struct catalog_named *named)
{
	bool older = false;

	for (size_t i = 0; i < catalog->count; i++) {
		const struct summary *s = &catalog->entry[i].summary;

		older = older || (s->system_identifier == named->system_identifier &&
				  attempt_compare(&s->attempt, &named->attempt) > 0);
	}
	return older;
}

/* One backup, in every repository that has it. */
static enum err verify_named(struct verification *v, const struct places *places, const char *text,
			     struct error *why)
{
	struct catalog catalog;
	struct catalog_named named;
	enum err e = catalog_read(places, v->name, &catalog, why);

	if (e != ERR_NONE)
		return e;
	e = catalog_name(&catalog, text, &named, why);
	for (size_t i = 0; i < places->count && e == ERR_NONE; i++) {
		struct cluster cluster;

		if ((named.places & (1u << i)) == 0)
			continue;
		v->place = &places->place[i];
		v->clusters++;
		v->options.only = &named.attempt;
		cluster_init(&cluster, v->place->repository, named.cluster,
			     named.system_identifier);
		e = verify_one(v, &cluster, why);
	}
	v->unseen = is_older(&catalog, &named);
	v->options.only = NULL;
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
		e = settle(v, e, before, why);
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

static bool is_complete(const struct verify_totals *t)
{
	return t->packs_left == 0 && t->wal_left == 0 && t->backups_left == 0;
}

/* Which backups can be relied on, once some can't. */
static void say_states(const struct verification *v)
{
	static const char *const words[] = {"untouched", "DAMAGED", "not all read yet"};
	struct report *r = &v->agent->report;
	size_t i;
	json_t *state;

	report_text(r, "\n");
	json_array_foreach(v->states, i, state)
	{
		const char *word = json_string_value(json_object_get(state, "state"));

		report_text(r, "%-17s backup %s in %s\n",
			    words[strcmp(word, "whole") == 0     ? VERIFY_WHOLE
				  : strcmp(word, "damaged") == 0 ? VERIFY_DAMAGED
								 : VERIFY_UNFINISHED],
			    json_string_value(json_object_get(state, "id")),
			    json_string_value(json_object_get(state, "repository")));
	}
}

static void say_read(const struct verification *v)
{
	struct report *r = &v->agent->report;
	const struct verify_totals *t = &v->totals;
	char size[TEXT_SIZE_MAX], word[64];

	if (v->found == 0)
		(void)snprintf(word, sizeof(word), "ok: %" PRIu64, t->backups); /* fits */
	else
		(void)snprintf(word, sizeof(word), "DAMAGED: %" PRIu64 " of %" PRIu64,
			       v->states_of[VERIFY_DAMAGED], t->backups); /* fits */
	text_of_size(t->bytes_read, size);
	if (v->options.quick) {
		report_text(r,
			    "%s backup(s), %" PRIu64 " objects, %" PRIu64
			    " WAL segments are there with the right sizes; their content was "
			    "not read\n",
			    word, t->objects, t->wal_segments);
		return;
	}
	report_text(r,
		    "%s backup(s); read %" PRIu64 " objects, %" PRIu64
		    " WAL segments, %s; checked %" PRIu64 " pages of %" PRIu64 " files\n",
		    word, t->objects, t->wal_segments, size, t->pages, t->files);
	if (t->packs_lately > 0 || t->wal_lately > 0)
		report_text(r,
			    "proven in the last %d days, not read again: %" PRIu64
			    " packs, %" PRIu64 " WAL segments (--all reads them)\n",
			    VERIFY_PERIOD_DAYS, t->packs_lately, t->wal_lately);
	if (!is_complete(t)) {
		text_of_size(t->bytes_left, size);
		report_text(r,
			    "time is up; left for the next run: %" PRIu64 " packs (%s), %" PRIu64
			    " WAL segments, the maps of %" PRIu64 " backup(s)\n",
			    t->packs_left, size, t->wal_left, t->backups_left);
	}
}

static void put_totals(const struct verification *v)
{
	json_t *root = v->agent->report.root, *left = json_object(), *lately = json_object();
	const struct verify_totals *t = &v->totals;

	report_put(left, "packs", report_json_u64(t->packs_left));
	report_put(left, "bytes", report_json_u64(t->bytes_left));
	report_put(left, "wal_segments", report_json_u64(t->wal_left));
	report_put(left, "backups", report_json_u64(t->backups_left));
	report_put(lately, "packs", report_json_u64(t->packs_lately));
	report_put(lately, "wal_segments", report_json_u64(t->wal_lately));
	report_put(root, "quick", json_boolean(v->options.quick));
	report_put(root, "complete", json_boolean(is_complete(t)));
	report_put(root, "backups", report_json_u64(t->backups));
	report_put(root, "backups_whole", report_json_u64(v->states_of[VERIFY_WHOLE]));
	report_put(root, "backups_damaged", report_json_u64(v->states_of[VERIFY_DAMAGED]));
	report_put(root, "objects", report_json_u64(t->objects));
	report_put(root, "frames", report_json_u64(t->frames));
	report_put(root, "pages", report_json_u64(t->pages));
	report_put(root, "files", report_json_u64(t->files));
	report_put(root, "wal_segments", report_json_u64(t->wal_segments));
	report_put(root, "wal_awaited", report_json_u64(t->wal_awaited));
	report_put(root, "bytes_read", report_json_u64(t->bytes_read));
	report_put(root, "proven_lately", lately);
	report_put(root, "left", left);
	report_put(root, "damaged", json_boolean(v->found > 0));
}

/* What to do about it.  A new backup, unless there is one that needs nothing of what was hit: then another
 * would mend no more. */
static void say_advice(const struct verification *v)
{
	struct report *r = &v->agent->report;

	report_text(r, "%" PRIu64 " finding(s). ", v->found);
	if (v->unseen)
		report_text(r, "Newer backups were not looked at: pgagent verify; then look at the "
			       "disk\n");
	else if (v->wants_backup || v->whole[0] == '\0')
		report_text(r, "Keep what is left, and take a new backup now, which stores damaged "
			       "pages again: pgagent backup --checkpoint fast; then look at the "
			       "disk\n");
	else
		report_text(
			r,
			"The newest backup, %s, is whole, and so is what comes behind it: one "
			"more would mend nothing. What is hit is told until it has gone with "
			"retention, or by name (pgagent expire --backup ID); look at the disk\n",
			v->whole);
}

static void say_totals(const struct verification *v)
{
	progress_erase(&v->agent->progress);
	if (v->found > 0)
		say_states(v);
	say_read(v);
	if (v->found > 0)
		say_advice(v);
	put_totals(v);
}

/* The options of this run. */
static enum err read_options(struct verification *v, struct error *why)
{
	const struct options *o = &v->agent->options;
	const char *time = option_text(o, OPTION_MAX_TIME);
	enum err e = ERR_NONE;

	v->options = (struct verify_options){.quick = option_given(o, OPTION_QUICK),
					     .all = option_given(o, OPTION_ALL),
					     .jobs = jobs(),
					     .max_rate = option_number(o, OPTION_MAX_RATE, 0),
					     .finding = add_finding,
					     .backup = add_state,
					     .ctx = v};
	if (time != NULL)
		e = text_to_duration(time, &v->options.max_time_us, why);
	if (e == ERR_NONE && time != NULL && v->options.max_time_us <= 0)
		e = error_set(why, ERR_CONFIG, "it has to be more than 0");
	return e == ERR_NONE ? e : error_add(why, "--max-time \"%s\"", time);
}

int command_verify(struct agent *agent)
{
	const struct config_cluster *config = NULL;
	const char *given = option_text(&agent->options, OPTION_CLUSTER);
	struct places places = {.count = 0};
	struct verification v = {.agent = agent, .findings = json_array(), .states = json_array()};
	bool one = agent->options.arguments_count > 0;
	struct error why;
	enum err e = read_options(&v, &why);
	int code = EXIT_DONE;

	if (e == ERR_NONE)
		e = subject_config(agent, &config, &why);
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
	report_put(agent->report.root, "backup_states", json_incref(v.states));
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
	json_decref(v.states);
	places_close(&places);
	return code;
}
