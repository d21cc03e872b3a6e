/* repo/relations.c - from the file of a relation to its name, and back. */
#include "repo/relations.h"
#include "base/text.h"
#include "repo/lines.h"

#include <stdio.h>
#include <stdlib.h>

enum { FIELDS = 7, NEAR_DISTANCE_MAX = 4, BLOCK_BYTES = 64 << 10 };

struct entry {
	const char *database, *schema, *name;
	uint32_t oid, number, tablespace;
	char kind;
};

struct database {
	const char *name;
	uint32_t oid;
};

struct relations {
	struct entry *entry; /* owned; by number */
	size_t count, max;
	struct database *database; /* owned; those whose number is known */
	size_t databases, databases_max;
	char **block; /* owned; strings, each with its NUL */
	size_t blocks, blocks_max;
	size_t used; /* bytes of the last block */
};

static enum err no_memory(struct error *why)
{
	return error_set(why, ERR_MEMORY, "names of relations: out of memory");
}

/* Room for one more element. */
static bool room(void **array, size_t used, size_t *max, size_t size)
{
	size_t more = *max == 0 ? 64 : *max * 2;
	void *bigger;

	if (used < *max)
		return true;
	bigger = reallocarray(*array, more, size);
	if (bigger == NULL)
		return false;
	*array = bigger;
	*max = more;
	return true;
}

/* A copy that lives as long as the relations; NULL = no memory. */
static const char *keep(struct relations *r, const char *text)
{
	size_t len = strlen(text) + 1;
	char *to;

	if (len > BLOCK_BYTES)
		return NULL;
	if (r->blocks == 0 || BLOCK_BYTES - r->used < len) {
		if (!room((void **)&r->block, r->blocks, &r->blocks_max, sizeof(*r->block)))
			return NULL;
		r->block[r->blocks] = malloc(BLOCK_BYTES);
		if (r->block[r->blocks] == NULL)
			return NULL;
		r->blocks++;
		r->used = 0;
	}
	to = r->block[r->blocks - 1] + r->used;
	memcpy(to, text, len);
	r->used += len;
	return to;
}

static bool to_u32(const char *text, uint32_t *out)
{
	uint64_t value;

	if (!text_to_u64(bytes_of_text(text), &value) || value > UINT32_MAX)
		return false;
	*out = (uint32_t)value;
	return true;
}

/* Cuts `value` at its tabs; false: not `count` fields. */
static bool cut(char *value, char *field[], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char *tab = strchr(value, '\t');

		field[i] = value;
		if ((tab == NULL) != (i + 1 == count))
			return false;
		if (tab != NULL) {
			*tab = '\0';
			value = tab + 1;
		}
	}
	return true;
}

static enum err add_database(struct relations *r, char *value, struct error *why)
{
	struct database *to;
	char *field[2];
	uint32_t oid;

	if (!cut(value, field, 2) || !to_u32(field[0], &oid))
		return error_set(why, ERR_CORRUPT, "names of relations: a line about a database");
	if (!room((void **)&r->database, r->databases, &r->databases_max, sizeof(*r->database)))
		return no_memory(why);
	to = &r->database[r->databases];
	*to = (struct database){keep(r, field[1]), oid};
	if (to->name == NULL)
		return no_memory(why);
	r->databases++;
	return ERR_NONE;
}

static enum err add_relation(struct relations *r, char *value, struct error *why)
{
	struct entry *to;
	char *field[FIELDS];

	if (!room((void **)&r->entry, r->count, &r->max, sizeof(*r->entry)))
		return no_memory(why);
	to = &r->entry[r->count];
	if (!cut(value, field, FIELDS) || !to_u32(field[1], &to->oid) ||
	    !to_u32(field[2], &to->number) || !to_u32(field[4], &to->tablespace))
		return error_set(why, ERR_CORRUPT, "names of relations: a line about a relation");
	to->kind = field[3][0];
	/* Lines of one database follow each other. */
	to->database = r->count > 0 && strcmp(to[-1].database, field[0]) == 0 ? to[-1].database
									      : keep(r, field[0]);
	to->schema = keep(r, field[5]);
	to->name = keep(r, field[6]);
	if (to->database == NULL || to->schema == NULL || to->name == NULL)
		return no_memory(why);
	r->count++;
	return ERR_NONE;
}

static enum err add_line(void *ctx, const char *name, const char *value, struct error *why)
{
	char copy[4096];

	if (strlen(value) >= sizeof(copy))
		return error_set(why, ERR_CORRUPT, "names of relations: a line is too long");
	memcpy(copy, value, strlen(value) + 1);
	if (strcmp(name, "relation") == 0)
		return add_relation(ctx, copy, why);
	if (strcmp(name, "database") == 0)
		return add_database(ctx, copy, why);
	return ERR_NONE;
}

static enum err add_frame(void *ctx, struct bytes frame, struct error *why)
{
	return lines_walk(frame, add_line, ctx, why);
}

static int by_number(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;

	return (a->number > b->number) - (a->number < b->number);
}

enum err relations_read(const struct cluster *cluster, const struct manifest *m,
			struct relations **out, struct error *why)
{
	const struct section *section = manifest_section(m, SECTION_RELATIONS);
	struct relations *r;
	enum err e;

	if (section == NULL)
		return error_set(why, ERR_MISSING, "the backup has no names of relations");
	if (section->plain_bytes > RELATIONS_BYTES_MAX)
		return error_set(why, ERR_LIMIT, "the backup has too many names of relations");
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return no_memory(why);
	e = section_walk(cluster, m, SECTION_RELATIONS, add_frame, r, why);
	if (e != ERR_NONE) {
		relations_free(r);
		return e;
	}
	if (r->count > 1)
		qsort(r->entry, r->count, sizeof(*r->entry), by_number);
	*out = r;
	return ERR_NONE;
}

void relations_free(struct relations *r)
{
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->blocks; i++)
		free(r->block[i]);
	free(r->block);
	free(r->database);
	free(r->entry);
	free(r);
}

/* pg_global's oid: its relations are in every database, and their files in none. */
enum { GLOBAL_TABLESPACE = 1664 };

static void fill(const struct relations *r, const struct entry *entry, struct relation *out)
{
	*out = (struct relation){.database = entry->database,
				 .schema = entry->schema,
				 .name = entry->name,
				 .database_known = entry->tablespace == GLOBAL_TABLESPACE,
				 .oid = entry->oid,
				 .number = entry->number,
				 .kind = entry->kind};
	for (size_t i = 0; i < r->databases && !out->database_known; i++) {
		if (strcmp(r->database[i].name, entry->database) != 0)
			continue;
		out->database_oid = r->database[i].oid;
		out->database_known = true;
	}
}

bool relation_has_file(const struct relation *relation, const struct relation_file *file)
{
	return relation->number != 0 && relation->number == file->number &&
	       (!relation->database_known || relation->database_oid == file->database);
}

bool relations_of_file(const struct relations *r, const struct relation_file *file,
		       struct relation *out)
{
	size_t low = 0, high = r->count, found = 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (r->entry[middle].number < file->number)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < r->count && r->entry[low].number == file->number; low++) {
		struct relation relation;

		fill(r, &r->entry[low], &relation);
		if (!relation_has_file(&relation, file))
			continue;
		*out = relation;
		if (relation.database_known)
			return true;
		found++;
	}
	return found == 1;
}

void relation_to_text(const struct relation *relation, char out[RELATION_NAME_MAX])
{
	(void)snprintf(out, RELATION_NAME_MAX, "%s.%s.%s", relation->database, relation->schema,
		       relation->name); /* names are at most 63 bytes */
}

static void entry_to_text(const struct entry *entry, bool with_database,
			  char out[RELATION_NAME_MAX])
{
	(void)snprintf(out, RELATION_NAME_MAX, "%s%s%s.%s", with_database ? entry->database : "",
		       with_database ? "." : "", entry->schema, entry->name); /* as above */
}

bool relations_find(const struct relations *r, const char *text, struct relation *out)
{
	char name[RELATION_NAME_MAX];
	size_t found = 0;

	for (size_t i = 0; i < r->count; i++) {
		entry_to_text(&r->entry[i], true, name);
		if (strcmp(name, text) == 0) {
			fill(r, &r->entry[i], out);
			return true;
		}
	}
	for (size_t i = 0; i < r->count; i++) {
		entry_to_text(&r->entry[i], false, name);
		if (strcmp(name, text) != 0)
			continue;
		fill(r, &r->entry[i], out);
		found++;
	}
	return found == 1;
}

size_t relations_near(const struct relations *r, const char *text,
		      char out[RELATIONS_NEAR_MAX][RELATION_NAME_MAX])
{
	unsigned distance[RELATIONS_NEAR_MAX] = {0};
	const char *dot = strrchr(text, '.');
	const char *last = dot != NULL ? dot + 1 : text;
	size_t near = 0;

	for (size_t i = 0; i < r->count; i++) {
		char full[RELATION_NAME_MAX];
		/* The same table elsewhere is nearer than another one here. */
		unsigned d = strcmp(r->entry[i].name, last) == 0
				     ? 0
				     : text_distance(r->entry[i].name, last, NEAR_DISTANCE_MAX);
		size_t at = near;

		if (d >= NEAR_DISTANCE_MAX || d >= strlen(last))
			continue;
		while (at > 0 && distance[at - 1] > d)
			at--;
		if (at == RELATIONS_NEAR_MAX)
			continue;
		near = near < RELATIONS_NEAR_MAX ? near + 1 : near;
		for (size_t n = near - 1; n > at; n--) {
			distance[n] = distance[n - 1];
			memcpy(out[n], out[n - 1], RELATION_NAME_MAX);
		}
		entry_to_text(&r->entry[i], true, full);
		memcpy(out[at], full, RELATION_NAME_MAX);
		distance[at] = d;
	}
	return near;
}
