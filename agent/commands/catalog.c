/* commands/catalog.c - one list of backups out of several repositories. */
#include "commands/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reading {
	struct catalog *catalog;
	const struct place *place;
	struct cluster cluster; /* that is being listed */
	const char *name;       /* NULL = every one */
	bool hidden;            /* these too */
	unsigned bit;
};

static size_t index_of(const struct catalog *catalog, uint64_t system,
		       const struct attempt *attempt)
{
	size_t i = 0;

	while (i < catalog->count &&
	       (attempt_compare(&catalog->entry[i].summary.attempt, attempt) != 0 ||
		catalog->entry[i].summary.system_identifier != system))
		i++;
	return i;
}

const struct catalog_entry *catalog_entry_of(const struct catalog *catalog, uint64_t system,
					     const struct attempt *attempt)
{
	size_t i = index_of(catalog, system, attempt);

	return i < catalog->count ? &catalog->entry[i] : NULL;
}

static size_t damage_index_of(const struct catalog *catalog, uint64_t system,
			      const struct attempt *attempt)
{
	size_t i = 0;

	while (i < catalog->damages &&
	       (attempt_compare(&catalog->damage[i].attempt, attempt) != 0 ||
		catalog->damage[i].system_identifier != system))
		i++;
	return i;
}

const struct catalog_damage *catalog_damage_of(const struct catalog *catalog, uint64_t system,
					       const struct attempt *attempt)
{
	size_t i = damage_index_of(catalog, system, attempt);

	return i < catalog->damages ? &catalog->damage[i] : NULL;
}

static enum err add_backup(void *ctx, const struct backup_info *info, struct error *why)
{
	struct reading *r = ctx;
	struct catalog *catalog = r->catalog;
	size_t at = index_of(catalog, info->summary->system_identifier, &info->summary->attempt);
	struct catalog_entry *entry = at < catalog->count ? &catalog->entry[at] : NULL;

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

/* Rare, so that one more at a time will do. */
static enum err add_damage(void *ctx, const struct backup_damage *info, struct error *why)
{
	struct reading *r = ctx;
	struct catalog *catalog = r->catalog;
	size_t at = damage_index_of(catalog, r->cluster.system_identifier, &info->attempt);
	struct catalog_damage *damage;
	char id[ATTEMPT_TEXT_MAX];

	attempt_to_text(&info->attempt, id);
	if (!r->hidden) /* who asks for all of one place tells it himself */
		observer_event(r->place->repository->env->observer, LEVEL_WARNING,
			       "backup %s is damaged in repository %s, it is passed over: %s", id,
			       place_name(r->place), info->reason->text);
	if (at == catalog->damages) {
		damage = reallocarray(catalog->damage, at + 1, sizeof(*damage));
		if (damage == NULL)
			return error_set(why, ERR_MEMORY, "no memory for %zu damaged backups", at);
		catalog->damage = damage;
		damage[at] =
			(struct catalog_damage){.attempt = info->attempt,
						.system_identifier = r->cluster.system_identifier};
		memcpy(damage[at].cluster, r->cluster.name, sizeof(damage[at].cluster));
		memcpy(damage[at].text, info->reason->text, sizeof(damage[at].text));
		catalog->damages++;
	}
	damage = &catalog->damage[at];
	damage->keep = damage->keep || info->keep;
	damage->places |= r->bit;
	return ERR_NONE;
}

static enum err add_cluster(void *ctx, const char *name, uint64_t system, struct error *why)
{
	struct reading *r = ctx;

	if (r->name != NULL && strcmp(name, r->name) != 0)
		return ERR_NONE;
	cluster_init(&r->cluster, r->place->repository, name, system);
	return backups_list_all(&r->cluster, r->hidden, add_backup, add_damage, r, why);
}

static int by_id(const void *a, const void *b)
{
	const struct catalog_damage *left = a, *right = b;

	return attempt_compare(&left->attempt, &right->attempt);
}

/* By when they were started; the name has the second only. */
static int by_age(const void *a, const void *b)
{
	const struct catalog_entry *left = a, *right = b;

	if (left->summary.started_us != right->summary.started_us)
		return left->summary.started_us < right->summary.started_us ? -1 : 1;
	return attempt_compare(&left->summary.attempt, &right->summary.attempt);
}

static enum err read_place(const struct places *places, size_t index, const char *name, bool hidden,
			   struct catalog *catalog, struct error *why)
{
	const struct place *place = &places->place[index];
	struct reading r = {.catalog = catalog,
			    .place = place,
			    .name = name,
			    .hidden = hidden,
			    .bit = 1u << index};
	enum err e = clusters_list(place->repository, add_cluster, &r, why);

	if (e != ERR_NONE)
		return error_add(why, "backups in repository %s", place_name(place));
	if (catalog->count > 1)
		qsort(catalog->entry, catalog->count, sizeof(*catalog->entry), by_age);
	if (catalog->damages > 1)
		qsort(catalog->damage, catalog->damages, sizeof(*catalog->damage), by_id);
	return ERR_NONE;
}

enum err catalog_read(const struct places *places, const char *name, struct catalog *out,
		      struct error *why)
{
	enum err e = ERR_NONE;

	*out = (struct catalog){.entry = NULL};
	for (size_t i = 0; i < places->count && e == ERR_NONE; i++)
		e = read_place(places, i, name, false, out, why);
	if (e != ERR_NONE)
		catalog_release(out);
	return e;
}

enum err catalog_read_place(const struct places *places, size_t index, const char *name,
			    struct catalog *out, struct error *why)
{
	enum err e;

	*out = (struct catalog){.entry = NULL};
	e = read_place(places, index, name, true, out, why);
	if (e != ERR_NONE)
		catalog_release(out);
	return e;
}

void catalog_release(struct catalog *catalog)
{
	free(catalog->entry);
	free(catalog->damage);
	*catalog = (struct catalog){.entry = NULL};
}

/* One that `text` may mean. */
static enum err meet(struct catalog_named *found, const struct catalog_named *next,
		     const char *text, struct error *why)
{
	char id[ATTEMPT_TEXT_MAX], first[ATTEMPT_TEXT_MAX];

	attempt_to_text(&next->attempt, id);
	if (*text == '\0' || strncmp(id, text, strlen(text)) != 0)
		return ERR_NONE;
	if (found->places != 0 && attempt_compare(&found->attempt, &next->attempt) != 0) {
		attempt_to_text(&found->attempt, first);
		return error_set(why, ERR_CONFIG,
				 "\"%s\" may be backup %s or %s: give more of the id", text, first,
				 id);
	}
	if (found->places == 0)
		*found = *next;
	else if (found->system_identifier == next->system_identifier)
		found->places |= next->places;
	return ERR_NONE;
}

static struct catalog_named of_entry(const struct catalog_entry *e)
{
	return (struct catalog_named){e->summary.attempt, e->summary.system_identifier,
				      e->summary.cluster, e->places};
}

enum err catalog_name(const struct catalog *catalog, const char *text, struct catalog_named *out,
		      struct error *why)
{
	struct catalog_named found = {.places = 0};
	char id[ATTEMPT_TEXT_MAX];
	enum err e = ERR_NONE;

	if (strcmp(text, "latest") == 0 && catalog->count > 0) {
		attempt_to_text(&catalog->entry[catalog->count - 1].summary.attempt, id);
		text = id;
	}
	for (size_t i = 0; i < catalog->count && e == ERR_NONE; i++) {
		struct catalog_named next = of_entry(&catalog->entry[i]);

		e = meet(&found, &next, text, why);
	}
	for (size_t i = 0; i < catalog->damages && e == ERR_NONE; i++) {
		const struct catalog_damage *d = &catalog->damage[i];
		struct catalog_named next = {d->attempt, d->system_identifier, d->cluster,
					     d->places};

		e = meet(&found, &next, text, why);
	}
	if (e == ERR_NONE && found.places == 0) {
		(void)error_set(why, ERR_MISSING, "there is no backup \"%s\"", text);
		error_hint(why, "see which there are: pgagent list");
		return ERR_MISSING;
	}
	if (e == ERR_NONE)
		*out = found;
	return e;
}

enum err catalog_find(const struct catalog *catalog, const char *text,
		      const struct catalog_entry **out, struct error *why)
{
	const struct catalog_entry *entry;
	struct catalog_named named;
	enum err e = catalog_name(catalog, text, &named, why);
	char id[ATTEMPT_TEXT_MAX];

	if (e != ERR_NONE)
		return e;
	entry = catalog_entry_of(catalog, named.system_identifier, &named.attempt);
	if (entry == NULL) {
		attempt_to_text(&named.attempt, id);
		(void)error_set(
			why, ERR_CORRUPT, "backup %s is damaged: %s", id,
			catalog_damage_of(catalog, named.system_identifier, &named.attempt)->text);
		error_hint(why, "the others are untouched by this: pgagent list");
		return ERR_CORRUPT;
	}
	*out = entry;
	return ERR_NONE;
}

void catalog_places(const struct places *places, unsigned bits, char *out, size_t size)
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < places->count && at < size; i++)
		if ((bits & (1u << i)) != 0)
			at += (size_t)snprintf(out + at, size - at, "%s%s", at > 0 ? ", " : "",
					       place_name(&places->place[i]));
}
