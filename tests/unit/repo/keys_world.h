/* unit/repo/keys_world.h - a store in memory, a key set, a key file and a recovery code. */
#ifndef UNIT_REPO_KEYS_WORLD_H
#define UNIT_REPO_KEYS_WORLD_H

#include "repo/keys.h"
#include "store/memory/memory.h"

#include <criterion/criterion.h>

static const uint8_t family[REPOSITORY_ID_BYTES] = {1, 2,  3,  4,  5,  6,  7,  8,
						    9, 10, 11, 12, 13, 14, 15, 16};

struct world {
	struct env env;
	struct store *store;
	struct keyring *keys;
	struct key_secret file, recovery;
	struct error why;
};

static inline void world_init(struct world *w)
{
	struct writer text;

	memset(w, 0, sizeof(*w));
	w->env = env_os();
	writer_init(&text, 4096);
	cr_assert_eq(store_memory_open(&w->env, &w->store, &w->why), ERR_NONE);
	cr_assert_eq(keyring_new(w->env.random, family, &w->keys, &w->why), ERR_NONE);
	cr_assert_eq(key_secret_new(w->env.random, SLOT_KEY_FILE, &w->file, &text, &w->why),
		     ERR_NONE);
	writer_reset(&text);
	cr_assert_eq(key_secret_new(w->env.random, SLOT_RECOVERY, &w->recovery, &text, &w->why),
		     ERR_NONE);
	writer_release(&text);
}

static inline void world_release(struct world *w)
{
	keyring_free(w->keys);
	store_close(w->store);
}

static inline void assert_same_keys(const struct keyring *a, const struct keyring *b)
{
	uint8_t x[CRYPTO_KEY_BYTES], y[CRYPTO_KEY_BYTES];
	struct error why;

	cr_assert_eq(
		memcmp(keyring_repository_id(a), keyring_repository_id(b), REPOSITORY_ID_BYTES), 0);
	cr_assert_eq(keyring_epoch(a), keyring_epoch(b));
	for (int c = KEY_CLASS_DATA; c <= KEY_CLASS_WAL; c++) {
		cr_assert_eq(keyring_class_key(a, (enum key_class)c, keyring_epoch(a), x, &why),
			     ERR_NONE);
		cr_assert_eq(keyring_class_key(b, (enum key_class)c, keyring_epoch(b), y, &why),
			     ERR_NONE);
		cr_assert_eq(memcmp(x, y, sizeof(x)), 0);
	}
	cr_assert_eq(keyring_tag_key(a, x, &why), ERR_NONE);
	cr_assert_eq(keyring_tag_key(b, y, &why), ERR_NONE);
	cr_assert_eq(memcmp(x, y, sizeof(x)), 0);
}

#endif
