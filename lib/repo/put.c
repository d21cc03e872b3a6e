/* repo/put.c - putting a small object with an answer that is never "perhaps". */
#include "repo/repo_internal.h"

#include <stdlib.h>

enum err repo_put(struct store *store, const char *key, struct bytes in, struct error *why)
{
	enum err e = store_put(store, key, in, why);
	struct error look; /* `why` keeps saying why it was unsure */
	uint8_t *found = NULL;
	size_t len = 0;

	if (e != ERR_UNSURE)
		return e;
	switch (store_get(store, key, in.len, &found, &len, &look)) {
	case ERR_NONE:
		if (len == in.len && (len == 0 || memcmp(found, in.data, len) == 0))
			e = ERR_NONE;
		else
			e = error_set(why, ERR_EXISTS, "cannot put %s: the name is taken", key);
		break;
	case ERR_LIMIT:
		e = error_set(why, ERR_EXISTS, "cannot put %s: the name is taken", key);
		break;
	case ERR_MISSING:
		e = error_set(why, ERR_TRANSIENT,
			      "cannot put %s: the store lost the request, nothing is there", key);
		break;
	default:
		break;
	}
	free(found);
	return e;
}
