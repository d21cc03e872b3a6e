/* backup/backup_internal.h - what the files of this room share. */
#ifndef BACKUP_BACKUP_INTERNAL_H
#define BACKUP_BACKUP_INTERNAL_H

#include "backup/backup.h"
#include "base/pipeline.h"
#include "pgformat/backup_manifest.h"
#include "pgformat/page.h"
#include "postgres/base_backup.h"
#include "postgres/replication.h"
#include "repo/keeper.h"
#include "repo/pack.h"
#include "repo/parent.h"
#include "repo/renewal.h"
#include "repo/wal_object.h"
#include "tar/tar.h"

/* ---- batch: what travels from the reader of the tar stream to the builder of the map ---- */

enum {
	BATCH_PAGES_MAX = 512, /* small files make many short ones */
	BATCH_ORIGINS_MAX = 256,
	BATCH_EVENTS_MAX = 1024,
	BATCH_TEXT_MAX = 64 << 10 /* bytes of paths and link targets */
};

enum page_state {
	PAGE_UNDECIDED = 0, /* as read: the worker tags it and decides */
	PAGE_IN_FRAME,      /* stored in the batch's own frame, at `place` */
	PAGE_LOOSE,         /* to be stored: the mapper gathers it into a frame with others */
	PAGE_SAME           /* lies where the parent has it: `old`; a reader that knows so sets it,
			     * with tag and CRC, and the worker leaves it alone */
};

struct batch_page {
	uint32_t offset; /* in plain */
	uint32_t len;    /* 1..8192 */
	uint8_t tag[CRYPTO_TAG_BYTES];
	uint32_t crc;
	enum page_state state;
	bool has_old; /* the parent has a page here that is not zero */
	bool renew;   /* it is stored again even if it is the same */
	bool renewed; /* it was the same */
	uint32_t place;
	struct page_entry old; /* the parent's; its frame is `old_frame` */
	struct frame_ref old_frame;
};

/* A shard of the parent, as far as its end has to know it. */
struct batch_origin {
	struct parent_origin from;
	uint16_t pages;
	uint32_t last_bytes, frames;
	bool renew;      /* it is written anew even if nothing in it changed */
	bool renew_base; /* nor may a patch rest on its base */
};

enum batch_event_kind { EVENT_OPEN, EVENT_SHARD, EVENT_PAGES, EVENT_ZEROS, EVENT_CLOSE };

struct batch_event {
	enum batch_event_kind kind;
	/* OPEN */
	enum file_kind file_kind;
	uint16_t mode;
	uint64_t size;
	int64_t modified_s;
	uint32_t path_at, path_len, target_at, target_len; /* in text */
	/* A file that is not as it was sent: what came had this size; the CRC of what is in none of
	 * its pages, which came before them. */
	bool composed;
	uint64_t sent_bytes;
	uint32_t sent_crc;
	/* SHARD, before its first page where the parent has one: origin[first].
	 * PAGES: page[first .. first + count); ZEROS: count pages of one shard, the last of
	 * last_bytes, `changed` of them not zero in the parent. */
	uint32_t first, count, last_bytes, changed;
	bool unsent; /* PAGES, ZEROS of a composed file: they did not come from the server */
};

/* Up to one frame's worth of pages and what happened around them, in stream order. */
struct batch {
	uint8_t plain[FRAME_PAGES_MAX];
	uint32_t plain_len;
	struct batch_page page[BATCH_PAGES_MAX];
	uint32_t pages;
	struct batch_origin origin[BATCH_ORIGINS_MAX];
	uint32_t origins;
	struct batch_event event[BATCH_EVENTS_MAX];
	uint32_t events;
	char text[BATCH_TEXT_MAX];
	uint32_t text_len;
	/* The batch's own frame: of the pages PAGE_IN_FRAME, frame_len plain bytes; 0 = none. */
	uint32_t frame_len;
	uint8_t *packed; /* codec output; compressor_bound(FRAME_PAGES_MAX) bytes */
	size_t packed_len;
	enum codec codec;
};

/* ---- lookup: what the parent has where a reader is ---- */

/* A reader that comes to a file asks lookup_file, at each shard of it lookup_shard, at each page
 * lookup_page or lookup_zero.  With NULL instead of a lookup there is no parent. */
struct lookup;
/* `renewal` says what of the parent is stored again. */
enum err lookup_new(const struct env *, const struct parent_map *, const struct renewal *,
		    struct lookup **out, struct error *why) MUST_CHECK;
void lookup_free(struct lookup *); /* NULL is fine */
void lookup_file(struct lookup *, struct bytes path);
/* Whether the parent has shard `index` of the file; `out` then is what EVENT_SHARD carries.  One whose
 * map is damaged counts as none (an event for the first); other failures are the store's. */
enum err lookup_shard(struct lookup *, uint32_t index, bool *found, struct batch_origin *out,
		      struct error *why) MUST_CHECK;
/* The same for a file that can't do without: ERR_MISSING when the parent has no such shard,
 * ERR_CORRUPT and what the store says when it can't be read. */
enum err lookup_load(struct lookup *, uint32_t index, struct batch_origin *out,
		     struct error *why) MUST_CHECK;
/* The file as the parent has it; false: it has none.  Borrowed until lookup_file. */
bool lookup_record(const struct lookup *, struct file_record *out);
/* Page `n` of the shard: fills what `page` has to know of the parent. */
void lookup_page(const struct lookup *, uint32_t n, struct batch_page *page);
/* Whether a page of zeros at `n` is a change. */
bool lookup_zero_differs(const struct lookup *, uint32_t n);

/* ---- worker: tags, CRCs, comparison with the parent, compression of one batch ---- */

struct worker;
enum err worker_new(const struct repository *, int level, struct worker **out,
		    struct error *why) MUST_CHECK;
void worker_free(struct worker *);
/* A pipeline's work function: state is a struct worker, item a struct batch. */
enum err worker_run(void *worker, void *batch, struct error *why) MUST_CHECK;

/* ---- seen: what was received, to be compared with the server's manifest ---- */

struct seen;
struct image;
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

/* Reads the server's manifest to its end and holds every file received against it.  Without an
 * `image` its bytes are kept as the section SECTION_SERVER_MANIFEST; with one, the INCREMENTAL files it
 * lists are looked up under the names of what they stand for, and the image gets its WAL ranges. */
enum err seen_check(struct seen *, struct base_backup *, struct pack_writer *, struct image *,
		    struct error *why) MUST_CHECK;

/* ---- mapper: pages become shards, each with its place at last ---- */

/* Shards that wait for the open page frame to be placed; above it the frame is written early.  A
 * frame of whole pages holds 16, so only shards of short files meet it. */
enum { MAPPER_WAITING_MAX = 16 };

struct mapper;
struct mapper_totals {
	uint64_t bytes_new, bytes_renewed, pages_changed, bytes_read,
		bytes_used; /* as in FORMAT.md */
};
struct mapper_config {
	struct pack_writer *packs;
	const struct parent_map *parent; /* NULL = none */
	int level;
	/* Tells where the shard that ended with this ticket lies. */
	void (*placed)(void *ctx, size_t ticket, const struct file_shard_ref *);
	void *ctx;
};
enum err mapper_new(const struct mapper_config *, struct mapper **out,
		    struct error *why) MUST_CHECK;
void mapper_free(struct mapper *);
/* The frame of the batch at hand; pages PAGE_IN_FRAME that follow lie in it. */
void mapper_set_frame(struct mapper *, const struct frame_ref *);
/* The shard that begins now comes from this one of the parent. */
void mapper_set_origin(struct mapper *, const struct batch_origin *);
/* A page; `data` is only looked at when it is PAGE_LOOSE. */
enum err mapper_page(struct mapper *, const struct batch_page *, const uint8_t *data,
		     struct error *why) MUST_CHECK;
void mapper_zero(struct mapper *, uint32_t page_bytes);
void mapper_zeros_changed(struct mapper *, uint32_t pages);
uint32_t mapper_pages(const struct mapper *); /* of the shard at hand */
/* The shard is complete; `placed` is told its place, now or later. */
enum err mapper_end_shard(struct mapper *, size_t ticket, struct error *why) MUST_CHECK;
/* Places every shard that ended. */
enum err mapper_flush(struct mapper *, struct error *why) MUST_CHECK;
const struct mapper_totals *mapper_totals(const struct mapper *);

/* ---- image: the backup_manifest of what is stored, where the server's is of something else ---- */

struct image;
/* It goes into the section SECTION_SERVER_MANIFEST.  The packs are borrowed. */
enum err image_new(struct pack_writer *, uint64_t system_identifier, struct image **out,
		   struct error *why) MUST_CHECK;
void image_free(struct image *); /* NULL is fine */
/* A plain file, in the order in which the server sent them. */
enum err image_add(struct image *, const struct file_record *, struct error *why) MUST_CHECK;
enum { IMAGE_RANGES_MAX = 16 };
enum err image_finish(struct image *, const struct backup_manifest_range *, size_t ranges,
		      struct error *why) MUST_CHECK;

/* ---- builder: batches in order become frames, shards and the file table ---- */

struct builder;
struct builder_totals {
	uint64_t files, bytes_cluster;
	struct mapper_totals pages;
};
enum err builder_new(struct pack_writer *, struct seen *, const struct parent_map *, int level,
		     struct builder **out, struct error *why) MUST_CHECK;
void builder_free(struct builder *);
/* A pipeline's deliver function: ctx is a struct builder, item a struct batch. */
enum err builder_take(void *builder, void *batch, struct error *why) MUST_CHECK;
/* Writes out what is held back; afterwards only totals and free. */
enum err builder_finish(struct builder *, struct error *why) MUST_CHECK;
struct builder_totals builder_totals(const struct builder *);
/* The first page of global/pg_control and of backup_label as sent; empty = it never came. */
enum { BUILDER_KEPT_MAX = MAP_PAGE_BYTES };
struct bytes builder_control(const struct builder *);
struct bytes builder_label(const struct builder *);

void builder_set_image(struct builder *, struct image *); /* before the first batch; borrowed */

/* ---- composer: files of an incremental backup, put together with the parent's ---- */

struct reader_state;
struct composer;
/* Everything is borrowed; the lookup is into `parent`. */
enum err composer_new(const struct env *, const struct cluster *, const struct manifest *parent,
		      struct lookup *, struct composer **out, struct error *why) MUST_CHECK;
void composer_free(struct composer *); /* NULL is fine */
/* Reads a member that is not stored as it comes: INCREMENTAL files and backup_label.  *taken = false:
 * it is none, nothing was read.  ERR_PEER, ERR_CORRUPT: what came does not fit the parent. */
enum err composer_take(struct composer *, struct reader_state *, const char *path, bool *taken,
		       struct error *why) MUST_CHECK;

/* ---- reader: the tar streams become batches ---- */

struct reader_config {
	const struct env *env;
	struct base_backup *source;
	struct pipeline *pipeline;
	struct lookup *lookup;     /* NULL = no parent */
	struct composer *composer; /* NULL = the server sends everything */
	uint64_t total_estimate;
};
/* Reads every archive of `source` into `pipeline`; returns after the last one was submitted. */
enum err reader_run(const struct reader_config *, struct error *why) MUST_CHECK;

/* ---- adopt: the parent ---- */

struct adoption {
	const struct env *env;
	struct session *session; /* replication */
	const struct cluster *cluster;
	size_t clusters;
	uint32_t timeline;      /* of the server, now */
	struct history history; /* of that timeline */
	struct attempt candidate[PARENT_CANDIDATES_MAX];
	size_t candidates;
};
/* Before W1: which backups it may be.  None is fine, and so is a history that can't be had. */
enum err adopt_find(struct adoption *, struct error *why) MUST_CHECK;
/* W2, after the keeper's pin named candidate[0]: the first one that is whole in every repository;
 * the pin names each before it is looked at.  *out = NULL: none is. */
enum err adopt_prove(const struct adoption *, struct keeper *, struct parent_map **out,
		     struct error *why) MUST_CHECK;

/* ---- truncations: relations that were cut off, or made, since a position ---- */

enum { TRUNCATIONS_MAX = 1 << 20 };
struct truncations {
	struct relation_file
		*relation; /* owned; `segment` means nothing, `tablespace` is never 0 */
	size_t count;
};
/* What the server's WAL summaries that end at `since` or later say; replaces what `out` holds.  Any
 * failure means that it is not known. */
enum err truncations_ask(const struct env *, const char *conninfo, struct lsn since,
			 struct truncations *out, struct error *why) MUST_CHECK;
void truncations_release(struct truncations *);
/* Whether the relation fork that the file belongs to is among them. */
bool truncations_have(const struct truncations *, const char *path);

/* ---- incremental: whether the server may send only what changed ---- */

struct incremental_facts {
	int server_version;
	int summarize_wal;            /* 1, 0; -1 = the server does not say */
	int data_checksums;           /* of the server, now; 1, 0, -1 */
	const struct summary *parent; /* NULL = none; fits this server and its history */
	bool has_manifest;            /* the parent has the manifest of what it holds */
	bool is_flagged;              /* something of it was found damaged in the repository */
};
/* Pure.  False: `why_not` has the reason, and as its hint what mends it. */
bool incremental_allowed(const struct incremental_facts *, struct error *why_not);
/* Asks the server for what the rule has to know of it. */
void incremental_ask(struct session *, struct incremental_facts *);
/* Sends the parent's manifest, without what shall come whole: visibility maps, and `truncated`
 * relations.  ERR_MISSING, ERR_PEER: the server refuses; ERR_CORRUPT: it can't be
 * read; ERR_LIMIT: it is too large.  The session takes other commands after these. */
enum err incremental_upload(struct session *, const struct cluster *, const struct manifest *parent,
			    const struct truncations *truncated, struct error *why) MUST_CHECK;
/* Once the backup has begun: whether what was sent left out every relation that the server now,
 * `later`, knows to have been cut off.  What the parent does not have needs no leaving out. */
enum err incremental_covers(const struct cluster *, const struct manifest *parent,
			    const struct truncations *truncated, const struct truncations *later,
			    bool *covers, struct error *why) MUST_CHECK;

/* ---- streamer: the WAL of the backup over a connection of its own ---- */

struct streamer_config {
	const struct env *env;
	const char *conninfo;
	const struct cluster *cluster; /* `clusters` of them */
	size_t clusters;
	int level;
};
struct streamer;
/* Connects, makes a temporary slot where the server has one free, and so holds WAL back from now
 * on.  ERR_TRANSIENT: no walsender free. */
enum err streamer_open(const struct streamer_config *, struct streamer **out,
		       struct error *why) MUST_CHECK;
/* Over a session that has nothing else to do until the streamer is freed, without a slot; good for nothing
 * but closing afterwards. */
enum err streamer_borrow(const struct streamer_config *, struct session *, struct streamer **out,
			 struct error *why) MUST_CHECK;
/* Streams from the segment of `start` in a thread of its own. */
enum err streamer_start(struct streamer *, struct lsn start, uint32_t timeline,
			uint32_t segment_bytes, struct error *why) MUST_CHECK;
/* Goes on until everything below `stop` is durable in every repository: the segment that holds it
 * whole where its rest comes (the server has switched) and comes in time, else a slice.  Joins the
 * thread, and adds what it stored, in any case.  ERR_MISSING: the server has removed what is wanted. */
enum err streamer_finish(struct streamer *, struct lsn stop, bool rest_comes,
			 uint64_t *stored_bytes, struct error *why) MUST_CHECK;
void streamer_free(struct streamer *); /* stops the thread, whatever its state */

/* The first segment of [start, stop) that some repository does not have whole; *missing = false: all
 * are there.  A slice does not count. */
enum err wal_find_missing(const struct cluster *, size_t clusters, struct lsn start,
			  struct lsn stop, uint32_t timeline, uint32_t segment_bytes, bool *missing,
			  struct wal_name *out, struct error *why) MUST_CHECK;
/* W5 without a stream: waits until the archive has every segment of [start, stop). */
enum err wal_wait(const struct env *, const struct cluster *, size_t clusters, struct lsn start,
		  struct lsn stop, uint32_t timeline, uint32_t segment_bytes, int64_t wait_us,
		  struct error *why) MUST_CHECK;
/* What the archiver of that server says of its own failure; "" = nothing. */
enum { WAL_BLAME_MAX = 512 };
void wal_blame(const struct env *, const char *conninfo, char out[WAL_BLAME_MAX]);
/* The end of W5: all of it is in every repository, and a recovery would be given it.  ERR_MISSING names what is not. */
enum err wal_prove(const struct cluster *, size_t clusters, struct lsn start, struct lsn stop,
		   uint32_t timeline, uint32_t segment_bytes, struct error *why) MUST_CHECK;

/* ---- about: what else a restore needs to know of the server ---- */

/* Best effort: what the role may not read is left out, with an event that says so.  Fills the
 * sections and the summary's paths. */
enum err about_collect(const struct env *, const char *conninfo, struct pack_writer *,
		       struct summary *, struct error *why) MUST_CHECK;
/* A question the server does not answer costs what it would have told, not the backup: an event, and
 * ERR_NONE unless the run has to end. */
enum err about_not_kept(const struct env *, const char *what, enum err, const struct error *why);
/* The section of collations and of the libraries that have them. */
enum err about_collations(const struct env *, struct session *, struct pack_writer *,
			  struct error *why) MUST_CHECK;

#endif
