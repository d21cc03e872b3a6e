/* What check, show and restore know of the libraries that sorted text. */
#include "commands/collations.h"

#include <criterion/criterion.h>

#include <string.h>

static struct collations parsed(const char *text)
{
	struct collations all;
	struct error why;

	cr_assert_eq(collations_parse(bytes_of_text(text), &all, &why), ERR_NONE, "%s", why.text);
	return all;
}

Test(collations, are_read_field_by_field_and_the_name_keeps_what_is_left)
{
	struct collations all = parsed("library libc\t2.36\nlibrary icu\t153.120\n"
				       "collation libc\t2.31\ten_US.UTF-8\tshop\n"
				       "collation builtin\t-\tC.UTF-8\ta\tb\n");

	cr_assert_str_eq(all.libc, "2.36");
	cr_assert_str_eq(all.icu, "153.120");
	cr_assert_eq(all.count, 2);
	cr_assert_str_eq(all.collation[0].provider, "libc");
	cr_assert_str_eq(all.collation[0].version, "2.31");
	cr_assert_str_eq(all.collation[0].locale, "en_US.UTF-8");
	cr_assert_str_eq(all.collation[0].database, "shop");
	cr_assert_str_eq(all.collation[1].version, "");
	cr_assert_str_eq(all.collation[1].database, "a\tb");
	collations_release(&all);
}

Test(collations, of_later_versions_are_passed_over)
{
	struct collations all = parsed("library mine\t1\nlibrary libc\ncollation libc\t1\n"
				       "something else\n");

	cr_assert_eq(all.count, 0);
	cr_assert_str_eq(all.libc, "");
	collations_release(&all);
}

Test(collations, differ_when_the_library_is_known_and_another)
{
	struct collations all = parsed("library libc\t2.36\n"), unknown = parsed("");

	cr_assert_not(collations_differ(&all, "2.36"));
	cr_assert(collations_differ(&all, "2.41"));
	cr_assert(collations_differ(&all, ""));
	cr_assert_not(collations_differ(&unknown, "2.36"));
	collations_release(&all);
	collations_release(&unknown);
}
