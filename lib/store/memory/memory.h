/* store/memory/memory.h - a store in memory: a real driver, and the reference for the contract. */
#ifndef STORE_MEMORY_H
#define STORE_MEMORY_H

#include "store/store.h"

enum err store_memory_open(const struct env *env, struct store **out, struct error *why) MUST_CHECK;

/* Lets tests damage what is stored: the object's own bytes, or NULL when the key is not there. */
uint8_t *store_memory_peek(struct store *, const char *key, size_t *len);

#endif
