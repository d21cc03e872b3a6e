/* base/clock.c - the operating system's clock, and times as text. */
#include "base/clock.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { US_PER_S = 1000000, S_PER_DAY = 86400 };

/* 0001-01-01 and 9999-12-31T23:59:59.999999Z: what four digits of year can say. */
#define TIME_MIN_US (-62135596800LL * US_PER_S)
#define TIME_MAX_US (253402300799LL * US_PER_S + US_PER_S - 1)

static int64_t read_us(clockid_t id)
{
	struct timespec t = {0};

	(void)clock_gettime(id, &t); /* cannot fail for the three clocks named below */
	return (int64_t)t.tv_sec * US_PER_S + t.tv_nsec / 1000;
}

static int64_t os_now_us(struct clock *c)
{
	(void)c;
	return read_us(CLOCK_REALTIME);
}

static int64_t os_monotonic_us(struct clock *c)
{
	(void)c;
	return read_us(CLOCK_MONOTONIC);
}

static int64_t os_since_boot_us(struct clock *c)
{
	(void)c;
	return read_us(CLOCK_BOOTTIME);
}

static void os_sleep_us(struct clock *c, int64_t us)
{
	struct timespec t;

	(void)c;
	if (us <= 0)
		return;
	t.tv_sec = (time_t)(us / US_PER_S);
	t.tv_nsec = (long)(us % US_PER_S) * 1000;
	/* A signal ends the sleep early, so that the caller looks whether it was cancelled. */
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

static const struct clock_ops os_ops = {
	.now_us = os_now_us,
	.monotonic_us = os_monotonic_us,
	.since_boot_us = os_since_boot_us,
	.sleep_us = os_sleep_us,
};

static const struct clock os_clock = {.ops = &os_ops};

struct clock *clock_os(void)
{
	return (struct clock *)&os_clock; /* it has no state to change */
}

struct civil {
	int year, month, day, hour, minute, second, us;
};

/* The proleptic Gregorian calendar without the C library's time zone machinery.  Years begin in
 * March, so that the leap day is the last day of a year and needs no case of its own. */
static struct civil civil_of(int64_t us)
{
	int64_t seconds, days, era, day_of_era, year_of_era, day_of_year, month;
	struct civil out;

	if (us < TIME_MIN_US)
		us = TIME_MIN_US;
	if (us > TIME_MAX_US)
		us = TIME_MAX_US;
	us -= TIME_MIN_US; /* now never negative, counted from 0001-01-01 */
	seconds = us / US_PER_S;
	out.us = (int)(us % US_PER_S);
	out.hour = (int)(seconds % S_PER_DAY / 3600);
	out.minute = (int)(seconds % 3600 / 60);
	out.second = (int)(seconds % 60);

	days = seconds / S_PER_DAY + 306; /* from 0000-03-01 to 0001-01-01 */
	era = days / 146097;              /* days in 400 years */
	day_of_era = days % 146097;
	year_of_era =
		(day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	month = (5 * day_of_year + 2) / 153; /* 0 = March; five months have 153 days */
	out.day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
	out.month = (int)(month < 10 ? month + 3 : month - 9);
	out.year = (int)(era * 400 + year_of_era + (out.month <= 2));
	return out;
}

void time_to_text(int64_t us, char out[TIME_TEXT_MAX])
{
	struct civil c = civil_of(us);

	(void)snprintf(out, TIME_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", c.year, c.month,
		       c.day, c.hour, c.minute, c.second, c.us); /* 27 characters */
}

void time_to_compact(int64_t us, char out[TIME_TEXT_MAX])
{
	struct civil c = civil_of(us);

	(void)snprintf(out, TIME_TEXT_MAX, "%04d%02d%02dT%02d%02d%02dZ", c.year, c.month, c.day,
		       c.hour, c.minute, c.second); /* 16 characters */
}

static bool take_digits(const char **at, size_t digits, char end, unsigned *out)
{
	uint64_t value;

	if (strnlen(*at, digits + 1) != digits + 1 || !text_to_u64(bytes_of(*at, digits), &value) ||
	    (*at)[digits] != end)
		return false;
	*out = (unsigned)value;
	*at += digits + 1;
	return true;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar; years begin in March here, so that the
 * leap day is the last of one. */
static int64_t days_to(unsigned year, unsigned month, unsigned day)
{
	int64_t y = (int64_t)year - (month <= 2);
	int64_t day_of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return 365 * y + y / 4 - y / 100 + y / 400 + day_of_year - 719468;
}

bool time_from_text(const char *at, int64_t *out_us)
{
	unsigned year, month, day, hour, minute, second, us;

	if (!take_digits(&at, 4, '-', &year) || !take_digits(&at, 2, '-', &month) ||
	    !take_digits(&at, 2, 'T', &day) || !take_digits(&at, 2, ':', &hour) ||
	    !take_digits(&at, 2, ':', &minute) || !take_digits(&at, 2, '.', &second) ||
	    !take_digits(&at, 6, 'Z', &us) || *at)
		return false;
	if (year == 0 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 ||
	    minute > 59 || second > 59)
		return false;
	*out_us = (((days_to(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) *
			  INT64_C(1000000) +
		  us;
	return true;
}
