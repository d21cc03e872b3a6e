/* commands/check_backup.c - whether each repository has a backup, and a fresh one. */
#include "base/text.h"
#include "commands/check.h"
#include "repo/decision.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A schedule's own time and as much again, or one day: one late or long run is no news, a missed one is. */
#define DAY_US (INT64_C(86400) * 1000000)
#define NIGHTLY_MAX_US (2 * DAY_US)
#define WEEKLY_MAX_US (8 * DAY_US)
#define MONTHLY_MAX_US (32 * DAY_US)

/* 0 = nothing can be said. */
static int64_t age_max_us(const char *schedule)
{
	char day[64], month[64], weekday[64];

	if (sscanf(schedule, "%*s %*s %63s %63s %63s", day, month, weekday) != 3 ||
	    strcmp(month, "*") != 0)
		return 0;
	/* Both days given: cron takes either. */
	if (strcmp(weekday, "*") != 0)
		return WEEKLY_MAX_US;
	return strcmp(day, "*") != 0 ? MONTHLY_MAX_US : NIGHTLY_MAX_US;
}

bool check_backup_is_overdue(const char *schedule, int64_t age_us)
{
	int64_t max_us = age_max_us(schedule);

	return max_us > 0 && age_us > max_us;
}

void check_newest(const struct check *c, const struct place *place, struct newest_backup *out)
{
	uint8_t digest[CRYPTO_SHA256_BYTES];
	struct manifest *manifest = NULL;
	struct attempt newest;
	struct cluster cluster;
	uint64_t generation;

	*out = (struct newest_backup){.read = ERR_NONE};
	if (place->repository == NULL || !c->has_system) {
		out->read = error_set(&out->why, ERR_TRANSIENT,
				      "without the server nobody knows which is its own");
		return;
	}
	cluster_init(&cluster, place->repository, c->config->section.name, c->system_identifier);
	out->read = decision_newest(&cluster, &newest, &generation, digest, &out->why);
	if (out->read == ERR_NONE)
		out->read = manifest_read(&cluster, &newest, &manifest, &out->why);
	if (out->read == ERR_NONE) {
		attempt_to_text(&newest, out->id);
		out->bytes_stored = manifest->summary.bytes_stored;
		out->finished_us = manifest->summary.finished_us;
	}
	manifest_free(manifest);
}

static void say_age(struct check *c, const struct place *place, const struct newest_backup *newest)
{
	int64_t age = clock_now_us(c->agent->env.clock) - newest->finished_us;
	char text[TEXT_DURATION_MAX], what[64];

	age = age < 0 ? 0 : age; /* the clock link tells */
	text_of_duration(age, text);
	if (check_backup_is_overdue(c->config->backup_schedule, age))
		check_say(c, CHECK_WARNING, "backup",
			  "see why none came: systemctl list-timers 'pgagent-*'; then: pgagent "
			  "backup\nmade less often by intent: backup_schedule says when",
			  "the newest in repository %s is %s, of %s ago; backup_schedule is \"%s\"",
			  place_name(place), newest->id, text, c->config->backup_schedule);
	else
		check_say(c, CHECK_OK, "backup", NULL, "repository %s: %s, of %s ago",
			  place_name(place), newest->id, text);
	(void)snprintf(what, sizeof(what), "age_%.50s",
		       place_name(place)); /* cut is still a name */
	check_figure(c, "age_seconds", (uint64_t)(age / 1000000), what, "s");
}

void check_backup(struct check *c, const struct place *place, const struct newest_backup *newest)
{
	if (newest->read == ERR_NONE) {
		say_age(c, place, newest);
	} else if (newest->read == ERR_MISSING) {
		check_say(c, CHECK_WARNING, "backup",
			  place->config->mode == CONFIG_MODE_SYNC ? "pgagent backup"
								  : "pgagent copy brings them",
			  "repository %s has no backup of this server: WAL alone restores nothing",
			  place_name(place));
	} else if (!c->has_system) {
		check_say(c, CHECK_UNPROVEN, "backup", NULL, "repository %s: %s", place_name(place),
			  newest->why.text);
	} else {
		struct error why = newest->why;

		(void)error_add(&why, "the newest backup in repository %s", place_name(place));
		check_fail(c, "backup", &why);
	}
}
