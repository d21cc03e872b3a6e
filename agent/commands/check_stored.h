/* commands/check_stored.h - the links of `check` and `status` about what is stored: told from what list tells.
 *
 * Only looks.
 */
#ifndef COMMANDS_CHECK_STORED_H
#define COMMANDS_CHECK_STORED_H

#include "commands/check.h"
#include "commands/windows.h"

struct stored {
	const struct places *places; /* whose bits the catalog's are; all opened */
	struct catalog catalog;
	struct window *window; /* owned; NULL = not known */
	size_t windows;
	/* Of the server's system identifier, or of the newest backup's where no server answers. */
	uint64_t system_identifier;
	const struct catalog_entry *newest; /* NULL = none */
	const struct window *current;       /* where the newest moment lies; NULL = none is known */
};

/* `places` stays the caller's, as long as `out` lives.  What can't be had is said, and left out. */
void stored_read(struct check *, const struct places *, struct stored *out);
/* What is wrong with it, link by link. */
void stored_judge(struct check *, const struct stored *);
void stored_release(struct stored *);

#endif
