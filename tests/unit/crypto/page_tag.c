#include "base/text.h"
#include "crypto/crypto.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <signal.h>

static struct error why;

static const enum page_tag_kind kinds[] = {PAGE_TAG_GMAC, PAGE_TAG_HMAC};

static struct page_tagger *with_key(enum page_tag_kind kind, uint8_t first)
{
	uint8_t key[CRYPTO_KEY_BYTES];
	struct page_tagger *t = NULL;

	for (uint8_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(first + i);
	cr_assert_eq(page_tagger_new(kind, key, &t, &why), ERR_NONE);
	return t;
}

static void make_page(uint8_t page[8192])
{
	for (size_t i = 0; i < 8192; i++)
		page[i] = (uint8_t)(i * 7 + 3);
}

static void tag_of(struct page_tagger *t, const uint8_t *page, size_t len,
		   uint8_t out[CRYPTO_TAG_BYTES])
{
	cr_assert_eq(page_tag(t, bytes_of(page, len), out, &why), ERR_NONE);
}

/* GMAC made by vectors.py, an implementation of its own; HMAC by Python's hmac. */
Test(page_tag, tags_of_the_derived_vectors_in_any_order)
{
	static const struct {
		size_t len;
		const char *gmac, *hmac;
	} vectors[] = {
		{8192, "1e8d8d2b28426df214db1fdde3359005", "4644e3ceb2f95f91eee97c5817c560ae"},
		{0, "4af60e46eeff381ceef6c0246c0dde69", "9f0cd9b94097fe4929918d2b8942b344"},
		{4096, "baa30002ab9c6caa22f912c3a6f71bf9", "09c895281dd85cb224f5b3dd5f0af012"},
		{1, "8fe3f44088f079dfee563816804c5486", "74dd6f9a9a2d4d8997864d28390a9fae"},
		{8192, "1e8d8d2b28426df214db1fdde3359005", "4644e3ceb2f95f91eee97c5817c560ae"},
	};
	struct page_tagger *gmac = with_key(PAGE_TAG_GMAC, 0);
	struct page_tagger *hmac = with_key(PAGE_TAG_HMAC, 0);
	uint8_t page[8192], tag[CRYPTO_TAG_BYTES];
	char text[2 * CRYPTO_TAG_BYTES + 1];

	make_page(page);
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		tag_of(gmac, page, vectors[i].len, tag);
		text_of_hex(bytes_of(tag, sizeof(tag)), text);
		cr_assert_str_eq(text, vectors[i].gmac);
		tag_of(hmac, page, vectors[i].len, tag);
		text_of_hex(bytes_of(tag, sizeof(tag)), text);
		cr_assert_str_eq(text, vectors[i].hmac);
	}
	page_tagger_free(gmac);
	page_tagger_free(hmac);
	page_tagger_free(NULL);
}

Test(page_tag, a_changed_bit_of_the_page_changes_the_tag)
{
	for (size_t k = 0; k < 2; k++) {
		struct page_tagger *t = with_key(kinds[k], 0);
		uint8_t page[8192], tag[CRYPTO_TAG_BYTES], other[CRYPTO_TAG_BYTES];

		make_page(page);
		tag_of(t, page, sizeof(page), tag);
		for (size_t at = 0; at < sizeof(page); at += 61) {
			page[at] ^= (uint8_t)(1u << at % 8);
			tag_of(t, page, sizeof(page), other);
			cr_assert_not(crypto_same(tag, other, sizeof(tag)));
			page[at] ^= (uint8_t)(1u << at % 8);
		}
		tag_of(t, page, sizeof(page), other);
		cr_assert(crypto_same(tag, other, sizeof(tag)));
		page_tagger_free(t);
	}
}

/* Zero bytes at the end would vanish in GHASH's own padding if the length were not tagged too. */
Test(page_tag, zeros_of_different_length_have_different_tags)
{
	static const uint8_t zeros[64];

	for (size_t k = 0; k < 2; k++) {
		struct page_tagger *t = with_key(kinds[k], 0);
		uint8_t tags[65][CRYPTO_TAG_BYTES];

		for (size_t len = 0; len <= 64; len++) {
			tag_of(t, zeros, len, tags[len]);
			for (size_t before = 0; before < len; before++)
				cr_assert_not(
					crypto_same(tags[before], tags[len], CRYPTO_TAG_BYTES));
		}
		page_tagger_free(t);
	}
}

Test(page_tag, another_key_gives_another_tag)
{
	uint8_t page[8192];

	make_page(page);
	for (size_t k = 0; k < 2; k++) {
		struct page_tagger *a = with_key(kinds[k], 0), *b = with_key(kinds[k], 1);
		uint8_t tag[CRYPTO_TAG_BYTES], other[CRYPTO_TAG_BYTES];

		tag_of(a, page, sizeof(page), tag);
		tag_of(b, page, sizeof(page), other);
		cr_assert_not(crypto_same(tag, other, sizeof(tag)));
		page_tagger_free(a);
		page_tagger_free(b);
	}
}

Test(page_tag, an_unknown_kind_is_a_programmer_error, .signal = SIGABRT)
{
	const uint8_t key[CRYPTO_KEY_BYTES] = {0};
	struct page_tagger *t = NULL;

	cr_assert_eq(page_tagger_new((enum page_tag_kind)3, key, &t, &why), ERR_NONE);
}

Test(page_tag, a_missing_algorithm_is_told_with_the_reason_of_openssl)
{
	const uint8_t key[CRYPTO_KEY_BYTES] = {0};

	cr_assert_eq(EVP_set_default_properties(NULL, "provider=absent"), 1);
	for (size_t k = 0; k < 2; k++) {
		struct page_tagger *t = NULL;

		cr_assert_eq(page_tagger_new(kinds[k], key, &t, &why), ERR_IO);
		cr_assert_null(t);
		cr_assert_not_null(strstr(why.text, "page tag: OpenSSL: error:"), "%s", why.text);
	}
}
