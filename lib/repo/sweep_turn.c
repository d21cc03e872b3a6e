/* repo/sweep_turn.c - the pin of a sweep: it tells a copy into this repository to wait. */
#include "repo/sweep_internal.h"

#include <inttypes.h>

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
			 turn->cluster->repository->store->label,
			 SWEEP_TIME_MAX_US / 1000000 / 3600);
}

void sweep_turn_end(struct sweep_turn *turn)
{
	struct error why;

	if (turn->cluster == NULL)
		return;
	if (pin_drop(turn->cluster, turn->pin.holder, &why) != ERR_NONE)
		observer_event(turn->cluster->repository->env->observer, LEVEL_WARNING,
			       "pin of a sweep left behind, copies into %s wait for it until a "
			       "later expire on this host removes it: %s",
			       turn->cluster->repository->store->label, why.text);
	turn->cluster = NULL;
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
