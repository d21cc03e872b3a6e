/* base/secret.h - key material that is wiped, not dumped, and has no formatter.
 *
 * Holds up to SECRET_MAX bytes in place; the memory is excluded from core dumps by the process
 * (agent sets PR_SET_DUMPABLE 0).  Copy with secret_set only; release wipes.
 */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include "base/bytes.h"
#include "base/error.h"

enum { SECRET_MAX = 1024 }; /* bytes: a passphrase, or a key file with white space around it */

struct secret {
	uint8_t data[SECRET_MAX];
	size_t len;
};

enum err secret_set(struct secret *, struct bytes, struct error *why) MUST_CHECK;
void secret_release(struct secret *); /* wiped with explicit_bzero; an empty one is fine */

static inline struct bytes secret_view(const struct secret *s)
{
	return bytes_of(s->data, s->len);
}

#endif
