/* Whether a clock can be trusted: jumps within a boot and across one. */
#include "repo/retention.h"
#include "still_clock.h"

#include <criterion/criterion.h>
#include <string.h>

#define HOUR INT64_C(3600000000)
#define DAY (24 * HOUR)
/* 2026-11-26 12:00 */
#define NOON (INT64_C(1795694400) * 1000000)

static enum err check_clock(int64_t window_us, const struct retention_clock *before,
			    const struct retention_clock *now)
{
	const struct retention_policy policy = {.window_us = window_us};
	struct error why;
	enum err e = retention_check_clock(&policy, before, now, &why);

	cr_expect(e == ERR_NONE || strstr(why.hint, "--clock-is-right") != NULL, "%s", why.hint);
	return e;
}

Test(retention_clock, a_jump_of_the_clock_within_a_boot_is_refused)
{
	struct retention_clock before = {"a", NOON, 1000 * HOUR}, now = before, read;
	struct writer text;
	struct error why;

	now.wall_us += 50 * HOUR;
	now.since_boot_us += 50 * HOUR;
	cr_expect_eq(check_clock(0, &before, &now), ERR_NONE);
	now.wall_us += 2 * HOUR;
	cr_expect_eq(check_clock(0, &before, &now), ERR_DENIED);
	(void)strcpy(now.boot, "b");
	now.since_boot_us = 0;
	cr_expect_eq(check_clock(0, &before, &now), ERR_NONE);
	now.wall_us = NOON - 2 * HOUR;
	cr_expect_eq(check_clock(0, &before, &now), ERR_DENIED);
	writer_init(&text, 4096);
	retention_clock_encode(&now, &text);
	cr_assert_eq(retention_clock_decode(writer_view(&text), &read, &why), ERR_NONE);
	cr_expect(read.wall_us == now.wall_us && read.since_boot_us == now.since_boot_us);
	writer_release(&text);
}

/* The longest that a host may have been off, to the hour. */
static int64_t off_hours(int64_t window_us, const char *boot, int64_t since_boot_us)
{
	const struct retention_clock before = {"a", NOON, HOUR};
	struct retention_clock now = {"", NOON, since_boot_us};

	(void)strcpy(now.boot, boot);
	while (now.wall_us < NOON + 100 * DAY && check_clock(window_us, &before, &now) == ERR_NONE)
		now.wall_us += HOUR;
	return (now.wall_us - NOON) / HOUR - 1;
}

Test(retention_clock, a_clock_that_is_far_ahead_after_a_boot_is_refused)
{
	cr_expect_eq(off_hours(0, "b", 0), 7 * 24);
	cr_expect_eq(off_hours(400 * DAY, "b", 0), 7 * 24);
	cr_expect_eq(off_hours(8 * DAY, "b", 0), 4 * 24);
	cr_expect_eq(off_hours(DAY, "b", 0), 36);
	/* What the new boot lasts already nobody doubts. */
	cr_expect_eq(off_hours(8 * DAY, "b", 5 * DAY), 9 * 24);
	cr_expect_eq(off_hours(8 * DAY, "unknown", 5 * DAY), 4 * 24);
}

static int64_t awake(struct clock *c)
{
	(void)c;
	return HOUR;
}

Test(retention_clock, a_host_that_was_suspended_has_a_clock_that_is_right)
{
	static const struct clock_ops ops = {
		.now_us = still_now, .monotonic_us = awake, .since_boot_us = still_now};
	struct still_clock clock = {.clock = {.ops = &ops}, .now_us = NOON};
	struct env env = env_os();
	struct retention_clock before, now;

	env.clock = &clock.clock;
	retention_clock_look(&env, &before);
	cr_assert_str_neq(before.boot, "unknown");
	clock.now_us += 50 * HOUR;
	retention_clock_look(&env, &now);
	cr_expect_eq(check_clock(0, &before, &now), ERR_NONE);
}
