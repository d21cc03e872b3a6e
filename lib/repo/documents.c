/* repo/documents.c - puts the documents where they are missing.  Objects are never overwritten: a text that
 * has changed gets a name of its own.
 */
#include "repo/documents.h"
#include "repo/repo_internal.h"

#include <stdio.h>
#include <stdlib.h>

static const char folder[] = "docs/1/";

/* Whether the object holds these bytes. */
static enum err is_same(struct store *store, const char *key, struct bytes text, bool *out,
			struct error *why)
{
	uint8_t *found = NULL;
	size_t len = 0;
	enum err e = store_get(store, key, DOCUMENT_BYTES_MAX, &found, &len, why);

	*out = e == ERR_NONE && len == text.len && memcmp(found, text.data, len) == 0;
	free(found);
	return e == ERR_LIMIT ? ERR_NONE : e;
}

enum err documents_put(struct store *store, const struct document *document, size_t count,
		       const char *version, size_t *put, struct error *why)
{
	char key[STORE_KEY_MAX];

	*put = 0;
	for (size_t i = 0; i < count; i++) {
		const struct document *d = &document[i];
		const char *dot = strrchr(d->name, '.');
		size_t stem = dot != NULL ? (size_t)(dot - d->name) : strlen(d->name);
		bool same = false;
		enum err e;

		(void)snprintf(key, sizeof(key), "%s%s", folder, d->name);
		e = is_same(store, key, d->text, &same, why);
		if (e == ERR_NONE && same)
			continue;
		if (e == ERR_NONE)
			(void)snprintf(key, sizeof(key), "%s%.*s-%s%s", folder, (int)stem, d->name,
				       version, d->name + stem);
		else if (e != ERR_MISSING)
			return e;
		e = repo_put(store, key, d->text, why);
		if (e != ERR_NONE && e != ERR_EXISTS)
			return error_add(why, "putting %s", key);
		*put += e == ERR_NONE;
	}
	return ERR_NONE;
}
