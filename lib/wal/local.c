/* wal/local.c - the segments in a server's pg_wal beside what the archive has of them. */
#include "pgformat/page.h"
#include "wal/archive_internal.h"
#include "wal/local_internal.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

/* A history file goes into the memory of a segment. */
static_assert(HISTORY_FILE_MAX <= WAL_SEGMENT_BYTES_MIN, "the smallest segment holds a history");

enum { LONG_HEADER_BYTES = 40 };

enum err local_init(struct local_wal *l, const struct env *env, const struct wal_archive *archive,
		    int dir, uint32_t segment_bytes, struct error *why)
{
	*l = (struct local_wal){
		.env = env, .archive = archive, .dir = dir, .segment_bytes = segment_bytes};
	if (!wal_is_segment_bytes(segment_bytes))
		return error_set(why, ERR_CONFIG, "looking at WAL: %u bytes are no segment size",
				 segment_bytes);
	l->room = bytes_new_large(segment_bytes);
	return l->room != NULL ? ERR_NONE
			       : error_set(why, ERR_MEMORY, "looking at WAL: out of memory");
}

void local_release(struct local_wal *l)
{
	free(l->room);
	free(l->segment);
	*l = (struct local_wal){.dir = -1};
}

/* ---- names ---- */

enum err local_add(struct local_wal *l, uint32_t timeline, uint64_t segno, bool here,
		   struct error *why)
{
	if (l->count == l->max) {
		size_t max = l->max == 0 ? 64 : l->max * 2;
		struct local_segment *more = realloc(l->segment, max * sizeof(*more));

		if (more == NULL)
			return error_set(why, ERR_MEMORY, "looking at WAL: out of memory");
		l->segment = more;
		l->max = max;
	}
	l->segment[l->count++] =
		(struct local_segment){.timeline = timeline, .segno = segno, .here = here};
	return ERR_NONE;
}

struct naming {
	struct local_wal *local;
	enum err e;
	struct error *why;
};

static int see_name(void *ctx, const char *name, mode_t type)
{
	struct naming *n = ctx;
	struct wal_name parsed;
	uint64_t segno;

	if (!S_ISREG(type) || wal_name_from_text(name, &parsed, NULL) != ERR_NONE ||
	    parsed.kind != WAL_NAME_SEGMENT ||
	    !wal_name_segno(&parsed, n->local->segment_bytes, &segno) ||
	    segno == 0) /* no server writes there */
		return 0;
	n->e = local_add(n->local, parsed.timeline, segno, true, n->why);
	return n->e != ERR_NONE;
}

static int by_place(const void *a, const void *b)
{
	const struct local_segment *x = a, *y = b;

	if (x->timeline != y->timeline)
		return x->timeline < y->timeline ? -1 : 1;
	return x->segno < y->segno ? -1 : x->segno > y->segno;
}

void local_sort(struct local_wal *l)
{
	size_t kept = 0;

	if (l->count == 0)
		return;
	qsort(l->segment, l->count, sizeof(*l->segment), by_place);
	for (size_t i = 1; i < l->count; i++) {
		if (by_place(&l->segment[kept], &l->segment[i]) != 0)
			l->segment[++kept] = l->segment[i];
		else
			l->segment[kept].here = l->segment[kept].here || l->segment[i].here;
	}
	l->count = kept + 1;
}

struct local_segment *local_find(const struct local_wal *l, uint32_t timeline, uint64_t segno)
{
	struct local_segment key = {.timeline = timeline, .segno = segno};

	return l->count == 0 ? NULL
			     : bsearch(&key, l->segment, l->count, sizeof(*l->segment), by_place);
}

enum err local_names(struct local_wal *l, struct error *why)
{
	struct naming n = {.local = l, .why = why};
	int answer = l->env->files->ops->list(l->env->files, l->dir, ".", see_name, &n);

	if (n.e != ERR_NONE)
		return n.e;
	if (answer < 0)
		return error_set_os(why, error_kind_of_os(-answer), -answer, "listing pg_wal");
	local_sort(l);
	return ERR_NONE;
}

static enum err see_archived(void *ctx, const struct wal_listed *listed, struct error *why)
{
	struct local_wal *l = ctx;
	struct local_segment *segment;
	uint64_t segno;

	(void)why;
	if (listed->name.kind != WAL_NAME_SEGMENT ||
	    !wal_name_segno(&listed->name, l->segment_bytes, &segno))
		return ERR_NONE;
	segment = local_find(l, listed->name.timeline, segno);
	if (segment == NULL)
		return ERR_NONE;
	if (!listed->slice)
		segment->archived = true;
	else if (listed->from <= segment->covered && listed->to > segment->covered)
		segment->covered = listed->to;
	return ERR_NONE;
}

static enum err ask_one(struct local_wal *l, const struct cluster *cluster,
			const struct local_segment *first, struct error *why)
{
	enum err e = wal_list_timeline(cluster, first->timeline, first->segno, l->segment_bytes,
				       see_archived, l, why);

	if (e == ERR_NONE || e == ERR_MEMORY || e == ERR_CANCELLED)
		return e;
	observer_event(l->env->observer, LEVEL_WARNING,
		       "WAL of timeline %u not listed in %s, so it counts as not archived there: "
		       "%s",
		       first->timeline, cluster->repository->store->label, why->text);
	return ERR_NONE;
}

enum err local_ask_archive(struct local_wal *l, struct error *why)
{
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < l->count; i++) {
		const struct local_segment *first = &l->segment[i];

		if (i > 0 && first->timeline == first[-1].timeline)
			continue;
		for (size_t k = 0; e == ERR_NONE && k < l->archive->count; k++)
			e = ask_one(l, &l->archive->cluster[k], first, why);
		if (e == ERR_NONE)
			e = salvage_list(l->archive->salvage, first->timeline, first->segno,
					 see_archived, l, why);
	}
	return e;
}

void local_name(const struct local_wal *l, uint32_t timeline, uint64_t segno, struct wal_name *name,
		char text[WAL_NAME_MAX])
{
	wal_segment_name(timeline, segno, l->segment_bytes, name);
	wal_name_to_text(name, text);
}

/* ---- content ---- */

enum err local_read(const struct local_wal *l, const char *name, size_t max, struct bytes *out,
		    struct error *why)
{
	const struct files_ops *ops = l->env->files->ops;
	int fd = ops->open_beneath(l->env->files, l->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK,
				   0);
	size_t len = 0;
	ssize_t got = 1;

	if (fd < 0)
		return error_set(why, ERR_MISSING, "opening \"%s\"", name);
	if (max > l->segment_bytes)
		max = l->segment_bytes;
	while (len < max && got > 0) {
		got = ops->pread(l->env->files, fd, l->room + len, max - len, (off_t)len);
		if (got > 0)
			len += (size_t)got;
	}
	(void)ops->close(l->env->files, fd); /* only read */
	if (len == 0)
		return error_set(why, ERR_MISSING, "reading \"%s\"", name);
	*out = bytes_of(l->room, len);
	return ERR_NONE;
}

bool local_is_that_segment(const struct local_wal *l, uint32_t timeline, uint64_t segno,
			   struct bytes head)
{
	struct wal_page page;

	return head.len >= WAL_PAGE_BYTES &&
	       wal_page_decode(bytes_of(head.data, WAL_PAGE_BYTES), &page) &&
	       page.header_bytes == LONG_HEADER_BYTES &&
	       page.address.value == wal_segment_start(segno, l->segment_bytes).value &&
	       page.system_identifier == l->archive->cluster[0].system_identifier &&
	       page.timeline <= timeline;
}

bool local_is_done(const struct local_wal *l, const char *name)
{
	char done[WAL_NAME_MAX + 32];
	struct stat st;

	(void)snprintf(done, sizeof(done), "archive_status/%s.done", name); /* fits */
	return l->env->files->ops->stat(l->env->files, l->dir, done, AT_SYMLINK_NOFOLLOW, &st) >= 0;
}

enum err local_history(const struct local_wal *l, uint32_t timeline, struct history *out,
		       struct error *why)
{
	const struct wal_name name = {.kind = WAL_NAME_HISTORY, .timeline = timeline};
	char text[WAL_NAME_MAX];
	struct bytes own;
	enum err e;

	*out = (struct history){.timeline = timeline};
	if (timeline == 1)
		return ERR_NONE;
	wal_name_to_text(&name, text);
	e = local_read(l, text, HISTORY_FILE_MAX, &own, why);
	if (e == ERR_NONE)
		e = history_from_text(timeline, own, out, why);
	if (e != ERR_NONE)
		e = wal_archive_history(l->env, l->archive, timeline, out, why);
	return e;
}
