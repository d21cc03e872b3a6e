/* tar/tar_writer.h - writing tars as the server and pg_basebackup write them (libarchive, ustar).
 *
 * Bytes are pushed.  A writer's life is open (entry data*)* finish close; an entry's data comes to exactly
 * its size before the next entry.  The first failure is final: the writer then takes only close.
 * Nothing is held back but a header; memory does not grow with the archive.
 */
#ifndef TAR_TAR_WRITER_H
#define TAR_TAR_WRITER_H

#include "tar/tar.h"

/* Takes all of `in`, borrowed until it returns. */
typedef enum err tar_push(void *ctx, struct bytes in, struct error *why);

struct tar_writer;
enum err tar_writer_open(tar_push *, void *ctx, struct tar_writer **out,
			 struct error *why) MUST_CHECK;
/* Owner and group are those that pg_basebackup writes ("postgres").  Sizes above TAR_USTAR_BYTES_MAX
 * are written in base 256.  ERR_LIMIT: a path or target that ustar can't hold. */
enum err tar_writer_entry(struct tar_writer *, const struct tar_entry *,
			  struct error *why) MUST_CHECK;
/* The next bytes of the current file. */
enum err tar_writer_data(struct tar_writer *, struct bytes, struct error *why) MUST_CHECK;
/* The two empty blocks of the end. */
enum err tar_writer_finish(struct tar_writer *, struct error *why) MUST_CHECK;
void tar_writer_close(struct tar_writer *); /* NULL is fine */

#define TAR_USTAR_BYTES_MAX ((UINT64_C(8) << 30) - 1)

/* Bytes that an entry takes in the archive, header and padding included. */
static inline uint64_t tar_entry_bytes(uint64_t size)
{
	return 512 + (size + 511) / 512 * 512;
}

#endif
