#include "base/text.h"
#include "crypto/crypto.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>

static struct error why;

static void expect_hex(const uint8_t *got, size_t len, const char *hex)
{
	char text[201];

	cr_assert_leq(len, 100);
	text_of_hex(bytes_of(got, len), text);
	cr_assert_str_eq(text, hex);
}

/* RFC 7914, section 12: of its four cases one lies within our bounds without taking 1 GiB.  It
 * asks for 64 bytes; the first 32 are the same whatever the length. */
Test(scrypt, of_the_published_case)
{
	uint8_t out[CRYPTO_KEY_BYTES];

	cr_assert_eq(crypto_scrypt(bytes_of_text("pleaseletmein"), bytes_of_text("SodiumChloride"),
				   16384, 8, 1, out, &why),
		     ERR_NONE);
	expect_hex(out, sizeof(out),
		   "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2");
}

/* Made by vectors.py. */
Test(scrypt, of_four_lanes)
{
	uint8_t out[CRYPTO_KEY_BYTES];

	cr_assert_eq(crypto_scrypt(bytes_of_text("password"), bytes_of_text("NaCl"), 1024, 8, 4,
				   out, &why),
		     ERR_NONE);
	expect_hex(out, sizeof(out),
		   "1ed1b3814e7bd065fea1b64fa617fb05ba290e301b2765b831876fb995044293");
}

/* 128 MiB, four times OpenSSL's own limit. */
Test(scrypt, at_the_cost_of_a_real_slot_is_not_stopped_by_the_default_memory_limit)
{
	uint8_t out[CRYPTO_KEY_BYTES] = {0}, other[CRYPTO_KEY_BYTES] = {0};

	cr_assert_eq(crypto_scrypt(bytes_of_text("secret"), bytes_of_text("salt"), 1 << 17, 8, 1,
				   out, &why),
		     ERR_NONE, "%s", why.text);
	cr_assert_eq(crypto_scrypt(bytes_of_text("Secret"), bytes_of_text("salt"), 1 << 17, 8, 1,
				   other, &why),
		     ERR_NONE);
	cr_assert_not(crypto_same(out, other, sizeof(out)));
}

Test(scrypt, takes_an_empty_passphrase_as_one)
{
	uint8_t out[CRYPTO_KEY_BYTES] = {0}, other[CRYPTO_KEY_BYTES] = {0};

	cr_assert_eq(crypto_scrypt(bytes_of(NULL, 0), bytes_of(NULL, 0), 16, 8, 1, out, &why),
		     ERR_NONE, "%s", why.text);
	cr_assert_eq(crypto_scrypt(bytes_of_text("a"), bytes_of(NULL, 0), 16, 8, 1, other, &why),
		     ERR_NONE);
	cr_assert_not(crypto_same(out, other, sizeof(out)));
}

Test(scrypt, refuses_what_a_hostile_slot_asks_for)
{
	static const struct {
		uint64_t n;
		uint32_t r, p;
		const char *names;
	} hostile[] = {
		{0, 8, 1, "N is 0"},
		{1, 8, 1, "N is 1,"},
		{131071, 8, 1, "N is 131071"},
		{UINT64_C(1) << 21, 8, 1, "N is 2097152"},
		{UINT64_C(1) << 63, 8, 1, "N is 9223372036854775808"},
		{UINT64_C(1) << 32 | 1 << 17, 8, 1, "N is 4295098368"},
		{1 << 17, 0, 1, "r is 0"},
		{1 << 17, 7, 1, "r is 7"},
		{1 << 17, 0x80000008, 1, "r is 2147483656"},
		{1 << 17, 8, 0, "p is 0"},
		{1 << 17, 8, 5, "p is 5"},
		{1 << 17, 8, UINT32_MAX, "p is 4294967295"},
	};

	for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		uint8_t out[CRYPTO_KEY_BYTES] = {0x5a};

		cr_assert_eq(crypto_scrypt(bytes_of_text("p"), bytes_of_text("s"), hostile[i].n,
					   hostile[i].r, hostile[i].p, out, &why),
			     ERR_CORRUPT);
		cr_assert_not_null(strstr(why.text, hostile[i].names), "%s", why.text);
		cr_assert_eq(out[0], 0x5a, "the output is untouched");
	}
}

Test(scrypt, a_missing_algorithm_is_told_with_the_reason_of_openssl)
{
	uint8_t out[CRYPTO_KEY_BYTES];

	cr_assert_eq(EVP_set_default_properties(NULL, "provider=absent"), 1);
	cr_assert_eq(crypto_scrypt(bytes_of_text("k"), bytes_of(NULL, 0), 1024, 8, 1, out, &why),
		     ERR_IO);
	cr_assert_not_null(strstr(why.text, "scrypt: OpenSSL: error:"), "%s", why.text);
}
