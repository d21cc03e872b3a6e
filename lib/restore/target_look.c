/* restore/target_look.c - what a directory is: empty, ours, somebody's.  Changes nothing. */
#include "base/file.h"
#include "restore/restore_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

struct listing {
	bool others, marker;
};

static int see_name(void *ctx, const char *name, mode_t type)
{
	struct listing *seen = ctx;

	(void)type;
	if (strcmp(name, RESTORE_MARKER) == 0)
		seen->marker = true;
	else
		seen->others = true;
	return 0;
}

bool marker_names(struct bytes text, const char *target)
{
	char line[PATH_MAX + 16];
	size_t len;

	if (target == NULL)
		return true;
	(void)snprintf(line, sizeof(line), "\ndirectory %s\n", target);
	len = strlen(line);
	return text.len >= len && memcmp(text.data + text.len - len, line, len) == 0;
}

bool marker_is_ours(struct bytes text, const struct attempt *attempt, const char *target)
{
	char line[ATTEMPT_TEXT_MAX + 16], id[ATTEMPT_TEXT_MAX];

	attempt_to_text(attempt, id);
	(void)snprintf(line, sizeof(line), "\nattempt %s\n", id);
	return memmem(text.data, text.len, line, strlen(line)) != NULL &&
	       marker_names(text, target);
}

bool marker_is_preparing(struct bytes text)
{
	static const char line[] = "\nphase preparing\n";

	return memmem(text.data, text.len, line, sizeof(line) - 1) != NULL;
}

static bool has_control(const struct env *env, const char *path)
{
	char control[PATH_MAX];
	struct stat st;

	return snprintf(control, sizeof(control), "%s/global/pg_control", path) <
		       (int)sizeof(control) &&
	       env->files->ops->stat(env->files, AT_FDCWD, control, 0, &st) >= 0;
}

enum err directory_look(const struct env *env, const char *path, const struct attempt *attempt,
			const char *target, enum directory_state *out, struct error *why)
{
	char marker[PATH_MAX];
	struct listing seen = {.others = false};
	struct stat st;
	uint8_t *text;
	size_t len;
	int answer = env->files->ops->stat(env->files, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &st);
	enum err e;

	if (answer == -ENOENT) {
		*out = DIRECTORY_ABSENT;
		return ERR_NONE;
	}
	if (answer < 0)
		return error_set_os(why, error_kind_of_os(-answer), -answer, "\"%s\"", path);
	*out = DIRECTORY_NONE;
	if (!S_ISDIR(st.st_mode))
		return ERR_NONE;
	answer = env->files->ops->list(env->files, AT_FDCWD, path, see_name, &seen);
	if (answer < 0)
		return error_set_os(why, error_kind_of_os(-answer), -answer, "listing \"%s\"",
				    path);
	*out = seen.others ? DIRECTORY_FOREIGN : DIRECTORY_EMPTY;
	if (!seen.marker ||
	    snprintf(marker, sizeof(marker), "%s/" RESTORE_MARKER, path) >= (int)sizeof(marker))
		return ERR_NONE;
	e = file_read_all(env->files, AT_FDCWD, marker, MARKER_BYTES_MAX, &text, &len, why);
	if (e != ERR_NONE)
		return e;
	/* One that is alone was cut off by a crash, or has nothing left to guard. */
	*out = marker_is_preparing(bytes_of(text, len)) && has_control(env, path)
		       ? DIRECTORY_FOREIGN
	       : marker_is_ours(bytes_of(text, len), attempt, target) ? DIRECTORY_OURS
	       : seen.others                                          ? DIRECTORY_OTHERS
								      : DIRECTORY_EMPTY;
	free(text);
	return ERR_NONE;
}
