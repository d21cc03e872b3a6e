/* support/wal_shelf.h - repositories filled with golden WAL of PostgreSQL 15 in segments of 1 MiB,
 * and segments of a made-up server.
 */
#ifndef SUPPORT_WAL_SHELF_H
#define SUPPORT_WAL_SHELF_H

#include "golden.h"
#include "pgformat/page.h"
#include "repo/wal_object.h"
#include "repo_world.h"

enum { SHELF_SEGMENT = 1 << 20 };

/* The system identifier in a segment's first page. */
static inline uint64_t shelf_system(struct golden segment)
{
	return get_u64(segment.data + 24);
}

static inline struct golden shelf_golden(uint32_t timeline, unsigned segno)
{
	char path[100];

	(void)snprintf(path, sizeof(path), "tests/golden/wal/15/%08X%08X%08X.runs", timeline, 0,
		       segno);
	return golden_read_runs(path, SHELF_SEGMENT);
}

/* A world whose cluster is the one of the golden WAL. */
static inline void shelf_world(struct repo_world *w, const struct repo_world *sibling)
{
	repo_world_init(w, sibling);
	cluster_init(&w->cluster, w->repository, "main", shelf_system(shelf_golden(1, 0xB)));
}

static inline struct wal_name shelf_name(uint32_t timeline, uint64_t segno)
{
	struct wal_name name;

	wal_segment_name(timeline, segno, SHELF_SEGMENT, &name);
	return name;
}

static inline void shelf_put(struct repo_world *w, uint32_t timeline, uint64_t segno,
			     struct golden bytes)
{
	struct wal_name name = shelf_name(timeline, segno);
	enum wal_put_result result;
	struct error why;

	OK(wal_put(&w->cluster, &name, SHELF_SEGMENT, 1, golden_view(bytes), &result, &why));
}

static inline void shelf_put_golden(struct repo_world *w, uint32_t timeline, unsigned segno)
{
	shelf_put(w, timeline, segno, shelf_golden(timeline, segno));
}

static inline void shelf_put_slice(struct repo_world *w, uint32_t timeline, uint64_t segno,
				   struct golden bytes, uint32_t from, uint32_t to)
{
	struct wal_name name = shelf_name(timeline, segno);
	struct error why;

	OK(wal_put_slice(&w->cluster, &name, SHELF_SEGMENT, 1, from, to,
			 bytes_of(bytes.data + from, to - from), &why));
}

static inline void shelf_put_text(struct repo_world *w, const char *name, const char *text)
{
	struct wal_name parsed;
	enum wal_put_result result;
	struct error why;

	OK(wal_name_from_text(name, &parsed, &why));
	OK(wal_put(&w->cluster, &parsed, SHELF_SEGMENT, 1, bytes_of_text(text), &result, &why));
}

static inline void shelf_remove(struct repo_world *w, uint32_t timeline, uint64_t segno)
{
	struct wal_name name = shelf_name(timeline, segno);
	char key[STORE_KEY_MAX];
	struct error why;

	wal_key(&w->cluster, &name, key);
	OK(store_remove(w->memory, key, &why));
}

/* Turns one byte in the middle of the stored object. */
static inline void shelf_damage(struct repo_world *w, uint32_t timeline, uint64_t segno)
{
	struct wal_name name = shelf_name(timeline, segno);
	char key[STORE_KEY_MAX];
	uint8_t *data;
	size_t len;

	wal_key(&w->cluster, &name, key);
	data = store_memory_peek(w->memory, key, &len);
	cr_assert_not_null(data);
	data[len / 2] ^= 0x10;
}

/* Valid page headers, nothing in the pages but `mark`: what presence and names can be tested with. */
static inline struct golden shelf_made(const struct repo_world *w, uint32_t timeline,
				       uint64_t segno, uint8_t mark)
{
	struct golden g = {.data = golden_new(SHELF_SEGMENT), .len = SHELF_SEGMENT};

	for (size_t at = 0; at < g.len; at += WAL_PAGE_BYTES) {
		uint8_t *page = g.data + at;

		put_u16(page, 0xD110); /* PostgreSQL 15 */
		put_u16(page + 2, at == 0 ? WAL_PAGE_LONG : 0);
		put_u32(page + 4, timeline);
		put_u64(page + 8, segno * SHELF_SEGMENT + at);
		if (at == 0) {
			put_u64(page + 24, w->cluster.system_identifier);
			put_u32(page + 32, SHELF_SEGMENT);
			put_u32(page + 36, WAL_PAGE_BYTES);
		}
		memset(page + 64, mark, 64);
	}
	return g;
}

/* An observer that remembers its last event and the last progress. */
struct listener {
	struct observer observer;
	unsigned events;
	char text[1024];
	struct progress progress;
	unsigned steps;
	bool fell; /* progress of a phase went back, or beyond its total */
};

static inline void listener_event(struct observer *o, enum level level, const char *text)
{
	struct listener *l = (struct listener *)o;

	(void)level;
	l->events++;
	(void)snprintf(l->text, sizeof(l->text), "%s", text);
}

static inline void listener_progress(struct observer *o, const struct progress *p)
{
	struct listener *l = (struct listener *)o;

	l->fell = l->fell || p->done_bytes > p->total_bytes ||
		  (l->progress.phase == p->phase && p->done_bytes < l->progress.done_bytes);
	l->progress = *p;
	l->steps++;
}

static inline void listener_init(struct listener *l)
{
	static const struct observer_ops ops = {.event = listener_event,
						.progress = listener_progress};

	*l = (struct listener){.observer = {.ops = &ops}};
}

#endif
