/* lock.h - one run of a kind at a time on this host: flock on a file in the state directory.
 *
 * The lock ends with the process, however it ends; the file stays.
 */
#ifndef LOCK_H
#define LOCK_H

#include "base/env.h"
#include "base/error.h"

struct lock {
	int fd; /* -1: not held */
};

/* Takes `name` ("backup-main"); makes the directory when it is missing.  ERR_EXISTS when another
 * process holds it, named in the text: exit with EXIT_LOCKED.  Never waits. */
enum err lock_take(struct lock *, const struct env *, const char *directory, const char *name,
		   struct error *why) MUST_CHECK;
void lock_release(struct lock *); /* one that is not held is fine */

#endif
