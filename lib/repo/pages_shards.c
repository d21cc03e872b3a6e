/* repo/pages_shards.c - stored shards, decoded: of a backup that is read, and of a parent. */
#include "repo/pages_internal.h"

enum err shard_ref_resolve(const struct manifest *m, const uint8_t *stored, struct shard_ref *out,
			   struct error *why)
{
	struct file_shard_ref ref;

	file_shard_ref_decode(stored, &ref);
	if (ref.pack >= m->packs)
		return error_set(why, ERR_CORRUPT, "a shard lies in a pack that is not listed");
	*out = (struct shard_ref){
		.frame = {.pack = m->pack[ref.pack].id,
			  .ordinal = ref.place.ordinal,
			  .offset = ref.place.offset,
			  .stored_len = ref.place.stored_len,
			  .plain_len = ref.place.plain_len},
		.offset = ref.offset,
		.len = ref.len,
	};
	return ERR_NONE;
}

/* The encoded shard at `ref`, borrowed. */
static enum err shard_bytes(struct frames *f, const struct shard_ref *ref, struct bytes *out,
			    struct error *why)
{
	struct bytes plain;
	enum err e = frames_get(f, &ref->frame, &plain, why);

	if (e != ERR_NONE)
		return e;
	if (ref->offset > plain.len || ref->len > plain.len - ref->offset)
		return error_set(why, ERR_CORRUPT, "a shard lies outside its frame");
	*out = bytes_of(plain.data + ref->offset, ref->len);
	return ERR_NONE;
}

enum err shard_load_whole(struct frames *f, const struct shard_ref *ref, struct shard *out,
			  struct error *why)
{
	struct bytes in;
	enum err e = shard_bytes(f, ref, &in, why);

	return e != ERR_NONE ? e : shard_decode(in, out, why);
}

enum err shard_load(struct frames *f, const struct shard_ref *ref, struct shard *out,
		    struct shard_ref *base, struct error *why)
{
	struct bytes in;
	bool is_patch;
	enum err e = shard_bytes(f, ref, &in, why);

	*base = *ref;
	if (e == ERR_NONE)
		e = shard_patch_base(in, &is_patch, base, why);
	if (e != ERR_NONE || !is_patch)
		return e != ERR_NONE ? e : shard_decode(in, out, why);
	e = shard_load_whole(f, base, out, why);
	if (e == ERR_NONE)
		e = shard_bytes(f, ref, &in, why); /* the base may have taken its frame's place */
	return e != ERR_NONE ? e : shard_decode_patch(in, out, why);
}
