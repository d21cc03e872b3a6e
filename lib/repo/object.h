/* repo/object.h - sealed objects: a header, frames, a directory, a trailer (FORMAT.md section 6).
 *
 * Writing: begin, then frames in order, then commit; memory holds one frame.  Frames may be
 * compressed elsewhere (by workers): object_add takes codec output, so only sealing and appending
 * happen here, in order.  Reading: whole, from the directory; or one frame by its reference.
 * One writer or reader belongs to one thread.
 */
#ifndef REPO_OBJECT_H
#define REPO_OBJECT_H

#include "codec/codec.h"
#include "repo/repository.h"

enum object_class {
	OBJECT_PACK = 1,
	OBJECT_MANIFEST = 2,
	OBJECT_WAL_SEGMENT = 3,
	OBJECT_WAL_SLICE = 4,
	OBJECT_WAL_SMALL = 5,
	OBJECT_WAL_PARTIAL = 6,
	OBJECT_INDEX = 7,
	OBJECT_RECORD = 8
};

enum frame_class {
	FRAME_DIRECTORY = 1,
	FRAME_SUMMARY = 2,
	FRAME_PACK_TABLE = 3,
	FRAME_ROOT = 4,
	FRAME_SECTION = 5,
	FRAME_SHARD = 6,
	FRAME_PAGES = 7,
	FRAME_WAL_HEAD = 8,
	FRAME_WAL_BYTES = 9,
	FRAME_RECORD = 10
};

enum {
	FRAME_PLAIN_MAX = 1 << 20,     /* bytes, of any frame */
	FRAME_PAGES_MAX = 128 << 10,   /* bytes, of a page or WAL frame */
	FRAME_SECTION_MAX = 256 << 10, /* bytes, of a section or shard frame as a rule */
	FRAME_HEADER_BYTES = 32,
	FRAME_OVERHEAD_BYTES = 48, /* header and tag */
	OBJECT_HEADER_BYTES = 128,
	OBJECT_TRAILER_BYTES = 32,
	/* Besides the directory, whose entries of 20 bytes have to fit in one frame. */
	OBJECT_FRAMES_MAX = (FRAME_PLAIN_MAX - 4) / 20
};

/* Where one frame lies in its object. */
struct frame_place {
	uint32_t ordinal;
	uint64_t offset;     /* of the frame header in the object */
	uint32_t stored_len; /* payload only */
	uint32_t plain_len;
};

struct object_writer;
/* Begins an upload of `key`. */
enum err object_begin(const struct repository *, const char *key, enum object_class,
		      uint64_t size_hint, struct object_writer **out, struct error *why) MUST_CHECK;
/* Seals `payload` (codec output of `plain_len` bytes) as the next frame; `place` may be NULL.
 * ERR_LIMIT after OBJECT_FRAMES_MAX frames: the object can then still be committed.  After any
 * other failure only object_abandon is left. */
enum err object_add(struct object_writer *, enum frame_class, enum codec, struct bytes payload,
		    uint32_t plain_len, struct frame_place *place, struct error *why) MUST_CHECK;
/* Compresses with `compressor` (NULL = stored), then object_add. */
enum err object_add_plain(struct object_writer *, enum frame_class, struct compressor *,
			  struct bytes plain, struct frame_place *place,
			  struct error *why) MUST_CHECK;
uint64_t object_bytes(const struct object_writer *);  /* so far */
uint32_t object_frames(const struct object_writer *); /* so far */
/* Directory, trailer, store_commit.  Ends the writer whatever the answer.  `sha256` (NULL for WAL, may be NULL for others)
 * gets the digest of the whole object, `size` (may be NULL) its bytes.  An answer that was lost is
 * settled by looking; ERR_UNSURE is left only when that fails too. */
enum err object_commit(struct object_writer *, uint8_t sha256[CRYPTO_SHA256_BYTES], uint64_t *size,
		       struct error *why) MUST_CHECK;
void object_abandon(struct object_writer *); /* NULL is fine */

/* Contexts and buffers for reading, reused over many objects; one thread. */
struct object_reader;
enum err object_reader_new(const struct repository *, struct object_reader **out,
			   struct error *why) MUST_CHECK;
void object_reader_free(struct object_reader *);

/* Points the reader at an object: reads and checks its header (class, repository, key, commitment).
 * ERR_MISSING, ERR_CORRUPT, ERR_WRONG_KEY.  The same key again costs nothing. */
enum err object_open(struct object_reader *, const char *key, enum object_class,
		     struct error *why) MUST_CHECK;
/* Reads the frame at `place` of the opened object: authenticates, decompresses.  `plain` is
 * borrowed until the next call on the reader. */
enum err object_frame(struct object_reader *, enum frame_class, const struct frame_place *place,
		      struct bytes *plain, struct error *why) MUST_CHECK;
/* The same from bytes read by the caller (header, payload, tag of exactly this frame), so that one
 * read can serve many neighbouring frames. */
enum err object_frame_from(struct object_reader *, enum frame_class,
			   const struct frame_place *place, struct bytes frame, struct bytes *plain,
			   struct error *why) MUST_CHECK;
/* The same into memory of the caller, which has room for the `plain_len` of `place`. */
enum err object_frame_into(struct object_reader *, enum frame_class,
			   const struct frame_place *place, struct bytes frame, uint8_t *plain,
			   struct error *why) MUST_CHECK;

struct frame_entry {
	struct frame_place place;
	uint8_t frame_class;
	uint8_t codec;
};
/* Trailer and directory of the opened object, in memory of the reader, valid until the next
 * object_open or object_directory.  The frames lie end to end, in order. */
enum err object_directory(struct object_reader *, const struct frame_entry **out, size_t *count,
			  uint64_t *object_size, struct error *why) MUST_CHECK;

/* The summary or WAL head: frame 0 of the opened object, with one read of at most 64 KiB where
 * possible. */
enum err object_first_frame(struct object_reader *, enum frame_class, struct bytes *plain,
			    struct error *why) MUST_CHECK;

#endif
