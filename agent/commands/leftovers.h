/* commands/leftovers.h - settings of an earlier recovery in a server that is writable again.
 *
 * They do nothing until somebody makes a standby or a copy of the server: that stops at the old target, or
 * reads an archive for a restore that is long over.
 */
#ifndef COMMANDS_LEFTOVERS_H
#define COMMANDS_LEFTOVERS_H

#include "postgres/session.h"

struct leftovers {
	size_t count;
	char names[512];            /* "a, b" */
	char lines[ERROR_HINT_MAX]; /* what takes them away, one line each */
};

/* None in a server that is in recovery.  What ALTER SYSTEM RESET took away already does not count, as far as
 * the role may see that. */
enum err leftovers_find(struct session *, struct leftovers *out, struct error *why) MUST_CHECK;

#endif
