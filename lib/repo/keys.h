/* repo/keys.h - key sets, the slots that hold them, and the keys derived from them (FORMAT.md 4).
 *
 * A keyring is an opened key set.  It is immutable after keyring_open or keyring_new and may be
 * used by several threads.
 */
#ifndef REPO_KEYS_H
#define REPO_KEYS_H

#include "base/env.h"
#include "base/secret.h"
#include "crypto/crypto.h"
#include "store/store.h"

enum { REPOSITORY_ID_BYTES = 16, SLOT_NAME_MAX = 64, RECOVERY_CODE_TEXT_MAX = 64 };

enum slot_type { SLOT_CLEAR = 0, SLOT_KEY_FILE = 1, SLOT_PASSPHRASE = 2, SLOT_RECOVERY = 3 };

struct keyring;

/* What opens a slot. */
struct key_secret {
	enum slot_type type;
	struct secret material; /* key file: 32 bytes; passphrase: its text; recovery code: 24 */
};
void key_secret_release(struct key_secret *);

/* From the text of a key file, a passphrase file, a recovery code as typed.  ERR_CONFIG when the
 * text is none (a wrong check byte of a recovery code included). */
enum err key_secret_from_text(enum slot_type, struct bytes text, struct key_secret *out,
			      struct error *why) MUST_CHECK;
/* A fresh key file secret with the text to write to the file, or a fresh recovery code with the
 * text to show once. */
enum err key_secret_new(struct random *, enum slot_type, struct key_secret *out,
			struct writer *text, struct error *why) MUST_CHECK;

/* A fresh key set of one epoch for a new family. */
enum err keyring_new(struct random *, const uint8_t repository_id[REPOSITORY_ID_BYTES],
		     struct keyring **out, struct error *why) MUST_CHECK;
void keyring_free(struct keyring *); /* wipes; NULL is fine */

/* Of one family: the epochs of both.  ERR_CONFIG when they hold different keys of one epoch, which
 * only two rotations at the same time, in different repositories, could bring about. */
enum err keyring_merge(const struct keyring *, const struct keyring *, struct keyring **out,
		       struct error *why) MUST_CHECK;
/* The same and a fresh root key of a newer `epoch`.  ERR_LIMIT when there are too many. */
enum err keyring_rotate(const struct keyring *, struct random *, uint32_t epoch,
			struct keyring **out, struct error *why) MUST_CHECK;

/* Seals the key set into a new slot `name`; SLOT_CLEAR needs no secret (NULL). */
enum err keyring_put_slot(const struct keyring *, const struct env *, struct store *,
			  const char *name, const struct key_secret *,
			  struct error *why) MUST_CHECK;

/* Tries `secret` (NULL: only clear slots) on every slot; of several that it opens, the one that holds
 * the newest epoch counts.  ERR_WRONG_KEY when none opens;
 * ERR_MISSING when there is no slot at all; ERR_CORRUPT when the only fitting slot is damaged.
 * `slot_name` (may be NULL, else SLOT_NAME_MAX) gets the one that opened. */
enum err keyring_open(struct store *, const struct key_secret *, struct keyring **out,
		      char *slot_name, struct error *why) MUST_CHECK;

struct slot_info {
	char name[SLOT_NAME_MAX];
	enum slot_type type;
	char created[TIME_TEXT_MAX];
	uint32_t epoch; /* the newest it holds, as it states itself, unproven */
};
/* Every slot, by name.  A damaged one is passed over; the first of them is the answer, ERR_CORRUPT, after
 * the last visit. */
enum err key_slots_list(struct store *,
			enum err (*visit)(void *ctx, const struct slot_info *, struct error *why),
			void *ctx, struct error *why) MUST_CHECK;

const uint8_t *keyring_repository_id(const struct keyring *);
uint32_t keyring_epoch(const struct keyring *);        /* the newest */
uint32_t keyring_oldest_epoch(const struct keyring *); /* those between need not all be there */
/* The newest epoch of which both hold the same key; 0 = none. */
uint32_t keyring_common_epoch(const struct keyring *, const struct keyring *);

enum key_class { KEY_CLASS_DATA, KEY_CLASS_META, KEY_CLASS_WAL };
/* ERR_WRONG_KEY when the key set has no such epoch. */
enum err keyring_class_key(const struct keyring *, enum key_class, uint32_t epoch,
			   uint8_t out[CRYPTO_KEY_BYTES], struct error *why) MUST_CHECK;
enum err keyring_tag_key(const struct keyring *, uint8_t out[CRYPTO_KEY_BYTES],
			 struct error *why) MUST_CHECK;
enum err keyring_clear_key(const struct keyring *, uint8_t out[CRYPTO_KEY_BYTES],
			   struct error *why) MUST_CHECK;

#endif
