/* crypto/hkdf.c - HKDF-SHA-256, extract and expand in one step. */
#include "crypto/crypto.h"
#include "crypto/crypto_internal.h"

#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

static const char failure[] = "cannot derive a key: HKDF-SHA-256";

/* OpenSSL takes parameters that it only reads through pointers that are not const. */
static OSSL_PARAM octets(const char *name, struct bytes value)
{
	static const uint8_t none[1];

	return OSSL_PARAM_construct_octet_string(
		name, (void *)(uintptr_t)(value.len > 0 ? value.data : none), value.len);
}

enum err crypto_hkdf(struct bytes key, struct bytes salt, struct bytes info, uint8_t *out,
		     size_t out_len, struct error *why)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char[]){"SHA256"}, 0),
		octets(OSSL_KDF_PARAM_KEY, key),
		octets(OSSL_KDF_PARAM_SALT, salt),
		octets(OSSL_KDF_PARAM_INFO, info),
		OSSL_PARAM_construct_end(),
	};
	EVP_KDF *kdf = NULL;
	EVP_KDF_CTX *ctx = NULL;
	enum err e = ERR_NONE;

	assert(out_len > 0 && out_len <= 255 * CRYPTO_SHA256_BYTES);
	if (info.len > CRYPTO_HKDF_INFO_MAX)
		return error_set(why, ERR_LIMIT, "%s: info of %zu bytes, at most %d are possible",
				 failure, info.len, CRYPTO_HKDF_INFO_MAX);
	kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	ctx = EVP_KDF_CTX_new(kdf); /* NULL for NULL */
	if (ctx == NULL || EVP_KDF_derive(ctx, out, out_len, params) != 1)
		e = crypto_failed(why, failure);
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return e;
}
