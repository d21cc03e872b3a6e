/* commands/check_role.c - what the role of conninfo may do: more than it needs is a risk, less is a gap. */
#include "commands/check.h"

#include <stdio.h>
#include <string.h>

/* A role that needs no more than this; the README has the same lines. */
#define ROLE_LINES                                                                                 \
	"CREATE ROLE pgagent LOGIN REPLICATION PASSWORD '...';\n"                                  \
	"GRANT pg_read_all_settings, pg_monitor TO pgagent;\n"                                     \
	"GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal(), "                                   \
	"pg_catalog.pg_create_restore_point(text) TO pgagent;\n"                                   \
	"then user=pgagent in conninfo"

/* The column of the query, and the line that takes it away. */
struct excess {
	const char *what, *line;
};
static const struct excess excesses[] = {
	{"CREATEROLE", "ALTER ROLE %s NOCREATEROLE;"},
	{"CREATEDB", "ALTER ROLE %s NOCREATEDB;"},
	{"BYPASSRLS", "ALTER ROLE %s NOBYPASSRLS;"},
	{"pg_execute_server_program", "REVOKE pg_execute_server_program FROM %s;"},
	{"pg_write_server_files", "REVOKE pg_write_server_files FROM %s;"},
	{"pg_read_server_files", "REVOKE pg_read_server_files FROM %s;"},
	{"pg_write_all_data", "REVOKE pg_write_all_data FROM %s;"},
	{"pg_read_all_data", "REVOKE pg_read_all_data FROM %s;"},
};
enum { LINES_MAX = 1536 };
enum { COLUMN_ROLE, COLUMN_SUPER, COLUMN_SETTINGS, COLUMN_EXCESS };

static const char role_sql[] =
	"SELECT pg_catalog.quote_ident(rolname), rolsuper, pg_catalog.pg_has_role("
	"'pg_read_all_settings', 'USAGE'), rolcreaterole, rolcreatedb, rolbypassrls, "
	"pg_catalog.pg_has_role('pg_execute_server_program', 'MEMBER'), "
	"pg_catalog.pg_has_role('pg_write_server_files', 'MEMBER'), "
	"pg_catalog.pg_has_role('pg_read_server_files', 'MEMBER'), "
	"pg_catalog.pg_has_role('pg_write_all_data', 'MEMBER'), "
	"pg_catalog.pg_has_role('pg_read_all_data', 'MEMBER') "
	"FROM pg_catalog.pg_roles WHERE rolname = current_user";

static bool is_true(const struct rows *rows, int column)
{
	const char *value = rows_value(rows, 0, column);

	return value != NULL && *value == 't';
}

/* Adds "WHAT" and its line for everything that is too much; true if anything is. */
static bool gather_excess(const struct rows *rows, const char *role, char what[256],
			  char lines[LINES_MAX])
{
	size_t used = 0, used_lines = 0;

	for (size_t i = 0; i < sizeof(excesses) / sizeof(excesses[0]); i++) {
		const char *line = excesses[i].line, *at = strstr(line, "%s");

		if (!is_true(rows, COLUMN_EXCESS + (int)i))
			continue;
		used += (size_t)snprintf(what + used, 256 - used, "%s%s", used > 0 ? ", " : "",
					 excesses[i].what); /* eight short words fit */
		used_lines += (size_t)snprintf(
			lines + used_lines, LINES_MAX - used_lines, "%s%.*s%s%s",
			used_lines > 0 ? "\n" : "", (int)(at - line), line, role,
			at + 2); /* a role has 128 bytes at most, so eight lines fit */
	}
	return used > 0;
}

void check_role(struct check *c)
{
	struct rows *rows = check_query(c, "role", role_sql);
	const char *role = rows_value(rows, 0, COLUMN_ROLE);
	char what[256], lines[LINES_MAX], grant[256];

	if (role == NULL) {
		rows_free(rows);
		return;
	}
	(void)snprintf(grant, sizeof(grant), "GRANT pg_read_all_settings TO %.128s;",
		       role); /* fits */
	if (is_true(rows, COLUMN_SUPER))
		check_say(c, CHECK_WARNING, "role", ROLE_LINES,
			  "%s is a superuser: whoever gets its password has the server and the "
			  "machine's files",
			  role);
	else if (gather_excess(rows, role, what, lines))
		check_say(c, CHECK_WARNING, "role", lines, "%s may do more than a backup needs: %s",
			  role, what);
	else if (!is_true(rows, COLUMN_SETTINGS))
		check_say(c, CHECK_WARNING, "role", grant,
			  "%s can't see where the server's configuration lies: backups do not have "
			  "it",
			  role);
	else
		check_say(c, CHECK_OK, "role", NULL, "%s may do what a backup needs, and no more",
			  role);
	rows_free(rows);
}
