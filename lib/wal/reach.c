/* wal/reach.c - how far the WAL in the archive leads without a gap.
 *
 *  1. The path of the timeline comes from its history file.
 *  2. Listings say which segments are there, and up to where they follow on each other.
 *  3. Records are walked only at the end, from one segment before the last one on: far enough to
 *     see where the last complete record ends.  A record may fill whole segments; then the walk
 *     begins further back, until it finds one.
 *  4. Behind the last segment may lie slices of the one the server had not finished; the walk gets
 *     them as archive-get delivers them: joined from byte 0 on, when nothing later is there.
 */
#include "wal/archive_internal.h"
#include "wal/walk.h"

#include <stdlib.h>

struct reach {
	const struct env *env;
	const struct wal_archive *archive;
	const struct history *path;
	struct presence presence;
	struct lsn start, until;
	uint32_t segment_bytes;

	uint64_t available;  /* LSN where the contiguous bytes end */
	uint8_t *segment;    /* owned: what the walk looks at */
	struct error damage; /* of a segment that no repository has whole, or kind ERR_NONE */
	uint64_t damaged;    /* its first LSN */
};

/* As archive-get does: slices only where nothing later of the timeline is there. */
static enum err slices_read(struct reach *r, const struct wal_name *name, uint64_t segno,
			    struct bytes *out, struct error *why)
{
	uint64_t begin = segno * r->segment_bytes;
	uint64_t furthest = presence_furthest_of(&r->presence, name->timeline);
	uint32_t valid = 0;
	enum err e;

	if (furthest <= begin || furthest > begin + r->segment_bytes)
		return error_set(why, ERR_MISSING, "no segment there");
	e = archive_read_sliced(r->archive, name, r->segment_bytes, &r->segment, &valid, why);
	if (e != ERR_NONE)
		return e;
	if (begin + valid > r->available)
		r->available = begin + valid;
	*out = bytes_of(r->segment, valid);
	return ERR_NONE;
}

static enum err segment_read(void *ctx, uint32_t timeline, uint64_t segno, struct bytes *out,
			     struct error *why)
{
	struct reach *r = ctx;
	struct wal_name name;
	size_t len = 0;
	enum err e;

	free(r->segment);
	r->segment = NULL;
	if (*r->env->cancelled)
		return error_set(why, ERR_CANCELLED, "reading WAL: cancelled");
	wal_segment_name(timeline, segno, r->segment_bytes, &name);
	if (!presence_has(&r->presence, timeline, segno))
		return slices_read(r, &name, segno, out, why);
	e = archive_read(r->env, r->archive, &name, r->segment_bytes, &r->segment, &len, why);
	if (e == ERR_NONE)
		*out = bytes_of(r->segment, len);
	if (e != ERR_CORRUPT)
		return e;
	/* Recovery cannot pass it, but what lies before can be restored: the WAL ends there. */
	r->damage = *why;
	r->damaged = segno * r->segment_bytes;
	return error_set(why, ERR_MISSING, "damaged");
}

/* Where to begin at most `back` segments before the one with the end. */
static struct lsn walk_start(const struct reach *r, uint64_t back)
{
	uint64_t first = wal_segno(r->start, r->segment_bytes);
	uint64_t last = (r->available > r->start.value ? r->available - 1 : r->start.value) /
			r->segment_bytes;

	if (r->until.value != 0 && r->until.value <= r->available)
		last = (r->until.value - 1) / r->segment_bytes;
	if (last <= first + back)
		return r->start;
	return wal_segment_start(last - back, r->segment_bytes);
}

/* Step 3.  A record of the greatest size lies in that many segments and one more at each end. */
static enum err walk_end(struct reach *r, struct wal_walk_end *end, struct error *why)
{
	uint64_t back_max = WAL_RECORD_BYTES_MAX / r->segment_bytes + 2;
	struct wal_walk walk = {
		.source = {.ctx = r, .segment = segment_read},
		.path = r->path,
		.segment_bytes = r->segment_bytes,
		.system_identifier = r->archive->cluster[0].system_identifier,
		.until = r->until,
	};

	for (uint64_t back = 1;; back = back * 2 < back_max ? back * 2 : back_max) {
		enum err e;
		char text[LSN_TEXT_MAX];

		walk.start = walk_start(r, back);
		e = wal_walk(&walk, end, why);
		if (e != ERR_NONE || end->records > 0 || walk.start.value == r->start.value)
			return e;
		if (back < back_max)
			continue;
		lsn_to_text(walk.start, text);
		(void)error_set(why, ERR_CORRUPT,
				"reading WAL: no record begins in the archive from %s on", text);
		error_hint(why, "the WAL there is damaged: pgagent verify");
		return ERR_CORRUPT;
	}
}

static void find_hole(const struct reach *r, const struct wal_walk_end *end, struct wal_reach *out)
{
	uint64_t size = r->segment_bytes, at = end->stop_at.value, limit = r->available;

	if (end->stop == WAL_STOP_UNTIL)
		return;
	/* An end inside a segment with others behind it: those cannot be reached either. */
	if ((at / size + 1) * size < limit)
		limit = (at / size + 1) * size;
	if (presence_furthest(&r->presence) <= limit)
		return;
	out->ends_in_hole = true;
	out->hole = lsn_of(limit == r->available ? limit : at);
}

static enum err refuse_start(const struct reach *r, uint32_t timeline, struct error *why)
{
	char text[LSN_TEXT_MAX];

	if (r->damage.kind != ERR_NONE) {
		*why = r->damage;
		return why->kind;
	}
	lsn_to_text(r->start, text);
	(void)error_set(why, ERR_MISSING,
			"the archive has not the segment with %s on the path of timeline %u", text,
			timeline);
	error_hint(why, "it may have been archived elsewhere or expired: pgagent list");
	return ERR_MISSING;
}

static enum err measure(struct reach *r, uint32_t timeline, struct wal_reach *out,
			struct error *why)
{
	struct wal_reach reach = {.timeline = timeline};
	struct wal_walk_end end;
	uint64_t behind;
	enum err e;

	reach.first_segno = wal_segno(r->start, r->segment_bytes);
	r->available = presence_end(&r->presence, reach.first_segno);
	e = walk_end(r, &end, why);
	if (e != ERR_NONE)
		return e;
	/* A repository that did not answer may have more, unless enough was found without it. */
	if (r->presence.failure.kind != ERR_NONE && end.stop != WAL_STOP_UNTIL) {
		*why = r->presence.failure;
		return why->kind;
	}
	if (r->damage.kind != ERR_NONE && end.stop == WAL_STOP_SEGMENT_MISSING &&
	    end.stop_at.value == r->damaged)
		r->available = r->damaged;
	if (r->available <= r->start.value)
		return refuse_start(r, timeline, why);
	behind = end.stop == WAL_STOP_UNTIL ? end.end.value : r->available;
	reach.last_record = end.last;
	reach.end = end.end;
	reach.last_segno = (behind - 1) / r->segment_bytes;
	reach.segments = reach.last_segno - reach.first_segno + 1;
	find_hole(r, &end, &reach);
	*out = reach;
	return ERR_NONE;
}

/* Step 1.  Where the timeline does not change nothing is lost without its history file, which
 * recovery does not insist on then, either. */
static enum err path_read(const struct env *env, const struct wal_archive *archive,
			  struct lsn start, uint32_t start_timeline, uint32_t timeline,
			  struct history *path, struct error *why)
{
	struct lsn begin, end;
	char text[LSN_TEXT_MAX];
	enum err e = wal_archive_history(env, archive, timeline, path, why);

	if (e == ERR_MISSING && timeline == start_timeline) {
		*path = (struct history){.timeline = timeline};
		return ERR_NONE;
	}
	if (e != ERR_NONE)
		return e;
	if (history_has(path, start_timeline, &begin, &end) && start.value < end.value)
		return ERR_NONE;
	lsn_to_text(start, text);
	(void)error_set(why, ERR_CONFIG, "timeline %u does not lead through %s on timeline %u",
			timeline, text, start_timeline);
	error_hint(why, "choose another --timeline, or another --backup: pgagent list");
	return ERR_CONFIG;
}

enum err wal_archive_reach(const struct env *env, const struct wal_archive *archive,
			   struct lsn start, uint32_t start_timeline, uint32_t timeline,
			   uint32_t segment_bytes, struct lsn until, struct wal_reach *out,
			   struct error *why)
{
	struct history path;
	struct reach r = {
		.env = env,
		.archive = archive,
		.path = &path,
		.start = start,
		.until = until,
		.segment_bytes = segment_bytes,
	};
	enum err e;

	if (!wal_is_segment_bytes(segment_bytes))
		return error_set(why, ERR_CONFIG, "reading WAL: %u bytes are no segment size",
				 segment_bytes);
	e = path_read(env, archive, start, start_timeline, timeline, &path, why);
	if (e == ERR_NONE)
		e = presence_load(env, archive, &path, start, segment_bytes, &r.presence, why);
	if (e == ERR_NONE)
		e = measure(&r, timeline, out, why);
	free(r.segment);
	presence_release(&r.presence);
	return e;
}
