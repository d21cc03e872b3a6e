/* wal/presence.c - which segments of a timeline path the repositories have, as runs.
 *
 * One listing per timeline and repository; nothing is opened.  What lies on a timeline outside the
 * path's part of it is another branch and does not count.
 */
#include "wal/archive_internal.h"

#include <stdlib.h>

struct listing {
	struct presence_timeline *timeline;
	uint32_t segment_bytes;
	size_t begin; /* runs before this one are of another repository */
};

static enum err run_add(struct presence_timeline *t, uint64_t segno, struct error *why)
{
	if (t->count == t->max) {
		size_t more = t->max == 0 ? 16 : t->max * 2;
		struct presence_run *bigger;

		if (more > PRESENCE_RUNS_MAX)
			return error_set(why, ERR_LIMIT,
					 "listing WAL of timeline %u: more than %d gaps",
					 t->timeline, PRESENCE_RUNS_MAX);
		bigger = realloc(t->run, more * sizeof(*bigger));
		if (bigger == NULL)
			return error_set(why, ERR_MEMORY, "listing WAL: out of memory");
		t->run = bigger;
		t->max = more;
	}
	t->run[t->count++] = (struct presence_run){.first = segno, .last = segno};
	return ERR_NONE;
}

static enum err see(void *ctx, const struct wal_listed *listed, struct error *why)
{
	struct listing *l = ctx;
	struct presence_timeline *t = l->timeline;
	uint64_t segno, behind;

	if (listed->name.kind != WAL_NAME_SEGMENT ||
	    !wal_name_segno(&listed->name, l->segment_bytes, &segno))
		return ERR_NONE;
	behind = segno * l->segment_bytes + (listed->slice ? listed->to : l->segment_bytes);
	if (behind > t->furthest)
		t->furthest = behind;
	if (listed->slice)
		return ERR_NONE;
	if (t->count > l->begin && t->run[t->count - 1].last + 1 == segno) {
		t->run[t->count - 1].last = segno;
		return ERR_NONE;
	}
	return run_add(t, segno, why);
}

static int by_first(const void *a, const void *b)
{
	const struct presence_run *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

/* The union of what the repositories have. */
static void runs_merge(struct presence_timeline *t)
{
	size_t kept = 0;

	if (t->count == 0)
		return;
	qsort(t->run, t->count, sizeof(*t->run), by_first);
	for (size_t i = 1; i < t->count; i++) {
		if (t->run[i].first > t->run[kept].last + 1)
			t->run[++kept] = t->run[i];
		else if (t->run[i].last > t->run[kept].last)
			t->run[kept].last = t->run[i].last;
	}
	t->count = kept + 1;
}

/* Only what keeps this process from working is a failure of its own. */
static bool is_answer_of_repository(enum err e)
{
	return e != ERR_MEMORY && e != ERR_LIMIT && e != ERR_CANCELLED;
}

static enum err timeline_load(const struct env *env, const struct wal_archive *archive,
			      struct presence_timeline *t, uint64_t from_segno, struct presence *p,
			      struct error *why)
{
	struct listing salvaged = {.timeline = t, .segment_bytes = p->segment_bytes};
	enum err e;

	for (size_t i = 0; i < archive->count; i++) {
		struct listing l = {
			.timeline = t, .segment_bytes = p->segment_bytes, .begin = t->count};

		e = wal_list_timeline(&archive->cluster[i], t->timeline, from_segno,
				      p->segment_bytes, see, &l, why);
		if (e != ERR_NONE && !is_answer_of_repository(e))
			return e;
		if (e == ERR_NONE)
			continue;
		observer_event(env->observer, LEVEL_WARNING,
			       "WAL of timeline %u not listed in %s: %s", t->timeline,
			       archive->cluster[i].repository->store->label, why->text);
		if (p->failure.kind == ERR_NONE)
			p->failure = *why;
	}
	salvaged.begin = t->count;
	e = salvage_list(archive->salvage, t->timeline, from_segno, see, &salvaged, why);
	runs_merge(t);
	return e;
}

enum err presence_load(const struct env *env, const struct wal_archive *archive,
		       const struct history *path, struct lsn start, uint32_t segment_bytes,
		       struct presence *out, struct error *why)
{
	struct presence p = {.segment_bytes = segment_bytes};
	enum err e = ERR_NONE;

	p.timeline = calloc(path->count + 1, sizeof(*p.timeline));
	if (p.timeline == NULL)
		return error_set(why, ERR_MEMORY, "listing WAL: out of memory");
	for (size_t i = 0; e == ERR_NONE && i <= path->count; i++) {
		struct presence_timeline *t = &p.timeline[p.count];
		uint64_t left = i < path->count ? path->entry[i].end.value : UINT64_MAX;
		uint64_t from;

		if (left <= start.value)
			continue;
		t->timeline = i < path->count ? path->entry[i].timeline : path->timeline;
		t->entered = i > 0 ? path->entry[i - 1].end.value : 0;
		t->left = left;
		p.count++;
		from = t->entered > start.value ? t->entered : start.value;
		e = timeline_load(env, archive, t, from / segment_bytes, &p, why);
	}
	if (e != ERR_NONE) {
		presence_release(&p);
		return e;
	}
	*out = p;
	return ERR_NONE;
}

void presence_release(struct presence *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->timeline[i].run);
	free(p->timeline);
	*p = (struct presence){.count = 0};
}

static const struct presence_run *run_of(const struct presence_timeline *t, uint64_t segno)
{
	size_t low = 0, high = t->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (t->run[middle].last < segno)
			low = middle + 1;
		else
			high = middle;
	}
	return low < t->count && t->run[low].first <= segno ? &t->run[low] : NULL;
}

/* The newest timeline that has a part in the segment comes first, as in recovery. */
uint64_t presence_end(const struct presence *p, uint64_t segno)
{
	uint32_t size = p->segment_bytes;

	for (;;) {
		uint64_t begin = segno * size, behind = begin + size;
		const struct presence_run *run = NULL;
		size_t i = p->count;

		while (run == NULL && i-- > 0)
			if (p->timeline[i].entered < behind && p->timeline[i].left > begin)
				run = run_of(&p->timeline[i], segno);
		if (run == NULL)
			return begin;
		if (p->timeline[i].left < behind)
			return p->timeline[i].left;
		/* All of the run, up to the segment in which a newer timeline begins. */
		segno = run->last + 1;
		if (p->timeline[i].left / size < segno)
			segno = p->timeline[i].left / size;
	}
}

bool presence_has(const struct presence *p, uint32_t timeline, uint64_t segno)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->timeline[i].timeline == timeline)
			return run_of(&p->timeline[i], segno) != NULL;
	return false;
}

uint64_t presence_furthest(const struct presence *p)
{
	uint64_t furthest = 0;

	for (size_t i = 0; i < p->count; i++) {
		const struct presence_timeline *t = &p->timeline[i];
		uint64_t of = t->furthest < t->left ? t->furthest : t->left;

		if (of > furthest)
			furthest = of;
	}
	return furthest;
}

uint64_t presence_furthest_of(const struct presence *p, uint32_t timeline)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->timeline[i].timeline == timeline)
			return p->timeline[i].furthest;
	return 0;
}
