/* restore/export_wal.c - the WAL that a backup needs, as pg_basebackup -X stream leaves it. */
#include "restore/export_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MEMBER_MODE = 0600 };

struct span {
	uint64_t first, last; /* segment numbers */
};

static struct span span_of(const struct summary *s)
{
	return (struct span){.first = wal_segno(s->start, s->wal_segment_bytes),
			     .last = wal_segno(lsn_of(s->stop.value - 1), s->wal_segment_bytes)};
}

uint64_t export_wal_segments(const struct summary *s)
{
	struct span span = span_of(s);

	return span.last - span.first + 1;
}

static uint32_t last_timeline(const struct summary *s)
{
	return s->stop_timeline != 0 ? s->stop_timeline : s->timeline;
}

enum err export_wal_check(const struct env *env, const struct wal_archive *archive,
			  const struct summary *s, struct history *path, struct error *why)
{
	struct wal_reach reach = {.timeline = 0};
	char end[LSN_TEXT_MAX], stop[LSN_TEXT_MAX];
	enum err e = wal_archive_history(env, archive, last_timeline(s), path, why);

	if (e == ERR_NONE)
		e = wal_archive_reach(env, archive, s->start, s->timeline, last_timeline(s),
				      s->wal_segment_bytes, s->stop, &reach, why);
	if (e == ERR_MISSING || (e == ERR_NONE && reach.end.value < s->stop.value)) {
		lsn_to_text(reach.end, end);
		lsn_to_text(s->stop, stop);
		(void)error_set(why, ERR_CORRUPT,
				"the backup needs WAL up to %s, and the archive's ends at %s", stop,
				end);
		error_hint(why, "push what is missing (pgagent archive-push), or export another "
				"backup: pgagent list");
		return ERR_CORRUPT;
	}
	return e;
}

/* What every member needs. */
struct copying {
	const struct env *env;
	const struct wal_archive *archive;
	const struct summary *summary;
	struct export_outputs *outputs;
};

static enum err put_member(const struct copying *c, const char *folder, const char *name,
			   const char *suffix, struct bytes content, struct error *why)
{
	const struct export_outputs *o = c->outputs;
	struct tar_entry entry = {.kind = TAR_FILE,
				  .mode = MEMBER_MODE,
				  .modified_s = c->summary->finished_us / 1000000};

	(void)snprintf(entry.path, sizeof(entry.path), "%s%s%s%s",
		       o->wal == o->base ? "pg_wal/" : "", folder, name, suffix);
	return export_member(o->wal, &entry, content, why);
}

/* `done`: it is archived, and need not be again by the server that starts here.  pg_basebackup
 * leaves the last segment unmarked, since the server may go on in it. */
static enum err copy_one(const struct copying *c, const struct wal_name *name, bool done,
			 struct error *why)
{
	uint8_t *data = NULL;
	size_t len = 0;
	char text[WAL_NAME_MAX];
	enum err e = wal_archive_read(c->env, c->archive, name, c->summary->wal_segment_bytes,
				      &data, &len, why);

	wal_name_to_text(name, text);
	if (e == ERR_MISSING) /* it was there a moment ago */
		e = why->kind = ERR_CORRUPT;
	if (e == ERR_NONE)
		e = put_member(c, "", text, "", bytes_of(data, len), why);
	if (e == ERR_NONE && done)
		e = put_member(c, "archive_status/", text, ".done", bytes_of(NULL, 0), why);
	free(data);
	return e;
}

enum err export_wal(const struct env *env, const struct wal_archive *archive,
		    const struct summary *s, const struct history *path, struct export_outputs *o,
		    struct error *why)
{
	const struct copying c = {.env = env, .archive = archive, .summary = s, .outputs = o};
	struct span span = span_of(s);
	struct progress progress = {.phase = "export of WAL",
				    .total_items = export_wal_segments(s)};
	enum err e = ERR_NONE;

	if (path->timeline > 1) {
		struct wal_name name = {.kind = WAL_NAME_HISTORY, .timeline = path->timeline};

		e = copy_one(&c, &name, true, why);
	}
	for (uint64_t segno = span.first; e == ERR_NONE && segno <= span.last; segno++) {
		struct lsn last =
			lsn_of(wal_segment_start(segno + 1, s->wal_segment_bytes).value - 1);
		struct wal_name name;

		if (*env->cancelled)
			return error_set(why, ERR_CANCELLED, "export: stopped on request");
		/* A segment in which the timeline changed is whole on the later one. */
		if (last.value >= s->stop.value)
			last = lsn_of(s->stop.value - 1);
		wal_segment_name(history_timeline_at(path, last), segno, s->wal_segment_bytes,
				 &name);
		e = copy_one(&c, &name, segno < span.last, why);
		progress.done_items++;
		progress.done_bytes += s->wal_segment_bytes;
		observer_progress(env->observer, &progress);
	}
	return e;
}
