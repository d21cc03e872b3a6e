/* repo/object_internal.h - the layout of sealed objects, shared by writer and reader
 * (FORMAT.md section 6).  Pure, except for deriving keys.
 */
#ifndef REPO_OBJECT_INTERNAL_H
#define REPO_OBJECT_INTERNAL_H

#include "repo/object.h"

enum {
	OBJECT_ID_BYTES = 16,
	OBJECT_SALT_BYTES = 32,
	OBJECT_COMMITMENT_BYTES = 32,
	FRAME_HEADER_SEALED_BYTES = 28, /* of the frame header in the additional data */
	FRAME_AAD_BYTES = 4 + REPOSITORY_ID_BYTES + 1 + OBJECT_ID_BYTES + FRAME_HEADER_SEALED_BYTES,
	DIRECTORY_ENTRY_BYTES = 20
};

struct object_header {
	uint8_t class;
	uint8_t encryption;
	uint8_t recipient;
	uint32_t epoch;
	uint8_t repository_id[REPOSITORY_ID_BYTES];
	uint8_t object_id[OBJECT_ID_BYTES];
	uint8_t salt[OBJECT_SALT_BYTES];
	uint8_t commitment[OBJECT_COMMITMENT_BYTES];
};

void object_header_encode(const struct object_header *, uint8_t out[OBJECT_HEADER_BYTES]);
/* False: magic, CRC or a byte that must be zero. */
bool object_header_decode(const uint8_t in[OBJECT_HEADER_BYTES], struct object_header *out);

struct frame_header {
	uint8_t class;
	uint8_t codec;
	uint32_t ordinal;
	uint32_t plain_len;
	uint32_t stored_len;
};

void frame_header_encode(const struct frame_header *, uint8_t out[FRAME_HEADER_BYTES]);
bool frame_header_decode(const uint8_t in[FRAME_HEADER_BYTES], struct frame_header *out);
/* Lengths and ordinal within the bounds of the format, before anything is allocated. */
bool frame_header_is_sane(const struct frame_header *);

struct object_trailer {
	uint64_t directory_offset;
	uint32_t directory_len; /* header, payload, tag */
	uint32_t frames;        /* with the directory */
};

void object_trailer_encode(const struct object_trailer *, uint8_t out[OBJECT_TRAILER_BYTES]);
bool object_trailer_decode(const uint8_t in[OBJECT_TRAILER_BYTES], struct object_trailer *out);

/* What every frame of the object is bound to. */
void frame_aad(const struct object_header *, const uint8_t frame[FRAME_HEADER_BYTES],
	       uint8_t out[FRAME_AAD_BYTES]);

enum err object_id_of_key(const char *key, uint8_t out[OBJECT_ID_BYTES],
			  struct error *why) MUST_CHECK;
enum key_class object_key_class(uint8_t object_class);

/* Object key and commitment, from the class key of the header's epoch. */
enum err object_keys(const struct object_header *, const uint8_t class_key[CRYPTO_KEY_BYTES],
		     uint8_t key[CRYPTO_KEY_BYTES], uint8_t commitment[OBJECT_COMMITMENT_BYTES],
		     struct error *why) MUST_CHECK;

/* Without encryption: the tag of a frame that keeps it bound all the same. */
enum err frame_hmac(const uint8_t key[CRYPTO_KEY_BYTES], const uint8_t aad[FRAME_AAD_BYTES],
		    struct bytes payload, uint8_t tag[CRYPTO_TAG_BYTES],
		    struct error *why) MUST_CHECK;

#endif
