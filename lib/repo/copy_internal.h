/* repo/copy_internal.h - what the files of a copy share. */
#ifndef REPO_COPY_INTERNAL_H
#define REPO_COPY_INTERNAL_H

#include "repo/copy.h"
#include "repo/keeper.h"
#include "repo/sweep.h"
#include "repo/wal_gaps.h"
#include "repo/wal_object.h"

enum {
	COPY_PIECE_BYTES = 1 << 20, /* read and put at once, unless one frame is longer */
	COPY_PIECE_ROOM = FRAME_PLAIN_MAX + FRAME_OVERHEAD_BYTES + OBJECT_TRAILER_BYTES
};

struct copying {
	const struct env *env;
	const struct cluster *from, *to;
	const struct copy_options *options;
	struct copy_totals *totals;
	struct keeper *reading,
		*writing;             /* the pins there; `reading` is NULL where none was taken */
	struct object_reader *reader; /* of the source */
	uint8_t *piece;               /* COPY_PIECE_ROOM */
	uint32_t segment_bytes;       /* of WAL */
	struct lsn wal_from; /* no backup at the target needs WAL before it, nor will one */
	/* Before this run: where each backup at the target begins (no `to`), and from where to where whole segments
	 * of each timeline are there.  Owned. */
	struct wal_gaps begins_there, wal_there;
	struct sweep_wait wait; /* for sweeps of the target */
	struct progress progress;
	int64_t began_us; /* monotonic */
	uint64_t moved;   /* bytes since then */
};

/* ---- copy_object.c: one object.  ERR_MISSING: the source has no such object (any more).  ERR_CORRUPT: it is
 * damaged there, and nothing was put.  ERR_EXISTS: the target has other bytes under its key. ---- */

enum err copy_pack(struct copying *, const struct pack_entry *, struct error *why) MUST_CHECK;
enum err copy_sealed(struct copying *, const char *key, enum object_class,
		     struct error *why) MUST_CHECK;
/* A clear record. */
enum err copy_record(struct copying *, const char *key, const char *type,
		     struct error *why) MUST_CHECK;
/* True for ERR_CORRUPT and ERR_WRONG_KEY: tells of the damage, so that the run goes on. */
bool copy_is_damage(struct copying *, enum err, const char *key, const struct error *why);

/* ---- copy_wal.c ---- */

/* History files, segments, slices that no segment supersedes, .backup and .partial files; gaps. */
enum err copy_wal(struct copying *, struct error *why) MUST_CHECK;
/* W5: ERR_MISSING when the WAL from the start to the stop of a backup is not at the target. */
enum err copy_check_wal(struct copying *, const struct summary *, struct error *why) MUST_CHECK;

/* ---- copy_backup.c ---- */

struct copy_list {
	struct copying *copying;
	struct copy_listed {
		struct attempt attempt;
		int64_t started_us;
		struct lsn start;
		bool known; /* the target has an answer about it: `outcome` */
		enum copy_outcome outcome;
	} * backup; /* owned; newest first */
	size_t count, capacity;
};
/* What the source shows, and what the target says about each; damaged ones are told of.  Sets `wal_from` and
 * `begins_there`.
 * Release it also after a failure. */
enum err copy_list_backups(struct copying *, struct copy_list *out, struct error *why) MUST_CHECK;
/* Each of them that the target lacks. */
enum err copy_backups(struct copying *, const struct copy_list *, struct error *why) MUST_CHECK;

#endif
