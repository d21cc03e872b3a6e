/* repo/object_layout.c - headers, trailer and key of sealed objects as bytes; no I/O. */
#include "repo/object_internal.h"

#include "base/crc32c.h"

#include <assert.h>

static const char object_magic[] = "PGAGENT1";
static const char trailer_magic[] = "PGAEND01";
static const char frame_magic[] = "PGFR";
static const char aad_magic[] = "PGA1";

enum {
	OBJECT_MAGIC_BYTES = 8,
	FRAME_MAGIC_BYTES = 4,
	OBJECT_CRC_AT = OBJECT_HEADER_BYTES - 4,
	FRAME_CRC_AT = FRAME_HEADER_BYTES - 4,
	TRAILER_CRC_AT = OBJECT_TRAILER_BYTES - 4
};

void object_header_encode(const struct object_header *h, uint8_t out[OBJECT_HEADER_BYTES])
{
	memset(out, 0, OBJECT_HEADER_BYTES);
	memcpy(out, object_magic, OBJECT_MAGIC_BYTES);
	out[8] = h->class;
	out[9] = h->encryption;
	out[10] = h->recipient;
	put_u32(out + 12, h->epoch);
	memcpy(out + 16, h->repository_id, REPOSITORY_ID_BYTES);
	memcpy(out + 32, h->object_id, OBJECT_ID_BYTES);
	memcpy(out + 48, h->salt, OBJECT_SALT_BYTES);
	memcpy(out + 80, h->commitment, OBJECT_COMMITMENT_BYTES);
	put_u32(out + OBJECT_CRC_AT, crc32c(bytes_of(out, OBJECT_CRC_AT)));
}

bool object_header_decode(const uint8_t in[OBJECT_HEADER_BYTES], struct object_header *out)
{
	if (memcmp(in, object_magic, OBJECT_MAGIC_BYTES) != 0 ||
	    get_u32(in + OBJECT_CRC_AT) != crc32c(bytes_of(in, OBJECT_CRC_AT)) || in[11] != 0 ||
	    !bytes_are_zero(bytes_of(in + 112, 12)))
		return false;
	out->class = in[8];
	out->encryption = in[9];
	out->recipient = in[10];
	out->epoch = get_u32(in + 12);
	memcpy(out->repository_id, in + 16, REPOSITORY_ID_BYTES);
	memcpy(out->object_id, in + 32, OBJECT_ID_BYTES);
	memcpy(out->salt, in + 48, OBJECT_SALT_BYTES);
	memcpy(out->commitment, in + 80, OBJECT_COMMITMENT_BYTES);
	return true;
}

void frame_header_encode(const struct frame_header *h, uint8_t out[FRAME_HEADER_BYTES])
{
	memset(out, 0, FRAME_HEADER_BYTES);
	memcpy(out, frame_magic, FRAME_MAGIC_BYTES);
	out[4] = h->class;
	out[5] = h->codec;
	put_u32(out + 8, h->ordinal);
	put_u32(out + 12, h->plain_len);
	put_u32(out + 16, h->stored_len);
	put_u32(out + FRAME_CRC_AT, crc32c(bytes_of(out, FRAME_CRC_AT)));
}

bool frame_header_decode(const uint8_t in[FRAME_HEADER_BYTES], struct frame_header *out)
{
	if (memcmp(in, frame_magic, FRAME_MAGIC_BYTES) != 0 ||
	    get_u32(in + FRAME_CRC_AT) != crc32c(bytes_of(in, FRAME_CRC_AT)) ||
	    get_u16(in + 6) != 0 || get_u64(in + 20) != 0)
		return false;
	out->class = in[4];
	out->codec = in[5];
	out->ordinal = get_u32(in + 8);
	out->plain_len = get_u32(in + 12);
	out->stored_len = get_u32(in + 16);
	return true;
}

bool frame_header_is_sane(const struct frame_header *h)
{
	return h->plain_len >= 1 && h->plain_len <= FRAME_PLAIN_MAX && h->stored_len >= 1 &&
	       h->stored_len <= h->plain_len && h->ordinal <= OBJECT_FRAMES_MAX &&
	       (h->codec != CODEC_STORED || h->stored_len == h->plain_len);
}

void object_trailer_encode(const struct object_trailer *t, uint8_t out[OBJECT_TRAILER_BYTES])
{
	memset(out, 0, OBJECT_TRAILER_BYTES);
	memcpy(out, trailer_magic, OBJECT_MAGIC_BYTES);
	put_u64(out + 8, t->directory_offset);
	put_u32(out + 16, t->directory_len);
	put_u32(out + 20, t->frames);
	put_u32(out + TRAILER_CRC_AT, crc32c(bytes_of(out, TRAILER_CRC_AT)));
}

bool object_trailer_decode(const uint8_t in[OBJECT_TRAILER_BYTES], struct object_trailer *out)
{
	if (memcmp(in, trailer_magic, OBJECT_MAGIC_BYTES) != 0 ||
	    get_u32(in + TRAILER_CRC_AT) != crc32c(bytes_of(in, TRAILER_CRC_AT)) ||
	    get_u32(in + 24) != 0)
		return false;
	out->directory_offset = get_u64(in + 8);
	out->directory_len = get_u32(in + 16);
	out->frames = get_u32(in + 20);
	return true;
}

void frame_aad(const struct object_header *h, const uint8_t frame[FRAME_HEADER_BYTES],
	       uint8_t out[FRAME_AAD_BYTES])
{
	memcpy(out, aad_magic, 4);
	memcpy(out + 4, h->repository_id, REPOSITORY_ID_BYTES);
	out[4 + REPOSITORY_ID_BYTES] = h->class;
	memcpy(out + 5 + REPOSITORY_ID_BYTES, h->object_id, OBJECT_ID_BYTES);
	memcpy(out + 5 + REPOSITORY_ID_BYTES + OBJECT_ID_BYTES, frame, FRAME_HEADER_SEALED_BYTES);
}

enum err object_id_of_key(const char *key, uint8_t out[OBJECT_ID_BYTES], struct error *why)
{
	static const char label[] = "pgagent/1/object-id"; /* with its NUL */
	uint8_t text[sizeof(label) + STORE_KEY_MAX];
	uint8_t digest[CRYPTO_SHA256_BYTES];
	size_t len = strlen(key);
	enum err e;

	assert(len <= STORE_KEY_MAX);
	memcpy(text, label, sizeof(label));
	memcpy(text + sizeof(label), key, len);
	e = crypto_sha256(bytes_of(text, sizeof(label) + len), digest, why);
	if (e == ERR_NONE)
		memcpy(out, digest, OBJECT_ID_BYTES);
	return e;
}

enum key_class object_key_class(uint8_t object_class)
{
	switch (object_class) {
	case OBJECT_PACK:
		return KEY_CLASS_DATA;
	case OBJECT_WAL_SEGMENT:
	case OBJECT_WAL_SLICE:
	case OBJECT_WAL_SMALL:
	case OBJECT_WAL_PARTIAL:
		return KEY_CLASS_WAL;
	default:
		return KEY_CLASS_META;
	}
}

enum err object_keys(const struct object_header *h, const uint8_t class_key[CRYPTO_KEY_BYTES],
		     uint8_t key[CRYPTO_KEY_BYTES], uint8_t commitment[OBJECT_COMMITMENT_BYTES],
		     struct error *why)
{
	static const char label[] = "pgagent/1/object";
	uint8_t info[sizeof(label) + REPOSITORY_ID_BYTES + OBJECT_ID_BYTES];
	uint8_t both[CRYPTO_KEY_BYTES + OBJECT_COMMITMENT_BYTES];
	enum err e;

	memcpy(info, label, sizeof(label) - 1);
	info[sizeof(label) - 1] = h->class; /* takes the place of the NUL */
	memcpy(info + sizeof(label), h->repository_id, REPOSITORY_ID_BYTES);
	memcpy(info + sizeof(label) + REPOSITORY_ID_BYTES, h->object_id, OBJECT_ID_BYTES);
	e = crypto_hkdf(bytes_of(class_key, CRYPTO_KEY_BYTES), bytes_of(h->salt, OBJECT_SALT_BYTES),
			bytes_of(info, sizeof(info)), both, sizeof(both), why);
	if (e == ERR_NONE) {
		memcpy(key, both, CRYPTO_KEY_BYTES);
		memcpy(commitment, both + CRYPTO_KEY_BYTES, OBJECT_COMMITMENT_BYTES);
	}
	explicit_bzero(both, sizeof(both));
	return e;
}

enum err frame_hmac(const uint8_t key[CRYPTO_KEY_BYTES], const uint8_t aad[FRAME_AAD_BYTES],
		    struct bytes payload, uint8_t tag[CRYPTO_TAG_BYTES], struct error *why)
{
	const struct bytes part[] = {bytes_of(aad, FRAME_AAD_BYTES), payload};
	uint8_t hmac[CRYPTO_SHA256_BYTES];
	enum err e = crypto_hmac(bytes_of(key, CRYPTO_KEY_BYTES), part, 2, hmac, why);

	if (e == ERR_NONE)
		memcpy(tag, hmac, CRYPTO_TAG_BYTES);
	return e;
}
