/* backup/about_collations.c - by what the server sorts text: a library that sorts otherwise makes indexes
 * answer wrongly, and no checksum tells.
 */
#include "backup/backup_internal.h"
#include "repo/lines.h"

enum { LINE_MAX_BYTES = 1024 };

/* The columns of pg_database differ from version to version.  A database's name may hold anything, so it
 * comes last. */
static const char databases_sql[] =
	"SELECT CASE datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' "
	"ELSE datlocprovider::text END, coalesce(datcollversion, '-'), "
	"coalesce(pg_catalog.to_jsonb(d)->>'datlocale', pg_catalog.to_jsonb(d)->>'daticulocale', "
	"datcollate), datname FROM pg_catalog.pg_database d ORDER BY oid LIMIT 10000";
/* Any collation of a library tells its version, but the C locale has none. */
static const char libraries_sql[] =
	"SELECT name, version FROM (VALUES ('libc', (SELECT "
	"pg_catalog.pg_collation_actual_version(oid) FROM pg_catalog.pg_collation WHERE collprovider "
	"= 'c' AND pg_catalog.pg_collation_actual_version(oid) IS NOT NULL LIMIT 1)), ('icu', "
	"(SELECT pg_catalog.pg_collation_actual_version(oid) FROM pg_catalog.pg_collation WHERE "
	"collprovider = 'i' AND pg_catalog.pg_collation_actual_version(oid) IS NOT NULL LIMIT 1))) "
	"AS library (name, version) WHERE version IS NOT NULL";

static enum err add_line(struct pack_writer *packs, const char *name, const struct rows *rows,
			 int row, struct error *why)
{
	struct writer line, value;
	enum err e;

	writer_init(&line, FRAME_SECTION_MAX);
	writer_init(&value, LINE_MAX_BYTES);
	for (int i = 0; i < rows_columns(rows); i++)
		writer_text(&value, "%s%s", i > 0 ? "\t" : "", rows_value(rows, row, i));
	writer_u8(&value, 0);
	if (!value.bad)
		lines_put(&line, name, (const char *)value.data);
	e = value.bad || line.bad
		    ? error_set(why, ERR_MEMORY, "list of collations: out of memory")
		    : pack_section_add(packs, SECTION_COLLATIONS, writer_view(&line), why);
	writer_release(&value);
	writer_release(&line);
	return e;
}

static enum err add_lines(const struct env *env, struct session *session, struct pack_writer *packs,
			  const char *name, const char *sql, struct error *why)
{
	struct rows *rows = NULL;
	enum err e = session_query(session, sql, &rows, why);

	if (e != ERR_NONE)
		return about_not_kept(env, "versions of collations", e, why);
	for (int i = 0; e == ERR_NONE && i < rows_count(rows); i++)
		e = add_line(packs, name, rows, i, why);
	rows_free(rows);
	return e;
}

enum err about_collations(const struct env *env, struct session *session, struct pack_writer *packs,
			  struct error *why)
{
	enum err e = add_lines(env, session, packs, "library", libraries_sql, why);

	return e == ERR_NONE ? add_lines(env, session, packs, "collation", databases_sql, why) : e;
}
