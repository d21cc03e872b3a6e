#include "base/text.h"
#include "crypto/crypto.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <openssl/evp.h>
#include <signal.h>

static struct error why;

static struct aead *with_key(const uint8_t key[CRYPTO_KEY_BYTES], bool sealing)
{
	struct aead *a = NULL;

	cr_assert_eq(aead_new(&a, &why), ERR_NONE);
	cr_assert_eq(aead_set_key(a, key, sealing, &why), ERR_NONE);
	return a;
}

static void counting_key(uint8_t key[CRYPTO_KEY_BYTES])
{
	for (uint8_t i = 0; i < CRYPTO_KEY_BYTES; i++)
		key[i] = i;
}

struct vector {
	bool zero_key; /* otherwise 00 01 02 ... 1f */
	uint8_t space;
	uint64_t ordinal;
	const char *aad, *plain, *sealed, *tag; /* hex */
};

/* The first two are test cases 13 and 14 of "The Galois/Counter Mode of Operation" (McGrew,
 * Viega), also NIST's: their IV of zeros is our space 0, ordinal 0.  The others were made by
 * vectors.py, an implementation of its own that proves itself on test cases 13 to 16. */
static const struct vector vectors[] = {
	{true, 0, 0, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
	{true, 0, 0, "", "00000000000000000000000000000000", "cea7403d4d606b6e074ec5d3baf39d18",
	 "d0d1c8a799996bf0265b98b5d48ab919"},
	{false, 1, 0, "70676167656e74", "6f6e65206672616d65206f66207061676573",
	 "8d42e71fc2dd8d6a2f246aa51cb1e9aca912", "247643c19665b7bab550e9b53114feb0"},
	{false, 7, 0x0102030405060708, "",
	 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	 "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f",
	 "7946f381961c3b798b90091b512dbf269bfffa6d84fcad28f6c3343fb598c6d5"
	 "c60101a2afcf10e73f6b8074604c02e827712713fe523b581e7c9456ba9acea9",
	 "82d11e2e0a121c366e581a667bef3824"},
	{false, 255, UINT64_MAX - 1, "000102030405060708090a0b0c0d0e0f10111213", "", "",
	 "a05dd90be5c2e031aa699d9e58e3bf0c"},
};

static struct bytes from_hex(const char *hex, uint8_t *room, size_t room_len)
{
	size_t len = strlen(hex) / 2;

	cr_assert_leq(len, room_len);
	cr_assert(text_to_hex(bytes_of_text(hex), room, len));
	return bytes_of(room, len);
}

Test(aead, seals_and_opens_the_published_and_derived_vectors)
{
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		const struct vector *v = &vectors[i];
		uint8_t key[CRYPTO_KEY_BYTES] = {0}, rooms[4][64], out[64], tag[CRYPTO_TAG_BYTES];
		struct bytes aad = from_hex(v->aad, rooms[0], 64);
		struct bytes plain = from_hex(v->plain, rooms[1], 64);
		struct bytes sealed = from_hex(v->sealed, rooms[2], 64);
		struct bytes expected = from_hex(v->tag, rooms[3], 64);
		struct aead *a;

		if (!v->zero_key)
			counting_key(key);
		a = with_key(key, true);
		cr_assert_eq(aead_seal(a, v->space, v->ordinal, aad, plain, out, tag, &why),
			     ERR_NONE);
		cr_assert_arr_eq(tag, expected.data, CRYPTO_TAG_BYTES);
		cr_assert(plain.len == 0 || memcmp(out, sealed.data, sealed.len) == 0);
		cr_assert_eq(aead_set_key(a, key, false, &why), ERR_NONE);
		cr_assert_eq(aead_open(a, v->space, v->ordinal, aad, sealed, tag, out, &why),
			     ERR_NONE);
		cr_assert(plain.len == 0 || memcmp(out, plain.data, plain.len) == 0);
		aead_free(a);
	}
}

Test(aead, seals_and_opens_in_place)
{
	uint8_t key[CRYPTO_KEY_BYTES], tag[CRYPTO_TAG_BYTES];
	uint8_t plain[5000], room[5000];
	struct aead *sealer, *opener;

	counting_key(key);
	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i * 31);
	memcpy(room, plain, sizeof(room));
	sealer = with_key(key, true);
	opener = with_key(key, false);
	cr_assert_eq(aead_seal(sealer, 1, 5, bytes_of_text("aad"), bytes_of(room, sizeof(room)),
			       room, tag, &why),
		     ERR_NONE);
	cr_assert_arr_neq(room, plain, sizeof(plain));
	cr_assert_eq(aead_open(opener, 1, 5, bytes_of_text("aad"), bytes_of(room, sizeof(room)),
			       tag, room, &why),
		     ERR_NONE);
	cr_assert_arr_eq(room, plain, sizeof(plain));
	aead_free(sealer);
	aead_free(opener);
	aead_free(NULL);
}

struct sealed {
	uint8_t key[CRYPTO_KEY_BYTES];
	uint8_t aad[20];
	uint8_t plain[40];
	uint8_t text[40];
	uint8_t tag[CRYPTO_TAG_BYTES];
};

static void seal_one(struct sealed *s)
{
	struct aead *a;

	counting_key(s->key);
	memset(s->aad, 0x11, sizeof(s->aad));
	memset(s->plain, 0x22, sizeof(s->plain));
	a = with_key(s->key, true);
	cr_assert_eq(aead_seal(a, 3, 9, bytes_of(s->aad, sizeof(s->aad)),
			       bytes_of(s->plain, sizeof(s->plain)), s->text, s->tag, &why),
		     ERR_NONE);
	aead_free(a);
}

/* Opens `s` as (space, ordinal) with lengths as given; when that fails the output is all zero. */
static enum err try(struct aead *a, const struct sealed *s, uint8_t space, uint64_t ordinal,
		    size_t aad_len, size_t len)
{
	uint8_t out[40];
	enum err e;

	memset(out, 0x77, sizeof(out));
	e = aead_open(a, space, ordinal, bytes_of(s->aad, aad_len), bytes_of(s->text, len), s->tag,
		      out, &why);
	if (e == ERR_NONE) {
		cr_assert_arr_eq(out, s->plain, len);
	} else {
		cr_assert_not_null(strstr(why.text, "the tag does not match"), "%s", why.text);
		cr_assert(bytes_are_zero(bytes_of(out, len)), "what did not verify is wiped");
	}
	return e;
}

Test(aead, a_changed_bit_anywhere_is_refused_and_wiped)
{
	struct sealed s;
	struct aead *a;
	struct {
		uint8_t *data;
		size_t len;
	} where[] = {{s.text, sizeof(s.text)}, {s.tag, sizeof(s.tag)}, {s.aad, sizeof(s.aad)}};

	seal_one(&s);
	a = with_key(s.key, false);
	for (size_t w = 0; w < 3; w++) {
		for (size_t bit = 0; bit < 8 * where[w].len; bit++) {
			where[w].data[bit / 8] ^= (uint8_t)(1u << bit % 8);
			cr_assert_eq(try(a, &s, 3, 9, 20, 40), ERR_CORRUPT);
			where[w].data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
	}
	cr_assert_eq(try(a, &s, 3, 9, 20, 40), ERR_NONE, "a refusal spoils nothing after it");
	aead_free(a);
}

Test(aead, another_key_name_or_length_is_refused)
{
	struct sealed s;
	struct aead *a;

	seal_one(&s);
	a = with_key(s.key, false);
	cr_assert_eq(try(a, &s, 2, 9, 20, 40), ERR_CORRUPT);
	cr_assert_eq(try(a, &s, 3, 8, 20, 40), ERR_CORRUPT);
	cr_assert_eq(try(a, &s, 3, UINT64_C(9) << 56, 20, 40), ERR_CORRUPT);
	cr_assert_eq(try(a, &s, 3, 9, 19, 40), ERR_CORRUPT);
	cr_assert_eq(try(a, &s, 3, 9, 0, 40), ERR_CORRUPT);
	cr_assert_eq(try(a, &s, 3, 9, 20, 39), ERR_CORRUPT);
	cr_assert_eq(try(a, &s, 3, 9, 20, 0), ERR_CORRUPT);
	for (size_t i = 0; i < CRYPTO_KEY_BYTES; i++) {
		s.key[i] ^= 0x80;
		cr_assert_eq(aead_set_key(a, s.key, false, &why), ERR_NONE);
		cr_assert_eq(try(a, &s, 3, 9, 20, 40), ERR_CORRUPT);
		s.key[i] ^= 0x80;
	}
	cr_assert_eq(aead_set_key(a, s.key, false, &why), ERR_NONE);
	cr_assert_eq(try(a, &s, 3, 9, 20, 40), ERR_NONE);
	aead_free(a);
}

static enum err seal_nothing(struct aead *a, uint8_t space, uint64_t ordinal)
{
	uint8_t out[1], tag[CRYPTO_TAG_BYTES];

	return aead_seal(a, space, ordinal, bytes_of(NULL, 0), bytes_of(NULL, 0), out, tag, &why);
}

Test(aead, ordinals_ascend_in_each_space_by_itself_and_anew_under_another_key)
{
	uint8_t key[CRYPTO_KEY_BYTES] = {1};
	struct aead *a = with_key(key, true);

	cr_assert_eq(seal_nothing(a, 0, 5), ERR_NONE);
	cr_assert_eq(seal_nothing(a, 1, 0), ERR_NONE);
	cr_assert_eq(seal_nothing(a, 0, 6), ERR_NONE);
	cr_assert_eq(seal_nothing(a, 255, 1000), ERR_NONE);
	cr_assert_eq(seal_nothing(a, 1, 1), ERR_NONE);
	key[0] = 2;
	cr_assert_eq(aead_set_key(a, key, true, &why), ERR_NONE);
	cr_assert_eq(seal_nothing(a, 0, 0), ERR_NONE);
	aead_free(a);
}

Test(aead, a_repeated_ordinal_is_a_programmer_error, .signal = SIGABRT)
{
	const uint8_t key[CRYPTO_KEY_BYTES] = {1};
	struct aead *a = with_key(key, true);

	cr_assert_eq(seal_nothing(a, 4, 5), ERR_NONE);
	cr_assert_eq(seal_nothing(a, 4, 5), ERR_NONE);
}

Test(aead, a_lower_ordinal_is_a_programmer_error, .signal = SIGABRT)
{
	const uint8_t key[CRYPTO_KEY_BYTES] = {1};
	struct aead *a = with_key(key, true);

	cr_assert_eq(seal_nothing(a, 4, 5), ERR_NONE);
	cr_assert_eq(seal_nothing(a, 4, 4), ERR_NONE);
}

Test(aead, sealing_under_a_key_for_opening_is_a_programmer_error, .signal = SIGABRT)
{
	const uint8_t key[CRYPTO_KEY_BYTES] = {1};

	cr_assert_eq(seal_nothing(with_key(key, false), 0, 0), ERR_NONE);
}

Test(aead, opening_under_a_key_for_sealing_is_a_programmer_error, .signal = SIGABRT)
{
	struct sealed s;

	seal_one(&s);
	cr_assert_eq(try(with_key(s.key, true), &s, 3, 9, 20, 40), ERR_NONE);
}

Test(aead, one_key_seals_a_bounded_number_of_messages)
{
	const uint8_t key[CRYPTO_KEY_BYTES] = {1};
	struct aead *a = with_key(key, true);

	for (uint64_t i = 0; i < CRYPTO_MESSAGES_MAX; i++) {
		if (seal_nothing(a, (uint8_t)(i & 1), i) != ERR_NONE)
			cr_assert_fail("message %u: %s", (unsigned)i, why.text);
	}
	cr_assert_eq(seal_nothing(a, 0, CRYPTO_MESSAGES_MAX), ERR_LIMIT);
	cr_assert_not_null(strstr(why.text, "1048576 messages"), "%s", why.text);
	cr_assert_eq(aead_set_key(a, key, true, &why), ERR_NONE);
	cr_assert_eq(seal_nothing(a, 0, CRYPTO_MESSAGES_MAX), ERR_NONE);
	aead_free(a);
}

/* Only the length is looked at. */
Test(aead, a_message_beyond_the_lengths_of_openssl_is_refused)
{
	struct sealed s = {0};
	struct bytes huge = bytes_of(s.text, (size_t)INT_MAX + 1), none = bytes_of(NULL, 0);
	struct aead *sealer, *opener;

	seal_one(&s);
	sealer = with_key(s.key, true);
	opener = with_key(s.key, false);
	cr_assert_eq(aead_seal(sealer, 0, 0, none, huge, s.text, s.tag, &why), ERR_LIMIT);
	cr_assert_eq(aead_seal(sealer, 0, 0, huge, none, s.text, s.tag, &why), ERR_LIMIT);
	cr_assert_eq(aead_open(opener, 0, 0, none, huge, s.tag, s.text, &why), ERR_LIMIT);
	cr_assert_eq(aead_open(opener, 0, 0, huge, none, s.tag, s.text, &why), ERR_LIMIT);
	cr_assert_not_null(strstr(why.text, "2147483647 bytes"), "%s", why.text);
	aead_free(sealer);
	aead_free(opener);
}

Test(aead, a_missing_algorithm_is_told_with_the_reason_of_openssl)
{
	struct aead *a = NULL;

	cr_assert_eq(EVP_set_default_properties(NULL, "provider=absent"), 1);
	cr_assert_eq(aead_new(&a, &why), ERR_IO);
	cr_assert_null(a);
	cr_assert_not_null(strstr(why.text, "AES-256-GCM: OpenSSL: error:"), "%s", why.text);
}
