/* backup/backup.h - takes one base backup of a running server into one or more repositories.
 *
 * The order W1..W7 of repository.md section 3; the README of this room has it as a table.  A crash
 * or failure before W6 leaves no backup, only garbage of this attempt; the next run clears its pin.
 */
#ifndef BACKUP_BACKUP_H
#define BACKUP_BACKUP_H

#include "postgres/session.h"
#include "repo/decision.h"

enum { BACKUP_REPOSITORIES_MAX = 8 };

/* What is asked of the server. */
enum backup_type {
	BACKUP_AUTO, /* what changed, where that is safe; else everything, and the result says why */
	BACKUP_FULL,       /* everything */
	BACKUP_INCREMENTAL /* what changed; where that can't be: ERR_CONFIG before a byte is stored */
};

struct backup_request {
	enum backup_type type;
	const char *conninfo; /* of the server to read; may be a standby's */
	/* Whose archiver brings the WAL that can't be streamed; NULL = `conninfo`'s. */
	const char *primary_conninfo;
	const char *label; /* NULL = "pgagent" */
	bool fast_checkpoint;
	bool keep;                 /* kept out of retention from birth */
	uint32_t max_rate_kb;      /* 0 = unlimited */
	int level;                 /* zstd */
	unsigned workers;          /* compressing threads; >= 1 */
	bool stream_wal;           /* fetch the WAL of the backup on a second connection */
	int64_t refresh_period_us; /* copies older than this are stored again; 0 = never */
	int64_t archive_wait_us;   /* how long W5 waits for WAL it does not stream itself */
	const struct sightings
		*seen; /* what this host has seen of pins (struct sweep_wait); NULL = nothing */
	const char *agent_config; /* text kept in the backup, without secrets; NULL = none */
	/* Where to: the same family, opened; identity is written by the run. */
	const struct repository *repository[BACKUP_REPOSITORIES_MAX];
	size_t repositories;
	const char *cluster_name;
};

struct backup_result {
	struct summary summary; /* release with summary_release */
	uint64_t wal_bytes;     /* streamed and stored by this run */
	int64_t duration_us;
	/* Why everything was read though what changed would have done; "" = nothing to say. */
	char why_full[ERROR_TEXT_MAX];
};

/* Success with result.summary.checksum_failures > 0 means: committed and marked (exit 4).
 * ERR_DENIED and ERR_TRANSIENT from the session; ERR_CORRUPT when what came is not what the
 * server's manifest says; ERR_MISSING when the WAL from start to stop can't be had. */
enum err backup_run(const struct env *, const struct backup_request *, struct backup_result *out,
		    struct error *why) MUST_CHECK;

#endif
