/* backup/builder.c - the deliverer's end of the pipeline: frames go into packs, pages into shards,
 * shards into frames of their own, files into the file table.  One thread, in stream order.
 *
 * A file's record names the frame its shards lie in, and that frame is only placed when it is
 * full.  So records wait in `waiting` with the positions of references to fill in, until the open
 * shard frame is written; records and frame are bounded, so is the wait.
 */
#include "backup/backup_internal.h"
#include "base/crc32c.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

enum {
	WAITING_BYTES_MAX = 1 << 20,       /* above it the shard frame is written early */
	FILE_RECORD_MAX = FRAME_PLAIN_MAX, /* of one file: 32 bytes for each 16 MiB */
	REF_BYTES = 32
};

/* The beginning of a file that the run wants to look at. */
struct kept_file {
	uint8_t data[BUILDER_KEPT_MAX];
	size_t len;
};

/* A reference whose frame is not placed yet. */
struct open_ref {
	bool in_file;         /* in `file_refs`, else in `waiting` */
	size_t at;            /* position there */
	uint32_t offset, len; /* of the shard in the frame */
};

struct builder {
	struct pack_writer *packs;
	struct seen *seen;
	struct compressor *compressor;
	uint8_t *packed;       /* compressor_bound(FRAME_SECTION_MAX) */
	struct writer frame;   /* shards of the open frame */
	struct writer waiting; /* records that hold open references, and those behind them */
	size_t *record_end;    /* ends of the records in `waiting` */
	size_t records, records_max;
	struct open_ref *ref;
	size_t refs, refs_max;
	/* The file being received. */
	struct file_record file;
	char path[FILE_PATH_MAX], target[FILE_PATH_MAX];
	struct shard shard;
	struct writer file_refs; /* REF_BYTES each */
	uint64_t received;
	struct kept_file *keeping; /* the kept copy this file goes to, or NULL */
	struct kept_file control, label;
	struct builder_totals totals;
};

enum err builder_new(struct pack_writer *packs, struct seen *seen, int level, struct builder **out,
		     struct error *why)
{
	struct builder *b = calloc(1, sizeof(*b));
	enum err e = ERR_NONE;

	if (b == NULL)
		return error_set(why, ERR_MEMORY, "backup builder: out of memory");
	b->packs = packs;
	b->seen = seen;
	writer_init(&b->frame, FRAME_SECTION_MAX + SHARD_ENCODED_MAX);
	writer_init(&b->waiting, WAITING_BYTES_MAX + FILE_RECORD_MAX);
	writer_init(&b->file_refs, FILE_RECORD_MAX);
	b->packed = malloc(compressor_bound(FRAME_SECTION_MAX));
	if (b->packed == NULL)
		e = error_set(why, ERR_MEMORY, "backup builder: out of memory");
	if (e == ERR_NONE)
		e = compressor_new(level, FRAME_SECTION_MAX, &b->compressor, why);
	if (e != ERR_NONE) {
		builder_free(b);
		return e;
	}
	shard_reset(&b->shard);
	*out = b;
	return ERR_NONE;
}

void builder_free(struct builder *b)
{
	if (b == NULL)
		return;
	writer_release(&b->frame);
	writer_release(&b->waiting);
	writer_release(&b->file_refs);
	compressor_free(b->compressor);
	free(b->packed);
	free(b->record_end);
	free(b->ref);
	free(b);
}

/* Hands complete records to the section, in order, and forgets them. */
static enum err records_emit(struct builder *b, struct error *why)
{
	size_t at = 0;

	for (size_t i = 0; i < b->records; i++) {
		struct bytes record = bytes_of(b->waiting.data + at, b->record_end[i] - at);
		enum err e = pack_section_add(b->packs, SECTION_FILES, record, why);

		if (e != ERR_NONE)
			return e;
		at = b->record_end[i];
	}
	b->records = 0;
	writer_reset(&b->waiting);
	return ERR_NONE;
}

/* Writes the open shard frame, fills its references in, lets the waiting records go. */
static enum err frame_write(struct builder *b, struct error *why)
{
	struct frame_ref placed;
	enum codec codec;
	size_t packed_len;
	uint32_t pack;
	enum err e;

	if (b->frame.len > 0) {
		e = compressor_run(b->compressor, writer_view(&b->frame), b->packed,
				   compressor_bound(FRAME_SECTION_MAX), &packed_len, &codec, why);
		if (e == ERR_NONE)
			e = pack_add(b->packs, FRAME_SHARD, codec, bytes_of(b->packed, packed_len),
				     (uint32_t)b->frame.len, &placed, why);
		if (e == ERR_NONE)
			e = pack_index(b->packs, &placed.pack, &pack, why);
		if (e != ERR_NONE)
			return e;
		for (size_t i = 0; i < b->refs; i++) {
			const struct open_ref *open = &b->ref[i];
			struct file_shard_ref ref = {
				.pack = pack,
				.place = {.ordinal = placed.ordinal,
					  .offset = placed.offset,
					  .stored_len = placed.stored_len,
					  .plain_len = placed.plain_len},
				.offset = open->offset,
				.len = open->len,
			};

			file_shard_ref_encode(
				&ref,
				(open->in_file ? b->file_refs.data : b->waiting.data) + open->at);
		}
		b->refs = 0;
		writer_reset(&b->frame);
	}
	return records_emit(b, why);
}

/* Room for one more element in a growing array. */
static enum err grow(void **array, size_t used, size_t *max, size_t size, struct error *why)
{
	size_t more = *max == 0 ? 64 : *max * 2;
	void *bigger;

	if (used < *max)
		return ERR_NONE;
	bigger = realloc(*array, more * size);
	if (bigger == NULL)
		return error_set(why, ERR_MEMORY, "backup builder: out of memory");
	*array = bigger;
	*max = more;
	return ERR_NONE;
}

/* The shard is full or the file ends: puts it into the open frame and notes its reference. */
static enum err shard_close(struct builder *b, struct error *why)
{
	static const uint8_t nothing[REF_BYTES];
	struct writer encoded;
	enum err e = ERR_NONE;

	if (b->shard.pages == 0)
		return ERR_NONE;
	writer_init(&encoded, SHARD_ENCODED_MAX);
	shard_encode(&b->shard, &encoded);
	if (encoded.bad)
		e = error_set(why, ERR_MEMORY, "map of \"%s\": out of memory", b->path);
	if (e == ERR_NONE && b->frame.len + encoded.len > FRAME_SECTION_MAX)
		e = frame_write(b, why);
	if (e == ERR_NONE)
		e = grow((void **)&b->ref, b->refs, &b->refs_max, sizeof(*b->ref), why);
	if (e == ERR_NONE) {
		b->ref[b->refs++] = (struct open_ref){
			.in_file = true,
			.at = b->file_refs.len,
			.offset = (uint32_t)b->frame.len,
			.len = (uint32_t)encoded.len,
		};
		writer_bytes(&b->frame, writer_view(&encoded));
		writer_bytes(&b->file_refs, bytes_of(nothing, REF_BYTES));
		if (b->frame.bad)
			e = error_set(why, ERR_MEMORY, "map of \"%s\": out of memory", b->path);
		else if (b->file_refs.bad)
			e = error_set(why, ERR_LIMIT, "\"%s\" is too large for the file table",
				      b->path);
	}
	writer_release(&encoded);
	shard_reset(&b->shard);
	return e;
}

/* The record of the current file joins the waiting ones. */
static enum err record_add(struct builder *b, struct error *why)
{
	size_t begin = b->waiting.len;
	size_t refs_at;
	enum err e = grow((void **)&b->record_end, b->records, &b->records_max,
			  sizeof(*b->record_end), why);

	if (e != ERR_NONE)
		return e;
	b->file.shards = (uint32_t)(b->file_refs.len / REF_BYTES);
	b->file.shard_refs = b->file_refs.data;
	file_record_encode(&b->file, &b->waiting);
	if (b->waiting.bad)
		return error_set(why, ERR_LIMIT, "record of \"%s\" does not fit the file table",
				 b->path);
	/* The references are the record's last bytes; open ones move with them. */
	refs_at = b->waiting.len - b->file_refs.len;
	assert(refs_at >= begin);
	for (size_t i = 0; i < b->refs; i++) {
		if (!b->ref[i].in_file)
			continue;
		b->ref[i].in_file = false;
		b->ref[i].at += refs_at;
	}
	b->record_end[b->records++] = b->waiting.len;
	writer_reset(&b->file_refs);
	if (b->waiting.len > WAITING_BYTES_MAX)
		return frame_write(b, why);
	return ERR_NONE;
}

static enum err file_open(struct builder *b, const struct batch *batch,
			  const struct batch_event *event, struct error *why)
{
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
	b->keeping = strcmp(b->path, "global/pg_control") == 0 ? &b->control
		     : strcmp(b->path, "backup_label") == 0    ? &b->label
							       : NULL;
	if (event->file_kind == FILE_PLAIN)
		return ERR_NONE;
	return record_add(b, why);
}

static enum err file_close(struct builder *b, struct error *why)
{
	enum err e = shard_close(b, why);

	if (e != ERR_NONE)
		return e;
	if (b->received != b->file.size)
		return error_set(why, ERR_PEER,
				 "\"%s\": %" PRIu64 " bytes announced, %" PRIu64 " received",
				 b->path, b->file.size, b->received);
	e = seen_add(b->seen, b->file.path, b->file.size, b->file.crc, why);
	if (e != ERR_NONE)
		return e;
	b->totals.files++;
	b->totals.bytes_cluster += b->file.size;
	return record_add(b, why);
}

/* Room in the shard for one more page. */
static enum err shard_room(struct builder *b, struct error *why)
{
	return b->shard.pages == SHARD_PAGES_MAX ? shard_close(b, why) : ERR_NONE;
}

static enum err take_zeros(struct builder *b, const struct batch_event *event, struct error *why)
{
	static const uint8_t zeros[MAP_PAGE_BYTES];

	for (uint32_t i = 0; i < event->count; i++) {
		uint32_t len = i + 1 == event->count ? event->last_bytes : MAP_PAGE_BYTES;
		enum err e = shard_room(b, why);

		if (e != ERR_NONE)
			return e;
		shard_add_zero(&b->shard, len);
		b->file.crc = crc32c_combine(b->file.crc, crc32c(bytes_of(zeros, len)), len);
		b->received += len;
	}
	return ERR_NONE;
}

static enum err take_pages(struct builder *b, const struct batch *batch,
			   const struct batch_event *event, const struct frame_ref *frame,
			   struct error *why)
{
	for (uint32_t i = 0; i < event->count; i++) {
		const struct batch_page *page = &batch->page[event->first + i];
		enum err e = shard_room(b, why);

		if (e != ERR_NONE)
			return e;
		if (b->keeping != NULL && b->received == 0) {
			b->keeping->len = page->len;
			memcpy(b->keeping->data, batch->plain + page->offset, page->len);
		}
		shard_add(&b->shard, page->len, page->tag, page->crc, frame, page->offset);
		b->file.crc = crc32c_combine(b->file.crc, page->crc, page->len);
		b->received += page->len;
		b->totals.bytes_new += page->len;
		b->totals.pages_new++;
	}
	return ERR_NONE;
}

enum err builder_take(void *builder, void *item, struct error *why)
{
	struct builder *b = builder;
	const struct batch *batch = item;
	struct frame_ref frame = {.ordinal = 0};
	enum err e = ERR_NONE;

	if (batch->plain_len > 0)
		e = pack_add(b->packs, FRAME_PAGES, batch->codec,
			     bytes_of(batch->packed, batch->packed_len), batch->plain_len, &frame,
			     why);
	for (uint32_t i = 0; i < batch->events && e == ERR_NONE; i++) {
		const struct batch_event *event = &batch->event[i];

		switch (event->kind) {
		case EVENT_OPEN:
			e = file_open(b, batch, event, why);
			break;
		case EVENT_PAGES:
			e = take_pages(b, batch, event, &frame, why);
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
	return frame_write(b, why);
}

const struct builder_totals *builder_totals(const struct builder *b)
{
	return &b->totals;
}

struct bytes builder_control(const struct builder *b)
{
	return bytes_of(b->control.data, b->control.len);
}

struct bytes builder_label(const struct builder *b)
{
	return bytes_of(b->label.data, b->label.len);
}
