/* repo/parent_map.c - the files of a parent by path, and their shards.
 *
 * A table sorted by hash: 24 bytes a file, 32 for each shard, so that a million small files take
 * 56 MB.  Shards are read as files stream by, in any order.
 */
#include "repo/pages_internal.h"
#include "repo/parent.h"

#include <inttypes.h>
#include <stdlib.h>

enum { RECORD_BYTES_MIN = 38 /* of the file table */ };

struct entry {
	uint64_t hash;
	uint64_t size;
	uint32_t crc;
	uint32_t first; /* of its references */
};

struct parent_map {
	const struct cluster *cluster;
	struct manifest *manifest;
	struct entry *file; /* ascending by hash */
	size_t files, files_max;
	uint8_t *ref; /* FILE_SHARD_REF_BYTES each */
	size_t refs, refs_max;
};

static uint64_t shards_of(uint64_t size)
{
	return size / SHARD_FILE_BYTES + (size % SHARD_FILE_BYTES != 0);
}

static enum err no_memory(struct error *why)
{
	return error_set(why, ERR_MEMORY, "reading the parent's map: out of memory");
}

/* Room for `more` elements behind `used`; grows by half. */
static bool reserve(void **array, size_t used, size_t more, size_t *max, size_t size)
{
	size_t wanted = *max + *max / 2 > used + more ? *max + *max / 2 : used + more;
	void *bigger;

	if (*max - used >= more)
		return true;
	bigger = reallocarray(*array, wanted, size);
	if (bigger == NULL)
		return false;
	*array = bigger;
	*max = wanted;
	return true;
}

static enum err add_file(struct parent_map *m, const struct file_record *f, struct error *why)
{
	if (m->refs + f->shards > UINT32_MAX)
		return error_set(why, ERR_LIMIT, "the parent's map has too many shards");
	if (!reserve((void **)&m->file, m->files, 1, &m->files_max, sizeof(*m->file)) ||
	    !reserve((void **)&m->ref, m->refs, f->shards, &m->refs_max, FILE_SHARD_REF_BYTES))
		return no_memory(why);
	m->file[m->files++] = (struct entry){.hash = bytes_hash(f->path),
					     .size = f->size,
					     .crc = f->crc,
					     .first = (uint32_t)m->refs};
	if (f->shards > 0)
		memcpy(m->ref + m->refs * FILE_SHARD_REF_BYTES, f->shard_refs,
		       (size_t)f->shards * FILE_SHARD_REF_BYTES);
	m->refs += f->shards;
	return ERR_NONE;
}

static enum err add_frame(void *ctx, struct bytes frame, struct error *why)
{
	struct parent_map *m = ctx;
	struct reader in = reader_of(frame);
	enum err e = ERR_NONE;

	while (in.left > 0 && e == ERR_NONE) {
		struct file_record file;

		e = file_record_decode(&in, &file, why);
		if (e == ERR_NONE && file.kind == FILE_PLAIN)
			e = add_file(m, &file, why);
	}
	return e;
}

static int by_hash(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return (x->hash > y->hash) - (x->hash < y->hash);
}

static enum err sort(struct parent_map *m, struct error *why)
{
	if (m->files > 0)
		qsort(m->file, m->files, sizeof(*m->file), by_hash);
	for (size_t i = 1; i < m->files; i++)
		if (m->file[i].hash == m->file[i - 1].hash)
			return error_set(
				why, ERR_CORRUPT,
				"two files of the backup have the same hash of their path");
	return ERR_NONE;
}

enum err parent_map_open(const struct cluster *cluster, struct manifest *take_manifest,
			 struct parent_map **out, struct error *why)
{
	struct parent_map *m = calloc(1, sizeof(*m));
	const struct section *table = manifest_section(take_manifest, SECTION_FILES);
	enum err e;

	if (m == NULL) {
		manifest_free(take_manifest);
		return no_memory(why);
	}
	m->cluster = cluster;
	m->manifest = take_manifest;
	/* As many as the summary says, if the table can hold them: no copies while it grows. */
	if (table != NULL && take_manifest->summary.files <= table->plain_bytes / RECORD_BYTES_MIN)
		(void)reserve((void **)&m->file, 0, (size_t)take_manifest->summary.files,
			      &m->files_max, sizeof(*m->file)); /* add_file tries again */
	e = table == NULL ? error_set(why, ERR_CORRUPT, "the backup has no file table")
			  : section_walk(cluster, take_manifest, SECTION_FILES, add_frame, m, why);
	if (e == ERR_NONE)
		e = sort(m, why);
	if (e != ERR_NONE) {
		parent_map_free(m);
		return e;
	}
	*out = m;
	return ERR_NONE;
}

void parent_map_free(struct parent_map *m)
{
	if (m == NULL)
		return;
	manifest_free(m->manifest);
	free(m->file);
	free(m->ref);
	free(m);
}

const struct manifest *parent_map_manifest(const struct parent_map *m)
{
	return m->manifest;
}

bool parent_map_find(const struct parent_map *m, struct bytes path, struct parent_file *out)
{
	struct entry key = {.hash = bytes_hash(path)};
	const struct entry *file =
		m->files == 0 ? NULL : bsearch(&key, m->file, m->files, sizeof(*m->file), by_hash);

	if (file == NULL)
		return false;
	*out = (struct parent_file){
		.size = file->size,
		.crc = file->crc,
		.shards = (uint32_t)shards_of(file->size),
		.shard_refs = m->ref + (size_t)file->first * FILE_SHARD_REF_BYTES,
	};
	return true;
}

struct parent_reader {
	const struct parent_map *map;
	struct frames frames;
};

enum err parent_reader_new(const struct parent_map *map, struct parent_reader **out,
			   struct error *why)
{
	struct parent_reader *r = calloc(1, sizeof(*r));
	enum err e;

	if (r == NULL)
		return no_memory(why);
	r->map = map;
	e = frames_init(&r->frames, map->cluster, FRAME_SHARD, why);
	if (e != ERR_NONE) {
		parent_reader_free(r);
		return e;
	}
	*out = r;
	return ERR_NONE;
}

void parent_reader_free(struct parent_reader *r)
{
	if (r == NULL)
		return;
	frames_release(&r->frames);
	free(r);
}

/* Everything a child would take over must be in the parent's pack table. */
static enum err check_packs(const struct parent_map *m, const struct shard *shard,
			    const struct parent_origin *origin, struct error *why)
{
	uint32_t index;
	bool listed = manifest_pack_find(m->manifest, &origin->base.frame.pack, &index);

	for (uint32_t i = 0; i < shard->frames && listed; i++)
		listed = manifest_pack_find(m->manifest, &shard->frame[i].pack, &index);
	return listed ? ERR_NONE
		      : error_set(why, ERR_CORRUPT, "a shard names a pack that is not listed");
}

static bool same_place(const struct shard_ref *a, const struct shard_ref *b)
{
	return a->offset == b->offset && frame_ref_same(&a->frame, &b->frame);
}

enum err parent_reader_shard(struct parent_reader *r, const struct parent_file *file,
			     uint32_t index, struct shard *out, struct parent_origin *origin,
			     struct error *why)
{
	uint64_t left = file->size - (uint64_t)index * SHARD_FILE_BYTES;
	uint64_t expected = left < SHARD_FILE_BYTES ? left : SHARD_FILE_BYTES;
	struct parent_origin o;
	enum err e = shard_ref_resolve(r->map->manifest,
				       file->shard_refs + (size_t)index * FILE_SHARD_REF_BYTES,
				       &o.at, why);

	if (e == ERR_NONE)
		e = shard_load(&r->frames, &o.at, out, &o.base, why);
	if (e == ERR_NONE)
		e = check_packs(r->map, out, &o, why);
	if (e == ERR_NONE && shard_file_bytes(out) != expected)
		e = error_set(why, ERR_CORRUPT, "a shard maps %" PRIu64 " bytes of %" PRIu64,
			      shard_file_bytes(out), expected);
	if (e != ERR_NONE)
		return e;
	o.is_patch = !same_place(&o.at, &o.base);
	*origin = o;
	return ERR_NONE;
}

enum err parent_reader_base(struct parent_reader *r, const struct parent_origin *origin,
			    struct shard *out, struct error *why)
{
	return shard_load_whole(&r->frames, &origin->base, out, why);
}
