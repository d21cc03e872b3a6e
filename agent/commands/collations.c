/* commands/collations.c - reads and tells the section of collations (FORMAT.md 9). */
#include "commands/collations.h"
#include "repo/lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

enum { SECTION_BYTES_MAX = 16 << 20, SAID_MAX = 20, FIELDS = 4 };

static void copy(char *out, size_t size, const char *from)
{
	(void)snprintf(out, size, "%s", strcmp(from, "-") != 0 ? from : ""); /* cut is still text */
}

static enum err add_collation(struct collations *all, char *field[FIELDS], struct error *why)
{
	struct collation *more = realloc(all->collation, (all->count + 1) * sizeof(*more));
	struct collation *one;

	if (more == NULL)
		return error_set(why, ERR_MEMORY, "collations: out of memory");
	all->collation = more;
	one = &more[all->count];
	*one = (struct collation){.database = strdup(field[3])};
	if (one->database == NULL)
		return error_set(why, ERR_MEMORY, "collations: out of memory");
	copy(one->provider, sizeof(one->provider), field[0]);
	copy(one->version, sizeof(one->version), field[1]);
	copy(one->locale, sizeof(one->locale), field[2]);
	all->count++;
	return ERR_NONE;
}

/* Lines of names that came later are passed over, and so are those with fewer fields. */
static enum err take_line(void *ctx, const char *name, const char *value, struct error *why)
{
	struct collations *all = ctx;
	char *line = strdup(value), *field[FIELDS], *rest = line;
	size_t count = 0;
	enum err e = ERR_NONE;

	if (line == NULL)
		return error_set(why, ERR_MEMORY, "collations: out of memory");
	while (count < FIELDS - 1 && rest != NULL)
		field[count++] = strsep(&rest, "\t");
	if (rest != NULL)
		field[count++] = rest;
	if (strcmp(name, "library") == 0 && count == 2 && strcmp(field[0], "libc") == 0)
		copy(all->libc, sizeof(all->libc), field[1]);
	else if (strcmp(name, "library") == 0 && count == 2 && strcmp(field[0], "icu") == 0)
		copy(all->icu, sizeof(all->icu), field[1]);
	else if (strcmp(name, "collation") == 0 && count == FIELDS)
		e = add_collation(all, field, why);
	free(line);
	return e;
}

enum err collations_parse(struct bytes text, struct collations *out, struct error *why)
{
	*out = (struct collations){.count = 0};
	return lines_walk(text, take_line, out, why);
}

enum err collations_read(const struct cluster *cluster, const struct manifest *manifest,
			 struct collations *out, struct error *why)
{
	uint8_t *text = NULL;
	size_t len = 0;
	enum err e;

	*out = (struct collations){.count = 0};
	e = section_read(cluster, manifest, SECTION_COLLATIONS, SECTION_BYTES_MAX, &text, &len,
			 why);
	if (e == ERR_NONE)
		e = collations_parse(bytes_of(text, len), out, why);
	free(text);
	return e == ERR_MISSING ? ERR_NONE : e;
}

void collations_release(struct collations *all)
{
	for (size_t i = 0; i < all->count; i++)
		free(all->collation[i].database);
	free(all->collation);
	*all = (struct collations){.count = 0};
}

const char *collations_libc_here(void)
{
#ifdef __GLIBC__
	return gnu_get_libc_version();
#else
	return "";
#endif
}

bool collations_differ(const struct collations *all, const char *libc_here)
{
	return all->libc[0] != '\0' && strcmp(all->libc, libc_here) != 0;
}

void collations_say(struct report *r, const struct collations *all)
{
	for (size_t i = 0; i < all->count && i < SAID_MAX; i++) {
		const struct collation *one = &all->collation[i];

		report_text(r, "%-16s %s: %s of %s%s%s\n", i == 0 ? "collations" : "",
			    one->database, one->locale, one->provider,
			    one->version[0] != '\0' ? " " : "", one->version);
	}
	if (all->count > SAID_MAX)
		report_text(r, "%-16s and %zu more: --output json\n", "", all->count - SAID_MAX);
}

static json_t *text_or_null(const char *text)
{
	return report_json_text(text[0] != '\0' ? text : NULL);
}

json_t *collations_json(const struct collations *all)
{
	json_t *object = json_object(), *list = json_array();

	for (size_t i = 0; i < all->count; i++) {
		const struct collation *one = &all->collation[i];
		json_t *entry = json_object();

		report_put(entry, "database", report_json_text(one->database));
		report_put(entry, "provider", report_json_text(one->provider));
		report_put(entry, "locale", report_json_text(one->locale));
		report_put(entry, "version", text_or_null(one->version));
		(void)json_array_append_new(list, entry); /* without memory the dump fails */
	}
	report_put(object, "libc", text_or_null(all->libc));
	report_put(object, "icu", text_or_null(all->icu));
	report_put(object, "databases", list);
	return object;
}
