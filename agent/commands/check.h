/* commands/check.h - what the parts of `pgagent check` share: links of the chain and their state.
 *
 * `pgagent status` asks those of them that only look, with `quiet` set.
 */
#ifndef COMMANDS_CHECK_H
#define COMMANDS_CHECK_H

#include "agent.h"
#include "places.h"
#include "postgres/session.h"
#include "repo/manifest.h"

enum check_severity {
	CHECK_OK,
	CHECK_UNPROVEN, /* could not be tried, or is not tried by this command */
	CHECK_WARNING,
	CHECK_ERROR
};

struct check {
	struct agent *agent;
	const struct config_cluster *config;
	struct places places;              /* opened as far as they could be */
	struct session *sql, *replication; /* to the server; NULL = refused */
	bool in_recovery;                  /* it is a standby, as far as it could be asked */
	bool archives;                     /* its settings lead to archive-push */
	bool asks_archiver;                /* WAL has to come through the server's archiver */
	char arrived[WAL_NAME_MAX];        /* the segment of the round trip, or "" */
	json_t *links;
	json_t *link;           /* the last one, for check_figure */
	char perfdata[2048];    /* for --nagios: " name=1B ..." */
	size_t count[4];        /* by severity */
	bool wrong_key;         /* or damaged: exit 4 */
	bool only_config;       /* every error so far is a wrong configuration: exit 2 */
	bool repository_failed; /* one can't be written, or its key does not open it */
	bool quiet;             /* --nagios */
	json_t *unseen;         /* for --nagios: the links of check_unseen */
	bool has_system;        /* the server was reached and said who it is */
	uint64_t system_identifier;
	uint32_t timeline;  /* its, then */
	struct lsn flushed; /* ... and how far its WAL was written, or replayed by a standby */
};

/* One link: `code` names it, `hint` (may be NULL) is what mends it. */
void check_say(struct check *, enum check_severity, const char *code, const char *hint,
	       const char *format, ...) PRINTF_LIKE(5, 6);

/* The last link tells of something that could not be looked at, so nobody knows whether it is broken. */
void check_unseen(struct check *);

/* A failure as an error link. */
void check_fail(struct check *, const char *code, const struct error *);

/* A figure of the last link: a field of its JSON, and perfdata `code`_`what` with its unit ("B", "s", "")
 * where `what` is not NULL; "" leaves it at `code`. */
void check_figure(struct check *, const char *name, uint64_t value, const char *what,
		  const char *unit);
/* The same of a duration, in seconds. */
void check_duration(struct check *, const char *name, int64_t us);

/* The server: connections, rights, settings, clock.  Its sessions stay open for what follows. */
void check_server(struct check *);
/* Its beginning, for `pgagent status`: the connections and who it is.  False when there is none. */
bool check_connect(struct check *);
/* The value of one setting; false, and said, when it can't be had. */
enum { CHECK_SETTING_MAX = 8192 };
bool check_ask(struct check *, const char *setting, char out[CHECK_SETTING_MAX]);
/* One setting that is wrong, with the ALTER SYSTEM line and what makes the server read it. */
void check_say_setting(struct check *, enum check_severity, const char *name, const char *wanted,
		       bool restart, const char *why, const char *value);
/* One row of an SQL question, or NULL, and said under `code`; free it. */
struct rows *check_query(struct check *, const char *code, const char *sql);
/* The parts of check_server that need an ordinary connection: what the role may, who archives, the slot,
 * what an earlier recovery has left, collations. */
void check_role(struct check *);
void check_archiving(struct check *);
/* After the round trip, which it has to know of. */
void check_archiver(struct check *);
void check_slot(struct check *);
void check_leftovers(struct check *);
void check_collations(struct check *);

/* Whether retention is set, and how it went of late. */
void check_retention(struct check *);

/* Each repository: store, write-read-remove, keys, space, who the server is. */
void check_repositories(struct check *);
/* The newest backup in one repository. */
struct newest_backup {
	enum err read; /* ERR_MISSING: there is none; else why it can't be told */
	struct error why;
	char id[ATTEMPT_TEXT_MAX];
	uint64_t bytes_stored;
	int64_t finished_us;
};
void check_newest(const struct check *, const struct place *, struct newest_backup *out);
/* That there is a backup, and not only an old one. */
void check_backup(struct check *, const struct place *, const struct newest_backup *);
/* Pure: whether a newest backup of that age shows that one was missed by a backup_schedule. */
bool check_backup_is_overdue(const char *schedule, int64_t age_us);
/* Room for one more backup in this repository; in the spool. */
void check_space(struct check *, const struct place *, const struct newest_backup *);
void check_spool(struct check *);

/* A segment from the server through archive_command into every repository and back; with --nagios, or
 * without the rights for it, only what the server says it has archived.  After both of the above. */
void check_round_trip(struct check *);
/* Whether the records in a segment contain the text; a header in between does not hide it. */
bool check_segment_holds(struct bytes segment, const char *text);

/* What the server says about its archiver. */
struct archiver {
	uint64_t archived, failed; /* counts */
	char last[WAL_NAME_MAX], last_at[64];
	char failed_last[WAL_NAME_MAX], failed_at[64];
	bool failing;        /* nothing was archived since the last failure */
	bool failing_now;    /* and that was after the configuration was read the last time */
	bool last_is_recent; /* so was what was archived last */
};
/* False when its statistics can't be read. */
bool check_archiver_ask(struct check *, struct archiver *);

/* What lies in pg_wal for the archiver to take. */
struct archiver_queue {
	uint64_t files;
	int64_t idle_us; /* so long there was something to do, and nothing was done */
};
/* Pure: whether an archiver with that to do, which says nothing of failures, still works. */
enum check_severity check_archiver_pace(const struct archiver_queue *, int64_t archive_wait_us);

/* How the reason of a failed archive_command is found.  PostgreSQL's own lines in the log repeat the command line,
 * so it is the colon that tells pgagent's from them. */
#define CHECK_LOG_HINT "the server's log has pgagent's own words on why: grep 'pgagent: '"

/* True for a command line that archives with this program, whatever its path. */
bool check_is_own_archive_command(const char *command);

/* The first word of a shell command line, quotes taken away; false when it does not fit. */
bool check_first_word(const char *command, char *out, size_t size);

#endif
