/* restore/follow_internal.h - what the files that follow a started server share. */
#ifndef RESTORE_FOLLOW_INTERNAL_H
#define RESTORE_FOLLOW_INTERNAL_H

#include "restore/restore_internal.h"

struct session;

enum { LOG_TAIL_BYTES = 16 << 10 };

struct follow {
	const struct env *env;
	const struct restore_request *request;
	const struct restore_plan *plan;
	struct error *why;
	char directory[PATH_MAX], binaries[PATH_MAX], conninfo[PATH_MAX];
	struct restore_started *out;
	struct session *session;
	int64_t started_us;
	uint64_t log_from; /* bytes that were in the log before */
	bool seen_alive;
	/* What has to change now and then. */
	uint64_t log_bytes, control_sum, wal_mtime_ns;
	struct lsn replayed;
	int64_t moved_us;
};

/* Runs a program to its end, its output appended to the server's log: stdout is the caller's. */
enum err follow_run_program(struct follow *, const char *const argv[], int *status) MUST_CHECK;

/* `name` in the data directory; false when it is too long. */
bool follow_path(const struct follow *, const char *name, char out[PATH_MAX]);
bool follow_stat(const struct follow *, const char *name, struct stat *);
/* What the server wrote since we started it, its last part; "" when nothing can be read. */
void follow_log_tail(const struct follow *, char out[LOG_TAIL_BYTES + 1]);
/* The last lines of the log that say why, joined by "; ". */
void follow_log_reason(const char *log, char *out, size_t out_len);
/* False when pg_control cannot be read just now. */
bool follow_control(const struct follow *, struct control *out);

/* "keyword='value' " of libpq, with its own quoting. */
void follow_conninfo_value(struct writer *, const char *keyword, const char *value);

enum stage { STAGE_UNKNOWN, STAGE_REPLAYING, STAGE_PAUSED, STAGE_PROMOTED };
/* Asks the server; STAGE_UNKNOWN where it does not answer or lets nobody in. */
enum stage follow_ask(struct follow *);
/* Another session, in that database, as the one that asks.  False: nobody is let in. */
bool follow_session(const struct follow *, const char *database, struct session **out);
/* Of a server that is paused: the tables that it keeps locked. */
void follow_locks(struct follow *);
/* Recovery settings must not outlive recovery: the next start would stop at them again. */
void follow_reset_settings(struct follow *);

#endif
