/* restore/plan_timeline.c - step 2 of a plan: the timeline to follow.
 *
 * Makes the table that timeline.c chooses from: the histories in the archive, and, where there is more
 * than one timeline, the first and the last WAL of each.  A number that is asked for reads nothing of that.
 */
#include "repo/wal_object.h"
#include "restore/plan_internal.h"
#include "restore/timeline.h"
#include "wal/births.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* How far back the last transaction of a timeline is looked for. */
enum { END_SEGMENTS = 4, END_SEGMENT_BYTES = 16 << 20 };
enum { LISTED_MAX = 65536 /* timelines in the archive */ };

struct listed {
	uint32_t timeline;
	bool has_wal;
};

struct gathering {
	struct planning *p;
	uint32_t segment_bytes;
	struct listed *listed; /* owned */
	size_t count, max;
	struct history *path;                           /* owned, one for each row */
	struct timeline_row row[RESTORE_TIMELINES_MAX]; /* newest first */
	size_t rows;
};

/* ---- which there are ---- */

static enum err list_one(struct gathering *g, uint32_t timeline, bool has_wal, struct error *why)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->listed[i].timeline == timeline) {
			g->listed[i].has_wal = g->listed[i].has_wal || has_wal;
			return ERR_NONE;
		}
	if (g->count == g->max) {
		size_t max = g->max == 0 ? 32 : g->max * 2;
		struct listed *more;

		if (max > LISTED_MAX)
			return error_set(why, ERR_LIMIT, "listing timelines: more than %d",
					 LISTED_MAX);
		more = realloc(g->listed, max * sizeof(*more));
		if (more == NULL)
			return error_set(why, ERR_MEMORY, "listing timelines: out of memory");
		g->listed = more;
		g->max = max;
	}
	g->listed[g->count++] = (struct listed){.timeline = timeline, .has_wal = has_wal};
	return ERR_NONE;
}

static enum err see(void *ctx, uint32_t timeline, bool is_history, struct error *why)
{
	return list_one(ctx, timeline, !is_history, why);
}

static int newest_first(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;

	return x->timeline > y->timeline ? -1 : x->timeline < y->timeline;
}

static enum err list_all(struct gathering *g)
{
	const struct planning *p = g->p;
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < p->count; i++)
		e = list_one(g, p->list[i].timeline, false, p->why);
	if (e == ERR_NONE)
		e = wal_archive_timelines(p->archive, see, g, p->why);
	if (e == ERR_NONE && g->count > 0)
		qsort(g->listed, g->count, sizeof(*g->listed), newest_first);
	return e;
}

/* ---- the rows ---- */

static bool is_usable(const struct planning *p, const struct history *path)
{
	const struct restore_request *r = p->request;
	struct choice choice = {.kind = r->kind,
				.lsn = r->lsn,
				.time_us = r->time_us,
				.xid = r->xid,
				.backup = r->has_backup ? &r->backup : NULL,
				.path = path};
	size_t found, earliest;

	return choose_backup(p->list, p->count, &choice, &found, &earliest) == CHOICE_FOUND;
}

/* The row and its path.  A history that cannot be read as one leads nowhere; it is said, and another
 * timeline may do. */
static enum err add_row(struct gathering *g, const struct listed *listed)
{
	struct planning *p = g->p;
	struct history *path = &g->path[g->rows];
	struct timeline_row *r = &g->row[g->rows];
	enum err e = wal_archive_history(p->env, p->archive, listed->timeline, path, p->why);

	if (e == ERR_CORRUPT || e == ERR_LIMIT) {
		observer_event(p->env->observer, LEVEL_WARNING,
			       "timeline %" PRIu32 " passed over: %s", listed->timeline,
			       p->why->text);
		return ERR_NONE;
	}
	if (e == ERR_MISSING)
		*path = (struct history){.timeline = listed->timeline};
	else if (e != ERR_NONE)
		return e;
	*r = (struct timeline_row){.timeline = listed->timeline,
				   .born_us = TIMELINE_ALWAYS,
				   .path = path,
				   .usable = is_usable(p, path),
				   .has_wal = listed->has_wal,
				   .latest_us = TIMELINE_NONE_SEEN,
				   .copied_us = TIMELINE_NONE_SEEN};
	if (path->count > 0) {
		r->parent = path->entry[path->count - 1].timeline;
		r->born = path->entry[path->count - 1].end;
		r->born_us = TIMELINE_UNBORN;
	}
	g->rows++;
	return ERR_NONE;
}

static enum err make_rows(struct gathering *g)
{
	enum err e = list_all(g);
	bool any_wal = false;

	if (e == ERR_NONE) {
		g->path = calloc(RESTORE_TIMELINES_MAX, sizeof(*g->path));
		if (g->path == NULL)
			e = error_set(g->p->why, ERR_MEMORY, "list of timelines: out of memory");
	}
	for (size_t i = 0; e == ERR_NONE && i < g->count; i++) {
		/* Those of which nothing is left, behind others that have something. */
		if (any_wal && !g->listed[i].has_wal)
			continue;
		any_wal = any_wal || g->listed[i].has_wal;
		if (g->rows == RESTORE_TIMELINES_MAX) {
			observer_event(g->p->env->observer, LEVEL_WARNING,
				       "only the newest %d timelines are looked at; an older one "
				       "needs --timeline N",
				       RESTORE_TIMELINES_MAX);
			break;
		}
		e = add_row(g, &g->listed[i]);
	}
	return e;
}

/* ---- what their WAL tells ---- */

/* Where its first WAL is gone, a backup on it shows that it had begun. */
static void born_before_backups(const struct planning *p, struct timeline_row *r)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->list[i].timeline == r->timeline && p->list[i].finished_us < r->born_us)
			r->born_us = p->list[i].finished_us;
}

static enum err read_birth(struct gathering *g, struct timeline_row *r)
{
	struct planning *p = g->p;
	int64_t at_us = 0;
	enum err e;

	if (r->parent == 0)
		return ERR_NONE;
	e = wal_archive_birth(p->env, p->archive, r->path, g->segment_bytes, &at_us, p->why);
	if (e == ERR_NONE && at_us != 0)
		r->born_us = at_us;
	else if (e == ERR_NONE)
		born_before_backups(p, r);
	return e;
}

static enum err read_end(struct gathering *g, struct timeline_row *r)
{
	struct planning *p = g->p;
	struct wal_own_end end;
	enum err e = wal_archive_own_end(p->env, p->archive, r->path, g->segment_bytes,
					 (uint64_t)END_SEGMENTS * END_SEGMENT_BYTES, &end, p->why);

	if (e != ERR_NONE)
		return e;
	r->last_record = end.last_record;
	if (end.last_record.value == 0 || (end.tail.last.value == 0 && end.tail.whole))
		return ERR_NONE;
	r->last_commit = end.tail.last.value != 0 ? end.tail.last : end.last_record;
	r->latest_us = end.tail.last.value != 0 ? end.tail.latest_us : TIMELINE_NOT_KNOWN;
	return ERR_NONE;
}

static enum err read_copied(struct gathering *g, struct timeline_row *r)
{
	struct planning *p = g->p;
	struct wal_tail_search search = {.path = r->path,
					 .segment_bytes = g->segment_bytes,
					 .end = r->born,
					 .after_us = INT64_MIN};
	struct lsn parent_born, end;
	struct wal_tail tail;
	enum err e;

	if (r->parent == 0)
		return ERR_NONE;
	e = wal_archive_tail(p->env, p->archive, &search, &tail, p->why);
	if (e == ERR_NONE && history_has(r->path, r->parent, &parent_born, &end) &&
	    tail.last.value != 0 && tail.last.value >= parent_born.value) {
		r->copied_us = tail.latest_us;
		r->copied_last = tail.last;
	}
	return e;
}

static enum err read_wal(struct gathering *g)
{
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < g->rows; i++) {
		struct timeline_row *r = &g->row[i];

		if (!r->usable || !r->has_wal)
			continue;
		e = read_birth(g, r);
		if (e == ERR_NONE)
			e = read_end(g, r);
		if (e == ERR_NONE && g->p->request->kind == TARGET_TIME)
			e = read_copied(g, r);
	}
	return e;
}

/* ---- telling ---- */

static bool has_time(const struct timeline_row *r)
{
	return r->born_us != TIMELINE_ALWAYS && r->born_us != TIMELINE_UNBORN;
}

/* The first that was born behind the target time; NULL when there is none. */
static const struct timeline_row *next_born(const struct gathering *g)
{
	const struct timeline_row *next = NULL;

	for (size_t i = 0; i < g->rows; i++)
		if (has_time(&g->row[i]) && g->row[i].born_us > g->p->request->time_us &&
		    (next == NULL || g->row[i].born_us < next->born_us))
			next = &g->row[i];
	return next;
}

static void give_reason(struct gathering *g, const struct timeline_answer *a)
{
	struct restore_plan *plan = g->p->plan;
	const struct timeline_row *written = &g->row[a->written], *next = NULL;
	enum target_kind kind = g->p->request->kind;
	char time[TIME_TEXT_MAX];

	if (kind == TARGET_TIME)
		next = next_born(g);
	if (kind != TARGET_TIME && kind != TARGET_LSN)
		(void)snprintf(plan->timeline_reason, sizeof(plan->timeline_reason), "the newest");
	else if (a->followed != a->written)
		(void)snprintf(plan->timeline_reason, sizeof(plan->timeline_reason),
			       "%s was written on %" PRIu32
			       ", which this one holds up to where it left it",
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

static void add_candidate(struct restore_plan *plan, const struct timeline_row *r)
{
	plan->candidate[plan->candidates++] =
		(struct restore_candidate){.timeline = r->timeline,
					   .parent = r->parent,
					   .born = r->born,
					   .born_us = has_time(r) ? r->born_us : 0};
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

static enum err choose_from(struct gathering *g, uint32_t *timeline, bool *known)
{
	struct planning *p = g->p;
	const struct restore_request *r = p->request;
	struct timeline_question asked = {
		.kind = r->kind, .time_us = r->time_us, .lsn = r->lsn, .exclusive = r->exclusive};
	struct timeline_answer a;
	enum err e = make_rows(g);

	if (e != ERR_NONE)
		return e;
	/* A history that nobody can read may be all there is. */
	if (g->rows == 0) {
		*timeline = p->list[p->count - 1].timeline;
		return ERR_NONE;
	}
	if (r->timeline_rule == TIMELINE_LATEST)
		asked.kind = TARGET_LATEST;
	else if (g->rows > 1)
		e = read_wal(g);
	if (e != ERR_NONE)
		return e;
	timeline_choose(g->row, g->rows, &asked, &a);
	p->several = g->rows > 1;
	if (!a.ambiguous && a.others > 0)
		add_candidate(p->plan, &g->row[a.followed]);
	for (size_t i = 0; i < a.others; i++)
		add_candidate(p->plan, &g->row[a.other[i]]);
	*known = !a.ambiguous;
	if (a.ambiguous) {
		problem_ambiguous(p);
		return ERR_NONE;
	}
	*timeline = g->row[a.followed].timeline;
	if (p->several && r->timeline_rule == TIMELINE_AUTO)
		give_reason(g, &a);
	return ERR_NONE;
}

static enum err choose_by_rule(struct planning *p, uint32_t *timeline, bool *known)
{
	struct gathering *g = calloc(1, sizeof(*g));
	enum err e;

	if (g == NULL)
		return error_set(p->why, ERR_MEMORY, "list of timelines: out of memory");
	*g = (struct gathering){.p = p, .segment_bytes = p->list[p->count - 1].segment_bytes};
	e = choose_from(g, timeline, known);
	free(g->listed);
	free(g->path);
	free(g);
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
	if (timeline != 0)
		p->several = true; /* nobody looked */
	else if (r->timeline_rule == TIMELINE_CURRENT || r->kind == TARGET_BACKUP_END)
		/* The end of a backup lies on its own timeline, whatever came later. */
		timeline = timeline_of_backups(p);
	else
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
