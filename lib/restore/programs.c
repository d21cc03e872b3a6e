/* restore/programs.c - where pg_ctl and postgres of one major are.
 *
 * A directory that is named by the major holds that one.  Of any other, a directory of PATH or the place where
 * PostgreSQL's own `make install` puts it, postgres itself is asked: a server of another major refuses the
 * directory only after everything has been restored into it.
 */
#include "restore/restore_internal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	VERSION_BYTES_MAX = 256,     /* of its answer, with a NUL */
	ANSWER_US = 10 * 1000 * 1000 /* for "postgres -V", which reads nothing */
};

static bool has_programs(const char *directory)
{
	char path[PATH_MAX];

	for (int i = 0; i < 2; i++) {
		int n = snprintf(path, sizeof(path), "%s/%s", directory,
				 i == 0 ? "pg_ctl" : "postgres");

		if (n < 0 || (size_t)n >= sizeof(path) ||
		    faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0)
			return false;
	}
	return true;
}

/* "postgres (PostgreSQL) 15.18 (Debian ...)" */
static unsigned major_of_text(const char *text)
{
	static const char front[] = "(PostgreSQL) ";
	const char *number = strstr(text, front);

	if (number == NULL || !isdigit((unsigned char)number[sizeof(front) - 1]))
		return 0;
	return (unsigned)strtoul(number + sizeof(front) - 1, NULL, 10);
}

unsigned programs_major(const struct env *env, const char *directory)
{
	char program[PATH_MAX], text[VERSION_BYTES_MAX];
	const char *const argv[] = {program, "-V", NULL};
	const struct program_call call = {.argv = argv,
					  .in = -1,
					  .until = clock_monotonic_us(env->clock) + ANSWER_US,
					  .out = text,
					  .out_size = sizeof(text)};

	if (snprintf(program, sizeof(program), "%s/postgres", directory) >= (int)sizeof(program))
		return 0;
	return programs_run(env, &call) == 0 ? major_of_text(text) : 0;
}

/* ---- looking ---- */

struct searching {
	const struct env *env;
	unsigned major;
	unsigned other; /* of the first programs of another major; 0 = none were met */
	char other_directory[PATH_MAX];
};

static bool is_that_major(struct searching *s, const char *directory)
{
	unsigned major;

	if (!has_programs(directory))
		return false;
	major = programs_major(s->env, directory);
	if (major != 0 && major != s->major && s->other == 0) {
		s->other = major;
		(void)snprintf(s->other_directory, sizeof(s->other_directory), "%s", directory);
	}
	return major == s->major;
}

/* The first directory of a list as in PATH that holds them; what is not absolute would depend on
 * where the agent was started. */
static bool search(struct searching *s, const char *list, char out[PATH_MAX])
{
	while (*list != '\0') {
		size_t len = strcspn(list, ":");

		if (list[0] == '/' && len < PATH_MAX) {
			memcpy(out, list, len);
			out[len] = '\0';
			if (is_that_major(s, out))
				return true;
		}
		list += len + (list[len] == ':');
	}
	return false;
}

enum err programs_find(const struct env *env, unsigned major, const char *search_path,
		       char out[PATH_MAX], struct error *why)
{
	static const char *const usual[] = {"/usr/lib/postgresql/%u/bin", "/usr/pgsql-%u/bin",
					    "/opt/postgresql/%u/bin"};
	static const char installed[] = "/usr/local/pgsql/bin";
	struct searching s = {.env = env, .major = major};
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
		const char *number = strstr(usual[i], "%u");

		(void)snprintf(path, sizeof(path), "%.*s%u%s", (int)(number - usual[i]), usual[i],
			       major, number + 2); /* fits */
		if (!has_programs(path))
			continue;
		memcpy(out, path, strlen(path) + 1);
		return ERR_NONE;
	}
	if (is_that_major(&s, installed)) {
		memcpy(out, installed, sizeof(installed));
		return ERR_NONE;
	}
	if (search_path != NULL && search(&s, search_path, path)) {
		memcpy(out, path, strlen(path) + 1);
		return ERR_NONE;
	}
	if (s.other != 0)
		(void)error_set(why, ERR_CONFIG,
				"no pg_ctl and postgres of PostgreSQL %u in the usual places "
				"(/usr/lib/postgresql/%u/bin) or on PATH; those in %s are of "
				"PostgreSQL %u",
				major, major, s.other_directory, s.other);
	else
		(void)error_set(
			why, ERR_CONFIG,
			"pg_ctl and postgres of PostgreSQL %u are neither in the usual places "
			"(/usr/lib/postgresql/%u/bin) nor on PATH",
			major, major);
	error_hint(why,
		   "install postgresql-%u, put the directory of its pg_ctl on PATH, or restore "
		   "without --start",
		   major);
	return ERR_CONFIG;
}
