/* wal/tail.c - walks the last segments backwards, one at a time, each from its first record on. */
#include "wal/tail.h"
#include "wal/archive_internal.h"
#include "wal/walk.h"

struct tail {
	struct archive_segments segments;
	/* Of the segment being walked. */
	int64_t commit_us, latest_us;
	struct lsn last;
	bool any;
};

static enum err see_record(void *ctx, const struct wal_record *record, struct error *why)
{
	struct tail *t = ctx;
	enum wal_record_kind kind = wal_record_kind(record);
	int64_t us;

	(void)why; /* nothing here can fail */
	if (!wal_record_time(record, &us))
		return ERR_NONE;
	if (kind == WAL_RECORD_COMMIT || kind == WAL_RECORD_COMMIT_PREPARED)
		t->commit_us = us;
	if (!t->any || us > t->latest_us)
		t->latest_us = us;
	t->last = record->lsn;
	t->any = true;
	return ERR_NONE;
}

/* A record that reaches into the next segment counts to the one it begins in; the next one's walk
 * passes over what is left of it. */
static enum err walk_segment(struct tail *t, const struct wal_tail_search *s, struct lsn start,
			     struct lsn until, bool *stopped, struct error *why)
{
	struct wal_walk walk = {
		.source = {&t->segments, archive_segment_read},
		.visitor = {t, see_record},
		.path = s->path,
		.segment_bytes = s->segment_bytes,
		.system_identifier = t->segments.archive->cluster[0].system_identifier,
		.start = start,
		.until = until,
	};
	struct wal_walk_end end;
	enum err e;

	t->any = false;
	t->commit_us = t->latest_us = 0;
	e = wal_walk(&walk, &end, why);
	*stopped = e == ERR_NONE && end.stop != WAL_STOP_UNTIL;
	return e;
}

enum err wal_archive_tail(const struct env *env, const struct wal_archive *archive,
			  const struct wal_tail_search *s, struct wal_tail *out, struct error *why)
{
	struct tail t = {.segments = {env, archive, s->segment_bytes, NULL}};
	struct wal_tail tail = {.commit_us = 0};
	struct lsn until = s->end;
	uint64_t seen = 0;
	bool any = false, stopped = false;
	enum err e = ERR_NONE;

	if (!wal_is_segment_bytes(s->segment_bytes))
		return error_set(why, ERR_CONFIG, "reading WAL: %u bytes are no segment size",
				 s->segment_bytes);
	while (e == ERR_NONE && !stopped && !tail.whole) {
		uint64_t segno = until.value > 0 ? (until.value - 1) / s->segment_bytes : 0;
		struct lsn start = wal_segment_start(segno, s->segment_bytes);

		if (segno == 0 || (seen + s->segment_bytes > s->bytes_max &&
				   seen >= 2 * (uint64_t)s->segment_bytes))
			break;
		e = walk_segment(&t, s, start, until, &stopped, why);
		if (e != ERR_NONE)
			break;
		if (t.any && (!any || t.latest_us > tail.latest_us))
			tail.latest_us = t.latest_us;
		if (tail.commit_us == 0)
			tail.commit_us = t.commit_us;
		if (!any && t.any)
			tail.last = t.last;
		any = any || t.any;
		seen += s->segment_bytes;
		until = start;
		tail.whole = !stopped && start.value <= s->from.value;
		if (any && tail.commit_us != 0 && tail.latest_us > s->after_us)
			break;
	}
	archive_segments_release(&t.segments);
	if (e == ERR_NONE)
		*out = tail;
	return e;
}
