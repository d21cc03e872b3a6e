/* programs.h - the two files that pgagent consists of, and where each finds the other.
 *
 * `pgagent` is what people and PostgreSQL start; it does what needs no server.  `pgagent-whole` has
 * every command, is started by `pgagent` only, and lies beside it (as built) or in libexec (as
 * installed).  Both places follow from the running program's own path, so an installation may be
 * moved as a whole.
 */
#ifndef PROGRAMS_H
#define PROGRAMS_H

#include "base/error.h"

#include <limits.h>

/* The absolute path of `pgagent`, to be written into command lines for others, whichever of the
 * two is running. */
enum err programs_front(char out[PATH_MAX], struct error *why) MUST_CHECK;

/* Becomes `pgagent-whole` with the same arguments, environment and files; returns only when that
 * failed (ERR_MISSING: it is not there).  Call before signal handlers are set: a signal that was
 * caught here would be lost there. */
enum err programs_run_whole(char *const *argv, struct error *why) MUST_CHECK;

#endif
