/* subject.c - finding the cluster: by name, by system identifier, by what is stored. */
#include "subject.h"
#include "base/file.h"
#include "pgformat/control.h"
#include "repo/decision.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONTROL_TRIES = 10, CONTROL_RETRY_US = 10 * 1000 };

enum err subject_config(struct agent *agent, const struct config_cluster **out, struct error *why)
{
	const char *name = option_text(&agent->options, OPTION_CLUSTER);
	const char *repo = option_text(&agent->options, OPTION_REPO);

	*out = NULL;
	/* A place named on the command line needs no section, and may hold other clusters. */
	if (repo != NULL && config_repo_is_place(repo))
		return ERR_NONE;
	return config_cluster(&agent->config, name, out, why);
}

static void subject_fill(const struct places *places, struct subject *s)
{
	s->archive.count = places->count;
	s->archive.salvage = NULL;
	for (size_t i = 0; i < places->count; i++)
		cluster_init(&s->archive.cluster[i], places->place[i].repository, s->name,
			     s->system_identifier);
}

struct found {
	const char *name; /* wanted, or NULL */
	uint64_t system;  /* wanted, or 0 */
	char first[CLUSTER_NAME_MAX];
	bool several_names;
	const struct repository *repository;
	size_t count;
	char best_name[CLUSTER_NAME_MAX];
	uint64_t best_system;
	bool best_has_backup;
	struct attempt best;
};

static enum err visit_cluster(void *ctx, const char *name, uint64_t system, struct error *why)
{
	struct found *f = ctx;
	struct cluster cluster;
	struct attempt newest;
	bool has;
	enum err e;

	if ((f->name != NULL && strcmp(name, f->name) != 0) ||
	    (f->system != 0 && system != f->system))
		return ERR_NONE;
	if (f->count == 0)
		(void)snprintf(f->first, sizeof(f->first), "%s", name); /* fits */
	f->several_names = f->several_names || strcmp(f->first, name) != 0;
	f->count++;
	cluster_init(&cluster, f->repository, name, system);
	/* A damaged one counts: else an older system's backups would be taken for the newest. */
	e = decision_newest_attempt(&cluster, &newest, why);
	if (e != ERR_NONE && e != ERR_MISSING)
		return e;
	has = e == ERR_NONE;
	if (f->count > 1 &&
	    (!has || (f->best_has_backup && attempt_compare(&newest, &f->best) < 0)))
		return ERR_NONE;
	(void)snprintf(f->best_name, sizeof(f->best_name), "%s", name); /* fits */
	f->best_system = system;
	f->best_has_backup = has;
	if (has)
		f->best = newest;
	return ERR_NONE;
}

/* Over all of them: one that was made anew or that did not answer for a while has an older story to tell.  One that
 * fails is told and passed over, as one that can't be opened is; where nothing else is found, it is the answer. */
static enum err find(struct agent *agent, const struct places *places, const char *name,
		     uint64_t system, struct found *f, struct error *why)
{
	enum err failed = ERR_NONE;

	*f = (struct found){.name = name, .system = system};
	for (size_t i = 0; i < places->count; i++) {
		struct error this;
		enum err e;

		f->repository = places->place[i].repository;
		e = clusters_list(f->repository, visit_cluster, f, &this);
		if (e == ERR_CANCELLED || e == ERR_MEMORY)
			return *why = this, e;
		if (e == ERR_NONE)
			continue;
		if (places->count > 1)
			log_event(&agent->log, LEVEL_WARNING, "repository %s is passed over: %s",
				  place_name(&places->place[i]), this.text);
		if (failed == ERR_NONE)
			*why = this;
		failed = failed == ERR_NONE ? e : failed;
	}
	return f->count == 0 ? failed : ERR_NONE;
}

/* "repository near", or all that were asked. */
static const char *asked(const struct places *places, char out[160])
{
	if (places->count == 1)
		(void)snprintf(out, 160, "repository %s", place_name(&places->place[0])); /* cut */
	else
		(void)snprintf(out, 160, "none of %zu repositories", places->count); /* fits */
	return out;
}

static const char *wanted_name(const struct agent *agent, const struct config_cluster *config)
{
	const char *given = option_text(&agent->options, OPTION_CLUSTER);

	if (given != NULL)
		return given;
	return config != NULL ? config->section.name : NULL;
}

enum err subject_of_system(struct agent *agent, const struct places *places,
			   const struct config_cluster *config, uint64_t system_identifier,
			   struct subject *out, struct error *why)
{
	const char *name = wanted_name(agent, config);
	struct found f;
	enum err e;

	*out = (struct subject){.config = config, .system_identifier = system_identifier};
	if (name == NULL) {
		e = find(agent, places, NULL, system_identifier, &f, why);
		if (e != ERR_NONE)
			return e;
		if (f.count == 0) {
			(void)error_set(why, ERR_CONFIG,
					"no cluster has system identifier %" PRIu64,
					system_identifier);
			error_hint(why, "name the cluster: --cluster NAME");
			return ERR_CONFIG;
		}
		name = f.best_name;
	}
	if (!cluster_is_name(name))
		return error_set(why, ERR_CONFIG, "\"%s\" is no name of a cluster", name);
	(void)snprintf(out->name, sizeof(out->name), "%s", name); /* cluster_is_name bounds it */
	subject_fill(places, out);
	return ERR_NONE;
}

enum err subject_of_stored(struct agent *agent, const struct places *places,
			   const struct config_cluster *config, struct subject *out,
			   struct error *why)
{
	const char *name = wanted_name(agent, config);
	struct found f;
	enum err e = find(agent, places, name, 0, &f, why);
	char where[160];

	if (e != ERR_NONE)
		return e;
	if (f.count == 0) {
		(void)error_set(why, ERR_MISSING, "%s holds %s of %s%s", asked(places, where),
				places->count == 1 ? "nothing" : "anything",
				name != NULL ? "cluster " : "any cluster",
				name != NULL ? name : "");
		error_hint(why,
			   name != NULL ? "take a first backup: pgagent backup --cluster %s"
					: "take a first backup: pgagent backup%s",
			   name != NULL ? name : "");
		return ERR_MISSING;
	}
	if (f.several_names)
		return error_set(why, ERR_CONFIG,
				 "there are several clusters (\"%s\" and others): say "
				 "--cluster NAME",
				 f.first);
	*out = (struct subject){.config = config, .system_identifier = f.best_system};
	(void)snprintf(out->name, sizeof(out->name), "%s", f.best_name); /* fits */
	subject_fill(places, out);
	return ERR_NONE;
}

static enum err is_known(const struct places *places, const char *name, uint64_t system,
			 bool *known, struct error *why)
{
	*known = false;
	for (size_t i = 0; i < places->count && !*known; i++) {
		struct found f = {
			.name = name, .system = system, .repository = places->place[i].repository};
		enum err e = clusters_list(f.repository, visit_cluster, &f, why);

		if (e != ERR_NONE)
			return e;
		*known = f.count > 0;
	}
	return ERR_NONE;
}

/* One cluster's repository that does not answer says nothing about the others. */
static enum err search(struct agent *agent, uint64_t system, struct places *places,
		       const struct config_cluster **out, struct error *why)
{
	const struct config *config = &agent->config;
	struct error first = {.kind = ERR_NONE};

	for (size_t i = 0; i < config->clusters_count; i++) {
		const struct config_cluster *cluster = config->clusters[i];
		bool known = false;
		enum err e = places_open_to_read(agent, cluster, places, why);

		if (e == ERR_NONE)
			e = is_known(places, cluster->section.name, system, &known, why);
		if (known) {
			*out = cluster;
			return ERR_NONE;
		}
		if (e != ERR_NONE && first.kind == ERR_NONE)
			first = *why;
		places_close(places);
	}
	if (first.kind != ERR_NONE) {
		*why = first;
		return first.kind;
	}
	(void)error_set(why, ERR_CONFIG,
			"which cluster? None of the %zu configured ones is known by system "
			"identifier %" PRIu64,
			config->clusters_count, system);
	error_hint(why, "make it known: pgagent --cluster NAME init; or add --cluster NAME here");
	return ERR_CONFIG;
}

enum err subject_open_of_system(struct agent *agent, uint64_t system, struct places *places,
				struct subject *out, struct error *why)
{
	const char *repo = option_text(&agent->options, OPTION_REPO);
	const struct config_cluster *config = NULL;
	enum err e;

	if (option_text(&agent->options, OPTION_CLUSTER) == NULL &&
	    agent->config.clusters_count > 1 && (repo == NULL || !config_repo_is_place(repo))) {
		e = search(agent, system, places, &config, why);
	} else {
		e = subject_config(agent, &config, why);
		if (e == ERR_NONE)
			e = places_open_to_read(agent, config, places, why);
	}
	if (e == ERR_NONE)
		e = subject_of_system(agent, places, config, system, out, why);
	return e;
}

enum err subject_read_control(const struct agent *agent, int directory, uint64_t *system_identifier,
			      uint32_t *segment_bytes, struct error *why)
{
	struct control control;
	enum err e = ERR_CORRUPT;

	/* A running server rewrites the file in place: a torn read mends itself. */
	for (int i = 0; i < CONTROL_TRIES && e == ERR_CORRUPT; i++) {
		uint8_t *data = NULL;
		size_t len = 0;

		if (i > 0)
			clock_sleep_us(agent->env.clock, CONTROL_RETRY_US);
		e = file_read_all(agent->env.files, directory, "global/pg_control",
				  CONTROL_FILE_BYTES, &data, &len, why);
		if (e == ERR_NONE)
			e = control_decode(bytes_of(data, len), &control, why);
		free(data);
	}
	if (e != ERR_NONE)
		return e;
	*system_identifier = control.system_identifier;
	*segment_bytes = control.wal_segment_bytes;
	return ERR_NONE;
}
