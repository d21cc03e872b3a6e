/* base/clock.h - time as something that is passed in, so that tests can move it.
 *
 * Wall time is for people and for names; durations, timeouts and staleness use monotonic time, which
 * stands still while the machine is suspended: nobody was observed then.  Time since the boot goes on.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct clock;

struct clock_ops {
	int64_t (*now_us)(struct clock *);       /* wall clock, microseconds since 1970 UTC */
	int64_t (*monotonic_us)(struct clock *); /* never goes back; origin is arbitrary */
	/* Never goes back either, and counts the time that the machine was suspended, too. */
	int64_t (*since_boot_us)(struct clock *);
	/* May end early when a signal arrives: look at `cancelled`, then at the time. */
	void (*sleep_us)(struct clock *, int64_t);
};

struct clock {
	const struct clock_ops *ops;
};

/* The clock of the operating system; static, any thread. */
struct clock *clock_os(void);

static inline int64_t clock_now_us(struct clock *c)
{
	return c->ops->now_us(c);
}

static inline int64_t clock_monotonic_us(struct clock *c)
{
	return c->ops->monotonic_us(c);
}

static inline int64_t clock_since_boot_us(struct clock *c)
{
	return c->ops->since_boot_us(c);
}

static inline void clock_sleep_us(struct clock *c, int64_t us)
{
	c->ops->sleep_us(c, us);
}

enum { TIME_TEXT_MAX = 40 };

/* RFC 3339 in UTC with microseconds: "2026-11-23T14:05:00.000000Z".  Years 0001 to 9999;
 * a time outside becomes the nearest inside. */
void time_to_text(int64_t us, char out[TIME_TEXT_MAX]);

/* The reverse: exactly that form; false for anything else. */
bool time_from_text(const char *text, int64_t *out_us);

/* The same in the compact form used in names: "20261123T140500Z". */
void time_to_compact(int64_t us, char out[TIME_TEXT_MAX]);

#endif
