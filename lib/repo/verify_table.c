/* repo/verify_table.c - the packs of all backups, each once: 136 bytes for 16 MiB stored. */
#include "repo/verify_internal.h"

#include <stdlib.h>

static uint32_t hash_of(const struct pack_id *id)
{
	uint8_t key[ATTEMPT_BYTES + 4];

	memcpy(key, id->attempt.id, ATTEMPT_BYTES);
	put_u32(key + ATTEMPT_BYTES, id->seq);
	return (uint32_t)bytes_hash(bytes_of(key, sizeof(key)));
}

/* The slot that holds the pack, or the free one where it belongs. */
static uint32_t *slot_of(const struct verify_table *t, const struct pack_id *id)
{
	uint32_t at = hash_of(id) & (t->slots - 1);

	while (t->slot[at] != 0 && !pack_id_same(&t->pack[t->slot[at] - 1].id, id))
		at = (at + 1) & (t->slots - 1);
	return &t->slot[at];
}

static bool grow(struct verify_table *t)
{
	uint32_t max = t->max == 0 ? 64 : t->max * 2;
	struct verify_pack *pack;
	uint32_t *slot;

	if (max > UINT32_MAX / 4)
		return false;
	pack = reallocarray(t->pack, max, sizeof(*pack));
	if (pack == NULL)
		return false;
	t->pack = pack;
	slot = calloc((size_t)max * 2, sizeof(*slot));
	if (slot == NULL)
		return false;
	free(t->slot);
	t->slot = slot;
	t->slots = max * 2;
	t->max = max;
	for (uint32_t i = 0; i < t->count; i++)
		*slot_of(t, &t->pack[i].id) = i + 1;
	return true;
}

enum err verify_table_add(struct verify_table *t, const struct pack_entry *entry, uint32_t *index,
			  struct error *why)
{
	uint32_t *slot;

	if (t->count == t->max && !grow(t))
		return error_set(why, ERR_MEMORY, "verify: no memory for the list of packs");
	slot = slot_of(t, &entry->id);
	if (*slot == 0) {
		struct verify_pack *pack = &t->pack[t->count];

		*pack = (struct verify_pack){
			.id = entry->id, .size = entry->size, .present = UINT64_MAX};
		memcpy(pack->sha256, entry->sha256, sizeof(pack->sha256));
		*slot = ++t->count;
	}
	*index = *slot - 1;
	return ERR_NONE;
}

bool verify_table_find(const struct verify_table *t, const struct pack_id *id, uint32_t *index)
{
	uint32_t found = t->slots == 0 ? 0 : *slot_of(t, id);

	if (found == 0)
		return false;
	*index = found - 1;
	return true;
}

void verify_table_release(struct verify_table *t)
{
	for (uint32_t i = 0; i < t->count; i++)
		free(t->pack[i].text);
	free(t->pack);
	free(t->slot);
}
