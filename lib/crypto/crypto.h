/* crypto/crypto.h - the primitives that the repository is built from, over OpenSSL 3 EVP.
 *
 * Nothing here knows objects, keys' purposes or formats; lib/repo/seal.h gives them meaning.
 * Contexts hold one EVP object each, made once and used for many messages: one thread at a time.
 * No function takes a nonce: an aead context counts its own.
 */
#ifndef CRYPTO_CRYPTO_H
#define CRYPTO_CRYPTO_H

#include "base/bytes.h"
#include "base/error.h"

enum {
	CRYPTO_KEY_BYTES = 32,
	CRYPTO_TAG_BYTES = 16,
	CRYPTO_SHA256_BYTES = 32,
	CRYPTO_HKDF_INFO_MAX = 1024,  /* OpenSSL 3.0's own bound is not higher everywhere */
	CRYPTO_MESSAGES_MAX = 1 << 20 /* of one aead key; far below GCM's limits */
};

/* HKDF-SHA-256 (RFC 5869), extract and expand.  `out_len` in 1..255 * 32; ERR_LIMIT when `info`
 * is longer than CRYPTO_HKDF_INFO_MAX. */
enum err crypto_hkdf(struct bytes key, struct bytes salt, struct bytes info, uint8_t *out,
		     size_t out_len, struct error *why) MUST_CHECK;

/* scrypt (RFC 7914), 32 bytes out.  Refuses with ERR_CORRUPT what a hostile slot could ask for:
 * N not a power of two or > 2^20, r != 8, p not in 1..4.  Memory limit passed explicitly. */
enum err crypto_scrypt(struct bytes passphrase, struct bytes salt, uint64_t n, uint32_t r,
		       uint32_t p, uint8_t out[CRYPTO_KEY_BYTES], struct error *why) MUST_CHECK;

/* HMAC-SHA-256 over the concatenation of `parts`. */
enum err crypto_hmac(struct bytes key, const struct bytes *parts, size_t n,
		     uint8_t out[CRYPTO_SHA256_BYTES], struct error *why) MUST_CHECK;

enum err crypto_sha256(struct bytes in, uint8_t out[CRYPTO_SHA256_BYTES],
		       struct error *why) MUST_CHECK;

/* Constant-time comparison. */
bool crypto_same(const uint8_t *a, const uint8_t *b, size_t len);

/* Running SHA-256. */
struct sha256;
enum err sha256_new(struct sha256 **out, struct error *why) MUST_CHECK;
void sha256_free(struct sha256 *);
enum err sha256_start(struct sha256 *, struct error *why) MUST_CHECK; /* also starts anew */
enum err sha256_add(struct sha256 *, struct bytes, struct error *why) MUST_CHECK;
enum err sha256_end(struct sha256 *, uint8_t out[CRYPTO_SHA256_BYTES],
		    struct error *why) MUST_CHECK;

/* AES-256-GCM for sealing and opening, one context for many keys in turn.  The nonce is 12 bytes:
 * `space` (1) | zeros (3) | ordinal, 8 bytes big-endian; `space` and `ordinal` name the message
 * inside the object that the key belongs to.  When sealing, the ordinals of one space must ascend
 * under one key (gaps are fine, spaces may alternate): a repeated or lower one is a programmer
 * error (assert), so that no nonce is used twice; so is sealing under a key set for opening. */
struct aead;
enum err aead_new(struct aead **out, struct error *why) MUST_CHECK;
void aead_free(struct aead *);
enum err aead_set_key(struct aead *, const uint8_t key[CRYPTO_KEY_BYTES], bool sealing,
		      struct error *why) MUST_CHECK;
/* `out` gets in.len bytes, then `tag` 16.  `out` may be `in.data`.  ERR_LIMIT after
 * CRYPTO_MESSAGES_MAX messages of one key, or for a message above INT_MAX bytes.  After any other
 * failure `out` is wiped. */
enum err aead_seal(struct aead *, uint8_t space, uint64_t ordinal, struct bytes aad,
		   struct bytes in, uint8_t *out, uint8_t tag[CRYPTO_TAG_BYTES],
		   struct error *why) MUST_CHECK;
/* ERR_CORRUPT when the tag does not match; `out` is then wiped.  `out` may be `in.data`. */
enum err aead_open(struct aead *, uint8_t space, uint64_t ordinal, struct bytes aad,
		   struct bytes in, const uint8_t tag[CRYPTO_TAG_BYTES], uint8_t *out,
		   struct error *why) MUST_CHECK;

/* Keyed page tags: 16 bytes of the plaintext of one page.
 * PAGE_TAG_GMAC: AES-256-GMAC, fixed zero nonce, over page | u64 little-endian length (its tags
 * must never leave sealed objects).  PAGE_TAG_HMAC: first 16 bytes of HMAC-SHA-256 over the same. */
enum page_tag_kind { PAGE_TAG_GMAC = 1, PAGE_TAG_HMAC = 2 }; /* stored in FORMAT */
struct page_tagger;
enum err page_tagger_new(enum page_tag_kind, const uint8_t key[CRYPTO_KEY_BYTES],
			 struct page_tagger **out, struct error *why) MUST_CHECK;
void page_tagger_free(struct page_tagger *);
enum err page_tag(struct page_tagger *, struct bytes page, uint8_t out[CRYPTO_TAG_BYTES],
		  struct error *why) MUST_CHECK;

#endif
