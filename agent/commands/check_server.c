/* commands/check_server.c - the server's links: connections, settings, clock. */
#include "base/text.h"
#include "commands/check.h"
#include "postgres/replication.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	VERSION_MIN = 150000,
	VERSION_TESTED_MAX = 189999,
	SENDERS_MIN = 2 /* a backup and the WAL it streams */
};
#define SKEW_MAX_US (INT64_C(5) * 1000000)
#define DATABASE_ANYWHERE "postgres"

/* ---- connections ---- */

static void open_sql(struct check *c)
{
	struct session_options options = {.conninfo = c->config->conninfo, .kind = SESSION_SQL};
	struct error why, second;

	if (session_open(&c->agent->env, &options, &c->sql, &why) == ERR_NONE)
		return;
	/* Without a dbname libpq takes the user's name, and a backup role has no such database. */
	options.database = DATABASE_ANYWHERE;
	if (session_open(&c->agent->env, &options, &c->sql, &second) == ERR_NONE)
		return;
	c->sql = NULL;
	check_say(
		c, CHECK_UNPROVEN, "sql_connection", why.hint[0] != '\0' ? why.hint : NULL,
		"%s; %sthe role, what it may do, the archiver, slot, collations and clock can't be asked",
		why.text,
		c->replication != NULL ? "settings are asked over replication, but " : "");
	check_unseen(c);
}

static void open_replication(struct check *c)
{
	struct session_options options = {.conninfo = c->config->conninfo,
					  .kind = SESSION_REPLICATION};
	struct system_identity identity;
	struct error why;
	enum err e = session_open(&c->agent->env, &options, &c->replication, &why);

	if (e == ERR_NONE)
		e = replication_identify(c->replication, &identity, &why);
	if (e != ERR_NONE) {
		session_close(c->replication);
		c->replication = NULL;
		check_fail(c, "connection", &why);
		return;
	}
	c->has_system = true;
	c->system_identifier = identity.system_identifier;
	c->timeline = identity.timeline;
	c->flushed = identity.flushed;
	check_say(c, CHECK_OK, "connection", NULL,
		  "replication as %s, system identifier %" PRIu64 ", timeline %" PRIu32,
		  session_label(c->replication), identity.system_identifier, identity.timeline);
}

static void check_version(struct check *c)
{
	const struct session *any = c->replication != NULL ? c->replication : c->sql;
	int version = session_server_version(any);

	if (version < VERSION_MIN)
		check_say(c, CHECK_ERROR, "server_version", "PostgreSQL 15 or newer is needed",
			  "PostgreSQL %d is too old", version / 10000);
	else
		check_say(c, version > VERSION_TESTED_MAX ? CHECK_WARNING : CHECK_OK,
			  "server_version", NULL, "PostgreSQL %d.%d%s", version / 10000,
			  version % 10000,
			  version > VERSION_TESTED_MAX ? ": newer than what was tested" : "");
}

/* ---- settings ---- */

bool check_ask(struct check *c, const char *setting, char out[CHECK_SETTING_MAX])
{
	struct error why = {.kind = ERR_NONE};
	struct session *any = c->sql != NULL ? c->sql : c->replication;
	enum err e = session_show(any, setting, out, CHECK_SETTING_MAX, &why);

	if (e != ERR_NONE) {
		check_say(c, CHECK_UNPROVEN, setting, NULL, "%s", why.text);
		check_unseen(c);
	}
	return e == ERR_NONE;
}

struct rows *check_query(struct check *c, const char *code, const char *sql)
{
	struct rows *rows = NULL;
	struct error why = {.kind = ERR_NONE};

	if (session_query(c->sql, sql, &rows, &why) == ERR_NONE)
		return rows;
	check_say(c, CHECK_UNPROVEN, code, why.hint[0] != '\0' ? why.hint : NULL, "%s", why.text);
	check_unseen(c);
	return NULL;
}

void check_say_setting(struct check *c, enum check_severity severity, const char *name,
		       const char *wanted, bool restart, const char *why, const char *value)
{
	char hint[256];

	(void)snprintf(hint, sizeof(hint), "ALTER SYSTEM SET %s = '%s';\n%s", name, wanted,
		       restart ? "then restart the server" : "SELECT pg_reload_conf();"); /* fits */
	check_say(c, severity, name, hint, "%s is %s: %s", name, value, why);
	c->only_config = c->only_config && severity != CHECK_ERROR;
}

static void check_levels(struct check *c)
{
	char value[CHECK_SETTING_MAX], *end;

	if (check_ask(c, "wal_level", value)) {
		if (strcmp(value, "minimal") == 0)
			check_say_setting(c, CHECK_ERROR, "wal_level", "replica", true,
					  "WAL of that kind restores nothing", value);
		else
			check_say(c, CHECK_OK, "wal_level", NULL, "%s", value);
	}
	if (check_ask(c, "max_wal_senders", value)) {
		if (strtol(value, &end, 10) < SENDERS_MIN)
			check_say_setting(c, CHECK_ERROR, "max_wal_senders", "10", true,
					  "a backup needs two connections for replication", value);
		else
			check_say(c, CHECK_OK, "max_wal_senders", NULL, "%s", value);
	}
	if (check_ask(c, "data_checksums", value)) {
		if (strcmp(value, "on") != 0)
			check_say(c, CHECK_WARNING, "data_checksums",
				  "with the server stopped: pg_checksums --enable -D PGDATA",
				  "off: pages that the server's disks damage go unnoticed into "
				  "every backup");
		else
			check_say(c, CHECK_OK, "data_checksums", NULL, "on");
	}
}

/* ---- clock ---- */

static void check_clock(struct check *c)
{
	struct clock *clock = c->agent->env.clock;
	struct rows *rows = NULL;
	struct error why;
	int64_t before = clock_now_us(clock), skew;
	uint64_t server = 0;
	char text[TEXT_DURATION_MAX];
	const char *value;

	if (c->sql == NULL)
		return;
	if (session_query(c->sql,
			  "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", &rows,
			  &why) != ERR_NONE ||
	    (value = rows_value(rows, 0, 0)) == NULL ||
	    !text_to_u64(bytes_of_text(value), &server)) {
		rows_free(rows);
		check_say(c, CHECK_UNPROVEN, "clock", NULL, "the server's clock can't be asked");
		return;
	}
	rows_free(rows);
	skew = (int64_t)server - (before + (clock_now_us(clock) - before) / 2);
	skew = skew < 0 ? -skew : skew;
	text_of_duration(skew, text);
	if (skew > SKEW_MAX_US)
		check_say(c, CHECK_WARNING, "clock", "keep both with NTP: chronyc tracking",
			  "the server's clock and this one differ by %s: --to-time counts by the "
			  "server's",
			  text);
	else
		check_say(c, CHECK_OK, "clock", NULL, "differs by %s", text);
	check_duration(c, "clock_skew_seconds", skew);
}

/* The standby that backups are read from: there, the same system, and able to give one. */
static void check_backup_server(struct check *c)
{
	struct session_options options = {.conninfo = c->config->backup_conninfo,
					  .kind = SESSION_REPLICATION};
	struct session *standby = NULL;
	struct system_identity identity;
	char value[CHECK_SETTING_MAX], *end;
	struct error why;
	enum err e;

	if (*c->config->backup_conninfo == '\0')
		return;
	e = session_open(&c->agent->env, &options, &standby, &why);
	if (e == ERR_NONE)
		e = replication_identify(standby, &identity, &why);
	if (e != ERR_NONE) {
		(void)error_add(&why, "backup_conninfo");
		check_fail(c, "backup_connection", &why);
	} else if (c->has_system && identity.system_identifier != c->system_identifier) {
		c->only_config = false;
		check_say(c, CHECK_ERROR, "backup_connection",
			  "conninfo is the primary, backup_conninfo a standby of it",
			  "%s has system identifier %" PRIu64 ": it is no copy of %s",
			  session_label(standby), identity.system_identifier,
			  session_label(c->replication));
	} else if (session_show(standby, "max_wal_senders", value, sizeof(value), &why) ==
			   ERR_NONE &&
		   strtol(value, &end, 10) < SENDERS_MIN) {
		check_say(
			c, CHECK_WARNING, "backup_connection",
			"there and on the primary: ALTER SYSTEM SET max_wal_senders = '10';\nthen "
			"restart both",
			"%s has max_wal_senders = %s: the WAL of a backup comes after it, if it is "
			"still there then",
			session_label(standby), value);
	} else {
		check_say(c, CHECK_OK, "backup_connection", NULL, "backups are read from %s",
			  session_label(standby));
	}
	session_close(standby);
	if (check_ask(c, "full_page_writes", value) && strcmp(value, "off") == 0)
		check_say_setting(c, CHECK_ERROR, "full_page_writes", "on", false,
				  "a standby can't be backed up without", value);
}

static void ask_recovery(struct check *c)
{
	struct rows *rows = check_query(c, "recovery", "SELECT pg_catalog.pg_is_in_recovery()");
	const char *value = rows_value(rows, 0, 0);

	c->in_recovery = value != NULL && *value == 't';
	rows_free(rows);
}

bool check_connect(struct check *c)
{
	if (*c->config->conninfo == '\0') {
		check_say(c, CHECK_ERROR, "connection",
			  "add conninfo = ... to its section of the configuration",
			  "cluster %s has no conninfo", c->config->section.name);
		return false;
	}
	open_replication(c);
	open_sql(c);
	if (c->replication == NULL && c->sql == NULL) {
		check_say(c, CHECK_UNPROVEN, "settings", NULL,
			  "no connection: wal_level, archive_mode, archive_command, clock");
		return false;
	}
	if (c->sql != NULL)
		ask_recovery(c);
	return true;
}

void check_server(struct check *c)
{
	if (!check_connect(c))
		return;
	check_version(c);
	check_levels(c);
	check_backup_server(c);
	check_archiving(c);
	if (c->sql == NULL)
		return;
	check_role(c);
	check_slot(c);
	check_leftovers(c);
	check_collations(c);
	check_clock(c);
}
