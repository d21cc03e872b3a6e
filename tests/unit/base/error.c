#include "base/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(error, holds_kind_errno_origin_and_text)
{
	struct error why;

	cr_assert_eq(error_set_os(&why, ERR_FULL, ENOSPC, "cannot write %s", "x"), ERR_FULL);
	cr_assert_eq(why.kind, ERR_FULL);
	cr_assert_eq(why.os, ENOSPC);
	cr_assert_not_null(strstr(why.file, "error.c"));
	cr_assert_str_eq(why.text, "cannot write x: No space left on device");
	cr_assert_str_eq(why.hint, "");
}

Test(error, a_clause_goes_in_front_and_keeps_the_kind)
{
	struct error why;

	(void)error_set(&why, ERR_CORRUPT, "page %d is wrong", 3);
	error_hint(&why, "run %s", "verify");
	cr_assert_eq(error_add(&why, "restore of %s", "base"), ERR_CORRUPT);
	cr_assert_str_eq(why.text, "restore of base: page 3 is wrong");
	cr_assert_str_eq(why.hint, "run verify");
}

Test(error, long_texts_are_cut_not_overrun)
{
	struct error why;

	(void)error_set_os(&why, ERR_IO, EIO, "%02000d", 1);
	cr_assert_eq(strlen(why.text), ERROR_TEXT_MAX - 1);
	(void)error_add(&why, "clause");
	cr_assert_eq(strlen(why.text), ERROR_TEXT_MAX - 1);
	cr_assert_eq(strncmp(why.text, "clause: 0000", 12), 0);
	error_hint(&why, "%02000d", 1);
	cr_assert_eq(strlen(why.hint), ERROR_HINT_MAX - 1);
}

Test(error, nowhere_to_write_still_passes_the_kind_on)
{
	cr_assert_eq(error_set(NULL, ERR_PEER, "x"), ERR_PEER);
	error_hint(NULL, "x");
}

Test(error, errnos_become_decisions)
{
	cr_assert_eq(error_kind_of_os(0), ERR_NONE);
	cr_assert_eq(error_kind_of_os(ENOENT), ERR_MISSING);
	cr_assert_eq(error_kind_of_os(EEXIST), ERR_EXISTS);
	cr_assert_eq(error_kind_of_os(EROFS), ERR_DENIED);
	cr_assert_eq(error_kind_of_os(EDQUOT), ERR_FULL);
	cr_assert_eq(error_kind_of_os(ENOMEM), ERR_MEMORY);
	cr_assert_eq(error_kind_of_os(EMFILE), ERR_LIMIT);
	cr_assert_eq(error_kind_of_os(EAGAIN), ERR_TRANSIENT);
	cr_assert_eq(error_kind_of_os(EIO), ERR_IO);
	cr_assert_eq(error_kind_of_os(12345), ERR_IO);
}

Test(error, every_kind_has_a_word_of_its_own)
{
	for (int a = ERR_NONE; a <= ERR_WRONG_KEY; a++) {
		cr_assert_str_neq(error_kind_word((enum err)a), "unknown");
		for (int b = ERR_NONE; b < a; b++)
			cr_assert_str_neq(error_kind_word((enum err)a),
					  error_kind_word((enum err)b));
	}
}
