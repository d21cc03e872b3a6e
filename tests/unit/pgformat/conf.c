#include "golden.h"
#include "pgformat/label.h"

struct pairs {
	size_t count;
	char name[16][40], value[16][80];
};

static enum err visit_pair(void *ctx, const char *name, const char *value, struct error *why)
{
	struct pairs *p = ctx;

	if (p->count == 16)
		return error_set(why, ERR_LIMIT, "too many");
	(void)snprintf(p->name[p->count], sizeof(p->name[0]), "%s", name);
	(void)snprintf(p->value[p->count], sizeof(p->value[0]), "%s", value);
	p->count++;
	return ERR_NONE;
}

static struct pairs pairs_of(const char *text)
{
	struct pairs p = {0};

	cr_assert_eq(conf_decode(bytes_of_text(text), visit_pair, &p, NULL), ERR_NONE);
	return p;
}

Test(conf, written_values_have_quotes_and_backslashes_doubled)
{
	struct writer w;

	writer_init(&w, 1000);
	conf_line(&w, "restore_command", "get 'a b' C:\\x %f");
	cr_assert_not(w.bad);
	writer_u8(&w, 0);
	cr_assert_str_eq((char *)w.data, "restore_command = 'get ''a b'' C:\\\\x %f'\n");
	writer_release(&w);
}

Test(conf, newline_in_a_value_makes_the_writer_bad)
{
	struct writer w;

	writer_init(&w, 1000);
	conf_line(&w, "archive_command", "true\nport = 1");
	cr_assert(w.bad);
	writer_release(&w);
}

Test(conf, written_values_come_back)
{
	static const char *const values[] = {"",    "'",        "''",           "\\",
					     "\\'", "a'\\'b",   "# no comment", "\t \r",
					     "\\n", "\303\251", "x\\"};
	struct writer w;
	struct pairs p = {0};

	writer_init(&w, 10000);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		conf_line(&w, "some.name", values[i]);
	cr_assert_eq(conf_decode(writer_view(&w), visit_pair, &p, NULL), ERR_NONE);
	cr_assert_eq(p.count, sizeof(values) / sizeof(values[0]));
	for (size_t i = 0; i < p.count; i++) {
		cr_assert_str_eq(p.name[i], "some.name");
		cr_assert_str_eq(p.value[i], values[i]);
	}
	writer_release(&w);
}

Test(conf, forms_of_assignments)
{
	struct pairs p = pairs_of("port = 5433\n"
				  "  Shared_Buffers=128MB # large\n"
				  "\tlisten_addresses '*'\t#all\n"
				  "my_ext.Setting = -1.5e3\r\n"
				  "log_line_prefix = '%m it''s \\'\\\\ \\n\\101\\q'\n"
				  "data_directory '/var/lib'");

	cr_assert_eq(p.count, 6);
	cr_assert_str_eq(p.name[0], "port");
	cr_assert_str_eq(p.value[0], "5433");
	cr_assert_str_eq(p.name[1], "shared_buffers");
	cr_assert_str_eq(p.value[1], "128MB");
	cr_assert_str_eq(p.value[2], "*");
	cr_assert_str_eq(p.name[3], "my_ext.setting");
	cr_assert_str_eq(p.value[3], "-1.5e3");
	cr_assert_str_eq(p.value[4], "%m it's '\\ \nAq");
	cr_assert_str_eq(p.value[5], "/var/lib");
}

Test(conf, lines_that_assign_nothing_are_passed_over)
{
	struct pairs p = pairs_of("# port = 1\n"
				  "\n"
				  "   \n"
				  "port\n"
				  "port =\n"
				  "= 7\n"
				  "7 = 7\n"
				  "port = 'open\n"
				  "port = 'open\\\n"
				  "port = 1 2\n"
				  "port = 'a' b\n"
				  "class. = 2\n"
				  ".name = 2\n"
				  "port == 3\n"
				  "port = 4\n");

	cr_assert_eq(p.count, 1);
	cr_assert_str_eq(p.value[0], "4");
}

Test(conf, bytes_that_are_no_text_do_no_harm)
{
	static const char text[] = "port\0 = 1\nport = '1\000"
				   "2'\nport = 1\0\nport = 5\n";
	struct pairs p = {0};

	cr_assert_eq(conf_decode(bytes_of(text, sizeof(text) - 1), visit_pair, &p, NULL), ERR_NONE);
	cr_assert_str_eq(p.value[p.count - 1], "5");
	cr_assert_eq(conf_decode(bytes_of(NULL, 0), visit_pair, &p, NULL), ERR_NONE);
}

Test(conf, error_of_the_visitor_ends_it)
{
	struct pairs p = {.count = 16};
	struct error why;

	cr_assert_eq(conf_decode(bytes_of_text("a = 1\nb = 2\n"), visit_pair, &p, &why), ERR_LIMIT);
	cr_assert_str_eq(why.text, "too many");
}

Test(conf, what_is_included_comes_under_its_keyword)
{
	struct pairs p = pairs_of("include 'other.conf'\n"
				  "include_if_exists = other.conf\n"
				  "Include_Dir 'conf.d' # more\n"
				  "include_dir\n");

	cr_assert_eq(p.count, 3);
	cr_assert_str_eq(p.name[0], "include");
	cr_assert_str_eq(p.value[0], "other.conf");
	cr_assert_str_eq(p.name[1], "include_if_exists");
	cr_assert_str_eq(p.value[1], "other.conf");
	cr_assert_str_eq(p.name[2], "include_dir");
	cr_assert_str_eq(p.value[2], "conf.d");
}
