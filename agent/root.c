/* root.c - pgagent does not run as root: it refuses, and restore gives root up. */
#include "root.h"

#include "escape.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum err root_refuse(int argc, char *const *argv, struct error *why)
{
	char line[ERROR_HINT_MAX] = "runuser -u postgres --";
	size_t at = strlen(line);

	for (int i = 0; i < argc && at + 2 < sizeof(line); i++) {
		line[at++] = ' ';
		if (!escape_shell(argv[i], line + at, sizeof(line) - at)) {
			/* A line cut in the middle must not be typed. */
			(void)snprintf(line, sizeof(line), "runuser -u postgres -- %.200s ...",
				       argc > 0 ? argv[0] : "pgagent");
			break;
		}
		at += strlen(line + at);
	}
	(void)error_set(why, ERR_CONFIG,
			"pgagent does not run as root, but as the user that runs PostgreSQL");
	error_hint(why, "%s", line);
	return ERR_CONFIG;
}

/* `directory`, or the nearest one above it that exists. */
static enum err stat_nearest(const char *directory, struct stat *st, char *path, size_t size,
			     struct error *why)
{
	size_t len;
	char *slash;

	if ((size_t)snprintf(path, size, "%s", directory) >= size)
		return error_set(why, ERR_LIMIT, "%s: the path is too long", directory);
	len = strlen(path);
	while (len > 1 && path[len - 1] == '/')
		path[--len] = '\0';
	if (stat(path, st) == 0)
		return ERR_NONE;
	if (errno != ENOENT)
		return error_set_os(why, error_kind_of_os(errno), errno, "%s", path);
	slash = strrchr(path, '/');
	if (slash == NULL)
		(void)snprintf(path, size, "."); /* two bytes */
	else
		slash[slash == path ? 1 : 0] = '\0';
	if (stat(path, st) != 0)
		return error_set_os(why, error_kind_of_os(errno), errno, "%s", path);
	return ERR_NONE;
}

static enum err become(const struct passwd *user, uid_t uid, gid_t gid, struct error *why)
{
	int rc = user != NULL ? initgroups(user->pw_name, gid) : setgroups(0, NULL);

	if (rc != 0 || setgid(gid) != 0 || setuid(uid) != 0)
		return error_set_os(why, ERR_DENIED, errno, "becoming user %u", (unsigned)uid);
	if (setuid(0) == 0 || geteuid() != uid)
		return error_set(why, ERR_DENIED, "becoming user %u: root could not be given up",
				 (unsigned)uid);
	/* libpq looks for .pgpass and certificates below $HOME. */
	if (user != NULL &&
	    (setenv("HOME", user->pw_dir, 1) != 0 || setenv("USER", user->pw_name, 1) != 0 ||
	     setenv("LOGNAME", user->pw_name, 1) != 0))
		return error_set(why, ERR_MEMORY, "no memory for the environment");
	/* A current directory that the new user may not search would break whatever is started. */
	if (access(".", X_OK) != 0 && chdir("/") != 0)
		return error_set_os(why, ERR_IO, errno, "changing to the directory /");
	return ERR_NONE;
}

enum err root_drop_to_owner(const char *directory, char *who, size_t size, struct error *why)
{
	const struct passwd *user;
	char path[4096], quoted[512];
	struct stat st;
	enum err err;

	err = stat_nearest(directory, &st, path, sizeof(path), why);
	if (err != ERR_NONE)
		return err;
	if (st.st_uid == 0) {
		err = error_set(why, ERR_CONFIG,
				"restore as root takes the owner of the target directory, and %s "
				"belongs to root",
				path);
		if (escape_shell(directory, quoted, sizeof(quoted)))
			error_hint(why, "install -d -o postgres -g postgres -m 700 %s", quoted);
		return err;
	}
	user = getpwuid(st.st_uid);
	err = become(user, st.st_uid, user != NULL ? user->pw_gid : st.st_gid, why);
	if (err == ERR_NONE && user != NULL)
		(void)snprintf(who, size, "%s", user->pw_name); /* cut is still a name */
	else if (err == ERR_NONE)
		(void)snprintf(who, size, "user %u", (unsigned)st.st_uid); /* short */
	return err;
}
