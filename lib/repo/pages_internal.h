/* repo/pages_internal.h - what the files of the page source share. */
#ifndef REPO_PAGES_INTERNAL_H
#define REPO_PAGES_INTERNAL_H

#include "repo/pages.h"

/* A decoded frame. */
struct kept_frame {
	uint64_t used_at; /* the lowest is given up first; 0 = nothing is kept here */
	struct pack_id pack;
	uint32_t ordinal;
	uint8_t *room;
	size_t room_bytes;
	struct bytes plain; /* in `room` */
};

/* Frames of one class. */
struct frames {
	const struct cluster *cluster;
	enum frame_class class;
	struct object_reader *reader;
	uint8_t *raw; /* PAGES_READ_MAX; as stored */
	uint64_t uses, fetched, reads, opened;
	size_t keep;                               /* how many of `kept` are used */
	struct kept_frame kept[PAGES_FRAMES_KEPT]; /* the larger of the two */
};

enum err frames_init(struct frames *, const struct cluster *, enum frame_class,
		     struct error *why) MUST_CHECK;
void frames_release(struct frames *); /* zeros are fine */

/* Bytes of the frame in the store. */
uint64_t frame_stored_bytes(const struct frame_ref *);
/* A map's word is not taken for it that a frame can lie where it says. */
enum err frame_check(const struct frame_ref *, struct error *why) MUST_CHECK;

/* The plain bytes of a frame if it is kept; false otherwise. */
bool frames_find(struct frames *, const struct frame_ref *, struct bytes *plain);
/* From here on reads and decoding are about this pack.  ERR_CORRUPT: it is gone, or its header is
 * damaged. */
enum err frames_open_pack(struct frames *, const struct pack_id *, struct error *why) MUST_CHECK;
/* At most PAGES_READ_MAX bytes of the opened pack, into `raw`. */
enum err frames_read(struct frames *, const struct pack_id *, uint64_t offset, uint64_t len,
		     struct error *why) MUST_CHECK;
/* Decodes the frame at `at` in `raw` into `out`, which has room for its plain length. */
enum err frames_decode(struct frames *, const struct frame_ref *, uint64_t at, uint8_t *out,
		       struct error *why) MUST_CHECK;
/* The same, and keeps it; borrowed until it is given up, `keep` frames later. */
enum err frames_decode_kept(struct frames *, const struct frame_ref *, uint64_t at,
			    struct bytes *plain, struct error *why) MUST_CHECK;
/* All of it for one frame: found, or opened, read, decoded and kept. */
enum err frames_get(struct frames *, const struct frame_ref *, struct bytes *plain,
		    struct error *why) MUST_CHECK;

/* ---- shards, pages_shards.c ---- */

/* A reference as a file record holds it; ERR_CORRUPT: its pack is not in the table. */
enum err shard_ref_resolve(const struct manifest *, const uint8_t *stored, struct shard_ref *out,
			   struct error *why) MUST_CHECK;
/* The shard at `ref`, a patch over its base; `base` gets the place of the whole shard it rests on, which
 * is `ref` itself where that is whole.  After a failure `out` is void. */
enum err shard_load(struct frames *, const struct shard_ref *ref, struct shard *out,
		    struct shard_ref *base, struct error *why) MUST_CHECK;
enum err shard_load_whole(struct frames *, const struct shard_ref *ref, struct shard *out,
			  struct error *why) MUST_CHECK;

/* ---- the window, pages_window.c ---- */

enum { NO_PAGE = UINT16_MAX };

/* Which frames hold the wanted pages of a shard, and which pages each of them holds. */
struct frame_plan {
	uint32_t frames;
	const struct frame_ref *order[SHARD_PAGES_MAX]; /* by pack and offset */
	uint16_t first[SHARD_PAGES_MAX]; /* by frame of the shard: its first page, or NO_PAGE */
	uint16_t next[SHARD_PAGES_MAX];  /* by page: the next one of the same frame */
};

struct page_source {
	const struct cluster *cluster;
	const struct manifest *manifest;
	struct frames shards, pages;
	struct page_tagger *tagger;
	struct shard *shard; /* mapped last; pages = 0: none */
	struct bytes path;   /* of its file */
	uint64_t offset;     /* of the shard in its file */
	struct frame_plan plan;
	uint8_t *window; /* SHARD_FILE_BYTES; a page lies where it does in the shard */
	uint8_t *frame;  /* FRAME_PAGES_MAX; one that is not kept */
	/* Of the visit under way. */
	const struct page_set *wanted; /* NULL = all */
	struct page_set ready;         /* in the window, and checked */
	struct page_set damaged;
	uint32_t visited; /* pages before this one are done with */
	page_visit *visit;
	void *ctx;
};

uint32_t page_len(const struct shard *, uint32_t page);
/* Fetches, decodes, checks and visits what is wanted of the mapped shard. */
enum err window_fill(struct page_source *, struct error *why) MUST_CHECK;

#endif
