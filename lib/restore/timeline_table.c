/* restore/timeline_table.c - the table that timeline.c chooses from: the histories in the archive, and, where
 * there is more than one timeline, the first and the last WAL of each.
 */
#include "restore/timeline_table.h"
#include "wal/births.h"

#include <inttypes.h>
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
	struct timeline_table *table;
	uint32_t segment_bytes;
	struct listed *listed; /* owned */
	size_t count, max;
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
	struct history *path = &g->table->path[g->table->rows];
	struct timeline_row *r = &g->table->row[g->table->rows];
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
	g->table->rows++;
	return ERR_NONE;
}

static enum err make_rows(struct gathering *g)
{
	enum err e = list_all(g);
	bool any_wal = false;

	if (e == ERR_NONE) {
		g->table->path = calloc(RESTORE_TIMELINES_MAX, sizeof(*g->table->path));
		if (g->table->path == NULL)
			e = error_set(g->p->why, ERR_MEMORY, "list of timelines: out of memory");
	}
	for (size_t i = 0; e == ERR_NONE && i < g->count; i++) {
		/* Those of which nothing is left, behind others that have something. */
		if (any_wal && !g->listed[i].has_wal)
			continue;
		any_wal = any_wal || g->listed[i].has_wal;
		if (g->table->rows == RESTORE_TIMELINES_MAX) {
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

/* The end of the last backup on it. */
static struct lsn last_backup(const struct planning *p, const struct timeline_row *r)
{
	struct lsn last = lsn_of(0);

	for (size_t i = 0; i < p->count; i++)
		if (p->list[i].timeline == r->timeline && p->list[i].stop.value > last.value)
			last = p->list[i].stop;
	return last;
}

static enum err read_end(struct gathering *g, struct timeline_row *r)
{
	struct planning *p = g->p;
	struct wal_own_end end;
	enum err e = wal_archive_own_end(p->env, p->archive, r->path, g->segment_bytes,
					 last_backup(p, r),
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
	struct wal_tail tail;
	enum err e;

	if (r->parent == 0)
		return ERR_NONE;
	e = wal_archive_tail(p->env, p->archive, &search, &tail, p->why);
	if (e == ERR_NONE && tail.last.value != 0) {
		r->copied_us = tail.latest_us;
		r->copied_last = tail.last;
	}
	return e;
}

static enum err read_wal(struct gathering *g)
{
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < g->table->rows; i++) {
		struct timeline_row *r = &g->table->row[i];

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

enum err timeline_table_make(struct planning *p, bool with_wal, struct timeline_table *out)
{
	struct gathering g = {
		.p = p, .table = out, .segment_bytes = p->list[p->count - 1].segment_bytes};
	enum err e;

	*out = (struct timeline_table){.rows = 0};
	e = make_rows(&g);
	if (e == ERR_NONE && with_wal && out->rows > 1)
		e = read_wal(&g);
	free(g.listed);
	return e;
}

void timeline_table_release(struct timeline_table *table)
{
	free(table->path);
	table->path = NULL;
}
