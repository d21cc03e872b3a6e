/* commands/expire_part.c - one system identifier's part of a cluster in one repository: what goes, how far it
 * may go now, what is swept behind it.
 */
#include "agent.h"
#include "commands/expire.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char asked_for[] = "asked for by name: pgagent expire --backup";

bool expire_note(struct expire_part *part, enum err e, struct error *why)
{
	if (e == ERR_NONE)
		return true;
	(void)error_add(why, "repository %s", place_name(part->place)); /* the kind stays */
	failures_add(&part->expiry->failures, why);
	return !failures_end(&part->expiry->failures);
}

/* ---- which ones go ---- */

static enum err add_going(struct expire_part *part, const struct attempt *attempt,
			  struct error *why)
{
	for (size_t i = 0; i < part->count; i++)
		if (attempt_compare(&part->going[i].attempt, attempt) == 0)
			return ERR_NONE;
	if (part->count == part->capacity) {
		size_t more = part->capacity == 0 ? 16 : 2 * part->capacity;
		struct expire_going *bigger = reallocarray(part->going, more, sizeof(*bigger));

		if (bigger == NULL)
			return error_set(why, ERR_MEMORY, "no memory for %zu backups", more);
		part->going = bigger;
		part->capacity = more;
	}
	part->going[part->count++] = (struct expire_going){.attempt = *attempt};
	return ERR_NONE;
}

bool expire_is_target(const struct expire_part *part, const struct attempt *attempt)
{
	const struct expiry *x = part->expiry;

	return x->has_target && part->cluster.system_identifier == x->target_system &&
	       attempt_compare(attempt, &x->target) == 0;
}

/* What the policy drops, of this part. */
static bool is_dropped(const struct expire_part *part, size_t i)
{
	const struct expire_policy *p = part->policy;

	return p->verdict[i].drop &&
	       p->backup[i].system_identifier == part->cluster.system_identifier;
}

/* A tombstone without a manifest is done with; a shown backup is none of ours, unless it is the
 * target; whether a grace is over a clock that jumped can't tell. */
static enum err take_going(void *ctx, const struct attempt *attempt, struct error *why)
{
	struct expire_part *part = ctx;
	struct hidden hidden;
	bool there = false;
	enum err e = decision_is_there(&part->cluster, attempt, &there, why);

	if (e == ERR_NONE && there) /* tombstones of a year are not read */
		e = hide_read(&part->cluster, attempt, &hidden, why);
	if (e == ERR_NONE && there &&
	    (expire_is_target(part, attempt) || hidden.state == HIDE_REMOVED ||
	     (hidden.state == HIDE_HIDDEN && !part->expiry->clock_refused)))
		e = add_going(part, attempt, why);
	return expire_note(part, e, why) ? ERR_NONE : e; /* the others have their turn */
}

static enum err find_going(struct expire_part *part, struct error *why)
{
	const struct expiry *x = part->expiry;
	enum err e = hide_list(&part->cluster, take_going, part, why);

	for (size_t i = 0; e == ERR_NONE && part->policy != NULL && i < part->policy->catalog.count;
	     i++)
		if (is_dropped(part, i))
			e = add_going(part, &part->policy->backup[i].attempt, why);
	if (e == ERR_NONE && x->has_target && part->cluster.system_identifier == x->target_system)
		e = take_going(part, &x->target, why);
	return e;
}

/* ---- how far they go ---- */

/* Attempts whose writers are gone or silent are decided, and pins of silent readers end. */
static enum err end_stale(struct expire_part *part, struct error *why)
{
	struct expiry *x = part->expiry;
	size_t aborted = 0;
	enum err e = decision_abort_dead(&part->cluster, &aborted, why);

	if (e == ERR_NONE && aborted > 0)
		log_event(&x->agent->log, LEVEL_INFO, "%zu run(s) whose process is gone were ended",
			  aborted);
	return e == ERR_NONE ? expire_end_silent(x->agent, &part->cluster, x->sightings, why) : e;
}

/* Without those that end_stale ended, or would end first. */
static enum err read_pins(struct expire_part *part, struct error *why)
{
	const struct expiry *x = part->expiry;
	int64_t now_us = clock_monotonic_us(x->agent->env.clock);
	enum err e = pins_read(&part->cluster, &part->pins, why);
	size_t count = 0;

	for (size_t i = 0; e == ERR_NONE && i < part->pins.count; i++) {
		const struct pin_seen *pin = &part->pins.pin[i];

		if (!pin_is_over(pin,
				 sightings_silent_us(x->sightings, &part->cluster, pin, now_us)))
			part->pins.pin[count++] = *pin;
	}
	part->pins.count = count;
	if (e != ERR_NONE)
		pins_release(&part->pins);
	return e;
}

/* What expire_advance would do now. */
static enum err foresee(struct expire_part *part, struct expire_going *going, struct error *why)
{
	int64_t grace_us = part->expiry->config->expire_grace_us;
	int64_t now_us = clock_now_us(part->expiry->agent->env.clock);
	struct expire_result *out = &going->result;
	const struct pin_seen *holder = NULL;
	struct hidden hidden;
	enum err e = hide_read(&part->cluster, &going->attempt, &hidden, why);

	*out = (struct expire_result){.outcome = EXPIRE_REMOVED};
	if (e != ERR_NONE)
		return e;
	going->hides = hidden.state == HIDE_SHOWN;
	if (going->hides)
		hidden.since_us = now_us; /* it would be hidden now */
	out->due_us = hidden.since_us + grace_us;
	if (hidden.state != HIDE_REMOVED &&
	    (hidden.since_us > now_us || now_us - hidden.since_us < grace_us)) {
		out->outcome = EXPIRE_GRACE;
		return ERR_NONE;
	}
	if (part->pins.pin == NULL) /* that failed before */
		e = read_pins(part, why);
	if (e == ERR_NONE)
		e = expire_holder(&part->cluster, &part->pins, &going->attempt, &holder, why);
	if (e == ERR_NONE && holder != NULL) {
		out->outcome = EXPIRE_PINNED;
		(void)snprintf(out->pinned_by, sizeof(out->pinned_by), "%s", holder->holder);
	}
	return e;
}

/* E1 of what is asked for by name or dropped by the policy. */
static enum err hide(struct expire_part *part, struct expire_going *going, struct error *why)
{
	const struct expire_policy *policy = part->policy;
	const struct attempt *attempt = &going->attempt;
	bool dropped = false, hid = false;
	enum err e = ERR_NONE;

	for (size_t i = 0; !dropped && policy != NULL && i < policy->catalog.count; i++)
		dropped = is_dropped(part, i) &&
			  attempt_compare(&policy->backup[i].attempt, attempt) == 0;
	if (expire_is_target(part, attempt)) {
		e = hide_backup(&part->cluster, attempt, asked_for, why);
		hid = e == ERR_NONE;
	} else if (dropped) {
		e = expire_hide(&part->cluster, attempt, &hid, why);
	}
	part->expiry->hidden += hid;
	going->hides = hid;
	return e == ERR_EXISTS ? ERR_NONE : e;
}

static enum err advance(struct expire_part *part, struct expire_going *going, struct error *why)
{
	struct expiry *x = part->expiry;
	enum err e = ERR_NONE;

	if (*x->agent->env.cancelled)
		return error_set(why, ERR_CANCELLED, "stopped on request");
	if (x->confirm)
		e = hide(part, going, why);
	if (e == ERR_NONE)
		e = x->confirm ? expire_advance(&part->cluster, &going->attempt,
						x->config->expire_grace_us, &going->result, why)
			       : foresee(part, going, why);
	if (e != ERR_NONE)
		return e;
	going->told = true;
	part->due_now += going->result.outcome == EXPIRE_REMOVED;
	x->removed += going->result.outcome == EXPIRE_REMOVED;
	return ERR_NONE;
}

/* ---- what is swept behind them ---- */

/* Those that go; `only_due`: that a run would remove now. */
static enum err list_withouts(const struct expire_part *part, bool only_due, struct attempt **out,
			      size_t *count, struct error *why)
{
	*count = 0;
	*out = calloc(part->count + 1, sizeof(**out));
	if (*out == NULL)
		return error_set(why, ERR_MEMORY, "no memory for %zu backups", part->count);
	for (size_t i = 0; i < part->count; i++)
		if (!only_due ||
		    (part->going[i].told && part->going[i].result.outcome == EXPIRE_REMOVED))
			(*out)[(*count)++] = part->going[i].attempt;
	return ERR_NONE;
}

/* `later`: when all that is hidden is gone, which only a plan looks at. */
static struct sweep_options options_of(const struct expire_part *part, bool later)
{
	struct sweep_options options = {.plan = !part->expiry->confirm,
					.force = part->expiry->force};

	if (part->policy != NULL) {
		options.alone = later ? part->policy->later_alone : part->policy->alone;
		options.alones = later ? part->policy->later_alones : part->policy->alones;
		options.superseded = retention_is_superseded(&part->policy->input,
							     part->cluster.system_identifier);
	}
	return options;
}

/* Of a plan, what of it a run would do now: a failure is told as what stands in its way. */
static void foresee_sweep(struct expire_part *part)
{
	struct sweep_options options = options_of(part, false);
	struct attempt *without = NULL;
	enum err e;

	part->now = part->swept;
	if (part->expiry->confirm || part->count == 0)
		return;
	e = list_withouts(part, true, &without, &options.withouts, &part->now_why);
	options.without = without;
	if (e == ERR_NONE)
		e = sweep_packs(&part->cluster, &options, &part->now.packs, &part->now_why);
	if (e == ERR_NONE)
		e = sweep_wal(&part->cluster, &options, &part->now.wal, &part->now_why);
	part->now_failed = e != ERR_NONE;
	free(without);
}

/* Packs, WAL and what is left of removed backups do not wait for one another. */
static bool sweep(struct expire_part *part)
{
	struct expiry *x = part->expiry;
	struct sweep_options options = options_of(part, !x->confirm);
	struct sweep *swept = &part->swept;
	struct attempt *without = NULL;
	size_t forgotten;
	struct error why;
	bool go_on = true;

	if (!x->confirm) {
		go_on = expire_note(
			part, list_withouts(part, false, &without, &options.withouts, &why), &why);
		options.without = without;
	}
	if (go_on)
		go_on = expire_note(
			part, sweep_packs(&part->cluster, &options, &swept->packs, &why), &why);
	if (go_on)
		go_on = expire_note(part, sweep_wal(&part->cluster, &options, &swept->wal, &why),
				    &why);
	if (go_on)
		foresee_sweep(part);
	if (go_on && x->confirm && !x->clock_refused)
		go_on = expire_note(part, expire_forget(&part->cluster, &forgotten, &why), &why);
	x->freed_bytes += swept->packs.packs_removed_bytes + swept->wal.removed_bytes;
	free(without);
	return go_on;
}

/* Each step does what it can: what an earlier one left undone is only ever kept too long. */
bool expire_run_part(struct expire_part *part)
{
	struct error why;
	bool go_on = true;

	if (part->expiry->confirm)
		go_on = expire_note(part, end_stale(part, &why), &why);
	if (go_on)
		go_on = expire_note(part, read_pins(part, &why), &why);
	if (go_on && find_going(part, &why) != ERR_NONE)
		go_on = !failures_end(&part->expiry->failures) && expire_note(part, why.kind, &why);
	for (size_t i = 0; go_on && i < part->count; i++)
		go_on = expire_note(part, advance(part, &part->going[i], &why), &why);
	return go_on && sweep(part);
}
