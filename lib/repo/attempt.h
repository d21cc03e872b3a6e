/* repo/attempt.h - the name of one run of a backup: UTC time to the microsecond, and 44 random
 * bits. */
#ifndef REPO_ATTEMPT_H
#define REPO_ATTEMPT_H

#include "base/env.h"

#include <stdbool.h>

enum {
	ATTEMPT_BYTES = 16,
	ATTEMPT_TEXT_MAX = 34 /* "20261123T140500Z-0123456789abcdef" and NUL */
};

struct attempt {
	uint8_t id[ATTEMPT_BYTES]; /* FORMAT.md section 2 */
};

enum err attempt_new(const struct env *, struct attempt *out, struct error *why) MUST_CHECK;
void attempt_to_text(const struct attempt *, char out[ATTEMPT_TEXT_MAX]);
bool attempt_from_text(const char *text, struct attempt *out);
/* As text sorts: by time to the microsecond, then by the random part. */
int attempt_compare(const struct attempt *, const struct attempt *);
int64_t attempt_time_s(const struct attempt *); /* seconds since 1970 */

#endif
