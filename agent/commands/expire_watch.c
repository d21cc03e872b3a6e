/* commands/expire_watch.c - watching pins: who gave no sign of life for too long is ended.
 *
 * Not by runs that remove alone: a backup or a copy may have to wait for a sweep whose host is lost, and where these
 * are all that runs nobody else would see that it is silent.
 */
#include "agent.h"
#include "commands/expire.h"
#include "places.h"

#include <string.h>

enum err expire_end_silent(struct agent *agent, const struct cluster *cluster,
			   struct sightings *sightings, struct error *why)
{
	int64_t now_us = clock_monotonic_us(agent->env.clock);
	size_t ended = 0;
	struct pins pins = {.count = 0};
	enum err e = pins_read(cluster, &pins, why);

	if (e == ERR_NONE)
		e = sightings_note(sightings, cluster, &pins, now_us, why);
	if (e == ERR_NONE)
		e = pins_end_stale(cluster, &pins, sightings, now_us, &ended, why);
	pins_release(&pins);
	if (e == ERR_NONE && ended > 0)
		log_event(&agent->log, LEVEL_INFO,
			  "%zu run(s) that gave no sign of life for too long were ended", ended);
	return e;
}

struct watch {
	struct agent *agent;
	const struct config_cluster *config;
	const struct place *place;
	struct sightings *sightings;
};

static enum err watch_system(void *ctx, const char *name, uint64_t system, struct error *why)
{
	struct watch *w = ctx;
	struct cluster cluster;

	if (strcmp(name, w->config->section.name) != 0)
		return ERR_NONE;
	cluster_init(&cluster, w->place->repository, name, system);
	return expire_end_silent(w->agent, &cluster, w->sightings, why);
}

struct sightings *expire_watch(struct agent *agent, const struct config_cluster *config,
			       const struct place *place, size_t places)
{
	struct watch w = {.agent = agent, .config = config};
	struct error why;
	enum err e = expire_load_sightings(agent, config, &w.sightings, &why);

	if (e != ERR_NONE) {
		log_event(&agent->log, LEVEL_WARNING, "pins are not watched: %s", why.text);
		return NULL;
	}
	for (size_t i = 0; i < places; i++) {
		w.place = &place[i];
		e = clusters_list(place[i].repository, watch_system, &w, &why);
		if (e != ERR_NONE)
			log_event(&agent->log, LEVEL_WARNING, "pins of %s are not watched: %s",
				  place_name(&place[i]), why.text);
	}
	/* Now: who waits for a sweep may be stopped.  Of two that save at once the last counts; what is lost by it
	 * makes for a later end, never for an earlier one. */
	expire_save_sightings(agent, config, w.sightings);
	return w.sightings;
}
