/* Facts about what was received, held against the server's manifest. */
#include "backup/backup_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>

static enum err add(struct seen *s, const char *path, uint64_t size, uint32_t crc,
		    struct error *why)
{
	return seen_add(s, bytes_of_text(path), size, crc, why);
}

Test(seen, a_path_that_comes_twice_is_refused)
{
	struct seen *s = seen_new();
	struct error why;

	cr_assert_eq(add(s, "base/5/1259", 8192, 7, &why), ERR_NONE);
	cr_assert_eq(add(s, "base/5/125", 8192, 7, &why), ERR_NONE);
	cr_assert_eq(add(s, "base/5/1259", 8192, 7, &why), ERR_PEER);
	cr_assert_not_null(strstr(why.text, "base/5/1259"), "%s", why.text);
	seen_free(s);
}

Test(seen, what_differs_from_the_manifest_is_named)
{
	struct seen *s = seen_new();
	struct error why;

	cr_assert_eq(add(s, "PG_VERSION", 3, 7, &why), ERR_NONE);
	cr_assert_eq(seen_match(s, "PG_VERSION", 4, true, 7, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "PG_VERSION"), "%s", why.text);
	cr_assert_eq(seen_match(s, "PG_VERSION", 3, true, 8, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "CRC"), "%s", why.text);
	cr_assert_eq(seen_match(s, "base/1/1", 3, true, 7, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "base/1/1"), "%s", why.text);
	cr_assert_eq(seen_all_matched(s, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "1 of 1"), "%s", why.text);
	/* A manifest without CRC-32C still has sizes. */
	cr_assert_eq(seen_match(s, "PG_VERSION", 3, false, 0, &why), ERR_NONE);
	cr_assert_eq(seen_match(s, "PG_VERSION", 3, true, 7, &why), ERR_CORRUPT, "listed twice");
	cr_assert_eq(seen_all_matched(s, &why), ERR_NONE);
	seen_free(s);
}

Test(seen, grows_to_any_number_of_files)
{
	enum { FILES = 100000 };
	struct seen *s = seen_new();
	struct error why;
	char path[40];

	for (unsigned i = 0; i < FILES; i++) {
		(void)snprintf(path, sizeof(path), "base/%u/%u", i % 7, i);
		cr_assert_eq(add(s, path, i, ~i, &why), ERR_NONE, "%s", path);
	}
	for (unsigned i = 0; i < FILES; i++) {
		(void)snprintf(path, sizeof(path), "base/%u/%u", i % 7, i);
		cr_assert_eq(seen_match(s, path, i, true, ~i, &why), ERR_NONE, "%s", why.text);
	}
	cr_assert_eq(seen_all_matched(s, &why), ERR_NONE);
	seen_free(s);
	seen_free(NULL);
}
