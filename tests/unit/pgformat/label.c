#include "pgformat/label.h"

#include "golden.h"

#define GOLDEN "tests/golden/pgformat/"

Test(label, of_real_backups_is_read)
{
	struct backup_label l;

	cr_assert_eq(
		backup_label_decode(golden_view(golden_read(GOLDEN "backup_label.15")), &l, NULL),
		ERR_NONE);
	cr_assert_eq(l.start.value, 0x900028);
	cr_assert_str_eq(l.start_segment, "000000010000000000000009");
	cr_assert_eq(l.checkpoint.value, 0x900060);
	cr_assert_eq(l.timeline, 1);
	cr_assert_not(l.from_standby);
	cr_assert_eq(l.incremental_from.value, 0);
	cr_assert_eq(l.stop.value, 0);
	cr_assert_eq(
		backup_label_decode(golden_view(golden_read(GOLDEN "backup_label.18")), &l, NULL),
		ERR_NONE);
	cr_assert_eq(l.checkpoint.value, 0x900080);
}

Test(label, of_an_archived_backup_file_has_its_stop)
{
	struct backup_label l;

	cr_assert_eq(
		backup_label_decode(golden_view(golden_read(GOLDEN "backup_history.15")), &l, NULL),
		ERR_NONE);
	cr_assert_eq(l.start.value, 0x900028);
	cr_assert_eq(l.stop.value, 0x900100);
	cr_assert_eq(
		backup_label_decode(golden_view(golden_read(GOLDEN "backup_history.18")), &l, NULL),
		ERR_NONE);
	cr_assert_eq(l.stop.value, 0x900120);
}

#define START "START WAL LOCATION: 1/3000028 (file 000000020000000100000003)\n"

static enum err decode(const char *text, struct backup_label *l, struct error *why)
{
	return backup_label_decode(bytes_of_text(text), l, why);
}

Test(label, of_an_incremental_backup_from_a_standby)
{
	struct backup_label l;

	cr_assert_eq(decode(START "BACKUP FROM: standby\nSTART TIMELINE: 2\n"
				  "INCREMENTAL FROM LSN: 0/2000060\nINCREMENTAL FROM TLI: 1\n",
			    &l, NULL),
		     ERR_NONE);
	cr_assert_eq(l.start.value, 0x103000028);
	cr_assert(l.from_standby);
	cr_assert_eq(l.incremental_from.value, 0x2000060);
	cr_assert_eq(l.incremental_from_timeline, 1);
}

Test(label, timeline_comes_from_the_segment_when_it_is_not_written)
{
	struct backup_label l;

	cr_assert_eq(decode("LABEL: x\n" START, &l, NULL), ERR_NONE);
	cr_assert_eq(l.timeline, 2);
}

Test(label, newlines_in_a_label_replace_nothing)
{
	struct backup_label l;

	cr_assert_eq(decode(START "LABEL: x\nSTART WAL LOCATION: 9/9 (file "
				  "000000090000000900000009)\nBACKUP FROM: standby\n",
			    &l, NULL),
		     ERR_NONE);
	cr_assert_eq(l.start.value, 0x103000028);
	cr_assert_str_eq(l.start_segment, "000000020000000100000003");
}

Test(label, damage_is_refused_and_named)
{
	static const struct {
		const char *text, *named;
	} cases[] = {
		{"", "START WAL LOCATION"},
		{"LABEL: x\n", "START WAL LOCATION"},
		{"START WAL LOCATION: \n", "START WAL LOCATION"},
		{"START WAL LOCATION: 0/G (file 000000020000000100000003)\n", "0/G"},
		{"START WAL LOCATION: 0/1\n", "0/1"},
		{"START WAL LOCATION: 0/1 (file 000000020000000100000003\n", "0/1"},
		{"START WAL LOCATION: 0/1 (file 00000002.history)\n", "0/1"},
		{"START WAL LOCATION: 0/1 (file 00000002000000010000000x)\n", "0/1"},
		{START "CHECKPOINT LOCATION: 0/1 2\n", "CHECKPOINT"},
		{START "CHECKPOINT LOCATION: 0000000000000000000000000/1\n", "CHECKPOINT"},
		{START "START TIMELINE: 3\n", "START TIMELINE"},
		{START "START TIMELINE: 0\n", "START TIMELINE"},
		{START "START TIMELINE: -1\n", "START TIMELINE"},
		{START "INCREMENTAL FROM LSN: x\n", "INCREMENTAL FROM LSN"},
		{START "INCREMENTAL FROM TLI: 4294967296\n", "INCREMENTAL FROM TLI"},
		{START "BACKUP FROM: nowhere\n", "nowhere"},
		{START "STOP WAL LOCATION: x\n", "STOP WAL"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct backup_label l = {.timeline = 77};
		struct error why;

		cr_assert_eq(decode(cases[i].text, &l, &why), ERR_CORRUPT, "case %zu", i);
		cr_assert_not_null(strstr(why.text, cases[i].named), "case %zu: %s", i, why.text);
		cr_assert_eq(l.timeline, 77);
	}
}

struct spaces {
	size_t count;
	uint32_t oid[4];
	char path[4][64];
};

static enum err visit_space(void *ctx, uint32_t oid, const char *path, struct error *why)
{
	struct spaces *s = ctx;

	if (s->count == 4)
		return error_set(why, ERR_LIMIT, "too many");
	s->oid[s->count] = oid;
	(void)snprintf(s->path[s->count], sizeof(s->path[0]), "%s", path);
	s->count++;
	return ERR_NONE;
}

Test(tablespace_map, of_a_real_backup_is_read_and_written)
{
	struct golden g = golden_read(GOLDEN "tablespace_map.15");
	struct spaces s = {0};
	struct writer w;

	cr_assert_eq(tablespace_map_decode(golden_view(g), visit_space, &s, NULL), ERR_NONE);
	cr_assert_eq(s.count, 1);
	cr_assert_eq(s.oid[0], 16391);
	cr_assert_str_eq(s.path[0], "/tmp/pgf-golden/ts15 a\\b");
	writer_init(&w, 1000);
	tablespace_map_line(&w, s.oid[0], s.path[0]);
	cr_assert_not(w.bad);
	cr_assert_eq(w.len, g.len);
	cr_assert_eq(memcmp(w.data, g.data, g.len), 0);
	writer_release(&w);
}

Test(tablespace_map, odd_paths_come_back)
{
	static const char odd[] = "/a b/\\x\n\r\\\\ ";
	struct spaces s = {0};
	struct writer w;

	writer_init(&w, 1000);
	tablespace_map_line(&w, 1, odd);
	tablespace_map_line(&w, UINT32_MAX, "/plain");
	cr_assert_eq(tablespace_map_decode(writer_view(&w), visit_space, &s, NULL), ERR_NONE);
	cr_assert_eq(s.count, 2);
	cr_assert_str_eq(s.path[0], odd);
	cr_assert_eq(s.oid[1], UINT32_MAX);
	cr_assert_str_eq(s.path[1], "/plain");
	writer_release(&w);
}

Test(tablespace_map, damage_is_refused)
{
	static char long_line[8192];
	static const struct {
		const char *text;
		size_t len;
	} cases[] = {
		{"1 /a", 4},    {"1\n", 2},
		{"1 \n", 3},    {" /a\n", 4},
		{"x /a\n", 5},  {"0 /a\n", 5},
		{"1 /a\\", 6},  {"1 /a\0b\n", 7},
		{"-1 /a\n", 6}, {"4294967296 /a\n", 14},
	};
	struct spaces s = {0};
	struct error why;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_eq(tablespace_map_decode(bytes_of(cases[i].text, cases[i].len),
						   visit_space, &s, &why),
			     ERR_CORRUPT, "case %zu", i);
	cr_assert_eq(s.count, 0);
	memset(long_line, '7', sizeof(long_line));
	cr_assert_eq(tablespace_map_decode(bytes_of(long_line, sizeof(long_line)), visit_space, &s,
					   &why),
		     ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "tablespace_map"));
}

Test(tablespace_map, error_of_the_visitor_ends_it)
{
	struct spaces s = {0};
	struct error why;

	cr_assert_eq(tablespace_map_decode(bytes_of_text("1 a\n2 b\n3 c\n4 d\n5 e\n6 f\n"),
					   visit_space, &s, &why),
		     ERR_LIMIT);
	cr_assert_str_eq(why.text, "too many");
}

Test(label, of_an_incremental_backup_is_made_whole)
{
	static const char *const paths[] = {GOLDEN "backup_label.incremental.17",
					    GOLDEN "backup_label.incremental.18"};
	static const uint64_t from[] = {0xb00028, 0xc00028};

	for (size_t i = 0; i < 2; i++) {
		struct bytes text = golden_view(golden_read(paths[i]));
		struct backup_label before, after;
		struct writer w;

		cr_assert_eq(backup_label_decode(text, &before, NULL), ERR_NONE);
		cr_assert_eq(before.incremental_from.value, from[i]);
		cr_assert_eq(before.incremental_from_timeline, 1);
		writer_init(&w, 8192);
		backup_label_make_whole(text, &w);
		cr_assert_not(w.bad);
		cr_assert_eq(backup_label_decode(writer_view(&w), &after, NULL), ERR_NONE);
		cr_assert_eq(after.incremental_from.value, 0);
		cr_assert_eq(after.incremental_from_timeline, 0);
		cr_assert_eq(after.start.value, before.start.value);
		/* All that stood before the two lines, and nothing else. */
		cr_assert_eq(memcmp(w.data, text.data, w.len), 0);
		cr_assert_eq(memcmp(text.data + w.len, "INCREMENTAL FROM LSN: ", 22), 0);
		writer_release(&w);
	}
}

Test(label, of_a_whole_backup_stays_as_it_is)
{
	const char *odd = "LABEL: about INCREMENTAL FROM LSN: 0/1\nno newline at the end";
	struct writer w;

	writer_init(&w, 8192);
	backup_label_make_whole(bytes_of_text(odd), &w);
	cr_assert_eq(w.len, strlen(odd));
	cr_assert_eq(memcmp(w.data, odd, w.len), 0);
	writer_reset(&w);
	backup_label_make_whole(
		bytes_of_text("A\nINCREMENTAL FROM TLI: 1\nINCREMENTAL FROM LSN: 0/1\nB\n"
			      "INCREMENTAL FROM TLI: 7"),
		&w);
	cr_assert_eq(w.len, 4);
	cr_assert_eq(memcmp(w.data, "A\nB\n", 4), 0);
	writer_release(&w);
}
