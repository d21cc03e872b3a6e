/* postgres/manifest_upload.h - UPLOAD_MANIFEST: tells the server what the backup before has (17+).
 *
 * After a successful end, a base backup with `incremental` set on the same session sends only what
 * changed since that one.  One thread.  Source: PostgreSQL "Streaming Replication Protocol",
 * src/backend/replication/walsender.c, src/backend/backup/basebackup_incremental.c (17, 18).
 */
#ifndef POSTGRES_MANIFEST_UPLOAD_H
#define POSTGRES_MANIFEST_UPLOAD_H

#include "postgres/session.h"

enum {
	MANIFEST_UPLOAD_VERSION_MIN = 170000, /* of the server */
	MANIFEST_UPLOAD_MAX = 1 << 30         /* bytes; ten million files */
};

struct manifest_upload;

/* ERR_CONFIG for an older server; ERR_MISSING: the server says why it can't. */
enum err manifest_upload_begin(struct session *, struct manifest_upload **out,
			       struct error *why) MUST_CHECK;
/* The next bytes of the manifest, in any cutting.  A server that takes nothing makes it wait;
 * ERR_CANCELLED when env->cancelled is set meanwhile, ERR_LIMIT past MANIFEST_UPLOAD_MAX. */
enum err manifest_upload_add(struct manifest_upload *, struct bytes, struct error *why) MUST_CHECK;
/* ERR_PEER: the server does not believe it. */
enum err manifest_upload_end(struct manifest_upload *, struct error *why) MUST_CHECK;
/* Before a successful end: tells the server to forget it, and the session takes other commands
 * again unless it broke or was cancelled.  NULL is fine. */
void manifest_upload_free(struct manifest_upload *);

#endif
