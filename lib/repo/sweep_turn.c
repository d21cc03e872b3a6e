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

static bool has_holder(const struct pins *pins, const char *holder)
{
	for (size_t i = 0; i < pins->count; i++)
		if (strcmp(pins->pin[i].holder, holder) == 0)
			return true;
	return false;
}

/* Which sweeps are under way; `among` NULL = all.  Release `out` also after a failure. */
static enum err find_sweeps(const struct cluster *c, const struct pins *among, struct pins *out,
			    struct error *why)
{
	size_t sweeps = 0;
	enum err e = pins_read(c, out, why);

	for (size_t i = 0; i < out->count; i++) {
		const struct pin_seen *pin = &out->pin[i];

		if (sweep_is_under_way(pin) && (among == NULL || has_holder(among, pin->holder)))
			out->pin[sweeps++] = *pin;
	}
	out->count = sweeps;
	return e;
}

static enum err still_there(const struct cluster *c, const struct pin_seen *pin, const char *who,
			    struct error *why)
{
	const char *host = host_of(pin);

	(void)error_set(why, ERR_TRANSIENT,
			"an expire on %s began before this %s and removes from %s for more than "
			"%" PRId64 " minutes (pin %s)",
			host, who, c->repository->store->label, SWEEP_WAIT_US / MINUTE_US,
			pin->holder);
	error_hint(
		why,
		"let it end, then run the %s again; if it was killed, pgagent expire --confirm on "
		"%s ends its pin at once; if that host is gone for good, pgagent expire --confirm "
		"on another one does, when it sees the pin again %" PRId64 " hours after the first "
		"time",
		who, host, STALE_READER_US / HOUR_US);
	return ERR_TRANSIENT;
}

static void tell_waiting(const struct cluster *c, const struct pin_seen *pin, const char *who)
{
	observer_event(
		c->repository->env->observer, LEVEL_INFO,
		"an expire on %s began before this %s and removes from %s (pin %s): waiting for "
		"its end, %" PRId64 " minutes at most",
		host_of(pin), who, c->repository->store->label, pin->holder,
		SWEEP_WAIT_US / MINUTE_US);
}

enum err sweep_outlast(const struct cluster *c, const char *who, struct error *why)
{
	const struct env *env = c->repository->env;
	const struct progress waiting = {.phase = "waiting for an expire"};
	int64_t deadline = clock_monotonic_us(env->clock) + SWEEP_WAIT_US;
	struct pins left = {.count = 0};
	enum err e = find_sweeps(c, NULL, &left, why);

	if (e == ERR_NONE && left.count > 0)
		tell_waiting(c, &left.pin[0], who);
	while (e == ERR_NONE && left.count > 0) {
		struct pins now;

		if (*env->cancelled) {
			e = error_set(why, ERR_CANCELLED, "%s: stopped on request", who);
			break;
		}
		if (clock_monotonic_us(env->clock) >= deadline) {
			e = still_there(c, &left.pin[0], who, why);
			break;
		}
		observer_progress(env->observer, &waiting);
		clock_sleep_us(env->clock, LOOK_EVERY_US);
		e = find_sweeps(c, &left, &now, why);
		pins_release(&left);
		left = now;
	}
	pins_release(&left);
	return e;
}
