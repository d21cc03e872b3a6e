/* restore/still_there.c - the WAL that the plan counts on, looked at again under the pin.
 *
 * The plan was made before it.  Of a backup that retention keeps with just its own WAL an expire may have removed
 * meanwhile, or be about to remove, what lies behind.
 */
#include "repo/sweep.h"
#include "restore/restore_internal.h"

#include <stdlib.h>

/* How far a recovery reads: an LSN may lie far before the end of what is there. */
static struct lsn needed_to(const struct restore_plan *plan)
{
	uint64_t behind = plan->target_lsn.value + plan->backup.wal_segment_bytes;

	if (plan->kind == TARGET_LSN && behind < plan->reach.end.value)
		return lsn_of(behind);
	return plan->reach.end;
}

/* Of the segment that it ends in. */
static struct lsn own_end(const struct summary *s)
{
	uint64_t last = wal_segno(lsn_of(s->stop.value - 1), s->wal_segment_bytes);

	return wal_segment_start(last + 1, s->wal_segment_bytes);
}

static enum err refuse_threatened(const struct restore_plan *plan, struct error *why)
{
	char id[ATTEMPT_TEXT_MAX];

	attempt_to_text(&plan->backup.attempt, id);
	(void)error_set(
		why, ERR_TRANSIENT,
		"an expire removes WAL behind backup %s right now, which the target needs and "
		"the retention does not",
		id);
	error_hint(why, "the same command again tells what is left when it is over; what can be "
			"restored: pgagent list");
	return ERR_TRANSIENT;
}

static enum err refuse_gone(const struct restore_plan *plan, struct error *why)
{
	char id[ATTEMPT_TEXT_MAX];

	attempt_to_text(&plan->backup.attempt, id);
	(void)error_set(
		why, ERR_MISSING,
		"WAL behind backup %s that the target needs was removed since the plan was made",
		id);
	error_hint(why, "what can be restored: pgagent list");
	return ERR_MISSING;
}

static enum err look(const struct env *env, const struct wal_archive *archive,
		     const struct restore_plan *plan, struct history *path, struct error *why)
{
	const struct summary *s = &plan->backup;
	struct lsn to = needed_to(plan);
	struct wal_reach reach;
	enum err e = wal_archive_history(env, archive, plan->timeline, path, why);

	if (e == ERR_MISSING && plan->timeline == s->timeline) {
		*path = (struct history){.timeline = plan->timeline};
		e = ERR_NONE;
	}
	for (size_t i = 0; e == ERR_NONE && i < archive->count; i++) {
		bool threatened;

		e = sweep_threatens(&archive->cluster[i], path, s->start, to, &threatened, why);
		if (e == ERR_NONE && threatened)
			return refuse_threatened(plan, why);
	}
	if (e == ERR_NONE)
		e = wal_archive_reach(env, archive, s->start, s->timeline, plan->timeline,
				      s->wal_segment_bytes, to, &reach, why);
	if (e == ERR_MISSING || (e == ERR_NONE && reach.end.value < to.value))
		return refuse_gone(plan, why);
	return e;
}

enum err still_there(const struct env *env, const struct wal_archive *archive,
		     const struct restore_plan *plan, struct error *why)
{
	struct history *path;
	enum err e;

	/* Its own WAL stays with it; and a plan may have looked at none. */
	if (plan->kind == TARGET_BACKUP_END || plan->reach.end.value == 0 ||
	    needed_to(plan).value <= own_end(&plan->backup).value)
		return ERR_NONE;
	path = malloc(sizeof(*path));
	if (path == NULL)
		return error_set(why, ERR_MEMORY, "restore: out of memory");
	e = look(env, archive, plan, path, why);
	free(path);
	return e;
}
