/* repo/sweep_internal.h - what the sweeps of packs and of WAL share. */
#ifndef REPO_SWEEP_INTERNAL_H
#define REPO_SWEEP_INTERNAL_H

#include "repo/sweep.h"

/* Whether a plan takes this backup as removed. */
bool sweep_is_without(const struct sweep_options *, const struct attempt *);

/* Says, after the reason in `why`, that `what` is removed while this backup can't be read, and what
 * to do about it; the answer is the kind of `why`. */
enum err sweep_refuse_unreadable(const struct cluster *, const struct attempt *, const char *what,
				 struct error *why) MUST_CHECK;

#endif
