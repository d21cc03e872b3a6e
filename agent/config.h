/* config.h - /etc/pgagent/pgagent.conf and conf.d beside it, checked against one table of keys.
 *
 * Sections: [global], [repo:NAME], [cluster:NAME].  A key of a cluster may also stand in [global],
 * as the default of all clusters.  Every unknown section or key, bad value and repetition is a
 * problem with file and line; loading goes on and gathers them all.  The tables (config_keys)
 * are also what `config show` prints and what conf/pgagent.conf is tested against.
 */
#ifndef CONFIG_H
#define CONFIG_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/files.h"
#include "options.h"

#include <stdbool.h>
#include <stdint.h>

#define CONFIG_FILE_DEFAULT "/etc/pgagent/pgagent.conf"
#define CONFIG_NO_LIMIT UINT64_MAX /* "none", "unlimited" */

enum { CONFIG_KEYS_MAX = 40, CONFIG_PROBLEMS_MAX = 64, CONFIG_NAME_MAX = 64 };

struct config_value {
	char *text;       /* as written, owned; NULL: the default stands */
	const char *file; /* where it stands; lives as long as the configuration */
	int line;
};

struct config_section {
	char *name;       /* "" for [global] */
	const char *file; /* of its header */
	int line;
	struct config_value value[CONFIG_KEYS_MAX]; /* by position in config_keys() */
};

enum config_repo_type { CONFIG_REPO_POSIX, CONFIG_REPO_S3 };
enum config_encryption { CONFIG_ENCRYPTION_AES_256_GCM, CONFIG_ENCRYPTION_NONE };
enum config_repo_mode { CONFIG_MODE_SYNC, CONFIG_MODE_ASYNC };
enum config_credentials {
	CONFIG_CREDENTIALS_AUTO,
	CONFIG_CREDENTIALS_ENVIRONMENT,
	CONFIG_CREDENTIALS_FILE,
	CONFIG_CREDENTIALS_COMMAND,
	CONFIG_CREDENTIALS_WEB_IDENTITY,
	CONFIG_CREDENTIALS_CONTAINER,
	CONFIG_CREDENTIALS_INSTANCE
};

/* Texts are never NULL: what is not set is "". */
struct config_global {
	struct config_section section;
	const char *state_directory;
	const char *spool_directory;
	uint64_t spool_limit_bytes;
	const char *http_listen; /* "address:port" */
	uint64_t parallel_backups;
	const char *on_event_command;
};

struct config_repo {
	struct config_section section;
	int type; /* enum config_repo_type */
	const char *path;
	int encryption; /* enum config_encryption */
	const char *key_file, *passphrase_file, *passphrase_command;
	int mode; /* enum config_repo_mode */
	uint64_t ship_rate_bytes_per_s;
	const char *bucket, *endpoint, *region, *prefix;
	int uri_style; /* 0 virtual, 1 path */
	int signature; /* 0 v4, 1 v2 */
	int credentials;
	const char *credentials_file, *credentials_command, *ca_file;
	uint64_t s3_connections;
	const char *object_lock; /* "none", "governance:30d", "compliance:30d" */
};

struct config_cluster {
	struct config_section section;
	const char *conninfo, *backup_conninfo;
	const char *repos_text;           /* "" = all */
	const struct config_repo **repos; /* in the order named; owned by the configuration */
	size_t repos_count;
	int compression_level; /* of zstd */
	bool wal_streaming;
	const char *slot;
	int64_t wal_ship_interval_us, archive_wait_us;
	uint64_t archive_backlog_limit_bytes;
	int64_t archive_get_timeout_us;
	const char *backup_schedule, *schedule_timezone;
	int64_t retain_window_us;
	uint64_t retain_backups, retain_daily, retain_weekly, retain_monthly, retain_yearly;
	bool expire_auto;
	int64_t expire_grace_us, refresh_period_us, tripwire_keep_us;
	const char *verify_schedule, *drill_schedule, *drill_sql;
};

struct config_problem {
	const char *file; /* "" for what concerns no single line */
	int line;
	char text[512];
	char hint[512];
	bool warning;
};

struct config {
	struct config_global global;
	struct config_section cluster_defaults; /* keys of clusters under [global] */
	struct config_repo **repos;
	size_t repos_count;
	struct config_cluster **clusters;
	size_t clusters_count;
	char **files; /* names of what was read */
	size_t files_count;
	struct config_problem problem[CONFIG_PROBLEMS_MAX];
	size_t problems_count;     /* warnings too */
	struct config_repo *adhoc; /* of --repo PATH, or NULL */
};

/* Empty, with every default. */
enum err config_init(struct config *, struct error *why) MUST_CHECK;
void config_release(struct config *);

/* Reads `path` and conf.d beside it.  ERR_CONFIG with the first problem; all are in `problem`.
 * ERR_MISSING when there is no such file: then nothing has changed. */
enum err config_load(struct config *, struct files *, const char *path,
		     struct error *why) MUST_CHECK;

/* Reads one text as if it were the file `name`; for config_load and tests.  Call config_resolve
 * after the last. */
enum err config_read(struct config *, const char *name, struct bytes text,
		     struct error *why) MUST_CHECK;
/* Fills in defaults and checks what one key alone can't show. */
enum err config_resolve(struct config *, struct error *why) MUST_CHECK;

/* The cluster of that name, or the only one when `name` is NULL. */
enum err config_cluster(const struct config *, const char *name, const struct config_cluster **out,
			struct error *why) MUST_CHECK;

/* True for what --repo takes without a configuration: it holds a '/'. */
bool config_repo_is_place(const char *repo);

/* The repositories to use: those of the cluster (NULL: all), or those of --repo, which is names of any that
 * are configured, with commas, or a path or a URL; key options open a path or URL only.  `out` has room for `max`
 * pointers into the configuration. */
enum err config_select_repos(struct config *, const struct config_cluster *, const struct options *,
			     const struct config_repo **out, size_t max, size_t *count,
			     struct error *why) MUST_CHECK;

/* The configured repository that `option` ("--from") names; ERR_CONFIG when there is none. */
enum err config_repo_named(const struct config *, const char *option, const char *name,
			   const struct config_repo **out, struct error *why) MUST_CHECK;

/* The tables. */
enum config_kind { CONFIG_GLOBAL, CONFIG_REPO, CONFIG_CLUSTER };
enum config_type {
	CONFIG_TEXT,
	CONFIG_PATH, /* absolute */
	CONFIG_SIZE,
	CONFIG_SIZE_OR_NONE, /* "none", "unlimited": CONFIG_NO_LIMIT */
	CONFIG_DURATION,
	CONFIG_BOOL,
	CONFIG_NUMBER,
	CONFIG_CHOICE,
	CONFIG_NAMES,
	CONFIG_COMPRESSION,
	CONFIG_CRON,
	CONFIG_ZONE,
	CONFIG_LISTEN,
	CONFIG_SLOT,
	CONFIG_LOCK,
	CONFIG_CONNINFO
};

struct config_key {
	const char *name;
	enum config_type type;
	const char *standard; /* the default, as it would be written; "" = not set */
	size_t offset;        /* of the field in the section's struct */
	const char *choices;
	uint64_t min, max; /* of CONFIG_NUMBER */
	bool in_global;    /* a cluster's key that may stand in [global] */
	bool only_s3, only_posix;
	bool later; /* used by nothing in this version */
};

const struct config_key *config_keys(enum config_kind, size_t *count);

/* Checks `text` and stores it in the field of `section_struct`; texts are borrowed. */
enum err config_value_set(const struct config_key *, const char *text, void *section_struct,
			  struct error *why) MUST_CHECK;

/* Five fields, a macro like @daily, or "off". */
bool config_cron_is_valid(const char *text);

/* `text` with the passwords of a connection string or URL replaced by "********". */
void config_mask(const char *text, char *out, size_t size);

#endif
