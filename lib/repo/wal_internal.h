/* repo/wal_internal.h - what the files about WAL objects share. */
#ifndef REPO_WAL_INTERNAL_H
#define REPO_WAL_INTERNAL_H

#include "repo/wal_object.h"

enum object_class wal_class_of(enum wal_name_kind);

/* From the last part of a key under wal/: a name, or that of a segment and ".FROM-TO".  False: nothing of
 * ours.  `stored_bytes` is left alone. */
bool wal_listed_decode(const char *part, struct wal_listed *out);

/* The SHA-256 and the size that the stored object under `key` states. */
enum err wal_stated(struct object_reader *, const char *key, enum object_class,
		    uint8_t sha256[CRYPTO_SHA256_BYTES], uint64_t *bytes,
		    struct error *why) MUST_CHECK;

/* The content of the object at `key` in new memory, held against the size and SHA-256 in its head;
 * `max` bounds what a head may ask for. */
enum err wal_read(struct object_reader *, const char *key, enum object_class, uint64_t max,
		  uint8_t **out, size_t *len, struct error *why) MUST_CHECK;

#endif
