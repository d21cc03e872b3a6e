/* backup/mapper_internal.h - what the two files of the mapper share. */
#ifndef BACKUP_MAPPER_INTERNAL_H
#define BACKUP_MAPPER_INTERNAL_H

#include "backup/backup_internal.h"

enum { NO_FRAME = UINT16_MAX };

/* A shard on its way. */
struct forming {
	struct shard shard;
	struct batch_origin origin;
	bool has_origin;
	uint32_t changed;    /* pages that are not as and where the parent has them */
	uint16_t open_frame; /* of the shard: the open page frame; or NO_FRAME */
	size_t ticket;
};

/* A shard in the open shard frame. */
struct open_ref {
	size_t ticket;
	uint32_t offset, len;
};

struct mapper {
	struct mapper_config config;
	struct parent_reader *bases;
	struct shard *base; /* of a patch at hand */
	struct compressor *compressor;
	uint8_t *packed;     /* compressor_bound(FRAME_SECTION_MAX) */
	struct forming *now; /* the shard at hand */
	struct forming *waiting[MAPPER_WAITING_MAX], *spare[MAPPER_WAITING_MAX + 1];
	uint32_t waitings, spares;
	uint8_t *loose; /* the open page frame, FRAME_PAGES_MAX */
	uint32_t loose_len;
	struct frame_ref frame;                 /* the batch's */
	uint16_t frame_index;                   /* of it in the shard at hand, or NO_FRAME */
	uint16_t index_of_old[SHARD_PAGES_MAX]; /* the parent's frames in the shard at hand */
	struct writer encoded, shards;          /* one shard; the open shard frame */
	struct open_ref *ref;                   /* grows with the shards of a frame */
	size_t refs, refs_max;
	struct frame_ref read_last; /* counted last in bytes_read */
	uint32_t used[SHARD_PAGES_MAX];
	struct mapper_totals totals;
};

/* Finds the place of a complete shard, whose frames all have theirs; `placed` is told now, or when the
 * open shard frame is written. */
enum err mapper_place(struct mapper *, const struct forming *, struct error *why) MUST_CHECK;
/* Writes the open shard frame and tells where its shards lie. */
enum err mapper_write_shards(struct mapper *, struct error *why) MUST_CHECK;
enum err mapper_no_memory(struct error *why);

#endif
