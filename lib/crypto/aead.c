/* crypto/aead.c - AES-256-GCM with a nonce that is a name, never an argument.
 *
 * Under one key a message is named by (space, ordinal), and the nonce is that name.  The context
 * remembers per space which ordinal is the lowest that was not used, so that within its life a
 * second message of the same name cannot be sealed.  Across contexts the caller keeps that
 * promise with a fresh key for each object.
 */
#include "crypto/crypto.h"
#include "crypto/crypto_internal.h"

#include <assert.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

enum { NONCE_BYTES = 12, SPACES = 256 };

enum use { USE_NONE, USE_SEALING, USE_OPENING };

struct aead {
	EVP_CIPHER *cipher;
	EVP_CIPHER_CTX *ctx;
	enum use use;
	uint32_t sealed;       /* messages under this key */
	uint64_t next[SPACES]; /* lowest ordinal that may be sealed, for each space */
};

static const char seal_failure[] = "cannot seal: AES-256-GCM";
static const char open_failure[] = "cannot open what was sealed: AES-256-GCM";

enum err aead_new(struct aead **out, struct error *why)
{
	struct aead *a = calloc(1, sizeof(*a));
	enum err e;

	if (a == NULL)
		return error_set(why, ERR_MEMORY, "cannot set up AES-256-GCM: out of memory");
	a->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	a->ctx = EVP_CIPHER_CTX_new();
	if (a->cipher == NULL || a->ctx == NULL ||
	    EVP_CipherInit_ex2(a->ctx, a->cipher, NULL, NULL, 1, NULL) != 1) {
		e = crypto_failed(why, "cannot set up AES-256-GCM");
		aead_free(a);
		return e;
	}
	*out = a;
	return ERR_NONE;
}

void aead_free(struct aead *a)
{
	if (a == NULL)
		return;
	EVP_CIPHER_CTX_free(a->ctx); /* wipes the key schedule */
	EVP_CIPHER_free(a->cipher);
	free(a);
}

enum err aead_set_key(struct aead *a, const uint8_t key[CRYPTO_KEY_BYTES], bool sealing,
		      struct error *why)
{
	a->use = USE_NONE;
	a->sealed = 0;
	memset(a->next, 0, sizeof(a->next));
	if (EVP_CipherInit_ex2(a->ctx, NULL, key, NULL, sealing ? 1 : 0, NULL) != 1)
		return crypto_failed(why, "cannot set a key: AES-256-GCM");
	a->use = sealing ? USE_SEALING : USE_OPENING;
	return ERR_NONE;
}

/* Nonce, additional data, then the message from `in` to `out`; the key and the direction are set.
 * An EVP length is an int, which the callers checked. */
static bool pass(struct aead *a, uint8_t space, uint64_t ordinal, struct bytes aad, struct bytes in,
		 uint8_t *out)
{
	uint8_t nonce[NONCE_BYTES] = {space};
	int n = 0;

	put_u64_be(nonce + 4, ordinal);
	if (EVP_CipherInit_ex2(a->ctx, NULL, NULL, nonce, -1, NULL) != 1)
		return false;
	if (aad.len > 0 && EVP_CipherUpdate(a->ctx, NULL, &n, aad.data, (int)aad.len) != 1)
		return false;
	return in.len == 0 || (EVP_CipherUpdate(a->ctx, out, &n, in.data, (int)in.len) == 1 &&
			       (size_t)n == in.len);
}

static enum err check_lengths(const char *failure, struct bytes aad, struct bytes in,
			      struct error *why)
{
	if (in.len > INT_MAX || aad.len > INT_MAX)
		return error_set(why, ERR_LIMIT, "%s: the message is longer than %d bytes", failure,
				 INT_MAX);
	return ERR_NONE;
}

enum err aead_seal(struct aead *a, uint8_t space, uint64_t ordinal, struct bytes aad,
		   struct bytes in, uint8_t *out, uint8_t tag[CRYPTO_TAG_BYTES], struct error *why)
{
	uint8_t rest[EVP_MAX_BLOCK_LENGTH];
	int n = 0;
	enum err e;

	assert(a->use == USE_SEALING);
	assert(ordinal >= a->next[space] && ordinal < UINT64_MAX);
	e = check_lengths(seal_failure, aad, in, why);
	if (e != ERR_NONE)
		return e;
	if (a->sealed == CRYPTO_MESSAGES_MAX)
		return error_set(why, ERR_LIMIT, "%s: the key has sealed %d messages", seal_failure,
				 CRYPTO_MESSAGES_MAX);
	/* Taken before the attempt: what half happened must not happen again with other bytes. */
	a->next[space] = ordinal + 1;
	a->sealed++;
	if (!pass(a, space, ordinal, aad, in, out) || EVP_CipherFinal_ex(a->ctx, rest, &n) != 1 ||
	    n != 0 ||
	    EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_GET_TAG, CRYPTO_TAG_BYTES, tag) != 1) {
		OPENSSL_cleanse(out, in.len);
		return crypto_failed(why, seal_failure);
	}
	return ERR_NONE;
}

enum err aead_open(struct aead *a, uint8_t space, uint64_t ordinal, struct bytes aad,
		   struct bytes in, const uint8_t tag[CRYPTO_TAG_BYTES], uint8_t *out,
		   struct error *why)
{
	uint8_t rest[EVP_MAX_BLOCK_LENGTH];
	uint8_t expected[CRYPTO_TAG_BYTES]; /* OpenSSL takes it through a pointer to non-const */
	int n = 0;
	enum err e;

	assert(a->use == USE_OPENING);
	e = check_lengths(open_failure, aad, in, why);
	if (e != ERR_NONE)
		return e;
	memcpy(expected, tag, CRYPTO_TAG_BYTES);
	if (!pass(a, space, ordinal, aad, in, out) ||
	    EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_SET_TAG, CRYPTO_TAG_BYTES, expected) != 1) {
		OPENSSL_cleanse(out, in.len);
		return crypto_failed(why, open_failure);
	}
	/* The plaintext stands in `out` before the tag is compared: nobody may see it then. */
	if (EVP_CipherFinal_ex(a->ctx, rest, &n) != 1) {
		OPENSSL_cleanse(out, in.len);
		return error_set(why, ERR_CORRUPT, "%s: the tag does not match", open_failure);
	}
	return ERR_NONE;
}
