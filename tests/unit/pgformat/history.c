#include "pgformat/history.h"

#include "golden.h"

#include <stdio.h>

static struct history history_of(uint32_t timeline, const char *text)
{
	struct history h;
	struct error why;

	cr_assert_eq(history_from_text(timeline, bytes_of_text(text), &h, &why), ERR_NONE, "%s",
		     why.text);
	return h;
}

static const char three[] = "1\t0/3000148\tbefore 2026-11-23\n"
			    "\n"
			    "# a comment\n"
			    "2\t0/5000000\tat restore point \"x\"\n";

Test(history, of_real_promotions_is_read)
{
	static const char *const files[] = {"tests/golden/pgformat/00000002.history.15",
					    "tests/golden/pgformat/00000002.history.18"};

	for (size_t i = 0; i < 2; i++) {
		struct history h;

		cr_assert_eq(history_from_text(2, golden_view(golden_read(files[i])), &h, NULL),
			     ERR_NONE);
		cr_assert_eq(h.timeline, 2);
		cr_assert_eq(h.count, 1);
		cr_assert_eq(h.entry[0].timeline, 1);
		cr_assert_eq(h.entry[0].end.value, 0xF000A0);
	}
}

Test(history, timeline_1_has_none)
{
	struct history h = history_of(1, "");

	cr_assert_eq(h.count, 0);
	cr_assert_eq(history_timeline_at(&h, lsn_of(UINT64_MAX - 1)), 1);
}

Test(history, byte_at_a_switch_point_belongs_to_the_child)
{
	struct history h = history_of(3, three);

	cr_assert_eq(history_timeline_at(&h, lsn_of(0x3000147)), 1);
	cr_assert_eq(history_timeline_at(&h, lsn_of(0x3000148)), 2);
	cr_assert_eq(history_timeline_at(&h, lsn_of(0x4FFFFFF)), 2);
	cr_assert_eq(history_timeline_at(&h, lsn_of(0x5000000)), 3);
}

Test(history, says_where_the_path_enters_and_leaves_a_timeline)
{
	struct history h = history_of(3, three);
	struct lsn begin, end;

	cr_assert(history_has(&h, 1, &begin, &end));
	cr_assert_eq(begin.value, 0);
	cr_assert_eq(end.value, 0x3000148);
	cr_assert(history_has(&h, 2, &begin, &end));
	cr_assert_eq(begin.value, 0x3000148);
	cr_assert_eq(end.value, 0x5000000);
	cr_assert(history_has(&h, 3, &begin, &end));
	cr_assert_eq(begin.value, 0x5000000);
	cr_assert_eq(end.value, UINT64_MAX);
	cr_assert_not(history_has(&h, 4, &begin, &end));
}

static void path_is(uint32_t timeline, const char *text, const char *expected)
{
	struct history h = history_of(timeline, text);
	char path[256] = "";
	size_t at = 0;

	for (size_t i = 0; i < h.count; i++)
		at += (size_t)snprintf(path + at, sizeof(path) - at, "%u to %llX, ",
				       h.entry[i].timeline,
				       (unsigned long long)h.entry[i].end.value);
	cr_expect_str_eq(path, expected, "%s: %s, not %s", text, path, expected);
}

/* Promoted at 0/80 by way of a timeline that began at 0/100 only: what PostgreSQL 15 and 18 write. */
Test(history, a_timeline_that_was_left_before_it_began_is_not_on_the_path)
{
	path_is(3, "1\t0/100\n2\t0/80\n", "1 to 80, ");
	path_is(4, "1\t0/100\n2\t0/200\n3\t0/180\n", "1 to 100, 2 to 180, ");
	path_is(4, "1\t0/100\n2\t0/200\n3\t0/80\n", "1 to 80, ");
	path_is(4, "1\t0/100\n2\t0/200\n3\t0/100\n", "1 to 100, ");
	path_is(4, "1\t0/100\n2\t0/80\n3\t0/300\n", "1 to 80, 3 to 300, ");
	path_is(5, "1\t0/100\n2\t0/80\n3\t0/70\n4\t0/70\n", "1 to 70, 4 to 70, ");
	path_is(3, "1\t0/100\n2\t0/100\n", "1 to 100, 2 to 100, ");
}

Test(history, damage_is_refused_with_its_line)
{
	static const struct {
		uint32_t timeline;
		const char *text, *named;
	} cases[] = {
		{3, "1\n", "line 1"},
		{3, "1\t0/1\n2 x\n", "line 2"},
		{3, "\t0/3000148\n", "line 1"},
		{3, "one\t0/1\n", "line 1"},
		{3, "1\t03000148\treason\n", "line 1"},
		{3, "99999999999\t0/1\n", "line 1"},
		{3, "0\t0/1\n", "line 1"},
		{3, "3\t0/1\n", "timeline 3"},
		{3, "2\t0/1\n2\t0/2\n", "timeline 2"},
		{3, "2\t0/1\n1\t0/2\n", "timeline 1"},
		{4, "1\t0/9\n2\t0/8\n2\t0/8\n", "line 3: timeline 2"},
		{1, "1\t0/9\n", "timeline 1"},
		{0, "", "timeline 0"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct history h;
		struct error why;

		cr_assert_eq(history_from_text(cases[i].timeline, bytes_of_text(cases[i].text), &h,
					       &why),
			     ERR_CORRUPT, "case %zu", i);
		cr_assert_not_null(strstr(why.text, cases[i].named), "%s", why.text);
	}
}

Test(history, bounds_are_met_with_a_limit)
{
	static char large[HISTORY_FILE_MAX + 1];
	struct writer w;
	struct history h;
	struct error why;

	memset(large, '\n', sizeof(large));
	cr_assert_eq(history_from_text(2, bytes_of(large, sizeof(large)), &h, &why), ERR_LIMIT);
	cr_assert_not_null(strstr(why.text, "00000002.history"));
	writer_init(&w, HISTORY_FILE_MAX);
	for (unsigned i = 1; i <= HISTORY_ENTRIES_MAX + 1; i++)
		writer_text(&w, "%u\t0/%X\tno reason\n", i, i);
	cr_assert_eq(history_from_text(5000, writer_view(&w), &h, &why), ERR_LIMIT);
	writer_release(&w);
}
