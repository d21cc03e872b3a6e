#include "base/clock.h"

#include <criterion/criterion.h>

static const struct {
	int64_t us;
	const char *text;
	const char *compact;
} rows[] = {
	{0, "1970-01-01T00:00:00.000000Z", "19700101T000000Z"},
	{-1, "1969-12-31T23:59:59.999999Z", "19691231T235959Z"},
	{INT64_C(951782400000000), "2000-02-29T00:00:00.000000Z", "20000229T000000Z"},
	{INT64_C(951868799000001), "2000-02-29T23:59:59.000001Z", "20000229T235959Z"},
	{INT64_C(951868800000000), "2000-03-01T00:00:00.000000Z", "20000301T000000Z"},
	{INT64_C(1795442700000000), "2026-11-23T14:05:00.000000Z", "20261123T140500Z"},
	{INT64_C(4107542399999999), "2100-02-28T23:59:59.999999Z", "21000228T235959Z"},
	{INT64_C(4107542400000000), "2100-03-01T00:00:00.000000Z", "21000301T000000Z"},
	{INT64_C(253402300799999999), "9999-12-31T23:59:59.999999Z", "99991231T235959Z"},
	{INT64_C(-62135596800000000), "0001-01-01T00:00:00.000000Z", "00010101T000000Z"},
	/* outside: the nearest inside */
	{INT64_MAX, "9999-12-31T23:59:59.999999Z", "99991231T235959Z"},
	{INT64_MIN, "0001-01-01T00:00:00.000000Z", "00010101T000000Z"},
};

Test(clock, times_are_written_in_both_forms)
{
	char out[TIME_TEXT_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		time_to_text(rows[i].us, out);
		cr_assert_str_eq(out, rows[i].text);
		time_to_compact(rows[i].us, out);
		cr_assert_str_eq(out, rows[i].compact);
	}
}

Test(clock, names_made_of_times_sort_by_time)
{
	char before[TIME_TEXT_MAX];
	char after[TIME_TEXT_MAX];

	/* Steps of 25 hours and 1 second over forty years cross every kind of border. */
	time_to_compact(0, before);
	for (int64_t us = 0; us < INT64_C(40) * 366 * 86400 * 1000000;) {
		us += INT64_C(90001) * 1000000;
		time_to_compact(us, after);
		cr_assert_lt(strcmp(before, after), 0, "%s is not before %s", before, after);
		memcpy(before, after, sizeof(before));
	}
}

Test(clock, the_systems_clock_runs_forward_and_is_of_this_century)
{
	struct clock *c = clock_os();
	int64_t before = clock_monotonic_us(c);
	int64_t boot = clock_since_boot_us(c);

	clock_sleep_us(c, 1000);
	cr_assert_geq(clock_monotonic_us(c) - before, 1000);
	cr_assert_geq(clock_since_boot_us(c) - boot, 1000);
	cr_assert_gt(clock_now_us(c), INT64_C(1700000000000000));
	clock_sleep_us(c, 0);
	clock_sleep_us(c, -1);
}
