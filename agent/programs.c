/* programs.c - finding and starting the other half of the program. */
#include "programs.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum err running_program(char out[PATH_MAX], struct error *why)
{
	ssize_t len = readlink("/proc/self/exe", out, PATH_MAX - 1);

	if (len < 0)
		return error_set_os(
			why, ERR_IO, errno,
			"the program's own path can't be found out (is /proc mounted?)");
	out[len] = '\0';
	return ERR_NONE;
}

/* `directory` without its last `levels` parts, then `tail`; false when there is no such program. */
static bool find_program(const char *directory, int levels, const char *tail, char out[PATH_MAX])
{
	size_t len = strlen(directory);
	int n;

	for (; levels > 0; levels--) {
		while (len > 0 && directory[len - 1] != '/')
			len--;
		if (len == 0)
			return false;
		len--;
	}
	n = snprintf(out, PATH_MAX, "%.*s/%s", (int)len, directory, tail);
	return n >= 0 && n < PATH_MAX && access(out, X_OK) == 0;
}

enum err programs_front(char out[PATH_MAX], struct error *why)
{
	char path[PATH_MAX];
	char *name;
	enum err e = running_program(path, why);

	if (e != ERR_NONE)
		return e;
	name = strrchr(path, '/');
	if (name == NULL || strcmp(name, "/pgagent-whole") != 0) {
		memcpy(out, path, strlen(path) + 1);
		return ERR_NONE;
	}
	*name = '\0';
	if (find_program(path, 0, "pgagent", out) || find_program(path, 2, "bin/pgagent", out))
		return ERR_NONE;
	(void)error_set(why, ERR_MISSING, "there is no pgagent that belongs to %s/pgagent-whole",
			path);
	error_hint(why, "install pgagent again: cmake --install BUILD-DIRECTORY");
	return ERR_MISSING;
}

enum err programs_run_whole(char *const *argv, struct error *why)
{
	char directory[PATH_MAX], whole[PATH_MAX];
	char *name;
	enum err e = running_program(directory, why);

	if (e != ERR_NONE)
		return e;
	name = strrchr(directory, '/');
	if (name != NULL)
		*name = '\0';
	if (find_program(directory, 0, "pgagent-whole", whole) ||
	    find_program(directory, 1, "libexec/pgagent/pgagent-whole", whole)) {
		(void)execv(whole, argv); /* returns only when it failed */
		return error_set_os(why, ERR_IO, errno, "%s can't be started", whole);
	}
	(void)error_set(why, ERR_MISSING,
			"pgagent-whole, which has this command, is neither in %s nor in "
			"../libexec/pgagent beside it",
			directory);
	error_hint(why, "install pgagent again: cmake --install BUILD-DIRECTORY; a copy of the one "
			"file has only archive-push, archive-get and what reads a repository");
	return ERR_MISSING;
}
