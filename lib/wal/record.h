/* wal/record.h - one WAL record as the walk reports it, and what its first bytes tell.
 *
 * Source: src/include/access/xlogrecord.h, xact.h, catalog/pg_control.h (15-18 identical here).
 */
#ifndef WAL_RECORD_H
#define WAL_RECORD_H

#include "pgformat/lsn.h"

enum {
	WAL_RECORD_HEADER_BYTES = 24,
	WAL_RECORD_BYTES_MAX = 1020 << 20, /* what PostgreSQL writes at most */
	WAL_RECORD_SEEN_MAX = 512,         /* bytes kept for looking at */
	WAL_RESTORE_POINT_NAME_MAX = 64    /* bytes with the NUL */
};

struct wal_record {
	struct lsn lsn; /* where it starts, as pg_waldump shows it */
	struct lsn end; /* aligned: where the next one may start; after a switch the next segment */
	struct lsn prev;   /* start of the one before */
	uint32_t timeline; /* that owns `lsn` on the path walked */
	uint32_t xid;
	uint32_t len; /* bytes with the header */
	uint8_t rmid;
	uint8_t info;
	struct bytes seen; /* its first bytes with the header, at most WAL_RECORD_SEEN_MAX */
};

enum wal_record_kind {
	WAL_RECORD_OTHER,
	WAL_RECORD_COMMIT,
	WAL_RECORD_ABORT,
	WAL_RECORD_COMMIT_PREPARED,
	WAL_RECORD_ABORT_PREPARED,
	WAL_RECORD_RESTORE_POINT,
	WAL_RECORD_SWITCH,
	WAL_RECORD_BACKUP_END,
	WAL_RECORD_OVERWRITES /* takes the place of one that was never finished */
};
enum wal_record_kind wal_record_kind(const struct wal_record *);

bool wal_record_is_commit(const struct wal_record *); /* prepared ones too */
/* False for checkpoints, switches, locks of standbys and the like: what a server without users writes, and
 * nobody would miss. */
bool wal_record_is_missed(const struct wal_record *);

/* It makes a transaction outlive its server, prepared; it is neither committed nor aborted. */
bool wal_record_is_prepare(const struct wal_record *);
/* It names AccessExclusiveLocks, which a hot standby holds from there to the end of their transactions. */
bool wal_record_locks(const struct wal_record *);

/* The main data, borrowed from `seen`, cut where `seen` ends; false when the headers before it make
 * no sense or reach past `seen`. */
bool wal_record_main(const struct wal_record *, struct bytes *out);

/* When a transaction ended, as recovery_target_time compares it: microseconds since 1970 UTC.
 * False for all but the four kinds of commit and abort, and when it was not seen. */
bool wal_record_time(const struct wal_record *, int64_t *unix_us);

/* Between which times the server that wrote it ended its recovery: both the same for an end-of-recovery
 * record, the first and the last microsecond of a second for a checkpoint of the shutdown kind, which
 * takes its place where a server was promoted by its own target.  False for all others. */
bool wal_record_birth(const struct wal_record *, int64_t *from_us, int64_t *to_us);

/* False for all but restore points. */
bool wal_record_restore_point(const struct wal_record *, char name[WAL_RESTORE_POINT_NAME_MAX],
			      int64_t *unix_us);

#endif
