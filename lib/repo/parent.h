/* repo/parent.h - the parent of a backup: which one it may be, and what it has at each place.
 *
 * Choosing is pure.  An opened parent map answers for files by path and for their shards; it is
 * immutable and may be shared by threads, each with a reader of its own.
 */
#ifndef REPO_PARENT_H
#define REPO_PARENT_H

#include "pgformat/history.h"
#include "repo/decision.h"

/* ---- which one ---- */

enum { PARENT_CANDIDATES_MAX = 8 /* looked at before a backup goes without a parent */ };

/* Whether pages of this backup can be those of a server on `path` now: the same system identifier,
 * and the path had not left the backup's timeline when it ended. */
bool parent_fits(const struct summary *, uint64_t system_identifier, const struct history *path);

/* The newest fitting backups, newest first, that are committed and neither hidden nor tombed in this
 * repository; damaged ones are passed over (an event says so). */
enum err parent_candidates(const struct cluster *, const struct history *path,
			   struct attempt out[PARENT_CANDIDATES_MAX], size_t *found,
			   struct error *why) MUST_CHECK;

/* W2, after a pin names the parent: in every repository its manifest is there, no tombstone is, and
 * all its packs are listed with the right sizes.  ERR_MISSING (it went) or ERR_CORRUPT (damaged, or
 * a pack is not there): this is no parent, and the text says where; other kinds are the store's.
 * `out` is the manifest as the first repository has it. */
enum err parent_prove(const struct cluster *, size_t clusters, const struct attempt *,
		      struct manifest **out, struct error *why) MUST_CHECK;

/* ---- what it has ---- */

/* All files of a backup by a hash of their paths: 24 bytes a file and 32 for each shard. */
struct parent_map;
/* Reads the file table.  The cluster is borrowed; the manifest is taken, also on failure.
 * ERR_CORRUPT: damaged, or two paths share a hash: this is no parent. */
enum err parent_map_open(const struct cluster *, struct manifest *take_manifest,
			 struct parent_map **out, struct error *why) MUST_CHECK;
void parent_map_free(struct parent_map *); /* NULL is fine */
const struct manifest *parent_map_manifest(const struct parent_map *);

struct parent_file {
	uint64_t size;
	uint32_t crc;
	uint32_t shards;
	const uint8_t *shard_refs; /* 32 bytes each, as stored; until parent_map_free */
};
/* False: the parent has no such file (links and directories are none). */
bool parent_map_find(const struct parent_map *, struct bytes path, struct parent_file *out);

/* Where a decoded shard came from. */
struct parent_origin {
	struct shard_ref at; /* the stored shard */
	bool is_patch;
	struct shard_ref base; /* the whole shard it rests on: `at` itself, or the patch's base */
};

/* For one thread: keys of packs, and the shard frames read last (16 of at most 256 KiB), since
 * neighbouring files share frames. */
struct parent_reader;
enum err parent_reader_new(const struct parent_map *, struct parent_reader **out,
			   struct error *why) MUST_CHECK;
void parent_reader_free(struct parent_reader *); /* NULL is fine */

/* Shard `index` (< file->shards), decoded, over its base if it is a patch.  Every pack that its
 * pages lie in is in the manifest's table, and it maps as many bytes as the file has there: else
 * ERR_CORRUPT.  After a failure `out` is void. */
enum err parent_reader_shard(struct parent_reader *, const struct parent_file *, uint32_t index,
			     struct shard *out, struct parent_origin *origin,
			     struct error *why) MUST_CHECK;
/* The whole shard at origin->base. */
enum err parent_reader_base(struct parent_reader *, const struct parent_origin *, struct shard *out,
			    struct error *why) MUST_CHECK;

#endif
