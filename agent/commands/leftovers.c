/* commands/leftovers.c - finds the settings that a recovery has left, by what they are set to. */
#include "commands/leftovers.h"

#include <stdio.h>
#include <string.h>

/* restore_command may stay in a server that is to be a standby one day; with the pin of a restore it was
 * written by one.  A value that only waits for a restart to be gone is gone. */
#define FOUND                                                                                      \
	"FROM pg_catalog.pg_settings s WHERE NOT pg_catalog.pg_is_in_recovery() AND NOT "          \
	"pending_restart AND ((name ~ '^recovery_target' AND setting IS DISTINCT FROM boot_val) "  \
	"OR (name = 'restore_command' AND setting ~ 'archive-get.* --pin ')) "
/* After a restore with --start the file is clean and the server has not read it again. */
#define STILL_IN_FILE                                                                              \
	"AND coalesce((SELECT f.setting IS DISTINCT FROM s.boot_val FROM "                         \
	"pg_catalog.pg_file_settings f WHERE f.name = s.name ORDER BY seqno DESC LIMIT 1), "       \
	"s.sourcefile IS NULL AND s.source <> 'default') "
#define SELECTED                                                                                   \
	"SELECT name, CASE WHEN sourcefile IS NULL OR sourcefile ~ 'postgresql[.]auto[.]conf$' "   \
	"THEN NULL ELSE sourcefile || ' line ' || sourceline END "

static void add(struct leftovers *l, const char *name, const char *where)
{
	size_t names = strlen(l->names), lines = strlen(l->lines);

	/* Six settings at most; paths that do not fit are cut. */
	(void)snprintf(l->names + names, sizeof(l->names) - names, "%s%s", names > 0 ? ", " : "",
		       name);
	if (where == NULL)
		(void)snprintf(l->lines + lines, sizeof(l->lines) - lines,
			       "ALTER SYSTEM RESET %s;\n", name);
	else
		(void)snprintf(l->lines + lines, sizeof(l->lines) - lines, "remove %s from %.64s\n",
			       name, where);
	l->count++;
}

enum err leftovers_find(struct session *session, struct leftovers *out, struct error *why)
{
	static const char may_read[] = "SELECT pg_catalog.has_function_privilege("
				       "'pg_catalog.pg_show_all_file_settings()', 'EXECUTE')";
	struct leftovers found = {.count = 0};
	struct rows *rows = NULL;
	const char *answer;
	bool files;
	enum err e = session_query(session, may_read, &rows, why);

	if (e != ERR_NONE)
		return e;
	answer = rows_value(rows, 0, 0);
	files = answer != NULL && *answer == 't';
	rows_free(rows);
	rows = NULL;
	e = session_query(session,
			  files ? SELECTED FOUND STILL_IN_FILE "ORDER BY name"
				: SELECTED FOUND "ORDER BY name",
			  &rows, why);
	for (int i = 0; e == ERR_NONE && i < rows_count(rows); i++)
		add(&found, rows_value(rows, i, 0), rows_value(rows, i, 1));
	rows_free(rows);
	if (e != ERR_NONE)
		return e;
	if (found.count > 0)
		strncat(found.lines, "SELECT pg_reload_conf();",
			sizeof(found.lines) - strlen(found.lines) - 1);
	*out = found;
	return ERR_NONE;
}
