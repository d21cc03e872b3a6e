/* crypto/page_tag.c - keyed tags of pages, on the hot path of every backup.
 *
 * Both kinds are one EVP_MAC context whose key is set once; a page only starts it anew, which
 * keeps the key schedule.  With GMAC that also needs the nonce given again.
 */
#include "crypto/crypto.h"
#include "crypto/crypto_internal.h"

#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>

enum { NONCE_BYTES = 12 };

struct page_tagger {
	EVP_MAC *mac;
	EVP_MAC_CTX *ctx;
	size_t mac_len; /* bytes that the MAC gives; the first 16 are the tag */
	uint8_t nonce[NONCE_BYTES];
	OSSL_PARAM again[2]; /* what starting anew takes */
};

static const char failure[] = "cannot compute a page tag";

static bool set_up(struct page_tagger *t, enum page_tag_kind kind,
		   const uint8_t key[CRYPTO_KEY_BYTES])
{
	bool gmac = kind == PAGE_TAG_GMAC;
	OSSL_PARAM params[] = {
		gmac ? OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER,
							(char[]){"AES-256-GCM"}, 0)
		     : OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA256"},
							0),
		OSSL_PARAM_construct_end(),
	};

	t->again[0] = gmac ? OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_IV, t->nonce,
							       sizeof(t->nonce))
			   : OSSL_PARAM_construct_end();
	t->again[1] = OSSL_PARAM_construct_end();
	t->mac_len = gmac ? CRYPTO_TAG_BYTES : CRYPTO_SHA256_BYTES;
	t->mac = EVP_MAC_fetch(NULL, gmac ? "GMAC" : "HMAC", NULL);
	t->ctx = t->mac != NULL ? EVP_MAC_CTX_new(t->mac) : NULL;
	return t->ctx != NULL && EVP_MAC_init(t->ctx, key, CRYPTO_KEY_BYTES, params) == 1;
}

enum err page_tagger_new(enum page_tag_kind kind, const uint8_t key[CRYPTO_KEY_BYTES],
			 struct page_tagger **out, struct error *why)
{
	struct page_tagger *t;
	enum err e;

	assert(kind == PAGE_TAG_GMAC || kind == PAGE_TAG_HMAC);
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return error_set(why, ERR_MEMORY, "%s: out of memory", failure);
	if (!set_up(t, kind, key)) {
		e = crypto_failed(why, failure);
		page_tagger_free(t);
		return e;
	}
	*out = t;
	return ERR_NONE;
}

void page_tagger_free(struct page_tagger *t)
{
	if (t == NULL)
		return;
	EVP_MAC_CTX_free(t->ctx); /* wipes the key schedule */
	EVP_MAC_free(t->mac);
	free(t);
}

enum err page_tag(struct page_tagger *t, struct bytes page, uint8_t out[CRYPTO_TAG_BYTES],
		  struct error *why)
{
	uint8_t length[8];
	uint8_t mac[CRYPTO_SHA256_BYTES];
	size_t len = 0;

	put_u64(length, page.len);
	if (EVP_MAC_init(t->ctx, NULL, 0, t->again) != 1 ||
	    (page.len > 0 && EVP_MAC_update(t->ctx, page.data, page.len) != 1) ||
	    EVP_MAC_update(t->ctx, length, sizeof(length)) != 1 ||
	    EVP_MAC_final(t->ctx, mac, &len, sizeof(mac)) != 1 || len != t->mac_len)
		return crypto_failed(why, failure);
	memcpy(out, mac, CRYPTO_TAG_BYTES);
	return ERR_NONE;
}
