/* restore/wal_copy.c - the WAL that recovery needs, put into pg_wal, so that it needs no agent there.
 *
 * Each segment is checked as archive-get checks it, whole or joined from slices.  Those before the last are
 * marked as archived, as a base backup's are, so that a server that archives does not bring them again.
 */
#include "restore/plan_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum { SEGMENT_MODE = 0600 };

/* Where the WAL ends that the target needs.  PostgreSQL stops at the first record that begins at the LSN or
 * behind it, and reads that one: the record that the LSN lies in, and the one behind it. */
static enum err needed_until(struct planning *p, struct lsn *end)
{
	const struct restore_plan *plan = p->plan;
	const struct summary *s = &plan->backup;
	struct wal_reach reach = {.end = plan->target_lsn};
	enum err e = ERR_NONE;

	*end = plan->reach.end;
	if (p->request->kind != TARGET_LSN)
		return ERR_NONE;
	for (int records = 0; e == ERR_NONE && records < 2; records++)
		e = wal_archive_reach(p->env, p->archive, s->start, s->timeline, plan->timeline,
				      s->wal_segment_bytes, lsn_of(reach.end.value + 1), &reach,
				      p->why);
	/* The backup's own end is needed whatever the target. */
	if (e == ERR_NONE)
		*end = reach.end.value > s->stop.value ? reach.end : s->stop;
	return e;
}

enum err plan_copy_wal(struct planning *p)
{
	struct restore_plan *plan = p->plan;
	const struct summary *s = &plan->backup;
	struct lsn end;
	enum err e;

	if (plan->target_unreachable)
		return ERR_NONE;
	e = needed_until(p, &end);
	if (e != ERR_NONE)
		return e;
	plan->wal_copied = wal_segno(lsn_of(end.value - 1), s->wal_segment_bytes) -
			   wal_segno(s->start, s->wal_segment_bytes) + 1;
	plan->bytes_to_write += plan->wal_copied * s->wal_segment_bytes;
	return ERR_NONE;
}

/* ---- writing ---- */

struct copying {
	const struct source *source;
	const struct target *target;
	uint32_t segment_bytes;
};

static enum err put(const struct copying *c, const struct wal_name *name, bool done,
		    struct error *why)
{
	char text[WAL_NAME_MAX], path[WAL_NAME_MAX + 40];
	uint8_t *data = NULL;
	size_t len = 0;
	enum err e = wal_archive_read(c->source->env, c->source->archive, name, c->segment_bytes,
				      &data, &len, why);

	if (e == ERR_MISSING) /* it was there when the plan was made */
		e = why->kind = ERR_CORRUPT;
	wal_name_to_text(name, text);
	(void)snprintf(path, sizeof(path), "pg_wal/%s", text); /* fits */
	if (e == ERR_NONE)
		e = target_put(c->target, path, bytes_of(data, len), SEGMENT_MODE, why);
	(void)snprintf(path, sizeof(path), "pg_wal/archive_status/%s.done", text); /* fits */
	if (e == ERR_NONE && done)
		e = target_put(c->target, path, bytes_of(NULL, 0), SEGMENT_MODE, why);
	free(data);
	return e;
}

enum err wal_copy_histories(const struct source *source, const struct restore_plan *plan,
			    const struct target *target, struct error *why)
{
	const struct copying c = {.source = source, .target = target};
	struct wal_name name = {.kind = WAL_NAME_HISTORY, .timeline = plan->timeline};
	struct history history;
	enum err e = ERR_NONE;

	/* Asked for as while planning: an empty second repository is no reason against a restore, though it
	 * keeps archive-get from proving anything absent. */
	while (e == ERR_NONE && name.timeline < UINT32_MAX) {
		name.timeline++;
		e = wal_archive_history(source->env, source->archive, name.timeline, &history, why);
		if (e == ERR_NONE)
			e = put(&c, &name, true, why);
	}
	return e == ERR_MISSING ? ERR_NONE : e;
}

enum err wal_copy(const struct source *source, const struct restore_plan *plan,
		  const struct target *target, struct error *why)
{
	const struct summary *s = &plan->backup;
	const struct copying c = {
		.source = source, .target = target, .segment_bytes = s->wal_segment_bytes};
	struct progress progress = {.phase = "copying WAL",
				    .total_items = plan->wal_copied,
				    .total_bytes = plan->wal_copied * s->wal_segment_bytes};
	uint64_t first = wal_segno(s->start, s->wal_segment_bytes);
	struct history path;
	enum err e = wal_archive_history(source->env, source->archive, plan->timeline, &path, why);

	if (e == ERR_NONE && path.timeline > 1) {
		struct wal_name name = {.kind = WAL_NAME_HISTORY, .timeline = path.timeline};

		e = put(&c, &name, true, why);
	}
	for (uint64_t i = 0; e == ERR_NONE && i < plan->wal_copied; i++) {
		/* A segment in which the timeline changed is whole on the later one. */
		struct lsn last =
			lsn_of(wal_segment_start(first + i + 1, s->wal_segment_bytes).value - 1);
		struct wal_name name;

		if (*source->env->cancelled)
			return error_set(why, ERR_CANCELLED, "restore: stopped on request");
		wal_segment_name(history_timeline_at(&path, last), first + i, s->wal_segment_bytes,
				 &name);
		e = put(&c, &name, i + 1 < plan->wal_copied, why);
		progress.done_items++;
		progress.done_bytes += s->wal_segment_bytes;
		observer_progress(source->env->observer, &progress);
	}
	return e;
}
