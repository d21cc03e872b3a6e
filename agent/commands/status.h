/* commands/status.h - what the two files of `pgagent status` share: what was found, and telling it. */
#ifndef COMMANDS_STATUS_H
#define COMMANDS_STATUS_H

#include "commands/check_stored.h"

struct status {
	struct check check; /* its links are where the reasons come from; quiet */
	struct stored stored;
	int64_t restorable_us; /* the last moment known to be restorable; 0 = none */
	int64_t from_us;       /* the first of the system's windows; 0 = not known */
	int64_t verified_us;   /* the latest that any backup was proven whole; 0 = never */
	int64_t now_us;
};

/* Tells all of it; the exit code. */
int status_report(struct status *);

#endif
