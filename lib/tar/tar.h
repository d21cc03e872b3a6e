/* tar/tar.h - reading the server's tar streams (libarchive, tar format only).
 *
 * Bytes are pulled: the reader calls `pull` when it needs more.  Everything from the stream is
 * untrusted: names are normalised (no leading "./", no trailing "/") and refused with ERR_PEER when
 * absolute, empty, holding "..", a NUL, an empty part or more than TAR_PATH_MAX bytes; only files,
 * directories and symbolic links are let through.
 */
#ifndef TAR_TAR_H
#define TAR_TAR_H

#include "base/bytes.h"
#include "base/error.h"

#include <stdbool.h>

enum { TAR_PATH_MAX = 1024 };

/* Sets *out to the next bytes, borrowed until the next call; len 0 = end of the archive. */
typedef enum err tar_pull(void *ctx, struct bytes *out, struct error *why);

enum tar_kind { TAR_FILE, TAR_DIRECTORY, TAR_SYMLINK };

struct tar_entry {
	enum tar_kind kind;
	char path[TAR_PATH_MAX];
	char target[TAR_PATH_MAX]; /* of a symlink */
	uint32_t mode;             /* permission bits */
	int64_t modified_s;        /* seconds since 1970 */
	uint64_t size;             /* of a file */
};

struct tar_reader;
enum err tar_reader_open(tar_pull *, void *ctx, struct tar_reader **out,
			 struct error *why) MUST_CHECK;
/* ERR_MISSING: the archive is complete (its end marker was seen and no byte follows it that is
 * not zero); ERR_PEER: malformed or cut. */
enum err tar_reader_next(struct tar_reader *, struct tar_entry *out, struct error *why) MUST_CHECK;
/* The next bytes of the current file, borrowed until the next call; len 0 = all were given.
 * Exactly entry.size bytes come in all; fewer is ERR_PEER. */
enum err tar_reader_data(struct tar_reader *, struct bytes *out, struct error *why) MUST_CHECK;
void tar_reader_close(struct tar_reader *); /* NULL is fine */

#endif
