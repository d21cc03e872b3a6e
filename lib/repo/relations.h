/* repo/relations.h - the names of relations that a backup carries (FORMAT.md 9, `relations`).
 *
 * Immutable once read.  Where the backup does not say which number a database has, a file is taken for
 * a relation only when no other database has one of that number.
 */
#ifndef REPO_RELATIONS_H
#define REPO_RELATIONS_H

#include "pgformat/page.h"
#include "repo/manifest.h"

enum {
	RELATIONS_BYTES_MAX = 256 << 20, /* of the section; with more there are no names */
	RELATION_NAME_MAX = 3 * 64 * 4,  /* DATABASE.SCHEMA.NAME and NUL */
	RELATIONS_NEAR_MAX = 3
};

struct relations;
/* ERR_MISSING: the backup has no names; ERR_LIMIT: too many.  ERR_CORRUPT. */
enum err relations_read(const struct cluster *, const struct manifest *, struct relations **out,
			struct error *why) MUST_CHECK;
void relations_free(struct relations *); /* NULL is fine */

struct relation {
	const char *database, *schema, *name; /* until relations_free */
	uint32_t database_oid;                /* 0 = shared, or not known */
	bool database_known;                  /* database_oid is what it says */
	uint32_t oid, number;                 /* relfilenumber; 0 = it has no file */
	char kind;                            /* pg_class.relkind */
};
/* The relation that a file belongs to. */
bool relations_of_file(const struct relations *, const struct relation_file *,
		       struct relation *out);
/* "DATABASE.SCHEMA.NAME"; "SCHEMA.NAME" where only one database has it. */
bool relations_find(const struct relations *, const char *text, struct relation *out);
/* The nearest names, nearest first; how many. */
size_t relations_near(const struct relations *, const char *text,
		      char out[RELATIONS_NEAR_MAX][RELATION_NAME_MAX]);
void relation_to_text(const struct relation *, char out[RELATION_NAME_MAX]);
/* Whether the main fork's file belongs to it. */
bool relation_has_file(const struct relation *, const struct relation_file *);

#endif
