/* repo/keys_slot.c - slots: the key set sealed for one secret each (FORMAT.md section 4).
 *
 * Writing one, and reading one as far as no secret is needed: the digest at the end finds damage.
 * Which slot a secret opens is the matter of keys_open.c.
 */
#include "repo/keys_internal.h"

#include "base/text.h"
#include "repo/lines.h"
#include "repo/repo_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const char slot_first_line[] = "pgagent-key-slot 1\n";
static const char slot_sealed_name[] = "sealed ";
static const char slots_prefix[] = SLOTS_PREFIX;

enum {
	SLOT_KEY_TEXT_MAX = sizeof(slots_prefix) + SLOT_NAME_MAX,
	SLOT_DIGEST_LINE_BYTES = 7 + 2 * CRYPTO_SHA256_BYTES + 1, /* "digest HEX64\n" */
	SLOT_SCRYPT_N = 1 << 17,
	SLOT_SCRYPT_R = 8,
	SLOT_SCRYPT_P = 1
};

void slot_release(struct slot *s)
{
	if (s->sealed != NULL)
		explicit_bzero(s->sealed, s->sealed_len);
	free(s->sealed);
	free(s->text);
	*s = (struct slot){.sealed = NULL};
}

const char *slot_type_text(enum slot_type type)
{
	switch (type) {
	case SLOT_CLEAR:
		return "no secret";
	case SLOT_KEY_FILE:
		return "a key file";
	case SLOT_PASSPHRASE:
		return "a passphrase";
	case SLOT_RECOVERY:
		return "a recovery code";
	}
	return "an unknown secret";
}

bool slot_is_name(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len >= SLOT_NAME_MAX || name[0] == '-')
		return false;
	return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

enum err slot_derive(enum slot_type type, const struct scrypt_cost *cost,
		     const uint8_t repository_id[REPOSITORY_ID_BYTES],
		     const uint8_t salt[SLOT_SALT_BYTES], struct bytes secret,
		     uint8_t out[CRYPTO_KEY_BYTES + SLOT_COMMITMENT_BYTES], struct error *why)
{
	static const char label[] = "pgagent/1/slot";
	uint8_t info[sizeof(label) - 1 + 1 + REPOSITORY_ID_BYTES];
	uint8_t stretched[CRYPTO_KEY_BYTES] = {0};
	struct bytes salt_bytes = bytes_of(salt, SLOT_SALT_BYTES);
	enum err e = ERR_NONE;

	memcpy(info, label, sizeof(label) - 1);
	info[sizeof(label) - 1] = (uint8_t)type;
	memcpy(info + sizeof(label), repository_id, REPOSITORY_ID_BYTES);
	if (type == SLOT_PASSPHRASE) {
		e = crypto_scrypt(secret, salt_bytes, cost->n, cost->r, cost->p, stretched, why);
		secret = bytes_of(stretched, sizeof(stretched));
	}
	if (e == ERR_NONE)
		e = crypto_hkdf(secret, salt_bytes, bytes_of(info, sizeof(info)), out,
				CRYPTO_KEY_BYTES + SLOT_COMMITMENT_BYTES, why);
	explicit_bzero(stretched, sizeof(stretched));
	return e;
}

static void put_hex(struct writer *w, const char *name, struct bytes in)
{
	char pair[3];

	writer_text(w, "%s ", name);
	for (size_t i = 0; i < in.len; i++) {
		text_of_hex(bytes_of(in.data + i, 1), pair);
		writer_bytes(w, bytes_of(pair, 2));
	}
	writer_u8(w, '\n');
}

/* The lines before "sealed "; `derived` is KEK | commitment. */
static void slot_head(struct writer *w, const struct slot *s, const uint8_t *commitment)
{
	writer_bytes(w, bytes_of_text(slot_first_line));
	lines_put(w, "slot", s->info.name);
	lines_putf(w, "type", "%d", (int)s->info.type);
	put_hex(w, "repository", bytes_of(s->repository_id, REPOSITORY_ID_BYTES));
	put_hex(w, "salt", bytes_of(s->salt, SLOT_SALT_BYTES));
	lines_put(w, "created", s->info.created);
	lines_putf(w, "epoch", "%u", s->info.epoch);
	if (s->info.type == SLOT_PASSPHRASE)
		lines_putf(w, "scrypt", "%llu %u %u", (unsigned long long)s->cost.n, s->cost.r,
			   s->cost.p);
	if (s->info.type != SLOT_CLEAR)
		put_hex(w, "commitment", bytes_of(commitment, SLOT_COMMITMENT_BYTES));
}

static enum err slot_seal(const uint8_t kek[CRYPTO_KEY_BYTES], struct bytes aad, uint8_t *key_set,
			  size_t len, struct error *why)
{
	struct aead *aead = NULL;
	enum err e = aead_new(&aead, why);

	if (e == ERR_NONE)
		e = aead_set_key(aead, kek, true, why);
	if (e == ERR_NONE)
		e = aead_seal(aead, 0, 0, aad, bytes_of(key_set, len), key_set, key_set + len, why);
	aead_free(aead);
	return e;
}

static enum err slot_encode(const struct keyring *k, const struct slot *s,
			    const struct key_secret *secret, struct writer *w, struct error *why)
{
	uint8_t derived[CRYPTO_KEY_BYTES + SLOT_COMMITMENT_BYTES] = {0};
	uint8_t digest[CRYPTO_SHA256_BYTES];
	uint8_t *key_set = malloc(KEY_SET_BYTES_MAX + CRYPTO_TAG_BYTES);
	size_t len;
	enum err e = ERR_NONE;

	if (key_set == NULL)
		return error_set(why, ERR_MEMORY, "cannot make a key slot: out of memory");
	len = keyring_encode(k, key_set);
	if (s->info.type != SLOT_CLEAR)
		e = slot_derive(s->info.type, &s->cost, s->repository_id, s->salt,
				secret_view(&secret->material), derived, why);
	if (e != ERR_NONE)
		goto out;
	slot_head(w, s, derived + CRYPTO_KEY_BYTES);
	if (s->info.type != SLOT_CLEAR && !w->bad) {
		e = slot_seal(derived, writer_view(w), key_set, len, why);
		if (e != ERR_NONE)
			goto out;
		len += CRYPTO_TAG_BYTES;
	}
	put_hex(w, "sealed", bytes_of(key_set, len));
	if (!w->bad)
		e = crypto_sha256(writer_view(w), digest, why);
	if (e != ERR_NONE)
		goto out;
	put_hex(w, "digest", bytes_of(digest, sizeof(digest)));
	if (w->bad)
		e = error_set(why, ERR_MEMORY, "cannot make a key slot: out of memory");
out:
	explicit_bzero(derived, sizeof(derived));
	explicit_bzero(key_set, KEY_SET_BYTES_MAX + CRYPTO_TAG_BYTES);
	free(key_set);
	return e;
}

enum err keyring_put_slot(const struct keyring *k, const struct env *env, struct store *store,
			  const char *name, const struct key_secret *secret, struct error *why)
{
	struct slot s = {.cost = {SLOT_SCRYPT_N, SLOT_SCRYPT_R, SLOT_SCRYPT_P}};
	char key[SLOT_KEY_TEXT_MAX];
	struct writer w;
	enum err e;

	if (!slot_is_name(name))
		return error_set(why, ERR_CONFIG,
				 "\"%s\" is no name for a key slot: use a-z, 0-9 and -, at most %d",
				 name, SLOT_NAME_MAX - 1);
	writer_init(&w, SLOT_BYTES_MAX);
	s.info.type = secret != NULL ? secret->type : SLOT_CLEAR;
	(void)snprintf(s.info.name, sizeof(s.info.name), "%s", name); /* length checked above */
	(void)snprintf(key, sizeof(key), "%s%s", slots_prefix, name); /* likewise */
	s.info.epoch = keyring_epoch(k);
	time_to_text(clock_now_us(env->clock), s.info.created);
	memcpy(s.repository_id, k->repository_id, REPOSITORY_ID_BYTES);
	e = random_fill(env->random, s.salt, sizeof(s.salt), why);
	if (e == ERR_NONE)
		e = slot_encode(k, &s, secret, &w, why);
	if (e == ERR_NONE)
		e = repo_put(store, key, writer_view(&w), why);
	if (s.info.type == SLOT_CLEAR && w.data != NULL)
		explicit_bzero(w.data, w.len);
	writer_release(&w);
	return e == ERR_NONE ? e : error_add(why, "cannot make the key slot \"%s\"", name);
}

static bool get_hex(struct bytes text, const char *name, uint8_t *out, size_t len)
{
	char value[2 * 32 + 1];

	assert(len <= 32);
	return lines_get(text, name, value, sizeof(value)) &&
	       text_to_hex(bytes_of_text(value), out, len);
}

static bool get_scrypt(struct bytes text, struct scrypt_cost *out)
{
	char value[64], end;
	unsigned long long n;

	if (!lines_get(text, "scrypt", value, sizeof(value)) ||
	    sscanf(value, "%20llu %9u %9u%c", &n, &out->r, &out->p, &end) != 3)
		return false;
	out->n = n;
	return true;
}

/* Decodes the line "sealed " of `text`, whose value is longer than others. */
static bool get_sealed(struct slot *s, struct bytes text)
{
	char *value = malloc(SLOT_BYTES_MAX);
	bool fine = false;
	size_t len;

	if (value != NULL && lines_get(text, "sealed", value, SLOT_BYTES_MAX)) {
		len = strlen(value) / 2;
		s->sealed = malloc(len > 0 ? len : 1);
		if (s->sealed != NULL) {
			s->sealed_len = len;
			fine = text_to_hex(bytes_of_text(value), s->sealed, len);
		}
	}
	if (value != NULL)
		explicit_bzero(value, SLOT_BYTES_MAX);
	free(value);
	return fine;
}

/* The digest line is the last and right; *body is all before it. */
static bool slot_is_whole(struct bytes text, struct bytes *body)
{
	uint8_t digest[CRYPTO_SHA256_BYTES];
	char line[SLOT_DIGEST_LINE_BYTES + 1], hex[2 * CRYPTO_SHA256_BYTES + 1];

	if (text.len <= SLOT_DIGEST_LINE_BYTES)
		return false;
	*body = bytes_of(text.data, text.len - SLOT_DIGEST_LINE_BYTES);
	if (crypto_sha256(*body, digest, NULL) != ERR_NONE)
		return false;
	text_of_hex(bytes_of(digest, sizeof(digest)), hex);
	(void)snprintf(line, sizeof(line), "digest %s\n", hex); /* fits by its parts */
	return memcmp(text.data + body->len, line, SLOT_DIGEST_LINE_BYTES) == 0;
}

static bool slot_parse(struct slot *s, struct bytes text)
{
	struct bytes body;
	const uint8_t *sealed;
	uint64_t type, epoch = 1;

	if (!slot_is_whole(text, &body) || body.len < sizeof(slot_first_line) ||
	    memcmp(body.data, slot_first_line, sizeof(slot_first_line) - 1) != 0)
		return false;
	sealed = memmem(body.data, body.len, "\nsealed ", sizeof(slot_sealed_name));
	if (sealed == NULL || !lines_get_u64(body, "type", &type) || type > SLOT_RECOVERY ||
	    !lines_get(body, "created", s->info.created, sizeof(s->info.created)) ||
	    !get_hex(body, "repository", s->repository_id, REPOSITORY_ID_BYTES) ||
	    !get_hex(body, "salt", s->salt, SLOT_SALT_BYTES) || !get_sealed(s, body))
		return false;
	s->info.type = (enum slot_type)type;
	(void)lines_get_u64(body, "epoch", &epoch); /* absent before there were rotations */
	s->info.epoch = epoch < UINT32_MAX ? (uint32_t)epoch : UINT32_MAX;
	s->aad = bytes_of(body.data, (size_t)(sealed - body.data) + 1);
	if (s->info.type == SLOT_CLEAR)
		return true;
	return s->sealed_len > CRYPTO_TAG_BYTES &&
	       get_hex(body, "commitment", s->commitment, SLOT_COMMITMENT_BYTES) &&
	       (s->info.type != SLOT_PASSPHRASE || get_scrypt(body, &s->cost));
}

enum err slot_read(struct store *store, const char *key, struct slot *s, struct error *why)
{
	const char *name = key + sizeof(slots_prefix) - 1;
	char stated[SLOT_NAME_MAX];
	struct bytes text;
	size_t len = 0;
	enum err e;

	*s = (struct slot){.sealed = NULL};
	e = store_get(store, key, SLOT_BYTES_MAX, &s->text, &len, why);
	if (e == ERR_LIMIT)
		e = error_set(why, ERR_CORRUPT, "longer than %d bytes", SLOT_BYTES_MAX);
	if (e != ERR_NONE)
		return error_add(why, "cannot read the key slot %s", key);
	text = bytes_of(s->text, len);
	if (!slot_is_name(name) || !slot_parse(s, text)) {
		slot_release(s);
		return error_set(why, ERR_CORRUPT, "key slot %s is damaged", key);
	}
	if (!lines_get(text, "slot", stated, sizeof(stated)) || strcmp(stated, name) != 0) {
		slot_release(s);
		return error_set(why, ERR_CORRUPT, "key slot %s is that of another name", key);
	}
	(void)snprintf(s->info.name, sizeof(s->info.name), "%s", name); /* length checked above */
	return ERR_NONE;
}
