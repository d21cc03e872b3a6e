/* repo/verify_internal.h - what the files of verification share. */
#ifndef REPO_VERIFY_INTERNAL_H
#define REPO_VERIFY_INTERNAL_H

#include "repo/pages.h"
#include "repo/verified_internal.h"
#include "repo/verify.h"
#include "repo/wal_object.h"

#include <pthread.h>

enum {
	VERIFY_READ_BYTES = 2 << 20, /* of a pack, at once */
	VERIFY_DAMAGE_PACK_MAX = 1024
};

/* ---- packs of all backups ---- */

struct verify_pack {
	struct pack_id id;
	uint64_t size;                       /* as manifests state it */
	uint64_t present;                    /* as the store lists it; UINT64_MAX = not there */
	uint8_t sha256[CRYPTO_SHA256_BYTES]; /* as manifests state it */
	int64_t proven_us;                   /* 0 = never, or damaged */
	uint32_t damages;                    /* entries of damage */
	bool in_scope, read;                 /* `read`: whole, in this run */
	bool needed;                         /* by a backup that is still there; set at the end */
	bool named;                          /* a finding tells of it */
	char *text;                          /* of its first damage; owned */
};

struct verify_table {
	struct verify_pack *pack; /* owned */
	uint32_t count, max;
	uint32_t *slot; /* owned; open addressing: index + 1, 0 = free */
	uint32_t slots; /* a power of two, at least twice the count */
};

enum err verify_table_add(struct verify_table *, const struct pack_entry *, uint32_t *index,
			  struct error *why) MUST_CHECK;
bool verify_table_find(const struct verify_table *, const struct pack_id *, uint32_t *index);
void verify_table_release(struct verify_table *);

/* ---- the run ---- */

struct verify_backup {
	struct attempt attempt, parent;
	bool has_parent, in_scope;
	bool unreadable; /* its manifest; a finding tells of it */
	bool wrong_map;  /* a finding tells of it */
	bool wal_bad;    /* between its start and its stop */
	int64_t maps_us; /* 0 = not yet */
	int64_t wal_us;  /* of its oldest proof between start and stop; 0 = not all read */
	uint64_t records;
	uint32_t timeline, segment_bytes;
	struct lsn start, stop;
};

struct verify_run {
	const struct cluster *cluster;
	const struct verify_options *options;
	struct verify_totals *totals;
	pthread_mutex_t mutex; /* guards totals, damage, progress and the table's packs */
	struct verify_table table;
	struct verify_backup *backup; /* owned; oldest first */
	size_t backups;
	struct verified *before; /* what earlier runs said */
	struct verified *now;    /* what this one says */
	struct verify_worker **worker;
	unsigned jobs;
	int64_t started_us;        /* wall clock: the time of everything that this run proves */
	int64_t began_us, ends_us; /* monotonic; INT64_MAX = no end */
	uint64_t done_bytes, total_bytes;
};

/* Each thread's own. */
struct verify_worker {
	struct verify_run *run;
	const struct verify_group *group; /* of the packs being read; NULL = none */
	struct object_reader *reader;
	struct sha256 *digest;
	struct page_tagger *tagger;
	uint8_t *raw;   /* VERIFY_READ_BYTES */
	uint8_t *plain; /* FRAME_PLAIN_MAX */
};

/* Counts a finding and passes it on. */
void verify_report(struct verify_run *, const struct verify_finding *);
/* ERR_CANCELLED when the run was asked to stop. */
enum err verify_go_on(const struct verify_run *, struct error *why) MUST_CHECK;
/* True when the time is up. */
bool verify_is_over(const struct verify_run *);
/* After `bytes` were read: counts, shows progress, and waits as the rate asks. */
void verify_count_read(struct verify_run *, uint64_t bytes);
/* Whether what was proven at `us` is due to be read. */
bool verify_is_due(const struct verify_run *, int64_t us);
bool verify_is_damage(enum err);
/* A frame, or a page of it, or with VERIFIED_ALL everything, is not as it should be. */
enum err verify_damage(struct verify_run *, uint32_t pack, uint32_t ordinal, uint32_t offset,
		       const char *text, struct error *why) MUST_CHECK;
/* False: the backup was removed, or is being removed: nothing of it is damage any more. */
enum err verify_backup_stays(const struct verify_run *, const struct attempt *, bool *out,
			     struct error *why) MUST_CHECK;

/* ---- beginning and end, verify_gather.c and verify_end.c ---- */

enum err verify_gather(struct verify_run *, struct error *why) MUST_CHECK;
/* After everything was read, or that ended with `read` (`why` is of it and stays): names damage, tells
 * the state of each backup, writes the record. */
enum err verify_end(struct verify_run *, enum err read, struct error *why) MUST_CHECK;

/* ---- one pack, verify_pack.c ---- */

/* Pages that a map names, in one frame. */
struct verify_need {
	uint32_t pack; /* of the table */
	struct frame_place place;
	uint32_t first, pages; /* of struct verify_page */
};
struct verify_page {
	uint32_t offset, len; /* in the plain frame */
	uint32_t crc;
	uint8_t tag[CRYPTO_TAG_BYTES];
};
struct verify_group {
	struct verify_need *need; /* by pack and ordinal once it is sorted */
	size_t needs, needs_max;
	struct verify_page *page;
	size_t pages, pages_max;
	struct verify_job {
		uint32_t pack;
		size_t first, needs;
	} * job;
	size_t jobs;
};

/* The whole pack with digest, or only what `job` needs of it when it was read in this run or lately.
 * Damage is noted and no failure. */
enum err verify_pack_read(struct verify_worker *, const struct verify_job *,
			  struct error *why) MUST_CHECK;

/* ---- maps, verify_maps.c ---- */

/* The file table of a backup, record by record; frames of it that can't be read are told of. */
struct verify_files {
	enum err (*file)(void *ctx, const struct file_record *, struct error *why);
	/* `why` says what is wrong. */
	enum err (*damaged)(void *ctx, const struct section_frame *, struct error *why);
	void *ctx;
};
enum err verify_files(const struct verify_run *, const struct manifest *,
		      const struct verify_files *, struct error *why) MUST_CHECK;

/* Every backup in scope whose maps are due. */
enum err verify_maps(struct verify_run *, struct error *why) MUST_CHECK;

/* ---- names, verify_name.c ---- */

/* Tells what damage means for this backup: reads what it needs of the damaged packs.  `found` counts
 * findings. */
enum err verify_name(struct verify_run *, const struct manifest *, uint64_t *found,
		     struct error *why) MUST_CHECK;

/* ---- WAL and records, verify_wal.c and verify_records.c ---- */

enum verify_wal_part {
	VERIFY_WAL_NEW, /* what was never read, and whether there are holes */
	VERIFY_WAL_OLD  /* the rest that is due */
};
enum err verify_wal(struct verify_run *, enum verify_wal_part, struct error *why) MUST_CHECK;
/* WAL that backups have streamed themselves, verify_await.c. */
struct verify_streamed {
	struct verify_streamed_one {
		uint32_t timeline;
		struct lsn from, to; /* [from, to); of a running backup without end */
		int64_t began_us;    /* the backup, by its name */
	} * one;                     /* owned */
	size_t count;
};
/* As of now; release it also after a failure. */
enum err verify_streamed_read(const struct cluster *, struct verify_streamed *out,
			      struct error *why) MUST_CHECK;
void verify_streamed_release(struct verify_streamed *);
/* Whether backups have streamed of this segment, and none of them began before `since_us`. */
bool verify_is_streamed(const struct verify_streamed *, uint32_t timeline, uint64_t segno,
			uint32_t segment_bytes, int64_t since_us);
/* Clear records and key slots. */
enum err verify_records(struct verify_run *, struct error *why) MUST_CHECK;

#endif
