/* backup/about.c - what a restore needs to know of the server beyond its files: settings, the
 * configuration that lies outside the data directory, and which file is which relation.
 *
 * All of it is best effort over an ordinary connection: a role that may only replicate still gets
 * a backup, and an event says what is missing and which GRANT adds it.
 */
#include "backup/backup_internal.h"
#include "base/text.h"
#include "pgformat/page.h"
#include "repo/lines.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { DATABASES_MAX = 10000, RELATION_LINE_MAX = 1024 };

/* The five that a hot standby needs at least as high, and what decides how recovery behaves. */
static const char settings_sql[] =
	"SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings "
	"WHERE (setting IS DISTINCT FROM boot_val AND context <> 'internal') OR name IN "
	"('max_connections', 'max_worker_processes', 'max_wal_senders', "
	"'max_prepared_transactions', 'max_locks_per_transaction', 'wal_level', "
	"'archive_mode', 'archive_command', 'server_version', 'server_encoding', "
	"'lc_collate', 'lc_ctype', 'shared_preload_libraries') ORDER BY name";

enum err about_not_kept(const struct env *env, const char *what, enum err e,
			const struct error *why)
{
	if (e == ERR_CANCELLED || e == ERR_MEMORY)
		return e;
	observer_event(env->observer, LEVEL_INFO, "%s: not kept in the backup: %s", what,
		       why->text);
	return ERR_NONE;
}

static enum err collect_settings(const struct env *env, struct session *session,
				 struct pack_writer *packs, struct summary *summary,
				 struct error *why)
{
	static const struct {
		const char *name;
		size_t at;
	} paths[] = {
		{"data_directory", offsetof(struct summary, data_directory)},
		{"config_file", offsetof(struct summary, config_file)},
		{"hba_file", offsetof(struct summary, hba_file)},
		{"ident_file", offsetof(struct summary, ident_file)},
	};
	struct rows *rows = NULL;
	struct writer line;
	enum err e = session_query(session, settings_sql, &rows, why);

	if (e != ERR_NONE)
		return about_not_kept(env, "settings", e, why);
	writer_init(&line, FRAME_SECTION_MAX);
	for (int i = 0; e == ERR_NONE && i < rows_count(rows); i++) {
		const char *name = rows_value(rows, i, 0);
		const char *value = rows_value(rows, i, 1);

		if (name == NULL || value == NULL)
			continue;
		for (size_t p = 0; p < sizeof(paths) / sizeof(paths[0]); p++)
			if (strcmp(name, paths[p].name) == 0)
				(void)snprintf((char *)summary + paths[p].at, 1024, "%s", value);
		writer_reset(&line);
		lines_put(&line, name, value);
		e = line.bad ? error_set(why, ERR_LIMIT, "setting %s is too long", name)
			     : pack_section_add(packs, SECTION_SETTINGS, writer_view(&line), why);
	}
	writer_release(&line);
	rows_free(rows);
	return e;
}

/* Whom a restored server lets in: it may have no role named postgres.  The first of all can't be dropped. */
static enum err collect_superuser(const struct env *env, struct session *session,
				  struct summary *summary, struct error *why)
{
	struct rows *rows = NULL;
	enum err e = session_query(session,
				   "SELECT rolname FROM pg_catalog.pg_roles WHERE rolsuper AND "
				   "rolcanlogin ORDER BY oid LIMIT 1",
				   &rows, why);

	if (e != ERR_NONE)
		return about_not_kept(env, "name of a superuser", e, why);
	if (rows_count(rows) > 0 && rows_value_len(rows, 0, 0) < sizeof(summary->superuser))
		(void)snprintf(summary->superuser, sizeof(summary->superuser), "%s",
			       rows_value(rows, 0, 0));
	rows_free(rows);
	return ERR_NONE;
}

/* One text file of the server, where the role may read it; its absence is no failure. */
static enum err collect_file(const struct env *env, struct session *session,
			     struct pack_writer *packs, const char *section, const char *path,
			     struct error *why)
{
	const char *params[] = {path};
	struct rows *rows = NULL;
	struct error denied;
	enum err e = ERR_NONE;

	if (path[0] == '\0')
		return ERR_NONE;
	if (session_query_params(session, "SELECT pg_catalog.pg_read_file($1)", 1, params, &rows,
				 &denied) != ERR_NONE) {
		observer_event(env->observer, LEVEL_DEBUG, "%s not kept in the backup: %s", path,
			       denied.text);
		return ERR_NONE;
	}
	if (rows_value(rows, 0, 0) != NULL && rows_value_len(rows, 0, 0) <= FRAME_SECTION_MAX)
		e = pack_section_add(packs, section,
				     bytes_of(rows_value(rows, 0, 0), rows_value_len(rows, 0, 0)),
				     why);
	rows_free(rows);
	return e;
}

/* Their names, so that a restore can be told where each goes in the words of its owner. */
static enum err collect_tablespaces(const struct env *env, struct session *session,
				    struct pack_writer *packs, struct error *why)
{
	struct rows *rows = NULL;
	struct writer line;
	enum err e =
		session_query(session,
			      "SELECT oid, spcname FROM pg_catalog.pg_tablespace WHERE spcname "
			      "NOT IN ('pg_default', 'pg_global') ORDER BY oid",
			      &rows, why);

	if (e != ERR_NONE)
		return about_not_kept(env, "names of tablespaces", e, why);
	writer_init(&line, RELATION_LINE_MAX);
	for (int i = 0; e == ERR_NONE && i < rows_count(rows); i++) {
		writer_reset(&line);
		lines_putf(&line, "tablespace", "%s\t%s", rows_value(rows, i, 0),
			   rows_value(rows, i, 1));
		e = line.bad
			    ? error_set(why, ERR_MEMORY, "list of tablespaces: out of memory")
			    : pack_section_add(packs, SECTION_TABLESPACES, writer_view(&line), why);
	}
	writer_release(&line);
	rows_free(rows);
	return e;
}

static const char relations_sql[] =
	"SELECT c.oid, pg_catalog.pg_relation_filenode(c.oid), c.relkind, c.reltablespace, "
	"n.nspname, c.relname, CASE WHEN c.relisshared THEN 0 ELSE d.oid END FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
	"ON n.oid = c.relnamespace CROSS JOIN pg_catalog.pg_database d WHERE d.datname = "
	"pg_catalog.current_database() AND c.relkind IN ('r', 'i', 't', 'S', 'm', 'p', 'I')";

/* Gives the files with wrong checksums that belong to this relation its name, so that a person is
 * told of a table and not of a number. */
static enum err name_bad_files(struct summary *summary, const char *database,
			       const struct rows *rows, int row, struct error *why)
{
	uint64_t number, owner;

	if (summary->bad_files == 0 || rows_value(rows, row, 1) == NULL ||
	    !text_to_u64(bytes_of_text(rows_value(rows, row, 1)), &number) ||
	    !text_to_u64(bytes_of_text(rows_value(rows, row, 6)), &owner))
		return ERR_NONE;
	for (size_t i = 0; i < summary->bad_files; i++) {
		struct relation_file file;
		char *named;

		/* What has a name already is no path any more. */
		if (!relation_file_from_path(summary->bad_file[i], &file) ||
		    file.number != number || file.database != owner)
			continue;
		if (asprintf(&named, "%s\t%s.%s.%s", summary->bad_file[i], database,
			     rows_value(rows, row, 4), rows_value(rows, row, 5)) < 0)
			return error_set(why, ERR_MEMORY, "names of damaged files: out of memory");
		free(summary->bad_file[i]);
		summary->bad_file[i] = named;
	}
	return ERR_NONE;
}

static enum err collect_relations(const struct env *env, struct session *session,
				  const char *database, struct pack_writer *packs,
				  struct summary *summary, struct error *why)
{
	struct rows *rows = NULL;
	struct writer line, value;
	enum err e = session_query(session, relations_sql, &rows, why);

	if (e != ERR_NONE)
		return about_not_kept(env, database, e, why);
	writer_init(&line, FRAME_SECTION_MAX);
	writer_init(&value, RELATION_LINE_MAX);
	for (int i = 0; e == ERR_NONE && i < rows_count(rows); i++) {
		const char *filenode = rows_value(rows, i, 1);

		writer_reset(&value);
		writer_reset(&line);
		writer_text(&value, "%s\t%s\t%s\t%s\t%s\t%s\t%s", database, rows_value(rows, i, 0),
			    filenode != NULL ? filenode : "0", rows_value(rows, i, 2),
			    rows_value(rows, i, 3), rows_value(rows, i, 4), rows_value(rows, i, 5));
		writer_u8(&value, 0);
		if (!value.bad)
			lines_put(&line, "relation", (const char *)value.data);
		if (value.bad || line.bad)
			e = error_set(why, ERR_MEMORY, "list of relations: out of memory");
		else
			e = pack_section_add(packs, SECTION_RELATIONS, writer_view(&line), why);
		if (e == ERR_NONE)
			e = name_bad_files(summary, database, rows, i, why);
	}
	writer_release(&value);
	writer_release(&line);
	rows_free(rows);
	return e;
}

/* A session in `database`, or in the one the connection string names when NULL. */
static enum err open_sql(const struct env *env, const char *conninfo, const char *database,
			 struct session **out, struct error *why)
{
	struct session_options options = {
		.conninfo = conninfo, .kind = SESSION_SQL, .database = database};

	return session_open(env, &options, out, why);
}

/* Its number: a file's path has that, and lines of relations have the name. */
static enum err keep_database(const struct rows *rows, int row, struct pack_writer *packs,
			      struct error *why)
{
	struct writer line;
	enum err e;

	writer_init(&line, FRAME_SECTION_MAX);
	lines_putf(&line, "database", "%s\t%s", rows_value(rows, row, 1), rows_value(rows, row, 0));
	e = line.bad ? error_set(why, ERR_MEMORY, "list of databases: out of memory")
		     : pack_section_add(packs, SECTION_RELATIONS, writer_view(&line), why);
	writer_release(&line);
	return e;
}

static enum err collect_databases(const struct env *env, const char *conninfo,
				  struct session *session, struct pack_writer *packs,
				  struct summary *summary, struct error *why)
{
	struct rows *rows = NULL;
	enum err e =
		session_query(session,
			      "SELECT datname, oid FROM pg_catalog.pg_database WHERE datallowconn "
			      "AND pg_catalog.has_database_privilege(datname, 'CONNECT') "
			      "ORDER BY oid LIMIT 10000",
			      &rows, why);

	if (e != ERR_NONE)
		return about_not_kept(env, "names of databases", e, why);
	for (int i = 0; e == ERR_NONE && i < rows_count(rows) && i < DATABASES_MAX; i++) {
		const char *database = rows_value(rows, i, 0);
		struct session *there = NULL;
		struct error denied;

		if (*env->cancelled)
			e = error_set(why, ERR_CANCELLED, "backup: stopped on request");
		else if (open_sql(env, conninfo, database, &there, &denied) != ERR_NONE)
			observer_event(env->observer, LEVEL_INFO,
				       "names of relations in database \"%s\" not kept: %s",
				       database, denied.text);
		else
			e = keep_database(rows, i, packs, why);
		if (e == ERR_NONE && there != NULL)
			e = collect_relations(env, there, database, packs, summary, why);
		session_close(there);
	}
	rows_free(rows);
	return e;
}

enum err about_collect(const struct env *env, const char *conninfo, struct pack_writer *packs,
		       struct summary *summary, struct error *why)
{
	static const char *const databases[] = {NULL, "postgres", "template1"};
	struct session *session = NULL;
	struct error denied;
	enum err e = ERR_MISSING;

	for (size_t i = 0; i < sizeof(databases) / sizeof(databases[0]) && e != ERR_NONE; i++)
		e = open_sql(env, conninfo, databases[i], &session, &denied);
	if (e != ERR_NONE) {
		observer_event(env->observer, LEVEL_INFO,
			       "settings and names of relations not kept in the backup, no "
			       "database can be opened: %s",
			       denied.text);
		return ERR_NONE;
	}
	e = collect_settings(env, session, packs, summary, why);
	if (e == ERR_NONE && summary->data_directory[0] == '\0')
		observer_event(env->observer, LEVEL_INFO,
			       "paths of the configuration not kept in the backup: GRANT "
			       "pg_read_all_settings TO %s",
			       session_user(session));
	if (e == ERR_NONE)
		e = collect_superuser(env, session, summary, why);
	if (e == ERR_NONE)
		e = collect_file(env, session, packs, "hba", summary->hba_file, why);
	if (e == ERR_NONE)
		e = collect_file(env, session, packs, "ident", summary->ident_file, why);
	if (e == ERR_NONE)
		e = collect_file(env, session, packs, "conf", summary->config_file, why);
	if (e == ERR_NONE)
		e = collect_tablespaces(env, session, packs, why);
	if (e == ERR_NONE)
		e = about_collations(env, session, packs, why);
	if (e == ERR_NONE)
		e = collect_databases(env, conninfo, session, packs, summary, why);
	session_close(session);
	return e;
}
