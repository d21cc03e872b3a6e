/* backup/builder.c - the deliverer's end of the pipeline: frames go into packs, pages to the mapper,
 * files into the file table.  One thread, in stream order.
 *
 * A file's record names the places of its shards, and the mapper tells those later, in any order.  So
 * records wait in `waiting`, room for the references at their ends, until the mapper was flushed;
 * their bytes are bounded, so is the wait.
 */
#include "backup/backup_internal.h"
#include "base/crc32c.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
	WAITING_BYTES_MAX = 1 << 20,      /* above it the mapper is flushed */
	FILE_RECORD_MAX = FRAME_PLAIN_MAX /* of one file: 32 bytes for each 16 MiB */
};

/* The beginning of a file that the run wants to look at. */
struct kept_file {
	uint8_t data[BUILDER_KEPT_MAX];
	size_t len;
};

struct builder {
	struct pack_writer *packs;
	struct seen *seen;
	struct image *image; /* NULL = the server's manifest will do */
	struct mapper *mapper;
	struct writer waiting; /* records, the last may be the current file's */
	size_t *record_end;    /* ends of the complete records in `waiting` */
	size_t records, records_max;
	/* The file being received. */
	struct file_record file;
	char path[FILE_PATH_MAX], target[FILE_PATH_MAX];
	size_t record_at; /* in `waiting` */
	size_t ticket;    /* where its next shard's reference goes, in `waiting` */
	uint64_t received;
	bool composed; /* it came otherwise */
	uint64_t sent_bytes;
	uint32_t sent_crc;
	struct kept_file *keeping; /* the kept copy this file goes to, or NULL */
	struct kept_file control, label;
	struct builder_totals totals;
};

static void placed(void *ctx, size_t ticket, const struct file_shard_ref *ref)
{
	struct builder *b = ctx;

	file_shard_ref_encode(ref, b->waiting.data + ticket);
}

enum err builder_new(struct pack_writer *packs, struct seen *seen, const struct parent_map *parent,
		     int level, struct builder **out, struct error *why)
{
	struct builder *b = calloc(1, sizeof(*b));
	struct mapper_config config = {
		.packs = packs, .parent = parent, .level = level, .placed = placed, .ctx = b};
	enum err e;

	if (b == NULL)
		return error_set(why, ERR_MEMORY, "backup builder: out of memory");
	b->packs = packs;
	b->seen = seen;
	writer_init(&b->waiting, WAITING_BYTES_MAX + FILE_RECORD_MAX);
	e = mapper_new(&config, &b->mapper, why);
	if (e != ERR_NONE) {
		builder_free(b);
		return e;
	}
	*out = b;
	return ERR_NONE;
}

void builder_free(struct builder *b)
{
	if (b == NULL)
		return;
	mapper_free(b->mapper);
	writer_release(&b->waiting);
	free(b->record_end);
	free(b);
}

void builder_set_image(struct builder *b, struct image *image)
{
	b->image = image;
}

/* Places all shards and hands the records, complete now, to the section, in order. */
static enum err records_emit(struct builder *b, struct error *why)
{
	enum err e = mapper_flush(b->mapper, why);
	size_t at = 0;

	for (size_t i = 0; i < b->records && e == ERR_NONE; i++) {
		struct bytes record = bytes_of(b->waiting.data + at, b->record_end[i] - at);

		e = pack_section_add(b->packs, SECTION_FILES, record, why);
		at = b->record_end[i];
	}
	b->records = 0;
	writer_reset(&b->waiting);
	return e;
}

/* The record of the current file, without CRC and references. */
static enum err record_begin(struct builder *b, struct error *why)
{
	uint64_t shards = b->file.size / SHARD_FILE_BYTES + (b->file.size % SHARD_FILE_BYTES != 0);

	b->record_at = b->waiting.len;
	if (shards > FILE_RECORD_MAX / FILE_SHARD_REF_BYTES)
		return error_set(why, ERR_LIMIT, "\"%s\" is too large for the file table", b->path);
	b->file.shards = (uint32_t)shards;
	file_record_encode(&b->file, &b->waiting);
	if (b->waiting.bad)
		return error_set(why, ERR_LIMIT, "record of \"%s\" does not fit the file table",
				 b->path);
	b->ticket = b->waiting.len - (size_t)shards * FILE_SHARD_REF_BYTES;
	return ERR_NONE;
}

static enum err record_end(struct builder *b, struct error *why)
{
	if (b->records == b->records_max) {
		size_t more = b->records_max == 0 ? 64 : b->records_max * 2;
		size_t *bigger = reallocarray(b->record_end, more, sizeof(*bigger));

		if (bigger == NULL)
			return error_set(why, ERR_MEMORY, "backup builder: out of memory");
		b->record_end = bigger;
		b->records_max = more;
	}
	file_record_set_crc(b->waiting.data + b->record_at, b->file.crc);
	b->record_end[b->records++] = b->waiting.len;
	return b->waiting.len > WAITING_BYTES_MAX ? records_emit(b, why) : ERR_NONE;
}

static enum err file_open(struct builder *b, const struct batch *batch,
			  const struct batch_event *event, struct error *why)
{
	enum err e;

	memcpy(b->path, batch->text + event->path_at, event->path_len);
	b->path[event->path_len] = '\0';
	memcpy(b->target, batch->text + event->target_at, event->target_len);
	b->target[event->target_len] = '\0';
	b->file = (struct file_record){
		.kind = event->file_kind,
		.mode = event->mode,
		.size = event->size,
		.modified_s = event->modified_s,
		.path = bytes_of(b->path, event->path_len),
		.target = bytes_of(b->target, event->target_len),
	};
	b->received = 0;
	b->composed = event->composed;
	b->sent_bytes = event->sent_bytes;
	b->sent_crc = event->sent_crc;
	b->keeping = strcmp(b->path, "global/pg_control") == 0 ? &b->control
		     : strcmp(b->path, "backup_label") == 0    ? &b->label
							       : NULL;
	e = record_begin(b, why);
	return e == ERR_NONE && event->file_kind != FILE_PLAIN ? record_end(b, why) : e;
}

/* Bytes of the current file were added to the shard; a full one ends. */
static enum err advance(struct builder *b, uint32_t len, uint32_t crc, bool unsent,
			struct error *why)
{
	size_t ticket = b->ticket;

	b->file.crc = crc32c_combine(b->file.crc, crc, len);
	if (b->composed && !unsent)
		b->sent_crc = crc32c_combine(b->sent_crc, crc, len);
	b->received += len;
	if (b->received > b->file.size)
		return error_set(why, ERR_PEER,
				 "\"%s\": more than the %" PRIu64 " bytes announced received",
				 b->path, b->file.size);
	if (mapper_pages(b->mapper) < SHARD_PAGES_MAX && b->received < b->file.size)
		return ERR_NONE;
	b->ticket += FILE_SHARD_REF_BYTES;
	return mapper_end_shard(b->mapper, ticket, why);
}

static enum err file_close(struct builder *b, struct error *why)
{
	enum err e;

	if (b->received != b->file.size)
		return error_set(why, ERR_PEER,
				 "\"%s\": %" PRIu64 " bytes announced, %" PRIu64 " received",
				 b->path, b->file.size, b->received);
	e = seen_add(b->seen, b->file.path, b->composed ? b->sent_bytes : b->file.size,
		     b->composed ? b->sent_crc : b->file.crc, why);
	if (e == ERR_NONE && b->image != NULL)
		e = image_add(b->image, &b->file, why);
	if (e != ERR_NONE)
		return e;
	b->totals.files++;
	b->totals.bytes_cluster += b->file.size;
	return record_end(b, why);
}

static enum err take_zeros(struct builder *b, const struct batch_event *event, struct error *why)
{
	static const uint8_t zeros[MAP_PAGE_BYTES];

	mapper_zeros_changed(b->mapper, event->changed);
	for (uint32_t i = 0; i < event->count; i++) {
		uint32_t len = i + 1 == event->count ? event->last_bytes : MAP_PAGE_BYTES;
		enum err e;

		mapper_zero(b->mapper, len);
		e = advance(b, len, crc32c(bytes_of(zeros, len)), event->unsent, why);
		if (e != ERR_NONE)
			return e;
	}
	return ERR_NONE;
}

static enum err take_pages(struct builder *b, const struct batch *batch,
			   const struct batch_event *event, struct error *why)
{
	for (uint32_t i = 0; i < event->count; i++) {
		const struct batch_page *page = &batch->page[event->first + i];
		const uint8_t *data = batch->plain + page->offset;
		enum err e;

		if (b->keeping != NULL && b->received == 0) {
			b->keeping->len = page->len;
			memcpy(b->keeping->data, data, page->len);
		}
		e = mapper_page(b->mapper, page, data, why);
		if (e == ERR_NONE)
			e = advance(b, page->len, page->crc, event->unsent, why);
		if (e != ERR_NONE)
			return e;
	}
	return ERR_NONE;
}

/* The batch's own frame goes into a pack before its pages are mapped. */
static enum err take_frame(struct builder *b, const struct batch *batch, struct error *why)
{
	struct frame_ref frame;
	enum err e;

	if (batch->frame_len == 0)
		return ERR_NONE;
	e = pack_add(b->packs, FRAME_PAGES, batch->codec,
		     bytes_of(batch->packed, batch->packed_len), batch->frame_len, &frame, why);
	if (e == ERR_NONE)
		mapper_set_frame(b->mapper, &frame);
	return e;
}

enum err builder_take(void *builder, void *item, struct error *why)
{
	struct builder *b = builder;
	const struct batch *batch = item;
	enum err e = take_frame(b, batch, why);

	for (uint32_t i = 0; i < batch->events && e == ERR_NONE; i++) {
		const struct batch_event *event = &batch->event[i];

		switch (event->kind) {
		case EVENT_OPEN:
			e = file_open(b, batch, event, why);
			break;
		case EVENT_SHARD:
			mapper_set_origin(b->mapper, &batch->origin[event->first]);
			break;
		case EVENT_PAGES:
			e = take_pages(b, batch, event, why);
			break;
		case EVENT_ZEROS:
			e = take_zeros(b, event, why);
			break;
		case EVENT_CLOSE:
			e = file_close(b, why);
			break;
		}
	}
	return e;
}

enum err builder_finish(struct builder *b, struct error *why)
{
	return records_emit(b, why);
}

struct builder_totals builder_totals(const struct builder *b)
{
	struct builder_totals totals = b->totals;

	totals.pages = *mapper_totals(b->mapper);
	return totals;
}

struct bytes builder_control(const struct builder *b)
{
	return bytes_of(b->control.data, b->control.len);
}

struct bytes builder_label(const struct builder *b)
{
	return bytes_of(b->label.data, b->label.len);
}
