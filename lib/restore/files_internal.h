/* restore/files_internal.h - what the files that write files share. */
#ifndef RESTORE_FILES_INTERNAL_H
#define RESTORE_FILES_INTERNAL_H

#include "base/pipeline.h"
#include "restore/restore_internal.h"

/* 16 MiB of one file, or an empty file. */
struct item {
	uint32_t file, shard;
	uint32_t crc; /* once written */
};

struct job {
	const struct source *source;
	const struct table *table;
	const struct target *target;
	struct item *item;
	size_t items;
	size_t *chunk; /* first item of each, and the end */
	size_t chunks;
	bool *fresh;           /* by file of several items: nothing of it was there */
	pthread_mutex_t mutex; /* guards what follows */
	struct hand *hand;     /* `hands` of them, each with the chunks that it will do */
	unsigned hands;
	uint32_t *left; /* items of each file not written yet */
	struct progress progress;
	uint64_t reported, reused;
};

enum { COMPARE_BYTES = 1 << 20 };

/* One thread's. */
struct hand {
	struct job *job;
	struct fetcher *fetcher;
	uint8_t *compare; /* COMPARE_BYTES; when what is there is reused */
	size_t at, end;   /* chunks it has not begun; others help when they have none left */
};

/* True when the writer writes this record. */
bool file_is_ours(const struct file_record *);
/* Who owns a file but may not read it cannot open it again. */
bool file_is_synced_at_once(const struct file_record *);
/* Bytes of the file from that shard on, at most one shard's. */
uint64_t item_bytes(const struct file_record *, uint32_t shard);
enum err file_failed(struct error *, const struct target *, const struct file_record *, int answer,
		     const char *what);
/* Opens what a job makes or left there, without following links. */
enum err file_open(const struct target *, const struct file_record *, int flags, int *out,
		   struct error *why) MUST_CHECK;

/* A file on its way: made anew, or what was there.  Nobody else's name for a file is written through: one
 * with several links, or that cannot be read, is replaced. */
struct opened_file {
	int fd;
	bool fresh;
	uint64_t size; /* as it was; 0 when fresh */
	mode_t mode;   /* likewise */
};
enum err file_prepare(const struct target *, const struct file_record *, struct opened_file *,
		      struct error *why) MUST_CHECK;

/* ---- one shard, files_shard.c ---- */

/* Writes it into the opened file: all of it, or what differs from what is there.  `reused` gets the bytes
 * that were right. */
enum err shard_write(struct hand *, const struct item *, const struct opened_file *, uint32_t *crc,
		     uint64_t *reused, struct error *why) MUST_CHECK;

#endif
