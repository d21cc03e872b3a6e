/* base/file.h - whole operations on files: read all, write all, publish durably.
 *
 * Publishing, the only way anything of ours becomes visible: a temporary of an exclusive name in
 * the same directory -> write -> fsync -> close (checked) -> link without replacing -> fsync of
 * the directory -> unlink of the temporary.  After success the file survives a power cut; after
 * failure nothing is visible under the name.  A failed fsync is final: the temporary is thrown
 * away and never synced again (see "fsync" in lib/base/README.md).
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/files.h"
#include "base/random.h"

/* Reads a whole file of at most `max` bytes into new memory; free() it.  One NUL is put behind
 * the bytes and is not counted.  ERR_LIMIT when it is larger. */
enum err file_read_all(struct files *, int dir, const char *path, size_t max, uint8_t **out,
		       size_t *len, struct error *why) MUST_CHECK;

/* Reads exactly `len` bytes; ERR_CORRUPT when the file ends early. */
enum err file_pread(struct files *, int fd, void *out, size_t len, uint64_t offset,
		    struct error *why) MUST_CHECK;

/* Writes all of `in`, going on after short writes. */
enum err file_pwrite(struct files *, int fd, struct bytes in, uint64_t offset,
		     struct error *why) MUST_CHECK;

/* Opens `path` below `dir` as a directory, fsyncs it, closes it. */
enum err file_sync_dir(struct files *, int dir, const char *path, struct error *why) MUST_CHECK;

/* Creates every missing directory of `path` below `dir` with `mode`; fsyncs the parent of each one
 * made.  An existing directory is fine. */
enum err file_make_dirs(struct files *, int dir, const char *path, mode_t mode,
			struct error *why) MUST_CHECK;

/* Publishes `in` as `path` below `dir` with `mode`.  ERR_EXISTS when the name is taken. */
enum err file_publish(struct files *, struct random *, int dir, const char *path, struct bytes in,
		      mode_t mode, struct error *why) MUST_CHECK;

/* Like file_publish, but takes the place of what is there (rename). */
enum err file_replace(struct files *, struct random *, int dir, const char *path, struct bytes in,
		      mode_t mode, struct error *why) MUST_CHECK;

#endif
