/* postgres/replication_internal.h - decoding of what a walsender sends; pure. */
#ifndef POSTGRES_REPLICATION_INTERNAL_H
#define POSTGRES_REPLICATION_INTERNAL_H

#include "postgres/replication.h"

/* One CopyData body of START_REPLICATION; the payload is borrowed from it.  ERR_PEER. */
enum err decode_wal_message(struct bytes in, struct wal_stream_message *out,
			    struct error *why) MUST_CHECK;

/* "16MB", "1GB" as SHOW wal_segment_size prints it.  ERR_PEER. */
enum err decode_segment_bytes(const char *text, uint32_t *out, struct error *why) MUST_CHECK;

/* A timeline's number; NULL is refused like anything else that is none.  ERR_PEER. */
enum err decode_timeline(const char *text, uint32_t *out, struct error *why) MUST_CHECK;

/* An LSN of the server; NULL is refused.  ERR_PEER. */
enum err decode_lsn(const char *text, struct lsn *out, struct error *why) MUST_CHECK;

/* Body of a standby status update. */
enum { STATUS_UPDATE_LEN = 34 };
void encode_status_update(struct lsn written, struct lsn flushed, int64_t now_us,
			  uint8_t out[STATUS_UPDATE_LEN]);

#endif
