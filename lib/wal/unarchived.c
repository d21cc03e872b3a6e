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
#include "wal/walk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A history file goes into the memory of a segment. */
static_assert(HISTORY_FILE_MAX <= WAL_SEGMENT_BYTES_MIN, "the smallest segment holds a history");

enum {
	RMGR_XLOG = 0,    /* checkpoints, switches, full pages of what other records say */
	RMGR_STANDBY = 8, /* running transactions and locks */
	LONG_HEADER_BYTES = 40,
	/* Records of so much WAL are looked at, a second or two: it is for a message. */
	WALK_BYTES_MAX = 1 << 30
};

struct local {
	uint32_t timeline;
	uint64_t segno;
	bool here;        /* the directory has it; else only whether the archive has it matters */
	bool archived;    /* whole */
	uint32_t covered; /* bytes from its start on that slices in the archive have */
};

struct unarchived {
	const struct env *env;
	const struct wal_archive *archive;
	int dir;
	uint32_t segment_bytes;
	struct local *local; /* owned; by timeline and segment from step 2 on */
	size_t count, max;
	struct history path; /* of the timeline that is looked at */
	uint8_t *segment;    /* owned; what was read last */
	/* 4, of one timeline */
	uint64_t walked;   /* where the walk began */
	bool worth;        /* there is something in it */
	uint64_t end_last; /* of the last segment of it that counts */
	struct wal_unarchived found;
};

/* ---- 1: the directory ---- */

/* As much of a file as there is, at most `max` bytes; ERR_MISSING: nothing that could be read. */
static enum err read_file(const struct unarchived *u, const char *name, size_t max,
			  struct bytes *out, struct error *why)
{
	const struct files_ops *ops = u->env->files->ops;
	int fd = ops->open_beneath(u->env->files, u->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK,
				   0);
	size_t len = 0;
	ssize_t got = 1;

	if (fd < 0)
		return error_set(why, ERR_MISSING, "opening \"%s\"", name);
	while (len < max && got > 0) {
		got = ops->pread(u->env->files, fd, u->segment + len, max - len, (off_t)len);
		if (got > 0)
			len += (size_t)got;
	}
	(void)ops->close(u->env->files, fd); /* only read */
	if (len == 0)
		return error_set(why, ERR_MISSING, "reading \"%s\"", name);
	*out = bytes_of(u->segment, len);
	return ERR_NONE;
}

static int local_add(struct unarchived *u, uint32_t timeline, uint64_t segno, bool here)
{
	if (u->count == u->max) {
		size_t max = u->max == 0 ? 64 : u->max * 2;
		struct local *more = realloc(u->local, max * sizeof(*more));

		if (more == NULL)
			return -ENOMEM;
		u->local = more;
		u->max = max;
	}
	u->local[u->count++] = (struct local){.timeline = timeline, .segno = segno, .here = here};
	return 0;
}

static int see_name(void *ctx, const char *name, mode_t type)
{
	struct unarchived *u = ctx;
	struct wal_name parsed;
	uint64_t segno;

	if (!S_ISREG(type) || wal_name_from_text(name, &parsed, NULL) != ERR_NONE ||
	    parsed.kind != WAL_NAME_SEGMENT || !wal_name_segno(&parsed, u->segment_bytes, &segno) ||
	    segno == 0) /* no server writes there */
		return 0;
	return local_add(u, parsed.timeline, segno, true);
}

static int by_place(const void *a, const void *b)
{
	const struct local *x = a, *y = b;

	if (x->timeline != y->timeline)
		return x->timeline < y->timeline ? -1 : 1;
	return x->segno < y->segno ? -1 : x->segno > y->segno;
}

static struct local *find(const struct unarchived *u, uint32_t timeline, uint64_t segno)
{
	struct local key = {.timeline = timeline, .segno = segno};

	return u->count == 0 ? NULL
			     : bsearch(&key, u->local, u->count, sizeof(*u->local), by_place);
}

/* The path of a timeline as the server itself has it, else as the archive has it. */
static enum err path_read(struct unarchived *u, uint32_t timeline, struct error *why)
{
	const struct wal_name name = {.kind = WAL_NAME_HISTORY, .timeline = timeline};
	char text[WAL_NAME_MAX];
	struct bytes own;
	enum err e;

	u->path = (struct history){.timeline = timeline};
	if (timeline == 1)
		return ERR_NONE;
	wal_name_to_text(&name, text);
	e = read_file(u, text, HISTORY_FILE_MAX, &own, why);
	if (e == ERR_NONE)
		e = history_from_text(timeline, own, &u->path, why);
	if (e != ERR_NONE)
		e = wal_archive_history(u->env, u->archive, timeline, &u->path, why);
	if (e == ERR_MEMORY || e == ERR_CANCELLED)
		return e;
	if (e != ERR_NONE) /* the walk ends where it would be needed, and so tells nothing */
		u->path = (struct history){.timeline = timeline};
	return ERR_NONE;
}

/* The segment in which a timeline begins holds its ancestors' part of it too: that is archived when their
 * own segment is. */
static enum err add_ancestors(struct unarchived *u, struct error *why)
{
	uint64_t begin, size = u->segment_bytes;

	if (u->path.count == 0)
		return ERR_NONE;
	begin = u->path.entry[u->path.count - 1].end.value / size;
	for (size_t i = 0; i < u->path.count; i++)
		if (u->path.entry[i].end.value > begin * size &&
		    local_add(u, u->path.entry[i].timeline, begin, false) < 0)
			return error_set(why, ERR_MEMORY, "looking at WAL: out of memory");
	return ERR_NONE;
}

/* Each once; where the directory has it, that one. */
static void sort(struct unarchived *u)
{
	size_t kept = 0;

	if (u->count == 0)
		return;
	qsort(u->local, u->count, sizeof(*u->local), by_place);
	for (size_t i = 1; i < u->count; i++) {
		if (by_place(&u->local[kept], &u->local[i]) != 0)
			u->local[++kept] = u->local[i];
		else
			u->local[kept].here = u->local[kept].here || u->local[i].here;
	}
	u->count = kept + 1;
}

static enum err read_names(struct unarchived *u, struct error *why)
{
	int answer = u->env->files->ops->list(u->env->files, u->dir, ".", see_name, u);
	size_t names;
	enum err e = ERR_NONE;

	if (answer < 0)
		return error_set_os(why, error_kind_of_os(-answer), -answer, "listing pg_wal");
	sort(u);
	names = u->count;
	for (size_t i = 0; e == ERR_NONE && i < names; i++) {
		if (i > 0 && u->local[i].timeline == u->local[i - 1].timeline)
			continue;
		e = path_read(u, u->local[i].timeline, why);
		if (e == ERR_NONE)
			e = add_ancestors(u, why);
	}
	sort(u);
	return e;
}

/* ---- 2: the archive ---- */

static enum err see_archived(void *ctx, const struct wal_listed *listed, struct error *why)
{
	struct unarchived *u = ctx;
	struct local *local;
	uint64_t segno;

	(void)why;
	if (listed->name.kind != WAL_NAME_SEGMENT ||
	    !wal_name_segno(&listed->name, u->segment_bytes, &segno))
		return ERR_NONE;
	local = find(u, listed->name.timeline, segno);
	if (local == NULL)
		return ERR_NONE;
	if (!listed->slice)
		local->archived = true;
	else if (listed->from <= local->covered && listed->to > local->covered)
		local->covered = listed->to;
	return ERR_NONE;
}

static enum err ask_archive(struct unarchived *u, struct error *why)
{
	for (size_t i = 0; i < u->count; i++) {
		if (i > 0 && u->local[i].timeline == u->local[i - 1].timeline)
			continue;
		for (size_t k = 0; k < u->archive->count; k++) {
			const struct cluster *cluster = &u->archive->cluster[k];
			enum err e =
				wal_list_timeline(cluster, u->local[i].timeline, u->local[i].segno,
						  u->segment_bytes, see_archived, u, why);

			if (e == ERR_MEMORY || e == ERR_CANCELLED)
				return e;
			if (e != ERR_NONE)
				observer_event(u->env->observer, LEVEL_WARNING,
					       "WAL of timeline %" PRIu32
					       " not listed in %s, so it counts as "
					       "not archived there: %s",
					       u->local[i].timeline,
					       cluster->repository->store->label, why->text);
		}
	}
	return ERR_NONE;
}

/* ---- 3: what counts ---- */

static void name_of(const struct unarchived *u, const struct local *local, struct wal_name *name,
		    char text[WAL_NAME_MAX])
{
	wal_segment_name(local->timeline, local->segno, u->segment_bytes, name);
	wal_name_to_text(name, text);
}

/* Not archived, and what its name says: WAL of this server at this position. */
static bool counts(const struct unarchived *u, const struct local *local)
{
	struct files *files = u->env->files;
	char text[WAL_NAME_MAX], done[WAL_NAME_MAX + 32];
	struct wal_name name;
	struct wal_page page;
	struct bytes head;
	struct stat st;

	if (!local->here || local->archived)
		return false;
	name_of(u, local, &name, text);
	(void)snprintf(done, sizeof(done), "archive_status/%s.done", text); /* fits */
	if (files->ops->stat(files, u->dir, done, AT_SYMLINK_NOFOLLOW, &st) >= 0)
		return false;
	/* One that cannot be read may hold anything. */
	if (read_file(u, text, WAL_PAGE_BYTES, &head, NULL) != ERR_NONE)
		return files->ops->stat(files, u->dir, text, AT_SYMLINK_NOFOLLOW, &st) >= 0 &&
		       st.st_size > 0;
	return wal_page_decode(head, &page) && page.header_bytes == LONG_HEADER_BYTES &&
	       page.address.value == wal_segment_start(local->segno, u->segment_bytes).value &&
	       page.system_identifier == u->archive->cluster[0].system_identifier &&
	       page.timeline <= local->timeline;
}

/* ---- 4: what is in it ---- */

static enum err walk_segment(void *ctx, uint32_t timeline, uint64_t segno, struct bytes *out,
			     struct error *why)
{
	struct unarchived *u = ctx;
	struct local local = {.timeline = timeline, .segno = segno};
	struct wal_name name;
	char text[WAL_NAME_MAX];

	if (*u->env->cancelled)
		return error_set(why, ERR_CANCELLED, "looking at WAL: cancelled");
	if (segno * u->segment_bytes >= u->walked + WALK_BYTES_MAX)
		return error_set(why, ERR_MISSING, "enough was seen");
	name_of(u, &local, &name, text);
	return read_file(u, text, u->segment_bytes, out, why);
}

/* No repository has this byte, and nothing else than what counts has it. */
static bool is_lost(const struct unarchived *u, uint32_t timeline, uint64_t at)
{
	const struct local *local = find(u, timeline, at / u->segment_bytes);

	return local != NULL && !local->archived && at % u->segment_bytes >= local->covered;
}

static enum err see_record(void *ctx, const struct wal_record *record, struct error *why)
{
	struct unarchived *u = ctx;
	enum wal_record_kind kind = wal_record_kind(record);
	int64_t time_us;

	(void)why;
	if (!is_lost(u, record->timeline, record->lsn.value) &&
	    !is_lost(u, record->timeline, record->end.value - 1))
		return ERR_NONE;
	if ((record->rmid != RMGR_XLOG && record->rmid != RMGR_STANDBY) ||
	    kind == WAL_RECORD_RESTORE_POINT)
		u->worth = true;
	if (kind != WAL_RECORD_COMMIT && kind != WAL_RECORD_COMMIT_PREPARED)
		return ERR_NONE;
	u->found.commits++;
	if (wal_record_time(record, &time_us) && time_us > u->found.latest_us)
		u->found.latest_us = time_us;
	return ERR_NONE;
}

/* The rest of a record that began before the walk: nobody sees what it is. */
static bool begins_inside(const struct unarchived *u, const struct local *first,
			  const struct wal_walk_end *end)
{
	struct wal_name name;
	char text[WAL_NAME_MAX];
	struct bytes head;
	struct wal_page page;

	name_of(u, first, &name, text);
	if (read_file(u, text, WAL_PAGE_BYTES, &head, NULL) != ERR_NONE ||
	    !wal_page_decode(head, &page) || page.remaining == 0)
		return false;
	return end->first.value == 0 ||
	       end->first.value > first->segno * u->segment_bytes + first->covered;
}

/* Of one timeline; what counts begins with `first` and ends before u->end_last. */
static enum err walk(struct unarchived *u, const struct local *first, struct error *why)
{
	struct wal_walk how = {
		.source = {.ctx = u, .segment = walk_segment},
		.visitor = {.ctx = u, .record = see_record},
		.path = &u->path,
		.segment_bytes = u->segment_bytes,
		.system_identifier = u->archive->cluster[0].system_identifier,
		.start = wal_segment_start(first->segno, u->segment_bytes),
	};
	struct wal_walk_end end;
	enum err e = path_read(u, first->timeline, why);

	u->walked = how.start.value;
	u->worth = false;
	if (e == ERR_NONE)
		e = wal_walk(&how, &end, why);
	if (e != ERR_NONE)
		return e;
	/* The last one was not come to: what lies there was not seen. */
	if (end.stop_at.value < u->end_last - u->segment_bytes) {
		u->worth = true;
		u->found.more = true;
	}
	if (begins_inside(u, first, &end))
		u->worth = true;
	return ERR_NONE;
}

/* The entries [from, to) of one timeline. */
static enum err look_at_timeline(struct unarchived *u, size_t from, size_t to, struct error *why)
{
	const struct local *first = NULL, *last = NULL;
	uint64_t segments = 0;
	char text[WAL_NAME_MAX];
	enum err e;

	for (size_t i = from; i < to; i++) {
		struct local *local = &u->local[i];

		/* The records of others are nobody's loss. */
		if (local->here && !counts(u, local)) {
			local->archived = true;
			continue;
		}
		if (!local->here)
			continue;
		first = first == NULL ? local : first;
		last = local;
		segments++;
	}
	if (first == NULL)
		return ERR_NONE;
	u->end_last = (last->segno + 1) * u->segment_bytes;
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
	struct unarchived *u;
	struct error unheard;
	enum err e;

	if (why == NULL)
		why = &unheard;
	if (!wal_is_segment_bytes(segment_bytes))
		return error_set(why, ERR_CONFIG,
				 "looking at WAL: %" PRIu32 " bytes are no segment size",
				 segment_bytes);
	u = calloc(1, sizeof(*u));
	if (u == NULL)
		return error_set(why, ERR_MEMORY, "looking at WAL: out of memory");
	u->env = env;
	u->archive = archive;
	u->dir = dir;
	u->segment_bytes = segment_bytes;
	u->segment = bytes_new_large(segment_bytes);
	e = u->segment != NULL ? ERR_NONE
			       : error_set(why, ERR_MEMORY, "looking at WAL: out of memory");
	if (e == ERR_NONE)
		e = read_names(u, why);
	if (e == ERR_NONE)
		e = ask_archive(u, why);
	for (size_t i = 0, to = 0; e == ERR_NONE && i < u->count; i = to) {
		while (to < u->count && u->local[to].timeline == u->local[i].timeline)
			to++;
		e = look_at_timeline(u, i, to, why);
	}
	if (e == ERR_NONE)
		*out = u->found;
	free(u->segment);
	free(u->local);
	free(u);
	return e;
}
