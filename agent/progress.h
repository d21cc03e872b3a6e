/* progress.h - one live line on a terminal: phase, bytes, share, rate, time left.
 *
 * Written at most five times a second, erased before anything else goes to stderr.
 */
#ifndef PROGRESS_H
#define PROGRESS_H

#include "base/clock.h"
#include "base/observer.h"

#include <stdbool.h>
#include <stdio.h>

struct progress_line {
	struct clock *clock;
	FILE *err;
	bool on;
	bool shown;             /* the line is on the screen now */
	const char *phase;      /* of the last call; a new one starts the figures anew */
	int64_t phase_began_us; /* monotonic */
	int64_t written_us;     /* monotonic; 0 = never */
	uint64_t began_bytes;   /* done_bytes when the phase began */
};

void progress_init(struct progress_line *, struct clock *, FILE *err, bool on);
void progress_show(struct progress_line *, const struct progress *);
void progress_erase(struct progress_line *);

enum { PROGRESS_TEXT_MAX = 160 };
/* "backup  1.2 GiB of 3.0 GiB  40 %  180 MiB/s  10.2 s left".  `seconds` and `new_bytes`: how long
 * this phase has run, and what it did in that time. */
void progress_text(const struct progress *, int64_t elapsed_us, uint64_t new_bytes,
		   char out[PROGRESS_TEXT_MAX]);

#endif
