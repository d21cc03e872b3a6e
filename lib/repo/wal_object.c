/* repo/wal_object.c - storing and reading files of pg_wal as sealed objects. */
#include "base/text.h"
#include "pgformat/page.h"
#include "repo/lines.h"
#include "repo/wal_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { WAL_HEAD_MAX = 4096, WAL_SMALL_MAX = 1 << 20 /* bytes of a .history or .backup */ };

void wal_key(const struct cluster *cluster, const struct wal_name *name, char out[STORE_KEY_MAX])
{
	char text[WAL_NAME_MAX];

	wal_name_to_text(name, text);
	if (name->kind == WAL_NAME_HISTORY)
		(void)snprintf(out, STORE_KEY_MAX, "%swal/%s", cluster->prefix, text); /* fits */
	else
		(void)snprintf(out, STORE_KEY_MAX, "%swal/%08" PRIX32 "/%08" PRIX32 "/%s",
			       cluster->prefix, name->timeline, name->log, text); /* fits */
}

void wal_slice_key(const struct cluster *cluster, const struct wal_name *name, uint32_t from,
		   uint32_t to, char out[STORE_KEY_MAX])
{
	size_t len;

	wal_key(cluster, name, out);
	len = strlen(out);
	(void)snprintf(out + len, STORE_KEY_MAX - len, ".%08" PRIX32 "-%08" PRIX32, from,
		       to); /* fits */
}

static enum object_class class_of(enum wal_name_kind kind)
{
	switch (kind) {
	case WAL_NAME_SEGMENT:
		return OBJECT_WAL_SEGMENT;
	case WAL_NAME_PARTIAL:
		return OBJECT_WAL_PARTIAL;
	case WAL_NAME_HISTORY:
	case WAL_NAME_BACKUP:
		break;
	}
	return OBJECT_WAL_SMALL;
}

static enum err bad_segment(struct error *why, const struct wal_name *name, const char *what)
{
	char text[WAL_NAME_MAX];

	wal_name_to_text(name, text);
	(void)error_set(why, ERR_CORRUPT, "WAL segment %s: %s", text, what);
	error_hint(why, "nothing was stored; look at the file in pg_wal and at the disk under it");
	return ERR_CORRUPT;
}

/* The first page decides whose segment it is. */
static enum err check_first_page(const struct cluster *cluster, const struct wal_name *name,
				 uint32_t segment_bytes, struct lsn start, struct bytes content,
				 struct error *why)
{
	struct wal_page page;
	char text[WAL_NAME_MAX];

	wal_name_to_text(name, text);
	if (!wal_page_decode(bytes_of(content.data, WAL_PAGE_BYTES), &page) ||
	    page.header_bytes != 40)
		return bad_segment(why, name, "its first page is no WAL page of PostgreSQL 15-18");
	if (page.system_identifier != cluster->system_identifier) {
		(void)error_set(why, ERR_CONFIG,
				"WAL segment %s belongs to system identifier %" PRIu64
				", not to cluster %s (%" PRIu64 ")",
				text, page.system_identifier, cluster->name,
				cluster->system_identifier);
		error_hint(why,
			   "archive_command of that server must name its own cluster (--cluster); "
			   "after pg_upgrade or initdb: pgagent init --upgrade");
		return ERR_CONFIG;
	}
	if (page.segment_bytes != segment_bytes)
		return bad_segment(why, name, "its header names another segment size");
	if (page.address.value != start.value)
		return bad_segment(why, name,
				   "its pages have another address: the file has a wrong name");
	if (page.timeline > name->timeline)
		return bad_segment(why, name, "its first page is of a later timeline");
	return ERR_NONE;
}

enum err wal_check_segment(const struct cluster *cluster, const struct wal_name *name,
			   uint32_t segment_bytes, struct bytes content, struct error *why)
{
	uint64_t segno;
	struct lsn start;
	enum err e;

	if (!wal_name_segno(name, segment_bytes, &segno))
		return bad_segment(why, name, "no such name with this segment size");
	if (content.len != segment_bytes)
		return bad_segment(why, name, "its size is not the segment size");
	start = wal_segment_start(segno, segment_bytes);
	e = check_first_page(cluster, name, segment_bytes, start, content, why);
	if (e != ERR_NONE || name->kind == WAL_NAME_PARTIAL)
		return e;
	for (size_t at = WAL_PAGE_BYTES; at < content.len; at += WAL_PAGE_BYTES) {
		struct wal_page page;
		struct bytes in = bytes_of(content.data + at, WAL_PAGE_BYTES);

		if (wal_page_decode(in, &page) && page.address.value == start.value + at)
			continue;
		/* After a switch the server leaves the rest zero; nothing may follow. */
		if (bytes_are_zero(bytes_of(content.data + at, content.len - at)))
			break;
		return bad_segment(why, name, "a page inside it is torn or from another segment");
	}
	return ERR_NONE;
}

/* The SHA-256 that the stored object under `key` states. */
static enum err stored_digest(struct object_reader *reader, const char *key,
			      enum object_class class, uint8_t out[CRYPTO_SHA256_BYTES],
			      uint64_t *bytes, struct error *why)
{
	struct bytes head;
	char hex[CRYPTO_SHA256_BYTES * 2 + 1];
	enum err e = object_open(reader, key, class, why);

	if (e == ERR_NONE)
		e = object_first_frame(reader, FRAME_WAL_HEAD, &head, why);
	if (e != ERR_NONE)
		return e;
	if (!lines_get(head, "sha256", hex, sizeof(hex)) ||
	    !text_to_hex(bytes_of_text(hex), out, CRYPTO_SHA256_BYTES) ||
	    !lines_get_u64(head, "bytes", bytes))
		return error_set(why, ERR_CORRUPT, "%s: head without digest or size", key);
	return ERR_NONE;
}

struct put {
	const struct cluster *cluster;
	const struct wal_name *name;
	uint32_t segment_bytes;
	enum object_class class;
	int level;
	bool slice;
	uint32_t from, to;
	struct bytes content;
	uint8_t digest[CRYPTO_SHA256_BYTES];
	char key[STORE_KEY_MAX];
};

static void put_head(const struct put *p, struct writer *head)
{
	char text[WAL_NAME_MAX], hex[CRYPTO_SHA256_BYTES * 2 + 1], lsn[LSN_TEXT_MAX];
	uint64_t segno;

	wal_name_to_text(p->name, text);
	text_of_hex(bytes_of(p->digest, sizeof(p->digest)), hex);
	lines_put(head, "name", text);
	lines_putf(head, "system-identifier", "%" PRIu64, p->cluster->system_identifier);
	lines_putf(head, "timeline", "%" PRIu32, p->name->timeline);
	if (p->class != OBJECT_WAL_SMALL && wal_name_segno(p->name, p->segment_bytes, &segno)) {
		lsn_to_text(wal_segment_start(segno, p->segment_bytes), lsn);
		lines_put(head, "first-lsn", lsn);
	}
	lines_putf(head, "bytes", "%zu", p->content.len);
	lines_put(head, "sha256", hex);
	lines_putf(head, "segment-bytes", "%" PRIu32, p->segment_bytes);
	if (p->slice) {
		lines_putf(head, "from", "%" PRIu32, p->from);
		lines_putf(head, "to", "%" PRIu32, p->to);
	}
}

static enum err put_frames(const struct put *p, struct object_writer *object, struct error *why)
{
	struct compressor *compressor = NULL;
	struct frame_place place;
	struct writer head;
	enum err e = compressor_new(p->level, FRAME_PAGES_MAX, &compressor, why);

	writer_init(&head, WAL_HEAD_MAX);
	put_head(p, &head);
	if (e == ERR_NONE && head.bad)
		e = error_set(why, ERR_MEMORY, "%s: out of memory", p->key);
	if (e == ERR_NONE)
		e = object_add_plain(object, FRAME_WAL_HEAD, NULL, writer_view(&head), &place, why);
	for (size_t at = 0; e == ERR_NONE && at < p->content.len; at += FRAME_PAGES_MAX) {
		size_t len = p->content.len - at;

		if (len > FRAME_PAGES_MAX)
			len = FRAME_PAGES_MAX;
		e = object_add_plain(object, FRAME_WAL_BYTES, compressor,
				     bytes_of(p->content.data + at, len), &place, why);
	}
	writer_release(&head);
	compressor_free(compressor);
	return e;
}

/* The key is taken: the same content is success, anything else is refused. */
static enum err settle_taken(const struct put *p, enum wal_put_result *result, struct error *why)
{
	struct object_reader *reader = NULL;
	uint8_t digest[CRYPTO_SHA256_BYTES];
	uint64_t bytes = 0;
	enum err e = object_reader_new(p->cluster->repository, &reader, why);

	if (e == ERR_NONE)
		e = stored_digest(reader, p->key, p->class, digest, &bytes, why);
	object_reader_free(reader);
	if (e != ERR_NONE)
		return e;
	if (bytes == p->content.len && crypto_same(digest, p->digest, sizeof(digest))) {
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
	struct store *store = p->cluster->repository->store;
	struct object_writer *object = NULL;
	struct store_object there;
	enum err e = crypto_sha256(p->content, p->digest, why);

	if (e != ERR_NONE)
		return e;
	/* Looked up first: a repeated push then costs one small read instead of a compression. */
	e = store_stat(store, p->key, &there, why);
	if (e == ERR_NONE)
		return settle_taken(p, result, why);
	if (e != ERR_MISSING)
		return e;
	e = object_begin(p->cluster->repository, p->key, p->class, p->content.len / 2, &object,
			 why);
	if (e == ERR_NONE)
		e = put_frames(p, object, why);
	if (e != ERR_NONE) {
		object_abandon(object);
		return e;
	}
	e = object_commit(object, NULL, NULL, why);
	if (e == ERR_EXISTS) /* somebody else was faster: the streamer beside archive_command */
		return settle_taken(p, result, why);
	if (e == ERR_NONE)
		*result = WAL_PUT_NEW;
	return e;
}

enum err wal_put(const struct cluster *cluster, const struct wal_name *name, uint32_t segment_bytes,
		 int level, struct bytes content, enum wal_put_result *result, struct error *why)
{
	struct put p = {.cluster = cluster,
			.name = name,
			.segment_bytes = segment_bytes,
			.class = class_of(name->kind),
			.level = level,
			.content = content};

	wal_key(cluster, name, p.key);
	return put_object(&p, result, why);
}

enum err wal_put_slice(const struct cluster *cluster, const struct wal_name *name,
		       uint32_t segment_bytes, int level, uint32_t from, uint32_t to,
		       struct bytes content, struct error *why)
{
	struct put p = {.cluster = cluster,
			.name = name,
			.segment_bytes = segment_bytes,
			.class = OBJECT_WAL_SLICE,
			.level = level,
			.slice = true,
			.from = from,
			.to = to,
			.content = content};
	enum wal_put_result result;

	if (from >= to || to > segment_bytes || content.len != to - from)
		return error_set(why, ERR_LIMIT, "slice %" PRIu32 "-%" PRIu32 " of a segment", from,
				 to);
	wal_slice_key(cluster, name, from, to, p.key);
	return put_object(&p, &result, why);
}

enum err wal_read(struct object_reader *reader, const char *key, enum object_class class,
		  uint64_t max, uint8_t **out, size_t *len, struct error *why)
{
	const struct frame_entry *entry;
	uint8_t stated[CRYPTO_SHA256_BYTES], digest[CRYPTO_SHA256_BYTES];
	uint64_t bytes = 0, size, filled = 0;
	size_t count;
	uint8_t *data = NULL;
	enum err e = stored_digest(reader, key, class, stated, &bytes, why);

	if (e == ERR_NONE && bytes > max)
		e = error_set(why, ERR_CORRUPT, "%s: states %" PRIu64 " bytes", key, bytes);
	if (e == ERR_NONE)
		e = object_directory(reader, &entry, &count, &size, why);
	if (e != ERR_NONE)
		return e;
	data = bytes_new_large(bytes);
	if (data == NULL)
		return error_set(why, ERR_MEMORY, "%s: no memory for %" PRIu64 " bytes", key,
				 bytes);
	for (size_t i = 0; e == ERR_NONE && i < count; i++) {
		struct bytes plain;

		if (entry[i].frame_class != FRAME_WAL_BYTES)
			continue;
		e = object_frame(reader, FRAME_WAL_BYTES, &entry[i].place, &plain, why);
		if (e == ERR_NONE && plain.len > bytes - filled)
			e = error_set(why, ERR_CORRUPT, "%s: more bytes than stated", key);
		if (e == ERR_NONE) {
			memcpy(data + filled, plain.data, plain.len);
			filled += plain.len;
		}
	}
	if (e == ERR_NONE && filled != bytes)
		e = error_set(why, ERR_CORRUPT, "%s: fewer bytes than stated", key);
	if (e == ERR_NONE)
		e = crypto_sha256(bytes_of(data, bytes), digest, why);
	if (e == ERR_NONE && !crypto_same(digest, stated, sizeof(digest)))
		e = error_set(why, ERR_CORRUPT, "%s: its content has another SHA-256", key);
	if (e != ERR_NONE) {
		free(data);
		return e;
	}
	*out = data;
	*len = bytes;
	return ERR_NONE;
}

enum err wal_get(const struct cluster *cluster, const struct wal_name *name, uint8_t **out,
		 size_t *len, struct error *why)
{
	struct object_reader *reader = NULL;
	enum object_class class = class_of(name->kind);
	char key[STORE_KEY_MAX];
	enum err e = object_reader_new(cluster->repository, &reader, why);

	wal_key(cluster, name, key);
	if (e == ERR_NONE)
		e = wal_read(reader, key, class,
			     class == OBJECT_WAL_SMALL ? WAL_SMALL_MAX : WAL_SEGMENT_BYTES_MAX, out,
			     len, why);
	object_reader_free(reader);
	return e;
}
