/* Where the server's programs are looked for. */
#include "scratch.h"

#include "restore/restore_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MAJOR = 99 }; /* of no installed server */

static void put_program(const char *directory, const char *name)
{
	char path[512];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	cr_assert_not_null(file);
	cr_assert_eq(fclose(file), 0);
	cr_assert_eq(chmod(path, 0755), 0);
}

Test(start, programs_are_found_on_the_search_path)
{
	struct scratch s = scratch_open();
	char list[512], found[PATH_MAX];
	struct error why;

	put_program(s.path, "pg_ctl");
	put_program(s.path, "postgres");
	(void)snprintf(list, sizeof(list), "relative::/nonexistent:%s:/bin", s.path);
	cr_assert_eq(start_find_binaries(MAJOR, list, found, &why), ERR_NONE);
	cr_assert_str_eq(found, s.path);
	scratch_close(&s);
}

Test(start, half_of_the_programs_are_none_and_the_major_is_named)
{
	struct scratch s = scratch_open();
	char found[PATH_MAX];
	struct error why;

	put_program(s.path, "pg_ctl");
	cr_assert_eq(start_find_binaries(MAJOR, s.path, found, &why), ERR_CONFIG);
	cr_assert_not_null(strstr(why.text, "PostgreSQL 99"));
	cr_assert_not_null(strstr(why.hint, "postgresql-99"));
	cr_assert_eq(start_find_binaries(MAJOR, NULL, found, &why), ERR_CONFIG);
	scratch_close(&s);
}
