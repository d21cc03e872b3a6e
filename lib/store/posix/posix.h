/* store/posix/posix.h - a store in a directory of a local or network file system.
 *
 * Publishing is base/file.h's: temporary ".tmp-<pid>-<random>" -> fsync -> link -> fsync of the
 * directory.  Where link(2) is refused, renameat2(RENAME_NOREPLACE).  Directories 0700, objects
 * 0600 (0640 and 0750 when the root directory is group-readable).  Listing reads directory by
 * directory, sorted; nothing else is kept in memory.
 */
#ifndef STORE_POSIX_H
#define STORE_POSIX_H

#include "store/store.h"

/* Opens `path` (absolute).  ERR_MISSING when there is no such directory, unless `create`: then it
 * and its missing parents are made.  `env` is borrowed until close. */
enum err store_posix_open(const struct env *env, const char *path, bool create, struct store **out,
			  struct error *why) MUST_CHECK;

/* Removes temporaries older than `age_us` (wall clock) or, when they were not
 * written to for 15 minutes, whose process is not seen on this host. */
enum err store_posix_sweep(struct store *, int64_t age_us, struct error *why) MUST_CHECK;

/* Removes each directory below `prefix`, which ends with '/', in which there was nothing for `age_us` (wall
 * clock). */
enum err store_posix_sweep_dirs(struct store *, const char *prefix, int64_t age_us,
				struct error *why) MUST_CHECK;

/* Free bytes for this user on the store's file system. */
enum err store_posix_free_bytes(struct store *, uint64_t *out, struct error *why) MUST_CHECK;

#endif
