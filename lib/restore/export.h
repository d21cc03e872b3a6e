/* restore/export.h - a backup as the tars that pg_basebackup -Ft writes: what any tool can read.
 *
 * Into a directory go base.tar, OID.tar for each tablespace, pg_wal.tar and backup_manifest; into
 * a file or a stream one tar that has the WAL (below pg_wal/) and backup_manifest inside, as
 * `pg_basebackup -Ft -X fetch -D -` writes it, which a backup with tablespaces can't have.
 */
#ifndef RESTORE_EXPORT_H
#define RESTORE_EXPORT_H

#include "repo/decision.h"
#include "tar/tar_writer.h"
#include "wal/archive.h"

enum { EXPORT_JOBS_MAX = 8 }; /* a job and its share of the queue have 32 MiB */

struct export_request {
	struct attempt backup;
	/* One of the three.  A directory must be absent or empty, a file absent. */
	const char *directory; /* absolute */
	const char *file;      /* absolute */
	tar_push *push;        /* a stream; called by one thread at a time */
	void *push_ctx;
	unsigned jobs;
};

struct export_result {
	uint64_t bytes_written, files, wal_segments;
	int64_t duration_us;
	size_t tars;
};

/* Whatever can be known before is refused before the first byte: ERR_CONFIG (place not empty,
 * tablespaces and one tar), ERR_FULL, ERR_CORRUPT (packs or WAL are missing).  ERR_MISSING: no such
 * backup.  Files are written under temporary names, fsynced, and get their own when all are whole, base.tar
 * last: what has a base.tar is whole.  An interrupted run leaves temporaries that the next one removes.
 * All bytes are checked as a restore checks them; of a stream the failure says that it is void.  Two exports
 * of one backup have the same bytes. */
enum err export_run(const struct env *, const struct wal_archive *, const struct export_request *,
		    struct export_result *out, struct error *why) MUST_CHECK;

#endif
