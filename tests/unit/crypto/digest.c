#include "base/text.h"
#include "crypto/crypto.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <signal.h>

static struct error why;

static void expect_hex(const uint8_t *got, size_t len, const char *hex)
{
	char text[129];

	cr_assert_leq(len, 64);
	text_of_hex(bytes_of(got, len), text);
	cr_assert_str_eq(text, hex);
}

/* FIPS 180-2, appendix B. */
Test(digest, sha256_of_the_published_messages)
{
	static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
	uint8_t out[CRYPTO_SHA256_BYTES];

	cr_assert_eq(crypto_sha256(bytes_of_text("abc"), out, &why), ERR_NONE);
	expect_hex(out, sizeof(out),
		   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	cr_assert_eq(crypto_sha256(bytes_of_text(two_blocks), out, &why), ERR_NONE);
	expect_hex(out, sizeof(out),
		   "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	cr_assert_eq(crypto_sha256(bytes_of(NULL, 0), out, &why), ERR_NONE);
	expect_hex(out, sizeof(out),
		   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

Test(digest, a_running_sha256_does_not_depend_on_the_cuts)
{
	struct sha256 *s = NULL;
	uint8_t as[1000];
	uint8_t out[CRYPTO_SHA256_BYTES];

	memset(as, 'a', sizeof(as));
	cr_assert_eq(sha256_new(&s, &why), ERR_NONE);
	cr_assert_eq(sha256_start(s, &why), ERR_NONE);
	for (size_t cut = 0; cut < 1000; cut++) {
		cr_assert_eq(sha256_add(s, bytes_of(as, cut), &why), ERR_NONE);
		cr_assert_eq(sha256_add(s, bytes_of(as + cut, sizeof(as) - cut), &why), ERR_NONE);
	}
	cr_assert_eq(sha256_end(s, out, &why), ERR_NONE);
	expect_hex(out, sizeof(out),
		   "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	sha256_free(s);
}

Test(digest, a_running_sha256_starts_anew_after_and_before_its_end)
{
	static const char abc[] =
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	struct sha256 *s = NULL;
	uint8_t out[CRYPTO_SHA256_BYTES];

	cr_assert_eq(sha256_new(&s, &why), ERR_NONE);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(sha256_start(s, &why), ERR_NONE);
		cr_assert_eq(sha256_add(s, bytes_of_text("dropped"), &why), ERR_NONE);
		cr_assert_eq(sha256_start(s, &why), ERR_NONE);
		cr_assert_eq(sha256_add(s, bytes_of_text("abc"), &why), ERR_NONE);
		cr_assert_eq(sha256_end(s, out, &why), ERR_NONE);
		expect_hex(out, sizeof(out), abc);
	}
	sha256_free(s);
	sha256_free(NULL);
}

Test(digest, adding_before_start_is_a_programmer_error, .signal = SIGABRT)
{
	struct sha256 *s = NULL;

	cr_assert_eq(sha256_new(&s, &why), ERR_NONE);
	cr_assert_eq(sha256_add(s, bytes_of_text("abc"), &why), ERR_NONE);
}

struct hmac_case {
	uint8_t key_byte; /* 0 = key_text */
	size_t key_len;
	const char *key_text;
	uint8_t data_byte; /* 0 = data_text */
	size_t data_len;
	const char *data_text;
	const char *mac;
};

/* RFC 4231, test cases 1, 2, 3, 4, 6, 7. */
static const struct hmac_case rfc4231[] = {
	{0x0b, 20, NULL, 0, 0, "Hi There",
	 "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
	{0, 0, "Jefe", 0, 0, "what do ya want for nothing?",
	 "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
	{0xaa, 20, NULL, 0xdd, 50, NULL,
	 "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
	{0, 0,
	 "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16"
	 "\x17\x18\x19",
	 0xcd, 50, NULL, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
	{0xaa, 131, NULL, 0, 0, "Test Using Larger Than Block-Size Key - Hash Key First",
	 "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
	{0xaa, 131, NULL, 0, 0,
	 "This is a test using a larger than block-size key and a larger than block-size data. The "
	 "key needs to be hashed before being used by the HMAC algorithm.",
	 "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
};

static struct bytes filled(uint8_t *room, uint8_t byte, size_t len, const char *text)
{
	if (byte == 0)
		return bytes_of_text(text);
	memset(room, byte, len);
	return bytes_of(room, len);
}

Test(digest, hmac_of_the_published_cases_however_the_parts_are_cut)
{
	for (size_t i = 0; i < sizeof(rfc4231) / sizeof(rfc4231[0]); i++) {
		const struct hmac_case *c = &rfc4231[i];
		uint8_t key_room[131], data_room[50];
		uint8_t out[CRYPTO_SHA256_BYTES];
		struct bytes key = filled(key_room, c->key_byte, c->key_len, c->key_text);
		struct bytes data = filled(data_room, c->data_byte, c->data_len, c->data_text);

		for (size_t cut = 0; cut <= data.len; cut++) {
			struct bytes parts[] = {bytes_of(data.data, cut), bytes_of(NULL, 0),
						bytes_of(data.data + cut, data.len - cut)};

			cr_assert_eq(crypto_hmac(key, parts, 3, out, &why), ERR_NONE);
			expect_hex(out, sizeof(out), c->mac);
		}
	}
}

/* Made with hmac of Python: the key is padded with zeros, so an empty one is a key. */
Test(digest, hmac_of_nothing_under_an_empty_key)
{
	uint8_t out[CRYPTO_SHA256_BYTES];

	cr_assert_eq(crypto_hmac(bytes_of(NULL, 0), NULL, 0, out, &why), ERR_NONE);
	expect_hex(out, sizeof(out),
		   "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

Test(digest, comparing_sees_a_difference_in_every_bit)
{
	uint8_t a[32] = {0}, b[32] = {0};

	cr_assert(crypto_same(a, b, sizeof(a)));
	for (size_t bit = 0; bit < 256; bit++) {
		b[bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_assert_not(crypto_same(a, b, sizeof(a)));
		b[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	b[31] = 1;
	cr_assert(crypto_same(a, b, 31));
}

/* A build of OpenSSL that lacks an algorithm, as a FIPS setup does. */
Test(digest, a_missing_algorithm_is_told_with_the_reason_of_openssl)
{
	uint8_t out[CRYPTO_SHA256_BYTES];
	struct sha256 *s = NULL;

	cr_assert_eq(EVP_set_default_properties(NULL, "provider=absent"), 1);
	cr_assert_eq(sha256_new(&s, &why), ERR_IO);
	cr_assert_null(s);
	cr_assert_not_null(strstr(why.text, "SHA-256: OpenSSL: error:"), "%s", why.text);
	cr_assert_not_null(strstr(why.text, "unsupported"), "%s", why.text);
	cr_assert_eq(crypto_sha256(bytes_of_text("abc"), out, &why), ERR_IO);
	cr_assert_eq(crypto_hmac(bytes_of_text("k"), NULL, 0, out, &why), ERR_IO);
	cr_assert_not_null(strstr(why.text, "HMAC-SHA-256: OpenSSL: error:"), "%s", why.text);
}
