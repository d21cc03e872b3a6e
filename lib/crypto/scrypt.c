/* crypto/scrypt.c - scrypt with bounds on what the stored parameters may cost. */
#include "crypto/crypto.h"
#include "crypto/crypto_internal.h"

#include <inttypes.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

enum {
	/* 1 GiB and a few seconds: more than people wait for, less than a machine dies of. */
	N_MAX = 1 << 20,
	R_ONLY = 8,
	P_MAX = 4
};

static enum err run(struct bytes passphrase, struct bytes salt, uint64_t n, uint32_t r, uint32_t p,
		    uint8_t out[CRYPTO_KEY_BYTES], struct error *why)
{
	/* V is 128 * r * N bytes, B is 128 * r * p, and OpenSSL counts two more blocks of scratch
	 * with V.  Its own default of 32 MiB refuses the N that pgagent uses. */
	uint64_t memory_max = UINT64_C(128) * r * (n + p + 2);
	static const uint8_t none[1];
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(
			OSSL_KDF_PARAM_PASSWORD,
			(void *)(uintptr_t)(passphrase.len > 0 ? passphrase.data : none),
			passphrase.len),
		OSSL_PARAM_construct_octet_string(
			OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)(salt.len > 0 ? salt.data : none),
			salt.len),
		OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
		OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
		OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
		OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &memory_max),
		OSSL_PARAM_construct_end(),
	};
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "SCRYPT", NULL);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf); /* NULL for NULL */
	enum err e = ERR_NONE;

	if (ctx == NULL || EVP_KDF_derive(ctx, out, CRYPTO_KEY_BYTES, params) != 1)
		e = crypto_failed(why, "cannot derive a key from the passphrase: scrypt");
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return e;
}

enum err crypto_scrypt(struct bytes passphrase, struct bytes salt, uint64_t n, uint32_t r,
		       uint32_t p, uint8_t out[CRYPTO_KEY_BYTES], struct error *why)
{
	/* Checked before anything is allocated: a slot that somebody else wrote must not cost more
	 * than a slot of our own could. */
	if (n < 2 || n > N_MAX || (n & (n - 1)) != 0)
		return error_set(why, ERR_CORRUPT,
				 "cannot derive a key from the passphrase: scrypt: N is %" PRIu64
				 ", not a power of two in 2..%d",
				 n, N_MAX);
	if (r != R_ONLY)
		return error_set(why, ERR_CORRUPT,
				 "cannot derive a key from the passphrase: scrypt: r is %" PRIu32
				 ", not %d",
				 r, R_ONLY);
	if (p < 1 || p > P_MAX)
		return error_set(why, ERR_CORRUPT,
				 "cannot derive a key from the passphrase: scrypt: p is %" PRIu32
				 ", not in 1..%d",
				 p, P_MAX);
	return run(passphrase, salt, n, r, p, out, why);
}
