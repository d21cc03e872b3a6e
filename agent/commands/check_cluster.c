/* commands/check_cluster.c - what in the server will be trouble one day: its slot, what an earlier
 * recovery has left, collations whose library has changed.
 */
#include "base/text.h"
#include "commands/check.h"
#include "commands/leftovers.h"

#include <stdio.h>
#include <string.h>

/* ---- the slot ---- */

enum { SLOT_ACTIVE, SLOT_STATUS, SLOT_HELD, SLOT_SIZE_MAX };

/* Nothing is archived unless archive_command does it beside the stream: every commit from now on is lost with
 * the server.  That a receiver may be about to start does not make it less. */
static enum check_severity without_receiver(struct check *c)
{
	if (c->archives)
		return CHECK_WARNING;
	c->only_config = false;
	return CHECK_ERROR;
}

/* A slot that is there, of a cluster that streams its WAL. */
static void check_used_slot(struct check *c, const struct rows *rows)
{
	const char *slot = c->config->slot, *status = rows_value(rows, 0, SLOT_STATUS);
	const char *size_max = rows_value(rows, 0, SLOT_SIZE_MAX);
	char lines[128];

	(void)snprintf(lines, sizeof(lines), "SELECT pg_drop_replication_slot('%.64s');",
		       slot); /* fits */
	if (status != NULL && (strcmp(status, "lost") == 0 || strcmp(status, "unreserved") == 0)) {
		c->only_config = false;
		check_say(
			c, CHECK_ERROR, "slot", lines,
			"slot %s is %s: the server has removed or is about to remove WAL that was "
			"not streamed",
			slot, status);
	} else if (*rows_value(rows, 0, SLOT_ACTIVE) != 't') {
		check_say(c, without_receiver(c), "slot",
			  "start the receiver; or archive by archive_command: wal_streaming = off",
			  "nobody streams from slot %s: %s, and it holds %s of WAL", slot,
			  c->archives ? "only archive_command archives" : "nothing is archived",
			  rows_value(rows, 0, SLOT_HELD));
	} else if (size_max != NULL && strcmp(size_max, "-1") == 0) {
		check_say_setting(c, CHECK_WARNING, "max_slot_wal_keep_size", "64GB", false,
				  "a receiver that is away fills the disk of pg_wal and stops the "
				  "server; take what that disk can spare",
				  size_max);
	} else {
		check_say(c, CHECK_OK, "slot", NULL, "%s is in use", slot);
	}
}

void check_slot(struct check *c)
{
	static const char format[] =
		"SELECT active, wal_status, pg_catalog.pg_size_pretty(pg_catalog.pg_wal_lsn_diff("
		"CASE WHEN pg_catalog.pg_is_in_recovery() THEN "
		"pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, "
		"restart_lsn)), pg_catalog.current_setting('max_slot_wal_keep_size') "
		"FROM pg_catalog.pg_replication_slots WHERE slot_name = '%.64s'";
	const char *slot = c->config->slot;
	char sql[1024], lines[128];
	struct rows *rows;

	/* The configuration lets only names of slots through: no quotes. */
	(void)snprintf(sql, sizeof(sql), format, slot); /* fits */
	(void)snprintf(lines, sizeof(lines), "SELECT pg_drop_replication_slot('%.64s');", slot);
	rows = check_query(c, "slot", sql);
	if (rows == NULL)
		return;
	if (rows_count(rows) == 0) {
		if (c->config->wal_streaming)
			check_say(
				c, without_receiver(c), "slot",
				"start the receiver, which makes it; or archive by archive_command: "
				"wal_streaming = off",
				"there is no slot %s: nobody has streamed WAL yet, and %s", slot,
				c->archives ? "only archive_command archives it"
					    : "nothing is archived");
	} else if (c->config->wal_streaming) {
		check_used_slot(c, rows);
	} else if (*rows_value(rows, 0, SLOT_ACTIVE) != 't') {
		check_say(c, CHECK_WARNING, "slot", lines,
			  "nobody uses slot %s (wal_streaming is off): it keeps WAL until the disk "
			  "of pg_wal is full, %s by now",
			  slot, rows_value(rows, 0, SLOT_HELD));
	}
	rows_free(rows);
}

/* ---- leftovers ---- */

void check_leftovers(struct check *c)
{
	struct leftovers found;
	struct error why;

	if (leftovers_find(c->sql, &found, &why) != ERR_NONE)
		check_say(c, CHECK_UNPROVEN, "recovery_settings", NULL, "%s", why.text);
	else if (found.count > 0)
		check_say(c, CHECK_WARNING, "recovery_settings", found.lines,
			  "an earlier recovery has left %s: a standby or copy of this server would "
			  "follow them",
			  found.names);
}

/* ---- collations ---- */

/* An index sorted by other rules than the library's answers wrongly, and no checksum tells. */
void check_collations(struct check *c)
{
	static const char sql[] =
		"SELECT pg_catalog.quote_ident(datname), datcollversion, "
		"pg_catalog.pg_database_collation_actual_version(oid) FROM pg_catalog.pg_database "
		"WHERE datallowconn AND datcollversion <> "
		"pg_catalog.pg_database_collation_actual_version(oid) ORDER BY datname";
	struct rows *rows = check_query(c, "collations", sql);
	char lines[ERROR_HINT_MAX];

	if (rows == NULL)
		return;
	if (rows_count(rows) == 0) {
		check_say(c, CHECK_OK, "collations", NULL,
			  "the libraries sort as they did when the databases were made");
	} else {
		(void)snprintf(lines, sizeof(lines),
			       "in it: REINDEX DATABASE %.128s;\nALTER DATABASE %.128s REFRESH "
			       "COLLATION VERSION;",
			       rows_value(rows, 0, 0), rows_value(rows, 0, 0)); /* fits */
		check_say(
			c, CHECK_WARNING, "collations", lines,
			"database %s was made with version %s of its collation, the library has %s "
			"now (%d database(s) in all): indexes on text may answer wrongly",
			rows_value(rows, 0, 0), rows_value(rows, 0, 1), rows_value(rows, 0, 2),
			rows_count(rows));
	}
	rows_free(rows);
}
