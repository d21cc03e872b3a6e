/* Waiting for sweeps: for those that began before, not for others, and not for ever. */
#include "dead_pin.h"
#include "repo/sweep.h"
#include "still_clock.h"

#include <string.h>

static const char first_sweep[] = "sweep-0000000000000001",
		  second_sweep[] = "sweep-0000000000000002";

/* A clock that is slept on; what happens at the second time. */
struct sleeper {
	struct still_clock clock; /* first member */
	struct repo_world *world;
	unsigned sleeps;
	void (*meanwhile)(struct repo_world *);
};

static void pin_sweep(struct repo_world *w, const char *holder)
{
	struct pin pin = {.kind = PIN_SWEEP};
	struct error why;

	(void)snprintf(pin.holder, sizeof(pin.holder), "%s", holder);
	OK(pin_put(&w->cluster, &pin, &why));
}

static void sleep_on(struct clock *c, int64_t us)
{
	struct sleeper *s = (struct sleeper *)c;

	s->clock.now_us += us;
	if (++s->sleeps == 2 && s->meanwhile != NULL)
		s->meanwhile(s->world);
}

static int64_t now(struct clock *c)
{
	return ((struct still_clock *)c)->now_us;
}

static void world_init(struct repo_world *w, struct sleeper *s)
{
	static const struct clock_ops ops = {
		.now_us = now, .monotonic_us = now, .sleep_us = sleep_on};

	repo_world_init(w, NULL);
	*s = (struct sleeper){.world = w};
	still_clock_init(&s->clock);
	s->clock.clock.ops = &ops;
	w->env.clock = &s->clock.clock;
}

static enum err wait_for(struct repo_world *w, const struct sightings *seen, struct error *why)
{
	struct sweep_wait wait = {.who = "backup", .seen = seen};

	return sweep_outlast(&w->cluster, &wait, why);
}

Test(sweep_outlast, without_a_sweep_nobody_waits)
{
	struct repo_world w;
	struct sleeper s;
	struct error why;

	world_init(&w, &s);
	OK(wait_for(&w, NULL, &why));
	cr_assert_eq(s.sleeps, 0);
	repo_world_release(&w);
}

static void one_ends_and_another_begins(struct repo_world *w)
{
	struct error why;

	pin_sweep(w, second_sweep);
	OK(pin_drop(&w->cluster, first_sweep, &why));
}

Test(sweep_outlast, one_that_began_later_is_not_waited_for)
{
	struct repo_world w;
	struct sleeper s;
	struct error why;

	world_init(&w, &s);
	s.meanwhile = one_ends_and_another_begins;
	pin_sweep(&w, first_sweep);
	OK(wait_for(&w, NULL, &why));
	cr_assert_eq(s.sleeps, 2);
	cr_assert_eq(keys_below(&w, "pins/"), 1);
	repo_world_release(&w);
}

Test(sweep_outlast, gives_up_and_says_whose_pin_it_is_and_what_ends_it)
{
	struct repo_world w;
	struct sleeper s;
	struct error why;
	struct pins pins;
	int64_t began;

	world_init(&w, &s);
	pin_sweep(&w, first_sweep);
	began = s.clock.now_us;
	cr_assert_eq(wait_for(&w, NULL, &why), ERR_TRANSIENT);
	cr_assert_geq(s.clock.now_us - began, SWEEP_WAIT_US);
	OK(pins_read(&w.cluster, &pins, &why));
	cr_assert_neq(pins.pin[0].host[0], '\0');
	cr_assert_eq(wait_for(&w, NULL, &why), ERR_TRANSIENT);
	cr_assert_not_null(strstr(why.text, first_sweep));
	cr_assert_not_null(strstr(why.text, pins.pin[0].host));
	cr_assert_not_null(strstr(why.hint, "pgagent expire --confirm on "));
	cr_assert_not_null(strstr(why.hint, pins.pin[0].host));
	pins_release(&pins);
	repo_world_release(&w);
}

/* With several repositories it is one hour. */
Test(sweep_outlast, what_was_waited_elsewhere_counts)
{
	struct sweep_wait wait = {.who = "backup", .waited_us = SWEEP_WAIT_US - 10 * 1000 * 1000};
	struct repo_world w;
	struct sleeper s;
	struct error why;
	int64_t began;

	world_init(&w, &s);
	pin_sweep(&w, first_sweep);
	began = s.clock.now_us;
	cr_assert_eq(sweep_outlast(&w.cluster, &wait, &why), ERR_TRANSIENT);
	cr_assert_lt(s.clock.now_us - began, INT64_C(20) * 1000 * 1000);
	cr_assert_geq(wait.waited_us, SWEEP_WAIT_US);
	repo_world_release(&w);
}

static void pin_reader(struct repo_world *w, unsigned n)
{
	struct pin pin = {.kind = "restore", .has_backup = true, .backup = attempt_number(n)};
	struct error why;

	(void)snprintf(pin.holder, sizeof(pin.holder), "restore-%016u", n);
	OK(pin_put(&w->cluster, &pin, &why));
}

static unsigned calls_of_waiting(unsigned readers)
{
	struct repo_world w;
	struct sleeper s;
	struct error why;

	world_init(&w, &s);
	for (unsigned i = 0; i < readers; i++)
		pin_reader(&w, i);
	pin_sweep(&w, first_sweep);
	repo_world_fail(&w, FAULT_NONE, 0, ERR_NONE);
	cr_assert_eq(wait_for(&w, NULL, &why), ERR_TRANSIENT);
	repo_world_release(&w);
	return w.fault.calls;
}

Test(sweep_outlast, others_pins_are_read_once)
{
	cr_assert_leq(calls_of_waiting(5), calls_of_waiting(0) + 5 * 3);
}

static void cancel(struct repo_world *w)
{
	static const volatile int yes = 1;

	w->env.cancelled = &yes;
}

Test(sweep_outlast, is_stopped_on_request)
{
	struct repo_world w;
	struct sleeper s;
	struct error why;

	world_init(&w, &s);
	s.meanwhile = cancel;
	pin_sweep(&w, first_sweep);
	cr_assert_eq(wait_for(&w, NULL, &why), ERR_CANCELLED);
	cr_assert_eq(s.sleeps, 2);
	repo_world_release(&w);
}

/* One that can't be read may be alive; one whose process is no more is not, and the next run drops it. */
Test(sweep_outlast, what_the_dead_left_is_passed_over_and_dropped)
{
	char key[STORE_KEY_MAX];
	struct repo_world w;
	struct sleeper s;
	struct error why;
	size_t aborted;

	world_init(&w, &s);
	(void)snprintf(key, sizeof(key), "%spins/%s/00000000", w.cluster.prefix, first_sweep);
	OK(store_put(w.memory, key, bytes_of_text("damaged"), &why));
	cr_assert_eq(wait_for(&w, NULL, &why), ERR_TRANSIENT);
	cr_assert_not_null(strstr(why.text, "unknown host"));
	OK(store_remove(w.memory, key, &why));
	pin_sweep(&w, first_sweep);
	pin_dies(&w, first_sweep);
	s.sleeps = 0;
	OK(wait_for(&w, NULL, &why));
	cr_assert_eq(s.sleeps, 0);
	OK(decision_abort_dead(&w.cluster, &aborted, &why));
	cr_assert_eq(keys_below(&w, "pins/"), 0);
	repo_world_release(&w);
}

/* Whose host nobody can ask: a day of silence ends it, be it over before or while it is waited for. */
static unsigned sleeps_after(int64_t silent_us)
{
	struct sightings *seen = NULL;
	struct repo_world w;
	struct sleeper s;
	struct pins pins;
	struct error why;

	world_init(&w, &s);
	pin_sweep(&w, first_sweep);
	OK(sightings_new("boot", &seen, &why));
	OK(pins_read(&w.cluster, &pins, &why));
	OK(sightings_note(seen, &w.cluster, &pins, s.clock.now_us - silent_us, &why));
	OK(wait_for(&w, seen, &why));
	cr_assert_eq(keys_below(&w, "pins/"), 0);
	pins_release(&pins);
	sightings_free(seen);
	repo_world_release(&w);
	return s.sleeps;
}

Test(sweep_outlast, a_pin_that_was_seen_for_a_day_is_ended)
{
	cr_assert_eq(sleeps_after(STALE_READER_US), 0);
	cr_assert_eq(sleeps_after(STALE_READER_US - INT64_C(9) * 1000 * 1000), 5);
}

/* Not as long as all that was seen of it may be another's. */
Test(sweep_outlast, a_pin_that_was_not_seen_before_is_waited_for)
{
	struct sightings *seen = NULL;
	struct repo_world w;
	struct sleeper s;
	struct error why;

	world_init(&w, &s);
	OK(sightings_new("boot", &seen, &why));
	pin_sweep(&w, first_sweep);
	cr_assert_eq(wait_for(&w, seen, &why), ERR_TRANSIENT);
	cr_assert_eq(keys_below(&w, "pins/"), 1);
	sightings_free(seen);
	repo_world_release(&w);
}
