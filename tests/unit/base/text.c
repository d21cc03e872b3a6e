#include "base/text.h"

#include <criterion/criterion.h>

Test(text, hex_goes_both_ways)
{
	uint8_t bytes[4] = {0x00, 0x1f, 0xa0, 0xff};
	uint8_t back[4] = {0};
	char hex[9];

	text_of_hex(bytes_of(bytes, 4), hex);
	cr_assert_str_eq(hex, "001fa0ff");
	cr_assert(text_to_hex(bytes_of_text("001FA0ff"), back, 4));
	cr_assert_arr_eq(back, bytes, 4);
}

Test(text, what_is_no_hex_is_refused_and_changes_nothing)
{
	static const char *const bad[] = {"",         "001fa0f",    "001fa0ff0", "001fa0fg",
					  "0x1fa0ff", "001fa0ff00", " 01fa0ff",  "001fa0f\xc3"};
	uint8_t out[4] = {1, 2, 3, 4};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_not(text_to_hex(bytes_of_text(bad[i]), out, 4), "%s", bad[i]);
	cr_assert_arr_eq(out, ((uint8_t[]){1, 2, 3, 4}), 4);
}

Test(text, numbers_are_read_to_their_bound)
{
	uint64_t out = 7;

	cr_assert(text_to_u64(bytes_of_text("0"), &out));
	cr_assert_eq(out, 0);
	cr_assert(text_to_u64(bytes_of_text("18446744073709551615"), &out));
	cr_assert_eq(out, UINT64_MAX);
	cr_assert(text_to_u64(bytes_of_text("000012"), &out));
	cr_assert_eq(out, 12);
}

Test(text, what_is_no_number_is_refused)
{
	static const char *const bad[] = {"",
					  "-1",
					  "+1",
					  " 1",
					  "1 ",
					  "1x",
					  "x",
					  "18446744073709551616",
					  "1.5",
					  "0x10",
					  "99999999999999999999"};
	uint64_t out = 7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_not(text_to_u64(bytes_of_text(bad[i]), &out), "%s", bad[i]);
	cr_assert_eq(out, 7);
}

Test(text, sizes_are_rounded_into_the_right_unit)
{
	static const struct {
		uint64_t in;
		const char *out;
	} rows[] = {
		{0, "0 B"},
		{1023, "1023 B"},
		{1024, "1.0 KiB"},
		{16384, "16.0 KiB"},
		{102348, "99.9 KiB"},
		{102399, "100 KiB"},
		{UINT64_C(1048575), "1.0 MiB"},
		{UINT64_C(976224256), "931 MiB"},
		{UINT64_C(3328599655), "3.1 GiB"},
		{UINT64_MAX, "16.0 EiB"},
	};
	char out[TEXT_SIZE_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		text_of_size(rows[i].in, out);
		cr_assert_str_eq(out, rows[i].out);
	}
}

Test(text, durations_are_rounded_into_the_right_unit)
{
	static const struct {
		int64_t in;
		const char *out;
	} rows[] = {
		{-5, "0 ms"},
		{850000, "850 ms"},
		{999600, "1.0 s"},
		{4200000, "4.2 s"},
		{59960000, "1 min 0 s"},
		{200000000, "3 min 20 s"},
		{INT64_C(3599600000), "1 h 0 min"},
		{INT64_C(18120000000), "5 h 2 min"},
		{INT64_C(273600000000), "3 d 4 h"},
	};
	char out[TEXT_DURATION_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		text_of_duration(rows[i].in, out);
		cr_assert_str_eq(out, rows[i].out);
	}
	text_of_duration(INT64_MAX, out);
	cr_assert_str_eq(out, "106751991 d 4 h");
}

Test(text, sizes_are_read_with_their_units)
{
	static const struct {
		const char *in;
		uint64_t out;
	} rows[] = {
		{"512", 512},
		{"0", 0},
		{"64 kB", 64000},
		{"1GB", 1000000000},
		{"16MiB", 16777216},
		{"3TiB", UINT64_C(3) << 40},
		{"2TB", UINT64_C(2000000000000)},
		{"16777215TiB", UINT64_C(16777215) << 40},
	};
	uint64_t out;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_assert_eq(text_to_size(rows[i].in, &out, NULL), ERR_NONE, "%s", rows[i].in);
		cr_assert_eq(out, rows[i].out, "%s", rows[i].in);
	}
}

Test(text, what_is_no_size_is_named_and_explained)
{
	static const char *const bad[] = {"",     "MiB",         "1.5GB", "-1",
					  "1 mb", "16777216TiB", "1MiB ", "1K"};
	uint64_t out = 7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct error why = {0};

		cr_assert_eq(text_to_size(bad[i], &out, &why), ERR_CONFIG, "%s", bad[i]);
		cr_assert_not_null(strstr(why.text, bad[i]));
		cr_assert_not_null(strstr(why.hint, "16MiB"));
	}
	cr_assert_eq(out, 7);
}

Test(text, durations_are_read_with_their_units)
{
	static const struct {
		const char *in;
		int64_t out;
	} rows[] = {
		{"0", 0},
		{"250ms", 250000},
		{"5s", 5000000},
		{"10min", 600000000},
		{"2h", INT64_C(7200000000)},
		{"14d", INT64_C(1209600000000)},
		{"1w", INT64_C(604800000000)},
		{"0d", 0},
	};
	int64_t out;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_assert_eq(text_to_duration(rows[i].in, &out, NULL), ERR_NONE, "%s", rows[i].in);
		cr_assert_eq(out, rows[i].out, "%s", rows[i].in);
	}
}

Test(text, what_is_no_duration_is_named_and_explained)
{
	static const char *const bad[] = {"", "5", "5m", "h", "-1s", "1.5h", "15250285w", "5s "};
	int64_t out = 7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct error why = {0};

		cr_assert_eq(text_to_duration(bad[i], &out, &why), ERR_CONFIG, "%s", bad[i]);
		cr_assert_not_null(strstr(why.text, bad[i]));
		cr_assert_not_null(strstr(why.hint, "10min"));
	}
	cr_assert_eq(out, 7);
}

Test(text, distance_counts_edits_up_to_its_bound)
{
	char longer[200];

	cr_assert_eq(text_distance("restore", "restore", 3), 0);
	cr_assert_eq(text_distance("restor", "restore", 3), 1);
	cr_assert_eq(text_distance("resotre", "restore", 3), 2);
	cr_assert_eq(text_distance("kitten", "sitting", 3), 3);
	cr_assert_eq(text_distance("kitten", "sitting", 2), 3);
	cr_assert_eq(text_distance("", "abc", 9), 3);
	cr_assert_eq(text_distance("abc", "", 9), 3);
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	cr_assert_eq(text_distance(longer, "a", 3), 4);
}
