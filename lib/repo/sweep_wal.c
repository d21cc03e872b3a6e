/* repo/sweep_wal.c - WAL that no backup needs any more. */
#include "pgformat/history.h"
#include "repo/sweep_internal.h"
#include "repo/wal_object.h"

#include <stdlib.h>

enum {
	STARTS_MAX = 1 << 20,
	LISTED_MAX = 1 << 22 /* objects looked at in one run, the oldest; 170 MB */
};

/* Where a restore may begin to replay. */
struct start {
	uint32_t timeline;
	struct lsn at;
};

struct sweeping {
	const struct cluster *cluster;
	const struct sweep_options *options;
	struct wal_sweep_totals *totals;
	uint32_t segment_bytes;
	struct start *start;
	size_t starts, starts_capacity;
	bool protect_all;          /* nothing may go */
	struct wal_listed *listed; /* what was there first; then what of it goes */
	size_t count, capacity;
	/* Of the timeline that is being walked. */
	uint32_t timeline;
	bool any_start;
	struct lsn first; /* of the starts that need this timeline */
	uint32_t newest_timeline;
	struct history history;
	struct sweep_turn turn;
};

static enum err grow(void **array, size_t used, size_t *capacity, size_t size, struct error *why)
{
	size_t more = *capacity == 0 ? 256 : 2 * *capacity;
	void *bigger;

	if (used < *capacity)
		return ERR_NONE;
	bigger = realloc(*array, more * size);
	if (bigger == NULL)
		return error_set(why, ERR_MEMORY, "no memory for a sweep of WAL");
	*array = bigger;
	*capacity = more;
	return ERR_NONE;
}

static enum err add_start(struct sweeping *s, uint32_t timeline, struct lsn at, struct error *why)
{
	enum err e =
		grow((void **)&s->start, s->starts, &s->starts_capacity, sizeof(*s->start), why);

	if (e != ERR_NONE)
		return e;
	if (s->starts == STARTS_MAX)
		return error_set(why, ERR_LIMIT, "more than %d backups", STARTS_MAX);
	s->start[s->starts++] = (struct start){.timeline = timeline, .at = at};
	return ERR_NONE;
}

static enum err add_backup(void *ctx, const struct backup_info *info, struct error *why)
{
	struct sweeping *s = ctx;

	if (sweep_is_without(s->options, &info->summary->attempt))
		return ERR_NONE;
	return add_start(s, info->summary->timeline, info->summary->start, why);
}

/* Where it starts nobody knows: it may need all there is. */
static enum err refuse_damaged(void *ctx, const struct backup_damage *damage, struct error *why)
{
	struct sweeping *s = ctx;

	if (sweep_is_without(s->options, &damage->attempt))
		return ERR_NONE;
	*why = *damage->reason;
	return sweep_refuse_unreadable(s->cluster, &damage->attempt, "no WAL", why);
}

static enum err add_writers(struct sweeping *s, struct error *why)
{
	struct pins pins;
	enum err e = pins_read(s->cluster, &pins, why);

	if (e == ERR_NONE && sweep_is_held(s->cluster, &pins, s->options->force))
		s->protect_all = s->totals->held = true;
	for (size_t i = 0; e == ERR_NONE && i < pins.count; i++) {
		const struct pin_seen *pin = &pins.pin[i];

		if (pin->unreadable || (pin->is_writer && pin->start.value == 0))
			s->protect_all = true;
		else if (pin->is_writer)
			e = add_start(s, pin->timeline, pin->start, why);
	}
	pins_release(&pins);
	return e;
}

/* ---- one timeline after the other ---- */

/* What led to this timeline; where that is not known, every lower one may have. */
static enum err read_history(struct sweeping *s, uint32_t timeline, bool *known, struct error *why)
{
	struct wal_name name = {.kind = WAL_NAME_HISTORY, .timeline = timeline};
	uint8_t *text = NULL;
	size_t len = 0;
	enum err e;

	*known = timeline == 1;
	s->history = (struct history){.timeline = timeline};
	if (timeline == 1)
		return ERR_NONE;
	e = wal_get(s->cluster, &name, &text, &len, why);
	if (e == ERR_NONE)
		e = history_from_text(timeline, bytes_of(text, len), &s->history, why);
	free(text);
	*known = e == ERR_NONE;
	return e == ERR_MISSING || e == ERR_CORRUPT ? ERR_NONE : e;
}

static enum err look_at(struct sweeping *s, uint32_t timeline, struct error *why)
{
	bool known;
	enum err e = read_history(s, timeline, &known, why);

	s->timeline = timeline;
	s->any_start = false;
	for (size_t i = 0; e == ERR_NONE && i < s->starts; i++) {
		const struct start *start = &s->start[i];
		struct lsn begin, end;
		bool needs = start->timeline == timeline ||
			     (known ? history_has(&s->history, start->timeline, &begin, &end)
				    : start->timeline < timeline);

		if (needs && (!s->any_start || start->at.value < s->first.value)) {
			s->any_start = true;
			s->first = start->at;
		}
	}
	return e;
}

static bool is_needed(const struct sweeping *s, const struct wal_listed *listed)
{
	uint64_t segno;

	if (listed->name.kind == WAL_NAME_HISTORY || s->protect_all ||
	    !wal_name_segno(&listed->name, s->segment_bytes, &segno))
		return true;
	if (!s->any_start)
		return s->timeline == s->newest_timeline;
	return s->first.value < wal_segment_start(segno + 1, s->segment_bytes).value;
}

static enum err take_listed(void *ctx, const struct wal_listed *listed, struct error *why)
{
	struct sweeping *s = ctx;
	enum err e = ERR_NONE;

	s->totals->objects++;
	s->totals->bytes += listed->stored_bytes;
	if (s->count == LISTED_MAX)
		return ERR_NONE;
	e = grow((void **)&s->listed, s->count, &s->capacity, sizeof(*s->listed), why);
	if (e == ERR_NONE)
		s->listed[s->count++] = *listed;
	return e;
}

/* Leaves in the list what nothing needs. */
static enum err keep_going(struct sweeping *s, struct error *why)
{
	size_t going = 0;

	for (size_t i = 0; i < s->count; i++) {
		const struct wal_listed *listed = &s->listed[i];

		if (listed->name.timeline != s->timeline) {
			enum err e = look_at(s, listed->name.timeline, why);

			if (e != ERR_NONE)
				return e;
		}
		if (is_needed(s, listed))
			continue;
		s->totals->removed++;
		s->totals->removed_bytes += listed->stored_bytes;
		s->listed[going++] = *listed;
	}
	s->count = going;
	return ERR_NONE;
}

static enum err take_timeline(void *ctx, uint32_t timeline, bool is_history, struct error *why)
{
	struct sweeping *s = ctx;

	(void)is_history;
	(void)why;
	if (timeline > s->newest_timeline)
		s->newest_timeline = timeline;
	return ERR_NONE;
}

static enum err remove_going(struct sweeping *s, struct error *why)
{
	struct store *store = s->cluster->repository->store;

	s->totals->removed = s->totals->removed_bytes = 0;
	for (size_t i = 0; i < s->count; i++) {
		const struct wal_listed *listed = &s->listed[i];
		char key[STORE_KEY_MAX];
		enum err e;

		e = sweep_turn_check(&s->turn, why);
		if (e != ERR_NONE)
			return e;
		if (listed->slice)
			wal_slice_key(s->cluster, &listed->name, listed->from, listed->to, key);
		else
			wal_key(s->cluster, &listed->name, key);
		e = store_remove(store, key, why);
		if (e != ERR_NONE)
			return e;
		s->totals->removed++;
		s->totals->removed_bytes += listed->stored_bytes;
	}
	return ERR_NONE;
}

enum err sweep_wal(const struct cluster *c, const struct sweep_options *options,
		   struct wal_sweep_totals *totals, struct error *why)
{
	struct sweeping *s = calloc(1, sizeof(*s));
	struct identity identity;
	enum err e;

	*totals = (struct wal_sweep_totals){.objects = 0};
	if (s == NULL)
		return error_set(why, ERR_MEMORY, "no memory for a sweep of WAL");
	s->cluster = c;
	s->options = options;
	s->totals = totals;
	e = options->plan ? ERR_NONE : sweep_turn_take(&s->turn, c, why);
	if (e == ERR_NONE)
		e = identity_read(c, &identity, why);
	if (e == ERR_NONE) {
		s->segment_bytes = identity.wal_segment_bytes;
		/* What is there first, then who may need it: a backup that begins later stores again
		 * what was removed meanwhile, and one that began before is seen. */
		e = wal_list_timelines(c, take_timeline, s, why);
	}
	if (e == ERR_NONE)
		e = wal_list(c, take_listed, s, why);
	/* Writers before backups: one that commits in between is seen as either. */
	if (e == ERR_NONE)
		e = add_writers(s, why);
	if (e == ERR_NONE)
		e = backups_list_all(c, true, add_backup, refuse_damaged, s, why);
	if (e == ERR_NONE && s->starts == 0)
		s->protect_all = true; /* WAL may be all there is */
	if (e == ERR_NONE)
		e = keep_going(s, why);
	if (e != ERR_NONE)
		totals->removed = totals->removed_bytes = 0;
	else if (!options->plan)
		e = remove_going(s, why);
	sweep_turn_end(&s->turn);
	free(s->start);
	free(s->listed);
	free(s);
	return e;
}
