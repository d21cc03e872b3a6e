/* support/still_clock.h - a clock that moves only when the test says so. */
#ifndef SUPPORT_STILL_CLOCK_H
#define SUPPORT_STILL_CLOCK_H

#include "base/clock.h"

struct still_clock {
	struct clock clock; /* first member */
	int64_t now_us;     /* every kind of time */
};

static inline int64_t still_now(struct clock *c)
{
	return ((struct still_clock *)c)->now_us;
}

static inline void still_sleep(struct clock *c, int64_t us)
{
	((struct still_clock *)c)->now_us += us;
}

static inline void still_clock_init(struct still_clock *c)
{
	static const struct clock_ops ops = {.now_us = still_now,
					     .monotonic_us = still_now,
					     .since_boot_us = still_now,
					     .sleep_us = still_sleep};

	*c = (struct still_clock){.clock = {.ops = &ops}, .now_us = INT64_C(1795442700000000)};
}

#endif
