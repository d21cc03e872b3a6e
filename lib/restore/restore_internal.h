/* restore/restore_internal.h - what the files of this room share. */
#ifndef RESTORE_RESTORE_INTERNAL_H
#define RESTORE_RESTORE_INTERNAL_H

#include "pgformat/control.h"
#include "pgformat/history.h"
#include "repo/pages.h"
#include "restore/restore.h"

#include <limits.h>
#include <pthread.h>

/* What a restore adds to a data directory.  Records of these names in a backup (of an earlier
 * copy) are left out. */
#define RESTORE_MARKER "pgagent-restore.marker"
#define RESTORE_CONF "pgagent-start.conf"
#define RESTORE_HBA "pgagent-start.hba"
#define RESTORE_IDENT "pgagent-start.ident"
#define RESTORE_LOG "pgagent-start.log"
#define RESTORE_SOCKETS "pgagent-socket"

/* ---- choose: which backup to start from; pure ---- */

struct candidate {
	struct attempt attempt;
	uint32_t timeline;
	uint32_t segment_bytes;
	struct lsn start, stop;
	int64_t finished_us;
	bool has_next_xid;
	uint32_t next_xid; /* of the checkpoint it starts from */
};
struct choice {
	enum target_kind kind;
	struct lsn lsn;
	int64_t time_us;
	uint32_t xid;
	const struct attempt *backup; /* NULL = any */
	const struct history *path;   /* of the timeline to follow */
};
enum choice_answer {
	CHOICE_FOUND,
	CHOICE_UNKNOWN_BACKUP, /* the one asked for is not there */
	CHOICE_OFF_PATH,       /* it, or every one, lies on no timeline of the path */
	CHOICE_TOO_EARLY       /* the target is before the end of `earliest` */
};
/* `list` is sorted by attempt.  `found` is set with CHOICE_FOUND, `earliest` (the oldest that the
 * path allows) with CHOICE_FOUND and CHOICE_TOO_EARLY. */
enum choice_answer choose_backup(const struct candidate *list, size_t n, const struct choice *,
				 size_t *found, size_t *earliest);

/* ---- problems of a plan ---- */

void problem_add(struct restore_plan *, const char *code, const char *format, ...)
	PRINTF_LIKE(3, 4);
void problem_hint(struct restore_plan *, const char *format, ...)
	PRINTF_LIKE(2, 3); /* of the last */

/* ---- places: where tablespaces go ---- */

/* Fills plan->tablespace.  ERR_CONFIG for a mapping that names no tablespace of the backup. */
enum err places_resolve(const struct env *, const struct wal_archive *, const struct manifest *,
			const struct restore_request *, struct restore_plan *,
			struct error *why) MUST_CHECK;
/* "fast (16389)", or "16389" alone; and what --tablespace takes without quotes: "fast", or "16389". */
enum { PLACE_TEXT_MAX = 80 };
void place_describe(const struct restore_place *, char out[PLACE_TEXT_MAX]);
void place_word(const struct restore_place *, char out[PLACE_TEXT_MAX]);
/* The absolute path with links followed as far as it exists; ERR_CONFIG when it is not absolute. */
enum err place_real(const char *path, char out[PATH_MAX], struct error *why) MUST_CHECK;
/* True when `path` is `below` or lies in it; both without links. */
bool place_is_within(const char *path, const char *below);

/* ---- inside: what a place lies in, and what of ours lies in it ---- */

struct inside {
	const struct env *env;
	const struct restore_request *request;
	struct restore_plan *plan;
	const char *what, *path; /* "directory", and the real path */
	const char *target;      /* of a tablespace: the data directory; NULL for that itself */
};
/* True with a problem: it is, or lies below, a data directory, a tablespace's or a repository, or holds what
 * request->own names. */
bool inside_refuses(const struct inside *);
/* A version's directory is in it. */
bool inside_is_tablespace(const struct env *, const char *path);
/* Of a server, or of a restore that is not done. */
bool inside_is_data_directory(const struct env *, const char *path);

/* ---- the WAL of a plan ---- */

/* For who has pinned the backup.  ERR_MISSING: WAL that the plan counts on has gone since it was made; ERR_TRANSIENT: it
 * is going right now. */
enum err still_there(const struct env *, const struct wal_archive *, const struct restore_plan *,
		     struct error *why) MUST_CHECK;

/* ---- target check ---- */

/* Looks at the directory, tablespaces' directories and free space; what is in the way becomes a
 * problem.  Sets resumes, bytes_free. */
enum err target_check(const struct env *, const struct wal_archive *, const struct manifest *,
		      const struct restore_request *, struct restore_plan *,
		      struct error *why) MUST_CHECK;
enum directory_state {
	DIRECTORY_ABSENT,
	DIRECTORY_EMPTY,   /* or a marker of another one and nothing else */
	DIRECTORY_OURS,    /* holds the marker of an interrupted restore of this backup */
	DIRECTORY_OTHERS,  /* the marker of another one */
	DIRECTORY_FOREIGN, /* so is what a delta restore has not begun to change */
	DIRECTORY_NONE     /* there is something else of that name */
};
/* `target` is the data directory that the marker of a tablespace must name; NULL for a data directory,
 * which may have been moved since. */
enum err directory_look(const struct env *, const char *path, const struct attempt *,
			const char *target, enum directory_state *out,
			struct error *why) MUST_CHECK;
enum { MARKER_BYTES_MAX = 8192 };
/* Its directory is `target`; NULL = any. */
bool marker_names(struct bytes text, const char *target);
bool marker_is_ours(struct bytes text, const struct attempt *, const char *target);
/* Put before pg_control goes: with pg_control there it means nothing. */
bool marker_is_preparing(struct bytes text);
enum directory_use {
	DIRECTORY_FREE,
	DIRECTORY_USED,    /* a server runs in it */
	DIRECTORY_UNPROVEN /* one may, where nothing of it can be seen from here */
};
/* Whether a server runs in the data directory `path`; `how` it is known, for the last two. */
enum directory_use directory_is_in_use(const struct env *, const char *path, char *how,
				       size_t how_len);
/* What to do about it, as the end of a message. */
void directory_use_hint(enum directory_use, const char *path, char *hint, size_t len);

/* ---- delta: what a directory that is not empty may be reused for ---- */

/* NULL when the data directory `dir` may be taken over: it has the pg_control of the backup's cluster, or
 * a marker of a restore of it.  Else why not, in `text`. */
enum { DELTA_TEXT_MAX = 256 };
const char *delta_refuses(const struct env *, int dir, const struct summary *,
			  char text[DELTA_TEXT_MAX]);
/* The same for the directory of a tablespace, `place` by its real path: it is linked from the data directory
 * `dir`, or its marker names that (`target`); and nothing but this version's directory is in it.  Where the
 * tablespace of the original lay, only that marker or a restore in place will do. */
const char *delta_refuses_place(const struct env *, int dir, const char *target,
				const struct restore_place *, const struct restore_plan *,
				char text[DELTA_TEXT_MAX]);
/* A problem of the plan when pg_wal of the data directory `path` holds WAL that no repository has, and it is
 * not the one that is salvaged; with --discard-wal a warning. */
enum err delta_check_wal(const struct env *, const struct wal_archive *,
			 const struct restore_request *, const char *path, struct restore_plan *,
			 struct error *why) MUST_CHECK;
/* "000000010000000000000005 to 000000010000000000000007, 3 segments with ..." */
struct wal_unarchived;
void delta_describe_wal(const struct wal_unarchived *, char out[320]);
/* Bytes of all regular files below, as far as they can be looked at. */
uint64_t delta_bytes_present(const struct env *, int dir);

/* ---- fetcher: reads files of one backup; one thread each ---- */

/* What all fetchers of a run share. */
struct source {
	const struct env *env;
	const struct wal_archive *archive; /* the family of repositories, in order */
	const struct manifest *manifest;
	pthread_mutex_t *speaking; /* held while the observer is called */
};

struct fetcher;
enum err fetcher_new(const struct source *, struct fetcher **out, struct error *why) MUST_CHECK;
void fetcher_free(struct fetcher *); /* NULL is fine */
typedef enum err fetcher_visit(void *ctx, const struct page_run *, struct error *why);
struct fetch {
	const struct file_record *file;
	uint32_t index;                /* of 16 MiB of it */
	const struct page_set *wanted; /* NULL = all of them */
	fetcher_visit *visit;
	void *ctx;
};
/* Visits pages as page_source_visit does; `crc` gets the CRC-32C of the whole shard.  When a repository
 * fails midway, the next one begins anew: visits may repeat. */
enum err fetcher_shard(struct fetcher *, const struct fetch *, uint32_t *crc,
		       struct error *why) MUST_CHECK;
/* The map of that shard, from the first repository that has it: `source` answers for its pages until the
 * fetcher is used again.  `visit` and `wanted` mean nothing here. */
enum err fetcher_map(struct fetcher *, const struct fetch *, struct page_source **source,
		     const struct shard **map, struct error *why) MUST_CHECK;
/* A whole small file in new memory with a NUL behind it, its CRC checked; ERR_LIMIT above `max`. */
enum err fetcher_file(struct fetcher *, const struct file_record *, size_t max, uint8_t **out,
		      size_t *len, struct error *why) MUST_CHECK;
/* A section from the first repository that has it whole. */
enum err source_section(const struct source *, const char *name, size_t max, uint8_t **out,
			size_t *len, struct error *why) MUST_CHECK;

/* The same as a stream of frames, for what may be large: `begin` before the first one of each repository
 * that is tried.  `failed` says that the visitor itself did, which is no reason to try another. */
struct section_visit {
	void *ctx;
	enum err (*begin)(void *ctx, struct error *why);
	enum err (*frame)(void *ctx, struct bytes, struct error *why);
	const bool *failed;
};
enum err source_walk(const struct source *, const char *name, const struct section_visit *,
		     struct error *why) MUST_CHECK;

/* ---- table: the files of the backup ---- */

struct table {
	uint8_t *data;
	size_t len;
	struct file_record *file; /* in the order of the backup; borrows from data */
	size_t files;
	/* Handled apart from the others; NULL = not in the backup. */
	const struct file_record *control, *auto_conf, *conf, *map;
};
enum err table_read(const struct source *, struct table *, struct error *why) MUST_CHECK;
void table_release(struct table *);
/* True for what the file writer leaves to others: the four above, signal files, our own. */
bool table_is_apart(const struct file_record *);
bool path_is(struct bytes path, const char *text);

/* ---- target: the directories being written ---- */

struct target {
	const struct env *env;
	char path[PATH_MAX]; /* real */
	int dir;
	struct target_place {
		uint32_t oid;
		int dir;
		const char *path; /* the plan's */
	} * place;
	size_t places;
	bool reuses; /* what is there is compared, and written over where it differs */
};
/* 3: opens or makes the directories, empties what an interrupted run left, puts the markers. */
enum err target_open(struct target *, const struct env *, const char *directory,
		     const struct restore_plan *, struct error *why) MUST_CHECK;
void target_close(struct target *);
/* 4, of what is reused: removes all that the backup does not have, and what is written anew anyway. */
enum err target_clean(const struct target *, const struct table *, struct error *why) MUST_CHECK;
/* The directory and the path in it for a record's path.  ERR_CORRUPT: an unknown tablespace. */
enum err target_route(const struct target *, struct bytes path, int *dir, char rest[FILE_PATH_MAX],
		      struct error *why) MUST_CHECK;
/* 4: every directory of the table, and those that files need. */
enum err target_make_dirs(const struct target *, const struct table *,
			  struct error *why) MUST_CHECK;
/* 8: modes of directories as recorded. */
enum err target_set_modes(const struct target *, const struct table *,
			  struct error *why) MUST_CHECK;
/* 8: fsync of the target, the tablespaces' directories and the target's parent. */
enum err target_sync_roots(const struct target *, struct error *why) MUST_CHECK;
/* A whole new file of ours, fsynced; `path` is below the target. */
enum err target_put(const struct target *, const char *path, struct bytes, mode_t mode,
		    struct error *why) MUST_CHECK;
/* 6 */
enum err target_link_places(const struct target *, struct error *why) MUST_CHECK;
/* 10 */
enum err target_remove_markers(const struct target *, const struct restore_plan *,
			       struct error *why) MUST_CHECK;

/* ---- files: the parallel writer ---- */

struct files_totals {
	uint64_t written, reused, files; /* bytes, bytes, number */
};
/* 5: nothing is durable afterwards. */
enum err files_write(const struct source *, const struct table *, const struct target *,
		     unsigned jobs, struct files_totals *, struct error *why) MUST_CHECK;
/* 8: fsync of every file and directory of the table, in parallel. */
enum err files_sync(const struct table *, const struct target *, unsigned jobs,
		    struct error *why) MUST_CHECK;

/* ---- the server's manifest ---- */

struct map_written {
	bool changed; /* tablespace_map is not what the backup has: */
	uint64_t size;
	uint32_t crc;
};
/* 7: backup_manifest, fsynced, where the backup has one; its entry of a changed tablespace_map says
 * what was written. */
enum err server_manifest_write(const struct source *, const struct target *,
			       const struct map_written *, struct error *why) MUST_CHECK;

/* ---- settings; pure ---- */

struct settings_input {
	const struct restore_request *request;
	const struct restore_plan *plan;
	const char *directory; /* real */
	const char *pin;       /* NULL = none */
	const char *written;   /* time text */
	const char *preload;   /* shared_preload_libraries as recorded; NULL = unknown */
	const struct control *control;
};
/* Names that may not be set, values that no configuration file can hold: ERR_CONFIG. */
enum err settings_check(const struct restore_request *, struct error *why) MUST_CHECK;
/* The block that is appended to postgresql.auto.conf. */
enum err settings_auto_conf(const struct settings_input *, struct writer *,
			    struct error *why) MUST_CHECK;
/* pgagent-start.conf; `kept` are lines of recorded settings worth keeping. */
enum err settings_start_conf(const struct settings_input *, struct bytes recorded, struct writer *,
			     struct error *why) MUST_CHECK;
extern const char settings_hba[];
/* `libraries` without those that run jobs of their own; false when there are none of them. */
bool settings_quiet_libraries(const char *libraries, char *out, size_t out_len);
/* The first of `libraries` that has to stay, as replay may need it, and that opens subscriptions of its own in
 * a server that is promoted; static.  NULL: none does. */
const char *settings_waking_library(const char *libraries);
bool settings_is_kept(const struct restore_request *, const char *name);
/* The value given with --set, or NULL: of several the last. */
const char *settings_asked(const struct restore_request *, const char *name);
/* What is reset after promotion; ends with NULL. */
extern const char *const settings_of_recovery[];

/* ---- preload: what the original loaded at its start ---- */

#define PRELOAD_SETTING "shared_preload_libraries"
struct preload {
	char libraries[4096];
	bool known;
};
/* By the section of settings, which may be empty. */
enum err preload_recorded(struct bytes settings, struct preload *out, struct error *why) MUST_CHECK;
/* For what that does not say: a role without pg_read_all_settings records none. */
enum err preload_of_files(const struct table *, struct fetcher *, struct preload *,
			  struct error *why) MUST_CHECK;

/* ---- limits: the five settings that recovery needs at least as high ---- */

struct limit {
	const char *name; /* static */
	int32_t least;
	char text[12];
};
extern const char *const limit_names[RESTORE_LIMITS]; /* in the order of all that follows */
void limits_of(const struct control *, struct limit out[RESTORE_LIMITS]);
/* What a configuration says of one of them. */
struct limit_configured {
	bool known;
	char value[32];
	char file[1024]; /* that says so; "" = none does */
};
/* Where no file says anything. */
void limits_by_default(struct limit_configured out[RESTORE_LIMITS]);
/* --set of one of them is a whole number, or ERR_CONFIG. */
enum err limits_check(const struct restore_request *, struct error *why) MUST_CHECK;
/* Fills plan->raise from the backup's pg_control.  `configured` is what counts where --set says nothing; NULL = that
 * is enough. */
enum err limits_plan(const struct restore_request *, const struct limit_configured *configured,
		     struct restore_plan *, struct error *why) MUST_CHECK;

/* ---- wal_copy: the WAL that is needed, in pg_wal ---- */

enum err wal_copy(const struct source *, const struct restore_plan *, const struct target *,
		  struct error *why) MUST_CHECK;
/* The histories of all timelines behind the one that is followed, as far as they are numbered without a gap: by
 * them a server that is promoted sees which numbers are taken. */
enum err wal_copy_histories(const struct source *, const struct restore_plan *,
			    const struct target *, struct error *why) MUST_CHECK;

/* ---- programs ---- */

/* The directory of pg_ctl and postgres: the usual places of that major, then `search_path`, which
 * may be NULL and in which postgres is asked for its version.  ERR_CONFIG when they are nowhere. */
enum err programs_find(const struct env *, unsigned major, const char *search_path,
		       char out[PATH_MAX], struct error *why) MUST_CHECK;
struct program_call {
	const char *const *argv; /* [0] is an absolute path */
	int in;                  /* a file for its standard input; negative = nothing */
	bool errors;     /* what it says on standard error is its answer, else on standard output */
	int64_t until;   /* by the monotonic clock; then it is killed */
	char *out;       /* the answer, in English */
	size_t out_size; /* with a NUL behind it */
};
/* Its exit status; negative: it could not be run, did not end in time, or had more to say. */
int programs_run(const struct env *, const struct program_call *);
/* The major of DIRECTORY/postgres by its own answer; 0 = it gave none, within ten seconds. */
unsigned programs_major(const struct env *, const char *directory);

/* ---- starting ---- */

/* The text as one word of a shell. */
void shell_word(struct writer *, const char *text);
/* A private directory for the socket of a server in `directory`: inside, or below /tmp when the
 * path would be too long. */
enum err start_socket_directory(const struct env *, const char *directory, char out[256],
				struct error *why) MUST_CHECK;
/* As Debian has it. */
bool start_is_configured_outside(const struct summary *);
/* In place: what its own service says, "pg_ctlcluster 15 main start"; false when it is not known to have one. */
bool start_service_command(const struct restore_plan *, char *out, size_t len);
/* "-c ..." options of a copy, each a word of a shell. */
void start_options(struct writer *, const struct restore_plan *, const char *directory,
		   const char *sockets, int port, bool outside, bool following);
/* The first port from 54321 on that nobody listens on. */
int start_free_port(const struct env *);

#endif
