/* repo/repo_internal.h - what the files of this room share about small objects. */
#ifndef REPO_REPO_INTERNAL_H
#define REPO_REPO_INTERNAL_H

#include "repo/repository.h"

/* store_put that settles ERR_UNSURE by reading back: what is there with these bytes is a success,
 * with others ERR_EXISTS, nothing there ERR_TRANSIENT.  Stays ERR_UNSURE when that read fails. */
enum err repo_put(struct store *, const char *key, struct bytes, struct error *why) MUST_CHECK;

/* Checks type and hmac of the record in `text`, which was read from `key`; *body is in `text`. */
enum err record_check(const uint8_t clear_key[CRYPTO_KEY_BYTES], const char *key, const char *type,
		      struct bytes text, struct bytes *body, struct error *why) MUST_CHECK;

#endif
