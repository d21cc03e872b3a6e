/* backup/backup_internal.h - what the files of this room share. */
#ifndef BACKUP_BACKUP_INTERNAL_H
#define BACKUP_BACKUP_INTERNAL_H

#include "backup/backup.h"
#include "base/pipeline.h"
#include "postgres/base_backup.h"
#include "postgres/replication.h"
#include "repo/keeper.h"
#include "repo/pack.h"
#include "repo/wal_object.h"
#include "tar/tar.h"

/* ---- batch: what travels from the reader of the tar stream to the builder of the map ---- */

enum {
	BATCH_PAGES_MAX = 512, /* pages in one frame; small files make many short ones */
	BATCH_EVENTS_MAX = 1024,
	BATCH_TEXT_MAX = 64 << 10 /* bytes of paths and link targets */
};

struct batch_page {
	uint32_t offset; /* in plain */
	uint32_t len;    /* 1..8192 */
	uint8_t tag[CRYPTO_TAG_BYTES];
	uint32_t crc;
};

enum batch_event_kind { EVENT_OPEN, EVENT_PAGES, EVENT_ZEROS, EVENT_CLOSE };

struct batch_event {
	enum batch_event_kind kind;
	/* OPEN */
	enum file_kind file_kind;
	uint16_t mode;
	uint64_t size;
	int64_t modified_s;
	uint32_t path_at, path_len, target_at, target_len; /* in text */
	/* PAGES: page[first .. first + count); ZEROS: count pages, the last of last_bytes */
	uint32_t first, count, last_bytes;
};

/* One frame's worth of pages and what happened around them, in stream order. */
struct batch {
	uint8_t plain[FRAME_PAGES_MAX];
	uint32_t plain_len;
	struct batch_page page[BATCH_PAGES_MAX];
	uint32_t pages;
	struct batch_event event[BATCH_EVENTS_MAX];
	uint32_t events;
	char text[BATCH_TEXT_MAX];
	uint32_t text_len;
	uint8_t *packed; /* codec output of plain; compressor_bound(FRAME_PAGES_MAX) bytes */
	size_t packed_len;
	enum codec codec;
};

/* ---- worker: tags, CRCs, compression of one batch ---- */

struct worker;
enum err worker_new(const struct repository *, int level, struct worker **out,
		    struct error *why) MUST_CHECK;
void worker_free(struct worker *);
/* A pipeline's work function: state is a struct worker, item a struct batch. */
enum err worker_run(void *worker, void *batch, struct error *why) MUST_CHECK;

/* ---- seen: what was received, to be compared with the server's manifest ---- */

struct seen;
struct seen *seen_new(void);
void seen_free(struct seen *);
/* ERR_PEER when the path came before. */
enum err seen_add(struct seen *, struct bytes path, uint64_t size, uint32_t crc,
		  struct error *why) MUST_CHECK;
/* Marks a path of the manifest as found; ERR_CORRUPT names what differs. */
enum err seen_match(struct seen *, const char *path, uint64_t size, bool has_crc, uint32_t crc,
		    struct error *why) MUST_CHECK;
/* ERR_CORRUPT when some received file was in no manifest line. */
enum err seen_all_matched(const struct seen *, struct error *why) MUST_CHECK;

/* ---- builder: batches in order become frames, shards and the file table ---- */

struct builder;
struct builder_totals {
	uint64_t files, bytes_cluster, bytes_new, pages_new;
};
enum err builder_new(struct pack_writer *, struct seen *, int level, struct builder **out,
		     struct error *why) MUST_CHECK;
void builder_free(struct builder *);
/* A pipeline's deliver function: ctx is a struct builder, item a struct batch. */
enum err builder_take(void *builder, void *batch, struct error *why) MUST_CHECK;
/* Writes out what is held back; afterwards only totals and free. */
enum err builder_finish(struct builder *, struct error *why) MUST_CHECK;
const struct builder_totals *builder_totals(const struct builder *);
/* The first page of global/pg_control and of backup_label as sent; empty = it never came. */
enum { BUILDER_KEPT_MAX = MAP_PAGE_BYTES };
struct bytes builder_control(const struct builder *);
struct bytes builder_label(const struct builder *);

/* ---- reader: the tar streams become batches ---- */

/* Reads every archive of `source` into `pipeline`; returns after the last one was submitted. */
enum err reader_run(const struct env *, struct base_backup *source, struct pipeline *pipeline,
		    uint64_t total_estimate, struct error *why) MUST_CHECK;

/* ---- streamer: the WAL of the backup over a second connection ---- */

struct streamer_config {
	const struct env *env;
	const char *conninfo;
	const struct cluster *cluster; /* `clusters` of them */
	size_t clusters;
	int level;
};
struct streamer;
/* Connects, makes a temporary slot where the server has one free, and so holds WAL back from now
 * on.  ERR_LIMIT: no walsender free. */
enum err streamer_open(const struct streamer_config *, struct streamer **out,
		       struct error *why) MUST_CHECK;
/* Streams from the segment of `start` in a thread of its own. */
enum err streamer_start(struct streamer *, struct lsn start, uint32_t timeline,
			uint32_t segment_bytes, struct error *why) MUST_CHECK;
/* Goes on until everything below `stop` is durable in every repository: the segment that holds it
 * whole when the server finishes it in time, else a slice.  Joins the thread. */
enum err streamer_finish(struct streamer *, struct lsn stop, uint64_t *stored_bytes,
			 struct error *why) MUST_CHECK;
void streamer_free(struct streamer *); /* stops the thread, whatever its state */

/* W5 without a stream: waits until the archive has every segment of [start, stop). */
enum err wal_wait(const struct env *, const struct cluster *, size_t clusters, struct lsn start,
		  struct lsn stop, uint32_t timeline, uint32_t segment_bytes, int64_t wait_us,
		  struct error *why) MUST_CHECK;

/* ---- about: what else a restore needs to know of the server ---- */

/* Best effort: what the role may not read is left out, with an event that says so.  Fills the
 * sections and the summary's paths. */
enum err about_collect(const struct env *, const char *conninfo, struct pack_writer *,
		       struct summary *, struct error *why) MUST_CHECK;

#endif
