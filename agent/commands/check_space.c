/* commands/check_space.c - room in repositories, for one more backup at least, and in the spool. */
#include "base/text.h"
#include "commands/check.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* For WAL, and where no backup tells how much one takes. */
#define FREE_MIN (UINT64_C(1) << 30)

/* 0, or -errno. */
static int free_bytes(const struct check *c, const char *path, uint64_t *out)
{
	struct files *files = c->agent->env.files;
	int fd = files->ops->open(files, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	int status = fd < 0 ? fd : files->ops->free_bytes(files, fd, out);

	if (fd >= 0)
		(void)files->ops->close(files, fd); /* only read */
	return status;
}

void check_space(struct check *c, const struct place *place, const struct newest_backup *newest)
{
	static const char hint[] =
		"make room before the archive stops: a full repository fills pg_wal next";
	char text[TEXT_SIZE_MAX], needed[TEXT_SIZE_MAX];
	uint64_t space, last = newest->bytes_stored;
	int status = free_bytes(c, place->config->path, &space);

	if (status < 0) {
		check_say(c, CHECK_UNPROVEN, "free_space", NULL, "repository %s: %s",
			  place_name(place), strerrordesc_np(-status));
		return;
	}
	text_of_size(space, text);
	text_of_size(last, needed);
	if (space < last) {
		c->only_config = false;
		check_say(c, CHECK_ERROR, "free_space", hint,
			  "repository %s (%s): %s, and the last backup took %s", place_name(place),
			  place->config->path, text, needed);
	} else if (space / 2 < last || space < FREE_MIN) {
		check_say(c, CHECK_WARNING, "free_space", hint, "repository %s (%s): %s%s%s",
			  place_name(place), place->config->path, text,
			  last > 0 ? "; the last backup took " : "", last > 0 ? needed : "");
	} else {
		check_say(c, CHECK_OK, "free_space", NULL, "repository %s: %s", place_name(place),
			  text);
	}
	check_figure(c, "bytes_free", space, place_name(place), "B");
	check_figure(c, "bytes_last_backup", last, NULL, "B");
}

void check_spool(struct check *c)
{
	const char *path = c->agent->config.global.spool_directory;
	char text[TEXT_SIZE_MAX], line[PATH_MAX + 64];
	uint64_t space;
	int status = free_bytes(c, path, &space);

	(void)snprintf(line, sizeof(line), "as root: install -d -o postgres -m 0700 %s",
		       path); /* fits */
	if (status < 0) {
		check_say(c, CHECK_WARNING, "spool", line, "%s: %s", path,
			  strerrordesc_np(-status));
		return;
	}
	text_of_size(space, text);
	if (faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) != 0)
		check_say(c, CHECK_WARNING, "spool", line, "%s can't be written", path);
	else if (space < FREE_MIN)
		check_say(c, CHECK_WARNING, "spool", "make room there", "%s: %s free", path, text);
	else
		check_say(c, CHECK_OK, "spool", NULL, "%s: %s free", path, text);
	check_figure(c, "bytes_free", space, "free", "B");
}
