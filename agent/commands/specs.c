/* commands/specs.c - names, options and help lines of the commands: the face, not the work. */
#include "commands/commands.h"

#define OPTIONS(table) .options = (table), .options_count = sizeof(table) / sizeof((table)[0])

#define KEY_OPTIONS                                                                                \
	{.id = OPTION_KEY_FILE,                                                                    \
	 .name = "key-file",                                                                       \
	 .takes = TAKES_TEXT,                                                                      \
	 .argument = "FILE",                                                                       \
	 .set = SET_KEY},                                                                          \
	{                                                                                          \
		.id = OPTION_PASSPHRASE_FILE, .name = "passphrase-file", .takes = TAKES_TEXT,      \
		.argument = "FILE", .set = SET_KEY, .help = "what opens a --repo PATH"             \
	}

static const struct option_spec init_options[] = {
	{.id = OPTION_UPGRADE,
	 .name = "upgrade",
	 .help = "the cluster has a new system identifier (pg_upgrade, initdb)"},
};

static const struct option_spec check_options[] = {
	{.id = OPTION_NAGIOS,
	 .name = "nagios",
	 .help = "one line with perfdata; exit 0, 1, 2 or 3; switches no segment"},
};

static const struct option_spec status_options[] = {
	{.id = OPTION_NAGIOS,
	 .name = "nagios",
	 .help = "one line with perfdata; exit 0, 1, 2 or 3"},
};

static const struct option_spec backup_options[] = {
	{.id = OPTION_LABEL,
	 .name = "label",
	 .takes = TAKES_TEXT,
	 .argument = "TEXT",
	 .help = "a word of yours, shown by list"},
	{.id = OPTION_TYPE,
	 .name = "type",
	 .takes = TAKES_CHOICE,
	 .argument = "auto|full|incremental",
	 .choices = "auto|full|incremental|incr=incremental",
	 .help = "what the server sends: what changed (17+), where safe (auto)"},
	{.id = OPTION_MAX_RATE,
	 .name = "max-rate",
	 .takes = TAKES_RATE,
	 .argument = "RATE",
	 .help = "at most this much per second from the server: 50MB"},
	{.id = OPTION_CHECKPOINT,
	 .name = "checkpoint",
	 .takes = TAKES_CHOICE,
	 .argument = "fast|spread",
	 .choices = "fast|spread",
	 .help = "spread waits for minutes and spares the disks (spread)"},
	{.id = OPTION_KEEP, .name = "keep", .help = "retention leaves this backup alone"},
};

static const struct option_spec list_options[] = {KEY_OPTIONS};

static const struct option_spec show_options[] = {
	{.id = OPTION_RELATION,
	 .name = "relation",
	 .takes = TAKES_TEXT,
	 .argument = "DB.SCHEMA.NAME",
	 .help = "in which backups its pages changed: since when is it bad?"},
	{.id = OPTION_BLOCK,
	 .name = "block",
	 .takes = TAKES_NUMBER,
	 .argument = "N",
	 .max = UINT32_MAX - 1,
	 .help = "this page of it alone, and where it is stored"},
	KEY_OPTIONS,
};

static const struct option_spec verify_options[] = {
	{.id = OPTION_QUICK, .name = "quick", .help = "presence and sizes only"},
	{.id = OPTION_ALL, .name = "all", .help = "also what was proven in the last 7 days"},
	{.id = OPTION_MAX_TIME,
	 .name = "max-time",
	 .takes = TAKES_TEXT,
	 .argument = "DURATION",
	 .help = "then end in order: 2h; the next run goes on there"},
	{.id = OPTION_MAX_RATE,
	 .name = "max-rate",
	 .takes = TAKES_RATE,
	 .argument = "RATE",
	 .help = "read at most this much per second: 50MB"},
	KEY_OPTIONS,
};

static const struct option_spec copy_options[] = {
	{.id = OPTION_FROM,
	 .name = "from",
	 .takes = TAKES_TEXT,
	 .argument = "REPO",
	 .help = "the repository that is read, by its name in the configuration"},
	{.id = OPTION_TO,
	 .name = "to",
	 .takes = TAKES_TEXT,
	 .argument = "REPO",
	 .help = "the one that gets what it lacks; of the same family (pgagent init)"},
	{.id = OPTION_MAX_RATE,
	 .name = "max-rate",
	 .takes = TAKES_RATE,
	 .argument = "RATE",
	 .help = "copy at most this much per second: 50MB"},
};

static const struct option_spec export_options[] = {
	{.id = OPTION_TO,
	 .name = "to",
	 .takes = TAKES_TEXT,
	 .argument = "DIR|FILE|-",
	 .help = "an empty or new directory, a new FILE.tar, or standard output"},
	{.id = OPTION_JOBS,
	 .letter = 'j',
	 .name = "jobs",
	 .takes = TAKES_NUMBER,
	 .argument = "N",
	 .min = 1,
	 .max = 64,
	 .help = "parallel readers, at most 8 (processors)"},
	KEY_OPTIONS,
};

static const struct option_spec expire_options[] = {
	{.id = OPTION_BACKUP,
	 .name = "backup",
	 .takes = TAKES_TEXT,
	 .argument = "ID",
	 .help = "hide this one; it is removed after expire_grace"},
	{.id = OPTION_CONFIRM, .name = "confirm", .help = "carry the plan out"},
	{.id = OPTION_CLOCK_IS_RIGHT,
	 .name = "clock-is-right",
	 .help = "go on although it jumped, or the host was off for days"},
	{.id = OPTION_FORCE,
	 .name = "force",
	 .help = "also the last or a kept backup, and data of no known backup"},
};

static const struct option_spec key_options[] = {
	{.id = OPTION_NEW_KEY_FILE,
	 .name = "new-key-file",
	 .takes = TAKES_TEXT,
	 .argument = "FILE",
	 .set = SET_NEW_KEY,
	 .help = "add: this key file, which is made where there is none"},
	{.id = OPTION_NEW_PASSPHRASE_FILE,
	 .name = "new-passphrase-file",
	 .takes = TAKES_TEXT,
	 .argument = "FILE",
	 .set = SET_NEW_KEY,
	 .help = "add: the passphrase in this file"},
	{.id = OPTION_RECOVERY_CODE,
	 .name = "recovery-code",
	 .set = SET_NEW_KEY,
	 .help = "add, rotate: a new recovery code, shown once"},
	{.id = OPTION_SLOT,
	 .name = "slot",
	 .takes = TAKES_TEXT,
	 .argument = "NAME",
	 .help = "add: name of the new slot, as key list shows it"},
	{.id = OPTION_WITH_KEY_FILE,
	 .name = "with-key-file",
	 .takes = TAKES_LIST,
	 .argument = "FILE",
	 .help = "rotate: this key too opens what is written then; repeatable"},
	{.id = OPTION_WITH_PASSPHRASE_FILE,
	 .name = "with-passphrase-file",
	 .takes = TAKES_LIST,
	 .argument = "FILE",
	 .help = "rotate: likewise; repeatable"},
	{.id = OPTION_STDIN,
	 .name = "stdin",
	 .help = "a recovery code on stdin: what opens; rotate: opens it too"},
	{.id = OPTION_FORCE,
	 .name = "force",
	 .help = "remove: also the slot of the configured key"},
	KEY_OPTIONS,
};

static const struct option_spec archive_get_options[] = {
	{.id = OPTION_PIN,
	 .name = "pin",
	 .takes = TAKES_TEXT,
	 .argument = "ID",
	 .help = "keeps this pin of a restore alive"},
	KEY_OPTIONS,
};

static const struct option_spec restore_options[] = {
	{.id = OPTION_PGDATA,
	 .letter = 'D',
	 .name = "pgdata",
	 .alias = "target-dir",
	 .takes = TAKES_TEXT,
	 .argument = "DIR",
	 .help = "where to"},
	{.id = OPTION_TO_TIME,
	 .name = "to-time",
	 .takes = TAKES_TEXT,
	 .argument = "T",
	 .set = SET_TARGET,
	 .help = "\"2026-11-23 14:05:00+01\", \"... Europe/Paris\", \"10 minutes ago\""},
	{.id = OPTION_TO_LSN,
	 .name = "to-lsn",
	 .takes = TAKES_TEXT,
	 .argument = "LSN",
	 .set = SET_TARGET},
	{.id = OPTION_TO_XID,
	 .name = "to-xid",
	 .takes = TAKES_NUMBER,
	 .argument = "XID",
	 .min = 3,
	 .max = UINT64_MAX,
	 .set = SET_TARGET},
	{.id = OPTION_TO_NAME,
	 .name = "to-name",
	 .takes = TAKES_TEXT,
	 .argument = "NAME",
	 .set = SET_TARGET,
	 .help = "position, transaction, restore point"},
	{.id = OPTION_TO_LATEST, .name = "to-latest", .set = SET_TARGET},
	{.id = OPTION_TO_BACKUP_END,
	 .name = "to-backup-end",
	 .set = SET_TARGET,
	 .help = "all that is contiguous (default); nothing but the backup"},
	{.id = OPTION_EXCLUSIVE, .name = "exclusive", .help = "stop just before the target"},
	{.id = OPTION_TIMELINE,
	 .name = "timeline",
	 .takes = TAKES_TEXT,
	 .argument = "auto|latest|current|N",
	 .help = "auto: the one that was being written at the target"},
	{.id = OPTION_BACKUP,
	 .name = "backup",
	 .takes = TAKES_TEXT,
	 .argument = "ID",
	 .help = "start from this backup"},
	{.id = OPTION_PLAN,
	 .name = "plan",
	 .alias = "dry-run",
	 .help = "print the plan, change nothing; exit 3: can't be reached"},
	{.id = OPTION_DELTA,
	 .name = "delta",
	 .help = "reuse what lies in DIR page by page; the rest there is removed"},
	{.id = OPTION_SALVAGE_WAL, .name = "salvage-wal", .takes = TAKES_TEXT, .argument = "DIR"},
	{.id = OPTION_DISCARD_WAL,
	 .name = "discard-wal",
	 .help = "first save unarchived WAL from a DIR; lose what can't be saved"},
	{.id = OPTION_TABLESPACE,
	 .name = "tablespace",
	 .takes = TAKES_LIST,
	 .argument = "NAME=DIR",
	 .help = "where this tablespace goes; repeatable"},
	{.id = OPTION_TABLESPACE_DIR,
	 .name = "tablespace-dir",
	 .takes = TAKES_TEXT,
	 .argument = "DIR",
	 .help = "all other tablespaces go below DIR"},
	{.id = OPTION_ACTION,
	 .name = "action",
	 .takes = TAKES_CHOICE,
	 .argument = "pause|promote|shutdown",
	 .choices = "pause|promote|shutdown",
	 .help = "at the target (pause; promote for latest)"},
	{.id = OPTION_SIDE, .name = "side", .set = SET_PLACE},
	{.id = OPTION_IN_PLACE,
	 .name = "in-place",
	 .set = SET_PLACE,
	 .help = "a copy that does no harm; the server itself again"},
	{.id = OPTION_STANDBY, .name = "standby"},
	{.id = OPTION_WAL,
	 .name = "wal",
	 .takes = TAKES_CHOICE,
	 .argument = "archive|copy",
	 .choices = "archive|copy",
	 .help = "a standby that follows; the needed WAL into DIR (copy)"},
	{.id = OPTION_ARCHIVING,
	 .name = "archiving",
	 .takes = TAKES_CHOICE,
	 .argument = "keep|off",
	 .choices = "keep|off",
	 .help = "archive_mode of the restored server"},
	{.id = OPTION_KEEP_SETTING,
	 .name = "keep-setting",
	 .takes = TAKES_LIST,
	 .argument = "NAME",
	 .help = "do not neutralise this one in a side copy; repeatable"},
	{.id = OPTION_SET,
	 .name = "set",
	 .takes = TAKES_LIST,
	 .argument = "NAME=VALUE",
	 .help = "a setting of the restored server; repeatable"},
	{.id = OPTION_START,
	 .name = "start",
	 .help = "start it, follow the replay, leave it running"},
	{.id = OPTION_PORT,
	 .name = "port",
	 .takes = TAKES_NUMBER,
	 .argument = "N",
	 .min = 1,
	 .max = 65535,
	 .help = "its port (a free one)"},
	{.id = OPTION_JOBS,
	 .letter = 'j',
	 .name = "jobs",
	 .takes = TAKES_NUMBER,
	 .argument = "N",
	 .min = 1,
	 .max = 64,
	 .help = "parallel readers (processors)"},
	KEY_OPTIONS,
};

const struct command_spec spec_init = {
	.name = "init",
	.arguments = "",
	.summary = "create or check the repositories of the cluster and their keys",
	OPTIONS(init_options),
	.example = "pgagent init",
	.reads_config = true,
};

const struct command_spec spec_check = {
	.name = "check",
	.arguments = "",
	.summary = "try every link of the chain (switches a WAL segment); say what mends it",
	OPTIONS(check_options),
	.example = "pgagent check",
	.reads_config = true,
};

const struct command_spec spec_status = {
	.name = "status",
	.arguments = "",
	.summary = "one verdict with reasons; up to which moment all is safe (only looks)",
	OPTIONS(status_options),
	.example = "pgagent status\n"
		   "pgagent status --nagios",
	.reads_config = true,
};

const struct command_spec spec_backup = {
	.name = "backup",
	.arguments = "",
	.summary = "take a base backup over the replication protocol",
	OPTIONS(backup_options),
	.example = "pgagent backup --checkpoint fast --label before-upgrade",
	.reads_config = true,
};

const struct command_spec spec_list = {
	.name = "list",
	.alias = "info",
	.arguments = "",
	.summary = "backups, and the windows of time that can be restored",
	OPTIONS(list_options),
	.example = "pgagent list\n"
		   "pgagent list --repo /mnt/backups --key-file /root/local.key --output json",
	.reads_config = true,
};

const struct command_spec spec_show = {
	.name = "show",
	.arguments = "BACKUP",
	.arguments_min = 1,
	.arguments_max = 1,
	.summary = "one backup in full, or the history of a relation's pages",
	OPTIONS(show_options),
	.example = "pgagent show 20261123T010000Z-5d0c9a7be1f04c33\n"
		   "pgagent show latest --relation shop.public.orders --block 17",
	.exits = EXITS_TARGET,
	.reads_config = true,
};

const struct command_spec spec_archive_push = {
	.name = "archive-push",
	.arguments = "PATH",
	.arguments_min = 1,
	.arguments_max = 1,
	.summary = "for archive_command: 0 only when the segment is durable in the repositories",
	.example = "archive_command = '/usr/bin/pgagent archive-push --cluster main %p'",
	.exits = EXITS_ARCHIVE_PUSH,
	.reads_config = true,
};

const struct command_spec spec_archive_get = {
	.name = "archive-get",
	.arguments = "FILE DEST",
	.arguments_min = 2,
	.arguments_max = 2,
	.summary = "for restore_command: 0 delivered, 1 proven absent, 200 everything else",
	OPTIONS(archive_get_options),
	.example = "restore_command = '/usr/bin/pgagent archive-get --cluster main %f \"%p\"'",
	.exits = EXITS_ARCHIVE_GET,
	.reads_config = true,
};

const struct command_spec spec_restore = {
	.name = "restore",
	.arguments = "",
	.summary = "restore to a point in time",
	OPTIONS(restore_options),
	.example = "pgagent restore -D /srv/look --to-time '2026-11-23 14:05:00+01' --start\n"
		   "pgagent restore -D /srv/standby --standby --set primary_conninfo='host=db1 "
		   "user=repl'",
	.exits = EXITS_TARGET,
	.reads_config = true,
};

const struct command_spec spec_verify = {
	.name = "verify",
	.arguments = "[BACKUP]",
	.arguments_max = 1,
	.summary = "read what is stored and prove it whole",
	OPTIONS(verify_options),
	.example = "pgagent verify --max-time 2h\npgagent verify --quick",
	.reads_config = true,
};

const struct command_spec spec_export = {
	.name = "export",
	.arguments = "BACKUP",
	.arguments_min = 1,
	.arguments_max = 1,
	.summary = "a backup as plain tars, as pg_basebackup -Ft writes them",
	OPTIONS(export_options),
	.example = "pgagent export latest --to /srv/tars\n"
		   "pgagent export latest --to - | tar -x -C /srv/copy",
	.exits = EXITS_TARGET,
	.reads_config = true,
};

const struct command_spec spec_copy = {
	.name = "copy",
	.arguments = "",
	.summary = "bring into one repository what it lacks of another, byte for byte",
	OPTIONS(copy_options),
	.example = "pgagent copy --from local --to offsite\n"
		   "pgagent copy --from local --to offsite --max-rate 20MB",
	.reads_config = true,
};

const struct command_spec spec_expire = {
	.name = "expire",
	.arguments = "",
	.summary = "print what would be removed, and what could be restored then; do it",
	OPTIONS(expire_options),
	.example = "pgagent expire --backup 20261123T010000Z-5d0c9a7be1f04c33\n"
		   "pgagent expire --confirm",
	.reads_config = true,
};

const struct command_spec spec_undelete = {
	.name = "undelete",
	.arguments = "BACKUP",
	.arguments_min = 1,
	.arguments_max = 1,
	.summary = "bring a hidden backup back, within expire_grace",
	.example = "pgagent undelete 20261123T010000Z-5d0c9a7be1f04c33",
	.exits = EXITS_TARGET,
	.reads_config = true,
};

const struct command_spec spec_keep = {
	.name = "keep",
	.arguments = "BACKUP",
	.arguments_min = 1,
	.arguments_max = 1,
	.summary = "mark a backup so that retention leaves it alone, until unkeep",
	.example = "pgagent keep 20261123T010000Z-5d0c9a7be1f04c33",
	.exits = EXITS_TARGET,
	.reads_config = true,
};

const struct command_spec spec_unkeep = {
	.name = "unkeep",
	.arguments = "BACKUP",
	.arguments_min = 1,
	.arguments_max = 1,
	.summary = "withdraw the mark of keep, or that of backup --keep",
	.example = "pgagent unkeep 20261123T010000Z-5d0c9a7be1f04c33",
	.exits = EXITS_TARGET,
	.reads_config = true,
};

const struct command_spec spec_key = {
	.name = "key",
	.arguments = "list|test|add|remove|rotate [SLOT]",
	.actions = "list|test|add|remove|rotate",
	.arguments_min = 1,
	.arguments_max = 2,
	.summary = "the keys of repositories: who opens them, now and what is written from now on",
	OPTIONS(key_options),
	.example = "pgagent key add --stdin --new-key-file /etc/pgagent/local.key\n"
		   "pgagent key rotate --recovery-code",
	.reads_config = true,
};

const struct command_spec spec_config = {
	.name = "config",
	.arguments = "check|show|recover [BACKUP]",
	.actions = "check|show|recover",
	.arguments_min = 1,
	.arguments_max = 2,
	.summary = "check it, show what is in effect (secrets masked), print what a backup carries",
	OPTIONS(list_options),
	.example = "pgagent config check\n"
		   "pgagent config recover --repo /mnt/backups --key-file ./local.key",
};

const struct command_spec spec_help = {
	.name = "help",
	.arguments = "[COMMAND]",
	.arguments_max = 1,
	.summary = "this page, or the page of a command",
	.example = "pgagent help restore",
	.root_allowed = true,
};

const struct command_spec spec_version = {
	.name = "version",
	.arguments = "",
	.summary = "print the version",
	.example = "pgagent version --output json",
	.root_allowed = true,
};
