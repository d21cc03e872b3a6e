/* commands/catalog.c - one list of backups out of several repositories. */
#include "commands/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reading {
	struct catalog *catalog;
	const struct repository *repository;
	const char *name; /* NULL = every one */
	unsigned bit;
};

static struct catalog_entry *known(const struct catalog *catalog, const struct summary *s)
{
	for (size_t i = 0; i < catalog->count; i++) {
		const struct summary *own = &catalog->entry[i].summary;

		if (attempt_compare(&own->attempt, &s->attempt) == 0 &&
		    own->system_identifier == s->system_identifier)
			return &catalog->entry[i];
	}
	return NULL;
}

static enum err add_backup(void *ctx, const struct backup_info *info, struct error *why)
{
	struct reading *r = ctx;
	struct catalog *catalog = r->catalog;
	struct catalog_entry *entry = known(catalog, info->summary);

	if (entry == NULL) {
		if (catalog->count == catalog->capacity) {
			size_t capacity = catalog->capacity > 0 ? 2 * catalog->capacity : 16;

			entry = realloc(catalog->entry, capacity * sizeof(*entry));
			if (entry == NULL)
				return error_set(why, ERR_MEMORY, "no memory for %zu backups",
						 capacity);
			catalog->entry = entry;
			catalog->capacity = capacity;
		}
		entry = &catalog->entry[catalog->count++];
		*entry = (struct catalog_entry){.summary = *info->summary,
						.manifest_bytes = info->manifest_bytes};
		/* What these point to ends with the visit. */
		entry->summary.tablespace = NULL;
		entry->summary.bad_file = NULL;
	}
	entry->hidden = entry->hidden || info->hidden;
	entry->keep = entry->keep || info->keep;
	entry->places |= r->bit;
	return ERR_NONE;
}

static enum err add_cluster(void *ctx, const char *name, uint64_t system, struct error *why)
{
	struct reading *r = ctx;
	struct cluster cluster;

	if (r->name != NULL && strcmp(name, r->name) != 0)
		return ERR_NONE;
	cluster_init(&cluster, r->repository, name, system);
	return backups_list(&cluster, false, add_backup, r, why);
}

/* By when they were started; the name has the second only. */
static int by_age(const void *a, const void *b)
{
	const struct catalog_entry *left = a, *right = b;

	if (left->summary.started_us != right->summary.started_us)
		return left->summary.started_us < right->summary.started_us ? -1 : 1;
	return attempt_compare(&left->summary.attempt, &right->summary.attempt);
}

static enum err read_place(const struct places *places, size_t index, const char *name,
			   struct catalog *catalog, struct error *why)
{
	const struct place *place = &places->place[index];
	struct reading r = {.catalog = catalog,
			    .repository = place->repository,
			    .name = name,
			    .bit = 1u << index};
	enum err e = clusters_list(place->repository, add_cluster, &r, why);

	if (e != ERR_NONE)
		return error_add(why, "backups in repository %s", place_name(place));
	if (catalog->count > 1)
		qsort(catalog->entry, catalog->count, sizeof(*catalog->entry), by_age);
	return ERR_NONE;
}

enum err catalog_read(const struct places *places, const char *name, struct catalog *out,
		      struct error *why)
{
	enum err e = ERR_NONE;

	*out = (struct catalog){.entry = NULL};
	for (size_t i = 0; i < places->count && e == ERR_NONE; i++)
		e = read_place(places, i, name, out, why);
	if (e != ERR_NONE)
		catalog_release(out);
	return e;
}

enum err catalog_read_place(const struct places *places, size_t index, const char *name,
			    struct catalog *out, struct error *why)
{
	enum err e;

	*out = (struct catalog){.entry = NULL};
	e = read_place(places, index, name, out, why);
	if (e != ERR_NONE)
		catalog_release(out);
	return e;
}

void catalog_release(struct catalog *catalog)
{
	free(catalog->entry);
	*catalog = (struct catalog){.entry = NULL};
}

enum err catalog_find(const struct catalog *catalog, const char *text,
		      const struct catalog_entry **out, struct error *why)
{
	const struct catalog_entry *found = NULL;
	char id[ATTEMPT_TEXT_MAX], first[ATTEMPT_TEXT_MAX];
	bool latest = strcmp(text, "latest") == 0;

	for (size_t i = 0; i < catalog->count; i++) {
		attempt_to_text(&catalog->entry[i].summary.attempt, id);
		if (!latest && (*text == '\0' || strncmp(id, text, strlen(text)) != 0))
			continue;
		if (found != NULL && !latest) {
			(void)error_set(why, ERR_CONFIG,
					"\"%s\" may be backup %s or %s: give more of the id", text,
					first, id);
			return ERR_CONFIG;
		}
		found = &catalog->entry[i];
		memcpy(first, id, sizeof(first));
	}
	if (found == NULL) {
		(void)error_set(why, ERR_MISSING, "there is no backup \"%s\"", text);
		error_hint(why, "see which there are: pgagent list");
		return ERR_MISSING;
	}
	*out = found;
	return ERR_NONE;
}

void catalog_places(const struct places *places, const struct catalog_entry *entry, char *out,
		    size_t size)
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < places->count && at < size; i++)
		if ((entry->places & (1u << i)) != 0)
			at += (size_t)snprintf(out + at, size - at, "%s%s", at > 0 ? ", " : "",
					       place_name(&places->place[i]));
}
