/* repo/keys.c - the key set of a repository family, and the keys derived from it.
 *
 * How a key set is sealed into slots is in keys_slot.c, what opens them in keys_secret.c.
 */
#include "repo/keys_internal.h"

#include <assert.h>
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

/* The root key of an epoch; NULL when it is not held. */
static const struct epoch_key *find_epoch(const struct keyring *k, uint32_t epoch)
{
	for (uint32_t i = 0; i < k->epochs; i++)
		if (k->epoch[i].epoch == epoch)
			return &k->epoch[i];
	return NULL;
}

static enum err check_mergeable(const struct keyring *a, const struct keyring *b, struct error *why)
{
	if (memcmp(a->repository_id, b->repository_id, REPOSITORY_ID_BYTES) != 0 ||
	    !crypto_same(a->id_key, b->id_key, CRYPTO_KEY_BYTES))
		return error_set(why, ERR_CONFIG, "the key sets are of different families");
	for (uint32_t i = 0; i < a->epochs; i++) {
		const struct epoch_key *other = find_epoch(b, a->epoch[i].epoch);

		if (other != NULL && !crypto_same(a->epoch[i].root, other->root, CRYPTO_KEY_BYTES))
			return error_set(why, ERR_CONFIG,
					 "there are two different keys of epoch %u: two rotations "
					 "ran at the same time",
					 other->epoch);
	}
	return ERR_NONE;
}

enum err keyring_merge(const struct keyring *a, const struct keyring *b, struct keyring **out,
		       struct error *why)
{
	struct keyring *k;
	uint32_t i = 0, j = 0, n = 0;
	enum err e = check_mergeable(a, b, why);

	if (e != ERR_NONE)
		return e;
	k = keyring_alloc(a->epochs + b->epochs);
	if (k == NULL)
		return error_set(why, ERR_MEMORY, "cannot merge key sets: out of memory");
	memcpy(k->repository_id, a->repository_id, REPOSITORY_ID_BYTES);
	memcpy(k->id_key, a->id_key, CRYPTO_KEY_BYTES);
	while (i < a->epochs || j < b->epochs) {
		bool from_a =
			j == b->epochs || (i < a->epochs && a->epoch[i].epoch <= b->epoch[j].epoch);
		bool both = from_a && j < b->epochs && a->epoch[i].epoch == b->epoch[j].epoch;

		k->epoch[n++] = from_a ? a->epoch[i++] : b->epoch[j++];
		j += both ? 1 : 0;
	}
	k->epochs = n; /* what is behind is zero */
	if (n > KEY_EPOCHS_MAX) {
		keyring_free(k);
		return error_set(why, ERR_LIMIT, "more than %d epochs of keys", KEY_EPOCHS_MAX);
	}
	*out = k;
	return ERR_NONE;
}

enum err keyring_rotate(const struct keyring *old, struct random *random, uint32_t epoch,
			struct keyring **out, struct error *why)
{
	struct keyring *k;
	enum err e;

	assert(epoch > keyring_epoch(old));
	if (old->epochs >= KEY_EPOCHS_MAX)
		return error_set(why, ERR_LIMIT, "the key set has %u epochs already, the most",
				 old->epochs);
	k = keyring_alloc(old->epochs + 1);
	if (k == NULL)
		return error_set(why, ERR_MEMORY, "cannot make a key set: out of memory");
	memcpy(k->repository_id, old->repository_id, REPOSITORY_ID_BYTES);
	memcpy(k->id_key, old->id_key, CRYPTO_KEY_BYTES);
	memcpy(k->epoch, old->epoch, old->epochs * sizeof(*k->epoch));
	k->epoch[old->epochs].epoch = epoch;
	e = random_fill(random, k->epoch[old->epochs].root, CRYPTO_KEY_BYTES, why);
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

uint32_t keyring_oldest_epoch(const struct keyring *k)
{
	return k->epoch[0].epoch;
}

uint32_t keyring_common_epoch(const struct keyring *a, const struct keyring *b)
{
	for (uint32_t i = a->epochs; i > 0; i--) {
		const struct epoch_key *other = find_epoch(b, a->epoch[i - 1].epoch);

		if (other != NULL &&
		    crypto_same(a->epoch[i - 1].root, other->root, CRYPTO_KEY_BYTES))
			return other->epoch;
	}
	return 0;
}

enum err keyring_class_key(const struct keyring *k, enum key_class class, uint32_t epoch,
			   uint8_t out[CRYPTO_KEY_BYTES], struct error *why)
{
	static const char *const label[] = {
		[KEY_CLASS_DATA] = "pgagent/1/class/data",
		[KEY_CLASS_META] = "pgagent/1/class/meta",
		[KEY_CLASS_WAL] = "pgagent/1/class/wal",
	};
	const struct epoch_key *key = find_epoch(k, epoch);
	uint8_t info[32];
	size_t label_len = strlen(label[class]);

	if (key == NULL) {
		(void)error_set(why, ERR_WRONG_KEY,
				"wrong key: the slot that was opened does not hold epoch %u, its "
				"newest is epoch %u",
				epoch, keyring_epoch(k));
		error_hint(why, "see which slots hold it: pgagent key list; use the key of one, or "
				"add this one with it: pgagent key add --new-key-file FILE");
		return ERR_WRONG_KEY;
	}
	memcpy(info, label[class], label_len);
	put_u32(info + label_len, epoch);
	return crypto_hkdf(bytes_of(key->root, CRYPTO_KEY_BYTES),
			   bytes_of(k->repository_id, REPOSITORY_ID_BYTES),
			   bytes_of(info, label_len + 4), out, CRYPTO_KEY_BYTES, why);
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
