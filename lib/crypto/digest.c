/* crypto/digest.c - SHA-256 at once and running, HMAC-SHA-256, and comparing their results. */
#include "crypto/crypto.h"
#include "crypto/crypto_internal.h"

#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>

static const char sha256_failure[] = "cannot compute a digest: SHA-256";
static const char hmac_failure[] = "cannot compute an authentication code: HMAC-SHA-256";

struct sha256 {
	EVP_MD *md;
	EVP_MD_CTX *ctx;
	bool running; /* between start and end */
};

enum err sha256_new(struct sha256 **out, struct error *why)
{
	struct sha256 *s = calloc(1, sizeof(*s));
	enum err e;

	if (s == NULL)
		return error_set(why, ERR_MEMORY, "%s: out of memory", sha256_failure);
	s->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	s->ctx = EVP_MD_CTX_new();
	if (s->md == NULL || s->ctx == NULL) {
		e = crypto_failed(why, sha256_failure);
		sha256_free(s);
		return e;
	}
	*out = s;
	return ERR_NONE;
}

void sha256_free(struct sha256 *s)
{
	if (s == NULL)
		return;
	EVP_MD_CTX_free(s->ctx);
	EVP_MD_free(s->md);
	free(s);
}

enum err sha256_start(struct sha256 *s, struct error *why)
{
	if (EVP_DigestInit_ex2(s->ctx, s->md, NULL) != 1)
		return crypto_failed(why, sha256_failure);
	s->running = true;
	return ERR_NONE;
}

enum err sha256_add(struct sha256 *s, struct bytes in, struct error *why)
{
	assert(s->running);
	if (EVP_DigestUpdate(s->ctx, in.data, in.len) != 1)
		return crypto_failed(why, sha256_failure);
	return ERR_NONE;
}

enum err sha256_end(struct sha256 *s, uint8_t out[CRYPTO_SHA256_BYTES], struct error *why)
{
	assert(s->running);
	s->running = false;
	if (EVP_DigestFinal_ex(s->ctx, out, NULL) != 1)
		return crypto_failed(why, sha256_failure);
	return ERR_NONE;
}

enum err crypto_sha256(struct bytes in, uint8_t out[CRYPTO_SHA256_BYTES], struct error *why)
{
	struct sha256 *s = NULL;
	enum err e = sha256_new(&s, why);

	if (e == ERR_NONE)
		e = sha256_start(s, why);
	if (e == ERR_NONE)
		e = sha256_add(s, in, why);
	if (e == ERR_NONE)
		e = sha256_end(s, out, why);
	sha256_free(s);
	return e;
}

static bool hmac_run(EVP_MAC_CTX *ctx, struct bytes key, const struct bytes *parts, size_t n,
		     uint8_t out[CRYPTO_SHA256_BYTES])
{
	static const uint8_t none[1];
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA256"}, 0),
		OSSL_PARAM_construct_end(),
	};
	size_t len = 0;

	/* A NULL key would mean "the key from before"; an empty one must still be a pointer. */
	if (EVP_MAC_init(ctx, key.len > 0 ? key.data : none, key.len, params) != 1)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (parts[i].len > 0 && EVP_MAC_update(ctx, parts[i].data, parts[i].len) != 1)
			return false;
	}
	return EVP_MAC_final(ctx, out, &len, CRYPTO_SHA256_BYTES) == 1 &&
	       len == CRYPTO_SHA256_BYTES;
}

enum err crypto_hmac(struct bytes key, const struct bytes *parts, size_t n,
		     uint8_t out[CRYPTO_SHA256_BYTES], struct error *why)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *ctx = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
	enum err e = ERR_NONE;

	if (ctx == NULL || !hmac_run(ctx, key, parts, n, out))
		e = crypto_failed(why, hmac_failure);
	EVP_MAC_CTX_free(ctx);
	EVP_MAC_free(mac);
	return e;
}

bool crypto_same(const uint8_t *a, const uint8_t *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}
