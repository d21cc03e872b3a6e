/* backup/reader.c - the owner's end of the pipeline: tar streams cut into pages, pages into frames.
 *
 * Bytes are copied once, from libpq's message into the frame.  A page of zeros gives its room back
 * and becomes a count.
 */
#include "backup/reader_internal.h"

#include <inttypes.h>
#include <stdio.h>

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

enum err reader_room(struct reader_state *r, size_t text, size_t page, struct error *why)
{
	struct batch *b = r->batch;

	if (b != NULL && (b->events >= BATCH_EVENTS_MAX - 1 || b->pages >= BATCH_PAGES_MAX ||
			  b->origins >= BATCH_ORIGINS_MAX || text > BATCH_TEXT_MAX - b->text_len ||
			  page > FRAME_PAGES_MAX - b->plain_len))
		batch_submit(r);
	return r->batch == NULL ? batch_start(r, why) : ERR_NONE;
}

struct batch_event *reader_event(struct reader_state *r, enum batch_event_kind kind)
{
	struct batch_event *event = &r->batch->event[r->batch->events++];

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

/* The path of the member at hand in the data directory. */
static enum err full_path(const struct reader_state *r, uint32_t oid, char path[FILE_PATH_MAX],
			  struct error *why)
{
	int len;

	if (oid == 0)
		len = snprintf(path, FILE_PATH_MAX, "%s", r->entry.path);
	else
		len = snprintf(path, FILE_PATH_MAX, "pg_tblspc/%" PRIu32 "/%s", oid, r->entry.path);
	if (len < 0 || len >= FILE_PATH_MAX)
		return error_set(why, ERR_LIMIT, "path \"%s\" is longer than %d bytes",
				 r->entry.path, FILE_PATH_MAX - 1);
	return ERR_NONE;
}

enum err reader_open_file(struct reader_state *r, const char *path, uint64_t size,
			  struct batch_event **out, struct error *why)
{
	const struct tar_entry *entry = &r->entry;
	size_t len = strlen(path);
	size_t target_len = entry->kind == TAR_SYMLINK ? strlen(entry->target) : 0;
	struct batch_event *event;
	enum err e = reader_room(r, len + target_len, 0, why);

	if (e != ERR_NONE)
		return e;
	event = reader_event(r, EVENT_OPEN);
	event->file_kind = entry->kind == TAR_FILE        ? FILE_PLAIN
			   : entry->kind == TAR_DIRECTORY ? FILE_DIRECTORY
							  : FILE_SYMLINK;
	event->mode = (uint16_t)(entry->mode & 07777);
	event->size = size;
	event->modified_s = entry->modified_s;
	event->path_len = (uint32_t)len;
	event->path_at = batch_text(r->batch, path, len);
	event->target_len = (uint32_t)target_len;
	event->target_at = batch_text(r->batch, entry->target, target_len);
	if (entry->kind == TAR_FILE)
		lookup_file(r->lookup, bytes_of(path, len));
	if (out != NULL)
		*out = event;
	return ERR_NONE;
}

enum err reader_origin(struct reader_state *r, const struct batch_origin *origin, struct error *why)
{
	enum err e = reader_room(r, 0, 0, why);

	if (e != ERR_NONE)
		return e;
	reader_event(r, EVENT_SHARD)->first = r->batch->origins;
	r->batch->origin[r->batch->origins++] = *origin;
	return ERR_NONE;
}

enum err reader_shard(struct reader_state *r, uint32_t index, struct error *why)
{
	struct batch_origin origin;
	bool found;
	enum err e = lookup_shard(r->lookup, index, &found, &origin, why);

	return e == ERR_NONE && found ? reader_origin(r, &origin, why) : e;
}

/* The event that a page of this kind joins. */
static struct batch_event *joined(struct reader_state *r, enum batch_event_kind kind, uint32_t n,
				  bool unsent)
{
	struct batch *b = r->batch;
	struct batch_event *last = b->events > 0 ? &b->event[b->events - 1] : NULL;

	/* Zeros are counted by shard. */
	if (last == NULL || last->kind != kind || last->unsent != unsent ||
	    (kind == EVENT_ZEROS && n == 0)) {
		last = reader_event(r, kind);
		last->first = b->pages;
		last->unsent = unsent;
	}
	last->count++;
	return last;
}

void reader_zero_page(struct reader_state *r, uint32_t n, uint32_t len, bool unsent)
{
	struct batch_event *event = joined(r, EVENT_ZEROS, n, unsent);

	event->last_bytes = len;
	event->changed += lookup_zero_differs(r->lookup, n);
}

void reader_page(struct reader_state *r, uint32_t n, uint32_t len, bool unsent)
{
	struct batch *b = r->batch;
	struct batch_page *page = &b->page[b->pages];

	if (bytes_are_zero(bytes_of(b->plain + b->plain_len, len))) {
		reader_zero_page(r, n, len, unsent);
		return;
	}
	page->offset = b->plain_len;
	page->len = len;
	page->state = PAGE_UNDECIDED;
	page->has_old = false;
	lookup_page(r->lookup, n, page);
	(void)joined(r, EVENT_PAGES, n, unsent); /* counts it */
	b->pages++;
	b->plain_len += len;
}

void reader_same_page(struct reader_state *r, const struct batch_page *same)
{
	struct batch *b = r->batch;
	struct batch_page *page = &b->page[b->pages];

	*page = *same;
	page->offset = b->plain_len; /* of nothing */
	page->len = MAP_PAGE_BYTES;
	page->state = PAGE_SAME;
	page->renewed = false;
	memcpy(page->tag, same->old.tag, sizeof(page->tag));
	page->crc = same->old.crc;
	(void)joined(r, EVENT_PAGES, 0, true); /* counts it */
	b->pages++;
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

void reader_progress(struct reader_state *r, uint64_t bytes)
{
	r->progress.done_bytes += bytes;
	report(r, false);
}

enum err reader_fill(struct reader_state *r, uint8_t *to, size_t len, struct error *why)
{
	size_t filled = 0;

	while (filled < len) {
		size_t take;

		if (r->have.len == 0) {
			enum err e = tar_reader_data(r->tar, &r->have, why);

			if (e != ERR_NONE)
				return e;
			if (r->have.len == 0)
				return error_set(why, ERR_PEER, "the file ends before its size");
		}
		take = r->have.len < len - filled ? r->have.len : len - filled;
		memcpy(to + filled, r->have.data, take);
		r->have = bytes_of(r->have.data + take, r->have.len - take);
		filled += take;
	}
	return ERR_NONE;
}

/* The member as it comes, page after page. */
static enum err read_file(struct reader_state *r, struct error *why)
{
	uint64_t left = r->entry.size;
	enum err e = ERR_NONE;

	for (uint64_t at = 0; left > 0; at++) {
		uint32_t len = left < MAP_PAGE_BYTES ? (uint32_t)left : MAP_PAGE_BYTES;
		uint32_t n = (uint32_t)(at % SHARD_PAGES_MAX);

		if (n == 0)
			e = reader_shard(r, (uint32_t)(at / SHARD_PAGES_MAX), why);
		if (e == ERR_NONE)
			e = reader_room(r, 0, len, why);
		if (e == ERR_NONE)
			e = reader_fill(r, r->batch->plain + r->batch->plain_len, len, why);
		if (e != ERR_NONE)
			return e;
		reader_page(r, n, len, false);
		left -= len;
		reader_progress(r, len);
	}
	return ERR_NONE;
}

static enum err read_member(struct reader_state *r, uint32_t oid, struct error *why)
{
	bool is_file = r->entry.kind == TAR_FILE, composed = false;
	char path[FILE_PATH_MAX];
	enum err e = full_path(r, oid, path, why);

	r->have = bytes_of(NULL, 0);
	if (e == ERR_NONE && is_file && r->composer != NULL)
		e = composer_take(r->composer, r, path, &composed, why);
	if (e == ERR_NONE && !composed) {
		e = reader_open_file(r, path, is_file ? r->entry.size : 0, NULL, why);
		if (e == ERR_NONE && is_file)
			e = read_file(r, why);
	}
	if (e == ERR_NONE && is_file) {
		e = reader_room(r, 0, 0, why);
		if (e == ERR_NONE)
			(void)reader_event(r, EVENT_CLOSE); /* has no more to say */
	}
	return e == ERR_NONE ? e : error_add(why, "while receiving \"%s\"", r->entry.path);
}

static enum err read_archive(struct reader_state *r, uint32_t oid, struct error *why)
{
	bool ended = false;
	enum err e = tar_reader_open(pull_archive, r, &r->tar, why);

	while (e == ERR_NONE) {
		e = tar_reader_next(r->tar, &r->entry, why);
		ended = e == ERR_MISSING;
		if (e == ERR_NONE)
			e = read_member(r, oid, why);
		r->progress.done_items++;
	}
	tar_reader_close(r->tar);
	r->tar = NULL;
	return ended ? ERR_NONE : e;
}

enum err reader_run(const struct reader_config *config, struct error *why)
{
	struct reader_state r = {
		.env = config->env,
		.source = config->source,
		.pipeline = config->pipeline,
		.lookup = config->lookup,
		.composer = config->composer,
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
