/* wal/walk.h - goes from record to record over segments and says where the WAL ends.
 *
 * Pure: segments come from a function of the caller, one at a time, and nothing is allocated, so
 * that the same walk serves a repository, a directory and a test.  A walk ends where recovery
 * would: at the first place that holds no valid record that follows from the one before.
 */
#ifndef WAL_WALK_H
#define WAL_WALK_H

#include "pgformat/history.h"
#include "wal/record.h"

struct wal_source {
	void *ctx;
	/* Segment `segno` of `timeline`; *out is borrowed until the next call or the end of the
	 * walk.  Less than a whole segment is welcome: what is not there counts as zeros.
	 * ERR_MISSING = there is none (the walk ends there); any other error fails the walk. */
	enum err (*segment)(void *ctx, uint32_t timeline, uint64_t segno, struct bytes *out,
			    struct error *why);
};

struct wal_visitor {
	void *ctx;
	/* Called for each valid record in order; an error ends the walk and is its result. */
	enum err (*record)(void *ctx, const struct wal_record *, struct error *why);
};

struct wal_walk {
	struct wal_source source;
	struct wal_visitor visitor; /* `record` may be NULL */
	/* The timelines to walk on.  A segment in which the path changes from one to the next is
	 * asked for on the newer one first, as recovery does. */
	const struct history *path;
	uint32_t segment_bytes;
	uint64_t system_identifier; /* 0 = any */
	/* Start of a record, or of a page or segment: then a record continued from before is
	 * passed over. */
	struct lsn start;
	struct lsn until; /* stop behind the first record that ends here or later; 0 = go on */
};

enum wal_stop {
	WAL_STOP_UNTIL,           /* `until` was reached */
	WAL_STOP_SEGMENT_MISSING, /* the source has no segment with `stop_at` */
	WAL_STOP_ZERO,            /* nothing was ever written there */
	WAL_STOP_STALE_PAGE,      /* a page of other WAL: the segment was used before */
	WAL_STOP_BAD_PAGE,        /* no WAL page */
	WAL_STOP_FOREIGN_PAGE,    /* of another system or segment size */
	WAL_STOP_BAD_TIMELINE,    /* a page or record of a timeline that is not on the path there */
	WAL_STOP_BAD_RECORD,      /* a header that no record has */
	WAL_STOP_BAD_PREV,        /* a record that does not follow from the one before */
	WAL_STOP_BAD_CRC,
	WAL_STOP_TORN /* a page does not continue the record before it as it should */
};
/* What was found there, for people: "zeros", "a page of older WAL", ...  Static. */
const char *wal_stop_text(enum wal_stop);

struct wal_walk_end {
	enum wal_stop stop;
	struct lsn stop_at; /* of the record or page that ended it */
	uint64_t records;   /* valid ones */
	struct lsn first;   /* start of the first one; 0 when there is none */
	struct lsn last;    /* start of the last one; 0 when there is none */
	struct lsn end;     /* behind the last one; `start` when there is none */
	uint32_t timeline;  /* that owns `last`; 0 when there is none */
};

/* ERR_CONFIG when `start` is not 8-byte aligned or 0, or the segment size is none; otherwise only
 * errors of the source and the visitor.  An end of the WAL is no error. */
enum err wal_walk(const struct wal_walk *, struct wal_walk_end *out, struct error *why) MUST_CHECK;

#endif
