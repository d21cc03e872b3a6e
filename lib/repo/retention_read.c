/* repo/retention_read.c - see retention_read.h. */
#include "repo/retention_read.h"
#include "pgformat/history.h"
#include "repo/manifest.h"
#include "repo/verified.h"
#include "repo/wal_object.h"

#include <stdlib.h>

enum { TIMELINES_MAX = 65536 };

/* How much of a backup's own WAL the listing has shown so far. */
struct own_wal {
	uint64_t next, last; /* segments */
	uint64_t covered;    /* bytes of `next`, by slices */
};

struct reading {
	const struct cluster *cluster;
	struct retention_backup *backup;
	struct own_wal *own; /* of each backup */
	size_t backups;
	struct retention_lineage *lineage;
	size_t first; /* of this system's timelines */
	uint32_t segment_bytes;
	struct history history;
};

void retention_lineage_release(struct retention_lineage *l)
{
	free(l->timeline);
	*l = (struct retention_lineage){.count = 0};
}

static bool is_ours(const struct reading *r, size_t i)
{
	return r->backup[i].system_identifier == r->cluster->system_identifier;
}

/* ---- timelines ---- */

static struct retention_timeline *find(const struct reading *r, uint32_t timeline)
{
	for (size_t i = r->first; i < r->lineage->count; i++)
		if (r->lineage->timeline[i].timeline == timeline)
			return &r->lineage->timeline[i];
	return NULL;
}

static enum err add_timeline(struct reading *r, uint32_t timeline, uint32_t parent,
			     struct lsn begin, struct error *why)
{
	struct retention_lineage *l = r->lineage;
	struct retention_timeline *known = find(r, timeline);

	if (known != NULL) {
		if (known->unknown && parent != 0) {
			known->parent = parent;
			known->begin = begin;
			known->unknown = false;
		}
		return ERR_NONE;
	}
	if (l->count - r->first == TIMELINES_MAX)
		return error_set(why, ERR_LIMIT, "more than %d timelines", TIMELINES_MAX);
	if (l->count == l->capacity) {
		size_t more = l->capacity == 0 ? 16 : 2 * l->capacity;
		struct retention_timeline *bigger =
			reallocarray(l->timeline, more, sizeof(*bigger));

		if (bigger == NULL)
			return error_set(why, ERR_MEMORY, "no memory for %zu timelines", more);
		l->timeline = bigger;
		l->capacity = more;
	}
	l->timeline[l->count++] =
		(struct retention_timeline){.system_identifier = r->cluster->system_identifier,
					    .timeline = timeline,
					    .parent = parent,
					    .begin = begin,
					    .unknown = timeline > 1 && parent == 0};
	return ERR_NONE;
}

static enum err take_timeline(void *ctx, uint32_t timeline, bool is_history, struct error *why)
{
	(void)is_history;
	return add_timeline(ctx, timeline, 0, lsn_of(0), why);
}

/* A history names all that led to its timeline, also those that have nothing else here. */
static enum err take_history(struct reading *r, uint32_t timeline, struct error *why)
{
	struct wal_name name = {.kind = WAL_NAME_HISTORY, .timeline = timeline};
	const struct history *h = &r->history;
	uint8_t *text = NULL;
	size_t len = 0;
	enum err e = wal_get(r->cluster, &name, &text, &len, why);

	if (e == ERR_NONE)
		e = history_from_text(timeline, bytes_of(text, len), &r->history, why);
	free(text);
	if (e == ERR_MISSING || e == ERR_CORRUPT)
		return ERR_NONE; /* it stays unknown */
	for (size_t i = 0; e == ERR_NONE && i < h->count; i++) {
		bool first = i == 0;

		e = add_timeline(r, h->entry[i].timeline, first ? 0 : h->entry[i - 1].timeline,
				 first ? lsn_of(0) : h->entry[i - 1].end, why);
	}
	if (e == ERR_NONE && h->count > 0)
		e = add_timeline(r, timeline, h->entry[h->count - 1].timeline,
				 h->entry[h->count - 1].end, why);
	return e;
}

static enum err read_timelines(struct reading *r, struct error *why)
{
	enum err e = wal_list_timelines(r->cluster, take_timeline, r, why);

	for (size_t i = 0; e == ERR_NONE && i < r->backups; i++)
		if (is_ours(r, i))
			e = add_timeline(r, r->backup[i].timeline, 0, lsn_of(0), why);
	for (size_t i = r->first; e == ERR_NONE && i < r->lineage->count; i++)
		if (r->lineage->timeline[i].unknown)
			e = take_history(r, r->lineage->timeline[i].timeline, why);
	return e;
}

/* ---- WAL ---- */

/* Objects come in order, a whole segment before slices of it. */
static void follow(struct own_wal *own, const struct retention_backup *b,
		   const struct wal_listed *listed, uint64_t segno, uint32_t segment_bytes)
{
	uint64_t first = wal_segment_start(segno, segment_bytes).value;
	uint64_t end =
		b->stop.value - first < segment_bytes ? b->stop.value - first : segment_bytes;

	if (segno != own->next || own->next > own->last)
		return;
	if (!listed->slice)
		own->covered = segment_bytes;
	else if (listed->from <= own->covered && listed->to > own->covered)
		own->covered = listed->to;
	if (own->covered >= end) {
		own->next++;
		own->covered = 0;
	}
}

static enum err take_wal(void *ctx, const struct wal_listed *listed, struct error *why)
{
	struct reading *r = ctx;
	struct retention_timeline *t = find(r, listed->name.timeline);
	uint64_t segno;

	(void)why; /* nothing here can fail */
	if (listed->name.kind == WAL_NAME_HISTORY)
		return ERR_NONE;
	/* One that came since the timelines were listed is looked at by the next run. */
	if (t != NULL && listed->stored_at_us == 0)
		t->last_us = INT64_MAX;
	else if (t != NULL && listed->stored_at_us > t->last_us)
		t->last_us = listed->stored_at_us;
	if (listed->name.kind != WAL_NAME_SEGMENT ||
	    !wal_name_segno(&listed->name, r->segment_bytes, &segno))
		return ERR_NONE;
	for (size_t i = 0; i < r->backups; i++)
		if (is_ours(r, i) && r->backup[i].timeline == listed->name.timeline)
			follow(&r->own[i], &r->backup[i], listed, segno, r->segment_bytes);
	return ERR_NONE;
}

static enum err read_wal(struct reading *r, struct error *why)
{
	enum err e;

	for (size_t i = 0; i < r->backups; i++) {
		const struct retention_backup *b = &r->backup[i];

		r->own[i].next = wal_segno(b->start, r->segment_bytes);
		r->own[i].last = wal_segno(lsn_of(b->stop.value - 1), r->segment_bytes);
	}
	e = wal_list(r->cluster, take_wal, r, why);
	for (size_t i = 0; e == ERR_NONE && i < r->backups; i++)
		if (is_ours(r, i) && r->own[i].next <= r->own[i].last)
			r->backup[i].unsound = true;
	return e;
}

/* ---- verification ---- */

static enum err is_flagged(const struct reading *r, const struct verified *verified,
			   const struct attempt *attempt, bool *out, struct error *why)
{
	struct manifest *manifest = NULL;
	enum err e = manifest_read(r->cluster, attempt, &manifest, why);

	if (e == ERR_CORRUPT || e == ERR_WRONG_KEY)
		*out = true;
	for (uint32_t i = 0; e == ERR_NONE && i < manifest->packs; i++)
		*out = *out || verified_pack_flagged(verified, &manifest->pack[i].id);
	manifest_free(manifest);
	/* One that went meanwhile is nobody's any more. */
	return e == ERR_CORRUPT || e == ERR_WRONG_KEY || e == ERR_MISSING ? ERR_NONE : e;
}

static enum err read_verified(struct reading *r, struct error *why)
{
	struct verified *verified = NULL;
	enum err e = verified_read(r->cluster, &verified, why);

	for (size_t i = 0; e == ERR_NONE && i < r->backups; i++) {
		struct retention_backup *b = &r->backup[i];

		if (!is_ours(r, i))
			continue;
		b->verified_us = verified_backup_us(verified, &b->attempt);
		if (b->verified_us == 0 && verified_any_flagged(verified))
			e = is_flagged(r, verified, &b->attempt, &b->unsound, why);
	}
	verified_free(verified);
	return e;
}

enum err retention_read(const struct cluster *c, struct retention_backup *backup, size_t backups,
			struct retention_lineage *lineage, struct error *why)
{
	struct reading *r = calloc(1, sizeof(*r));
	struct own_wal *own = calloc(backups + 1, sizeof(*own));
	struct identity identity;
	enum err e;

	if (r == NULL || own == NULL) {
		e = error_set(why, ERR_MEMORY, "no memory to look at %zu backups", backups);
		goto out;
	}
	*r = (struct reading){.cluster = c,
			      .backup = backup,
			      .own = own,
			      .backups = backups,
			      .lineage = lineage,
			      .first = lineage->count};
	e = identity_read(c, &identity, why);
	r->segment_bytes = e == ERR_NONE ? identity.wal_segment_bytes : 0;
	if (e == ERR_NONE)
		e = read_timelines(r, why);
	if (e == ERR_NONE)
		e = read_wal(r, why);
	if (e == ERR_NONE)
		e = read_verified(r, why);
out:
	free(own);
	free(r);
	return e;
}
