/* backup/seen.c - every file received, by a hash of its path, to be held against the manifest.
 *
 * 24 bytes and a load of at most 1/2: a million files take 48 MiB.  Two paths with the same 64-bit
 * hash would make the backup fail as a duplicate, never pass as good.
 */
#include "backup/backup_internal.h"

#include <inttypes.h>
#include <stdlib.h>

struct seen_file {
	uint64_t hash; /* 0 = free */
	uint64_t size;
	uint32_t crc;
	bool matched;
};

struct seen {
	struct seen_file *file;
	size_t slots; /* a power of two */
	size_t used, matched;
};

enum { SEEN_SLOTS_FIRST = 4096 };

struct seen *seen_new(void)
{
	struct seen *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->slots = SEEN_SLOTS_FIRST;
	s->file = calloc(s->slots, sizeof(*s->file));
	if (s->file == NULL) {
		free(s);
		return NULL;
	}
	return s;
}

void seen_free(struct seen *s)
{
	if (s == NULL)
		return;
	free(s->file);
	free(s);
}

/* The slot of `hash`, or the free one where it belongs. */
static struct seen_file *seen_slot(const struct seen *s, uint64_t hash)
{
	size_t i = (size_t)(hash >> 20) & (s->slots - 1);

	while (s->file[i].hash != 0 && s->file[i].hash != hash)
		i = (i + 1) & (s->slots - 1);
	return &s->file[i];
}

static enum err seen_grow(struct seen *s, struct error *why)
{
	struct seen old = *s;

	s->slots = old.slots * 2;
	s->file = calloc(s->slots, sizeof(*s->file));
	if (s->file == NULL) {
		*s = old;
		return error_set(why, ERR_MEMORY, "out of memory for a list of %zu files", s->used);
	}
	for (size_t i = 0; i < old.slots; i++)
		if (old.file[i].hash != 0)
			*seen_slot(s, old.file[i].hash) = old.file[i];
	free(old.file);
	return ERR_NONE;
}

enum err seen_add(struct seen *s, struct bytes path, uint64_t size, uint32_t crc, struct error *why)
{
	uint64_t hash = bytes_hash(path);
	struct seen_file *file;

	if (s->used * 2 >= s->slots) {
		enum err e = seen_grow(s, why);

		if (e != ERR_NONE)
			return e;
	}
	file = seen_slot(s, hash);
	if (file->hash != 0)
		return error_set(why, ERR_PEER, "the server sent \"%.*s\" twice", (int)path.len,
				 (const char *)path.data);
	*file = (struct seen_file){.hash = hash, .size = size, .crc = crc};
	s->used++;
	return ERR_NONE;
}

enum err seen_match(struct seen *s, const char *path, uint64_t size, bool has_crc, uint32_t crc,
		    struct error *why)
{
	struct seen_file *file = seen_slot(s, bytes_hash(bytes_of_text(path)));

	if (file->hash == 0)
		return error_set(why, ERR_CORRUPT,
				 "the server's manifest lists \"%s\", which was not received",
				 path);
	if (file->size != size)
		return error_set(why, ERR_CORRUPT,
				 "\"%s\" was received with %" PRIu64
				 " bytes, the server's manifest says %" PRIu64,
				 path, file->size, size);
	if (has_crc && file->crc != crc)
		return error_set(why, ERR_CORRUPT,
				 "\"%s\" was received with CRC-32C %08x, the server's manifest "
				 "says %08x",
				 path, file->crc, crc);
	if (file->matched)
		return error_set(why, ERR_CORRUPT, "the server's manifest lists \"%s\" twice",
				 path);
	file->matched = true;
	s->matched++;
	return ERR_NONE;
}

enum err seen_all_matched(const struct seen *s, struct error *why)
{
	if (s->matched == s->used)
		return ERR_NONE;
	return error_set(why, ERR_CORRUPT,
			 "%zu of %zu files received are not in the server's manifest",
			 s->used - s->matched, s->used);
}
