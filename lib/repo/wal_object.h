/* repo/wal_object.h - files of pg_wal in the repository (FORMAT.md 11, repository.md section 5).
 */
#ifndef REPO_WAL_OBJECT_H
#define REPO_WAL_OBJECT_H

#include "pgformat/lsn.h"
#include "repo/object.h"

/* Key of a file of pg_wal by its name; slices have a key of their own. */
void wal_key(const struct cluster *, const struct wal_name *, char out[STORE_KEY_MAX]);
void wal_slice_key(const struct cluster *, const struct wal_name *, uint32_t from, uint32_t to,
		   char out[STORE_KEY_MAX]);

/* Checks that the bytes are what the name says: size == segment_bytes, long page header of the
 * right system, page address and segment size, every page's address in sequence until the first
 * page of zeros (after which all is zero or left over from recycling, which is let through only
 * in partial files).  ERR_CONFIG: another system's; ERR_CORRUPT: anything else.  What to do about it
 * depends on where the bytes come from: no hint. */
enum err wal_check_segment(const struct cluster *, const struct wal_name *, uint32_t segment_bytes,
			   struct bytes content, struct error *why) MUST_CHECK;

/* The same while the bytes pass.  Begin knows the size; pieces come in order, of whole pages.  The
 * checker borrows cluster and name until the last one. */
struct wal_checker {
	const struct cluster *cluster;
	const struct wal_name *name;
	uint32_t segment_bytes;
	uint64_t at;       /* LSN of the next page */
	bool first, ended; /* no page was seen yet; zeros began */
};
enum err wal_checker_begin(struct wal_checker *, const struct cluster *, const struct wal_name *,
			   uint32_t segment_bytes, uint64_t bytes, struct error *why) MUST_CHECK;
enum err wal_checker_add(struct wal_checker *, struct bytes piece, struct error *why) MUST_CHECK;

enum wal_put_result { WAL_PUT_NEW, WAL_PUT_SAME };
/* Stores one file.  Segments must have been checked.  The same name with the same content is
 * success (WAL_PUT_SAME); with other content ERR_EXISTS, and nothing is changed.
 * `level`: zstd level. */
enum err wal_put(const struct cluster *, const struct wal_name *, uint32_t segment_bytes, int level,
		 struct bytes content, enum wal_put_result *result, struct error *why) MUST_CHECK;

/* Content that need not be in memory: read twice, in pieces, by several threads at once.  One
 * source may be put into several repositories, one after the other. */
struct wal_content {
	uint64_t bytes;
	/* `len` bytes at `offset`: put into `room`, which holds them, or where they lie anyway;
	 * they stay until `room` is used again. */
	enum err (*read)(void *ctx, uint64_t offset, uint8_t *room, size_t len, struct bytes *out,
			 struct error *why);
	void *ctx;
	bool check; /* as wal_check_segment does, before anything is stored */

	/* Found by the first put; all zero before it. */
	bool unsound; /* the check failed: no repository will take it */
	bool digested;
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	uint32_t *crc; /* owned; of each piece */
};
void wal_content_release(struct wal_content *); /* what the puts left in it */
/* As wal_put.  ERR_TRANSIENT also when the content changed while it was read. */
enum err wal_put_from(const struct cluster *, const struct wal_name *, uint32_t segment_bytes,
		      int level, struct wal_content *, enum wal_put_result *result,
		      struct error *why) MUST_CHECK;
/* Stores bytes [from, to) of an unfinished segment; content has to - from bytes. */
enum err wal_put_slice(const struct cluster *, const struct wal_name *, uint32_t segment_bytes,
		       int level, uint32_t from, uint32_t to, struct bytes content,
		       struct error *why) MUST_CHECK;

/* Whole content in new memory, SHA-256 checked.  ERR_MISSING: not there under this name (slices do
 * not count). */
enum err wal_get(const struct cluster *, const struct wal_name *, uint8_t **out, size_t *len,
		 struct error *why) MUST_CHECK;
/* Whom the content is delivered to, in order and in pieces of a few frames.  Nothing
 * of it is proven to be whole and right before wal_get_to has succeeded. */
struct wal_sink {
	enum err (*begin)(void *ctx, uint64_t bytes, struct error *why); /* first, on the caller's
									    thread */
	enum err (*take)(void *ctx, struct bytes piece, struct error *why); /* on another one */
	void *ctx;
};
/* As wal_get, in memory that does not grow with the file, and without the SHA-256: every frame was sealed
 * for its place in this object, and one that was compressed carries a checksum of what it was before (not what
 * versions before 2026-11-26 stored).  A recovery waits for each segment; wal_get computes the digest for
 * verify. */
enum err wal_get_to(const struct cluster *, const struct wal_name *, const struct wal_sink *,
		    struct error *why) MUST_CHECK;
/* A segment joined from slices and padded with zeros to the segment size; *valid = bytes before
 * the padding.  ERR_MISSING: no slice from byte 0 on. */
enum err wal_get_sliced(const struct cluster *, const struct wal_name *, uint32_t segment_bytes,
			uint8_t **out, uint32_t *valid, struct error *why) MUST_CHECK;

/* ERR_NONE: the whole file lies under its name, durably; ERR_MISSING: it does not.  Its content is not
 * looked at. */
enum err wal_is_there(const struct cluster *, const struct wal_name *,
		      struct error *why) MUST_CHECK;

/* Answers whether any whole segment or slice of this timeline lies at or after `segno`; decides "proven
 * absent" together with wal_get.  The listing must have succeeded. */
enum err wal_has_later(const struct cluster *, uint32_t timeline, uint64_t segno,
		       uint32_t segment_bytes, bool *out, struct error *why) MUST_CHECK;

/* Whether there is any segment or slice at all, of any timeline. */
enum err wal_any(const struct cluster *, bool *out, struct error *why) MUST_CHECK;

/* How far the WAL from the segment that holds `start` on goes without a hole, whole segments and slices
 * taken together: the LSN behind its last byte; the beginning of that segment when there is none. */
enum err wal_reaches(const struct cluster *, uint32_t timeline, struct lsn start,
		     uint32_t segment_bytes, struct lsn *out, struct error *why) MUST_CHECK;

struct wal_listed {
	struct wal_name name;
	bool slice;
	uint32_t from, to; /* of a slice */
	uint64_t stored_bytes;
	int64_t stored_at_us; /* by the store's clock; 0 = unknown */
};
/* Everything under wal/, in key order: timelines ascend, segments ascend within one. */
enum err wal_list(const struct cluster *,
		  enum err (*visit)(void *ctx, const struct wal_listed *, struct error *why),
		  void *ctx, struct error *why) MUST_CHECK;
/* One level of wal/: every timeline that has a history file (`is_history`) or a folder with anything
 * in it, ascending, and of one that has both the folder first.  As cheap for a long archive as for a
 * short one. */
enum err wal_list_timelines(const struct cluster *,
			    enum err (*visit)(void *ctx, uint32_t timeline, bool is_history,
					      struct error *why),
			    void *ctx, struct error *why) MUST_CHECK;
/* As wal_list, for one timeline's segments from `from_segno` on; what lies before is not walked. */
enum err wal_list_timeline(const struct cluster *, uint32_t timeline, uint64_t from_segno,
			   uint32_t segment_bytes,
			   enum err (*visit)(void *ctx, const struct wal_listed *,
					     struct error *why),
			   void *ctx, struct error *why) MUST_CHECK;

#endif
