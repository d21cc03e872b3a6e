/* repo/manifest.h - what a backup is: summary, packs, sections, the file table (FORMAT.md 9, 10).
 */
#ifndef REPO_MANIFEST_H
#define REPO_MANIFEST_H

#include "pgformat/lsn.h"
#include "repo/map.h"
#include "repo/object.h"

enum {
	FILE_SHARD_REF_BYTES = 32, /* as stored */
	BACKUP_LABEL_MAX = 256,
	CONTROL_KEPT_BYTES = 296,
	SECTION_NAME_MAX = 32,
	FILE_PATH_MAX = 1024
};

struct summary {
	struct attempt attempt;
	char cluster[CLUSTER_NAME_MAX];
	uint64_t system_identifier;
	int server_version;
	uint32_t timeline, stop_timeline;
	struct lsn start, stop;
	int64_t started_us, finished_us; /* since 1970 */
	bool incremental;
	bool has_parent;
	struct attempt parent;
	char label[BACKUP_LABEL_MAX];
	uint64_t files, bytes_cluster, bytes_new, bytes_stored, bytes_renewed, pages_changed;
	uint64_t bytes_read, bytes_used; /* of a restore: reading amplification is their quotient */
	uint64_t checksum_failures;
	bool from_standby, keep;
	uint32_t wal_segment_bytes, block_bytes;
	int data_checksums; /* 1, 0, -1 unknown */
	char data_directory[1024], config_file[1024], hba_file[1024], ident_file[1024];
	char superuser[64]; /* a role that a restored server lets in */
	uint8_t control[CONTROL_KEPT_BYTES];
	size_t control_len;
	uint64_t generation;
	bool has_previous;
	struct attempt previous;
	uint8_t previous_sha256[CRYPTO_SHA256_BYTES];
	char writer[64], host[256];
	struct summary_tablespace {
		uint32_t oid;
		char path[1024];
	} * tablespace; /* owned */
	size_t tablespaces;
	char **bad_file; /* owned; at most 1000: PATH, or PATH TAB DATABASE.SCHEMA.RELATION */
	size_t bad_files;
};
void summary_release(struct summary *);
/* Bad files beyond what a frame holds are left out; `checksum_failures` still counts them. */
void summary_encode(const struct summary *, struct writer *);
/* ERR_CORRUPT: a line is malformed, out of range or missing. */
enum err summary_decode(struct bytes, struct summary *out, struct error *why) MUST_CHECK;

struct pack_entry {
	struct pack_id id;
	uint32_t plain_kib;  /* plain bytes of all its frames, when it was written */
	uint64_t size;       /* bytes of the object */
	uint64_t live_bytes; /* plain bytes referred to */
	uint8_t sha256[CRYPTO_SHA256_BYTES];
};

/* Names of sections. */
#define SECTION_FILES "files"
#define SECTION_SERVER_MANIFEST "server-manifest"
#define SECTION_SETTINGS "settings"
#define SECTION_RELATIONS "relations"
#define SECTION_TABLESPACES "tablespaces"
#define SECTION_COLLATIONS "collations"
#define SECTION_AGENT_CONFIG "agent-config"

struct section {
	char name[SECTION_NAME_MAX];
	uint64_t plain_bytes;
	uint32_t frames;
	struct section_frame {
		uint32_t pack; /* index into the pack table */
		struct frame_place place;
	} * frame; /* owned by the manifest */
};

struct manifest {
	struct summary summary;
	struct pack_entry *pack; /* owned */
	uint32_t packs;
	struct section *section; /* owned */
	uint32_t sections;
	struct pack_index *index; /* finds packs by id; private */
};
struct manifest *manifest_new(void); /* empty; NULL = no memory */
void manifest_free(struct manifest *);
/* The section or NULL. */
const struct section *manifest_section(const struct manifest *, const char *name);
/* The index of a pack in the table, added when missing (size and digest are set later). */
enum err manifest_pack_index(struct manifest *, const struct pack_id *, uint32_t *out,
			     struct error *why) MUST_CHECK;

/* Like manifest_pack_index for a pack that is there already; several threads may ask.  False: the
 * table has no such pack. */
bool manifest_pack_find(const struct manifest *, const struct pack_id *, uint32_t *out);

enum file_kind { FILE_PLAIN = 1, FILE_DIRECTORY = 2, FILE_SYMLINK = 3 };
enum { FILE_FLAG_BAD_CHECKSUMS = 1 };

struct file_record {
	enum file_kind kind;
	uint8_t flags;
	uint16_t mode;
	uint64_t size;
	int64_t modified_s;
	uint32_t crc;
	struct bytes path, target; /* borrowed */
	uint32_t shards;
	const uint8_t *shard_refs; /* shards * 32 bytes as stored; borrowed */
};
struct file_shard_ref {
	uint32_t pack;            /* index into the manifest's table */
	struct frame_place place; /* of the frame that holds the shard */
	uint32_t offset, len;
};
void file_shard_ref_decode(const uint8_t *at, struct file_shard_ref *out);
void file_shard_ref_encode(const struct file_shard_ref *, uint8_t at[FILE_SHARD_REF_BYTES]);
/* `shard_refs` NULL: room for them is left, zeros at the record's end. */
void file_record_encode(const struct file_record *, struct writer *);
/* Of an encoded record. */
void file_record_set_crc(uint8_t *record, uint32_t crc);
/* The next record; checks the path (relative, no "..", no empty part, no NUL), sizes against the
 * number of shards and lengths: ERR_CORRUPT. */
enum err file_record_decode(struct reader *, struct file_record *out, struct error *why) MUST_CHECK;

/* Writes the decision object of `cluster`: W6.  ERR_EXISTS: this attempt was aborted (or committed
 * with other content) by somebody else; the text says which, by whom and why.  The same content
 * found at the key is success: an answer was lost on the way.  ERR_UNSURE: it was tried twice, the
 * backup may be there.  ERR_LIMIT: more than 16 MiB.  `sha256` of the stored object. */
enum err manifest_commit(const struct cluster *, const struct manifest *,
			 uint8_t sha256[CRYPTO_SHA256_BYTES], struct error *why) MUST_CHECK;

/* Whole manifest.  ERR_MISSING: no such backup (an abort marker is one). */
enum err manifest_read(const struct cluster *, const struct attempt *, struct manifest **out,
		       struct error *why) MUST_CHECK;

/* Reading sections: all frames in order, `visit` gets the plain bytes of one frame. */
enum err section_walk(const struct cluster *, const struct manifest *, const char *name,
		      enum err (*visit)(void *ctx, struct bytes frame, struct error *why),
		      void *ctx, struct error *why) MUST_CHECK;
/* A whole section of at most `max` bytes in new memory; ERR_MISSING when the backup has none. */
enum err section_read(const struct cluster *, const struct manifest *, const char *name, size_t max,
		      uint8_t **out, size_t *len, struct error *why) MUST_CHECK;

#endif
