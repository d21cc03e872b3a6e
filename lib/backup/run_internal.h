/* backup/run_internal.h - one run of a backup, as its control flow and its description see it. */
#ifndef BACKUP_RUN_INTERNAL_H
#define BACKUP_RUN_INTERNAL_H

#include "backup/backup_internal.h"

struct run {
	const struct env *env;
	const struct backup_request *request;
	struct error *why;
	struct session *session;
	struct system_identity system;
	struct identity identity;
	struct cluster cluster[BACKUP_REPOSITORIES_MAX];
	size_t clusters;
	struct attempt attempt;
	char attempt_text[ATTEMPT_TEXT_MAX];
	struct keeper *keeper;
	struct adoption *adoption;
	struct parent_map *parent;    /* NULL = none */
	struct renewal renewal;       /* what of it is stored again */
	struct lookup *lookup;        /* in it; NULL with no parent */
	bool incremental;             /* the server sends what changed since the parent */
	struct truncations truncated; /* since the parent; of an incremental backup */
	char why_full[ERROR_TEXT_MAX];
	struct composer *composer; /* incremental only, as the image */
	struct image *image;
	struct streamer *streamer;
	struct base_backup *source;
	struct manifest *manifest;
	struct pack_writer *packs;
	struct seen *seen;
	struct builder *builder;
	struct pipeline *pipeline;
	struct batch **batch;
	struct worker **worker;
	unsigned items, workers;
	struct base_backup_end end;
	bool on_standby; /* that is read, as it said once the pins were there */
	uint64_t wal_bytes;
	bool committed; /* in at least one repository */
};

/* Behind W1, before anything is read. */
enum err run_outlast_sweeps(struct run *) MUST_CHECK;
/* Before the backup begins, so that its slot holds the WAL from before its start; leaves the streamer NULL
 * where no second walsender is free. */
enum err run_open_stream(struct run *) MUST_CHECK;
/* W5, whoever brings the WAL. */
enum err run_bring_wal(struct run *) MUST_CHECK;

/* Everything about the backup that is known before it is committed; closes the last pack. */
enum err run_describe(struct run *, int64_t started_us) MUST_CHECK;

#endif
