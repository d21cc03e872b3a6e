/* Moments as people write them. */
#include "time_target.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define S INT64_C(1000000)
#define NOW (INT64_C(1795442700) * S) /* 2026-11-23 14:05:00 UTC */

static struct error why;
static int64_t us;

static void zone(const char *name)
{
	setenv("TZ", name, 1);
	tzset();
}

static void means(const char *text, const char *utc)
{
	char got[TIME_TEXT_MAX];

	cr_assert_eq(time_target_from_text(text, NOW, &us, &why), ERR_NONE, "%s: %s", text,
		     why.text);
	time_to_text(us, got);
	cr_expect_str_eq(got, utc, "%s means %s", text, got);
}

static void refused(const char *text)
{
	us = 42;
	cr_assert_eq(time_target_from_text(text, NOW, &us, &why), ERR_CONFIG, "accepted: %s", text);
	cr_expect_eq(us, 42);
	cr_expect_not_null(strstr(why.text, text), "%s", why.text);
	cr_expect_neq(why.hint[0], '\0');
}

Test(time_target, an_offset_is_taken_as_written)
{
	zone("America/New_York");
	means("2026-11-23 14:05:00+01", "2026-11-23T13:05:00.000000Z");
	means("2026-11-23 14:05+0100", "2026-11-23T13:05:00.000000Z");
	means("2026-11-23T14:05:00.25-03:30", "2026-11-23T17:35:00.250000Z");
	means("2026-11-23T14:05:00Z", "2026-11-23T14:05:00.000000Z");
	means("2026-11-23 14:05:00 UTC", "2026-11-23T14:05:00.000000Z");
	means("2026-11-23 14:05:00.123456 +05:45", "2026-11-23T08:20:00.123456Z");
}

Test(time_target, a_zone_name_comes_from_the_database)
{
	zone("America/New_York");
	means("2026-11-23 14:05 Europe/Paris", "2026-11-23T13:05:00.000000Z");
	means("2026-07-01 14:05 Europe/Paris", "2026-07-01T12:05:00.000000Z");
	cr_expect_str_eq(getenv("TZ"), "America/New_York", "the process's zone is put back");
	means("2026-11-23 14:05", "2026-11-23T19:05:00.000000Z");
}

Test(time_target, without_a_zone_the_callers_is_meant)
{
	zone("Europe/Berlin");
	means("2026-11-23 14:05:00", "2026-11-23T13:05:00.000000Z");
	means("2026-06-23 14:05:00", "2026-06-23T12:05:00.000000Z");
	zone("Asia/Kathmandu");
	means("2026-11-23 14:05:00", "2026-11-23T08:20:00.000000Z");
}

static void last(const char *text, const char *expected)
{
	char full[TIME_TARGET_TEXT_MAX];

	refused(text);
	cr_expect_not_null(strstr(why.text, "which day"), "%s", why.text);
	cr_assert(time_target_with_date(text, NOW, full), "%s", text);
	cr_expect_str_eq(full, expected);
	cr_expect_eq(time_target_from_text(full, NOW, &us, &why), ERR_NONE, "%s", why.text);
}

/* It is 15:05 in Berlin, 01:05 of the next day on Kiritimati, 03:05 in Honolulu. */
Test(time_target, an_hour_without_a_day_is_refused_with_the_last_day_that_had_it)
{
	char full[TIME_TARGET_TEXT_MAX];

	zone("Europe/Berlin");
	last("07:00", "2026-11-23 07:00:00+01:00");
	last("7:00", "2026-11-23 07:00:00+01:00");
	last("15:05:00", "2026-11-23 15:05:00+01:00");
	last("15:05:01.5", "2026-11-22 15:05:01.500000+01:00");
	last("23:30Z", "2026-11-22 23:30Z");
	last("23:30 America/New_York", "2026-11-22 23:30 America/New_York");
	zone("Pacific/Kiritimati");
	last("01:00", "2026-11-24 01:00:00+14:00");
	last("07:00", "2026-11-23 07:00:00+14:00");
	zone("Pacific/Honolulu");
	last("23:00", "2026-11-22 23:00:00-10:00");
	last("03:00", "2026-11-23 03:00:00-10:00");
	cr_expect_not(time_target_with_date("25:00", NOW, full));
	cr_expect_not(time_target_with_date("2026-11-23", NOW, full));
	cr_expect_not(time_target_with_date("07:00 Nowhere/Town", NOW, full));
}

Test(time_target, an_hour_that_exists_twice_is_refused_with_both)
{
	zone("Europe/Paris");
	refused("2026-10-25 02:30:00");
	cr_expect_not_null(strstr(why.hint, "2026-10-25 02:30:00+02:00"), "%s", why.hint);
	cr_expect_not_null(strstr(why.hint, "2026-10-25 02:30:00+01:00"), "%s", why.hint);
	means("2026-10-25 02:30:00+02:00", "2026-10-25T00:30:00.000000Z");
	means("2026-10-25 03:00:00", "2026-10-25T02:00:00.000000Z");
	means("2026-10-25 01:59:59", "2026-10-24T23:59:59.000000Z");
	zone("UTC");
	refused("2026-11-01 01:15 America/New_York");
	cr_expect_not_null(strstr(why.hint, "01:15:00-04:00"), "%s", why.hint);
	cr_expect_not_null(strstr(why.hint, "01:15:00-05:00"), "%s", why.hint);
}

Test(time_target, half_an_hour_may_exist_twice_too)
{
	zone("Australia/Lord_Howe");
	refused("2026-04-05 01:45:00");
	cr_expect_not_null(strstr(why.hint, "+11:00"), "%s", why.hint);
	cr_expect_not_null(strstr(why.hint, "+10:30"), "%s", why.hint);
}

Test(time_target, an_hour_that_does_not_exist_is_refused)
{
	zone("Europe/Paris");
	refused("2026-03-29 02:30:00");
	cr_expect_not_null(strstr(why.text, "does not exist"), "%s", why.text);
	cr_expect_not_null(strstr(why.hint, "2026-03-29 01:30:00+01:00"), "%s", why.hint);
	cr_expect_not_null(strstr(why.hint, "2026-03-29 03:30:00+02:00"), "%s", why.hint);
	means("2026-03-29 03:00:00", "2026-03-29T01:00:00.000000Z");
}

Test(time_target, relative_times_count_back_from_now)
{
	means("10 minutes ago", "2026-11-23T13:55:00.000000Z");
	means("1 hour 30 min ago", "2026-11-23T12:35:00.000000Z");
	means("2d ago", "2026-11-21T14:05:00.000000Z");
	means("1 week ago", "2026-11-16T14:05:00.000000Z");
	cr_expect(time_target_is_relative("10 minutes ago "));
	cr_expect_not(time_target_is_relative("2026-11-23 14:05 America/Santiago"));
}

Test(time_target, what_is_no_time_is_refused)
{
	static const char *const bad[] = {
		"yesterday",
		"2026-02-30 10:00Z",
		"2026-13-01 10:00Z",
		"2026-11-23",
		"2026-11-23 25:00Z",
		"2026-11-23 10:61Z",
		"2026-11-23 10:00:60Z",
		"2026-11-23 10:00 CEST",
		"2026-11-23 10:00 Europe",
		"2026-11-23 10:00 ../etc",
		"2026-11-23 10:00:00.",
		"2026-11-23 10:00:00.1234567Z",
		"10 parsecs ago",
		"ago",
		"minutes ago",
		"99999999999 weeks ago",
		"2147483647 weeks ago",
		"2026-11-23 10:00+1",
		"2026-11-23 10:00+25",
		"2026-11-23 10:00 Z extra",
	};

	zone("UTC");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refused(bad[i]);
}

Test(time_target, is_echoed_in_utc_and_local_time)
{
	char text[TIME_TARGET_TEXT_MAX];

	zone("Europe/Paris");
	time_target_to_text(NOW, text);
	cr_expect_str_eq(text, "2026-11-23 14:05:00 UTC = 2026-11-23 15:05:00+01:00 (CET) local "
			       "time");
	time_target_to_text(NOW + 250000, text);
	cr_expect_not_null(strstr(text, "14:05:00.250000 UTC"), "%s", text);
}

Test(time_target, zones_are_known_by_name_only)
{
	cr_expect(time_zone_is_known("Europe/Paris"));
	cr_expect(time_zone_is_known("UTC"));
	cr_expect_not(time_zone_is_known("Europe"));
	cr_expect_not(time_zone_is_known("/etc/passwd"));
	cr_expect_not(time_zone_is_known("Europe/../Europe/Paris"));
	cr_expect_not(time_zone_is_known(""));
}
