/* restore/restore.h - plans a restore, carries it out, starts the server.
 *
 * Order: restore_plan, then (when plan.reachable) restore_run, then restore_start if wanted.  A plan that
 * salvages (plan.salvage) is followed by restore_salvage and made again first.  Planning changes nothing.  restore_run refuses before the first byte is written whatever can be
 * known before; interrupted, it leaves a directory that PostgreSQL refuses to start (pg_control
 * is written last) and that a second run finishes.
 */
#ifndef RESTORE_RESTORE_H
#define RESTORE_RESTORE_H

#include "repo/decision.h"
#include "wal/archive.h"
#include "wal/salvage.h"

enum {
	RESTORE_PROBLEMS_MAX = 16,
	RESTORE_SETTINGS_MAX = 64,
	RESTORE_TABLESPACES_MAX = 256,
	RESTORE_TIMELINES_MAX = 64, /* that are looked at, the newest ones */
	RESTORE_LIMITS = 5,
	RESTORE_LOCKS_MAX = 16
};

enum target_kind {
	TARGET_LATEST,
	TARGET_BACKUP_END,
	TARGET_TIME,
	TARGET_LSN,
	TARGET_XID,
	TARGET_NAME
};

/* Which timeline to follow; lib/restore/README.md says what the target decides. */
enum timeline_rule {
	TIMELINE_AUTO,   /* the one that was being written at the target */
	TIMELINE_LATEST, /* the newest that a backup leads to */
	TIMELINE_CURRENT /* that of the newest backup before the target */
};

enum target_action { ACTION_DEFAULT, ACTION_PAUSE, ACTION_PROMOTE, ACTION_SHUTDOWN };

struct restore_request {
	const char *directory; /* absolute */
	enum target_kind kind;
	const char *requested; /* the option's text, for messages and JSON; may be NULL */
	int64_t time_us;       /* TARGET_TIME: since 1970 UTC */
	struct lsn lsn;        /* TARGET_LSN */
	uint32_t xid;          /* TARGET_XID */
	const char *name;      /* TARGET_NAME */
	bool exclusive;
	uint32_t timeline; /* a number; 0 = by the rule */
	enum timeline_rule timeline_rule;
	bool has_backup;
	struct attempt backup; /* start from this one */
	enum target_action action;
	bool keep_archiving; /* false: archive_mode off */
	unsigned jobs;
	struct restore_setting {
		const char *name, *value;
	} set[RESTORE_SETTINGS_MAX]; /* --set, last wins; what recovery needs no less of is raised */
	size_t sets;
	const char *keep_setting[RESTORE_SETTINGS_MAX];
	size_t keep_settings;
	struct restore_tablespace {
		const char *name_or_oid, *directory;
	} tablespace[RESTORE_TABLESPACES_MAX];
	size_t tablespaces;
	const char *tablespace_dir; /* NULL = none: each goes to DIR/<oid> below it when given */
	/* What pgagent has on this machine, by absolute paths: a directory that is written to holds none of it, and
	 * lies in no repository. */
	const struct restore_own {
		const char *what; /* "repository local" */
		const char *path;
		bool is_repository;
	} * own;
	size_t owns;
	/* The command line that fetches WAL, without "%f %p": absolute paths, shell-quoted.
	 * "%f" "%p" are appended by the run, the pin is inserted by it. */
	const char *archive_get;
	const char *program; /* absolute path of pgagent, for hints */
	int port;            /* --port; 0 = choose a free one at start */
	bool start;          /* restore_start follows: that it can is part of the plan */
	/* Where the server's programs may be beside the usual places, as in PATH; NULL = nowhere. */
	const char *search_path;
	bool delta;       /* reuse what lies in the directory; see lib/restore/README.md */
	bool discard_wal; /* though a pg_wal holds some that was never archived and cannot be salvaged */
	/* The data directory of the lost server, moved away; NULL = what lies in `directory`, when that is
	 * the recorded one and is reused. */
	const char *salvage_directory;
	bool skip_salvage; /* it failed, and discard_wal says to go on without */
	/* Leave a standby that follows the archive, and primary_conninfo where that is set; kind is
	 * TARGET_LATEST then, action ACTION_DEFAULT. */
	bool standby;
	bool copy_wal; /* the WAL that is needed lies in pg_wal, and archive_get is not asked for any */
};

struct restore_problem {
	const char *code; /* "target_not_reachable", "directory_not_empty", ...; static */
	char message[512];
	char hint[512];
};

struct restore_plan {
	bool reachable;          /* nothing stands in the way */
	bool target_unreachable; /* exit 3; else a problem is the directory, space, configuration */
	char reason[512];        /* the first problem, or "" */
	struct summary backup;   /* owned */
	/* A side copy; false = the recorded data directory.  The caller may change it before the
	 * run (--side, --in-place). */
	bool side;
	char note[256]; /* what to know about the target, or "" */
	/* An expire that is under way, because of which restore_run would be refused now; "" = none is. */
	char threat[256];
	/* As it is written: TARGET_LSN for a time that is the end of the archive, for which there is
	 * no later commit to stop at. */
	enum target_kind kind;
	enum target_action action; /* resolved */
	struct lsn target_lsn;     /* resolved, of latest and LSN targets; else 0 */
	bool target_inclusive;
	/* Where recovery is told to stop instead, behind this record: what comes between it and the target changes
	 * no row, but locks tables of a transaction that is cut off.  0 = at the target itself. */
	struct lsn stop_behind;
	uint32_t timeline;         /* the number written */
	char timeline_reason[192]; /* why this one, or "" */
	/* Where there is more than one state at the target: each timeline that leads to one, the one
	 * that is followed first.  None is, and timeline is 0, when the target alone does not say which. */
	size_t candidates;
	struct restore_candidate {
		uint32_t timeline, parent; /* parent 0 = none */
		struct lsn born;           /* where it left the parent */
		int64_t born_us;           /* when; 0 = not known */
		int64_t latest_us;         /* its latest commit or abort; 0 = none was seen */
	} candidate[RESTORE_TIMELINES_MAX];
	struct wal_reach reach;
	uint64_t wal_bytes, bytes_to_write, bytes_free;
	double estimated_seconds; /* negative = not known */
	size_t problems;
	struct restore_problem problem[RESTORE_PROBLEMS_MAX];
	size_t tablespaces;
	struct restore_place {
		uint32_t oid;
		char name[64]; /* "" = the backup does not have it */
		char from[1024], to[1024];
	} * tablespace; /* owned */
	/* Of the five settings that recovery needs at least as high as the original had them: those that --set
	 * wanted lower, and in place those that the server's configuration has lower. */
	size_t raised;
	struct restore_raised {
		const char *name; /* static */
		char asked[32];   /* instead; "" = the configuration cannot be read here */
		int32_t value;
		bool configured; /* false: asked with --set */
		char file[1024]; /* that says so; "" = none does, it is the default or not known */
	} raise[RESTORE_LIMITS];
	/* A library that a side copy has to load, and that opens the original's subscriptions as soon as the copy is
	 * promoted: nothing but the network keeps it from that.  Static; NULL = none is known. */
	const char *wakes;
	uint64_t wal_copied; /* segments that go into pg_wal, from the backup's first one on */
	bool resumes; /* the directory holds our marker of an interrupted restore of this backup */
	/* WAL that only the lost server's directory has.  With WAL_SALVAGE_FOUND the plan is the one that
	 * there will be once restore_salvage has put it into the archive. */
	struct wal_salvage_found salvage;
	char salvage_from[4096]; /* that directory; "" = nobody looked */
	/* In place, and the lost server's WAL is neither there nor named: what it had never archived is not
	 * restored.  `moved_to` is a directory beside the target that has some of it, "" = none was seen. */
	bool without_lost_wal;
	char moved_to[4096];
	struct wal_salvage_found moved;
	bool delta;             /* there is something that is compared and reused: */
	uint64_t bytes_present; /* of files that lie there, whatever they hold */
};
void restore_plan_release(struct restore_plan *);

/* Finds the backup, freezes the target, looks at the directory.  A target out of reach or a
 * directory in the way is a problem in the plan, not an error; errors are what kept the plan from
 * being made (repository unreadable, key, ...). */
enum err restore_plan(const struct env *, const struct wal_archive *,
		      const struct restore_request *, struct restore_plan *out,
		      struct error *why) MUST_CHECK;

struct restore_salvaged {
	struct wal_salvage_found found;
	size_t complete; /* repositories that have all of it now; 0 = there was nothing to put */
};
/* Puts into the archive what the plan found, as it is found now.  Then the plan has to be made anew.  On
 * failure nothing in the server's directory was changed, and repositories may have a part of it, which is
 * where a second try goes on.  `level`: zstd level. */
enum err restore_salvage(const struct env *, const struct wal_archive *,
			 const struct restore_request *, const struct restore_plan *, int level,
			 struct restore_salvaged *out, struct error *why) MUST_CHECK;

struct restore_result {
	uint64_t bytes_written, bytes_reused, files;
	int64_t duration_us;
	char pin[64];               /* holder that archive-get keeps alive */
	char start_command[2048];   /* what a person types to start it */
	bool outside_configuration; /* pgagent-start.conf was written */
};
/* Carries the plan out: ERR_CORRUPT damaged backup (nothing that can be started is left), ERR_FULL,
 * ERR_CANCELLED, ERR_EXISTS another restore is writing there (nothing was done).  Everything is fsynced before
 * success. */
enum err restore_run(const struct env *, const struct wal_archive *, const struct restore_request *,
		     const struct restore_plan *, struct restore_result *out,
		     struct error *why) MUST_CHECK;

struct restore_started {
	int port;
	char socket_directory[256];
	char user[64]; /* whom it let in; "" = the one who runs it, or nobody */
	bool promoted; /* false: paused at the target (or shut down by the action), or a standby */
	struct lsn reached;    /* last replayed position */
	char reached_time[64]; /* of the last replayed transaction; "" = none */
	int64_t duration_us;
	char log_file[1200];
	/* Paused: tables that a transaction which was cut off at the target had locked, and that nobody can read
	 * before the server is promoted.  There may be more than are named. */
	size_t locks;
	struct restore_lock {
		char database[64], table[160];
	} lock[RESTORE_LOCKS_MAX];
};
/* Starts the server with pg_ctl of the right major, follows the replay through the observer, waits until it is paused, promoted or gone;
 * of a standby until it is consistent and lets somebody read.
 * After promotion the recovery settings are reset (ALTER SYSTEM).  ERR_MISSING: the server says that
 * the target was not reached, and stopped; ERR_PEER with its own log lines when it gave up for
 * another reason; ERR_TRANSIENT: nothing moved for ten minutes, it is left running; ERR_CANCELLED:
 * it was stopped.  The directory stays as it is. */
enum err restore_start(const struct env *, const struct restore_request *,
		       const struct restore_plan *, struct restore_started *out,
		       struct error *why) MUST_CHECK;

#endif
