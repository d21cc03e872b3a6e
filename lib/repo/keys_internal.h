/* repo/keys_internal.h - what the files about keys share: the key set, and one slot. */
#ifndef REPO_KEYS_INTERNAL_H
#define REPO_KEYS_INTERNAL_H

#include "repo/keys.h"

#define SLOTS_PREFIX "keys/"

enum {
	KEY_EPOCHS_MAX = 512,
	KEY_SET_HEAD_BYTES = 8 + REPOSITORY_ID_BYTES + CRYPTO_KEY_BYTES + 4,
	KEY_SET_BYTES_MAX = KEY_SET_HEAD_BYTES + KEY_EPOCHS_MAX * (4 + CRYPTO_KEY_BYTES),
	SLOT_BYTES_MAX = 65536, /* hex of the largest key set, its tag and the other lines fit */
	SLOT_SALT_BYTES = 32,
	SLOT_COMMITMENT_BYTES = 32,
	KEY_FILE_BYTES = 32,
	RECOVERY_CODE_BYTES = 24
};

struct epoch_key {
	uint32_t epoch;
	uint8_t root[CRYPTO_KEY_BYTES];
};

struct keyring {
	uint8_t repository_id[REPOSITORY_ID_BYTES];
	uint8_t id_key[CRYPTO_KEY_BYTES]; /* K_id */
	uint32_t epochs;
	struct epoch_key *epoch; /* owned; ascending */
};

/* The key set as FORMAT.md 4 lays it out; `out` is wiped by the caller. */
size_t keyring_encode(const struct keyring *, uint8_t out[KEY_SET_BYTES_MAX]);
enum err keyring_decode(struct bytes, struct keyring **out, struct error *why) MUST_CHECK;

struct scrypt_cost {
	uint64_t n;
	uint32_t r, p;
};

/* A slot as read. */
struct slot {
	struct slot_info info;
	uint8_t repository_id[REPOSITORY_ID_BYTES];
	uint8_t salt[SLOT_SALT_BYTES];
	uint8_t commitment[SLOT_COMMITMENT_BYTES];
	struct scrypt_cost cost;
	struct bytes aad; /* all before the line "sealed ", in `text` */
	uint8_t *sealed;  /* owned: the key set, and its tag unless clear */
	size_t sealed_len;
	uint8_t *text; /* owned */
};

bool slot_is_name(const char *);

void slot_release(struct slot *);

/* Reads and parses the slot under `key`; `s` needs no release after a failure. */
enum err slot_read(struct store *, const char *key, struct slot *s, struct error *why) MUST_CHECK;

/* KEK | commitment for a secret and a slot's salt; `cost` matters for passphrases only. */
enum err slot_derive(enum slot_type, const struct scrypt_cost *cost,
		     const uint8_t repository_id[REPOSITORY_ID_BYTES],
		     const uint8_t salt[SLOT_SALT_BYTES], struct bytes secret,
		     uint8_t out[CRYPTO_KEY_BYTES + SLOT_COMMITMENT_BYTES],
		     struct error *why) MUST_CHECK;

/* The key set that a slot of the secret's type holds.  ERR_WRONG_KEY: it is for another secret. */
enum err slot_open(const struct slot *, const struct key_secret *, struct keyring **out,
		   struct error *why) MUST_CHECK;

/* "a key file", "a passphrase", ... */
const char *slot_type_text(enum slot_type);

#endif
