/* wal/salvage.c - looks for WAL that only the pg_wal of a lost server has.
 *
 *  1. The server's timeline, and the path that led to it (salvage_path.c): does the archive know it?
 *  2. The segments of the path that are there and are what they are called; which of them are archived.
 *  3. Of the others, those that were never archived, and what lies behind the end of the archive.
 *  4. A walk through their records, from one segment before on, says up to where they can be replayed.
 *  5. What both have is compared: the same names may hold another branch.
 *  6. Segments that end before that are pieces, the one it lies in is one up to there.
 */
#include "wal/archive_internal.h"
#include "wal/salvage_internal.h"
#include "wal/walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct looking {
	struct wal_salvage *s;
	const struct wal_archive *archive;
	struct error *why;
	size_t first,
		last; /* entries of the table with `here` to put, or to begin with; SIZE_MAX = none */
	bool lacks;   /* `first` is to be put */
	uint64_t archived_from; /* the first segment here that is archived; UINT64_MAX = none is */
	uint8_t *stored;        /* owned; what was read from the archive last */
	bool missed;            /* a record that somebody would miss */
	uint64_t end;           /* LSN behind the last record; 0 = none */
	uint64_t told_segno;    /* the walk came so far, as the observer knows */
};

static enum err answer(struct looking *k, enum wal_salvage_answer what)
{
	k->s->found.answer = what;
	return ERR_NONE;
}

/* ---- 2 and 3: the segments ---- */

static void drop_others(struct looking *k)
{
	struct wal_salvage *s = k->s;

	for (size_t i = 0; i < s->local.count; i++) {
		struct local_segment *segment = &s->local.segment[i];
		char text[WAL_NAME_MAX];
		struct wal_name name;
		struct bytes head;

		local_name(&s->local, segment->timeline, segment->segno, &name, text);
		segment->here =
			segment->timeline == salvage_owner(s, segment->segno) &&
			local_read(&s->local, text, WAL_PAGE_BYTES, &head, NULL) == ERR_NONE &&
			local_is_that_segment(&s->local, segment->timeline, segment->segno, head);
	}
}

/* Beside those here the one before them, which they have to follow on. */
static enum err find_segments(struct looking *k)
{
	struct local_wal *local = &k->s->local;
	uint64_t segno = UINT64_MAX;
	enum err e = local_names(local, k->why);

	if (e != ERR_NONE)
		return e;
	drop_others(k);
	for (size_t i = 0; i < local->count; i++)
		if (local->segment[i].here && local->segment[i].segno < segno)
			segno = local->segment[i].segno;
	if (segno == UINT64_MAX)
		return ERR_NONE;
	if (segno > 1)
		e = local_add(local, salvage_owner(k->s, segno - 1), segno - 1, false, k->why);
	local_sort(local);
	return e == ERR_NONE ? local_ask_archive(local, k->why) : e;
}

/* Whether this one is to be put, if it can be replayed. */
static bool is_lacking(const struct looking *k, const struct local_segment *segment)
{
	const struct local_wal *local = &k->s->local;
	char text[WAL_NAME_MAX];
	struct wal_name name;

	if (!segment->here || segment->archived)
		return false;
	local_name(local, segment->timeline, segment->segno, &name, text);
	return segment->segno > k->archived_from || !local_is_done(local, text);
}

static void choose(struct looking *k)
{
	const struct local_wal *local = &k->s->local;

	k->archived_from = UINT64_MAX;
	k->first = k->last = SIZE_MAX;
	for (size_t i = 0; i < local->count; i++)
		if (local->segment[i].archived &&
		    local->segment[i].timeline == salvage_owner(k->s, local->segment[i].segno) &&
		    local->segment[i].segno < k->archived_from)
			k->archived_from = local->segment[i].segno;
	for (size_t i = 0; i < local->count; i++) {
		if (!local->segment[i].here)
			continue;
		k->last = i;
		if (k->lacks || !is_lacking(k, &local->segment[i]))
			continue;
		k->first = i;
		k->lacks = true;
	}
	if (!k->lacks)
		k->first = k->last;
}

/* ---- 4: the walk ---- */

/* A walk that begins again further back is no step back. */
static void tell_walk(struct looking *k, uint64_t segno)
{
	const struct local_wal *local = &k->s->local;
	uint64_t before = local->segment[k->first].segno - 1;
	uint64_t last = local->segment[k->last].segno;

	if (segno <= before || segno <= k->told_segno || segno > last)
		return;
	k->told_segno = segno;
	observer_progress(local->env->observer,
			  &(struct progress){
				  .phase = "looking at WAL",
				  .done_bytes = (segno - before) * local->segment_bytes,
				  .total_bytes = (last - before + 1) * local->segment_bytes,
			  });
}

/* As the directory has it, else as the archive has. */
static enum err walk_segment(void *ctx, uint32_t timeline, uint64_t segno, struct bytes *out,
			     struct error *why)
{
	struct looking *k = ctx;
	const struct local_wal *local = &k->s->local;
	const struct local_segment *segment = local_find(local, timeline, segno);
	struct wal_name name;
	char text[WAL_NAME_MAX];
	size_t len = 0;
	enum err e;

	if (*local->env->cancelled)
		return error_set(why, ERR_CANCELLED, "looking at WAL: cancelled");
	tell_walk(k, segno);
	local_name(local, timeline, segno, &name, text);
	if (segment != NULL && segment->here)
		return local_read(local, text, local->segment_bytes, out, why);
	free(k->stored);
	k->stored = NULL;
	e = archive_read(local->env, k->archive, &name, local->segment_bytes, &k->stored, &len,
			 why);
	if (e == ERR_NONE)
		*out = bytes_of(k->stored, len);
	return e == ERR_CORRUPT ? error_set(why, ERR_MISSING, "damaged") : e;
}

/* No repository has this byte. */
static bool is_new(const struct wal_salvage *s, uint64_t at)
{
	uint64_t segno = at / s->source.segment_bytes;
	const struct local_segment *segment = local_find(&s->local, salvage_owner(s, segno), segno);

	return segment != NULL && segment->here && !segment->archived &&
	       at % s->source.segment_bytes >= segment->covered;
}

static enum err see_record(void *ctx, const struct wal_record *record, struct error *why)
{
	struct looking *k = ctx;
	struct wal_salvage_found *found = &k->s->found;
	int64_t time_us;

	(void)why; /* nothing here can fail */
	if (!is_new(k->s, record->lsn.value) && !is_new(k->s, record->end.value - 1))
		return ERR_NONE;
	k->missed = k->missed || wal_record_is_missed(record);
	if (!wal_record_is_commit(record))
		return ERR_NONE;
	found->commits++;
	if (wal_record_time(record, &time_us) && time_us > found->latest_us)
		found->latest_us = time_us;
	return ERR_NONE;
}

static enum err walk_from(struct looking *k, uint64_t segno, struct wal_walk_end *end)
{
	struct wal_salvage *s = k->s;
	struct wal_walk how = {
		.source = {.ctx = k, .segment = walk_segment},
		.visitor = {.ctx = k, .record = see_record},
		.path = &s->path,
		.segment_bytes = s->source.segment_bytes,
		.system_identifier = k->archive->cluster[0].system_identifier,
		.start = wal_segment_start(segno, s->source.segment_bytes),
	};

	k->missed = false;
	s->found.commits = 0;
	s->found.latest_us = 0;
	return wal_walk(&how, end, k->why);
}

/* From one segment before, or further back when a record that began there fills it: whoever comes into its
 * middle does not see what it is. */
static enum err walk_into(struct looking *k, uint64_t segno, struct wal_walk_end *end)
{
	uint64_t size = k->s->source.segment_bytes, back_max = WAL_RECORD_BYTES_MAX / size + 2;
	enum err e = walk_from(k, segno - 1, end);

	for (uint64_t back = 2; e == ERR_NONE && back <= back_max && back < segno; back *= 2) {
		struct wal_walk_end further;

		if (end->records > 0 && end->first.value < segno * size)
			return ERR_NONE;
		e = walk_from(k, segno - back, &further);
		if (e == ERR_NONE && further.records == 0 && further.stop_at.value < segno * size)
			return walk_from(k, segno - 1, end); /* nobody has what lies there */
		if (e == ERR_NONE)
			*end = further;
	}
	return e;
}

static enum err walk(struct looking *k)
{
	struct wal_salvage *s = k->s;
	uint64_t segno = s->local.segment[k->first].segno;
	const struct local_segment *before =
		local_find(&s->local, salvage_owner(s, segno - 1), segno - 1);
	struct wal_walk_end end;
	char text[WAL_NAME_MAX];
	struct wal_name name;
	enum err e;

	if (before != NULL && (before->here || before->archived)) {
		e = walk_into(k, segno, &end);
	} else if (!k->lacks) {
		e = walk_from(k, segno, &end);
	} else {
		local_name(&s->local, salvage_owner(s, segno - 1), segno - 1, &name, text);
		(void)snprintf(s->found.reason, sizeof(s->found.reason),
			       "segment %s, which comes before it, is neither there nor in the "
			       "archive",
			       text); /* fits */
		return answer(k, WAL_SALVAGE_GAP);
	}
	if (e == ERR_NONE && end.records > 0) {
		k->end = end.end.value;
		s->found.end = end.end;
	}
	return e;
}

/* ---- 5: other branches ---- */

static void say_branch(struct looking *k, const char *text, const char *how)
{
	k->s->found.answer = WAL_SALVAGE_BRANCH;
	(void)snprintf(
		k->s->found.reason, sizeof(k->s->found.reason),
		"the archive has segment %s%s with other content: two servers wrote under one "
		"name, and this is another branch",
		text, how); /* fits */
}

/* Of a segment that both have, what can be replayed of it. */
static enum err compare(struct looking *k, const struct local_segment *segment)
{
	const struct local_wal *local = &k->s->local;
	uint64_t begin = segment->segno * local->segment_bytes;
	uint64_t reach =
		k->end < begin + local->segment_bytes ? k->end - begin : local->segment_bytes;
	char text[WAL_NAME_MAX];
	struct wal_name name;
	struct bytes own;
	uint32_t valid = 0;
	size_t len = 0;
	enum err e;

	local_name(local, segment->timeline, segment->segno, &name, text);
	free(k->stored);
	k->stored = NULL;
	if (segment->archived) {
		e = archive_read(local->env, k->archive, &name, local->segment_bytes, &k->stored,
				 &len, k->why);
	} else {
		e = archive_read_sliced(k->archive, &name, local->segment_bytes, &k->stored, &valid,
					k->why);
		len = valid;
	}
	if (e != ERR_NONE)
		return e;
	e = local_read(local, text, local->segment_bytes, &own, k->why);
	if (e != ERR_NONE)
		return e;
	if (len > reach)
		len = (size_t)reach;
	if (own.len < len || memcmp(own.data, k->stored, len) != 0)
		say_branch(k, text, segment->archived ? "" : " in part");
	return ERR_NONE;
}

/* Two branches differ from where they part on, so the last one that both have tells. */
static enum err compare_both(struct looking *k)
{
	const struct local_wal *local = &k->s->local;
	const struct local_segment *whole = NULL;
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < local->count; i++) {
		const struct local_segment *segment = &local->segment[i];

		if (!segment->here || segment->segno * local->segment_bytes >= k->end)
			continue;
		if (segment->archived)
			whole = segment;
		else if (segment->covered > 0)
			e = compare(k, segment);
	}
	return e == ERR_NONE && whole != NULL ? compare(k, whole) : e;
}

/* ---- 6: the pieces ---- */

static enum err cut(struct looking *k)
{
	struct wal_salvage *s = k->s;
	const struct local_wal *local = &s->local;
	uint32_t size = local->segment_bytes;

	s->piece = calloc(k->last - k->first + 1, sizeof(*s->piece));
	if (s->piece == NULL)
		return error_set(k->why, ERR_MEMORY, "looking at WAL: out of memory");
	for (size_t i = k->first; i <= k->last; i++) {
		const struct local_segment *segment = &local->segment[i];
		uint64_t begin = segment->segno * size;
		uint32_t bytes = begin + size <= k->end ? size : (uint32_t)(k->end - begin);
		char text[WAL_NAME_MAX];

		if (begin >= k->end || !is_lacking(k, segment) || bytes <= segment->covered)
			continue;
		s->piece[s->pieces++] = (struct salvage_piece){
			.timeline = segment->timeline, .segno = segment->segno, .bytes = bytes};
		if (s->pieces == 1)
			local_name(local, segment->timeline, segment->segno, &s->found.first, text);
		local_name(local, segment->timeline, segment->segno, &s->found.last, text);
		s->found.open = bytes < size ? bytes : 0;
	}
	s->found.segments = s->pieces;
	return answer(k, s->pieces > 0 ? WAL_SALVAGE_FOUND : WAL_SALVAGE_NOTHING);
}

static enum err look(struct looking *k)
{
	struct wal_salvage *s = k->s;
	enum err e = salvage_find_path(s, k->archive, k->why);

	if (e == ERR_NONE)
		e = find_segments(k);
	if (e != ERR_NONE)
		return e;
	choose(k);
	if (k->first == SIZE_MAX)
		return answer(k, WAL_SALVAGE_NOTHING);
	if (s->found.answer != WAL_SALVAGE_NOTHING)
		return ERR_NONE;
	e = walk(k);
	if (e != ERR_NONE || s->found.answer != WAL_SALVAGE_NOTHING)
		return e;
	e = compare_both(k);
	if (e != ERR_NONE || s->found.answer != WAL_SALVAGE_NOTHING || !k->lacks || !k->missed)
		return e;
	return cut(k);
}

enum err wal_salvage_look(const struct env *env, const struct wal_archive *archive,
			  const struct wal_salvage_source *source, struct wal_salvage **out,
			  struct error *why)
{
	struct wal_salvage *s = calloc(1, sizeof(*s));
	struct looking k = {.s = s, .archive = archive, .why = why};
	struct error unheard;
	enum err e;

	if (why == NULL)
		k.why = &unheard;
	if (s == NULL)
		return error_set(why, ERR_MEMORY, "looking at WAL: out of memory");
	s->source = *source;
	e = local_init(&s->local, env, archive, source->dir, source->segment_bytes, k.why);
	if (e == ERR_NONE)
		e = look(&k);
	free(k.stored);
	if (e != ERR_NONE) {
		wal_salvage_free(s);
		return e;
	}
	*out = s;
	return ERR_NONE;
}

const struct wal_salvage_found *wal_salvage_found(const struct wal_salvage *s)
{
	return &s->found;
}

void wal_salvage_free(struct wal_salvage *s)
{
	if (s == NULL)
		return;
	local_release(&s->local);
	free(s->piece);
	free(s);
}
