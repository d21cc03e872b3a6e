/* restore/plan_timeline.c - step 2 of a plan: the timeline to follow, and what is said about others.
 *
 * A number that is asked for reads nothing but its history.
 */
#include "restore/plan_internal.h"
#include "restore/timeline_table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- telling ---- */

static bool has_time(const struct timeline_row *r)
{
	return r->born_us != TIMELINE_ALWAYS && r->born_us != TIMELINE_UNBORN;
}

/* The first that was born behind the target time; NULL when there is none. */
static const struct timeline_row *next_born(const struct timeline_table *t, int64_t time_us)
{
	const struct timeline_row *next = NULL;

	for (size_t i = 0; i < t->rows; i++)
		if (has_time(&t->row[i]) && t->row[i].born_us > time_us &&
		    (next == NULL || t->row[i].born_us < next->born_us))
			next = &t->row[i];
	return next;
}

static void give_reason(struct planning *p, const struct timeline_table *t,
			const struct timeline_answer *a)
{
	struct restore_plan *plan = p->plan;
	const struct timeline_row *written = &t->row[a->written], *next = NULL;
	enum target_kind kind = p->request->kind;
	char time[TIME_TEXT_MAX];

	if (kind == TARGET_TIME)
		next = next_born(t, p->request->time_us);
	if (kind != TARGET_TIME && kind != TARGET_LSN)
		(void)snprintf(plan->timeline_reason, sizeof(plan->timeline_reason), "the newest");
	else if (a->followed != a->written)
		(void)snprintf(plan->timeline_reason, sizeof(plan->timeline_reason),
			       "%s was written on %" PRIu32 ", whose end only this one has",
			       kind == TARGET_LSN ? "that position" : "that moment",
			       written->timeline);
	else if (kind == TARGET_LSN)
		(void)snprintf(plan->timeline_reason, sizeof(plan->timeline_reason),
			       "that position was written on it");
	else if (next != NULL) {
		time_to_text(next->born_us, time);
		(void)snprintf(plan->timeline_reason, sizeof(plan->timeline_reason),
			       "it was being written then; %" PRIu32 " began at %s", next->timeline,
			       time);
	} else if (has_time(written)) {
		time_to_text(written->born_us, time);
		(void)snprintf(plan->timeline_reason, sizeof(plan->timeline_reason),
			       "it was being written then, since %s", time);
	}
}

static bool has_latest(const struct timeline_row *r)
{
	return r->latest_us != TIMELINE_NONE_SEEN && r->latest_us != TIMELINE_NOT_KNOWN;
}

static void add_candidate(struct restore_plan *plan, const struct timeline_row *r)
{
	plan->candidate[plan->candidates++] =
		(struct restore_candidate){.timeline = r->timeline,
					   .parent = r->parent,
					   .born = r->born,
					   .born_us = has_time(r) ? r->born_us : 0,
					   .latest_us = has_latest(r) ? r->latest_us : 0};
}

/* What a person may not expect goes to the log, too, where the plan is not read. */
static void warn(const struct planning *p, const struct timeline_table *t,
		 const struct timeline_answer *a)
{
	const struct timeline_row *followed = &t->row[a->followed];
	/* Of the one that is followed; its birth is a sign of life, too. */
	int64_t seen_us =
		followed->latest_us > followed->born_us ? followed->latest_us : followed->born_us;
	enum target_kind kind = p->request->kind;
	char time[TIME_TEXT_MAX];

	for (size_t i = 0; i < a->others; i++) {
		const struct timeline_row *r = &t->row[a->other[i]];

		if (kind == TARGET_TIME)
			observer_event(p->env->observer, LEVEL_WARNING,
				       "timeline %" PRIu32 " was being written at that time, too; "
				       "%" PRIu32 " is followed, the plan has the command for both",
				       r->timeline, followed->timeline);
		if (kind == TARGET_TIME || !has_latest(r) || r->latest_us <= seen_us)
			continue;
		time_to_text(r->latest_us, time);
		observer_event(p->env->observer, LEVEL_WARNING,
			       "timeline %" PRIu32 " is the newest, but %" PRIu32
			       " was written later, until %s: the plan has the command for both",
			       followed->timeline, r->timeline, time);
	}
}

static void problem_ambiguous(struct planning *p)
{
	const struct restore_plan *plan = p->plan;
	char target[128], list[256] = "", options[256] = "";
	size_t at = 0, used = 0;

	/* What does not fit is in the list of candidates. */
	for (size_t i = 0; i < plan->candidates && at < sizeof(list) && used < sizeof(options);
	     i++) {
		at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%" PRIu32,
				       i > 0 ? ", " : "", plan->candidate[i].timeline);
		used += (size_t)snprintf(options + used, sizeof(options) - used,
					 "%s--timeline %" PRIu32, i > 0 ? " or " : "",
					 plan->candidate[i].timeline);
	}
	plan_describe(p, target);
	problem_add(p->plan, "timeline_ambiguous",
		    "%s lies on several timelines, with different content: %s", target, list);
	problem_hint(p->plan, "say which: %s; when each began: pgagent list", options);
}

/* ---- choosing ---- */

/* Told, too. */
static void take_answer(struct planning *p, const struct timeline_table *t,
			const struct timeline_answer *a, uint32_t *timeline)
{
	if (!a->ambiguous && a->others > 0)
		add_candidate(p->plan, &t->row[a->followed]);
	for (size_t i = 0; i < a->others; i++)
		add_candidate(p->plan, &t->row[a->other[i]]);
	if (a->ambiguous) {
		problem_ambiguous(p);
		return;
	}
	*timeline = t->row[a->followed].timeline;
	if (p->several && p->request->timeline_rule == TIMELINE_AUTO)
		give_reason(p, t, a);
	warn(p, t, a);
}

static enum err choose_by_rule(struct planning *p, uint32_t *timeline, bool *known)
{
	const struct restore_request *r = p->request;
	bool latest = r->timeline_rule == TIMELINE_LATEST;
	struct timeline_question asked = {.kind = latest ? TARGET_LATEST : r->kind,
					  .time_us = r->time_us,
					  .lsn = r->lsn,
					  .exclusive = r->exclusive};
	struct timeline_table *t = calloc(1, sizeof(*t));
	struct timeline_answer a = {.ambiguous = false};
	enum err e;

	if (t == NULL)
		return error_set(p->why, ERR_MEMORY, "list of timelines: out of memory");
	e = timeline_table_make(p, !latest, t);
	p->several = t->rows > 1;
	/* A history that nobody can read may be all there is. */
	if (e == ERR_NONE && t->rows == 0) {
		*timeline = p->list[p->count - 1].timeline;
	} else if (e == ERR_NONE) {
		timeline_choose(t->row, t->rows, &asked, &a);
		take_answer(p, t, &a, timeline);
	}
	*known = !a.ambiguous;
	timeline_table_release(t);
	free(t);
	return e;
}

/* The timeline of the newest backup, of those before the target where it has a place in time or WAL. */
static uint32_t timeline_of_backups(const struct planning *p)
{
	const struct restore_request *r = p->request;
	const struct candidate *best = NULL;

	for (size_t i = 0; i < p->count; i++) {
		const struct candidate *c = &p->list[i];

		if ((r->kind == TARGET_TIME && c->finished_us > r->time_us) ||
		    (r->kind == TARGET_LSN && c->stop.value > r->lsn.value))
			continue;
		if (best == NULL || c->finished_us >= best->finished_us)
			best = c;
	}
	return best != NULL ? best->timeline : p->list[0].timeline;
}

enum err plan_timeline(struct planning *p, bool *known)
{
	const struct restore_request *r = p->request;
	uint32_t timeline = r->timeline;
	enum err e = ERR_NONE;

	*known = true;
	p->several = true; /* as far as anybody looked */
	/* The end of a backup lies on its own timeline, whatever came later. */
	if (timeline == 0 && (r->timeline_rule == TIMELINE_CURRENT || r->kind == TARGET_BACKUP_END))
		timeline = timeline_of_backups(p);
	else if (timeline == 0)
		e = choose_by_rule(p, &timeline, known);
	if (e != ERR_NONE || !*known)
		return e;
	p->plan->timeline = timeline;
	e = wal_archive_history(p->env, p->archive, timeline, &p->path, p->why);
	if (e != ERR_MISSING)
		return e;
	*known = false;
	problem_add(p->plan, "timeline_unknown",
		    "timeline %" PRIu32 " is not in the archive: no history file of it", timeline);
	problem_hint(p->plan,
		     "pgagent list shows the timelines; --timeline latest takes the newest");
	plan_unreachable(p);
	return ERR_NONE;
}

const char *plan_latest_option(const struct planning *p, char out[PLAN_LATEST_MAX])
{
	if (p->several)
		(void)snprintf(out, PLAN_LATEST_MAX, "--to-latest --timeline %" PRIu32,
			       p->plan->timeline); /* fits */
	else
		(void)snprintf(out, PLAN_LATEST_MAX, "--to-latest"); /* fits */
	return out;
}
