/* postgres/base_backup.h - BASE_BACKUP as a pull stream: archives, then the manifest, then the end.
 *
 * Order of calls: begin; tablespaces; { next_archive; read until it gives 0 bytes } until
 * next_archive answers ERR_MISSING; read_manifest until 0 bytes; end.  Only a successful end
 * makes the backup good.  One thread.  Source: PostgreSQL "Streaming Replication Protocol",
 * src/backend/backup/basebackup.c, basebackup_copy.c (15-18).
 */
#ifndef POSTGRES_BASE_BACKUP_H
#define POSTGRES_BASE_BACKUP_H

#include "postgres/session.h"

struct base_backup_options {
	const char *label; /* <= 1024 bytes */
	bool fast_checkpoint;
	bool manifest; /* with CRC32C */
	bool verify_checksums;
	bool progress;        /* asks the server for an estimate of the size */
	bool incremental;     /* 17+, after manifest_upload_end on this session */
	uint32_t max_rate_kb; /* kB/s, 32..1048576; 0 = unlimited */
};

struct base_backup;

/* Waits for the checkpoint: with a spread one this takes minutes and no byte comes.
 * ERR_CANCELLED when env->cancelled is set meanwhile; ERR_MISSING: the server has not what it needs
 * for an incremental one (WAL summaries, mostly), and a whole one may be asked for on this session. */
enum err base_backup_begin(const struct env *, struct session *, const struct base_backup_options *,
			   struct base_backup **out, struct error *why) MUST_CHECK;

struct lsn base_backup_start(const struct base_backup *);
uint32_t base_backup_start_timeline(const struct base_backup *);

struct base_backup_tablespace {
	uint32_t oid;
	const char *path;    /* on the server; lives as long as the base_backup */
	uint64_t size_bytes; /* estimate; 0 = unknown */
};
/* User tablespaces; the data directory itself is not among them. */
size_t base_backup_tablespaces(const struct base_backup *,
			       const struct base_backup_tablespace **out);
/* Estimate of everything; 0 = unknown. */
uint64_t base_backup_size(const struct base_backup *);

/* 0 = base.tar, else the tablespace's oid.  ERR_MISSING: no more archives.  Names from the wire
 * that are neither base.tar nor OID.tar are ERR_PEER. */
enum err base_backup_next_archive(struct base_backup *, uint32_t *oid,
				  struct error *why) MUST_CHECK;
/* The next bytes of the current archive, borrowed until the next call; len 0 = it is complete. */
enum err base_backup_read(struct base_backup *, struct bytes *out, struct error *why) MUST_CHECK;
/* After the last archive: the manifest's bytes in the same way. */
enum err base_backup_read_manifest(struct base_backup *, struct bytes *out,
				   struct error *why) MUST_CHECK;

struct base_backup_end {
	struct lsn stop;
	uint32_t timeline;
	bool checksum_failures; /* the server's final error was XX001: all data came, some is bad */
};
enum err base_backup_end(struct base_backup *, struct base_backup_end *out,
			 struct error *why) MUST_CHECK;
void base_backup_free(struct base_backup *); /* NULL is fine; before the end the session is void */

/* After the end, which says whether there are any: what the server's warnings name ("checksum verification
 * failed in file ..."), each path once, inside PGDATA ("base/5/1259", "pg_tblspc/16389/PG_15.../5/16400").  The
 * words around the path may be in any language.  *paths lives until the next call. */
size_t base_backup_bad_files(const struct base_backup *, const char *const **paths);

#endif
