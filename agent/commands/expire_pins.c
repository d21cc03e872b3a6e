/* commands/expire_pins.c - what waits for whom, until when, and what ends it. */
#include "agent.h"
#include "commands/backup_report.h"
#include "commands/expire.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool names(const struct pin_seen *pin, const struct attempt *attempt)
{
	for (size_t i = 0; i < pin->backups; i++)
		if (attempt_compare(&pin->backup[i], attempt) == 0)
			return true;
	return false;
}

static bool is_alone(const struct expire_part *part, const struct attempt *attempt)
{
	for (size_t i = 0; part->policy != NULL && i < part->policy->alones; i++)
		if (attempt_compare(&part->policy->alone[i], attempt) == 0)
			return true;
	return false;
}

const struct pin_seen *expire_pin_of(const struct expire_part *part, const struct attempt *attempt)
{
	const char *holder = NULL;
	bool goes = false;

	for (size_t i = 0; i < part->count; i++) {
		const struct expire_going *going = &part->going[i];

		if (!going->told || attempt_compare(&going->attempt, attempt) != 0)
			continue;
		goes = true;
		if (going->result.outcome == EXPIRE_PINNED)
			holder = going->result.pinned_by;
	}
	for (size_t i = 0; i < part->pins.count; i++) {
		const struct pin_seen *pin = &part->pins.pin[i];

		if (goes ? holder != NULL && strcmp(pin->holder, holder) == 0
			 : !pin->is_writer && names(pin, attempt) && is_alone(part, attempt))
			return pin;
	}
	return NULL;
}

/* Who it is, and what ends it before silence does; "" = nothing. */
struct story {
	char who[160];
	const char *ends;
};

static struct story story_of(const struct pin_seen *pin)
{
	static const struct {
		const char *kind, *who, *does, *ends;
	} known[] = {
		{"restore", "a restore or an export", "reads it", "when that has ended, or "},
		{"recovery", "a server that was restored", "replays WAL from it on",
		 "when restore --start has seen that promoted, else "},
		{"copy", "a copy", "reads it", "when that has ended, or "},
		{"backup", "a backup", "has it as its parent", "when that has ended, or "},
	};
	struct story story = {.ends = ""};

	for (size_t i = 0; !pin->unreadable && i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(pin->kind, known[i].kind) != 0)
			continue;
		(void)snprintf(story.who, sizeof(story.who), "%s on %s %s", known[i].who, pin->host,
			       known[i].does); /* fits */
		story.ends = known[i].ends;
		return story;
	}
	if (pin->unreadable)
		(void)snprintf(story.who, sizeof(story.who),
			       "a pin that can't be read keeps everything");
	else
		(void)snprintf(story.who, sizeof(story.who), "%s on %s reads it", pin->kind,
			       pin->host); /* fits */
	return story;
}

/* The earliest moment at which silence ends it. */
static int64_t not_before_us(const struct expire_part *part, const struct pin_seen *pin)
{
	const struct expiry *x = part->expiry;
	struct clock *clock = x->agent->env.clock;

	return clock_now_us(clock) + pin_silence_max_us(pin) -
	       sightings_silent_us(x->sightings, &part->cluster, pin, clock_monotonic_us(clock));
}

/* "24 hours", "15 minutes": the limits are whole ones. */
static void limit_text(const struct pin_seen *pin, char out[32])
{
	const int64_t minute_us = INT64_C(60) * 1000 * 1000;
	int64_t minutes = pin_silence_max_us(pin) / minute_us;

	if (minutes % 60 == 0)
		(void)snprintf(out, 32, "%" PRId64 " hours", minutes / 60);
	else
		(void)snprintf(out, 32, "%" PRId64 " minutes", minutes);
}

void expire_say_pin(const struct expire_part *part, const struct pin_seen *pin, const char *what)
{
	const struct story story = story_of(pin);
	bool recovery = strcmp(pin->kind, "recovery") == 0;
	char limit[32], moment[BACKUP_TIME_MAX];

	limit_text(pin, limit);
	backup_time_to_text(not_before_us(part, pin), moment);
	report_text(&part->expiry->agent->report,
		    "      %s; %s with the first expire or backup after its pin has ended:\n"
		    "      %s ends %s%s%s %s, not before %s UTC\n",
		    story.who, what, pin->holder, story.ends, recovery ? "" : "after ", limit,
		    recovery ? "after it asked for WAL last" : "without a sign of life", moment);
}

json_t *expire_pin_json(const struct expire_part *part, const struct pin_seen *pin)
{
	json_t *object;

	if (pin == NULL)
		return json_null();
	object = json_object();
	report_put(object, "holder", report_json_text(pin->holder));
	report_put(object, "kind", report_json_text(pin->unreadable ? NULL : pin->kind));
	report_put(object, "host", report_json_text(pin->unreadable ? NULL : pin->host));
	report_put(object, "silence_limit_seconds",
		   json_real((double)pin_silence_max_us(pin) / 1e6));
	report_put(object, "ends_not_before", report_json_time(not_before_us(part, pin)));
	return object;
}
