/* base/file.h - whole operations on files: read all, write all, publish durably.
 *
 * Publishing, the only way anything of ours becomes visible: a temporary of an exclusive name in
 * the same directory -> write -> fsync -> close (checked) -> link without replacing -> fsync of
 * the directory -> unlink of the temporary.  After success the file survives a power cut; after
 * failure nothing is visible under the name, except that ERR_UNSURE says it may be: read it back.
 * ERR_EXISTS: the name is taken, durably, by what somebody else put there.  A failed fsync is final: the temporary is thrown
 * away and never synced again (see "fsync" in lib/base/README.md).
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/files.h"
#include "base/random.h"

#include <limits.h>

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

/* The directory that holds `path`: "a/b" -> "a", "b" -> ".", "/b" -> "/". */
enum err file_parent(const char *path, char out[PATH_MAX], struct error *why) MUST_CHECK;

/* Temporaries are named FILE_TEMP_PREFIX <pid> "-" <16 hex digits>, in the directory of what they
 * become. */
#define FILE_TEMP_PREFIX ".tmp-"

/* True for such a name (without its directory) when no process of its number is there any more: nobody
 * writes it, unless where processes are not seen from here, in another container or on another host.  Any
 * other name is false. */
bool file_temp_is_left(const char *name);
/* True for such a name, whoever made it. */
bool file_temp_is_name(const char *name);

/* A file on its way to being published, for what comes in pieces.  Its life is
 * begin append* (publish | replace | abandon); the first two end it whatever the answer. */
struct file_temp {
	struct files *files; /* borrowed until the end */
	int dir;             /* likewise */
	int fd;
	uint64_t len; /* bytes written */
	char path[PATH_MAX];
};

/* After a failure there is nothing to abandon. */
enum err file_temp_begin(struct file_temp *, struct files *, struct random *, int dir,
			 const char *path, mode_t mode, struct error *why) MUST_CHECK;
enum err file_temp_append(struct file_temp *, struct bytes, struct error *why) MUST_CHECK;
/* `path` is in the directory of the one given to begin. */
enum err file_temp_publish(struct file_temp *, const char *path, struct error *why) MUST_CHECK;
/* Takes the place of what is at `path`, likewise in its directory, without any fsync: nobody sees half
 * of it, but a power cut may leave the old file, or the new one cut short.  For a reader that syncs
 * what it keeps.  Ends the temporary whatever the answer. */
enum err file_temp_replace_unsynced(struct file_temp *, const char *path,
				    struct error *why) MUST_CHECK;
void file_temp_abandon(struct file_temp *);

/* Publishes `in` as `path` below `dir` with `mode`.  ERR_EXISTS when the name is taken. */
enum err file_publish(struct files *, struct random *, int dir, const char *path, struct bytes in,
		      mode_t mode, struct error *why) MUST_CHECK;

/* Like file_publish, but takes the place of what is there (rename).  ERR_UNSURE when the directory
 * could not be synced afterwards: the new file is there, a power cut may bring the old one back. */
enum err file_replace(struct files *, struct random *, int dir, const char *path, struct bytes in,
		      mode_t mode, struct error *why) MUST_CHECK;

#endif
