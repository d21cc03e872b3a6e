#include "pgformat/lsn.h"

#include <criterion/criterion.h>

Test(lsn, text_has_no_zero_padding)
{
	char text[LSN_TEXT_MAX];

	lsn_to_text(lsn_of(0x3000028), text);
	cr_assert_str_eq(text, "0/3000028");
	lsn_to_text(lsn_of(UINT64_MAX), text);
	cr_assert_str_eq(text, "FFFFFFFF/FFFFFFFF");
	lsn_to_text(lsn_of(0x1600000000), text);
	cr_assert_str_eq(text, "16/0");
}

Test(lsn, is_read_in_either_case_and_with_padding)
{
	struct lsn lsn;

	cr_assert_eq(lsn_from_text("16/b374d848", &lsn, NULL), ERR_NONE);
	cr_assert_eq(lsn.value, 0x16B374D848);
	cr_assert_eq(lsn_from_text("00000000/0A", &lsn, NULL), ERR_NONE);
	cr_assert_eq(lsn.value, 0xA);
}

Test(lsn, anything_else_is_refused_and_named)
{
	static const char *const wrong[] = {"",     "0",    "/",           "0/",         "/0",
					    " 0/1", "0/1 ", "0/G",         "0x1/2",      "1/2/3",
					    "-1/0", "0/-1", "123456789/0", "0/123456789"};
	struct lsn lsn = lsn_of(7);
	struct error why;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		cr_assert_eq(lsn_from_text(wrong[i], &lsn, &why), ERR_CONFIG, "%s", wrong[i]);
		cr_assert_not_null(strstr(why.text, wrong[i]));
	}
	cr_assert_eq(lsn.value, 7, "outputs stay untouched");
}

Test(segment_bytes, are_powers_of_two_from_1_mib_to_1_gib)
{
	cr_assert(wal_is_segment_bytes(1 << 20));
	cr_assert(wal_is_segment_bytes(16 << 20));
	cr_assert(wal_is_segment_bytes(1 << 30));
	cr_assert_not(wal_is_segment_bytes(0));
	cr_assert_not(wal_is_segment_bytes(1 << 19));
	cr_assert_not(wal_is_segment_bytes(UINT64_C(1) << 31));
	cr_assert_not(wal_is_segment_bytes((1 << 20) + 1));
	cr_assert_not(wal_is_segment_bytes(3 << 20));
}

Test(wal_name, every_kind_goes_to_text_and_back)
{
	static const struct {
		const char *text;
		struct wal_name name;
	} cases[] = {
		{"000000010000000000000003", {WAL_NAME_SEGMENT, 1, 0, 3, 0}},
		{"FFFFFFFFFFFFFFFF00000FFF", {WAL_NAME_SEGMENT, UINT32_MAX, UINT32_MAX, 0xFFF, 0}},
		{"0000000A.history", {WAL_NAME_HISTORY, 10, 0, 0, 0}},
		{"000000010000000200000003.00000028.backup", {WAL_NAME_BACKUP, 1, 2, 3, 0x28}},
		{"00000002000000010000000F.partial", {WAL_NAME_PARTIAL, 2, 1, 15, 0}},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wal_name name;
		char text[WAL_NAME_MAX];

		cr_assert_eq(wal_name_from_text(cases[i].text, &name, NULL), ERR_NONE);
		cr_assert_eq(name.kind, cases[i].name.kind);
		cr_assert_eq(name.timeline, cases[i].name.timeline);
		cr_assert_eq(name.log, cases[i].name.log);
		cr_assert_eq(name.seg, cases[i].name.seg);
		cr_assert_eq(name.offset, cases[i].name.offset);
		wal_name_to_text(&name, text);
		cr_assert_str_eq(text, cases[i].text);
	}
}

Test(wal_name, anything_else_is_refused_and_named)
{
	static const char *const wrong[] = {"",
					    "00000001",
					    "00000000.history",
					    "0000000a.history",
					    "00000001.historyx",
					    "00000001.History",
					    "000000000000000000000001",
					    "00000001000000000000000",
					    "0000000100000000000000010",
					    "00000001000000000000000g",
					    "00000001000000000000000a",
					    "000000010000000000000001.backup",
					    "000000010000000000000001.0000002.backup",
					    "000000010000000000000001.00000028.backup2",
					    "000000010000000000000001.partial.gz",
					    "../../../../../../../etc/passwd",
					    "archive_status"};
	struct wal_name name = {.seg = 7};
	struct error why;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		cr_assert_eq(wal_name_from_text(wrong[i], &name, &why), ERR_CONFIG, "%s", wrong[i]);
		cr_assert_not_null(strstr(why.text, wrong[i]));
	}
	cr_assert_eq(name.seg, 7, "outputs stay untouched");
}

Test(wal_name, number_of_a_segment_depends_on_the_segment_size)
{
	struct wal_name name;
	uint64_t segno;
	char text[WAL_NAME_MAX];

	wal_segment_name(1, wal_segno(lsn_of(0x1FF000000), 16 << 20), 16 << 20, &name);
	wal_name_to_text(&name, text);
	cr_assert_str_eq(text, "0000000100000001000000FF");
	cr_assert(wal_name_segno(&name, 16 << 20, &segno));
	cr_assert_eq(wal_segment_start(segno, 16 << 20).value, 0x1FF000000);
	/* The next one carries into the middle digits. */
	wal_segment_name(1, segno + 1, 16 << 20, &name);
	wal_name_to_text(&name, text);
	cr_assert_str_eq(text, "000000010000000200000000");

	wal_segment_name(3, wal_segno(lsn_of(0x5FFFFFFFF), 1 << 20), 1 << 20, &name);
	wal_name_to_text(&name, text);
	cr_assert_str_eq(text, "000000030000000500000FFF");
	cr_assert(wal_name_segno(&name, 1 << 20, &segno));
	cr_assert_eq(segno, 0x5FFF);
	cr_assert_not(wal_name_segno(&name, 16 << 20, &segno), "FFF is too large for 16 MiB");
	name.seg = 4;
	cr_assert_not(wal_name_segno(&name, 1 << 30, &segno), "0..3 with 1 GiB");
}
