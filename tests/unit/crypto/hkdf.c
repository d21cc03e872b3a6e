#include "base/text.h"
#include "crypto/crypto.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <signal.h>

static struct error why;

static void expect_hex(const uint8_t *got, size_t len, const char *hex)
{
	char text[201];

	cr_assert_leq(len, 100);
	text_of_hex(bytes_of(got, len), text);
	cr_assert_str_eq(text, hex);
}

static void count_from(uint8_t *out, size_t len, uint8_t first)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(first + i);
}

/* RFC 5869, appendix A, test cases 1 to 3: those with SHA-256. */
Test(hkdf, of_the_published_cases)
{
	uint8_t key[80], salt[80], info[80], out[82];

	memset(key, 0x0b, 22);
	count_from(salt, 13, 0x00);
	count_from(info, 10, 0xf0);
	cr_assert_eq(crypto_hkdf(bytes_of(key, 22), bytes_of(salt, 13), bytes_of(info, 10), out, 42,
				 &why),
		     ERR_NONE);
	expect_hex(out, 42,
		   "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
		   "34007208d5b887185865");
	cr_assert_eq(
		crypto_hkdf(bytes_of(key, 22), bytes_of(NULL, 0), bytes_of(NULL, 0), out, 42, &why),
		ERR_NONE);
	expect_hex(out, 42,
		   "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
		   "9d201395faa4b61a96c8");
	count_from(key, 80, 0x00);
	count_from(salt, 80, 0x60);
	count_from(info, 80, 0xb0);
	cr_assert_eq(crypto_hkdf(bytes_of(key, 80), bytes_of(salt, 80), bytes_of(info, 80), out, 82,
				 &why),
		     ERR_NONE);
	expect_hex(out, 82,
		   "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
		   "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
		   "cc30c58179ec3e87c14c01d5c1f3434f1d87");
}

Test(hkdf, takes_info_up_to_its_bound_and_refuses_more)
{
	static const uint8_t info[CRYPTO_HKDF_INFO_MAX + 1];
	const uint8_t key[CRYPTO_KEY_BYTES] = {1};
	uint8_t out[255 * CRYPTO_SHA256_BYTES];

	cr_assert_eq(crypto_hkdf(bytes_of(key, sizeof(key)), bytes_of(NULL, 0),
				 bytes_of(info, CRYPTO_HKDF_INFO_MAX), out, sizeof(out), &why),
		     ERR_NONE);
	cr_assert_eq(crypto_hkdf(bytes_of(key, sizeof(key)), bytes_of(NULL, 0),
				 bytes_of(info, sizeof(info)), out, 32, &why),
		     ERR_LIMIT);
	cr_assert_not_null(strstr(why.text, "HKDF-SHA-256: info of 1025 bytes"), "%s", why.text);
}

Test(hkdf, for_more_than_its_255_blocks_is_a_programmer_error, .signal = SIGABRT)
{
	uint8_t out[1];

	cr_assert_eq(crypto_hkdf(bytes_of(out, 1), bytes_of(NULL, 0), bytes_of(NULL, 0), out,
				 255 * CRYPTO_SHA256_BYTES + 1, &why),
		     ERR_NONE);
}

Test(hkdf, a_missing_algorithm_is_told_with_the_reason_of_openssl)
{
	uint8_t out[CRYPTO_KEY_BYTES];

	cr_assert_eq(EVP_set_default_properties(NULL, "provider=absent"), 1);
	cr_assert_eq(crypto_hkdf(bytes_of_text("k"), bytes_of(NULL, 0), bytes_of(NULL, 0), out,
				 sizeof(out), &why),
		     ERR_IO);
	cr_assert_not_null(strstr(why.text, "HKDF-SHA-256: OpenSSL: error:"), "%s", why.text);
}
