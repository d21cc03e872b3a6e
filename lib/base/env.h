/* base/env.h - everything outside the process that a run may touch, passed in together.
 *
 * All of it is borrowed and outlives the run.  Tests pass simulated parts.
 */
#ifndef BASE_ENV_H
#define BASE_ENV_H

#include "base/clock.h"
#include "base/files.h"
#include "base/observer.h"
#include "base/random.h"

struct env {
	struct clock *clock;
	struct random *random;
	struct files *files;
	struct observer *observer;
	/* Asked between steps of a run; non-zero = stop with ERR_CANCELLED.  Never NULL. */
	const volatile int *cancelled; /* set by a signal handler */
};

/* The operating system's parts, nobody observing, nothing cancelled. */
struct env env_os(void);

#endif
