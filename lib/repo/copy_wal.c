/* repo/copy_wal.c - the WAL of a cluster: what the target lacks of it, one folder (4 GiB of WAL) after the
 * other, so that memory does not grow with the archive.
 */
#include "repo/copy_internal.h"
#include "repo/decision_internal.h"
#include "repo/wal_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { FOLDER_MAX = 32, FOLDERS_MAX = 1 << 20 /* of one timeline: 4 PiB of WAL */ };

/* What is at the target before it was put by us may not have come to its last sync. */
static enum err confirm(struct copying *c, const char *key, struct error *why)
{
	enum err e = store_confirm(c->to->repository->store, key, why);

	return e == ERR_MISSING ? ERR_NONE : e; /* copy_check_wal looks once more */
}

static enum err copy_one(struct copying *c, const char *key, enum object_class class,
			 struct error *why)
{
	enum err e = copy_sealed(c, key, class, why);

	if (copy_is_damage(c, e, key, why))
		return ERR_NONE;
	/* Swept from the source meanwhile; or the archiver has just brought it to the target. */
	if (e == ERR_MISSING || e == ERR_EXISTS)
		return ERR_NONE;
	c->totals->wal += e == ERR_NONE;
	return e;
}

static enum err copy_listed(struct copying *c, const char *key, const struct wal_listed *listed,
			    struct wal_name *whole, struct error *why)
{
	bool superseded = listed->slice && listed->name.log == whole->log &&
			  listed->name.seg == whole->seg &&
			  listed->name.timeline == whole->timeline;

	/* A segment's own name sorts before those of its slices. */
	if (!listed->slice && listed->name.kind == WAL_NAME_SEGMENT)
		*whole = listed->name;
	if (superseded)
		return ERR_NONE;
	return copy_one(c, key, listed->slice ? OBJECT_WAL_SLICE : wal_class_of(listed->name.kind),
			why);
}

static bool is_needed(const struct copying *c, const struct wal_name *name)
{
	uint64_t segno;

	return !wal_name_segno(name, c->segment_bytes, &segno) ||
	       wal_segment_start(segno + 1, c->segment_bytes).value > c->wal_from.value;
}

/* Both listings ascend. */
static enum err copy_lacking(struct copying *c, const char *folder, const struct key_list *from,
			     const struct key_list *to, struct error *why)
{
	struct wal_name whole = {.timeline = 0};
	enum err e = ERR_NONE;

	for (size_t i = 0, k = 0; e == ERR_NONE && i < from->count; i++) {
		struct wal_listed listed;
		char key[STORE_KEY_MAX];

		while (k < to->count && strcmp(to->key[k], from->key[i]) < 0)
			k++;
		if (!wal_listed_decode(from->key[i], &listed) ||
		    snprintf(key, sizeof(key), "%s%s%s", c->from->prefix, folder, from->key[i]) >=
			    (int)sizeof(key))
			continue; /* nothing of ours; verify tells of it */
		if (!is_needed(c, &listed.name))
			continue;
		if (k == to->count || strcmp(to->key[k], from->key[i]) != 0)
			e = copy_listed(c, key, &listed, &whole, why);
		else if (!listed.slice && listed.name.kind == WAL_NAME_SEGMENT)
			whole = listed.name;
	}
	return e;
}

static enum err copy_folder(struct copying *c, const char *folder, struct error *why)
{
	struct key_list from = {.count = 0}, to = {.count = 0};
	enum err e = key_list_read(c->from, folder, &from, why);

	if (e == ERR_NONE)
		e = key_list_read(c->to, folder, &to, why);
	if (e == ERR_NONE)
		e = copy_lacking(c, folder, &from, &to, why);
	key_list_release(&from);
	key_list_release(&to);
	return e;
}

/* ---- one timeline ---- */

struct logs {
	uint32_t *log; /* owned */
	size_t count, capacity;
};

static enum err add_number(struct logs *l, uint32_t number, struct error *why)
{
	if (l->count == FOLDERS_MAX)
		return error_set(why, ERR_LIMIT, "more than %d folders of WAL", FOLDERS_MAX);
	if (l->count == l->capacity) {
		size_t more = l->capacity == 0 ? 64 : 2 * l->capacity;
		uint32_t *bigger = reallocarray(l->log, more, sizeof(*bigger));

		if (bigger == NULL)
			return error_set(why, ERR_MEMORY, "no memory for a list of WAL");
		l->log = bigger;
		l->capacity = more;
	}
	l->log[l->count++] = number;
	return ERR_NONE;
}

static enum err add_log(void *ctx, const char *part, struct error *why)
{
	char *rest;
	unsigned long number = strtoul(part, &rest, 16);

	if (strspn(part, "0123456789ABCDEF") != 8 || *rest != '\0')
		return ERR_NONE; /* nothing of ours */
	return add_number(ctx, (uint32_t)number, why);
}

static enum err copy_timeline(struct copying *c, uint32_t timeline, struct error *why)
{
	char prefix[STORE_KEY_MAX], folder[FOLDER_MAX];
	struct logs logs = {.count = 0};
	enum err e;

	(void)snprintf(prefix, sizeof(prefix), "%swal/%08" PRIX32 "/", c->from->prefix,
		       timeline); /* fits by its parts */
	e = store_parts(c->from->repository->store, prefix, add_log, &logs, why);
	for (size_t i = 0; e == ERR_NONE && i < logs.count; i++) {
		if (logs.log[i] < c->wal_from.value >> 32)
			continue; /* all of it lies before what is needed */
		(void)snprintf(folder, sizeof(folder), "wal/%08" PRIX32 "/%08" PRIX32 "/", timeline,
			       logs.log[i]); /* likewise */
		e = copy_folder(c, folder, why);
	}
	free(logs.log);
	return e;
}

/* ---- all of them ---- */

static enum err copy_history(struct copying *c, uint32_t timeline, struct error *why)
{
	struct wal_name name = {.kind = WAL_NAME_HISTORY, .timeline = timeline};
	struct store_object object;
	char key[STORE_KEY_MAX];
	enum err e;

	wal_key(c->to, &name, key);
	e = store_stat(c->to->repository->store, key, &object, why);
	if (e == ERR_NONE)
		return confirm(c, key, why);
	return e == ERR_MISSING ? copy_one(c, key, OBJECT_WAL_SMALL, why) : e;
}

struct timelines {
	struct logs with_history, with_wal;
};

static enum err add_timeline(void *ctx, uint32_t timeline, bool is_history, struct error *why)
{
	struct timelines *t = ctx;

	return add_number(is_history ? &t->with_history : &t->with_wal, timeline, why);
}

/* ---- what the source lacks on purpose ---- */

/* One gap of the source, held against what a repository has; in segments. */
struct crossing {
	const struct wal_gap *gap;
	uint32_t segment_bytes;
	uint64_t next, end; /* the first not looked at yet; the first behind the gap */
	bool over;
	struct wal_gaps lacking; /* owned: what that lacks of it */
};

/* Of the gap all from `next` up to `segno`. */
static enum err add_lacking(struct crossing *x, uint64_t segno, struct error *why)
{
	struct wal_gap part = {.timeline = x->gap->timeline,
			       .from = wal_segment_start(x->next, x->segment_bytes),
			       .to = wal_segment_start(segno, x->segment_bytes)};

	return x->next < segno ? wal_gaps_add(&x->lacking, &part, why) : ERR_NONE;
}

/* A slice is no more than a segment's beginning: the rest is lacking. */
static enum err cross(void *ctx, const struct wal_listed *listed, struct error *why)
{
	struct crossing *x = ctx;
	uint64_t segno;
	enum err e;

	if (listed->slice || listed->name.kind != WAL_NAME_SEGMENT ||
	    !wal_name_segno(&listed->name, x->segment_bytes, &segno))
		return ERR_NONE;
	x->over = segno >= x->end;
	if (x->over)
		return error_set(why, ERR_EXISTS, "past the gap"); /* ends the walk */
	e = add_lacking(x, segno, why);
	x->next = segno + 1;
	return e;
}

/* Adds to `out`, which is released also after a failure. */
static enum err find_lacking(const struct cluster *cluster, const struct wal_gap *gap,
			     uint32_t segment_bytes, struct wal_gaps *out, struct error *why)
{
	struct crossing x = {.gap = gap,
			     .segment_bytes = segment_bytes,
			     .next = wal_segno(gap->from, segment_bytes),
			     .end = wal_segno(gap->to, segment_bytes),
			     .lacking = *out};
	enum err e =
		wal_list_timeline(cluster, gap->timeline, x.next, segment_bytes, cross, &x, why);

	if (e == ERR_NONE || x.over)
		e = add_lacking(&x, x.end, why);
	*out = x.lacking;
	return e;
}

/* What lay open at the target before this run, between WAL of its timeline and behind the start of a backup there: of
 * that verify tells as a loss, and it stays one.  The copy that brought what is behind it brought all that the source
 * had, and noted what that had not. */
static bool was_lost(const struct copying *c, const struct wal_gap *part)
{
	bool wanted = false, between = false;

	for (size_t i = 0; i < c->begins_there.count; i++)
		wanted = wanted || (c->begins_there.gap[i].timeline == part->timeline &&
				    c->begins_there.gap[i].from.value < part->from.value);
	for (size_t i = 0; i < c->wal_there.count; i++)
		between = between || (c->wal_there.gap[i].timeline == part->timeline &&
				      c->wal_there.gap[i].from.value < part->from.value &&
				      c->wal_there.gap[i].to.value > part->to.value);
	return wanted && between;
}

/* What the target still has of it is no gap there: were it lost later, verify would be silent.  Nor is, `before` the
 * WAL is copied, what will come. */
static enum err copy_gap(struct copying *c, const struct wal_gap *gap, const struct wal_gaps *known,
			 bool before, struct error *why)
{
	struct wal_gaps there = {.count = 0}, both = {.count = 0};
	const struct wal_gaps *lacking = before ? &both : &there;
	enum err e = find_lacking(c->to, gap, c->segment_bytes, &there, why);

	for (size_t i = 0; before && e == ERR_NONE && i < there.count; i++)
		e = find_lacking(c->from, &there.gap[i], c->segment_bytes, &both, why);
	for (size_t i = 0; e == ERR_NONE && i < lacking->count; i++) {
		const struct wal_gap *part = &lacking->gap[i];

		if (wal_gaps_cover(known, part) || was_lost(c, part))
			continue;
		e = wal_gap_put(c->to, part, "where it was copied from retention had removed it",
				why);
		c->totals->others += e == ERR_NONE;
	}
	wal_gaps_release(&there);
	wal_gaps_release(&both);
	return e;
}

/* Damaged ones are verify's to tell, at the source. */
static enum err copy_gaps(struct copying *c, bool before, struct error *why)
{
	struct wal_gaps there = {.count = 0}, known = {.count = 0};
	enum err e = wal_gaps_read(c->from, &there, why);

	if (e == ERR_NONE)
		e = wal_gaps_read(c->to, &known, why);
	for (size_t i = 0; e == ERR_NONE && i < there.count; i++)
		/* No backup at the target meets one that lies before all of them. */
		if (there.gap[i].to.value > c->wal_from.value &&
		    !wal_gaps_cover(&known, &there.gap[i]))
			e = copy_gap(c, &there.gap[i], &known, before, why);
	wal_gaps_release(&there);
	wal_gaps_release(&known);
	return e;
}

static enum err see_there(void *ctx, const struct wal_listed *listed, struct error *why)
{
	struct copying *c = ctx;
	struct wal_gaps *there = &c->wal_there;
	struct wal_gap here = {.timeline = listed->name.timeline};
	uint64_t segno;

	if (listed->slice || listed->name.kind != WAL_NAME_SEGMENT ||
	    !wal_name_segno(&listed->name, c->segment_bytes, &segno))
		return ERR_NONE;
	here.from = wal_segment_start(segno, c->segment_bytes);
	here.to = wal_segment_start(segno + 1, c->segment_bytes);
	if (there->count == 0 || there->gap[there->count - 1].timeline != here.timeline)
		return wal_gaps_add(there, &here, why);
	there->gap[there->count - 1].to = here.to;
	return ERR_NONE;
}

/* ---- all of it ---- */

enum err copy_wal(struct copying *c, struct error *why)
{
	struct timelines t = {.with_wal = {.count = 0}};
	enum err e = wal_list(c->to, see_there, c, why);

	c->progress = (struct progress){.phase = "WAL"};
	/* Before WAL comes that lies behind them: a copy that is killed in between leaves no hole of its own. */
	if (e == ERR_NONE)
		e = copy_gaps(c, true, why);
	if (e == ERR_NONE)
		e = wal_list_timelines(c->from, add_timeline, &t, why);
	/* First what says how the timelines hang together. */
	for (size_t i = 0; e == ERR_NONE && i < t.with_history.count; i++)
		e = copy_history(c, t.with_history.log[i], why);
	for (size_t i = 0; e == ERR_NONE && i < t.with_wal.count; i++)
		e = copy_timeline(c, t.with_wal.log[i], why);
	/* Those that an expire has recorded at the source meanwhile. */
	if (e == ERR_NONE)
		e = copy_gaps(c, false, why);
	free(t.with_history.log);
	free(t.with_wal.log);
	return e;
}

/* ---- W5 ---- */

struct confirming {
	struct copying *copying;
	uint64_t last; /* segment */
	uint32_t segment_bytes;
};

static enum err confirm_listed(void *ctx, const struct wal_listed *listed, struct error *why)
{
	struct confirming *f = ctx;
	char key[STORE_KEY_MAX];
	uint64_t segno;

	if (listed->name.kind != WAL_NAME_SEGMENT ||
	    !wal_name_segno(&listed->name, f->segment_bytes, &segno) || segno > f->last)
		return ERR_NONE;
	if (listed->slice)
		wal_slice_key(f->copying->to, &listed->name, listed->from, listed->to, key);
	else
		wal_key(f->copying->to, &listed->name, key);
	return confirm(f->copying, key, why);
}

enum err copy_check_wal(struct copying *c, const struct summary *s, struct error *why)
{
	struct confirming f = {.copying = c,
			       .last = wal_segno(lsn_of(s->stop.value - (s->stop.value > 0)),
						 s->wal_segment_bytes),
			       .segment_bytes = s->wal_segment_bytes};
	char lsn[LSN_TEXT_MAX];
	struct lsn reach;
	enum err e =
		wal_list_timeline(c->to, s->timeline, wal_segno(s->start, s->wal_segment_bytes),
				  s->wal_segment_bytes, confirm_listed, &f, why);

	if (e == ERR_NONE)
		e = wal_reaches(c->to, s->timeline, s->start, s->wal_segment_bytes, &reach, why);
	if (e != ERR_NONE || reach.value >= s->stop.value)
		return e;
	lsn_to_text(reach, lsn);
	return error_set(why, ERR_MISSING,
			 "the WAL that it needs is in %s only up to %s: the source lacks the rest, "
			 "or it is damaged there",
			 c->to->repository->store->label, lsn);
}
