/* pgformat/lsn.h - a position in the WAL, and the names of the files that hold WAL.
 *
 * Source: PostgreSQL src/include/access/xlog_internal.h, xlogdefs.h (15-18 identical).
 */
#ifndef PGFORMAT_LSN_H
#define PGFORMAT_LSN_H

#include "base/bytes.h"
#include "base/error.h"

struct lsn {
	uint64_t value; /* byte position; 0 = invalid */
};

enum {
	LSN_TEXT_MAX = 24,
	WAL_SEGMENT_NAME_LEN = 24,
	WAL_NAME_MAX = 48 /* longest archive name with its NUL */
};
#define WAL_SEGMENT_BYTES_MIN (UINT32_C(1) << 20)
#define WAL_SEGMENT_BYTES_MAX (UINT32_C(1) << 30)
#define WAL_PAGE_BYTES 8192

static inline struct lsn lsn_of(uint64_t value)
{
	return (struct lsn){value};
}

/* "X/X", without zero padding as the server prints it ("0/3000028"). */
void lsn_to_text(struct lsn, char out[LSN_TEXT_MAX]);
/* 1..8 hex digits, '/', 1..8 hex digits, nothing else: ERR_CONFIG. */
enum err lsn_from_text(const char *text, struct lsn *out, struct error *why) MUST_CHECK;

/* True for a power of two from 1 MiB to 1 GiB. */
bool wal_is_segment_bytes(uint64_t segment_bytes);

enum wal_name_kind {
	WAL_NAME_SEGMENT, /* 24 hex digits */
	WAL_NAME_HISTORY, /* TTTTTTTT.history */
	WAL_NAME_BACKUP,  /* segment.OOOOOOOO.backup */
	WAL_NAME_PARTIAL  /* segment.partial */
};

struct wal_name {
	enum wal_name_kind kind;
	uint32_t timeline; /* >= 1 */
	uint32_t log;      /* the middle 8 digits; 0 for history */
	uint32_t seg;      /* the last 8 digits; 0 for history */
	uint32_t offset;   /* of a .backup: start inside the segment */
};

/* Upper-case hex only; anything else is ERR_CONFIG. */
enum err wal_name_from_text(const char *text, struct wal_name *out, struct error *why) MUST_CHECK;
void wal_name_to_text(const struct wal_name *, char out[WAL_NAME_MAX]);

/* Number of a segment on its timeline: lsn / segment_bytes. */
uint64_t wal_segno(struct lsn, uint32_t segment_bytes);
/* The first LSN of segment `segno`. */
struct lsn wal_segment_start(uint64_t segno, uint32_t segment_bytes);
/* Number from the name; false when `seg` is too large for that segment size. */
bool wal_name_segno(const struct wal_name *, uint32_t segment_bytes, uint64_t *out);
void wal_segment_name(uint32_t timeline, uint64_t segno, uint32_t segment_bytes,
		      struct wal_name *out);

#endif
