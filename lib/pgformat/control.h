/* pgformat/control.h - reading global/pg_control of PostgreSQL 15-18; never written or edited.
 *
 * Source: src/include/catalog/pg_control.h of each major; offsets for 64-bit, little-endian.
 */
#ifndef PGFORMAT_CONTROL_H
#define PGFORMAT_CONTROL_H

#include "pgformat/lsn.h"

enum { CONTROL_FILE_BYTES = 8192 };

enum control_state { /* DBState, the file's own numbers */
		     CONTROL_STARTUP = 0,
		     CONTROL_SHUTDOWNED = 1,
		     CONTROL_SHUTDOWNED_IN_RECOVERY = 2,
		     CONTROL_SHUTDOWNING = 3,
		     CONTROL_CRASH_RECOVERY = 4,
		     CONTROL_ARCHIVE_RECOVERY = 5,
		     CONTROL_IN_PRODUCTION = 6
};

struct control {
	uint64_t system_identifier;
	uint32_t control_version; /* 1300 (15, 16), 1700, 1800 */
	uint32_t catalog_version;
	uint32_t state; /* enum control_state */
	struct lsn checkpoint, redo;
	uint32_t timeline; /* of the checkpoint */
	struct lsn min_recovery;
	uint32_t min_recovery_timeline;
	struct lsn backup_start, backup_end;
	int32_t wal_level, max_connections, max_worker_processes, max_wal_senders,
		max_prepared_transactions, max_locks_per_transaction;
	uint32_t block_bytes, wal_segment_bytes;
	uint32_t data_checksums; /* 0 = off */
};

/* `in` is the whole file.  ERR_CORRUPT on a CRC that does not match or a foreign byte order,
 * ERR_CONFIG for a version this program does not know. */
enum err control_decode(struct bytes in, struct control *out, struct error *why) MUST_CHECK;

/* 15..18 from control and catalog version; 0 = unknown. */
unsigned control_major(const struct control *);

#endif
