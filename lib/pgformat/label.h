/* pgformat/label.h - backup_label, tablespace_map, .backup files, postgresql.auto.conf lines.
 *
 * Source: src/backend/access/transam/xlogbackup.c, xlogrecovery.c (read_backup_label).
 */
#ifndef PGFORMAT_LABEL_H
#define PGFORMAT_LABEL_H

#include "pgformat/lsn.h"

struct backup_label {
	struct lsn start;
	char start_segment[WAL_NAME_MAX];
	struct lsn checkpoint;
	uint32_t timeline;
	bool from_standby;
	struct lsn incremental_from; /* 0 = not incremental (17+) */
	uint32_t incremental_from_timeline;
	struct lsn stop; /* only in .backup files, else 0 */
};
/* Fields in any order, unknown lines passed over; without a start LSN: ERR_CORRUPT. */
enum err backup_label_decode(struct bytes text, struct backup_label *out,
			     struct error *why) MUST_CHECK;

/* The label of an incremental backup as that of a whole one: without its INCREMENTAL lines, which
 * a server refuses to start from.  All else stays byte for byte. */
void backup_label_make_whole(struct bytes text, struct writer *);

/* One "OID PATH" line of tablespace_map after another; `visit` gets the unescaped path, not
 * NUL-terminated by the format but given so. */
enum err tablespace_map_decode(struct bytes text,
			       enum err (*visit)(void *ctx, uint32_t oid, const char *path,
						 struct error *why),
			       void *ctx, struct error *why) MUST_CHECK;
void tablespace_map_line(struct writer *, uint32_t oid, const char *path);

/* "name = 'value'\n" with quotes and backslashes as guc-file.l reads them; a newline in `value`
 * makes the writer bad. */
void conf_line(struct writer *, const char *name, const char *value);

/* Walks lines of a postgresql.conf-like text; `visit` gets name (lower case) and unquoted value.  A line that includes
 * others comes under its keyword: "include", "include_if_exists", "include_dir".  Garbage is passed over. */
enum err conf_decode(struct bytes text,
		     enum err (*visit)(void *ctx, const char *name, const char *value,
				       struct error *why),
		     void *ctx, struct error *why) MUST_CHECK;

#endif
