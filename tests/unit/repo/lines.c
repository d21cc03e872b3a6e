/* Facts about "NAME VALUE" lines. */
#include "repo/lines.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

struct seen {
	char text[512];
	int lines;
};

static enum err note(void *ctx, const char *name, const char *value, struct error *why)
{
	struct seen *s = ctx;
	size_t used = strlen(s->text);

	(void)why;
	(void)snprintf(s->text + used, sizeof(s->text) - used, "[%s=%s]", name, value);
	s->lines++;
	return ERR_NONE;
}

static enum err stop(void *ctx, const char *name, const char *value, struct error *why)
{
	(void)value;
	++*(int *)ctx;
	return error_set(why, ERR_CONFIG, "stopped at %s", name);
}

Test(lines, values_come_back_with_line_feeds_and_backslashes)
{
	struct writer w;
	struct seen seen = {0};
	struct error why;

	writer_init(&w, 4096);
	lines_put(&w, "label", "two\nlines \\n");
	lines_put(&w, "empty", "");
	lines_putf(&w, "number", "%d of %s", 42, "a\nb");
	cr_assert(!w.bad);
	cr_assert_eq(memcmp(w.data, "label two\\nlines \\\\n\nempty \nnumber 42 of a\\nb\n", w.len),
		     0);
	cr_assert_eq(lines_walk(writer_view(&w), note, &seen, &why), ERR_NONE);
	cr_assert_str_eq(seen.text, "[label=two\nlines \\n][empty=][number=42 of a\nb]");
	writer_release(&w);
}

Test(lines, malformed_lines_are_corrupt_and_numbered)
{
	static const char *const bad[] = {
		"a 1\nb 2",     "a 1\nnospace\n", "a 1\n 1\n",     "a 1\nb x\\y\n",
		"a 1\nb x\\\n", "a 1\nb\tb 1\n",  "a 1\nb\\b 1\n", "a 1\n\n",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct seen seen = {0};
		struct error why;

		cr_assert_eq(lines_walk(bytes_of_text(bad[i]), note, &seen, &why), ERR_CORRUPT,
			     "case %zu", i);
		cr_assert_not_null(strstr(why.text, "line 2"), "case %zu: %s", i, why.text);
		cr_assert_eq(seen.lines, 1, "case %zu", i);
	}
}

Test(lines, names_of_settings_pass_and_others_make_the_writer_bad)
{
	struct writer w;
	struct seen seen = {0};
	struct error why;

	writer_init(&w, 4096);
	lines_put(&w, "DateStyle", "ISO");
	lines_put(&w, "pg_stat.x_y", "1");
	cr_assert(!w.bad);
	cr_assert_eq(lines_walk(writer_view(&w), note, &seen, &why), ERR_NONE);
	cr_assert_str_eq(seen.text, "[DateStyle=ISO][pg_stat.x_y=1]");
	lines_put(&w, "a b", "1");
	cr_assert(w.bad);
	writer_reset(&w);
	lines_put(&w, "", "1");
	cr_assert(w.bad);
	writer_release(&w);
}

Test(lines, a_nul_is_corrupt)
{
	struct seen seen = {0};
	struct error why;

	cr_assert_eq(lines_walk(bytes_of("a x\0y\n", 6), note, &seen, &why), ERR_CORRUPT);
	cr_assert_eq(seen.lines, 0);
}

Test(lines, a_value_of_65535_bytes_is_read_and_one_more_is_corrupt)
{
	struct writer w;
	struct error why;
	char *value = malloc(65537);
	int visits = 0;

	memset(value, 'v', 65536);
	value[65535] = '\0';
	writer_init(&w, 1 << 20);
	lines_put(&w, "big", value);
	cr_assert_eq(lines_walk(writer_view(&w), stop, &visits, &why), ERR_CONFIG);
	cr_assert_eq(visits, 1);
	value[65535] = 'v';
	value[65536] = '\0';
	writer_reset(&w);
	lines_put(&w, "big", value);
	cr_assert_eq(lines_walk(writer_view(&w), stop, &visits, &why), ERR_CORRUPT);
	cr_assert_eq(visits, 1);
	free(value);
	writer_release(&w);
}

Test(lines, the_answer_of_a_visit_ends_the_walk)
{
	int visits = 0;
	struct error why;

	cr_assert_eq(lines_walk(bytes_of_text("one 1\ntwo 2\n"), stop, &visits, &why), ERR_CONFIG);
	cr_assert_eq(visits, 1);
	cr_assert_str_eq(why.text, "stopped at one");
}

Test(lines, get_finds_the_first_of_a_name_and_nothing_longer_than_its_room)
{
	struct bytes text = bytes_of_text("name-2 x\nname one\nname two\nlong 12345\n");
	char out[6], small[5];

	cr_assert(lines_get(text, "name", out, sizeof(out)));
	cr_assert_str_eq(out, "one");
	cr_assert(lines_get(text, "long", out, sizeof(out)));
	cr_assert_str_eq(out, "12345");
	cr_assert(!lines_get(text, "long", small, sizeof(small)));
	cr_assert_str_eq(small, "");
	cr_assert(!lines_get(text, "nam", out, sizeof(out)));
	cr_assert_str_eq(out, "");
}

Test(lines, numbers_are_whole_decimals)
{
	struct bytes text =
		bytes_of_text("a 18446744073709551615\nb 12x\nc \nd 18446744073709551616\n");
	uint64_t n = 7;

	cr_assert(lines_get_u64(text, "a", &n));
	cr_assert_eq(n, UINT64_MAX);
	n = 7;
	cr_assert(!lines_get_u64(text, "b", &n));
	cr_assert(!lines_get_u64(text, "c", &n));
	cr_assert(!lines_get_u64(text, "d", &n));
	cr_assert(!lines_get_u64(text, "e", &n));
	cr_assert_eq(n, 7);
}
