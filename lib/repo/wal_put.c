/* repo/wal_put.c - storing files of pg_wal.
 *
 * The digest of the content stands in the first frame, so it is needed before the first byte is
 * stored.  The happy path: (1) look whether the name is taken; (2) set threads to compressing the
 * first pieces; (3) meanwhile read the content, check it, compute its digest; (4) begin the object
 * with that; (5) append the pieces in order, as they are compressed; (6) commit.  Content is read
 * twice, in pieces, so that memory does not grow with it; that both readings saw the same is
 * proven by a CRC of each piece.
 *
 * What fails: the content is unsound, or changed between the readings -> nothing was stored.  The
 * name is taken, before or at the commit -> the same content is success.
 */
#include "base/crc32c.h"
#include "base/pipeline.h"
#include "base/text.h"
#include "base/waiter.h"
#include "repo/lines.h"
#include "repo/wal_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	WAL_HEAD_MAX = 4096,
	WORKERS = 2,
	/* Compressed before the digest is known: as much as that takes.  8 MiB of content. */
	PIECES = 64,
	WAIT_US = 1000 * 1000
};

struct piece {
	size_t index;
	uint32_t crc; /* of the plain bytes */
	uint32_t plain_len;
	size_t stored_len;
	enum codec codec;
	uint8_t *payload; /* compressor_bound(FRAME_PAGES_MAX) */
};

struct put;

struct put_worker {
	const struct put *put;
	struct compressor *compressor;
	uint8_t *room; /* FRAME_PAGES_MAX */
};

struct put {
	const struct cluster *cluster;
	const struct wal_name *name;
	uint32_t segment_bytes;
	enum object_class class;
	int level;
	bool slice;
	uint32_t from, to;
	struct wal_content *source;
	char key[STORE_KEY_MAX];
	/* While it is stored. */
	struct waiter *begun;         /* woken when `object` is there or will never be */
	struct object_writer *object; /* the owner's until then and after the last piece */
	struct piece *piece;          /* PIECES */
	uint8_t *payloads;
	struct put_worker worker[WORKERS];
	struct pipeline *pipeline;
};

static size_t pieces_of(const struct wal_content *source)
{
	return (size_t)((source->bytes + FRAME_PAGES_MAX - 1) / FRAME_PAGES_MAX);
}

static enum err read_piece(const struct wal_content *source, size_t index, uint8_t *room,
			   struct bytes *out, struct error *why)
{
	uint64_t offset = (uint64_t)index * FRAME_PAGES_MAX;
	uint64_t left = source->bytes - offset;

	return source->read(source->ctx, offset, room,
			    left < FRAME_PAGES_MAX ? (size_t)left : FRAME_PAGES_MAX, out, why);
}

void wal_content_release(struct wal_content *source)
{
	free(source->crc);
	source->crc = NULL;
	source->digested = false;
}

/* To whom archives it. */
static void hint_unsound(enum err e, struct error *why)
{
	if (e == ERR_CORRUPT)
		error_hint(why, "nothing was stored; look at the file in pg_wal and at the disk "
				"under it");
	else if (e == ERR_CONFIG)
		error_hint(why,
			   "archive_command of that server must name its own cluster (--cluster); "
			   "after pg_upgrade or initdb: pgagent init --upgrade");
}

static enum err digest_pieces(const struct put *p, struct wal_checker *checker,
			      struct sha256 *sha256, uint8_t *room, struct error *why)
{
	struct wal_content *source = p->source;
	enum err e = sha256_start(sha256, why);

	for (size_t i = 0; e == ERR_NONE && i < pieces_of(source); i++) {
		struct bytes in;

		e = read_piece(source, i, room, &in, why);
		if (e == ERR_NONE && checker != NULL) {
			e = wal_checker_add(checker, in, why);
			source->unsound = e != ERR_NONE;
		}
		if (e == ERR_NONE)
			e = sha256_add(sha256, in, why);
		if (e == ERR_NONE)
			source->crc[i] = crc32c(in);
	}
	return e == ERR_NONE ? sha256_end(sha256, source->sha256, why) : e;
}

/* (3); once for all repositories. */
static enum err digest(const struct put *p, struct error *why)
{
	struct wal_content *source = p->source;
	struct wal_checker checker;
	struct sha256 *sha256 = NULL;
	uint8_t *room = NULL;
	enum err e = ERR_NONE;

	if (source->digested)
		return ERR_NONE;
	if (source->check) {
		e = wal_checker_begin(&checker, p->cluster, p->name, p->segment_bytes,
				      source->bytes, why);
		source->unsound = e != ERR_NONE;
	}
	if (e == ERR_NONE && source->crc == NULL) {
		source->crc = calloc(pieces_of(source) + 1, sizeof(*source->crc));
		if (source->crc == NULL)
			e = error_set(why, ERR_MEMORY, "%s: out of memory", p->key);
	}
	if (e == ERR_NONE) {
		room = malloc(FRAME_PAGES_MAX);
		if (room == NULL)
			e = error_set(why, ERR_MEMORY, "%s: out of memory", p->key);
	}
	if (e == ERR_NONE)
		e = sha256_new(&sha256, why);
	if (e == ERR_NONE)
		e = digest_pieces(p, source->check ? &checker : NULL, sha256, room, why);
	sha256_free(sha256);
	free(room);
	source->digested = e == ERR_NONE;
	if (source->unsound)
		hint_unsound(e, why);
	return e;
}

static enum err compress(void *state, void *item, struct error *why)
{
	struct put_worker *w = state;
	struct piece *piece = item;
	struct bytes in;
	enum err e = read_piece(w->put->source, piece->index, w->room, &in, why);

	if (e != ERR_NONE)
		return e;
	piece->crc = crc32c(in);
	piece->plain_len = (uint32_t)in.len;
	return compressor_run(w->compressor, in, piece->payload, compressor_bound(FRAME_PAGES_MAX),
			      &piece->stored_len, &piece->codec, why);
}

/* (5) */
static enum err append(void *ctx, void *item, struct error *why)
{
	struct put *p = ctx;
	const struct piece *piece = item;

	while (!waiter_wait(p->begun, WAIT_US))
		; /* the owner wakes it, whatever happens */
	if (p->object == NULL)
		return error_set(why, ERR_CANCELLED, "%s: not begun", p->key);
	if (piece->crc != p->source->crc[piece->index])
		return error_set(why, ERR_TRANSIENT, "%s: the file changed while it was read",
				 p->key);
	return object_add(p->object, FRAME_WAL_BYTES, piece->codec,
			  bytes_of(piece->payload, piece->stored_len), piece->plain_len, NULL, why);
}

/* (2): everything that is needed, and the threads. */
static enum err threads_start(struct put *p, struct error *why)
{
	void *item[PIECES], *state[WORKERS];
	struct pipeline_config config = {.workers = WORKERS,
					 .items = PIECES,
					 .item = item,
					 .worker_state = state,
					 .work = compress,
					 .deliver = append,
					 .ctx = p};
	size_t room = compressor_bound(FRAME_PAGES_MAX);
	enum err e = waiter_new(&p->begun, why);

	/* What is not compressed into is never touched, so this costs what it is used for. */
	p->payloads = malloc(PIECES * room);
	p->piece = calloc(PIECES, sizeof(*p->piece));
	if (e == ERR_NONE && (p->payloads == NULL || p->piece == NULL))
		e = error_set(why, ERR_MEMORY, "%s: out of memory", p->key);
	for (size_t i = 0; e == ERR_NONE && i < PIECES; i++) {
		/* The last is taken first, and the memory touched from its beginning on. */
		p->piece[i].payload = p->payloads + (PIECES - 1 - i) * room;
		item[i] = &p->piece[i];
	}
	for (size_t i = 0; e == ERR_NONE && i < WORKERS; i++) {
		struct put_worker *w = &p->worker[i];

		w->put = p;
		w->room = malloc(FRAME_PAGES_MAX);
		state[i] = w;
		e = w->room == NULL
			    ? error_set(why, ERR_MEMORY, "%s: out of memory", p->key)
			    : compressor_new(p->level, FRAME_PAGES_MAX, &w->compressor, why);
		if (e == ERR_NONE) /* wal_get_to goes without the digest */
			e = compressor_add_checksums(w->compressor, why);
	}
	return e == ERR_NONE ? pipeline_new(&config, &p->pipeline, why) : e;
}

static void threads_stop(struct put *p)
{
	if (p->pipeline != NULL)
		waiter_wake(p->begun); /* or the deliverer would wait for ever */
	pipeline_free(p->pipeline);
	for (size_t i = 0; i < WORKERS; i++) {
		compressor_free(p->worker[i].compressor);
		free(p->worker[i].room);
	}
	free(p->piece);
	free(p->payloads);
	waiter_free(p->begun);
}

static enum err submit(struct put *p, size_t from, size_t to, struct error *why)
{
	for (size_t i = from; i < to; i++) {
		struct piece *piece;
		void *item;
		enum err e = pipeline_take(p->pipeline, &item, why);

		if (e != ERR_NONE)
			return e;
		piece = item;
		piece->index = i;
		pipeline_submit(p->pipeline, piece);
	}
	return ERR_NONE;
}

static void put_head(const struct put *p, struct writer *head)
{
	const struct wal_content *source = p->source;
	char text[WAL_NAME_MAX], hex[CRYPTO_SHA256_BYTES * 2 + 1], lsn[LSN_TEXT_MAX];
	uint64_t segno;

	wal_name_to_text(p->name, text);
	text_of_hex(bytes_of(source->sha256, sizeof(source->sha256)), hex);
	lines_put(head, "name", text);
	lines_putf(head, "system-identifier", "%" PRIu64, p->cluster->system_identifier);
	lines_putf(head, "timeline", "%" PRIu32, p->name->timeline);
	if (p->class != OBJECT_WAL_SMALL && wal_name_segno(p->name, p->segment_bytes, &segno)) {
		lsn_to_text(wal_segment_start(segno, p->segment_bytes), lsn);
		lines_put(head, "first-lsn", lsn);
	}
	lines_putf(head, "bytes", "%" PRIu64, source->bytes);
	lines_put(head, "sha256", hex);
	lines_putf(head, "segment-bytes", "%" PRIu32, p->segment_bytes);
	if (p->slice) {
		lines_putf(head, "from", "%" PRIu32, p->from);
		lines_putf(head, "to", "%" PRIu32, p->to);
	}
}

/* (4) */
static enum err begin(struct put *p, struct error *why)
{
	struct object_writer *object = NULL;
	struct frame_place place;
	struct writer head;
	enum err e = object_begin(p->cluster->repository, p->key, p->class, p->source->bytes / 2,
				  &object, why);

	writer_init(&head, WAL_HEAD_MAX);
	put_head(p, &head);
	if (e == ERR_NONE && head.bad)
		e = error_set(why, ERR_MEMORY, "%s: out of memory", p->key);
	if (e == ERR_NONE)
		e = object_add_plain(object, FRAME_WAL_HEAD, NULL, writer_view(&head), &place, why);
	writer_release(&head);
	if (e != ERR_NONE) {
		object_abandon(object);
		return e;
	}
	p->object = object;
	waiter_wake(p->begun);
	return ERR_NONE;
}

/* (2) to (6) */
static enum err store(struct put *p, struct error *why)
{
	size_t pieces = pieces_of(p->source);
	size_t ahead = pieces < PIECES ? pieces : PIECES; /* taking these does not wait */
	enum err e = threads_start(p, why);

	if (e == ERR_NONE)
		e = submit(p, 0, ahead, why);
	if (e == ERR_NONE)
		e = digest(p, why);
	if (e == ERR_NONE)
		e = begin(p, why);
	if (e == ERR_NONE)
		e = submit(p, ahead, pieces, why);
	if (e == ERR_NONE)
		e = pipeline_drain(p->pipeline, why);
	threads_stop(p);
	if (e != ERR_NONE) {
		object_abandon(p->object);
		return e;
	}
	return object_commit(p->object, NULL, NULL, why);
}

/* The key is taken: the same content is success, anything else is refused. */
static enum err settle_taken(const struct put *p, enum wal_put_result *result, struct error *why)
{
	const struct wal_content *source = p->source;
	struct object_reader *reader = NULL;
	uint8_t stated[CRYPTO_SHA256_BYTES];
	uint64_t bytes = 0;
	enum err e = digest(p, why);

	if (e == ERR_NONE)
		e = object_reader_new(p->cluster->repository, &reader, why);
	if (e == ERR_NONE)
		e = wal_stated(reader, p->key, p->class, stated, &bytes, why);
	object_reader_free(reader);
	if (e != ERR_NONE)
		return e;
	if (bytes == source->bytes && crypto_same(stated, source->sha256, sizeof(stated))) {
		/* The push that stored it may have been killed before its last sync. */
		e = store_confirm(p->cluster->repository->store, p->key, why);
		if (e == ERR_NONE)
			*result = WAL_PUT_SAME;
		return e;
	}
	(void)error_set(why, ERR_EXISTS,
			"%s is stored in %s with other content; nothing was overwritten", p->key,
			p->cluster->repository->store->label);
	error_hint(why,
		   "two servers archive into the same cluster, or this one was restored without "
		   "a new timeline: set archive_mode off on the copy, or give it a cluster of its "
		   "own (--cluster, pgagent init)");
	return ERR_EXISTS;
}

static enum err put_object(struct put *p, enum wal_put_result *result, struct error *why)
{
	struct store_object there;
	/* (1): a repeated push then costs one small read instead of a compression. */
	enum err e = store_stat(p->cluster->repository->store, p->key, &there, why);

	if (e == ERR_NONE)
		return settle_taken(p, result, why);
	if (e != ERR_MISSING)
		return e;
	e = store(p, why);
	if (e == ERR_EXISTS) /* somebody else was faster: the streamer beside archive_command */
		return settle_taken(p, result, why);
	if (e == ERR_NONE)
		*result = WAL_PUT_NEW;
	return e;
}

enum err wal_put_from(const struct cluster *cluster, const struct wal_name *name,
		      uint32_t segment_bytes, int level, struct wal_content *source,
		      enum wal_put_result *result, struct error *why)
{
	struct put p = {.cluster = cluster,
			.name = name,
			.segment_bytes = segment_bytes,
			.class = wal_class_of(name->kind),
			.level = level,
			.source = source};

	wal_key(cluster, name, p.key);
	return put_object(&p, result, why);
}

static enum err read_memory(void *ctx, uint64_t offset, uint8_t *room, size_t len,
			    struct bytes *out, struct error *why)
{
	(void)room;
	(void)why;
	*out = bytes_of((const uint8_t *)ctx + offset, len);
	return ERR_NONE;
}

static struct wal_content source_of(struct bytes content)
{
	return (struct wal_content){
		.bytes = content.len, .read = read_memory, .ctx = (void *)(uintptr_t)content.data};
}

enum err wal_put(const struct cluster *cluster, const struct wal_name *name, uint32_t segment_bytes,
		 int level, struct bytes content, enum wal_put_result *result, struct error *why)
{
	struct wal_content source = source_of(content);
	enum err e = wal_put_from(cluster, name, segment_bytes, level, &source, result, why);

	wal_content_release(&source);
	return e;
}

enum err wal_put_slice(const struct cluster *cluster, const struct wal_name *name,
		       uint32_t segment_bytes, int level, uint32_t from, uint32_t to,
		       struct bytes content, struct error *why)
{
	struct wal_content source = source_of(content);
	struct put p = {.cluster = cluster,
			.name = name,
			.segment_bytes = segment_bytes,
			.class = OBJECT_WAL_SLICE,
			.level = level,
			.slice = true,
			.from = from,
			.to = to,
			.source = &source};
	enum wal_put_result result;
	enum err e;

	if (from >= to || to > segment_bytes || content.len != to - from)
		return error_set(why, ERR_LIMIT, "slice %" PRIu32 "-%" PRIu32 " of a segment", from,
				 to);
	wal_slice_key(cluster, name, from, to, p.key);
	e = put_object(&p, &result, why);
	wal_content_release(&source);
	return e;
}
