/* restore/inside.c - whether a place to write to lies in somebody's directory, or holds what is pgagent's own.
 * Changes nothing.
 *
 * An empty directory below a data directory looks free, and is not: the next base backup has all of it, a
 * delta restore removes it, and below a repository its next reader finds what it has never put there.
 */
#include "base/file.h"
#include "restore/restore_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAMES_MAX = 1000 /* a directory with more of them is no tablespace's */ };

static bool has(const struct env *env, const char *directory, const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	return snprintf(path, sizeof(path), "%s/%s", directory, name) < (int)sizeof(path) &&
	       env->files->ops->stat(env->files, AT_FDCWD, path, 0, &st) >= 0;
}

bool inside_is_data_directory(const struct env *env, const char *path)
{
	return has(env, path, RESTORE_MARKER) ||
	       (has(env, path, "PG_VERSION") && has(env, path, "global/pg_control"));
}

struct versions {
	size_t names;
	bool found;
};

/* "PG_15_202209061": what every server has in the directory of a tablespace. */
static int see_version(void *ctx, const char *name, mode_t type)
{
	static const char digits[] = "0123456789";
	struct versions *v = ctx;
	size_t major, catalog;

	if (++v->names > NAMES_MAX)
		return -1;
	if (strncmp(name, "PG_", 3) != 0 || (type != 0 && !S_ISDIR(type)))
		return 0;
	major = strspn(name + 3, digits);
	if (major == 0 || name[3 + major] != '_')
		return 0;
	catalog = strspn(name + 3 + major + 1, digits);
	v->found = catalog > 0 && name[3 + major + 1 + catalog] == '\0';
	return v->found ? -1 : 0;
}

bool inside_is_tablespace(const struct env *env, const char *path)
{
	struct versions v = {.names = 0};

	/* One that cannot be listed is nobody's whose files could be written over here. */
	(void)env->files->ops->list(env->files, AT_FDCWD, path, see_version, &v);
	return v.found;
}

static bool is_repository(const struct env *env, const char *path)
{
	static const char first[] = "pgagent-record format ";
	char name[PATH_MAX];
	uint8_t *text;
	size_t len;
	bool is;

	if (snprintf(name, sizeof(name), "%s/FORMAT", path) >= (int)sizeof(name) ||
	    file_read_all(env->files, AT_FDCWD, name, RECORD_BYTES_MAX, &text, &len, NULL) !=
		    ERR_NONE)
		return false;
	is = len >= sizeof(first) && memcmp(text, first, sizeof(first) - 1) == 0;
	free(text);
	return is;
}

/* What `path` is, for "lies in ..."; NULL = nothing that keeps others out. */
static const char *what_is(const struct env *env, const char *path)
{
	if (inside_is_data_directory(env, path))
		return "the data directory of a server,";
	if (is_repository(env, path))
		return "a repository of pgagent,";
	return inside_is_tablespace(env, path) ? "the directory of a tablespace," : NULL;
}

static void refuse_within(struct restore_plan *plan, const char *what, const char *path,
			  const char *owner, const char *around)
{
	if (strcmp(path, around) == 0)
		problem_add(plan, "directory_of_others", "%s \"%s\" is %.*s", what, path,
			    (int)strcspn(owner, ","), owner);
	else
		problem_add(plan, "directory_of_others", "%s \"%s\" lies in %s \"%s\"", what, path,
			    owner, around);
	problem_hint(plan,
		     "nothing is restored into it: name a directory outside of \"%s\" that is "
		     "empty or does not exist yet",
		     around);
}

/* What is configured, wherever it lies. */
static bool refuses_own(const struct inside *i, const struct restore_own *own)
{
	char real[PATH_MAX], owner[256];
	struct files *files = i->env->files;
	struct stat st;

	if (place_real(own->path, real, NULL) != ERR_NONE)
		return false;
	(void)snprintf(owner, sizeof(owner), "%s,", own->what); /* cut: the path says the rest */
	if (own->is_repository && place_is_within(i->path, real)) {
		refuse_within(i->plan, i->what, i->path, owner, real);
		return true;
	}
	if (!place_is_within(real, i->path) || files->ops->stat(files, AT_FDCWD, real, 0, &st) < 0)
		return false;
	problem_add(i->plan, "directory_holds_own", "%s \"%s\" %s %s \"%s\"", i->what, i->path,
		    strcmp(real, i->path) == 0 ? "is" : "holds", owner, real);
	/* Of a server's own directory it is what keeps from a restore in place; of any other, the wrong one was named. */
	if (i->target == NULL && inside_is_data_directory(i->env, i->path))
		problem_hint(i->plan,
			     "it would be removed with all else that the backup does not have: "
			     "move it out of there first, and say where it is in the "
			     "configuration; or name another directory");
	else
		problem_hint(i->plan, "name a directory of its own, that is empty or does not "
				      "exist yet");
	return true;
}

/* A place in the target is told by check_apart. */
static bool refuses_around(const struct inside *i)
{
	char around[PATH_MAX], *slash;
	const char *owner;

	(void)snprintf(around, sizeof(around), "%s", i->path);
	/* The place itself may be that of a tablespace or a data directory, where it is to be one. */
	if (i->target == NULL && inside_is_tablespace(i->env, around))
		owner = "the directory of a tablespace,";
	else
		owner = is_repository(i->env, around) ? "a repository of pgagent," : NULL;
	while (owner == NULL && strcmp(around, "/") != 0) {
		slash = strrchr(around, '/');
		slash[slash == around] = '\0';
		if (i->target != NULL && strcmp(around, i->target) == 0)
			return false;
		owner = what_is(i->env, around);
	}
	if (owner != NULL)
		refuse_within(i->plan, i->what, i->path, owner, around);
	return owner != NULL;
}

bool inside_refuses(const struct inside *i)
{
	for (size_t k = 0; k < i->request->owns; k++)
		if (refuses_own(i, &i->request->own[k]))
			return true;
	return refuses_around(i);
}
