/* Where the server's programs are looked for, and that they are of the right major. */
#include "scratch.h"

#include "restore/restore_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MAJOR = 99 }; /* of no installed server */

static void put_program(const char *directory, const char *name, const char *script)
{
	char path[512];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	cr_assert_not_null(file);
	cr_assert_geq(fprintf(file, "#!/bin/sh\n%s\n", script), 0);
	cr_assert_eq(fclose(file), 0);
	cr_assert_eq(chmod(path, 0755), 0);
}

/* A directory below the scratch one, with a postgres that answers so. */
static void put_server(const struct scratch *s, const char *name, const char *script,
		       char path[256])
{
	(void)snprintf(path, 256, "%s/%s", s->path, name);
	cr_assert_eq(mkdir(path, 0700), 0);
	put_program(path, "pg_ctl", "");
	put_program(path, "postgres", script);
}

Test(programs, are_found_on_the_search_path)
{
	struct scratch s = scratch_open();
	struct env env = env_os();
	char list[512], found[PATH_MAX], path[256];
	struct error why;

	put_server(&s, "a", "[ \"$1\" = -V ] && echo 'postgres (PostgreSQL) 99.3 (Debian 99.3-1)'",
		   path);
	(void)snprintf(list, sizeof(list), "relative::/nonexistent:%s:/bin", path);
	cr_assert_eq(programs_find(&env, MAJOR, list, found, &why), ERR_NONE);
	cr_assert_str_eq(found, path);
	scratch_close(&s);
}

/* Else everything would be restored before the server refuses it. */
Test(programs, of_another_major_are_passed_over_and_named)
{
	struct scratch s = scratch_open();
	struct env env = env_os();
	char list[600], found[PATH_MAX], other[256], right[256];
	struct error why;

	put_server(&s, "a", "echo 'postgres (PostgreSQL) 98beta2'", other);
	cr_assert_eq(programs_find(&env, MAJOR, other, found, &why), ERR_CONFIG);
	cr_assert_not_null(strstr(why.text, "PostgreSQL 98"), "%s", why.text);
	cr_assert_not_null(strstr(why.text, other), "%s", why.text);
	put_server(&s, "b", "echo 'postgres (PostgreSQL) 99devel'", right);
	(void)snprintf(list, sizeof(list), "%s:%s", other, right);
	cr_assert_eq(programs_find(&env, MAJOR, list, found, &why), ERR_NONE);
	cr_assert_str_eq(found, right);
	scratch_close(&s);
}

Test(programs, that_answer_nonsense_are_none)
{
	static const char *const scripts[] = {"echo 'postgres (PostgreSQL) 99.1'; exit 1",
					      "echo 99", "",
					      "yes 'no version at all' | head -c 100000"};
	struct scratch s = scratch_open();
	struct env env = env_os();

	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		char name[2] = {(char)('a' + i), '\0'}, path[256];

		put_server(&s, name, scripts[i], path);
		cr_assert_eq(programs_major(&env, path), 0, "%s", scripts[i]);
	}
	scratch_close(&s);
}

Test(programs, half_of_them_are_none_and_the_major_is_named)
{
	struct scratch s = scratch_open();
	struct env env = env_os();
	char found[PATH_MAX];
	struct error why;

	put_program(s.path, "pg_ctl", "");
	cr_assert_eq(programs_find(&env, MAJOR, s.path, found, &why), ERR_CONFIG);
	cr_assert_not_null(strstr(why.text, "PostgreSQL 99"));
	cr_assert_not_null(strstr(why.hint, "postgresql-99"));
	cr_assert_eq(programs_find(&env, MAJOR, NULL, found, &why), ERR_CONFIG);
	scratch_close(&s);
}
