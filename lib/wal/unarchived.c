/* wal/unarchived.c - what a server's pg_wal holds that no repository has.
 *
 *  1. The names of segments in the directory, by timeline and position.
 *  2. For each timeline one listing in each repository says which of them are archived.
 *  3. Of the others, those count that hold what their names say.
 *  4. Their records are walked: is there anything that anybody would miss?
 * Where step 4 cannot tell, the answer is yes.
 */
#include "wal/unarchived.h"
#include "pgformat/page.h"
#include "wal/archive_internal.h"
#include "wal/local_internal.h"
#include "wal/walk.h"

#include <fcntl.h>
#include <stdlib.h>

/* Records of so much WAL are looked at, a second or two: it is for a message. */
enum { WALK_BYTES_MAX = 1 << 30 };

struct unarchived {
	struct local_wal local;
	struct history path; /* of the timeline that is looked at */
	/* 4, of one timeline */
	uint64_t first;    /* LSN of the first segment that counts */
	bool seen_before;  /* the walk came through the one before it */
	uint8_t *before;   /* owned: that one, when the archive has it */
	bool worth;        /* there is something in it */
	uint64_t end_last; /* of the last segment of it that counts */
	struct wal_unarchived found;
};

/* ---- 1: the directory ---- */

/* Where nobody has the path, the walk ends where it would be needed, and so tells nothing. */
static enum err path_read(struct unarchived *u, uint32_t timeline, struct error *why)
{
	enum err e = local_history(&u->local, timeline, &u->path, why);

	if (e == ERR_NONE || e == ERR_MEMORY || e == ERR_CANCELLED)
		return e;
	u->path = (struct history){.timeline = timeline};
	return ERR_NONE;
}

/* The segment in which a timeline begins holds its ancestors' part of it too: that is archived when their
 * own segment is. */
static enum err add_ancestors(struct unarchived *u, struct error *why)
{
	uint64_t begin, size = u->local.segment_bytes;
	enum err e = ERR_NONE;

	if (u->path.count == 0)
		return ERR_NONE;
	begin = u->path.entry[u->path.count - 1].end.value / size;
	for (size_t i = 0; e == ERR_NONE && i < u->path.count; i++)
		if (u->path.entry[i].end.value > begin * size)
			e = local_add(&u->local, u->path.entry[i].timeline, begin, false, why);
	return e;
}

static enum err read_names(struct unarchived *u, struct error *why)
{
	enum err e = local_names(&u->local, why);
	size_t names = u->local.count;

	for (size_t i = 0; e == ERR_NONE && i < names; i++) {
		const struct local_segment *segment = &u->local.segment[i];

		if (i > 0 && segment->timeline == segment[-1].timeline)
			continue;
		e = path_read(u, segment->timeline, why);
		if (e == ERR_NONE)
			e = add_ancestors(u, why);
	}
	local_sort(&u->local);
	return e;
}

/* ---- 3: what counts ---- */

static void name_of(const struct unarchived *u, const struct local_segment *segment,
		    struct wal_name *name, char text[WAL_NAME_MAX])
{
	local_name(&u->local, segment->timeline, segment->segno, name, text);
}

/* Not archived, and what its name says: WAL of this server at this position. */
static bool counts(const struct unarchived *u, const struct local_segment *segment)
{
	struct files *files = u->local.env->files;
	char text[WAL_NAME_MAX];
	struct wal_name name;
	struct bytes head;
	struct stat st;

	if (!segment->here || segment->archived)
		return false;
	name_of(u, segment, &name, text);
	if (local_is_done(&u->local, text))
		return false;
	/* One that cannot be read may hold anything. */
	if (local_read(&u->local, text, WAL_PAGE_BYTES, &head, NULL) != ERR_NONE)
		return files->ops->stat(files, u->local.dir, text, AT_SYMLINK_NOFOLLOW, &st) >= 0 &&
		       st.st_size > 0;
	return local_is_that_segment(&u->local, segment->timeline, segment->segno, head);
}

/* ---- 4: what is in it ---- */

/* The segment before what counts, whoever has it: with it the walk sees what the first record is that reaches
 * into it, and whether it ever became whole. */
static enum err read_before(struct unarchived *u, uint32_t timeline, uint64_t segno,
			    struct bytes *out, struct error *why)
{
	const struct local_wal *local = &u->local;
	struct wal_name name;
	char text[WAL_NAME_MAX];
	size_t len = 0;
	enum err e;

	local_name(local, timeline, segno, &name, text);
	e = local_read(local, text, local->segment_bytes, out, why);
	if (e == ERR_NONE && local_is_that_segment(local, timeline, segno, *out))
		return ERR_NONE;
	free(u->before);
	u->before = NULL;
	e = archive_read(local->env, local->archive, &name, local->segment_bytes, &u->before, &len,
			 why);
	if (e == ERR_NONE)
		*out = bytes_of(u->before, len);
	return e == ERR_NONE || e == ERR_MEMORY || e == ERR_CANCELLED
		       ? e
		       : error_set(why, ERR_MISSING, "nobody has it whole");
}

static enum err walk_segment(void *ctx, uint32_t timeline, uint64_t segno, struct bytes *out,
			     struct error *why)
{
	struct unarchived *u = ctx;
	struct wal_name name;
	char text[WAL_NAME_MAX];

	if (*u->local.env->cancelled)
		return error_set(why, ERR_CANCELLED, "looking at WAL: cancelled");
	if (segno * u->local.segment_bytes >= u->first + WALK_BYTES_MAX)
		return error_set(why, ERR_MISSING, "enough was seen");
	local_name(&u->local, timeline, segno, &name, text);
	if (segno * u->local.segment_bytes < u->first)
		return read_before(u, timeline, segno, out, why);
	return local_read(&u->local, text, u->local.segment_bytes, out, why);
}

/* No repository has this byte, and nothing else than what counts has it. */
static bool is_lost(const struct unarchived *u, uint32_t timeline, uint64_t at)
{
	const struct local_segment *segment =
		local_find(&u->local, timeline, at / u->local.segment_bytes);

	return segment != NULL && !segment->archived &&
	       at % u->local.segment_bytes >= segment->covered;
}

static enum err see_record(void *ctx, const struct wal_record *record, struct error *why)
{
	struct unarchived *u = ctx;

	(void)why;
	if (!is_lost(u, record->timeline, record->lsn.value) &&
	    !is_lost(u, record->timeline, record->end.value - 1))
		return ERR_NONE;
	if (wal_record_is_missed(record))
		u->worth = true;
	if (wal_record_is_commit(record)) {
		int64_t time_us;

		u->found.commits++;
		if (wal_record_time(record, &time_us) && time_us > u->found.latest_us)
			u->found.latest_us = time_us;
	}
	return ERR_NONE;
}

/* The rest of a record that began before the walk: nobody sees what it is. */
static bool begins_inside(const struct unarchived *u, const struct local_segment *first,
			  const struct wal_walk_end *end)
{
	struct wal_name name;
	char text[WAL_NAME_MAX];
	struct bytes head;
	struct wal_page page;

	name_of(u, first, &name, text);
	if (u->seen_before ||
	    local_read(&u->local, text, WAL_PAGE_BYTES, &head, NULL) != ERR_NONE ||
	    !wal_page_decode(head, &page) || page.remaining == 0)
		return false;
	return end->first.value == 0 ||
	       end->first.value > first->segno * u->local.segment_bytes + first->covered;
}

static struct wal_walk walk_from(struct unarchived *u, uint64_t segno)
{
	return (struct wal_walk){
		.source = {.ctx = u, .segment = walk_segment},
		.path = &u->path,
		.segment_bytes = u->local.segment_bytes,
		.system_identifier = u->local.archive->cluster[0].system_identifier,
		.start = wal_segment_start(segno, u->local.segment_bytes),
	};
}

/* The walk ended in segment `segno`.  A crash leaves a record there that was never whole, whose rest may fill
 * the beginning of the next segment, and nothing follows on it; where records do, those are lost. */
static enum err look_behind(struct unarchived *u, uint64_t segno, struct error *why)
{
	for (segno++; !u->found.more && segno * u->local.segment_bytes < u->end_last; segno++) {
		struct wal_walk how = walk_from(u, segno);
		struct wal_walk_end end;
		enum err e;

		/* Too far for a message: what was not looked at may be anything. */
		if (how.start.value >= u->first + WALK_BYTES_MAX) {
			u->worth = u->found.more = true;
			break;
		}
		how.until = lsn_of(how.start.value + 1);
		e = wal_walk(&how, &end, why);
		if (e != ERR_NONE)
			return e;
		if (end.records > 0)
			u->worth = u->found.more = true;
	}
	return ERR_NONE;
}

/* Of one timeline; what counts begins with `first` and ends before u->end_last. */
static enum err walk(struct unarchived *u, const struct local_segment *first, struct error *why)
{
	struct wal_walk how;
	struct wal_walk_end end;
	enum err e = path_read(u, first->timeline, why);

	how = walk_from(u, first->segno - (first->segno > 1));
	how.visitor = (struct wal_visitor){.ctx = u, .record = see_record};
	u->first = first->segno * u->local.segment_bytes;
	u->worth = false;
	if (e == ERR_NONE)
		e = wal_walk(&how, &end, why);
	u->seen_before = e == ERR_NONE && end.records > 0 && end.first.value < u->first;
	if (e == ERR_NONE && end.records == 0) {
		how.start = lsn_of(u->first);
		e = wal_walk(&how, &end, why);
	}
	if (e != ERR_NONE)
		return e;
	if (begins_inside(u, first, &end))
		u->worth = true;
	/* Not even a record that begins in the first one: is there any? */
	return look_behind(u,
			   end.last.value < u->first ? first->segno - 1
						     : end.stop_at.value / u->local.segment_bytes,
			   why);
}

/* The entries [from, to) of one timeline. */
static enum err look_at_timeline(struct unarchived *u, size_t from, size_t to, struct error *why)
{
	const struct local_segment *first = NULL, *last = NULL;
	uint64_t segments = 0;
	char text[WAL_NAME_MAX];
	enum err e;

	for (size_t i = from; i < to; i++) {
		struct local_segment *segment = &u->local.segment[i];

		/* The records of others are nobody's loss. */
		if (segment->here && !counts(u, segment)) {
			segment->archived = true;
			continue;
		}
		if (!segment->here)
			continue;
		first = first == NULL ? segment : first;
		last = segment;
		segments++;
	}
	if (first == NULL)
		return ERR_NONE;
	u->end_last = (last->segno + 1) * u->local.segment_bytes;
	e = walk(u, first, why);
	if (e != ERR_NONE || !u->worth)
		return e;
	if (u->found.segments == 0)
		name_of(u, first, &u->found.first, text);
	name_of(u, last, &u->found.last, text);
	u->found.segments += segments;
	return ERR_NONE;
}

enum err wal_unarchived_look(const struct env *env, const struct wal_archive *archive, int dir,
			     uint32_t segment_bytes, struct wal_unarchived *out, struct error *why)
{
	struct unarchived *u = calloc(1, sizeof(*u));
	struct error unheard;
	enum err e;

	if (why == NULL)
		why = &unheard;
	if (u == NULL)
		return error_set(why, ERR_MEMORY, "looking at WAL: out of memory");
	e = local_init(&u->local, env, archive, dir, segment_bytes, why);
	if (e == ERR_NONE)
		e = read_names(u, why);
	if (e == ERR_NONE)
		e = local_ask_archive(&u->local, why);
	for (size_t i = 0, to = 0; e == ERR_NONE && i < u->local.count; i = to) {
		while (to < u->local.count &&
		       u->local.segment[to].timeline == u->local.segment[i].timeline)
			to++;
		e = look_at_timeline(u, i, to, why);
	}
	if (e == ERR_NONE)
		*out = u->found;
	free(u->before);
	local_release(&u->local);
	free(u);
	return e;
}
