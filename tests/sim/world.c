/* sim/world.c - one run: a store with two backups, the processes of a scenario, and the end. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { CRASH_ONE_OF = 4, CRASH_AT_MAX = 60 };
#define STARTS_AT_US INT64_C(1795442700000000)

static int64_t world_now(struct clock *c)
{
	struct world *w = (struct world *)((char *)c - offsetof(struct world, clock));

	return ++w->now_us; /* no two moments are the same */
}

static void world_sleep(struct clock *c, int64_t us)
{
	struct world *w = (struct world *)((char *)c - offsetof(struct world, clock));

	w->now_us += us;
}

void world_violate(struct world *w, const char *format, ...)
{
	va_list args;

	if (w->violation[0] != '\0')
		return;
	va_start(args, format);
	(void)vsnprintf(w->violation, sizeof(w->violation), format, args);
	va_end(args);
	if (w->trace != NULL)
		(void)fprintf(w->trace, "  ----- %s\n", w->violation);
}

int world_attempt(const struct world *w, const char *name)
{
	for (int i = 0; i < SIM_ATTEMPTS; i++) {
		char text[ATTEMPT_TEXT_MAX];

		attempt_to_text(&w->attempt[i], text);
		if (strncmp(name, text, strlen(text)) == 0)
			return i;
	}
	return -1;
}

static void must(enum err e, const struct error *why)
{
	if (e == ERR_NONE)
		return;
	(void)fprintf(stderr, "the simulation could not be set up: %s\n", why->text);
	abort();
}

static void add_actor(struct world *w, enum role role, const char *name,
		      void (*run)(struct actor *))
{
	struct actor *a = &w->actor[w->actors];

	a->index = w->actors++;
	a->role = role;
	a->run = run;
	a->lies = w->scenario->lies[role];
	(void)snprintf(a->name, sizeof(a->name), "%s%u", name, a->index);
	actor_open(a, w, w->seed * 1000 + a->index + 1);
	if (!w->scenario->steady && role != ROLE_NETWORK &&
	    sim_below(&w->random, CRASH_ONE_OF) == 0)
		a->crash_at = 1 + sim_below(&w->random, CRASH_AT_MAX);
}

static void world_init(struct world *w, const struct scenario *scenario, uint64_t seed, FILE *trace)
{
	static const struct clock_ops ops = {.now_us = world_now,
					     .monotonic_us = world_now,
					     .since_boot_us = world_now,
					     .sleep_us = world_sleep};
	struct repository_init init = {.encryption = ENCRYPTION_NONE, .slot_name = "clear"};
	struct error why;

	*w = (struct world){.scenario = scenario,
			    .seed = seed,
			    .clock = {.ops = &ops},
			    .now_us = STARTS_AT_US,
			    .running = -1,
			    .trace = trace,
			    .truth = {.reads = -1}};
	sim_random_init(&w->random, seed);
	(void)pthread_mutex_init(&w->mutex, NULL); /* cannot fail on Linux */
	(void)pthread_cond_init(&w->over, NULL);
	for (int i = 0; i < SIM_ATTEMPTS; i++) {
		char text[ATTEMPT_TEXT_MAX];

		(void)snprintf(text, sizeof(text), "20261123T00000%dZ-000000000000000%d", i, i);
		if (!attempt_from_text(text, &w->attempt[i]))
			abort();
		w->truth.undeleted[i] = w->truth.hidden[i] = -1;
	}
	w->observer.env = env_os();
	w->observer.env.clock = &w->clock;
	must(store_memory_open(&w->observer.env, &w->memory, &why), &why);
	must(repository_init(&w->observer.env, w->memory, &init, &why), &why);
	(void)snprintf(w->observer.name, sizeof(w->observer.name), "end");
	actor_open(&w->observer, w, seed);
	wal_init(w);
	if (scenario->policy)
		policy_init(w);
	must(writer_backup(&w->observer, 0, -1, &why), &why);
	if (scenario->policy)
		must(policy_pause(&w->observer, &why), &why);
	must(writer_backup(&w->observer, 1, 0, &why), &why);
	if (scenario->policy)
		must(policy_pause(&w->observer, &why), &why);
	if (scenario->copies > 0)
		source_init(w);
}

static void add_actors(struct world *w)
{
	const struct scenario *s = w->scenario;

	for (unsigned i = 0; i < s->writers; i++)
		add_actor(w, ROLE_WRITER, "writer", writer_run);
	for (unsigned i = 0; i < s->maintenance; i++)
		add_actor(w, ROLE_MAINTENANCE, "maint", maintenance_run);
	if (s->restore)
		add_actor(w, ROLE_RESTORE, "restore", s->policy ? recovery_run : restore_run);
	if (s->person)
		add_actor(w, ROLE_PERSON, "person", s->policy ? marker_run : person_run);
	for (unsigned i = 0; i < s->copies; i++)
		add_actor(w, ROLE_COPY, "copy", copy_run);
	if ((s->lies[ROLE_WRITER] & LIE_COMMIT_TWICE) != 0)
		add_actor(w, ROLE_NETWORK, "network", network_run);
}

void world_run(struct world *w, const struct scenario *scenario, uint64_t seed, FILE *trace)
{
	world_init(w, scenario, seed, trace);
	w->order = sim_below(&w->random, ORDER_WEIGHTY + 1);
	w->changes = 1 + sim_below(&w->random, 5);
	add_actors(w);
	baton_run(w);
	if (w->violation[0] == '\0')
		settle_run(&w->observer);
	if (w->violation[0] == '\0')
		truth_check_end(w);
}

void world_release(struct world *w)
{
	for (unsigned i = 0; i < w->actors; i++)
		actor_close(&w->actor[i]);
	source_release(w);
	actor_close(&w->observer);
	store_close(w->memory);
	free(w->ghost);
	(void)pthread_mutex_destroy(&w->mutex);
	(void)pthread_cond_destroy(&w->over);
}
