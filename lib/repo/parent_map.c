/* repo/parent_map.c - the files of a parent by path, and their shards.
 *
 * A table sorted by hash: 24 bytes a file, 32 for each shard, so that a million small files take
 * 56 MB.  Shards are read as files stream by, in any order.
 */
#include "repo/pack.h"
#include "repo/parent.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SHARD_REF_BYTES = FILE_SHARD_REF_BYTES, RECORD_BYTES_MIN = 38 /* of the file table */ };

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
	uint8_t *ref; /* SHARD_REF_BYTES each */
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
	    !reserve((void **)&m->ref, m->refs, f->shards, &m->refs_max, SHARD_REF_BYTES))
		return no_memory(why);
	m->file[m->files++] = (struct entry){.hash = bytes_hash(f->path),
					     .size = f->size,
					     .crc = f->crc,
					     .first = (uint32_t)m->refs};
	if (f->shards > 0)
		memcpy(m->ref + m->refs * SHARD_REF_BYTES, f->shard_refs,
		       (size_t)f->shards * SHARD_REF_BYTES);
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
		.shard_refs = m->ref + (size_t)file->first * SHARD_REF_BYTES,
	};
	return true;
}

/* A shard frame that was read. */
struct kept {
	struct pack_id pack;
	uint32_t ordinal;
	uint8_t *plain; /* FRAME_SECTION_MAX; NULL = never used */
	size_t len;
	uint64_t used_at; /* the lowest is given up first; 0 = holds nothing */
};

struct parent_reader {
	const struct parent_map *map;
	struct object_reader *objects;
	struct kept kept[PARENT_FRAMES_KEPT];
	uint64_t uses;
};

enum err parent_reader_new(const struct parent_map *map, struct parent_reader **out,
			   struct error *why)
{
	struct parent_reader *r = calloc(1, sizeof(*r));
	enum err e;

	if (r == NULL)
		return no_memory(why);
	r->map = map;
	e = object_reader_new(map->cluster->repository, &r->objects, why);
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
	object_reader_free(r->objects);
	for (size_t i = 0; i < PARENT_FRAMES_KEPT; i++)
		free(r->kept[i].plain);
	free(r);
}

static enum err read_frame(struct parent_reader *r, const struct frame_ref *ref, struct kept *to,
			   struct error *why)
{
	struct frame_place place = {.ordinal = ref->ordinal,
				    .offset = ref->offset,
				    .stored_len = ref->stored_len,
				    .plain_len = ref->plain_len};
	char key[STORE_KEY_MAX];
	struct bytes plain;
	enum err e;

	to->used_at = 0;
	if (to->plain == NULL)
		to->plain = malloc(FRAME_SECTION_MAX);
	if (to->plain == NULL)
		return no_memory(why);
	pack_key(r->map->cluster, &ref->pack, key);
	e = object_open(r->objects, key, OBJECT_PACK, why);
	if (e == ERR_NONE)
		e = object_frame(r->objects, FRAME_SHARD, &place, &plain, why);
	if (e == ERR_MISSING) /* a map names it, so its absence is damage */
		e = error_set(why, ERR_CORRUPT, "pack %s is gone", key);
	if (e == ERR_NONE && plain.len > FRAME_SECTION_MAX)
		e = error_set(why, ERR_CORRUPT, "pack %s: a frame of shards is too long", key);
	if (e != ERR_NONE)
		return e;
	memcpy(to->plain, plain.data, plain.len);
	to->len = plain.len;
	to->pack = ref->pack;
	to->ordinal = ref->ordinal;
	return ERR_NONE;
}

/* The encoded shard at `ref`; borrowed until PARENT_FRAMES_KEPT others were read. */
static enum err shard_bytes(struct parent_reader *r, const struct shard_ref *ref, struct bytes *out,
			    struct error *why)
{
	struct kept *found = NULL, *oldest = &r->kept[0];
	enum err e = ERR_NONE;

	for (size_t i = 0; i < PARENT_FRAMES_KEPT && found == NULL; i++) {
		struct kept *k = &r->kept[i];

		if (k->used_at != 0 && k->ordinal == ref->frame.ordinal &&
		    pack_id_same(&k->pack, &ref->frame.pack))
			found = k;
		if (k->used_at < oldest->used_at)
			oldest = k;
	}
	if (found == NULL) {
		found = oldest;
		e = read_frame(r, &ref->frame, found, why);
	}
	if (e != ERR_NONE)
		return e;
	found->used_at = ++r->uses;
	if (ref->offset > found->len || ref->len > found->len - ref->offset)
		return error_set(why, ERR_CORRUPT, "a shard lies outside its frame");
	*out = bytes_of(found->plain + ref->offset, ref->len);
	return ERR_NONE;
}

static enum err find_shard(const struct parent_map *m, const struct parent_file *file,
			   uint32_t index, struct shard_ref *out, struct error *why)
{
	struct file_shard_ref ref;

	file_shard_ref_decode(file->shard_refs + (size_t)index * SHARD_REF_BYTES, &ref);
	if (ref.pack >= m->manifest->packs)
		return error_set(why, ERR_CORRUPT, "a shard lies in a pack that is not listed");
	*out = (struct shard_ref){
		.frame = {.pack = m->manifest->pack[ref.pack].id,
			  .ordinal = ref.place.ordinal,
			  .offset = ref.place.offset,
			  .stored_len = ref.place.stored_len,
			  .plain_len = ref.place.plain_len},
		.offset = ref.offset,
		.len = ref.len,
	};
	return ERR_NONE;
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

static enum err decode(struct parent_reader *r, struct shard *out, struct parent_origin *origin,
		       struct error *why)
{
	struct bytes in;
	enum err e = shard_bytes(r, &origin->at, &in, why);

	origin->base = origin->at;
	if (e == ERR_NONE)
		e = shard_patch_base(in, &origin->is_patch, &origin->base, why);
	if (e != ERR_NONE)
		return e;
	if (!origin->is_patch)
		return shard_decode(in, out, why);
	e = parent_reader_base(r, origin, out, why);
	if (e == ERR_NONE)
		e = shard_bytes(r, &origin->at, &in, why);
	if (e == ERR_NONE)
		e = shard_decode_patch(in, out, why);
	return e;
}

enum err parent_reader_shard(struct parent_reader *r, const struct parent_file *file,
			     uint32_t index, struct shard *out, struct parent_origin *origin,
			     struct error *why)
{
	uint64_t left = file->size - (uint64_t)index * SHARD_FILE_BYTES;
	uint64_t expected = left < SHARD_FILE_BYTES ? left : SHARD_FILE_BYTES;
	struct parent_origin o;
	enum err e = find_shard(r->map, file, index, &o.at, why);

	if (e == ERR_NONE)
		e = decode(r, out, &o, why);
	if (e == ERR_NONE)
		e = check_packs(r->map, out, &o, why);
	if (e == ERR_NONE && shard_file_bytes(out) != expected)
		e = error_set(why, ERR_CORRUPT, "a shard maps %" PRIu64 " bytes of %" PRIu64,
			      shard_file_bytes(out), expected);
	if (e == ERR_NONE)
		*origin = o;
	return e;
}

enum err parent_reader_base(struct parent_reader *r, const struct parent_origin *origin,
			    struct shard *out, struct error *why)
{
	struct bytes in;
	enum err e = shard_bytes(r, &origin->base, &in, why);

	return e != ERR_NONE ? e : shard_decode(in, out, why);
}
