/* repo/wal_gaps.c - records of WAL that is missing and known to be. */
#include "repo/wal_gaps.h"
#include "repo/decision_internal.h"
#include "repo/lines.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A sweep joins once, so that a reader meets one at a time. */
enum { READ_ROUNDS_MAX = 3 };

static void gap_key(const struct cluster *c, const struct wal_gap *gap, char out[STORE_KEY_MAX])
{
	(void)snprintf(out, STORE_KEY_MAX, "%sgaps/%08" PRIX32 ".%016" PRIX64 "-%016" PRIX64,
		       c->prefix, gap->timeline, gap->from.value, gap->to.value); /* fits */
}

static enum err is_whole(const struct cluster *c, const struct wal_gap *gap, bool *out, bool *went,
			 struct error *why)
{
	char key[STORE_KEY_MAX];
	struct writer body;
	enum err e;

	gap_key(c, gap, key);
	writer_init(&body, RECORD_BYTES_MAX);
	e = record_get(c->repository, key, "gap", &body, why);
	writer_release(&body);
	*out = e == ERR_NONE;
	*went = *went || e == ERR_MISSING;
	return e == ERR_CORRUPT || e == ERR_MISSING ? ERR_NONE : e;
}

static int in_order(const void *a, const void *b)
{
	const struct wal_gap *x = a, *y = b;

	if (x->timeline != y->timeline)
		return x->timeline < y->timeline ? -1 : 1;
	return (x->from.value > y->from.value) - (x->from.value < y->from.value);
}

enum err wal_gaps_add(struct wal_gaps *g, const struct wal_gap *gap, struct error *why)
{
	if (g->count == WAL_GAPS_MAX)
		return error_set(why, ERR_LIMIT, "more than %d known gaps of WAL", WAL_GAPS_MAX);
	if (g->count == g->capacity) {
		size_t more = g->capacity == 0 ? 16 : 2 * g->capacity;
		struct wal_gap *bigger = reallocarray(g->gap, more, sizeof(*bigger));

		if (bigger == NULL)
			return error_set(why, ERR_MEMORY, "no memory for %zu gaps of WAL", more);
		g->gap = bigger;
		g->capacity = more;
	}
	g->gap[g->count++] = *gap;
	return ERR_NONE;
}

static enum err read_round(const struct cluster *c, struct wal_gaps *out, bool *went,
			   struct error *why)
{
	struct key_list list = {.count = 0};
	enum err e;

	*out = (struct wal_gaps){.count = 0};
	*went = false;
	e = key_list_read(c, "gaps/", &list, why);
	for (size_t i = 0; e == ERR_NONE && i < list.count; i++) {
		struct wal_gap gap;
		bool whole;
		int end = 0;

		if (sscanf(list.key[i], "%8" SCNx32 ".%16" SCNx64 "-%16" SCNx64 "%n", &gap.timeline,
			   &gap.from.value, &gap.to.value, &end) != 3 ||
		    list.key[i][end] != '\0')
			continue; /* nothing of ours */
		e = is_whole(c, &gap, &whole, went, why);
		if (e == ERR_NONE && whole)
			e = wal_gaps_add(out, &gap, why);
	}
	key_list_release(&list);
	return e;
}

static void sort(struct wal_gaps *g)
{
	if (g->count > 1)
		qsort(g->gap, g->count, sizeof(*g->gap), in_order);
}

enum err wal_gaps_read(const struct cluster *c, struct wal_gaps *out, struct error *why)
{
	bool went;
	enum err e = read_round(c, out, &went, why);

	for (int i = 1; e == ERR_NONE && went && i < READ_ROUNDS_MAX; i++) {
		wal_gaps_release(out);
		e = read_round(c, out, &went, why);
	}
	sort(out);
	return e;
}

void wal_gaps_join(struct wal_gaps *g)
{
	size_t joined = 0;

	sort(g);
	for (size_t i = 0; i < g->count; i++) {
		struct wal_gap *last = joined == 0 ? NULL : &g->gap[joined - 1];

		if (last == NULL || last->timeline != g->gap[i].timeline ||
		    last->to.value < g->gap[i].from.value)
			g->gap[joined++] = g->gap[i];
		else if (last->to.value < g->gap[i].to.value)
			last->to = g->gap[i].to;
	}
	g->count = joined;
}

void wal_gaps_release(struct wal_gaps *g)
{
	free(g->gap);
	*g = (struct wal_gaps){.count = 0};
}

bool wal_gaps_cover(const struct wal_gaps *g, const struct wal_gap *wanted)
{
	uint64_t at = wanted->from.value;

	for (size_t i = 0; i < g->count && at < wanted->to.value; i++) {
		const struct wal_gap *gap = &g->gap[i];

		if (gap->timeline == wanted->timeline && gap->from.value <= at &&
		    gap->to.value > at)
			at = gap->to.value;
	}
	return at >= wanted->to.value;
}

enum err wal_gap_put(const struct cluster *c, const struct wal_gap *gap, const char *reason,
		     struct error *why)
{
	char key[STORE_KEY_MAX], time[TIME_TEXT_MAX], lsn[LSN_TEXT_MAX];
	struct writer body;
	enum err e;

	gap_key(c, gap, key);
	writer_init(&body, RECORD_BYTES_MAX);
	lines_putf(&body, "timeline", "%" PRIu32, gap->timeline);
	lsn_to_text(gap->from, lsn);
	lines_put(&body, "from-lsn", lsn);
	lsn_to_text(gap->to, lsn);
	lines_put(&body, "to-lsn", lsn);
	lines_put(&body, "reason", reason);
	time_to_text(clock_now_us(c->repository->env->clock), time);
	lines_put(&body, "time", time);
	e = body.bad ? error_set(why, ERR_MEMORY, "%s: no memory", key)
		     : record_put(c->repository, key, "gap", writer_view(&body), why);
	writer_release(&body);
	return e == ERR_EXISTS ? ERR_NONE : e;
}

enum err wal_gap_remove(const struct cluster *c, const struct wal_gap *gap, struct error *why)
{
	char key[STORE_KEY_MAX];
	enum err e;

	gap_key(c, gap, key);
	e = store_remove(c->repository->store, key, why);
	return e == ERR_MISSING ? ERR_NONE : e;
}
