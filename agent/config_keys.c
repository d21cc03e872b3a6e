/* config_keys.c - every key of the configuration: name, type, default, place. */
#include "config.h"

#include <assert.h>
#include <stddef.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define KEY(of, field, key, kind, value, ...)                                                      \
	{                                                                                          \
		.name = (key), .type = (kind), .standard = (value), .offset = offsetof(of, field), \
		__VA_ARGS__                                                                        \
	}
#define GLOBAL(field, ...) KEY(struct config_global, field, __VA_ARGS__)
#define REPO(field, ...) KEY(struct config_repo, field, __VA_ARGS__)
#define CLUSTER(field, ...) KEY(struct config_cluster, field, __VA_ARGS__)

/* What only parts of pgagent use that are still to come: the daemon, the receiver, object stores. */
#define LATER .later = true
#define S3 .only_s3 = true, LATER

static const struct config_key global_keys[] = {
	GLOBAL(state_directory, "state_directory", CONFIG_PATH, "/var/lib/pgagent/state"),
	GLOBAL(spool_directory, "spool_directory", CONFIG_PATH, "/var/spool/pgagent", LATER),
	GLOBAL(spool_limit_bytes, "spool_limit", CONFIG_SIZE, "10GiB", LATER),
	GLOBAL(http_listen, "http_listen", CONFIG_LISTEN, "127.0.0.1:9858", LATER),
	GLOBAL(parallel_backups, "parallel_backups", CONFIG_NUMBER, "1", .min = 1, .max = 64,
	       LATER),
	GLOBAL(on_event_command, "on_event_command", CONFIG_TEXT, "", LATER),
};

#define CREDENTIALS "auto|environment|file|command|web-identity|container|instance"

static const struct config_key repo_keys[] = {
	REPO(type, "type", CONFIG_CHOICE, "posix", .choices = "posix|s3"),
	REPO(path, "path", CONFIG_PATH, "", .only_posix = true),
	REPO(encryption, "encryption", CONFIG_CHOICE, "aes-256-gcm", .choices = "aes-256-gcm|none"),
	REPO(key_file, "key_file", CONFIG_PATH, ""),
	REPO(passphrase_file, "passphrase_file", CONFIG_PATH, ""),
	REPO(passphrase_command, "passphrase_command", CONFIG_TEXT, ""),
	REPO(mode, "mode", CONFIG_CHOICE, "sync", .choices = "sync|async"),
	REPO(ship_rate_bytes_per_s, "ship_rate", CONFIG_SIZE_OR_NONE, "unlimited", LATER),
	REPO(bucket, "bucket", CONFIG_TEXT, "", S3),
	REPO(endpoint, "endpoint", CONFIG_TEXT, "", S3),
	REPO(region, "region", CONFIG_TEXT, "", S3),
	REPO(prefix, "prefix", CONFIG_TEXT, "", S3),
	REPO(uri_style, "uri_style", CONFIG_CHOICE, "virtual", .choices = "virtual|path", S3),
	REPO(signature, "signature", CONFIG_CHOICE, "v4", .choices = "v4|v2", S3),
	REPO(credentials, "credentials", CONFIG_CHOICE, "auto", .choices = CREDENTIALS, S3),
	REPO(credentials_file, "credentials_file", CONFIG_PATH, "", S3),
	REPO(credentials_command, "credentials_command", CONFIG_TEXT, "", S3),
	REPO(ca_file, "ca_file", CONFIG_PATH, "", S3),
	REPO(s3_connections, "s3_connections", CONFIG_NUMBER, "8", .min = 1, .max = 256, S3),
	REPO(object_lock, "object_lock", CONFIG_LOCK, "none", S3),
};

#define EVERYWHERE .in_global = true
#define RETAIN_MAX 100000

static const struct config_key cluster_keys[] = {
	CLUSTER(conninfo, "conninfo", CONFIG_CONNINFO, ""),
	CLUSTER(backup_conninfo, "backup_conninfo", CONFIG_CONNINFO, ""),
	CLUSTER(repos_text, "repos", CONFIG_NAMES, "", EVERYWHERE),
	CLUSTER(compression_level, "compression", CONFIG_COMPRESSION, "zstd:1", EVERYWHERE),
	CLUSTER(wal_streaming, "wal_streaming", CONFIG_BOOL, "off", EVERYWHERE, LATER),
	CLUSTER(slot, "slot", CONFIG_SLOT, "pgagent", EVERYWHERE, LATER),
	CLUSTER(wal_ship_interval_us, "wal_ship_interval", CONFIG_DURATION, "5s", EVERYWHERE,
		LATER),
	CLUSTER(archive_wait_us, "archive_wait", CONFIG_DURATION, "60s", EVERYWHERE),
	CLUSTER(archive_backlog_limit_bytes, "archive_backlog_limit", CONFIG_SIZE_OR_NONE, "none",
		EVERYWHERE, LATER),
	CLUSTER(archive_get_timeout_us, "archive_get_timeout", CONFIG_DURATION, "10min",
		EVERYWHERE),
	CLUSTER(backup_schedule, "backup_schedule", CONFIG_CRON, "0 1 * * *", EVERYWHERE),
	CLUSTER(schedule_timezone, "schedule_timezone", CONFIG_ZONE, "UTC", EVERYWHERE, LATER),
	CLUSTER(retain_window_us, "retain_window", CONFIG_DURATION, "14d", EVERYWHERE),
	CLUSTER(retain_backups, "retain_backups", CONFIG_NUMBER, "2", .max = RETAIN_MAX,
		EVERYWHERE),
	CLUSTER(retain_daily, "retain_daily", CONFIG_NUMBER, "7", .max = RETAIN_MAX, EVERYWHERE),
	CLUSTER(retain_weekly, "retain_weekly", CONFIG_NUMBER, "4", .max = RETAIN_MAX, EVERYWHERE),
	CLUSTER(retain_monthly, "retain_monthly", CONFIG_NUMBER, "12", .max = RETAIN_MAX,
		EVERYWHERE),
	CLUSTER(retain_yearly, "retain_yearly", CONFIG_NUMBER, "0", .max = RETAIN_MAX, EVERYWHERE),
	CLUSTER(expire_auto, "expire_auto", CONFIG_BOOL, "on", EVERYWHERE),
	CLUSTER(expire_grace_us, "expire_grace", CONFIG_DURATION, "24h", EVERYWHERE),
	CLUSTER(refresh_period_us, "refresh_period", CONFIG_DURATION, "90d", EVERYWHERE),
	CLUSTER(tripwire_keep_us, "tripwire_keep", CONFIG_DURATION, "7d", EVERYWHERE, LATER),
	CLUSTER(verify_schedule, "verify_schedule", CONFIG_CRON, "0 4 * * *", EVERYWHERE, LATER),
	CLUSTER(drill_schedule, "drill_schedule", CONFIG_CRON, "0 5 * * 0", EVERYWHERE, LATER),
	CLUSTER(drill_sql, "drill_sql", CONFIG_PATH, "", EVERYWHERE, LATER),
};

const struct config_key *config_keys(enum config_kind kind, size_t *count)
{
	static_assert(COUNT(repo_keys) <= CONFIG_KEYS_MAX && COUNT(cluster_keys) <= CONFIG_KEYS_MAX,
		      "raise CONFIG_KEYS_MAX");
	switch (kind) {
	case CONFIG_GLOBAL:
		*count = COUNT(global_keys);
		return global_keys;
	case CONFIG_REPO:
		*count = COUNT(repo_keys);
		return repo_keys;
	case CONFIG_CLUSTER:
		break;
	}
	*count = COUNT(cluster_keys);
	return cluster_keys;
}
