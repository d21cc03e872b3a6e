/* restore/still_there.c - whether the WAL that a plan counts on stays: told with the plan, decided under the pin.
 *
 * The plan is made before the pin.  Of a backup that retention keeps with just its own WAL an expire may have removed
 * meanwhile, or be about to remove, what lies behind.
 */
#include "repo/sweep.h"
#include "restore/plan_internal.h"

#include <stdio.h>
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

/* Its own WAL stays with it; and a plan may have looked at none. */
static bool needs_no_more(const struct restore_plan *plan)
{
	return plan->kind == TARGET_BACKUP_END || plan->reach.end.value == 0 ||
	       needed_to(plan).value <= own_end(&plan->backup).value;
}

/* The repositories of which nobody is about to remove what the plan needs: the others do not count.  `by` is a sweep of
 * one of these; its holder is "" where there is none. */
static enum err find_calm(const struct wal_archive *archive, const struct restore_plan *plan,
			  const struct history *path, struct wal_archive *calm, struct pin_seen *by,
			  struct error *why)
{
	enum err e = ERR_NONE;

	*calm = *archive;
	calm->count = 0;
	*by = (struct pin_seen){.n = 0};
	for (size_t i = 0; e == ERR_NONE && i < archive->count; i++) {
		struct pin_seen sweep;

		e = sweep_threatens(&archive->cluster[i], path, plan->backup.start, needed_to(plan),
				    &sweep, why);
		if (e != ERR_NONE)
			return e;
		if (sweep.holder[0] == '\0')
			calm->cluster[calm->count++] = archive->cluster[i];
		else
			*by = sweep;
	}
	return ERR_NONE;
}

static enum err has_all(const struct env *env, const struct wal_archive *archive,
			const struct restore_plan *plan, bool *out, struct error *why)
{
	const struct summary *s = &plan->backup;
	struct lsn to = needed_to(plan);
	struct wal_reach reach = {.segments = 0};
	enum err e = ERR_NONE;

	if (archive->count > 0)
		e = wal_archive_reach(env, archive, s->start, s->timeline, plan->timeline,
				      s->wal_segment_bytes, to, &reach, why);
	*out = e == ERR_NONE && archive->count > 0 && reach.end.value >= to.value;
	return e == ERR_MISSING ? ERR_NONE : e;
}

static const char *host_of(const struct pin_seen *sweep)
{
	return sweep->host[0] != '\0' ? sweep->host : "an unknown host";
}

static enum err refuse_threatened(const struct restore_plan *plan, const struct pin_seen *sweep,
				  struct error *why)
{
	char id[ATTEMPT_TEXT_MAX];

	attempt_to_text(&plan->backup.attempt, id);
	(void)error_set(
		why, ERR_TRANSIENT,
		"an expire on %s (pin %s) removes WAL behind backup %s right now, which the target "
		"needs and the retention does not",
		host_of(sweep), sweep->holder, id);
	error_hint(why,
		   "the same command again tells what is left when it is over; if it was killed, "
		   "the same command does not wait for it on %s; what can be restored: pgagent "
		   "list",
		   host_of(sweep));
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
	struct wal_archive calm;
	struct pin_seen sweep;
	bool whole = false;
	enum err e = wal_archive_history(env, archive, plan->timeline, path, why);

	if (e == ERR_MISSING && plan->timeline == plan->backup.timeline) {
		*path = (struct history){.timeline = plan->timeline};
		e = ERR_NONE;
	}
	if (e == ERR_MISSING)
		return refuse_gone(plan, why);
	if (e == ERR_NONE)
		e = find_calm(archive, plan, path, &calm, &sweep, why);
	if (e == ERR_NONE)
		e = has_all(env, &calm, plan, &whole, why);
	/* What is damaged where nobody sweeps is not there. */
	if (e == ERR_CORRUPT && sweep.holder[0] != '\0')
		e = ERR_NONE;
	if (e != ERR_NONE || whole)
		return e;
	return sweep.holder[0] != '\0' ? refuse_threatened(plan, &sweep, why)
				       : refuse_gone(plan, why);
}

enum err still_there(const struct env *env, const struct wal_archive *archive,
		     const struct restore_plan *plan, struct error *why)
{
	struct history *path;
	enum err e;

	if (needs_no_more(plan))
		return ERR_NONE;
	path = malloc(sizeof(*path));
	if (path == NULL)
		return error_set(why, ERR_MEMORY, "restore: out of memory");
	e = look(env, archive, plan, path, why);
	free(path);
	return e;
}

enum err plan_threat(struct planning *p)
{
	struct restore_plan *plan = p->plan;
	struct wal_archive calm;
	struct pin_seen sweep;
	bool whole = false;
	enum err e;

	if (plan->target_unreachable || needs_no_more(plan))
		return ERR_NONE;
	e = find_calm(p->archive, plan, &p->path, &calm, &sweep, p->why);
	if (e == ERR_NONE && sweep.holder[0] != '\0')
		e = has_all(p->env, &calm, plan, &whole, p->why);
	if ((e == ERR_NONE || e == ERR_CORRUPT) && sweep.holder[0] != '\0' && !whole)
		(void)snprintf(
			plan->threat, sizeof(plan->threat),
			"an expire on %s (pin %s) is about to remove WAL that the target needs",
			host_of(&sweep), sweep.holder); /* fits */
	/* Whether it can be done is for the restore itself to find out. */
	return e == ERR_MEMORY || e == ERR_CANCELLED ? e : ERR_NONE;
}
