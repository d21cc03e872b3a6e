/* repo/keys_internal.h - what the files about keys share: the key set, and one slot. */
#ifndef REPO_KEYS_INTERNAL_H
#define REPO_KEYS_INTERNAL_H

#include "repo/keys.h"

enum {
	KEY_EPOCHS_MAX = 512,
	KEY_SET_HEAD_BYTES = 8 + REPOSITORY_ID_BYTES + CRYPTO_KEY_BYTES + 4,
	KEY_SET_BYTES_MAX = KEY_SET_HEAD_BYTES + KEY_EPOCHS_MAX * (4 + CRYPTO_KEY_BYTES),
	SLOT_BYTES_MAX = 65536, /* hex of the largest key set, its tag and the other lines fit */
	SLOT_SALT_BYTES = 32,
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

/* "a key file", "a passphrase", ... */
const char *slot_type_text(enum slot_type);

#endif
