/* sim/protocol.c - runs scenarios over seeds: the protocol as it is shipped must hold for each, and
 * every broken variant of it must be found out.
 *
 *	sim_protocol [SCENARIO SEED]	shows one run step by step
 *
 * PGAGENT_SIM_SEEDS is the number of seeds of each scenario that must hold (default 100); PGAGENT_SIM_FROM
 * the first (default 1).  A variant has to be found within VARIANT_SEEDS_MAX; the search for one that few seeds find
 * begins shortly before the first that is known to.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SEEDS = 100, VARIANT_SEEDS_MAX = 20000 };

#define ALL .writers = 2, .maintenance = 2, .operations = 3, .restore = true, .person = true
#define ONE_MAINTENANCE .writers = 2, .maintenance = 1, .operations = 3, .restore = true
#define TWO_MAINTENANCE .writers = 1, .maintenance = 2, .operations = 2, .restore = true
#define ONE_WRITER .writers = 1, .maintenance = 1, .steady = true, .script = "bs"
#define ONE_WRITER_TWO .writers = 1, .maintenance = 2, .steady = true, .script = "sbs"
#define ONE_READER .maintenance = 2, .restore = true, .steady = true, .script = "bs"
#define TWICE .writers = 1, .maintenance = 1, .operations = 4
#define WAL ALL, .wal = true
#define WAL_OF_TWO                                                                                 \
	.writers = 2, .maintenance = 1, .steady = true, .fresh = true, .wal = true, .script = "obww"

#define WAL_OF_A_STANDBY WAL_OF_TWO, .standby = true
#define POLICY .wal = true, .policy = true
#define POLICY_ONE .restore = true, .maintenance = 1, .steady = true, POLICY, .script = "pp"

#define ONE_COPY .copies = 1, .maintenance = 1, .steady = true
/* What is copied begins before all that is left here. */
#define WAL_OF_A_COPY ONE_COPY, .writers = 1, .fresh = true, .wal = true, .script = "obww"

static const struct scenario scenarios[] = {
	{.name = "everybody", ALL},
	{.name = "one maintenance run", ONE_MAINTENANCE},
	{.name = "two maintenance runs", TWO_MAINTENANCE},
	{.name = "commit delivered twice", TWICE, .lies = {[ROLE_WRITER] = LIE_COMMIT_TWICE}},
	{.name = "one writer, one removal", ONE_WRITER},
	{.name = "one reader, two removals", ONE_READER},
	{.name = "one writer, two removals", ONE_WRITER_TWO},
	{.name = "WAL of everybody", WAL},
	{.name = "WAL of two writers", WAL_OF_TWO},
	{.name = "WAL of everybody, from a standby", WAL, .standby = true},
	{.name = "WAL of two who read a standby", WAL_OF_A_STANDBY},
	{.name = "a policy", ALL, POLICY},
	{.name = "a policy, from a standby", ALL, POLICY, .standby = true},
	{.name = "a policy and a recovery", POLICY_ONE},
	{.name = "two policies and a mark",
	 .maintenance = 2,
	 .operations = 2,
	 .person = true,
	 POLICY,
	 .script = "pp"},
	{.name = "a policy and a backup",
	 .writers = 1,
	 .maintenance = 1,
	 .restore = true,
	 POLICY,
	 .script = "ppp"},
	{.name = "a copy",
	 .writers = 1,
	 .copies = 1,
	 .maintenance = 1,
	 .operations = 4,
	 .person = true},
	{.name = "a copy beside two", .writers = 1, .copies = 1, .maintenance = 2, .operations = 3},
	{.name = "two copies", .copies = 2, .maintenance = 1, .operations = 5},
	{.name = "a copy after two removals", ONE_COPY, .script = "obs"},
	{.name = "a silent copy", ONE_COPY, .script = "obds"},
	{.name = "WAL of a copy and a writer", WAL_OF_A_COPY},
	{.name = "WAL of a copy",
	 .writers = 1,
	 .copies = 1,
	 .maintenance = 1,
	 .operations = 4,
	 .wal = true},
	/* As the model of the protocol has them. */
	{.name = "manifests read before pins",
	 ONE_MAINTENANCE,
	 .lies = {[ROLE_MAINTENANCE] = LIE_OLD_MANIFESTS},
	 .broken = true},
	{.name = "packs listed last",
	 ONE_MAINTENANCE,
	 .lies = {[ROLE_MAINTENANCE] = LIE_LATE_PACKS},
	 .broken = true},
	{.name = "writer does not look for a tombstone",
	 ONE_WRITER,
	 .lies = {[ROLE_WRITER] = LIE_NO_TOMBS},
	 .broken = true,
	 .search_from = 3200},
	{.name = "expire ignores pins",
	 ONE_MAINTENANCE,
	 .lies = {[ROLE_MAINTENANCE] = LIE_PINS_IN_EXPIRE},
	 .broken = true},
	{.name = "stale attempt dropped without abort marker",
	 ONE_MAINTENANCE,
	 .lies = {[ROLE_MAINTENANCE] = LIE_NO_ABORT},
	 .broken = true,
	 .search_from = 350},
	{.name = "commit overwrites",
	 ONE_MAINTENANCE,
	 .lies = {[ROLE_WRITER] = LIE_COMMIT_OVERWRITES},
	 .broken = true},
	{.name = "open attempts not protected",
	 ONE_MAINTENANCE,
	 .lies = {[ROLE_MAINTENANCE] = LIE_PINS_IN_SWEEP},
	 .broken = true},
	{.name = "restore takes no pin",
	 ONE_MAINTENANCE,
	 .lies = {[ROLE_RESTORE] = LIE_PINS_SWALLOWED},
	 .broken = true},
	{.name = "tombstone can be withdrawn",
	 ONE_READER,
	 .lies = {[ROLE_MAINTENANCE] = LIE_TOMB_WITHDRAWN},
	 .broken = true,
	 .search_from = 2250},
	{.name = "tombstone removed with the manifest",
	 TWICE,
	 .lies = {[ROLE_WRITER] = LIE_COMMIT_TWICE, [ROLE_MAINTENANCE] = LIE_TOMB_GOES_EARLY},
	 .broken = true},
	/* And of what the model does not have. */
	{.name = "restore does not look for a tombstone",
	 ONE_READER,
	 .lies = {[ROLE_RESTORE] = LIE_NO_TOMBS},
	 .broken = true,
	 .search_from = 2250},
	{.name = "a backup that goes under a sweep counts as none",
	 ONE_WRITER_TWO,
	 .lies = {[ROLE_MAINTENANCE] = LIE_GONE_IS_MARKER},
	 .broken = true},
	{.name = "the end of hiding overwrites",
	 ALL,
	 .lies = {[ROLE_MAINTENANCE] = LIE_END_OVERWRITES, [ROLE_PERSON] = LIE_END_OVERWRITES},
	 .broken = true},
	{.name = "WAL is swept without a look at writers",
	 WAL_OF_TWO,
	 .lies = {[ROLE_MAINTENANCE] = LIE_PINS_IN_SWEEP},
	 .broken = true},
	{.name = "WAL is swept with manifests read before pins",
	 WAL_OF_TWO,
	 .lies = {[ROLE_MAINTENANCE] = LIE_OLD_MANIFESTS},
	 .broken = true},
	{.name = "who reads a standby does not look for a sweep",
	 WAL_OF_A_STANDBY,
	 .lies = {[ROLE_WRITER] = LIE_NO_SWEEPS},
	 .broken = true,
	 .search_from = 700},
	{.name = "a policy does not look for recoveries",
	 POLICY_ONE,
	 .lies = {[ROLE_MAINTENANCE] = LIE_PINS_IN_SWEEP},
	 .broken = true},
	{.name = "a policy does not look for recoveries again",
	 POLICY_ONE,
	 .lies = {[ROLE_MAINTENANCE] = LIE_PINS_BEHIND_GAPS},
	 .broken = true,
	 .search_from = 500},
	{.name = "a recovery takes no pin",
	 POLICY_ONE,
	 .lies = {[ROLE_RESTORE] = LIE_PINS_SWALLOWED},
	 .broken = true},
	{.name = "a recovery does not look for what is about to go",
	 POLICY_ONE,
	 .lies = {[ROLE_RESTORE] = LIE_NO_GAPS},
	 .broken = true,
	 .search_from = 1600},
	{.name = "a policy does not look for marks again",
	 .maintenance = 1,
	 .person = true,
	 .steady = true,
	 POLICY,
	 .script = "pp",
	 .lies = {[ROLE_MAINTENANCE] = LIE_NO_MARKS},
	 .broken = true},
	{.name = "a copy takes no pin",
	 ONE_COPY,
	 .script = "obs",
	 .lies = {[ROLE_COPY] = LIE_PINS_SWALLOWED},
	 .broken = true},
	{.name = "a sweep takes no pin",
	 ONE_COPY,
	 .script = "obs",
	 .lies = {[ROLE_MAINTENANCE] = LIE_PINS_SWALLOWED},
	 .broken = true},
	{.name = "a sweep does not look for a copy",
	 ONE_COPY,
	 .script = "obs",
	 .lies = {[ROLE_MAINTENANCE] = LIE_PINS_IN_SWEEP},
	 .broken = true},
	{.name = "a copy does not look for a sweep",
	 ONE_COPY,
	 .script = "obs",
	 .lies = {[ROLE_COPY] = LIE_NO_SWEEPS},
	 .broken = true},
	{.name = "a silent copy is ended without abort marker",
	 ONE_COPY,
	 .script = "obds",
	 .lies = {[ROLE_MAINTENANCE] = LIE_NO_ABORT},
	 .broken = true},
	{.name = "WAL is swept without a look at a copy",
	 WAL_OF_A_COPY,
	 .lies = {[ROLE_MAINTENANCE] = LIE_PINS_IN_SWEEP},
	 .broken = true},
};
enum { SCENARIOS = sizeof(scenarios) / sizeof(scenarios[0]) };

static uint64_t number_of(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text == NULL || *text == '\0' ? otherwise : strtoull(text, NULL, 10);
}

static double seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* True when the scenario came out as it has to. */
static bool run_scenario(const struct scenario *s, uint64_t from, uint64_t seeds)
{
	double began = seconds();
	uint64_t steps = 0;

	for (uint64_t seed = from; seed < from + seeds; seed++) {
		struct world *w = malloc(sizeof(*w));
		bool found;

		if (w == NULL)
			abort();
		world_run(w, s, seed, NULL);
		steps += w->steps;
		found = w->violation[0] != '\0';
		if (found)
			(void)printf("%s  %-44s seed %llu: %s (%.1f s)\n",
				     s->broken ? "found " : "FAILED", s->name,
				     (unsigned long long)seed, w->violation, seconds() - began);
		world_release(w);
		free(w);
		if (found)
			return s->broken;
	}
	(void)printf("%s  %-44s seeds %llu-%llu, %llu steps: no violation (%.1f s)\n",
		     s->broken ? "FAILED" : "holds ", s->name, (unsigned long long)from,
		     (unsigned long long)(from + seeds - 1), (unsigned long long)steps,
		     seconds() - began);
	return !s->broken;
}

static int show_one(const char *name, uint64_t seed)
{
	for (size_t i = 0; i < SCENARIOS; i++) {
		struct world *w;

		if (strcmp(scenarios[i].name, name) != 0)
			continue;
		w = malloc(sizeof(*w));
		if (w == NULL)
			abort();
		world_run(w, &scenarios[i], seed, stdout);
		(void)printf("%s\n", w->violation[0] != '\0' ? w->violation : "no violation");
		world_release(w);
		free(w);
		return 0;
	}
	(void)fprintf(stderr, "no scenario \"%s\"\n", name);
	return 2;
}

int main(int argc, char **argv)
{
	uint64_t from = number_of("PGAGENT_SIM_FROM", 1);
	uint64_t seeds = number_of("PGAGENT_SIM_SEEDS", SEEDS);
	int result = 0;

	if (argc == 3)
		return show_one(argv[1], strtoull(argv[2], NULL, 10));
	for (size_t i = 0; i < SCENARIOS; i++) {
		const struct scenario *s = &scenarios[i];

		if (!run_scenario(s, s->broken && s->search_from > from ? s->search_from : from,
				  s->broken ? VARIANT_SEEDS_MAX : seeds))
			result = 1;
		(void)fflush(stdout);
	}
	return result;
}
