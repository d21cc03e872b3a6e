/* repo/sweep_wal.c - WAL that no backup needs any more. */
#include "pgformat/history.h"
#include "repo/sweep_internal.h"
#include "repo/wal_gaps.h"
#include "repo/wal_need.h"
#include "repo/wal_object.h"

#include <stdlib.h>

enum {
	NEEDS_MAX = 1 << 20,
	LISTED_MAX = 1 << 22 /* objects looked at in one run, the oldest; 170 MB */
};

struct sweeping {
	const struct cluster *cluster;
	const struct sweep_options *options;
	struct wal_sweep_totals *totals;
	uint32_t segment_bytes;
	struct pins pins;
	struct wal_need *need; /* of backups, and of what may become one */
	size_t needs, needs_capacity;
	bool protect_all;          /* nothing may go */
	bool listed_in_part;       /* there was more */
	struct wal_listed *listed; /* what was there first; then what of it goes */
	size_t count, capacity;
	/* Of the timeline that is being walked. */
	uint32_t timeline;
	bool any_need; /* of this timeline */
	uint32_t newest_timeline;
	bool known; /* its history is */
	struct history history;
	struct sweep_turn turn;
	/* What goes behind something that stays; where the first that stays begins, by timeline. */
	struct wal_gaps gaps, first_kept;
	bool in_gap;
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

static enum err add_need(struct sweeping *s, struct wal_need need, struct error *why)
{
	enum err e = grow((void **)&s->need, s->needs, &s->needs_capacity, sizeof(*s->need), why);

	if (e != ERR_NONE)
		return e;
	if (s->needs == NEEDS_MAX)
		return error_set(why, ERR_LIMIT, "more than %d backups", NEEDS_MAX);
	s->need[s->needs++] = need;
	return ERR_NONE;
}

/* A reader may replay further than the backup it began with. */
static bool is_read(const struct pins *pins, const struct attempt *attempt)
{
	for (size_t i = 0; i < pins->count; i++) {
		const struct pin_seen *pin = &pins->pin[i];

		for (size_t j = 0; !pin->is_writer && j < pin->backups; j++)
			if (attempt_compare(&pin->backup[j], attempt) == 0)
				return true;
	}
	return false;
}

/* What the caller did not judge came behind his back: all from its start on. */
static bool is_alone(const struct sweeping *s, const struct attempt *attempt)
{
	for (size_t i = 0; i < s->options->alones; i++)
		if (attempt_compare(&s->options->alone[i], attempt) == 0)
			return !is_read(&s->pins, attempt);
	return false;
}

static enum err add_backup(void *ctx, const struct backup_info *info, struct error *why)
{
	struct sweeping *s = ctx;
	const struct summary *summary = info->summary;
	struct wal_need need = {.timeline = summary->timeline, .start = summary->start};

	if (sweep_is_without(s->options, &summary->attempt))
		return ERR_NONE;
	if (is_alone(s, &summary->attempt))
		need.stop = summary->stop;
	return add_need(s, need, why);
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
	enum err e = pins_read(s->cluster, &s->pins, why);

	if (e == ERR_NONE && sweep_is_held(s->cluster, &s->pins, s->options->force))
		s->protect_all = s->totals->held = true;
	for (size_t i = 0; e == ERR_NONE && i < s->pins.count; i++) {
		const struct pin_seen *pin = &s->pins.pin[i];

		if (pin->unreadable || (pin->is_writer && pin->start.value == 0))
			s->protect_all = true;
		else if (pin->is_writer)
			e = add_need(s, (struct wal_need){pin->timeline, pin->start, {0}}, why);
	}
	return e;
}

/* ---- one timeline after the other ---- */

/* What led to this timeline; where that is not known, every lower one may have. */
static enum err read_history(struct sweeping *s, uint32_t timeline, struct error *why)
{
	struct wal_name name = {.kind = WAL_NAME_HISTORY, .timeline = timeline};
	uint8_t *text = NULL;
	size_t len = 0;
	enum err e;

	s->known = timeline == 1;
	s->history = (struct history){.timeline = timeline};
	if (timeline == 1)
		return ERR_NONE;
	e = wal_get(s->cluster, &name, &text, &len, why);
	if (e == ERR_NONE)
		e = history_from_text(timeline, bytes_of(text, len), &s->history, why);
	free(text);
	s->known = e == ERR_NONE;
	return e == ERR_MISSING || e == ERR_CORRUPT ? ERR_NONE : e;
}

static const struct history *known_history(const struct sweeping *s)
{
	return s->known ? &s->history : NULL;
}

static enum err look_at(struct sweeping *s, uint32_t timeline, struct error *why)
{
	enum err e = read_history(s, timeline, why);

	s->timeline = timeline;
	/* The last segment there can be is needed by whatever needs the timeline to its end. */
	s->any_need = wal_need_any(s->need, s->needs, timeline, known_history(s),
				   UINT64_MAX / s->segment_bytes - 1, s->segment_bytes);
	return e;
}

static bool is_needed(const struct sweeping *s, const struct wal_listed *listed)
{
	uint64_t segno;

	if (listed->name.kind == WAL_NAME_HISTORY || s->protect_all ||
	    !wal_name_segno(&listed->name, s->segment_bytes, &segno))
		return true;
	if (!s->any_need && s->timeline == s->newest_timeline && !s->options->superseded)
		return true;
	return wal_need_any(s->need, s->needs, s->timeline, known_history(s), segno,
			    s->segment_bytes);
}

static enum err take_listed(void *ctx, const struct wal_listed *listed, struct error *why)
{
	struct sweeping *s = ctx;
	enum err e = ERR_NONE;

	s->totals->objects++;
	s->totals->bytes += listed->stored_bytes;
	s->listed_in_part = s->count == LISTED_MAX;
	if (s->listed_in_part)
		return ERR_NONE;
	e = grow((void **)&s->listed, s->count, &s->capacity, sizeof(*s->listed), why);
	if (e == ERR_NONE)
		s->listed[s->count++] = *listed;
	return e;
}

static bool any_kept(const struct sweeping *s, uint32_t timeline)
{
	return s->first_kept.count > 0 &&
	       s->first_kept.gap[s->first_kept.count - 1].timeline == timeline;
}

/* Notes a segment or slice that goes, or that stays, in the order of the listing. */
static enum err note_gap(struct sweeping *s, const struct wal_listed *listed, bool goes,
			 struct error *why)
{
	struct wal_gap here = {.timeline = listed->name.timeline};
	uint64_t segno;

	if (listed->name.kind != WAL_NAME_SEGMENT ||
	    !wal_name_segno(&listed->name, s->segment_bytes, &segno))
		return ERR_NONE;
	here.from = wal_segment_start(segno, s->segment_bytes);
	here.to = wal_segment_start(segno + 1, s->segment_bytes);
	if (!goes) {
		s->in_gap = false;
		return any_kept(s, here.timeline) ? ERR_NONE
						  : wal_gaps_add(&s->first_kept, &here, why);
	}
	if (s->in_gap && s->gaps.gap[s->gaps.count - 1].timeline == here.timeline) {
		s->gaps.gap[s->gaps.count - 1].to = here.to;
		return ERR_NONE;
	}
	/* Also behind what stays of a lower timeline: a recovery may have been about to come from there. */
	s->in_gap = s->first_kept.count > 0;
	return s->in_gap ? wal_gaps_add(&s->gaps, &here, why) : ERR_NONE;
}

static bool has_gap(const struct wal_gaps *gaps, const struct wal_gap *gap)
{
	for (size_t i = 0; i < gaps->count; i++)
		if (gaps->gap[i].timeline == gap->timeline &&
		    gaps->gap[i].from.value == gap->from.value &&
		    gaps->gap[i].to.value == gap->to.value)
			return true;
	return false;
}

/* Of those recorded before: what goes on from where a gap of this run begins, or lies behind something that
 * stays.  In another the first that stays may lie, and the whole would be forgotten with it. */
static bool is_wanted(const struct sweeping *s, size_t fresh, const struct wal_gap *old)
{
	bool wanted = s->listed_in_part;

	for (size_t i = 0; !wanted && i < fresh; i++)
		wanted = s->gaps.gap[i].timeline == old->timeline &&
			 s->gaps.gap[i].from.value == old->from.value;
	for (size_t i = 0; !wanted && i < s->first_kept.count; i++)
		wanted = s->first_kept.gap[i].timeline == old->timeline &&
			 s->first_kept.gap[i].from.value < old->from.value;
	return wanted;
}

/* Before anything goes.  Each night's gap begins where the last one ended: they are recorded as one, before their
 * parts are forgotten, or those behind a backup of years ago would be hundreds. */
static enum err record_gaps(struct sweeping *s, struct error *why)
{
	struct wal_gaps old, *gaps = &s->gaps;
	size_t fresh = gaps->count;
	enum err e = wal_gaps_read(s->cluster, &old, why);

	for (size_t i = 0; e == ERR_NONE && i < old.count; i++)
		if (is_wanted(s, fresh, &old.gap[i]))
			e = wal_gaps_add(gaps, &old.gap[i], why);
	wal_gaps_join(gaps);
	for (size_t i = 0; e == ERR_NONE && i < gaps->count; i++)
		if (!has_gap(&old, &gaps->gap[i]))
			e = wal_gap_put(s->cluster, &gaps->gap[i],
					"no backup that retention keeps needs it", why);
	for (size_t i = 0; e == ERR_NONE && i < old.count; i++)
		if (!has_gap(gaps, &old.gap[i]))
			e = wal_gap_remove(s->cluster, &old.gap[i], why);
	wal_gaps_release(&old);
	return e;
}

/* Who pinned one of those that have just their own WAL after the pins were read may have looked for gaps
 * before they were recorded (sweep_threatens): he keeps what he has seen. */
static enum err look_again(struct sweeping *s, struct error *why)
{
	const struct sweep_options *options = s->options;
	struct pins now = {.count = 0};
	enum err e = ERR_NONE;
	bool begun = false;

	if (s->count > 0 && options->alones > 0)
		e = pins_read(s->cluster, &now, why);
	for (size_t i = 0; e == ERR_NONE && i < now.count; i++)
		begun = begun || now.pin[i].unreadable;
	for (size_t i = 0; e == ERR_NONE && !begun && i < options->alones; i++)
		begun = is_read(&now, &options->alone[i]) && !is_read(&s->pins, &options->alone[i]);
	pins_release(&now);
	if (!begun)
		return e;
	observer_event(
		s->cluster->repository->env->observer, LEVEL_INFO,
		"a restore began meanwhile that may need WAL which was about to go: it is left "
		"to a later expire");
	s->count = 0;
	return ERR_NONE;
}

/* Leaves in the list what nothing needs. */
static enum err keep_going(struct sweeping *s, struct error *why)
{
	size_t going = 0;

	for (size_t i = 0; i < s->count; i++) {
		const struct wal_listed *listed = &s->listed[i];
		enum err e = ERR_NONE;
		bool goes;

		if (listed->name.timeline != s->timeline)
			e = look_at(s, listed->name.timeline, why);
		if (e != ERR_NONE)
			return e;
		goes = !is_needed(s, listed);
		e = note_gap(s, listed, goes, why);
		if (e != ERR_NONE)
			return e;
		if (!goes)
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
	if (e == ERR_NONE && s->needs == 0 && !options->superseded)
		s->protect_all = true; /* WAL may be all there is */
	if (e == ERR_NONE)
		e = keep_going(s, why);
	if (e != ERR_NONE)
		totals->removed = totals->removed_bytes = 0;
	else if (!options->plan)
		e = record_gaps(s, why);
	if (e == ERR_NONE && !options->plan)
		e = look_again(s, why);
	if (e == ERR_NONE && !options->plan)
		e = remove_going(s, why);
	wal_gaps_release(&s->gaps);
	wal_gaps_release(&s->first_kept);
	sweep_turn_end(&s->turn);
	pins_release(&s->pins);
	free(s->need);
	free(s->listed);
	free(s);
	return e;
}
