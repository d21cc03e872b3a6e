/* repo/wal_read.c - reading files of pg_wal: frame by frame, to whoever wants them.
 *
 * The caller's thread reads and decodes, another one computes the digest where it is wanted, and
 * delivers, so that a segment takes about half of what it costs, and 1 MiB of memory whatever its size.
 */
#include "base/pipeline.h"
#include "base/text.h"
#include "repo/lines.h"
#include "repo/wal_internal.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
	WAL_SMALL_MAX = 1 << 20, /* bytes of a .history or .backup */
	/* Two frames at once: handing over wakes a thread, which is not free. */
	PIECE_BYTES = 2 * FRAME_PAGES_MAX,
	PIECES = 4 /* decoded and not yet delivered: 1 MiB */
};

enum err wal_stated(struct object_reader *reader, const char *key, enum object_class class,
		    uint8_t sha256[CRYPTO_SHA256_BYTES], uint64_t *bytes, struct error *why)
{
	struct bytes head;
	char hex[CRYPTO_SHA256_BYTES * 2 + 1];
	enum err e = object_open(reader, key, class, why);

	if (e == ERR_NONE)
		e = object_first_frame(reader, FRAME_WAL_HEAD, &head, why);
	if (e != ERR_NONE)
		return e;
	if (!lines_get(head, "sha256", hex, sizeof(hex)) ||
	    !text_to_hex(bytes_of_text(hex), sha256, CRYPTO_SHA256_BYTES) ||
	    !lines_get_u64(head, "bytes", bytes))
		return error_set(why, ERR_CORRUPT, "%s: head without digest or size", key);
	return ERR_NONE;
}

struct piece {
	size_t len;
	uint8_t data[PIECE_BYTES];
};

/* One object on its way out. */
struct flow {
	const struct wal_sink *sink;
	struct sha256 *sha256; /* NULL = not wanted */
	struct piece *piece;   /* PIECES */
	struct pipeline *pipeline;
	struct piece *open; /* taken and not full; NULL = none */
};

static enum err flow_deliver(void *flow, void *item, struct error *why)
{
	const struct flow *f = flow;
	const struct piece *piece = item;
	struct bytes plain = bytes_of(piece->data, piece->len);
	enum err e = f->sha256 != NULL ? sha256_add(f->sha256, plain, why) : ERR_NONE;

	return e == ERR_NONE ? f->sink->take(f->sink->ctx, plain, why) : e;
}

static enum err flow_start(struct flow *f, bool digest, struct error *why)
{
	void *item[PIECES], *state[1] = {f};
	struct pipeline_config config = {.workers = 1,
					 .items = PIECES,
					 .item = item,
					 .worker_state = state,
					 .work = flow_deliver};
	enum err e = digest ? sha256_new(&f->sha256, why) : ERR_NONE;

	if (e == ERR_NONE && digest)
		e = sha256_start(f->sha256, why);
	f->piece = malloc(PIECES * sizeof(*f->piece));
	if (e == ERR_NONE && f->piece == NULL)
		e = error_set(why, ERR_MEMORY, "no memory for WAL");
	for (size_t i = 0; e == ERR_NONE && i < PIECES; i++)
		item[i] = &f->piece[i];
	return e == ERR_NONE ? pipeline_new(&config, &f->pipeline, why) : e;
}

static void flow_release(struct flow *f)
{
	pipeline_free(f->pipeline);
	sha256_free(f->sha256);
	free(f->piece);
}

/* One frame's content, behind what is in the open piece or in a new one. */
static enum err flow_add(struct flow *f, struct bytes plain, struct error *why)
{
	void *item;
	enum err e;

	if (f->open != NULL && plain.len > PIECE_BYTES - f->open->len) {
		pipeline_submit(f->pipeline, f->open);
		f->open = NULL;
	}
	if (f->open == NULL) {
		e = pipeline_take(f->pipeline, &item, why);
		if (e != ERR_NONE)
			return e;
		f->open = item;
		f->open->len = 0;
	}
	memcpy(f->open->data + f->open->len, plain.data, plain.len);
	f->open->len += plain.len;
	return ERR_NONE;
}

/* All frames of content of the opened object, `bytes` in sum. */
static enum err flow_frames(struct flow *f, struct object_reader *reader, const char *key,
			    uint64_t bytes, struct error *why)
{
	const struct frame_entry *entry;
	uint64_t size, left = bytes;
	size_t count;
	enum err e = object_directory(reader, &entry, &count, &size, why);

	for (size_t i = 0; e == ERR_NONE && i < count; i++) {
		struct bytes plain;

		if (entry[i].frame_class != FRAME_WAL_BYTES)
			continue;
		e = object_frame(reader, FRAME_WAL_BYTES, &entry[i].place, &plain, why);
		if (e == ERR_NONE && (plain.len > left || plain.len > FRAME_PAGES_MAX))
			e = error_set(why, ERR_CORRUPT, "%s: more bytes than stated", key);
		if (e == ERR_NONE)
			e = flow_add(f, plain, why);
		if (e == ERR_NONE)
			left -= plain.len;
	}
	if (e == ERR_NONE && f->open != NULL)
		pipeline_submit(f->pipeline, f->open);
	if (e == ERR_NONE)
		e = pipeline_drain(f->pipeline, why);
	if (e == ERR_NONE && left != 0)
		e = error_set(why, ERR_CORRUPT, "%s: fewer bytes than stated", key);
	return e;
}

static enum err check_digest(struct flow *f, const char *key,
			     const uint8_t stated[CRYPTO_SHA256_BYTES], struct error *why)
{
	uint8_t digest[CRYPTO_SHA256_BYTES];
	enum err e = sha256_end(f->sha256, digest, why);

	if (e == ERR_NONE && !crypto_same(digest, stated, sizeof(digest)))
		e = error_set(why, ERR_CORRUPT, "%s: its content has another SHA-256", key);
	return e;
}

static enum err read_to(struct object_reader *reader, const char *key, enum object_class class,
			uint64_t max, const struct wal_sink *sink, bool digest, struct error *why)
{
	uint8_t stated[CRYPTO_SHA256_BYTES];
	struct flow f = {.sink = sink};
	uint64_t bytes = 0;
	enum err e = wal_stated(reader, key, class, stated, &bytes, why);

	if (e == ERR_NONE && bytes > max)
		e = error_set(why, ERR_CORRUPT, "%s: states %" PRIu64 " bytes", key, bytes);
	if (e == ERR_NONE)
		e = sink->begin(sink->ctx, bytes, why);
	if (e == ERR_NONE)
		e = flow_start(&f, digest, why);
	if (e == ERR_NONE)
		e = flow_frames(&f, reader, key, bytes, why);
	if (e == ERR_NONE && digest)
		e = check_digest(&f, key, stated, why);
	flow_release(&f);
	return e;
}

/* A sink that keeps it all. */
struct whole {
	const char *key;
	uint8_t *data;
	size_t len, filled;
};

static enum err whole_begin(void *ctx, uint64_t bytes, struct error *why)
{
	struct whole *w = ctx;

	w->data = bytes_new_large(bytes);
	if (w->data == NULL)
		return error_set(why, ERR_MEMORY, "%s: no memory for %" PRIu64 " bytes", w->key,
				 bytes);
	w->len = bytes;
	return ERR_NONE;
}

static enum err whole_take(void *ctx, struct bytes piece, struct error *why)
{
	struct whole *w = ctx;

	(void)why;
	memcpy(w->data + w->filled, piece.data, piece.len);
	w->filled += piece.len;
	return ERR_NONE;
}

enum err wal_read(struct object_reader *reader, const char *key, enum object_class class,
		  uint64_t max, uint8_t **out, size_t *len, struct error *why)
{
	struct whole w = {.key = key};
	struct wal_sink sink = {.begin = whole_begin, .take = whole_take, .ctx = &w};
	enum err e = read_to(reader, key, class, max, &sink, true, why);

	if (e != ERR_NONE) {
		free(w.data);
		return e;
	}
	*out = w.data;
	*len = w.len;
	return ERR_NONE;
}

static uint64_t max_of(enum object_class class)
{
	return class == OBJECT_WAL_SMALL ? WAL_SMALL_MAX : WAL_SEGMENT_BYTES_MAX;
}

enum err wal_get(const struct cluster *cluster, const struct wal_name *name, uint8_t **out,
		 size_t *len, struct error *why)
{
	struct object_reader *reader = NULL;
	enum object_class class = wal_class_of(name->kind);
	char key[STORE_KEY_MAX];
	enum err e = object_reader_new(cluster->repository, &reader, why);

	wal_key(cluster, name, key);
	if (e == ERR_NONE)
		e = wal_read(reader, key, class, max_of(class), out, len, why);
	object_reader_free(reader);
	return e;
}

enum err wal_get_to(const struct cluster *cluster, const struct wal_name *name,
		    const struct wal_sink *sink, struct error *why)
{
	struct object_reader *reader = NULL;
	enum object_class class = wal_class_of(name->kind);
	char key[STORE_KEY_MAX];
	enum err e = object_reader_new(cluster->repository, &reader, why);

	wal_key(cluster, name, key);
	if (e == ERR_NONE)
		e = read_to(reader, key, class, max_of(class), sink, false, why);
	object_reader_free(reader);
	return e;
}
