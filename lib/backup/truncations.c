/* backup/truncations.c - relations that were cut off (or made) since the parent, as WAL summaries tell.
 *
 * What the server sends of such a relation can't be trusted, when it has grown again: it says how long
 * the file is and not how short it was (sendFile and GetFileBackupMethod in
 * src/backend/backup/basebackup_incremental.c, 17 and 18), so that blocks which were cut off and came
 * back as zeros would be taken from the parent; and it merges summaries in no particular order, so
 * that a truncation may undo changes that came after it.  The manifest it gets leaves these relations
 * out, and what is not in the manifest it sends whole.
 */
#include "backup/backup_internal.h"
#include "base/text.h"
#include "pgformat/page.h"

#include <stdio.h>
#include <stdlib.h>

/* pg_tablespace's own (src/include/catalog/pg_tablespace.dat). */
enum { TABLESPACE_DEFAULT = 1663, TABLESPACE_GLOBAL = 1664 };

/* Both ends inclusive, on every timeline: asking for too much costs reading, for too little pages. */
static const char query[] =
	"SELECT DISTINCT c.reltablespace, c.reldatabase, c.relfilenode, c.relforknumber "
	"FROM pg_catalog.pg_available_wal_summaries() s, "
	"LATERAL pg_catalog.pg_wal_summary_contents(s.tli, s.start_lsn, s.end_lsn) c "
	"WHERE c.is_limit_block AND s.end_lsn >= $1::pg_catalog.pg_lsn";

static bool take_u32(const struct rows *rows, int row, int column, uint32_t *out)
{
	const char *text = rows_value(rows, row, column);
	uint64_t value;

	if (text == NULL || !text_to_u64(bytes_of_text(text), &value) || value > UINT32_MAX)
		return false;
	*out = (uint32_t)value;
	return true;
}

static int compare(const void *a, const void *b)
{
	const struct relation_file *x = a, *y = b;

	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	if (x->database != y->database)
		return x->database < y->database ? -1 : 1;
	if (x->tablespace != y->tablespace)
		return x->tablespace < y->tablespace ? -1 : 1;
	return (int)x->fork - (int)y->fork;
}

static enum err take_rows(struct truncations *t, const struct rows *rows, struct error *why)
{
	int n = rows_count(rows);

	if (n > TRUNCATIONS_MAX)
		return error_set(why, ERR_LIMIT, "%d relations were made or cut off", n);
	t->relation = calloc((size_t)n + 1, sizeof(*t->relation));
	if (t->relation == NULL)
		return error_set(why, ERR_MEMORY, "incremental backup: out of memory");
	for (int i = 0; i < n; i++) {
		struct relation_file *r = &t->relation[i];
		uint32_t fork;

		if (!take_u32(rows, i, 0, &r->tablespace) || !take_u32(rows, i, 1, &r->database) ||
		    !take_u32(rows, i, 2, &r->number) || !take_u32(rows, i, 3, &fork) ||
		    fork > UINT8_MAX)
			return error_set(why, ERR_PEER, "WAL summaries: a row makes no sense");
		r->fork = (uint8_t)fork;
	}
	t->count = (size_t)n;
	if (n > 1)
		qsort(t->relation, t->count, sizeof(*t->relation), compare);
	return ERR_NONE;
}

enum err truncations_ask(const struct env *env, const char *conninfo, struct lsn since,
			 struct truncations *out, struct error *why)
{
	struct session_options options = {.conninfo = conninfo, .kind = SESSION_SQL};
	struct truncations asked = {.count = 0};
	struct session *session = NULL;
	struct rows *rows = NULL;
	char lsn[LSN_TEXT_MAX];
	const char *params[] = {lsn};
	enum err e = session_open(env, &options, &session, why);

	lsn_to_text(since, lsn);
	if (e == ERR_NONE)
		e = session_query_params(session, query, 1, params, &rows, why);
	if (e == ERR_NONE)
		e = take_rows(&asked, rows, why);
	rows_free(rows);
	session_close(session);
	if (e != ERR_NONE) {
		truncations_release(&asked);
		(void)error_add(why, "asking which relations were cut off");
		return e;
	}
	truncations_release(out);
	*out = asked;
	return ERR_NONE;
}

void truncations_release(struct truncations *t)
{
	free(t->relation);
	*t = (struct truncations){.count = 0};
}

static bool has(const struct truncations *t, const struct relation_file *relation)
{
	return t->count > 0 &&
	       bsearch(relation, t->relation, t->count, sizeof(*relation), compare) != NULL;
}

bool truncations_have(const struct truncations *t, const char *path)
{
	struct relation_file file;

	if (!relation_file_from_path(path, &file))
		return false;
	if (file.tablespace == 0)
		file.tablespace = file.database == 0 ? TABLESPACE_GLOBAL : TABLESPACE_DEFAULT;
	return has(t, &file);
}
