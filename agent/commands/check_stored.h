/* commands/check_stored.h - the links of `check` and `status` about what is stored: told from what list tells.
 *
 * Only looks.
 */
#ifndef COMMANDS_CHECK_STORED_H
#define COMMANDS_CHECK_STORED_H

#include "commands/catalog.h"
#include "commands/check.h"

struct stored {
	const struct places *places; /* whose bits the catalog's are; all opened */
	struct catalog catalog;
};

/* `places` stays the caller's, as long as `out` lives.  False, and said, when the backups can't be listed. */
bool stored_read(struct check *, const struct places *, struct stored *out);
/* What is wrong with it, link by link. */
void stored_judge(struct check *, const struct stored *);
void stored_release(struct stored *);

#endif
