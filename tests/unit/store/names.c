/* Facts about sorted names. */
#include "store/names.h"

#include <criterion/criterion.h>

static void add(struct names *names, const char *name, bool is_directory)
{
	cr_assert(names_add(names, bytes_of_text(name), is_directory));
}

static void add_all(struct names *names)
{
	names_init(names);
	add(names, "b", false);
	add(names, "a.b", false);
	add(names, "a", true);
	add(names, "a-b", true);
	add(names, "a0", false);
	add(names, "B", false);
}

static void expect(const struct names *names, const char *const *expected, size_t count)
{
	cr_assert_eq(names->count, count);
	for (size_t i = 0; i < count; i++)
		cr_assert_str_eq(names->sorted[i], expected[i]);
}

Test(names, as_keys_a_directory_sorts_with_its_slash)
{
	static const char *const expected[] = {"B", "a-b/", "a.b", "a/", "a0", "b"};
	struct names names;

	add_all(&names);
	cr_assert(names_sort_as_keys(&names));
	expect(&names, expected, 6);
	names_release(&names);
	cr_assert_eq(names.count, 0);
}

Test(names, as_parts_a_directory_sorts_as_its_name)
{
	static const char *const expected[] = {"B", "a/", "a-b/", "a.b", "a0", "b"};
	struct names names;

	add_all(&names);
	cr_assert(names_sort_as_parts(&names));
	expect(&names, expected, 6);
	names_release(&names);
}

Test(names, none_are_sorted_too)
{
	struct names names;

	names_init(&names);
	cr_assert(names_sort_as_keys(&names));
	cr_assert_not_null(names.sorted);
	names_release(&names);
}
