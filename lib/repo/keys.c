/* repo/keys.c - the key set of a repository family, and the keys derived from it.
 *
 * How a key set is sealed into slots is in keys_slot.c, what opens them in keys_secret.c.
 */
#include "repo/keys_internal.h"

#include <stdlib.h>

static const char key_set_magic[] = "PGAKEYS1";
enum { KEY_SET_MAGIC_BYTES = 8 };

static struct keyring *keyring_alloc(uint32_t epochs)
{
	struct keyring *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return NULL;
	k->epoch = calloc(epochs, sizeof(*k->epoch));
	if (k->epoch == NULL) {
		free(k);
		return NULL;
	}
	k->epochs = epochs;
	return k;
}

void keyring_free(struct keyring *k)
{
	if (k == NULL)
		return;
	explicit_bzero(k->epoch, k->epochs * sizeof(*k->epoch));
	free(k->epoch);
	explicit_bzero(k, sizeof(*k));
	free(k);
}

enum err keyring_new(struct random *random, const uint8_t repository_id[REPOSITORY_ID_BYTES],
		     struct keyring **out, struct error *why)
{
	struct keyring *k = keyring_alloc(1);
	enum err e;

	if (k == NULL)
		return error_set(why, ERR_MEMORY, "cannot make a key set: out of memory");
	memcpy(k->repository_id, repository_id, REPOSITORY_ID_BYTES);
	k->epoch[0].epoch = 1;
	e = random_fill(random, k->id_key, sizeof(k->id_key), why);
	if (e == ERR_NONE)
		e = random_fill(random, k->epoch[0].root, sizeof(k->epoch[0].root), why);
	if (e != ERR_NONE) {
		keyring_free(k);
		return e;
	}
	*out = k;
	return ERR_NONE;
}

size_t keyring_encode(const struct keyring *k, uint8_t out[KEY_SET_BYTES_MAX])
{
	uint8_t *at = out;

	memcpy(at, key_set_magic, KEY_SET_MAGIC_BYTES);
	at += KEY_SET_MAGIC_BYTES;
	memcpy(at, k->repository_id, REPOSITORY_ID_BYTES);
	at += REPOSITORY_ID_BYTES;
	memcpy(at, k->id_key, CRYPTO_KEY_BYTES);
	at += CRYPTO_KEY_BYTES;
	put_u32(at, k->epochs);
	at += 4;
	for (uint32_t i = 0; i < k->epochs; i++) {
		put_u32(at, k->epoch[i].epoch);
		memcpy(at + 4, k->epoch[i].root, CRYPTO_KEY_BYTES);
		at += 4 + CRYPTO_KEY_BYTES;
	}
	return (size_t)(at - out);
}

enum err keyring_decode(struct bytes in, struct keyring **out, struct error *why)
{
	struct reader r = reader_of(in);
	struct bytes magic = reader_take(&r, KEY_SET_MAGIC_BYTES);
	struct bytes id = reader_take(&r, REPOSITORY_ID_BYTES);
	struct bytes id_key = reader_take(&r, CRYPTO_KEY_BYTES);
	uint32_t epochs = reader_u32(&r);
	struct keyring *k;

	if (r.bad || memcmp(magic.data, key_set_magic, KEY_SET_MAGIC_BYTES) != 0 || epochs < 1 ||
	    epochs > KEY_EPOCHS_MAX || r.left != (size_t)epochs * (4 + CRYPTO_KEY_BYTES))
		return error_set(why, ERR_CORRUPT, "key set is not of a form this version knows");
	k = keyring_alloc(epochs);
	if (k == NULL)
		return error_set(why, ERR_MEMORY, "cannot read a key set: out of memory");
	memcpy(k->repository_id, id.data, REPOSITORY_ID_BYTES);
	memcpy(k->id_key, id_key.data, CRYPTO_KEY_BYTES);
	for (uint32_t i = 0; i < epochs; i++) {
		k->epoch[i].epoch = reader_u32(&r);
		memcpy(k->epoch[i].root, reader_take(&r, CRYPTO_KEY_BYTES).data, CRYPTO_KEY_BYTES);
		if (i > 0 && k->epoch[i].epoch <= k->epoch[i - 1].epoch) {
			keyring_free(k);
			return error_set(why, ERR_CORRUPT, "key set: epochs do not ascend");
		}
	}
	*out = k;
	return ERR_NONE;
}

const uint8_t *keyring_repository_id(const struct keyring *k)
{
	return k->repository_id;
}

uint32_t keyring_epoch(const struct keyring *k)
{
	return k->epoch[k->epochs - 1].epoch;
}

enum err keyring_class_key(const struct keyring *k, enum key_class class, uint32_t epoch,
			   uint8_t out[CRYPTO_KEY_BYTES], struct error *why)
{
	static const char *const label[] = {
		[KEY_CLASS_DATA] = "pgagent/1/class/data",
		[KEY_CLASS_META] = "pgagent/1/class/meta",
		[KEY_CLASS_WAL] = "pgagent/1/class/wal",
	};
	uint8_t info[32];
	size_t label_len = strlen(label[class]);

	for (uint32_t i = 0; i < k->epochs; i++) {
		if (k->epoch[i].epoch != epoch)
			continue;
		memcpy(info, label[class], label_len);
		put_u32(info + label_len, epoch);
		return crypto_hkdf(bytes_of(k->epoch[i].root, CRYPTO_KEY_BYTES),
				   bytes_of(k->repository_id, REPOSITORY_ID_BYTES),
				   bytes_of(info, label_len + 4), out, CRYPTO_KEY_BYTES, why);
	}
	return error_set(why, ERR_WRONG_KEY,
			 "the key set has no key of epoch %u: its newest is of epoch %u", epoch,
			 keyring_epoch(k));
}

static enum err derive_from_id_key(const struct keyring *k, const char *label,
				   uint8_t out[CRYPTO_KEY_BYTES], struct error *why)
{
	return crypto_hkdf(bytes_of(k->id_key, CRYPTO_KEY_BYTES),
			   bytes_of(k->repository_id, REPOSITORY_ID_BYTES), bytes_of_text(label),
			   out, CRYPTO_KEY_BYTES, why);
}

enum err keyring_tag_key(const struct keyring *k, uint8_t out[CRYPTO_KEY_BYTES], struct error *why)
{
	return derive_from_id_key(k, "pgagent/1/page-tag", out, why);
}

enum err keyring_clear_key(const struct keyring *k, uint8_t out[CRYPTO_KEY_BYTES],
			   struct error *why)
{
	return derive_from_id_key(k, "pgagent/1/clear-records", out, why);
}
