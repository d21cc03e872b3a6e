/* backup/reader_internal.h - what the reader of tar streams shares with the composer of files. */
#ifndef BACKUP_READER_INTERNAL_H
#define BACKUP_READER_INTERNAL_H

#include "backup/backup_internal.h"

struct reader_state {
	const struct env *env;
	struct base_backup *source;
	struct pipeline *pipeline;
	struct lookup *lookup;     /* NULL = no parent */
	struct composer *composer; /* NULL = files are stored as they come */
	struct batch *batch;       /* being filled; NULL = none taken */
	struct tar_reader *tar;    /* of the archive at hand */
	struct tar_entry entry;    /* the member at hand */
	struct bytes have;         /* of the member, not used yet */
	struct progress progress;
	uint64_t reported_bytes;
};

/* The next `len` bytes of the member; ERR_PEER when it ends before. */
enum err reader_fill(struct reader_state *, uint8_t *to, size_t len, struct error *why) MUST_CHECK;
/* Room in the batch for an event with `text` bytes and a page of `page` bytes. */
enum err reader_room(struct reader_state *, size_t text, size_t page, struct error *why) MUST_CHECK;
struct batch_event *reader_event(struct reader_state *, enum batch_event_kind); /* after room */
/* The member at hand opens as `path`, with `size` bytes.  *event (NULL = not wanted) lives until the
 * next call for room. */
enum err reader_open_file(struct reader_state *, const char *path, uint64_t size,
			  struct batch_event **event, struct error *why) MUST_CHECK;
/* Shard `index` of it begins, with what the parent has there, if anything. */
enum err reader_shard(struct reader_state *, uint32_t index, struct error *why) MUST_CHECK;
/* The same when that is known. */
enum err reader_origin(struct reader_state *, const struct batch_origin *,
		       struct error *why) MUST_CHECK;
/* The page at the batch's end was filled with `len` bytes; it is number `n` of its shard.  `unsent`:
 * not from the server. */
void reader_page(struct reader_state *, uint32_t n, uint32_t len, bool unsent);
/* A page of zeros there. */
void reader_zero_page(struct reader_state *, uint32_t n, uint32_t len, bool unsent);
/* A page that the parent has, which `page` was filled with by lookup_page. */
void reader_same_page(struct reader_state *, const struct batch_page *);
void reader_progress(struct reader_state *, uint64_t bytes);

#endif
