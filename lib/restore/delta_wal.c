/* restore/delta_wal.c - WAL that would be lost with a directory that is reused: refused, unless that is
 * what was asked for.
 *
 * Only where there is a pg_control: without one the directory is what a restore of ours left, which has no
 * WAL of its own.  A pg_wal that is a link stays where it leads, so nothing of it is lost.
 */
#include "restore/restore_internal.h"
#include "wal/unarchived.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* pg_wal of a data directory; negative when nothing in it can be lost. */
static int open_wal(struct files *files, const char *path)
{
	int top = files->ops->open(files, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	int global, wal = -1;
	struct stat st;

	if (top < 0)
		return top;
	global = files->ops->open_beneath(files, top, "global", O_RDONLY | O_DIRECTORY, 0);
	if (global >= 0 &&
	    files->ops->stat(files, global, "pg_control", AT_SYMLINK_NOFOLLOW, &st) >= 0)
		wal = files->ops->open_beneath(files, top, "pg_wal",
					       O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (global >= 0)
		(void)files->ops->close(files, global); /* a directory */
	(void)files->ops->close(files, top);            /* a directory */
	return wal;
}

/* "000000010000000000000005 to 000000010000000000000007, 3 segments with at least 12 commits, the last one
 * at ..." */
void delta_describe_wal(const struct wal_unarchived *lost, char out[320])
{
	char first[WAL_NAME_MAX], last[WAL_NAME_MAX], time[TIME_TEXT_MAX] = "", commits[64] = "";

	wal_name_to_text(&lost->first, first);
	wal_name_to_text(&lost->last, last);
	if (lost->commits > 0)
		(void)snprintf(commits, sizeof(commits), " with %s%" PRIu64 " commit%s",
			       lost->more ? "at least " : "", lost->commits,
			       lost->commits == 1 ? "" : "s"); /* fits */
	if (lost->latest_us != 0)
		time_to_text(lost->latest_us, time);
	if (lost->segments == 1)
		(void)snprintf(out, 320, "segment %s%s%s%s", first, commits,
			       *time != '\0' ? ", until " : "", time); /* fits */
	else
		(void)snprintf(out, 320, "%" PRIu64 " segments, %s to %s,%s%s%s", lost->segments,
			       first, last, commits, *time != '\0' ? ", until " : "",
			       time); /* fits */
}

enum err delta_check_wal(const struct env *env, const struct wal_archive *archive,
			 const struct restore_request *request, const char *path,
			 struct restore_plan *plan, struct error *why)
{
	struct wal_unarchived lost = {.segments = 0};
	int wal = open_wal(env->files, path);
	char what[320];
	enum err e;

	if (wal < 0)
		return ERR_NONE;
	/* Salvaged; what could not be was said. */
	if (strcmp(plan->salvage_from, path) == 0) {
		(void)env->files->ops->close(env->files, wal); /* a directory */
		return ERR_NONE;
	}
	e = wal_unarchived_look(env, archive, wal, plan->backup.wal_segment_bytes, &lost, why);
	(void)env->files->ops->close(env->files, wal); /* a directory */
	if (e != ERR_NONE)
		return error_add(why, "what \"%s/pg_wal\" holds", path);
	if (lost.segments == 0)
		return ERR_NONE;
	delta_describe_wal(&lost, what);
	if (request->discard_wal) {
		observer_event(env->observer, LEVEL_WARNING,
			       "\"%s/pg_wal\" holds WAL that was never archived, which is "
			       "discarded as asked: %s",
			       path, what);
		return ERR_NONE;
	}
	problem_add(plan, "wal_not_archived",
		    "\"%s/pg_wal\" holds WAL that was never archived and would be lost: %s", path,
		    what);
	problem_hint(
		plan,
		"to save it, when it is of the server that is to be restored: --salvage-wal %s with "
		"the same command; to lose it: --discard-wal",
		path);
	return ERR_NONE;
}
