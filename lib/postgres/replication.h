/* postgres/replication.h - replication commands and the WAL stream (protocol of 15-18).
 *
 * Source: PostgreSQL documentation, "Streaming Replication Protocol"; walsender.c.  Sessions here
 * are SESSION_REPLICATION.
 */
#ifndef POSTGRES_REPLICATION_H
#define POSTGRES_REPLICATION_H

#include "postgres/session.h"

struct system_identity {
	uint64_t system_identifier;
	uint32_t timeline;
	struct lsn flushed;
};
enum err replication_identify(struct session *, struct system_identity *out,
			      struct error *why) MUST_CHECK;

/* wal_segment_size of the server, in bytes. */
enum err replication_segment_bytes(struct session *, uint32_t *out, struct error *why) MUST_CHECK;

/* A temporary physical slot with WAL reserved; it dies with the session or its first error.
 * ERR_LIMIT when the server has no free slot. */
enum err replication_temporary_slot(struct session *, const char *name,
				    struct error *why) MUST_CHECK;

/* Content of a timeline's history file, new memory, free() it.  ERR_MISSING for timeline 1. */
enum err replication_history(struct session *, uint32_t timeline, uint8_t **out, size_t *len,
			     struct error *why) MUST_CHECK;

struct wal_stream_message {
	enum { WAL_STREAM_DATA, WAL_STREAM_KEEPALIVE, WAL_STREAM_NOTHING, WAL_STREAM_END } kind;
	struct lsn start;       /* DATA: of the payload */
	struct lsn server_end;  /* DATA, KEEPALIVE */
	int64_t server_time_us; /* microseconds since 1970 UTC */
	bool reply_requested;   /* KEEPALIVE */
	struct bytes payload;   /* DATA; borrowed until the next call */
	uint32_t next_timeline; /* END of a historic timeline; 0 = the server shuts down */
	struct lsn next_start;
};

/* START_REPLICATION; `slot` may be NULL.  Success only means that copying began: "requested WAL
 * segment has already been removed" (ERR_MISSING) comes from the first wal_stream_next. */
enum err wal_stream_start(struct session *, const char *slot, struct lsn start, uint32_t timeline,
			  struct error *why) MUST_CHECK;
/* Waits at most `wait_ms` for a message; NOTHING when none came (or when `wake_fd`, -1 = none,
 * became readable). */
enum err wal_stream_next(struct session *, int wait_ms, int wake_fd, struct wal_stream_message *out,
			 struct error *why) MUST_CHECK;
/* Standby status update; positions are "last byte + 1", applied is always reported as 0. */
enum err wal_stream_report(struct session *, struct lsn written, struct lsn flushed, int64_t now_us,
			   struct error *why) MUST_CHECK;
/* Ends the copy from our side and drains what is under way, for at most 30 s and also when
 * env->cancelled is set.  After an END it only makes the session ready for other commands. */
enum err wal_stream_stop(struct session *, struct error *why) MUST_CHECK;

#endif
