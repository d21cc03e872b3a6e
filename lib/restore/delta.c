/* restore/delta.c - whether what lies in a directory may be reused, and how much it is.  Looks, and
 * changes nothing.
 *
 * A directory is taken over only when it is a data directory of the backup's own cluster, or what a restore
 * of that cluster left.  Everything is looked at beneath a descriptor, and no link is followed.
 */
#include "base/file.h"
#include "base/text.h"
#include "restore/target_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A file beneath `dir` into new memory, no links followed; false when it cannot be read. */
static bool read_beneath(const struct env *env, int dir, const char *path, size_t max,
			 uint8_t **out, size_t *len)
{
	struct files *files = env->files;
	struct stat st;
	int fd = files->ops->open_beneath(files, dir, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	uint8_t *data = NULL;
	bool read = false;

	if (fd < 0)
		return false;
	if (files->ops->stat_fd(files, fd, &st) >= 0 && S_ISREG(st.st_mode) &&
	    (uint64_t)st.st_size <= max)
		data = malloc((size_t)st.st_size + 1);
	if (data != NULL)
		read = file_pread(files, fd, data, (size_t)st.st_size, 0, NULL) == ERR_NONE;
	(void)files->ops->close(files, fd); /* only read */
	if (!read) {
		free(data);
		return false;
	}
	*out = data;
	*len = (size_t)st.st_size;
	return true;
}

/* Our marker, whatever backup it is of. */
static bool has_marker_of(const struct env *env, int dir, uint64_t system_identifier,
			  const char *target)
{
	char line[64];
	uint8_t *text;
	size_t len;
	bool found;

	if (!read_beneath(env, dir, RESTORE_MARKER, MARKER_BYTES_MAX, &text, &len))
		return false;
	(void)snprintf(line, sizeof(line), "\nsystem-identifier %" PRIu64 "\n", system_identifier);
	found = memmem(text, len, line, strlen(line)) != NULL &&
		marker_names(bytes_of(text, len), target);
	free(text);
	return found;
}

const char *delta_refuses(const struct env *env, int dir, const struct summary *backup,
			  char text[DELTA_TEXT_MAX])
{
	uint8_t *data;
	size_t len;
	struct control control;
	struct error why;
	enum err e;

	bool marked = has_marker_of(env, dir, backup->system_identifier, NULL);

	if (!read_beneath(env, dir, "global/pg_control", CONTROL_FILE_BYTES, &data, &len))
		return marked ? NULL
			      : "is not empty and holds no global/pg_control: it is no data "
				"directory";
	e = control_decode(bytes_of(data, len), &control, &why);
	free(data);
	if (e != ERR_NONE) /* an interrupted restore may have written half of it */
		return marked ? NULL : "has a global/pg_control that is not whole";
	if (control.system_identifier == backup->system_identifier)
		return NULL;
	(void)snprintf(text, DELTA_TEXT_MAX,
		       "holds another cluster: its system identifier is %" PRIu64
		       ", the backup's %" PRIu64,
		       control.system_identifier, backup->system_identifier);
	return text;
}

/* DIR/pg_tblspc/OID leads to the place. */
static bool is_linked(const struct env *env, int dir, const struct restore_place *place)
{
	struct files *files = env->files;
	char name[16], link[PATH_MAX], real[PATH_MAX];
	int links = files->ops->open_beneath(files, dir, "pg_tblspc", O_RDONLY | O_DIRECTORY, 0);
	ssize_t n;

	if (links < 0)
		return false;
	(void)snprintf(name, sizeof(name), "%" PRIu32, place->oid);
	n = files->ops->readlink(files, links, name, link, sizeof(link) - 1);
	(void)files->ops->close(files, links); /* a directory */
	if (n <= 0)
		return false;
	link[n] = '\0';
	return place_real(link, real, NULL) == ERR_NONE && strcmp(real, place->to) == 0;
}

/* The place is where the tablespace of the backup's own server lies, by whatever path. */
static bool is_original(const struct env *env, int there, const struct restore_place *place)
{
	struct stat now, was;

	return env->files->ops->stat_fd(env->files, there, &now) < 0 ||
	       (env->files->ops->stat(env->files, AT_FDCWD, place->from, 0, &was) >= 0 &&
		now.st_dev == was.st_dev && now.st_ino == was.st_ino);
}

/* A copy of a data directory (cp -a, a snapshot) has the links of the original, which lead to the tablespaces
 * of a server that may live. */
static const char *refuses_owner(const struct env *env, int dir, int there, const char *target,
				 const struct restore_place *place, const struct restore_plan *plan)
{
	uint64_t system = plan->backup.system_identifier;

	if (has_marker_of(env, dir, system, NULL) && has_marker_of(env, there, system, target))
		return NULL;
	if (!is_linked(env, dir, place))
		return "is not empty and not linked from the data directory";
	if (plan->side && is_original(env, there, place))
		return "is where the backed up server itself has this tablespace, and this is another "
		       "data directory";
	return NULL;
}

/* Whose version's directory it is: "PG_15_202209061". */
struct version_look {
	char front[16];
	bool others;
};

static int see_version(void *ctx, const char *name, mode_t type)
{
	struct version_look *v = ctx;

	if (strcmp(name, RESTORE_MARKER) != 0 && strncmp(name, FILE_TEMP_PREFIX, 5) != 0 &&
	    (!S_ISDIR(type) || strncmp(name, v->front, strlen(v->front)) != 0))
		v->others = true;
	return 0;
}

const char *delta_refuses_place(const struct env *env, int dir, const char *target,
				const struct restore_place *place, const struct restore_plan *plan,
				char text[DELTA_TEXT_MAX])
{
	struct files *files = env->files;
	struct version_look look = {.others = false};
	int there = files->ops->open(files, AT_FDCWD, place->to,
				     O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	const char *refused = NULL;

	if (there < 0)
		return "cannot be opened";
	(void)snprintf(look.front, sizeof(look.front), "PG_%d_",
		       plan->backup.server_version / 10000);
	if (files->ops->list(files, there, ".", see_version, &look) < 0) {
		refused = "cannot be listed";
	} else if (look.others) {
		(void)snprintf(text, DELTA_TEXT_MAX, "holds more than %s* of this cluster",
			       look.front);
		refused = text;
	} else {
		refused = refuses_owner(env, dir, there, target, place, plan);
	}
	(void)files->ops->close(files, there); /* a directory */
	return refused;
}

/* ---- how much lies there ---- */

struct counting {
	const struct env *env;
	int dir;
	uint64_t bytes;
	struct target_names below; /* directories */
};

static int count_name(void *ctx, const char *name, mode_t type)
{
	struct counting *c = ctx;
	struct stat st;

	if (S_ISDIR(type))
		return target_names_add(&c->below, name, type);
	if (S_ISREG(type) &&
	    c->env->files->ops->stat(c->env->files, c->dir, name, AT_SYMLINK_NOFOLLOW, &st) >= 0)
		c->bytes += (uint64_t)st.st_size;
	return 0;
}

static uint64_t bytes_below(const struct env *env, int dir, unsigned depth)
{
	struct counting c = {.env = env, .dir = dir};
	struct files *files = env->files;

	/* What cannot be looked at does not count: it is an estimate. */
	(void)files->ops->list(files, dir, ".", count_name, &c);
	for (size_t i = 0; i < c.below.count && depth < TREE_DEPTH_MAX; i++) {
		int below = files->ops->open_beneath(files, dir, c.below.name[i],
						     O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

		if (below < 0)
			continue;
		c.bytes += bytes_below(env, below, depth + 1);
		(void)files->ops->close(files, below); /* a directory */
	}
	target_names_release(&c.below);
	return c.bytes;
}

uint64_t delta_bytes_present(const struct env *env, int dir)
{
	return bytes_below(env, dir, 0);
}
