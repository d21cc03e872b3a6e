/* repo/pages_frames.c - frames of packs: read, decoded, a few of them kept. */
#include "repo/pack.h"
#include "repo/pages_internal.h"

#include <inttypes.h>
#include <stdlib.h>

enum err frames_init(struct frames *f, const struct cluster *cluster, enum frame_class class,
		     struct error *why)
{
	*f = (struct frames){.cluster = cluster, .class = class};
	f->keep = class == FRAME_SHARD ? PAGES_SHARD_FRAMES_KEPT : PAGES_FRAMES_KEPT;
	f->raw = malloc(PAGES_READ_MAX);
	if (f->raw == NULL)
		return error_set(why, ERR_MEMORY, "reading pages: out of memory");
	return object_reader_new(cluster->repository, &f->reader, why);
}

void frames_release(struct frames *f)
{
	for (size_t i = 0; i < f->keep; i++)
		free(f->kept[i].room);
	object_reader_free(f->reader);
	free(f->raw);
}

uint64_t frame_stored_bytes(const struct frame_ref *ref)
{
	return (uint64_t)ref->stored_len + FRAME_OVERHEAD_BYTES;
}

enum err frame_check(const struct frame_ref *ref, struct error *why)
{
	if (frame_stored_bytes(ref) > PAGES_READ_MAX || ref->offset > INT64_MAX - PAGES_READ_MAX)
		return error_set(why, ERR_CORRUPT, "a frame of %" PRIu64 " bytes at %" PRIu64,
				 frame_stored_bytes(ref), ref->offset);
	return ERR_NONE;
}

static struct kept_frame *find(struct frames *f, const struct frame_ref *ref)
{
	for (size_t i = 0; i < f->keep; i++) {
		struct kept_frame *k = &f->kept[i];

		if (k->used_at > 0 && k->ordinal == ref->ordinal &&
		    k->plain.len == ref->plain_len && pack_id_same(&k->pack, &ref->pack))
			return k;
	}
	return NULL;
}

bool frames_find(struct frames *f, const struct frame_ref *ref, struct bytes *plain)
{
	struct kept_frame *k = find(f, ref);

	if (k == NULL)
		return false;
	k->used_at = ++f->uses;
	*plain = k->plain;
	return true;
}

enum err frames_open_pack(struct frames *f, const struct pack_id *pack, struct error *why)
{
	char key[STORE_KEY_MAX];
	enum err e;

	pack_key(f->cluster, pack, key);
	e = object_open(f->reader, key, OBJECT_PACK, why);
	if (e == ERR_MISSING) /* a manifest names it, so its absence is damage */
		e = error_set(why, ERR_CORRUPT, "pack %s is gone", key);
	return e;
}

enum err frames_read(struct frames *f, const struct pack_id *pack, uint64_t offset, uint64_t len,
		     struct error *why)
{
	char key[STORE_KEY_MAX];
	enum err e;

	pack_key(f->cluster, pack, key);
	e = store_read(f->cluster->repository->store, key, offset, f->raw, (size_t)len, why);
	if (e == ERR_MISSING) /* it was there when it was opened */
		e = error_set(why, ERR_CORRUPT, "pack %s is gone", key);
	if (e == ERR_NONE) {
		f->fetched += len;
		f->reads++;
	}
	return e;
}

enum err frames_decode(struct frames *f, const struct frame_ref *ref, uint64_t at, uint8_t *out,
		       struct error *why)
{
	struct frame_place place = {.ordinal = ref->ordinal,
				    .offset = ref->offset,
				    .stored_len = ref->stored_len,
				    .plain_len = ref->plain_len};
	enum err e =
		object_frame_into(f->reader, f->class, &place,
				  bytes_of(f->raw + at, (size_t)frame_stored_bytes(ref)), out, why);

	f->opened += e == ERR_NONE;
	return e;
}

/* The place of the frame unused for the longest time, with room for `len` bytes; NULL = no memory. */
static struct kept_frame *give_up(struct frames *f, size_t len)
{
	struct kept_frame *k = &f->kept[0];

	for (size_t i = 1; i < f->keep; i++)
		if (f->kept[i].used_at < k->used_at)
			k = &f->kept[i];
	k->used_at = 0;
	if (len > k->room_bytes) {
		free(k->room);
		k->room = malloc(len);
		k->room_bytes = k->room != NULL ? len : 0;
	}
	return k->room != NULL ? k : NULL;
}

enum err frames_decode_kept(struct frames *f, const struct frame_ref *ref, uint64_t at,
			    struct bytes *plain, struct error *why)
{
	struct kept_frame *k;
	enum err e;

	if (ref->plain_len > FRAME_PLAIN_MAX)
		return error_set(why, ERR_CORRUPT, "a frame of %" PRIu32 " plain bytes",
				 ref->plain_len);
	k = give_up(f, ref->plain_len);
	if (k == NULL)
		return error_set(why, ERR_MEMORY, "reading pages: out of memory");
	e = frames_decode(f, ref, at, k->room, why);
	if (e != ERR_NONE)
		return e;
	k->used_at = ++f->uses;
	k->pack = ref->pack;
	k->ordinal = ref->ordinal;
	k->plain = bytes_of(k->room, ref->plain_len);
	*plain = k->plain;
	return ERR_NONE;
}

enum err frames_get(struct frames *f, const struct frame_ref *ref, struct bytes *plain,
		    struct error *why)
{
	enum err e;

	if (frames_find(f, ref, plain))
		return ERR_NONE;
	e = frame_check(ref, why);
	if (e == ERR_NONE)
		e = frames_open_pack(f, &ref->pack, why);
	if (e == ERR_NONE)
		e = frames_read(f, &ref->pack, ref->offset, frame_stored_bytes(ref), why);
	return e == ERR_NONE ? frames_decode_kept(f, ref, 0, plain, why) : e;
}
