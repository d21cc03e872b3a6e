/* restore/plan_internal.h - what the files that make a plan share. */
#ifndef RESTORE_PLAN_INTERNAL_H
#define RESTORE_PLAN_INTERNAL_H

#include "restore/restore_internal.h"
#include "wal/salvage.h"

struct planning {
	const struct env *env;
	const struct wal_archive *archive;
	const struct restore_request *request;
	struct restore_plan *plan;
	struct error *why;
	struct candidate *list; /* sorted by attempt */
	size_t count, max;
	const char *listed;        /* label of the store whose backups are being listed */
	size_t damaged;            /* backups that were passed over */
	struct error first_damage; /* of the first of them */
	struct history path;       /* of the timeline to follow */
	bool several;              /* there are other timelines: hints have to name this one */
	struct manifest *manifest;
	bool recorded_here; /* a backup was taken of a server in the directory asked for */
	/* The lost server's WAL; the archive as if it were in it is what `archive` points to. */
	struct wal_archive as_if;
	struct wal_salvage *salvage; /* owned */
	int lost_wal;                /* open: its pg_wal; negative = none */
	uint32_t lost_segment_bytes;
	bool lost_is_in_use; /* the plan's first problem says so: the others are void */
};

/* ---- backups, plan_backup.c ---- */

/* 1: the backups of every repository, or the one that is asked for. */
enum err plan_collect(struct planning *) MUST_CHECK;
/* ---- what the lost server has, salvage.c ---- */

/* A data directory with a pg_control, and its pg_wal. */
struct lost_server {
	int wal; /* open */
	struct control control;
};
/* ERR_MISSING: it is no data directory, or what it has cannot be read. */
enum err lost_open(const struct env *, const char *path, struct lost_server *out,
		   struct error *why) MUST_CHECK;
/* `adopt`: a timeline that the archive knows nothing of, too. */
struct wal_salvage_source lost_source(const struct lost_server *, bool adopt);

/* A data directory that a backup was taken of. */
void plan_see_recorded(struct planning *, const char *data_directory);
/* 1b: what the archive would hold once its WAL is in it; what cannot be saved is a problem.  Of a server that
 * still runs nothing is looked at. */
enum err plan_salvage(struct planning *) MUST_CHECK;
void plan_salvage_release(struct planning *);
/* In place, into a directory that has nothing of the lost server: whether one beside it has, moved.c.  Behind
 * target_check, which knows whether this restore began before. */
void plan_moved(struct planning *);

/* ---- backups again ---- */

/* 3: the manifest of the backup to start from; *found = false with a problem. */
enum err plan_choose(struct planning *, bool *found) MUST_CHECK;
/* That every pack of it is there. */
enum err plan_check_packs(struct planning *) MUST_CHECK;
/* Whether an expire has removed it from every repository since: then what is missing of it is no damage. */
bool plan_is_removed(const struct planning *);
/* The target for messages: "the target LSN 0/3000028". */
void plan_describe(const struct planning *, char out[128]);
/* The problem added last says that the target can't be reached. */
void plan_unreachable(struct planning *);

/* ---- what recovery needs no less of, plan_limits.c ---- */

/* Once it is known whether it is in place: what --set, or the configuration that the server will read, has too low. */
enum err plan_limits(struct planning *) MUST_CHECK;

/* ---- what a copy cannot be kept from, plan_waking.c ---- */

/* Once it is known whether it is a copy: the library that will open subscriptions. */
enum err plan_waking(struct planning *) MUST_CHECK;

/* ---- what is set, plan_settings.c ---- */

/* A problem for each --set that the server's own programs, where they are here, would not start with. */
void plan_settings(struct planning *);

/* ---- the timeline, plan_timeline.c ---- */

/* 2: the number of the timeline and its history; *known = false with a problem when the target does not
 * say which, or it has none. */
enum err plan_timeline(struct planning *, bool *known) MUST_CHECK;
/* "--to-latest", with the timeline where there are several. */
enum { PLAN_LATEST_MAX = 48 };
const char *plan_latest_option(const struct planning *, char out[PLAN_LATEST_MAX]);

/* ---- the WAL and the target in it, plan_reach.c ---- */

/* 4: *reaches = false with a problem when not even the backup's own end is there. */
enum err plan_reach(struct planning *, bool *reaches) MUST_CHECK;
/* 5: holds the target against that; what it is resolved to goes into the plan. */
enum err plan_freeze(struct planning *) MUST_CHECK;
/* Whether an expire that is under way is about to remove WAL which that needs, still_there.c: told, as it may be over
 * when the restore begins, and another may begin. */
enum err plan_threat(struct planning *) MUST_CHECK;
/* What goes into pg_wal, wal_copy.c: as far as the target needs it.  Adds to bytes_to_write. */
enum err plan_copy_wal(struct planning *) MUST_CHECK;

#endif
