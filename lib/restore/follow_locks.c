/* restore/follow_locks.c - which tables nobody can read at a target, since a transaction that was cut off there
 * had locked them: the server holds its AccessExclusiveLocks until it is promoted.
 */
#include "postgres/session.h"
#include "restore/follow_internal.h"

#include <stdio.h>

#define HELD                                                                                       \
	"FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid AND "      \
	"a.backend_type = 'startup' "

static const char databases[] =
	"SELECT DISTINCT d.datname " HELD
	"JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datallowconn "
	"WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.granted "
	"ORDER BY 1";

/* Indexes and what is behind a table are locked with it. */
static const char tables[] =
	"SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) " HELD
	"JOIN pg_catalog.pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p', 'm', 'f') "
	"JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname <> 'pg_toast' "
	"JOIN pg_catalog.pg_database d ON d.oid = l.database "
	"AND d.datname = pg_catalog.current_database() "
	"WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.granted "
	"ORDER BY 1";

static void see_tables(struct follow *f, const char *name)
{
	struct restore_started *out = f->out;
	struct session *session = NULL;
	struct rows *rows = NULL;
	struct error ignored; /* what nobody may look into is not named */

	if (follow_session(f, name, &session) &&
	    session_query(session, tables, &rows, &ignored) == ERR_NONE)
		for (int i = 0; i < rows_count(rows); i++)
			if (out->locks++ < RESTORE_LOCKS_MAX) {
				struct restore_lock *lock = &out->lock[out->locks - 1];

				(void)snprintf(lock->database, sizeof(lock->database), "%s", name);
				(void)snprintf(lock->table, sizeof(lock->table), "%s",
					       rows_value(rows, i, 0)); /* cut: still a name */
			}
	rows_free(rows);
	session_close(session);
}

void follow_locks(struct follow *f)
{
	struct rows *rows = NULL;
	struct error ignored; /* a server that does not say is not paused by us */

	if (session_query(f->session, databases, &rows, &ignored) == ERR_NONE)
		for (int i = 0; i < rows_count(rows); i++)
			see_tables(f, rows_value(rows, i, 0));
	rows_free(rows);
}
