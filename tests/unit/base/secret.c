#include "base/secret.h"

#include <criterion/criterion.h>
#include <string.h>

Test(secret, holds_what_was_set_and_no_rest_of_what_was_before)
{
	struct secret s = {0};

	cr_assert_eq(secret_set(&s, bytes_of_text("a long passphrase"), NULL), ERR_NONE);
	cr_assert_eq(secret_set(&s, bytes_of_text("short"), NULL), ERR_NONE);
	cr_assert_eq(secret_view(&s).len, 5);
	cr_assert_eq(memcmp(secret_view(&s).data, "short", 5), 0);
	cr_assert(bytes_are_zero(bytes_of(s.data + 5, SECRET_MAX - 5)));
}

Test(secret, can_be_set_to_a_part_of_itself)
{
	struct secret s = {0};

	cr_assert_eq(secret_set(&s, bytes_of_text("  key\n"), NULL), ERR_NONE);
	cr_assert_eq(secret_set(&s, bytes_of(s.data + 2, 3), NULL), ERR_NONE);
	cr_assert_eq(memcmp(s.data, "key\0\0", 5), 0);
}

Test(secret, too_long_is_refused_and_changes_nothing)
{
	static const uint8_t big[SECRET_MAX + 1];
	struct secret s = {0};
	struct error why;

	cr_assert_eq(secret_set(&s, bytes_of_text("kept"), NULL), ERR_NONE);
	cr_assert_eq(secret_set(&s, bytes_of(big, sizeof(big)), &why), ERR_LIMIT);
	cr_assert_not_null(strstr(why.text, "1025 bytes"));
	cr_assert_eq(memcmp(s.data, "kept", 4), 0);
	cr_assert_eq(secret_set(&s, bytes_of(big, SECRET_MAX), NULL), ERR_NONE);
}

Test(secret, release_wipes)
{
	struct secret s = {0};

	cr_assert_eq(secret_set(&s, bytes_of_text("key"), NULL), ERR_NONE);
	secret_release(&s);
	cr_assert(bytes_are_zero(bytes_of(s.data, SECRET_MAX)));
	cr_assert_eq(s.len, 0);
	secret_release(&s);
}
