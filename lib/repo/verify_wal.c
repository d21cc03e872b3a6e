/* repo/verify_wal.c - the WAL of a cluster: every object opens, no hole from a backup's start on.
 *
 * WAL is listed as a whole in every run, so that a hole is seen at once.  Whole segments are read when
 * they are due; what else there is (slices, history files, partial segments) is little, and is
 * read every time.
 */
#include "repo/verify_internal.h"
#include "repo/wal_gaps.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Where one backup needs WAL from. */
struct need {
	struct verify_backup *backup;
	uint64_t first, last; /* segments from its start to its stop */
	uint64_t next;        /* segment expected next while walking; 0 = not begun */
	uint64_t reached;     /* LSN behind the last segment or slice seen */
};

struct wal_run {
	struct verify_run *run;
	enum verify_wal_part part;
	struct need *need; /* owned; one for each backup in scope */
	size_t needs;
	uint32_t segment_bytes;    /* of the cluster; 0 = nobody knows */
	struct wal_gaps gaps;      /* that are known, and no damage */
	uint32_t awaited_timeline; /* of the hole told of last that may be filled */
	uint64_t awaited_segno;
	struct verified_list wal; /* of struct verified_wal: what is known after this walk */
};

/* A backup from which recovery goes on without what comes before segment `first`: the oldest that begins
 * there; else the newest of all, where that is of a later timeline, which the server went on to. */
static bool newer_backup(const struct verify_run *r, uint32_t timeline, uint64_t first,
			 char out[ATTEMPT_TEXT_MAX])
{
	const struct verify_backup *found = NULL;

	for (size_t i = 0; i < r->backups && found == NULL; i++) {
		const struct verify_backup *b = &r->backup[i];

		if (!b->unreadable && b->timeline == timeline && b->segment_bytes != 0 &&
		    wal_segno(b->start, b->segment_bytes) >= first)
			found = b;
	}
	if (found == NULL && r->backups > 0 && !r->backup[r->backups - 1].unreadable &&
	    r->backup[r->backups - 1].timeline > timeline)
		found = &r->backup[r->backups - 1];
	if (found != NULL)
		attempt_to_text(&found->attempt, out);
	return found != NULL;
}

static enum err note_needs(struct wal_run *w, struct error *why)
{
	struct verify_run *r = w->run;

	w->need = calloc(r->backups + 1, sizeof(*w->need));
	if (w->need == NULL)
		return error_set(why, ERR_MEMORY, "verify: out of memory");
	for (size_t i = 0; i < r->backups; i++) {
		struct verify_backup *backup = &r->backup[i];

		if (!backup->in_scope || backup->unreadable || backup->segment_bytes == 0)
			continue;
		backup->wal_us = INT64_MAX;
		w->need[w->needs++] = (struct need){
			.backup = backup,
			.first = wal_segno(backup->start, backup->segment_bytes),
			.last = wal_segno(
				(struct lsn){backup->stop.value - (backup->stop.value > 0)},
				backup->segment_bytes),
		};
	}
	return ERR_NONE;
}

/* ---- reading ---- */

/* What is listed and can't be found a moment later was removed by an expiry. */
static enum err is_gone(struct wal_run *w, const char *key, bool *out, struct error *why)
{
	struct store_object object;
	enum err e = store_stat(w->run->cluster->repository->store, key, &object, why);

	*out = e == ERR_MISSING;
	return e == ERR_MISSING ? ERR_NONE : e;
}

static void report_object(const struct wal_run *w, const struct wal_listed *listed, const char *key,
			  const char *text)
{
	char newer[ATTEMPT_TEXT_MAX];
	uint64_t segno;
	bool passed = listed->name.kind == WAL_NAME_SEGMENT && w->segment_bytes != 0 &&
		      wal_name_segno(&listed->name, w->segment_bytes, &segno) &&
		      newer_backup(w->run, listed->name.timeline, segno + 1, newer);

	verify_report(w->run, &(struct verify_finding){
				      .key = key, .text = text, .newer = passed ? newer : NULL});
}

/* Unknown: gone meanwhile, or another key may open it. */
enum wal_state { WAL_WHOLE, WAL_DAMAGED, WAL_UNKNOWN };

/* Reads one object whole.  Slices are read by name as what they are. */
static enum err read_object(struct wal_run *w, const struct wal_listed *listed,
			    enum wal_state *state, struct error *why)
{
	const struct cluster *c = w->run->cluster;
	uint8_t *data = NULL;
	size_t len = 0;
	uint32_t valid = 0;
	char key[STORE_KEY_MAX], text[sizeof(why->text)];
	bool gone, sealed;
	enum err e;

	wal_key(c, &listed->name, key);
	*state = WAL_WHOLE;
	if (listed->slice && (w->segment_bytes == 0 || listed->from != 0))
		return ERR_NONE; /* read with the one it continues */
	if (listed->slice) {
		wal_slice_key(c, &listed->name, listed->from, listed->to, key);
		e = wal_get_sliced(c, &listed->name, w->segment_bytes, &data, &valid, why);
	} else {
		e = wal_get(c, &listed->name, &data, &len, why);
	}
	free(data);
	if (e == ERR_NONE)
		verify_count_read(w->run, listed->stored_bytes);
	if (!verify_is_damage(e))
		return e;
	sealed = e == ERR_WRONG_KEY;
	memcpy(text, why->text, sizeof(text));
	e = is_gone(w, key, &gone, why);
	*state = e == ERR_NONE && !gone && !sealed ? WAL_DAMAGED : WAL_UNKNOWN;
	if (e == ERR_NONE && !gone)
		report_object(w, listed, key, text);
	return e;
}

/* Adds to what is known; neighbours of one time become one entry. */
static enum err know(struct wal_run *w, const struct wal_listed *listed, uint64_t segno, int64_t us,
		     struct error *why)
{
	struct verified_wal *last = (struct verified_wal *)w->wal.at + w->wal.count;
	struct verified_wal *more;

	if (us == 0)
		return ERR_NONE;
	if (w->wal.count > 0 && last[-1].timeline == listed->name.timeline &&
	    last[-1].last + 1 == segno && last[-1].us == us) {
		last[-1].last = segno;
		return ERR_NONE;
	}
	if (w->wal.count == w->wal.max) {
		size_t max = w->wal.max == 0 ? 64 : w->wal.max * 2;

		more = reallocarray(w->wal.at, max, sizeof(*more));
		if (more == NULL)
			return error_set(why, ERR_MEMORY, "verify: out of memory");
		w->wal.at = more;
		w->wal.max = max;
	}
	more = w->wal.at;
	more[w->wal.count++] =
		(struct verified_wal){listed->name.timeline, w->segment_bytes, segno, segno, us};
	return ERR_NONE;
}

static bool in_scope(const struct wal_run *w, uint32_t timeline, uint64_t segno)
{
	if (w->run->options->only == NULL)
		return true;
	for (size_t i = 0; i < w->needs; i++)
		if (w->need[i].backup->timeline == timeline && segno >= w->need[i].first &&
		    segno <= w->need[i].last)
			return true;
	return false;
}

/* A whole segment: reads it if that is due in this part; `us` is when it was last proven then. */
static enum err look_at_segment(struct wal_run *w, const struct wal_listed *listed, uint64_t segno,
				enum wal_state *state, int64_t *us, struct error *why)
{
	struct verify_run *r = w->run;
	const struct verified *known = w->part == VERIFY_WAL_NEW ? r->before : r->now;
	bool due, scope = in_scope(w, listed->name.timeline, segno);
	enum err e = ERR_NONE;

	*us = verified_wal_us(known, listed->name.timeline, w->segment_bytes, segno);
	due = scope && *us != r->started_us && verify_is_due(r, *us) &&
	      (*us == 0) == (w->part == VERIFY_WAL_NEW);
	if (due && verify_is_over(r)) {
		r->totals->wal_left++;
	} else if (due) {
		e = read_object(w, listed, state, why);
		r->totals->wal_segments++;
		r->totals->objects++;
		*us = *state == WAL_WHOLE ? r->started_us : 0;
		if (e == ERR_NONE && *state == WAL_DAMAGED)
			e = verified_add_segment(r->now,
						 &(struct verified_segment){listed->name.timeline,
									    w->segment_bytes, segno,
									    r->started_us},
						 why);
	} else if (scope && w->part == VERIFY_WAL_OLD && *us != r->started_us && *us != 0) {
		r->totals->wal_lately++;
	}
	return e == ERR_NONE ? know(w, listed, segno, *us, why) : e;
}

/* ---- continuity ---- */

/* A hole, asked about again. */
struct hole {
	uint32_t segment_bytes;
	uint64_t next, end; /* segments; `next` is the first not seen yet */
	uint64_t missing;
	const struct verify_streamed *streamed;
	bool passed; /* an archiver has delivered what comes behind it */
};

static enum err fill_hole(void *ctx, const struct wal_listed *listed, struct error *why)
{
	struct hole *h = ctx;
	uint64_t segno;

	(void)why; /* nothing here can fail */
	if (listed->slice || listed->name.kind != WAL_NAME_SEGMENT ||
	    !wal_name_segno(&listed->name, h->segment_bytes, &segno) || segno < h->next)
		return ERR_NONE;
	if (segno >= h->end) {
		h->passed = h->passed || !verify_is_streamed(h->streamed, listed->name.timeline,
							     segno, h->segment_bytes, INT64_MIN);
		return ERR_NONE;
	}
	h->missing += segno - h->next;
	h->next = segno + 1;
	return ERR_NONE;
}

/* What is listed may be read for hours before the listing goes on, and an archiver goes on
 * meanwhile: how many segments before `segno` are missing now, and whether they may still come. */
static enum err look_again(const struct wal_run *w, const struct need *need, uint64_t segno,
			   uint64_t *missing, bool *awaited, struct error *why)
{
	const struct verify_backup *backup = need->backup;
	struct verify_streamed streamed = {.count = 0};
	struct hole h = {.segment_bytes = backup->segment_bytes,
			 .next = need->next,
			 .end = segno,
			 .streamed = &streamed};
	int64_t now_us = clock_now_us(w->run->cluster->repository->env->clock);
	enum err e = verify_streamed_read(w->run->cluster, &streamed, why);

	if (e == ERR_NONE)
		e = wal_list_timeline(w->run->cluster, backup->timeline, need->next,
				      backup->segment_bytes, fill_hole, &h, why);
	*missing = h.missing + (h.end - h.next);
	/* Its own WAL a backup has before it is one. */
	*awaited = need->next > need->last && !h.passed &&
		   verify_is_streamed(&streamed, backup->timeline, segno, backup->segment_bytes,
				      now_us - VERIFY_AWAIT_US);
	verify_streamed_release(&streamed);
	return e;
}

/* Once for all backups before it. */
static void tell_awaited(struct wal_run *w, const struct wal_listed *before, uint64_t segno,
			 uint64_t segments)
{
	char text[WAL_NAME_MAX];

	if (w->awaited_timeline == before->name.timeline && w->awaited_segno == segno)
		return;
	w->awaited_timeline = before->name.timeline;
	w->awaited_segno = segno;
	w->run->totals->wal_awaited += segments;
	wal_name_to_text(&before->name, text);
	observer_event(w->run->cluster->repository->env->observer, LEVEL_WARNING,
		       "%" PRIu64 " WAL segment(s) before %s are not archived yet, which a backup "
		       "streamed ahead of the archiver; they are a hole if they have not come %d "
		       "minutes after that began",
		       segments, text, (int)(VERIFY_AWAIT_US / 60000000));
}

static void report_hole(struct wal_run *w, const struct need *need, const struct wal_listed *before,
			uint64_t segno, uint64_t segments)
{
	char text[200], key[STORE_KEY_MAX], backup[ATTEMPT_TEXT_MAX], newer[ATTEMPT_TEXT_MAX];
	bool passed = newer_backup(w->run, need->backup->timeline, segno, newer);

	attempt_to_text(&need->backup->attempt, backup);
	wal_key(w->run->cluster, &before->name, key);
	(void)snprintf(text, sizeof(text),
		       "a hole of %" PRIu64 " segment(s) before it: the backup can't be restored "
		       "past it%s%s%s",
		       segments, passed ? "; backup " : "", passed ? newer : "",
		       passed ? " does without" : ""); /* fits */
	verify_report(w->run, &(struct verify_finding){.key = key,
						       .backup = backup,
						       .text = text,
						       .newer = passed ? newer : NULL});
	need->backup->wal_bad = need->backup->wal_bad || need->next <= need->last;
}

/* Behind the backup's own WAL: what a sweep has taken, and said so. */
static bool is_known(const struct wal_run *w, const struct need *need, uint64_t segno)
{
	uint32_t bytes = need->backup->segment_bytes;
	struct wal_gap hole = {.timeline = need->backup->timeline,
			       .from = wal_segment_start(need->next, bytes),
			       .to = wal_segment_start(segno, bytes)};

	return need->next > need->last && wal_gaps_cover(&w->gaps, &hole);
}

/* The listing jumps to `segno`. */
static enum err meet_hole(struct wal_run *w, const struct need *need,
			  const struct wal_listed *listed, uint64_t segno, struct error *why)
{
	uint64_t missing = 0;
	bool stays = false, awaited = false;
	enum err e = ERR_NONE;

	if (is_known(w, need, segno))
		return ERR_NONE;
	e = verify_backup_stays(w->run, &need->backup->attempt, &stays, why);
	if (e == ERR_NONE && stays)
		e = look_again(w, need, segno, &missing, &awaited, why);
	if (e != ERR_NONE || !stays)
		return e;
	if (need->next <= need->last)
		need->backup->wal_us = 0; /* what came meanwhile was not read */
	if (missing > 0 && awaited)
		tell_awaited(w, listed, segno, missing);
	else if (missing > 0)
		report_hole(w, need, listed, segno, missing);
	return ERR_NONE;
}

/* What this segment or slice means for one backup. */
static enum err follow(struct wal_run *w, struct need *need, const struct wal_listed *listed,
		       enum wal_state state, int64_t us, struct error *why)
{
	const struct verify_backup *backup = need->backup;
	bool whole = !listed->slice;
	uint64_t segno;
	enum err e = ERR_NONE;

	if (listed->name.timeline != backup->timeline ||
	    !wal_name_segno(&listed->name, backup->segment_bytes, &segno) || segno < need->first)
		return ERR_NONE;
	if (need->next == 0)
		need->next = need->first;
	/* Of one backup alone what lies behind its own WAL is not looked at. */
	if (segno > need->next && w->part == VERIFY_WAL_NEW &&
	    (w->run->options->only == NULL || need->next <= need->last))
		e = meet_hole(w, need, listed, segno, why);
	if (segno <= need->last && us < need->backup->wal_us)
		need->backup->wal_us = us;
	/* A whole segment comes before slices of it, which nobody needs then. */
	if (state == WAL_DAMAGED && segno <= need->last && segno >= need->next)
		need->backup->wal_bad = true;
	/* A slice stands for the segment's beginning only. */
	if (whole)
		need->next = segno + 1;
	else if (segno > need->next)
		need->next = segno;
	need->reached =
		segno * backup->segment_bytes + (whole ? backup->segment_bytes : listed->to);
	return e;
}

static enum err visit_wal(void *ctx, const struct wal_listed *listed, struct error *why)
{
	struct wal_run *w = ctx;
	struct verify_run *r = w->run;
	bool segment = listed->name.kind == WAL_NAME_SEGMENT;
	enum wal_state state = WAL_WHOLE;
	int64_t us = r->started_us;
	uint64_t segno;
	enum err e = verify_go_on(r, why);

	if (e != ERR_NONE)
		return e;
	if (r->options->quick) {
		r->totals->objects++;
		r->totals->wal_segments += segment && !listed->slice;
	} else if (segment && !listed->slice && w->segment_bytes != 0 &&
		   wal_name_segno(&listed->name, w->segment_bytes, &segno)) {
		e = look_at_segment(w, listed, segno, &state, &us, why);
	} else if (w->part == VERIFY_WAL_NEW && r->options->only == NULL) {
		e = read_object(w, listed, &state, why);
		r->totals->objects++;
		r->totals->wal_segments += segment && !listed->slice;
		us = state == WAL_WHOLE ? us : 0;
	}
	for (size_t i = 0; segment && i < w->needs && e == ERR_NONE; i++)
		e = follow(w, &w->need[i], listed, state, us, why);
	return e;
}

/* A backup whose WAL ends before it does. */
static enum err check_reached(struct wal_run *w, struct need *need, struct error *why)
{
	struct verify_backup *backup = need->backup;
	char name[ATTEMPT_TEXT_MAX];
	bool stays = false;
	enum err e;

	if (need->next != 0 && need->reached >= backup->stop.value)
		return ERR_NONE;
	backup->wal_us = 0;
	if (w->part != VERIFY_WAL_NEW)
		return ERR_NONE;
	e = verify_backup_stays(w->run, &backup->attempt, &stays, why);
	if (e != ERR_NONE || !stays)
		return e;
	backup->wal_bad = true;
	attempt_to_text(&backup->attempt, name);
	verify_report(w->run,
		      &(struct verify_finding){
			      .key = name,
			      .backup = name,
			      .text = "the WAL from its start to its stop is not all there: "
				      "it can't be made consistent"});
	return ERR_NONE;
}

enum err verify_wal(struct verify_run *r, enum verify_wal_part part, struct error *why)
{
	struct wal_run w = {.run = r, .part = part};
	struct identity identity;
	enum err e = identity_read(r->cluster, &identity, why);

	if (e == ERR_NONE)
		w.segment_bytes = identity.wal_segment_bytes;
	else if (e != ERR_MISSING && e != ERR_CORRUPT) /* verify_records tells of these */
		return e;
	e = note_needs(&w, why);
	if (e == ERR_NONE)
		e = wal_gaps_read(r->cluster, &w.gaps, why);
	if (e == ERR_NONE)
		e = wal_list(r->cluster, visit_wal, &w, why);
	for (size_t i = 0; e == ERR_NONE && i < w.needs; i++)
		e = check_reached(&w, &w.need[i], why);
	/* The first walk is kept as far as it came; the second takes its place when it is whole. */
	if (part == VERIFY_WAL_NEW || e == ERR_NONE) {
		struct verified_list old = r->now->wal;

		r->now->wal = w.wal;
		w.wal = old;
	}
	wal_gaps_release(&w.gaps);
	free(w.wal.at);
	free(w.need);
	return e;
}
