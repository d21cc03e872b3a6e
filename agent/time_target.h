/* time_target.h - the moment a person means with --to-time.
 *
 *	2026-11-23 14:05:00.5+01:00	ISO 8601, ' ' or 'T', offset or Z
 *	2026-11-23 14:05 Europe/Paris	a zone of the time zone database
 *	2026-11-23 14:05		the caller's local zone ($TZ, /etc/localtime)
 *	1 hour 10 minutes ago		before `now`
 *
 * An hour that exists twice (clocks set back) and one that does not exist (set forward) are
 * refused with what may be meant.  Uses the process's zone state: one thread only, at startup.
 */
#ifndef TIME_TARGET_H
#define TIME_TARGET_H

#include "base/clock.h"
#include "base/error.h"

#include <stdbool.h>

enum { TIME_TARGET_TEXT_MAX = 160 };

/* Microseconds since 1970 UTC; ERR_CONFIG for all that can't be understood.  `now_us` is the
 * server's clock; only relative times use it. */
enum err time_target_from_text(const char *text, int64_t now_us, int64_t *out_us,
			       struct error *why) MUST_CHECK;

/* An hour alone ("07:00", "07:00 Europe/Paris"), which is refused: the last such moment until `now_us`, as it may
 * be written, an offset with it where there was no zone.  False: it is no such thing. */
bool time_target_with_date(const char *text, int64_t now_us, char out[TIME_TARGET_TEXT_MAX]);

/* True when the text counts back from now, so that the server's clock is needed. */
bool time_target_is_relative(const char *text);

/* "2026-11-23 13:05:00 UTC = 2026-11-23 14:05:00+01:00 (CET) local time". */
void time_target_to_text(int64_t us, char out[TIME_TARGET_TEXT_MAX]);

/* True for a name of the time zone database, as "Europe/Paris", and for "UTC". */
bool time_zone_is_known(const char *name);

#endif
