/* repo/map.h - shards: where the pages of 16 MiB of a file are stored (FORMAT.md section 8).
 *
 * Pure: no I/O.  A builder takes pages in order; a decoded shard answers for each page.
 */
#ifndef REPO_MAP_H
#define REPO_MAP_H

#include "crypto/crypto.h"
#include "repo/attempt.h"

enum {
	MAP_PAGE_BYTES = 8192,
	SHARD_PAGES_MAX = 2048,
	SHARD_FILE_BYTES = SHARD_PAGES_MAX * MAP_PAGE_BYTES, /* 16 MiB */
	SHARD_ENCODED_MAX = 160 << 10 /* bytes: every page in a frame and pack of its own */
};

struct pack_id {
	struct attempt attempt;
	uint32_t seq;
};

bool pack_id_same(const struct pack_id *, const struct pack_id *);

struct frame_ref { /* absolute */
	struct pack_id pack;
	uint32_t ordinal;
	uint64_t offset;
	uint32_t stored_len, plain_len;
};

struct page_entry {
	uint8_t tag[CRYPTO_TAG_BYTES];
	uint32_t crc;    /* CRC-32C of the page */
	bool zero;       /* all zeros: nothing stored, the other fields mean nothing */
	uint16_t frame;  /* index into shard.frame */
	uint32_t offset; /* in the plain frame */
};

struct shard {               /* about 140 KiB; one per open file or worker */
	uint16_t pages;      /* 1..SHARD_PAGES_MAX */
	uint32_t last_bytes; /* 1..8192, of the last page */
	uint32_t frames;     /* <= pages */
	struct frame_ref frame[SHARD_PAGES_MAX];
	struct page_entry page[SHARD_PAGES_MAX];
};

void shard_reset(struct shard *);
/* Appends a page; consecutive pages of one frame share its entry.  The page's length is 8192 for
 * all but the last.  Programmer error past SHARD_PAGES_MAX. */
void shard_add_zero(struct shard *, uint32_t page_bytes);
void shard_add(struct shard *, uint32_t page_bytes, const uint8_t tag[CRYPTO_TAG_BYTES],
	       uint32_t crc, const struct frame_ref *frame, uint32_t offset);
/* The same in two steps, for callers that know their frames: a frame is added once and named by its
 * index; at most one frame for each page. */
uint16_t shard_add_frame(struct shard *, const struct frame_ref *);
void shard_add_in(struct shard *, uint32_t page_bytes, const uint8_t tag[CRYPTO_TAG_BYTES],
		  uint32_t crc, uint16_t frame, uint32_t offset);
bool frame_ref_same(const struct frame_ref *, const struct frame_ref *);
uint64_t shard_file_bytes(const struct shard *);

/* Kind 1 (whole). */
void shard_encode(const struct shard *, struct writer *out);
/* Kind 1; a patch (kind 2) is decoded over its base: `base` is asked for with its place, and must
 * be kind 1.  ERR_CORRUPT for anything that breaks FORMAT.md. */
struct shard_ref {
	struct frame_ref frame; /* that holds the shard */
	uint32_t offset, len;   /* inside its plain bytes */
};
enum err shard_decode(struct bytes in, struct shard *out, struct error *why) MUST_CHECK;
/* ERR_NONE with *is_patch = false for kind 1. */
enum err shard_patch_base(struct bytes in, bool *is_patch, struct shard_ref *base,
			  struct error *why) MUST_CHECK;
/* `in` is kind 2; `out` holds the decoded base on entry and the patched shard on return. */
enum err shard_decode_patch(struct bytes in, struct shard *out, struct error *why) MUST_CHECK;
/* How many pages a patch of `now` over `base` would have to name. */
uint32_t shard_differences(const struct shard *base, const struct shard *now);
/* Kind 2: `now` over `base`, which is stored whole at `at`.  Pages that lie where the base has
 * them are left out; whether the patch is worth it is the caller's to see from out->len. */
void shard_encode_patch(const struct shard *base, const struct shard *now,
			const struct shard_ref *at, struct writer *out);

#endif
