/* repo/fanout.h - a store that writes to several: one sealing serves a family of repositories.
 *
 * What is put goes to all of them with the same bytes; reading, stat, list and parts ask the first.
 * Committing is not atomic over them: the first failure is the answer, uploads after it are
 * abandoned, and what earlier ones made visible stays; ERR_UNSURE and ERR_EXISTS become
 * ERR_TRANSIENT, since looking at the key would look into the first only.  That is fine for packs, which are garbage
 * until a manifest refers to them, and wrong for anything that decides.
 */
#ifndef REPO_FANOUT_H
#define REPO_FANOUT_H

#include "store/store.h"

enum { FANOUT_STORES_MAX = 16 };

/* The stores are borrowed and stay open after store_close of `out`.  ERR_LIMIT above
 * FANOUT_STORES_MAX. */
enum err fanout_new(struct store *const *stores, size_t n, struct store **out,
		    struct error *why) MUST_CHECK;

#endif
