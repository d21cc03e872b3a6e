/* store/names.h - names of one directory, gathered and then sorted; for drivers. */
#ifndef STORE_NAMES_H
#define STORE_NAMES_H

#include "base/bytes.h"
#include "base/error.h"

#include <stdbool.h>

struct names {
	struct writer text; /* each name ends with NUL; of a directory it ends with '/' before */
	size_t count;
	const char **sorted; /* owned array of pointers into `text`, once sorted */
};

void names_init(struct names *);
void names_release(struct names *);

/* False: no memory, or more than some ten million names. */
bool names_add(struct names *, struct bytes name, bool is_directory) MUST_CHECK;

/* Fills `sorted`; false: no memory.  In the order of keys, "a.b" comes before what is in "a"; in
 * that of parts, "a" comes before "a.b". */
bool names_sort_as_keys(struct names *) MUST_CHECK;
bool names_sort_as_parts(struct names *) MUST_CHECK;

#endif
