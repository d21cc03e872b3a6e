/* repo/sweep_turn.c - the pin of a sweep, and who waits for it.
 *
 * What a sweep listed before somebody's pin was there it may remove until it ends, however long it stood still
 * meanwhile.  So who may refer to what was stored before his pin looks for pins of sweeps after it.
 */
#include "repo/sweep_internal.h"

#include <inttypes.h>
#include <string.h>

enum { LOOK_EVERY_US = 2 * 1000 * 1000 };
#define MINUTE_US (INT64_C(60) * 1000 * 1000)
#define HOUR_US (60 * MINUTE_US)

enum err sweep_turn_take(struct sweep_turn *turn, const struct cluster *c, struct error *why)
{
	const struct env *env = c->repository->env;
	enum err e;

	*turn = (struct sweep_turn){.cluster = c,
				    .pin = {.kind = PIN_SWEEP},
				    .began_us = clock_now_us(env->clock),
				    .began_since_boot_us = clock_since_boot_us(env->clock)};
	e = pin_holder_new(env, "sweep", turn->pin.holder, why);
	return e == ERR_NONE ? pin_put(c, &turn->pin, why) : e;
}

enum err sweep_turn_check(const struct sweep_turn *turn, struct error *why)
{
	const struct env *env = turn->cluster->repository->env;

	if (*env->cancelled)
		return error_set(why, ERR_CANCELLED, "sweep: stopped on request");
	/* One may be set, the other stands still where a virtual machine is paused. */
	if (clock_now_us(env->clock) - turn->began_us < SWEEP_TIME_MAX_US &&
	    clock_since_boot_us(env->clock) - turn->began_since_boot_us < SWEEP_TIME_MAX_US)
		return ERR_NONE;
	return error_set(why, ERR_TRANSIENT,
			 "%s: the sweep took %" PRId64 " hours and ends here; the next goes on",
			 turn->cluster->repository->store->label, SWEEP_TIME_MAX_US / HOUR_US);
}

void sweep_turn_end(struct sweep_turn *turn)
{
	struct error why;

	if (turn->cluster == NULL)
		return;
	if (pin_drop(turn->cluster, turn->pin.holder, &why) != ERR_NONE)
		observer_event(
			turn->cluster->repository->env->observer, LEVEL_WARNING,
			"pin of a sweep left behind: copies into %s and backups from a standby "
			"wait for it until the next pgagent backup or expire --confirm on this "
			"host: %s",
			turn->cluster->repository->store->label, why.text);
	turn->cluster = NULL;
}

bool sweep_is_under_way(const struct pin_seen *pin)
{
	return !pin->gone && strncmp(pin->holder, "sweep-", 6) == 0;
}

bool sweep_is_held(const struct cluster *c, const struct pins *pins, bool force)
{
	for (size_t i = 0; i < pins->count; i++) {
		if (!pin_holds_sweeps(&pins->pin[i]) || (force && pins->pin[i].gone))
			continue;
		observer_event(c->repository->env->observer, LEVEL_INFO,
			       "a copy into %s (%s) %s: nothing is swept until it is over",
			       c->repository->store->label, pins->pin[i].holder,
			       pins->pin[i].gone ? "broke off, and has a day to go on"
						 : "is under way");
		return true;
	}
	return false;
}

/* ---- waiting ---- */

/* The pin can't be read, or names no host. */
static const char *host_of(const struct pin_seen *pin)
{
	return pin->host[0] != '\0' ? pin->host : "an unknown host";
}

/* Which sweeps are under way.  Release `out` also after a failure. */
static enum err find_sweeps(const struct cluster *c, struct pins *out, struct error *why)
{
	size_t sweeps = 0;
	enum err e = pins_read(c, out, why);

	for (size_t i = 0; i < out->count; i++)
		if (sweep_is_under_way(&out->pin[i]))
			out->pin[sweeps++] = out->pin[i];
	out->count = sweeps;
	return e;
}

/* One of them, looked at again: *over = it removes nothing any more. */
static enum err look_again(const struct cluster *c, const struct sweep_wait *wait,
			   struct pin_seen *pin, bool *over, struct error *why)
{
	struct clock *clock = c->repository->env->clock;
	const struct pins one = {.pin = pin, .count = 1};
	struct pin_seen now;
	size_t ended = 0;
	enum err e = pins_read_holder(c, pin->holder, &now, why);

	*over = e == ERR_MISSING || (e == ERR_NONE && !sweep_is_under_way(&now));
	if (e != ERR_NONE || *over)
		return e == ERR_MISSING ? ERR_NONE : e;
	*pin = now;
	if (wait->seen != NULL)
		e = pins_end_stale(c, &one, wait->seen, clock_monotonic_us(clock), &ended, why);
	*over = ended > 0;
	return e;
}

/* Leaves those that are still under way. */
static enum err pass_over_ended(const struct cluster *c, const struct sweep_wait *wait,
				struct pins *left, struct error *why)
{
	size_t count = 0;
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < left->count; i++) {
		bool over = false;

		e = look_again(c, wait, &left->pin[i], &over, why);
		if (!over)
			left->pin[count++] = left->pin[i];
	}
	if (e == ERR_NONE)
		left->count = count;
	return e;
}

static enum err still_there(const struct cluster *c, const struct pin_seen *pin, const char *who,
			    struct error *why)
{
	const char *host = host_of(pin);

	(void)error_set(why, ERR_TRANSIENT,
			"an expire on %s began before this %s, removes from %s, and is not over "
			"after %" PRId64 " minutes of waiting (pin %s)",
			host, who, c->repository->store->label, SWEEP_WAIT_US / MINUTE_US,
			pin->holder);
	error_hint(
		why,
		"let it end, then run the %s again; if it was killed, pgagent expire --confirm on "
		"%s ends its pin at once; if that host is gone for good, the first backup, copy or "
		"expire --confirm on this one that sees it %" PRId64 " hours after the first time "
		"does",
		who, host, STALE_READER_US / HOUR_US);
	return ERR_TRANSIENT;
}

static void tell_waiting(const struct cluster *c, const struct pin_seen *pin,
			 const struct sweep_wait *wait)
{
	observer_event(
		c->repository->env->observer, LEVEL_INFO,
		"an expire on %s began before this %s and removes from %s (pin %s): waiting for "
		"its end, %" PRId64 " minutes at most",
		host_of(pin), wait->who, c->repository->store->label, pin->holder,
		(SWEEP_WAIT_US - wait->waited_us) / MINUTE_US);
}

enum err sweep_outlast(const struct cluster *c, struct sweep_wait *wait, struct error *why)
{
	const struct env *env = c->repository->env;
	const struct progress waiting = {.phase = "waiting for an expire"};
	int64_t began_us = clock_monotonic_us(env->clock), before_us = wait->waited_us;
	struct pins left = {.count = 0};
	bool told = false;
	enum err e = find_sweeps(c, &left, why);

	while (e == ERR_NONE) {
		e = pass_over_ended(c, wait, &left, why);
		if (e != ERR_NONE || left.count == 0)
			break;
		if (!told)
			tell_waiting(c, &left.pin[0], wait);
		told = true;
		if (*env->cancelled)
			e = error_set(why, ERR_CANCELLED, "%s: stopped on request", wait->who);
		else if (wait->waited_us >= SWEEP_WAIT_US)
			e = still_there(c, &left.pin[0], wait->who, why);
		if (e != ERR_NONE)
			break;
		observer_progress(env->observer, &waiting);
		clock_sleep_us(env->clock, LOOK_EVERY_US);
		wait->waited_us = before_us + (clock_monotonic_us(env->clock) - began_us);
	}
	pins_release(&left);
	return e;
}
