/* restore/export_internal.h - what the files of an export share. */
#ifndef RESTORE_EXPORT_INTERNAL_H
#define RESTORE_EXPORT_INTERNAL_H

#include "base/file.h"
#include "restore/export.h"
#include "restore/restore_internal.h"

/* ---- outputs: where the tars go ---- */

/* One file being written, or the stream. */
struct export_output {
	char name[40];         /* in the directory; "" for a file or a stream */
	uint32_t oid;          /* of a tablespace's tar; else 0 */
	struct file_temp temp; /* unused for a stream */
	bool begun, published;
	const struct export_request *request;
	struct tar_writer *tar; /* NULL: backup_manifest, which is none */
	uint8_t *buffer;        /* small writes are gathered */
	size_t held;
	uint64_t bytes;
};
enum { OUTPUT_BUFFER_BYTES = 64 << 10, OUTPUTS_MAX = RESTORE_TABLESPACES_MAX + 3 };

struct export_outputs {
	const struct env *env;
	const struct export_request *request;
	int dir;   /* of the directory, or AT_FDCWD */
	bool made; /* the directory is ours */
	struct export_output *output;
	size_t count;
	struct export_output *base, *wal, *manifest; /* the same one for a file or a stream */
};
/* Refuses what is in the way and what does not fit into the free space. */
enum err outputs_open(struct export_outputs *, const struct env *, const struct export_request *,
		      const struct summary *, uint64_t bytes_needed, struct error *why) MUST_CHECK;
/* The tar of a record's path, and the path in it: NULL for what is no member (a tablespace's own
 * directory). */
struct export_output *outputs_route(struct export_outputs *, struct bytes path,
				    struct bytes *member);
enum err output_push(void *output, struct bytes, struct error *why) MUST_CHECK;
/* Ends the tars, makes everything durable, then visible, base.tar last. */
enum err outputs_publish(struct export_outputs *, struct error *why) MUST_CHECK;
/* After a failure nothing of ours is left. */
void outputs_close(struct export_outputs *);

/* ---- files: from the pages to the tars ---- */

enum err export_files(const struct source *, const struct table *, struct export_outputs *,
		      unsigned jobs, struct export_result *, struct error *why) MUST_CHECK;

/* ---- WAL ---- */

/* The segments from the start to the stop of the backup are there: else ERR_CORRUPT. */
enum err export_wal_check(const struct env *, const struct wal_archive *, const struct summary *,
			  struct history *path, struct error *why) MUST_CHECK;
/* History files, then segments, each with its "done" mark as pg_basebackup -X writes them. */
enum err export_wal(const struct env *, const struct wal_archive *, const struct summary *,
		    const struct history *path, struct export_outputs *,
		    struct error *why) MUST_CHECK;
uint64_t export_wal_segments(const struct summary *);

/* A member of `output`, its content at once. */
enum err export_member(struct export_output *, const struct tar_entry *, struct bytes,
		       struct error *why) MUST_CHECK;

#endif
