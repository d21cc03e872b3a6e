/* repo/wal_internal.h - what the files about WAL objects share. */
#ifndef REPO_WAL_INTERNAL_H
#define REPO_WAL_INTERNAL_H

#include "repo/wal_object.h"

/* The content of the object at `key` in new memory, held against the size and SHA-256 in its head;
 * `max` bounds what a head may ask for. */
enum err wal_read(struct object_reader *, const char *key, enum object_class, uint64_t max,
		  uint8_t **out, size_t *len, struct error *why) MUST_CHECK;

#endif
