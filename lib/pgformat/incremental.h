/* pgformat/incremental.h - the file in which PostgreSQL 17+ sends the changed blocks of another one.
 *
 * "dir/INCREMENTAL.16384.1" stands for the segment "dir/16384.1": a header that lists blocks in
 * ascending order, zeros up to a whole page, then the images of these blocks in the same order.  A
 * file without any block is the header's first 12 bytes alone.  What it says: the segment had at
 * some time only `truncated` blocks; blocks below that and not listed are as they were in the
 * backup before; the others, if any block above them is listed, are zero.
 * Source: src/backend/backup/basebackup_incremental.c, src/bin/pg_combinebackup/reconstruct.c.
 */
#ifndef PGFORMAT_INCREMENTAL_H
#define PGFORMAT_INCREMENTAL_H

#include "base/bytes.h"
#include "base/error.h"

enum {
	INCREMENTAL_HEAD_BYTES = 12,     /* magic, count of blocks, truncated */
	INCREMENTAL_BLOCKS_MAX = 131072, /* in a segment of 1 GiB */
	/* The list with its head, in whole pages. */
	INCREMENTAL_HEADER_MAX = 8192 + INCREMENTAL_BLOCKS_MAX * 4
};

struct incremental {
	uint32_t blocks;       /* listed, and so images */
	uint32_t truncated;    /* blocks */
	uint32_t header_bytes; /* where the images begin */
};

/* `head` is the first INCREMENTAL_HEAD_BYTES of a file of `file_bytes`.  ERR_CORRUPT: it is none,
 * or its size is not what its counts ask for.  ERR_PEER: a known defect of early servers. */
enum err incremental_decode_head(struct bytes head, uint64_t file_bytes, struct incremental *out,
				 struct error *why) MUST_CHECK;

/* `rest` is the header from INCREMENTAL_HEAD_BYTES on to its end.  `block` has room for all of
 * them; *length is how many blocks the segment has now.  ERR_CORRUPT: not ascending, out of a
 * segment, or the rest of the header is not zero.  On failure `block` is void. */
enum err incremental_decode_blocks(const struct incremental *, struct bytes rest, uint32_t *block,
				   uint32_t *length, struct error *why) MUST_CHECK;

/* Whether `path` is named like such a file of a relation, in a place where the server puts them.
 * `out` is then the path of the segment it stands for; `out` may be `path`. */
bool incremental_path(const char *path, char *out, size_t out_len);

#endif
