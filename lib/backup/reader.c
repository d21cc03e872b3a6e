/* backup/reader.c - the owner's end of the pipeline: tar streams cut into pages, pages into frames.
 *
 * Bytes are copied once, from libpq's message into the frame.  A page of zeros gives its room back
 * and becomes a count.
 */
#include "backup/backup_internal.h"

#include <inttypes.h>
#include <stdio.h>

struct reader_state {
	const struct env *env;
	struct base_backup *source;
	struct pipeline *pipeline;
	struct lookup *lookup; /* NULL = no parent */
	struct batch *batch;   /* being filled; NULL = none taken */
	struct progress progress;
	uint64_t reported_bytes;
};

enum { PROGRESS_STEP_BYTES = 4 << 20 };

static enum err pull_archive(void *ctx, struct bytes *out, struct error *why)
{
	struct reader_state *r = ctx;

	return base_backup_read(r->source, out, why);
}

static enum err batch_start(struct reader_state *r, struct error *why)
{
	void *item;
	enum err e = pipeline_take(r->pipeline, &item, why);

	if (e != ERR_NONE)
		return e;
	r->batch = item;
	r->batch->plain_len = 0;
	r->batch->pages = 0;
	r->batch->origins = 0;
	r->batch->events = 0;
	r->batch->text_len = 0;
	r->batch->packed_len = 0;
	return ERR_NONE;
}

static void batch_submit(struct reader_state *r)
{
	if (r->batch != NULL)
		pipeline_submit(r->pipeline, r->batch);
	r->batch = NULL;
}

/* Makes sure the batch has room for an event with `text` bytes and a page of `page` bytes. */
static enum err batch_room(struct reader_state *r, size_t text, size_t page, struct error *why)
{
	struct batch *b = r->batch;

	if (b != NULL && (b->events >= BATCH_EVENTS_MAX - 1 || b->pages >= BATCH_PAGES_MAX ||
			  b->origins >= BATCH_ORIGINS_MAX || text > BATCH_TEXT_MAX - b->text_len ||
			  page > FRAME_PAGES_MAX - b->plain_len))
		batch_submit(r);
	return r->batch == NULL ? batch_start(r, why) : ERR_NONE;
}

static struct batch_event *batch_event(struct batch *b, enum batch_event_kind kind)
{
	struct batch_event *event = &b->event[b->events++];

	*event = (struct batch_event){.kind = kind};
	return event;
}

static uint32_t batch_text(struct batch *b, const char *text, size_t len)
{
	uint32_t at = b->text_len;

	memcpy(b->text + at, text, len);
	b->text_len += (uint32_t)len;
	return at;
}

static enum err open_event(struct reader_state *r, const struct tar_entry *entry, uint32_t oid,
			   struct error *why)
{
	char path[FILE_PATH_MAX];
	size_t target_len = entry->kind == TAR_SYMLINK ? strlen(entry->target) : 0;
	struct batch_event *event;
	int len;
	enum err e;

	if (oid == 0)
		len = snprintf(path, sizeof(path), "%s", entry->path);
	else
		len = snprintf(path, sizeof(path), "pg_tblspc/%" PRIu32 "/%s", oid, entry->path);
	if (len < 0 || (size_t)len >= sizeof(path))
		return error_set(why, ERR_LIMIT, "path \"%s\" is longer than %d bytes", entry->path,
				 FILE_PATH_MAX - 1);
	e = batch_room(r, (size_t)len + target_len, 0, why);
	if (e != ERR_NONE)
		return e;
	event = batch_event(r->batch, EVENT_OPEN);
	event->file_kind = entry->kind == TAR_FILE        ? FILE_PLAIN
			   : entry->kind == TAR_DIRECTORY ? FILE_DIRECTORY
							  : FILE_SYMLINK;
	event->mode = (uint16_t)(entry->mode & 07777);
	event->size = entry->kind == TAR_FILE ? entry->size : 0;
	event->modified_s = entry->modified_s;
	event->path_len = (uint32_t)len;
	event->path_at = batch_text(r->batch, path, (size_t)len);
	event->target_len = (uint32_t)target_len;
	event->target_at = batch_text(r->batch, entry->target, target_len);
	if (entry->kind == TAR_FILE)
		lookup_file(r->lookup, bytes_of(path, (size_t)len));
	return ERR_NONE;
}

/* A shard of the file begins: what the parent has of it goes before its first page. */
static enum err shard_event(struct reader_state *r, uint32_t index, struct error *why)
{
	struct batch_origin origin;
	struct batch *b;
	bool found;
	enum err e = lookup_shard(r->lookup, index, &found, &origin, why);

	if (e != ERR_NONE || !found)
		return e;
	e = batch_room(r, 0, 0, why);
	if (e != ERR_NONE)
		return e;
	b = r->batch;
	batch_event(b, EVENT_SHARD)->first = b->origins;
	b->origin[b->origins++] = origin;
	return ERR_NONE;
}

static void zero_page(struct reader_state *r, uint32_t n, uint32_t len)
{
	struct batch *b = r->batch;
	struct batch_event *last = b->events > 0 ? &b->event[b->events - 1] : NULL;

	if (last == NULL || last->kind != EVENT_ZEROS || n == 0)
		last = batch_event(b, EVENT_ZEROS);
	last->count++;
	last->last_bytes = len;
	last->changed += lookup_zero_differs(r->lookup, n);
}

/* The page that was just filled at the batch's end, number `n` of its shard, is complete. */
static void page_done(struct reader_state *r, uint32_t n, uint32_t len)
{
	struct batch *b = r->batch;
	struct batch_event *last = b->events > 0 ? &b->event[b->events - 1] : NULL;

	if (bytes_are_zero(bytes_of(b->plain + b->plain_len, len))) {
		zero_page(r, n, len);
		return;
	}
	b->page[b->pages].offset = b->plain_len;
	b->page[b->pages].len = len;
	b->page[b->pages].state = PAGE_UNDECIDED;
	b->page[b->pages].has_old = false;
	lookup_page(r->lookup, n, &b->page[b->pages]);
	if (last == NULL || last->kind != EVENT_PAGES) {
		last = batch_event(b, EVENT_PAGES);
		last->first = b->pages;
	}
	last->count++;
	b->pages++;
	b->plain_len += len;
}

static void report(struct reader_state *r, bool always)
{
	if (!always && r->progress.done_bytes - r->reported_bytes < PROGRESS_STEP_BYTES)
		return;
	r->reported_bytes = r->progress.done_bytes;
	/* The server's estimate is made before it begins; a growing cluster overtakes it. */
	if (r->progress.total_bytes != 0 && r->progress.done_bytes > r->progress.total_bytes)
		r->progress.total_bytes = r->progress.done_bytes;
	observer_progress(r->env->observer, &r->progress);
}

static enum err read_file(struct reader_state *r, struct tar_reader *tar, uint64_t size,
			  struct error *why)
{
	uint64_t left = size;
	struct bytes have = bytes_of(NULL, 0);
	enum err e = ERR_NONE;

	for (uint64_t page = 0; left > 0; page++) {
		uint32_t len = left < MAP_PAGE_BYTES ? (uint32_t)left : MAP_PAGE_BYTES;
		uint32_t n = (uint32_t)(page % SHARD_PAGES_MAX), filled = 0;

		if (n == 0)
			e = shard_event(r, (uint32_t)(page / SHARD_PAGES_MAX), why);
		if (e == ERR_NONE)
			e = batch_room(r, 0, len, why);
		if (e != ERR_NONE)
			return e;
		while (filled < len) {
			uint32_t take;

			if (have.len == 0) {
				e = tar_reader_data(tar, &have, why);
				if (e != ERR_NONE)
					return e;
				if (have.len == 0)
					return error_set(why, ERR_PEER,
							 "the file ends %" PRIu64
							 " bytes before its size",
							 left - filled);
			}
			take = have.len < len - filled ? (uint32_t)have.len : len - filled;
			memcpy(r->batch->plain + r->batch->plain_len + filled, have.data, take);
			have = bytes_of(have.data + take, have.len - take);
			filled += take;
		}
		page_done(r, n, len);
		left -= len;
		r->progress.done_bytes += len;
		report(r, false);
	}
	return ERR_NONE;
}

static enum err read_archive(struct reader_state *r, uint32_t oid, struct error *why)
{
	struct tar_reader *tar = NULL;
	struct tar_entry entry;
	enum err e = tar_reader_open(pull_archive, r, &tar, why);

	while (e == ERR_NONE) {
		e = tar_reader_next(tar, &entry, why);
		if (e != ERR_NONE)
			break;
		e = open_event(r, &entry, oid, why);
		if (e == ERR_NONE && entry.kind == TAR_FILE)
			e = read_file(r, tar, entry.size, why);
		if (e != ERR_NONE) {
			(void)error_add(why, "while receiving \"%s\"", entry.path);
			break;
		}
		if (entry.kind == TAR_FILE) {
			e = batch_room(r, 0, 0, why);
			if (e == ERR_NONE)
				(void)batch_event(r->batch, EVENT_CLOSE);
		}
		r->progress.done_items++;
	}
	tar_reader_close(tar);
	return e == ERR_MISSING ? ERR_NONE : e;
}

enum err reader_run(const struct reader_config *config, struct error *why)
{
	struct reader_state r = {
		.env = config->env,
		.source = config->source,
		.pipeline = config->pipeline,
		.lookup = config->lookup,
		.progress = {.phase = "backup", .total_bytes = config->total_estimate},
	};
	enum err e;

	for (;;) {
		uint32_t oid;

		e = base_backup_next_archive(r.source, &oid, why);
		if (e != ERR_NONE)
			break;
		e = read_archive(&r, oid, why);
		if (e != ERR_NONE)
			return e;
	}
	if (e != ERR_MISSING)
		return e;
	batch_submit(&r);
	report(&r, true);
	return ERR_NONE;
}
