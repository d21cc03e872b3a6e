/* commands/windows.c - which moments can be restored, as far as looking (not reading) can tell. */
#include "commands/windows.h"
#include "pgformat/history.h"
#include "repo/wal_gaps.h"
#include "wal/births.h"
#include "wal/tail.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
	ENTRIES_MAX = 4096,
	TIMELINES_MAX = 1024,
	COMMIT_SEGMENTS_MAX = 4 /* looked through for the last commit, from the end */
};

void window_merge(uint32_t timeline, const struct window_entry *entry, size_t count,
		  struct window *out)
{
	const struct window_entry *last = &entry[0];

	assert(count > 0 && entry[0].reached);
	*out = (struct window){.timeline = timeline,
			       .from_us = entry[0].finished_us,
			       .from = entry[0].stop,
			       .entered = entry[0].entered,
			       .to = entry[0].reach.end};
	for (size_t i = 1; i <= count; i++) {
		struct lsn from = last->reach.ends_in_hole ? last->reach.hole : last->reach.end;
		struct window_gap gap = {.from = from, .by_retention = last->by_retention};

		if (i < count && !entry[i].reached)
			continue;
		if (i < count)
			gap.to = entry[i].stop;
		else if (last->reach.ends_in_hole)
			gap.to = last->next;
		else
			break;
		if (out->gaps < WINDOW_GAPS_MAX)
			out->gap[out->gaps++] = gap;
		if (i < count) {
			last = &entry[i];
			out->to = last->reach.end;
		}
	}
}

int64_t window_to_us(const struct window *w)
{
	if (w->latest_commit_us == 0)
		return 0;
	return w->latest_commit_us > w->from_us ? w->latest_commit_us : w->from_us;
}

bool windows_hold(const struct window *window, size_t count, uint64_t system_identifier,
		  uint32_t timeline, struct lsn at)
{
	for (size_t i = 0; i < count; i++) {
		const struct window *w = &window[i];
		bool in_gap = false;

		if (w->system_identifier != system_identifier || w->timeline != timeline)
			continue;
		for (size_t j = 0; j < w->gaps; j++)
			in_gap = in_gap ||
				 (at.value > w->gap[j].from.value && at.value < w->gap[j].to.value);
		if (!in_gap && at.value >= w->from.value && at.value <= w->to.value)
			return true;
	}
	return false;
}

/* What one timeline is looked at with. */
struct look {
	const struct env *env;
	const struct wal_archive *archive;
	const struct catalog *catalog;
	uint64_t system;
	uint32_t timeline;
	bool has_history;
	struct history history;
	struct window_entry *entry;
	size_t count;
	const struct window_entry *last; /* the last that was reached */
};

struct timelines {
	uint32_t number[TIMELINES_MAX];
	size_t count;
};

static void add_timeline(struct timelines *t, uint32_t timeline)
{
	size_t at = 0;

	while (at < t->count && t->number[at] < timeline)
		at++;
	if ((at < t->count && t->number[at] == timeline) || t->count == TIMELINES_MAX)
		return;
	memmove(&t->number[at + 1], &t->number[at], (t->count - at) * sizeof(t->number[0]));
	t->number[at] = timeline;
	t->count++;
}

static enum err add_listed(void *ctx, uint32_t timeline, bool is_history, struct error *why)
{
	(void)why; /* nothing here can fail */
	if (!is_history)
		add_timeline(ctx, timeline);
	return ERR_NONE;
}

struct next {
	struct lsn hole, next;
	uint32_t segment_bytes;
};

static enum err take_next(void *ctx, const struct wal_listed *listed, struct error *why)
{
	struct next *n = ctx;
	uint64_t segno;
	struct lsn start;

	(void)why; /* nothing here can fail */
	if (listed->name.kind != WAL_NAME_SEGMENT ||
	    !wal_name_segno(&listed->name, n->segment_bytes, &segno))
		return ERR_NONE;
	start = wal_segment_start(segno, n->segment_bytes);
	if (listed->slice)
		start.value += listed->from;
	if (start.value > n->hole.value && (n->next.value == 0 || start.value < n->next.value))
		n->next = start;
	return ERR_NONE;
}

/* A hole that a sweep made is recorded in the repository that it swept. */
static enum err find_cause(const struct look *l, struct window_entry *entry, struct error *why)
{
	const struct wal_gap hole = {
		.timeline = l->timeline, .from = entry->reach.hole, .to = entry->next};
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < l->archive->count; i++) {
		struct wal_gaps gaps;

		e = wal_gaps_read(&l->archive->cluster[i], &gaps, why);
		entry->by_retention =
			entry->by_retention || (e == ERR_NONE && wal_gaps_cover(&gaps, &hole));
		wal_gaps_release(&gaps);
	}
	return e;
}

static enum err find_next(const struct look *l, uint32_t segment_bytes, struct window_entry *entry,
			  struct error *why)
{
	struct next n = {.hole = entry->reach.hole, .segment_bytes = segment_bytes};

	for (size_t i = 0; i < l->archive->count; i++) {
		enum err e = wal_list_timeline(&l->archive->cluster[i], l->timeline,
					       wal_segno(n.hole, segment_bytes), segment_bytes,
					       take_next, &n, why);

		if (e != ERR_NONE)
			return e;
	}
	entry->next = n.next;
	return n.next.value != 0 ? find_cause(l, entry, why) : ERR_NONE;
}

/* Adds the entry when a restore may begin there: recovery gets at least to its `stop`. */
static enum err add_entry(struct look *l, const struct summary *s, struct window_entry entry,
			  struct error *why)
{
	enum err e;

	if (l->count == ENTRIES_MAX)
		return error_set(why, ERR_LIMIT, "more than %d backups on timeline %u", ENTRIES_MAX,
				 l->timeline);
	if (l->last != NULL && entry.stop.value <= l->last->reach.end.value) {
		l->entry[l->count++] = entry;
		return ERR_NONE;
	}
	e = wal_archive_reach(l->env, l->archive, s->start, s->timeline, l->timeline,
			      s->wal_segment_bytes, lsn_of(0), &entry.reach, why);
	if (e == ERR_MISSING || (e == ERR_NONE && entry.reach.end.value < entry.stop.value))
		return ERR_NONE;
	if (e == ERR_NONE && entry.reach.ends_in_hole)
		e = find_next(l, s->wal_segment_bytes, &entry, why);
	if (e != ERR_NONE)
		return e;
	entry.reached = true;
	l->entry[l->count] = entry;
	l->last = &l->entry[l->count++];
	return ERR_NONE;
}

/* The backup nearest before the place where the timeline begins, on its path; NULL when there is
 * none. */
static const struct summary *ancestor(const struct look *l, struct lsn begin)
{
	const struct summary *best = NULL;

	for (size_t i = 0; i < l->catalog->count; i++) {
		const struct summary *s = &l->catalog->entry[i].summary;
		struct lsn from, to;

		if (s->system_identifier == l->system && s->timeline != l->timeline &&
		    history_has(&l->history, s->timeline, &from, &to) &&
		    s->stop.value <= to.value && s->stop.value <= begin.value &&
		    (best == NULL || s->stop.value > best->stop.value))
			best = s;
	}
	return best;
}

static enum err gather(struct look *l, struct error *why)
{
	enum err e = ERR_NONE;

	if (l->has_history && l->history.count > 0) {
		struct lsn begin = l->history.entry[l->history.count - 1].end;
		const struct summary *s = ancestor(l, begin);
		struct window_entry entry = {.start = begin, .stop = begin, .entered = true};

		if (s != NULL)
			e = wal_archive_birth(l->env, l->archive, &l->history, s->wal_segment_bytes,
					      &entry.finished_us, why);
		if (s != NULL && e == ERR_NONE)
			e = add_entry(l, s, entry, why);
	}
	for (size_t i = 0; i < l->catalog->count && e == ERR_NONE; i++) {
		const struct summary *s = &l->catalog->entry[i].summary;

		if (s->system_identifier == l->system && s->timeline == l->timeline)
			e = add_entry(l, s,
				      (struct window_entry){.finished_us = s->finished_us,
							    .start = s->start,
							    .stop = s->stop},
				      why);
	}
	return e;
}

/* ---- the last commit ---- */

/* Looks through the last segments, the last one first.  What can't be read leaves the time unknown:
 * it is verify's part to complain. */
static int64_t last_commit(const struct look *l, const struct window *w, uint32_t segment_bytes)
{
	struct wal_tail_search search = {
		.path = &l->history,
		.segment_bytes = segment_bytes,
		.from = w->from,
		.end = w->to,
		.after_us = INT64_MIN,
		.bytes_max = (uint64_t)COMMIT_SEGMENTS_MAX * segment_bytes,
	};
	struct wal_tail tail;
	struct error ignored;

	if (wal_archive_tail(l->env, l->archive, &search, &tail, &ignored) != ERR_NONE)
		return 0;
	return tail.commit_us;
}

static uint32_t segment_bytes_of(const struct look *l)
{
	for (size_t i = 0; i < l->catalog->count; i++)
		if (l->catalog->entry[i].summary.system_identifier == l->system)
			return l->catalog->entry[i].summary.wal_segment_bytes;
	return 0;
}

static enum err read_window(struct look *l, struct window *out, size_t *count, struct error *why)
{
	enum err e;

	l->count = 0;
	l->last = NULL;
	l->history = (struct history){.timeline = l->timeline};
	e = wal_archive_history(l->env, l->archive, l->timeline, &l->history, why);
	l->has_history = e == ERR_NONE;
	if (e == ERR_MISSING)
		l->history = (struct history){.timeline = l->timeline};
	else if (e != ERR_NONE)
		return e;
	e = gather(l, why);
	if (e != ERR_NONE || l->count == 0 || *count == WINDOWS_MAX)
		return e;
	window_merge(l->timeline, l->entry, l->count, &out[*count]);
	out[*count].system_identifier = l->system;
	out[*count].latest_commit_us = last_commit(l, &out[*count], segment_bytes_of(l));
	(*count)++;
	return ERR_NONE;
}

enum err windows_read(const struct env *env, const struct wal_archive *archive,
		      const struct catalog *catalog, uint64_t system_identifier, struct window *out,
		      size_t *count, struct error *why)
{
	struct timelines timelines = {.count = 0};
	struct look *l = calloc(1, sizeof(*l));
	struct window_entry *entry = calloc(ENTRIES_MAX, sizeof(*entry));
	enum err e = ERR_NONE;

	*count = 0;
	if (l == NULL || entry == NULL) {
		e = error_set(why, ERR_MEMORY, "no memory to look for windows");
		goto out;
	}
	*l = (struct look){.env = env,
			   .archive = archive,
			   .catalog = catalog,
			   .system = system_identifier,
			   .entry = entry};
	for (size_t i = 0; i < catalog->count; i++)
		if (catalog->entry[i].summary.system_identifier == system_identifier)
			add_timeline(&timelines, catalog->entry[i].summary.timeline);
	for (size_t i = 0; i < archive->count && timelines.count > 0 && e == ERR_NONE; i++)
		e = wal_list_timelines(&archive->cluster[i], add_listed, &timelines, why);
	for (size_t i = 0; i < timelines.count && e == ERR_NONE; i++) {
		l->timeline = timelines.number[i];
		e = read_window(l, out, count, why);
	}
out:
	free(entry);
	free(l);
	return e;
}

enum err windows_read_all(const struct env *env, const struct places *places, const char *name,
			  const struct catalog *catalog, struct window **out, size_t *count,
			  struct error *why)
{
	uint64_t done[WINDOWS_MAX];
	size_t systems = 0;
	enum err e = ERR_NONE;

	/* Each call may fill WINDOWS_MAX; what would be beyond that many in all is left out. */
	*count = 0;
	*out = calloc(2 * WINDOWS_MAX, sizeof(**out));
	if (*out == NULL)
		return error_set(why, ERR_MEMORY, "no memory to look for windows");
	for (size_t i = 0; i < catalog->count && e == ERR_NONE; i++) {
		uint64_t system = catalog->entry[i].summary.system_identifier;
		struct wal_archive archive = {.count = places->count};
		size_t found = 0;
		bool seen = false;

		for (size_t j = 0; j < systems; j++)
			seen = seen || done[j] == system;
		if (seen || systems == WINDOWS_MAX || *count >= WINDOWS_MAX)
			continue;
		done[systems++] = system;
		for (size_t j = 0; j < places->count; j++)
			cluster_init(&archive.cluster[j], places->place[j].repository, name,
				     system);
		e = windows_read(env, &archive, catalog, system, *out + *count, &found, why);
		*count += found;
	}
	return e;
}
