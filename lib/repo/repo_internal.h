/* repo/repo_internal.h - what the files of this room share about putting objects. */
#ifndef REPO_REPO_INTERNAL_H
#define REPO_REPO_INTERNAL_H

#include "store/store.h"

/* store_put that settles ERR_UNSURE by reading back: what is there with these bytes is a success,
 * with others ERR_EXISTS, nothing there ERR_TRANSIENT.  Stays ERR_UNSURE when that read fails. */
enum err repo_put(struct store *, const char *key, struct bytes, struct error *why) MUST_CHECK;

#endif
