/* repo/retention_clock.c - whether the wall clock went as time did since it was looked at last. */
#include "base/clock.h"
#include "repo/lines.h"
#include "repo/pins.h"
#include "repo/retention.h"

#include <stdio.h>
#include <string.h>

/* Time since the boot goes on while the machine is suspended, as the wall clock does. */
void retention_clock_look(const struct env *env, struct retention_clock *out)
{
	sightings_boot_id(env, out->boot);
	out->wall_us = clock_now_us(env->clock);
	out->since_boot_us = clock_since_boot_us(env->clock);
}

static int64_t off_max_us(const struct retention_policy *policy)
{
	int64_t half_us = policy->window_us / 2;

	if (policy->window_us == 0 || half_us > RETENTION_OFF_MAX_US)
		return RETENTION_OFF_MAX_US;
	return half_us < RETENTION_OFF_MIN_US ? RETENTION_OFF_MIN_US : half_us;
}

static enum err refuse(const struct retention_clock *before, const struct retention_clock *now,
		       const char *how, const char *unless, struct error *why)
{
	char then[TIME_TEXT_MAX], here[TIME_TEXT_MAX];

	time_to_text(before->wall_us, then);
	time_to_text(now->wall_us, here);
	(void)error_set(why, ERR_DENIED,
			"this host's clock %s: it showed %s at the last run, and %s now; nothing "
			"is removed by time",
			how, then, here);
	error_hint(why,
		   "set the clock; if it is right now%s, say so: pgagent expire --confirm "
		   "--clock-is-right",
		   unless);
	return ERR_DENIED;
}

enum err retention_check_clock(const struct retention_policy *policy,
			       const struct retention_clock *before,
			       const struct retention_clock *now, struct error *why)
{
	bool named = strcmp(now->boot, "unknown") != 0 && strcmp(before->boot, "unknown") != 0;
	bool one_boot = named && strcmp(before->boot, now->boot) == 0;
	int64_t went_us = now->wall_us - before->wall_us;
	/* Across boots at least what this one lasts; where they have no names it may be the same. */
	int64_t passed_us = one_boot ? now->since_boot_us - before->since_boot_us
			    : named  ? now->since_boot_us
				     : 0;

	if (went_us - (one_boot ? passed_us : 0) < -RETENTION_JUMP_US ||
	    (one_boot && went_us - passed_us > RETENTION_JUMP_US))
		return refuse(before, now, "jumped", ", or a virtual machine was paused", why);
	if (!one_boot && went_us - passed_us > off_max_us(policy))
		return refuse(before, now,
			      "came up far ahead, or the host was off for longer than can be taken "
			      "for granted",
			      ", as the host was off", why);
	return ERR_NONE;
}

void retention_clock_encode(const struct retention_clock *c, struct writer *out)
{
	char text[TIME_TEXT_MAX];

	lines_put(out, "boot", c->boot);
	time_to_text(c->wall_us, text);
	lines_put(out, "time", text);
	lines_putf(out, "since-boot-us", "%lld", (long long)c->since_boot_us);
}

enum err retention_clock_decode(struct bytes text, struct retention_clock *out, struct error *why)
{
	struct retention_clock c;
	char time[TIME_TEXT_MAX];
	uint64_t since_boot_us;

	if (!lines_get(text, "boot", c.boot, sizeof(c.boot)) ||
	    !lines_get(text, "time", time, sizeof(time)) || !time_from_text(time, &c.wall_us) ||
	    !lines_get_u64(text, "since-boot-us", &since_boot_us) || since_boot_us > INT64_MAX)
		return error_set(why, ERR_CORRUPT, "what the clock showed: not such a file");
	c.since_boot_us = (int64_t)since_boot_us;
	*out = c;
	return ERR_NONE;
}
