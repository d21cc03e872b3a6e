/* repo/repository.h - an opened repository, and one cluster's part of it.
 *
 * Order of calls: repository_init once for a store; repository_open; then cluster parts.  An
 * opened repository is immutable and may be used by several threads; the store is borrowed.
 */
#ifndef REPO_REPOSITORY_H
#define REPO_REPOSITORY_H

#include "repo/keys.h"

enum { CLUSTER_NAME_MAX = 64, RECORD_BYTES_MAX = 65536 };

enum encryption { ENCRYPTION_NONE = 0, ENCRYPTION_AES_256_GCM = 1 };

struct repository {
	const struct env *env;   /* borrowed */
	struct store *store;     /* borrowed */
	struct keyring *keyring; /* owned */
	enum encryption encryption;
	enum page_tag_kind tag_kind;
	uint8_t id[REPOSITORY_ID_BYTES];
	uint8_t clear_key[CRYPTO_KEY_BYTES];
	uint32_t seals_in; /* epoch of new objects; 0 = the newest that the key set holds */
};

/* True when the store holds a FORMAT object.  ERR_CONFIG when it is not empty but has none. */
enum err repository_exists(struct store *, bool *out, struct error *why) MUST_CHECK;

/* What FORMAT states, read without any key: enough to say which encryption and version it is. */
struct repository_format {
	uint8_t id[REPOSITORY_ID_BYTES];
	enum encryption encryption;
	enum page_tag_kind tag_kind;
	char created[TIME_TEXT_MAX];
};
/* ERR_MISSING: no repository here.  ERR_CONFIG: a version or feature this program does not know. */
enum err repository_peek(struct store *, struct repository_format *out,
			 struct error *why) MUST_CHECK;

/* Makes a repository in an empty, probed store: first the slots, then FORMAT (its commit point).
 * `adopt` (may be NULL) is the keyring and encryption of a sibling: one family, one id.
 * `secret` makes the slot `slot_name`; NULL only with ENCRYPTION_NONE (slot "clear").
 * ERR_EXISTS when there is one. */
struct repository_init {
	enum encryption encryption;
	const struct keyring *adopt;
	const struct key_secret *secret;
	const char *slot_name;
	const struct key_secret *recovery; /* second slot "recovery"; NULL = none */
};
enum err repository_init(const struct env *, struct store *, const struct repository_init *,
			 struct error *why) MUST_CHECK;

/* ERR_WRONG_KEY, ERR_MISSING (no repository), ERR_CONFIG (unknown version or feature). */
enum err repository_open(const struct env *, struct store *, const struct key_secret *,
			 struct repository **out, struct error *why) MUST_CHECK;
void repository_close(struct repository *); /* NULL is fine; leaves the store open */

/* Before the first object is written to several repositories: new objects are sealed in the newest epoch
 * whose key all of them hold, so that each opens what lies in it.  Only repositories of one family are
 * looked at together.  *behind (may be NULL) is set when one holds a newer epoch: a rotation was
 * broken off. */
void repositories_agree(struct repository *const *, size_t count, bool *behind);

/* Clear records: `body` is the lines between the first and the hmac line.  Writing puts a new
 * object (ERR_EXISTS when taken).  Reading checks type and hmac: ERR_CORRUPT otherwise; `body` is
 * emptied first and then holds the lines. */
enum err record_put(const struct repository *, const char *key, const char *type, struct bytes body,
		    struct error *why) MUST_CHECK;
enum err record_get(const struct repository *, const char *key, const char *type,
		    struct writer *body, struct error *why) MUST_CHECK;

/* One cluster in a repository. */
struct cluster {
	const struct repository *repository; /* borrowed */
	char name[CLUSTER_NAME_MAX];
	uint64_t system_identifier;
	char prefix[CLUSTER_NAME_MAX + 24]; /* "<cluster>/<system>/" */
};

bool cluster_is_name(const char *);
void cluster_init(struct cluster *, const struct repository *, const char *name,
		  uint64_t system_identifier);

struct identity {
	int server_version; /* 150020 */
	uint32_t wal_segment_bytes, block_bytes;
	int data_checksums;        /* 1 on, 0 off, -1 unknown */
	char data_directory[1024]; /* "" = unknown */
};
/* Writes identity, or compares with what is there: ERR_CONFIG when the segment or block size
 * differ (the version may: minor upgrades). */
enum err identity_ensure(const struct cluster *, const struct identity *,
			 struct error *why) MUST_CHECK;
enum err identity_read(const struct cluster *, struct identity *out, struct error *why) MUST_CHECK;

/* Clusters and their system identifiers in a repository, by name, then by identifier. */
enum err clusters_list(const struct repository *,
		       enum err (*visit)(void *ctx, const char *name, uint64_t system_identifier,
					 struct error *why),
		       void *ctx, struct error *why) MUST_CHECK;

#endif
