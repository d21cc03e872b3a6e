/* wal/timelines.c - histories of timelines from the archive, and the newest one that a backup can
 * follow.
 */
#include "wal/archive_internal.h"

#include <stdlib.h>

enum { TIMELINES_MAX = 65536 /* history files in the archive */ };

enum err wal_archive_history(const struct env *env, const struct wal_archive *archive,
			     uint32_t timeline, struct history *out, struct error *why)
{
	struct wal_name name = {.kind = WAL_NAME_HISTORY, .timeline = timeline};
	uint8_t *text = NULL;
	size_t len = 0;
	enum err e;

	if (timeline == 1) {
		*out = (struct history){.timeline = 1};
		return ERR_NONE;
	}
	e = archive_read(env, archive, &name, 0, &text, &len, why);
	if (e == ERR_NONE)
		e = history_from_text(timeline, bytes_of(text, len), out, why);
	free(text);
	return e;
}

struct timelines {
	uint32_t above; /* only newer ones */
	uint32_t *timeline;
	size_t count, max;
};

static enum err see(void *ctx, uint32_t timeline, bool is_history, struct error *why)
{
	struct timelines *t = ctx;

	if (!is_history || timeline <= t->above)
		return ERR_NONE;
	if (t->count == t->max) {
		size_t more = t->max == 0 ? 16 : t->max * 2;
		uint32_t *bigger;

		if (more > TIMELINES_MAX)
			return error_set(why, ERR_LIMIT, "listing timelines: more than %d",
					 TIMELINES_MAX);
		bigger = realloc(t->timeline, more * sizeof(*bigger));
		if (bigger == NULL)
			return error_set(why, ERR_MEMORY, "listing timelines: out of memory");
		t->timeline = bigger;
		t->max = more;
	}
	t->timeline[t->count++] = timeline;
	return ERR_NONE;
}

static int newest_first(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x > y ? -1 : x < y;
}

/* Whether the timeline passes through (start_timeline, start).  A history that cannot be read as
 * one leads nowhere; it is said, and an older timeline may do. */
static enum err passes(const struct env *env, const struct wal_archive *archive, uint32_t timeline,
		       struct lsn start, uint32_t start_timeline, bool *out, struct error *why)
{
	struct history history;
	struct lsn begin, end;
	enum err e = wal_archive_history(env, archive, timeline, &history, why);

	*out = false;
	if (e == ERR_MISSING)
		return ERR_NONE;
	if (e == ERR_CORRUPT || e == ERR_LIMIT) {
		observer_event(env->observer, LEVEL_WARNING, "timeline %u passed over: %s",
			       timeline, why->text);
		return ERR_NONE;
	}
	if (e == ERR_NONE)
		*out = history_has(&history, start_timeline, &begin, &end) &&
		       start.value < end.value;
	return e;
}

enum err wal_archive_latest_timeline(const struct env *env, const struct wal_archive *archive,
				     struct lsn start, uint32_t start_timeline, uint32_t *out,
				     struct error *why)
{
	struct timelines t = {.above = start_timeline};
	uint32_t latest = start_timeline;
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < archive->count; i++)
		e = wal_list_timelines(&archive->cluster[i], see, &t, why);
	if (e == ERR_NONE)
		e = see(&t, salvage_new_timeline(archive->salvage), true, why);
	if (e != ERR_NONE)
		goto out;
	if (t.count > 0)
		qsort(t.timeline, t.count, sizeof(*t.timeline), newest_first);
	for (size_t i = 0; e == ERR_NONE && i < t.count && latest == start_timeline; i++) {
		bool does = false;

		if (i > 0 && t.timeline[i] == t.timeline[i - 1])
			continue;
		e = passes(env, archive, t.timeline[i], start, start_timeline, &does, why);
		if (does)
			latest = t.timeline[i];
	}
out:
	free(t.timeline);
	if (e == ERR_NONE)
		*out = latest;
	return e;
}
