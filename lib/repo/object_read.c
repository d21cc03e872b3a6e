/* repo/object_read.c - reading sealed objects: header and commitment first, then frames, each
 * authenticated before it is decompressed, then the directory.
 *
 * A restore goes back and forth between a few packs, so the last opened objects keep their key,
 * with an aead context each.  Nothing is allocated by a length that was not checked.
 */
#include "repo/object_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	OPENED_MAX = 64,      /* objects whose keys are kept: the packs of a shard, as a rule */
	FRONT_BYTES = 1 << 16 /* of an object that begins with what most readers want */
};

struct opened {
	char name[STORE_KEY_MAX + 1]; /* "" = not used */
	struct object_header header;
	uint8_t key[CRYPTO_KEY_BYTES];
	struct aead *aead; /* made when first needed; has the key */
	uint64_t used_at;  /* the lowest is given up first */
};

struct object_reader {
	const struct repository *repository;
	struct opened opened[OPENED_MAX];
	struct opened *now; /* in `opened`; NULL = none */
	uint64_t uses;
	struct decompressor *decompressor;

	bool has_class_key; /* the one derived last */
	enum key_class key_class;
	uint32_t key_epoch;
	uint8_t class_key[CRYPTO_KEY_BYTES];

	uint8_t *front; /* FRONT_BYTES; the first bytes of `front_of` */
	size_t front_len;
	const struct opened *front_of;

	uint8_t *sealed; /* frame as read */
	size_t sealed_room;
	uint8_t *payload; /* opened */
	size_t payload_room;
	uint8_t *plain; /* decompressed */
	size_t plain_room;
	struct frame_entry *entry; /* the directory */
};

enum err object_reader_new(const struct repository *r, struct object_reader **out,
			   struct error *why)
{
	struct object_reader *o = calloc(1, sizeof(*o));
	enum err e = ERR_NONE;

	if (o != NULL)
		o->front = malloc(FRONT_BYTES);
	if (o == NULL || o->front == NULL)
		e = error_set(why, ERR_MEMORY, "cannot read objects: out of memory");
	if (e == ERR_NONE) {
		o->repository = r;
		e = decompressor_new(&o->decompressor, why);
	}
	if (e != ERR_NONE) {
		object_reader_free(o);
		return e;
	}
	*out = o;
	return ERR_NONE;
}

void object_reader_free(struct object_reader *o)
{
	if (o == NULL)
		return;
	for (size_t i = 0; i < OPENED_MAX; i++)
		aead_free(o->opened[i].aead);
	decompressor_free(o->decompressor);
	free(o->front);
	free(o->sealed);
	free(o->payload);
	free(o->plain);
	free(o->entry);
	explicit_bzero(o, sizeof(*o));
	free(o);
}

static struct bytes reserve(uint8_t **buffer, size_t *room, size_t len)
{
	if (len > *room) {
		free(*buffer);
		*buffer = malloc(len);
		*room = *buffer != NULL ? len : 0;
	}
	return bytes_of(*buffer, *room);
}

static enum err class_key(struct object_reader *o, enum key_class class, uint32_t epoch,
			  struct error *why)
{
	enum err e;

	if (o->has_class_key && o->key_class == class && o->key_epoch == epoch)
		return ERR_NONE;
	o->has_class_key = false;
	e = keyring_class_key(o->repository->keyring, class, epoch, o->class_key, why);
	if (e == ERR_NONE) {
		o->has_class_key = true;
		o->key_class = class;
		o->key_epoch = epoch;
	}
	return e;
}

/* What the header says against what was asked for. */
static enum err check_header(const struct object_reader *o, const char *name,
			     enum object_class class, const struct object_header *h,
			     struct error *why)
{
	uint8_t id[OBJECT_ID_BYTES];
	const char *differs = NULL;
	enum err e = object_id_of_key(name, id, why);

	if (e != ERR_NONE)
		return e;
	if (memcmp(h->repository_id, o->repository->id, REPOSITORY_ID_BYTES) != 0)
		differs = "it is of another repository";
	else if (memcmp(h->object_id, id, OBJECT_ID_BYTES) != 0)
		differs = "it was stored under another key";
	else if (h->class != class)
		differs = "it is an object of another class";
	else if (h->encryption != o->repository->encryption)
		differs = "its encryption is not the repository's";
	if (differs != NULL)
		return error_set(why, ERR_CORRUPT, "object %s is not what it should be: %s", name,
				 differs);
	if (h->recipient != 0)
		return error_set(why, ERR_CONFIG,
				 "object %s is sealed in a way (%u) that this version of pgagent "
				 "does not know",
				 name, h->recipient);
	return ERR_NONE;
}

static enum err derive(struct object_reader *o, struct opened *slot, struct error *why)
{
	uint8_t commitment[OBJECT_COMMITMENT_BYTES];
	enum err e;

	e = class_key(o, object_key_class(slot->header.class), slot->header.epoch, why);
	if (e == ERR_NONE)
		e = object_keys(&slot->header, o->class_key, slot->key, commitment, why);
	if (e == ERR_NONE &&
	    !crypto_same(commitment, slot->header.commitment, OBJECT_COMMITMENT_BYTES)) {
		e = error_set(why, ERR_WRONG_KEY, "it was sealed under another key");
		error_hint(why, "see which keys there are with: pgagent key list");
	}
	if (e == ERR_NONE && slot->header.encryption == ENCRYPTION_AES_256_GCM) {
		if (slot->aead == NULL)
			e = aead_new(&slot->aead, why);
		if (e == ERR_NONE)
			e = aead_set_key(slot->aead, slot->key, false, why);
	}
	if (e == ERR_WRONG_KEY)
		(void)error_add(why, "the key does not open the object %s", slot->name);
	return e;
}

/* Reads the first bytes of the object into `front`: those of a pack are only its header. */
static enum err read_front(struct object_reader *o, const char *name, bool header_only,
			   struct error *why)
{
	struct store_object object;
	size_t len = OBJECT_HEADER_BYTES;
	enum err e = ERR_NONE;

	o->front_of = NULL;
	if (!header_only) {
		e = store_stat(o->repository->store, name, &object, why);
		if (e == ERR_NONE && object.size < OBJECT_HEADER_BYTES)
			e = error_set(why, ERR_CORRUPT, "it has only %llu bytes",
				      (unsigned long long)object.size);
		if (e == ERR_NONE)
			len = object.size < FRONT_BYTES ? (size_t)object.size : FRONT_BYTES;
	}
	if (e == ERR_NONE)
		e = store_read(o->repository->store, name, 0, o->front, len, why);
	if (e == ERR_CORRUPT)
		(void)error_add(why, "object %s is damaged", name);
	if (e == ERR_NONE)
		o->front_len = len;
	return e;
}

static struct opened *least_used(struct object_reader *o)
{
	struct opened *least = &o->opened[0];

	for (size_t i = 1; i < OPENED_MAX; i++)
		if (o->opened[i].used_at < least->used_at)
			least = &o->opened[i];
	return least;
}

static enum err open_anew(struct object_reader *o, const char *key, enum object_class class,
			  struct error *why)
{
	struct opened *slot = least_used(o);
	enum err e;

	e = read_front(o, key, class == OBJECT_PACK, why);
	if (e != ERR_NONE)
		return e;
	slot->name[0] = '\0';
	slot->used_at = 0;
	if (!object_header_decode(o->front, &slot->header))
		return error_set(why, ERR_CORRUPT, "object %s is damaged: its header", key);
	e = check_header(o, key, class, &slot->header, why);
	if (e != ERR_NONE)
		return e;
	(void)snprintf(slot->name, sizeof(slot->name), "%s", key); /* the store took it as a key */
	e = derive(o, slot, why);
	if (e != ERR_NONE) {
		slot->name[0] = '\0';
		return e;
	}
	o->now = slot;
	o->front_of = slot;
	return ERR_NONE;
}

enum err object_open(struct object_reader *o, const char *key, enum object_class class,
		     struct error *why)
{
	enum err e = ERR_NONE;
	struct opened *found = NULL;

	free(o->entry);
	o->entry = NULL;
	o->now = NULL;
	for (size_t i = 0; i < OPENED_MAX && found == NULL; i++)
		if (strcmp(o->opened[i].name, key) == 0 && key[0] != '\0' &&
		    o->opened[i].header.class == class)
			found = &o->opened[i];
	if (found != NULL)
		o->now = found;
	else
		e = open_anew(o, key, class, why);
	if (o->now != NULL)
		o->now->used_at = ++o->uses;
	return e;
}

static enum err frame_damaged(const struct object_reader *o, const struct frame_place *place,
			      const char *what, struct error *why)
{
	return error_set(why, ERR_CORRUPT, "object %s is damaged: frame %u at byte %llu: %s",
			 o->now->name, place->ordinal, (unsigned long long)place->offset, what);
}

/* A place comes from another object, or from a header in the clear. */
static enum err check_place(const struct object_reader *o, const struct frame_place *place,
			    struct error *why)
{
	struct frame_header h = {.codec = CODEC_ZSTD,
				 .ordinal = place->ordinal,
				 .plain_len = place->plain_len,
				 .stored_len = place->stored_len};

	if (!frame_header_is_sane(&h) || place->offset < OBJECT_HEADER_BYTES ||
	    place->offset > INT64_MAX - FRAME_PLAIN_MAX - FRAME_OVERHEAD_BYTES)
		return frame_damaged(o, place, "its lengths are out of bounds", why);
	return ERR_NONE;
}

/* Authenticates the payload; *out is in the frame or in the reader. */
static enum err authenticate(struct object_reader *o, const struct frame_header *h,
			     const uint8_t *frame, struct bytes *out, struct error *why)
{
	struct opened *now = o->now;
	struct bytes payload = bytes_of(frame + FRAME_HEADER_BYTES, h->stored_len);
	const uint8_t *tag = payload.data + payload.len;
	uint8_t aad[FRAME_AAD_BYTES], expected[CRYPTO_TAG_BYTES];
	enum err e;

	frame_aad(&now->header, frame, aad);
	if (now->header.encryption == ENCRYPTION_NONE) {
		*out = payload;
		e = frame_hmac(now->key, aad, payload, expected, why);
		if (e == ERR_NONE && !crypto_same(expected, tag, CRYPTO_TAG_BYTES))
			e = error_set(why, ERR_CORRUPT, "the tag does not match");
		return e;
	}
	if (reserve(&o->payload, &o->payload_room, payload.len).data == NULL)
		return error_set(why, ERR_MEMORY, "out of memory");
	*out = bytes_of(o->payload, payload.len);
	return aead_open(now->aead, h->class, h->ordinal, bytes_of(aad, sizeof(aad)), payload, tag,
			 o->payload, why);
}

enum err object_frame_into(struct object_reader *o, enum frame_class class,
			   const struct frame_place *place, struct bytes frame, uint8_t *plain,
			   struct error *why)
{
	struct frame_header h;
	struct bytes payload;
	enum err e;

	assert(o->now != NULL);
	e = check_place(o, place, why);
	if (e != ERR_NONE)
		return e;
	if (frame.len != (size_t)place->stored_len + FRAME_OVERHEAD_BYTES)
		return frame_damaged(o, place, "it is cut short", why);
	if (!frame_header_decode(frame.data, &h) || !frame_header_is_sane(&h))
		return frame_damaged(o, place, "its header", why);
	if (h.class != class || h.ordinal != place->ordinal || h.plain_len != place->plain_len ||
	    h.stored_len != place->stored_len)
		return frame_damaged(o, place, "another frame is in its place", why);
	e = authenticate(o, &h, frame.data, &payload, why);
	if (e == ERR_NONE)
		e = decompressor_run(o->decompressor, h.codec, payload, plain, h.plain_len, why);
	if (e != ERR_NONE)
		(void)error_add(why, "%s %s: frame %u at byte %llu",
				e == ERR_CORRUPT ? "damaged object" : "cannot read", o->now->name,
				place->ordinal, (unsigned long long)place->offset);
	return e;
}

enum err object_frame_from(struct object_reader *o, enum frame_class class,
			   const struct frame_place *place, struct bytes frame, struct bytes *plain,
			   struct error *why)
{
	enum err e;

	assert(o->now != NULL);
	e = check_place(o, place, why);
	if (e != ERR_NONE)
		return e;
	if (reserve(&o->plain, &o->plain_room, place->plain_len).data == NULL)
		return error_set(why, ERR_MEMORY, "cannot read %s: out of memory", o->now->name);
	e = object_frame_into(o, class, place, frame, o->plain, why);
	if (e == ERR_NONE)
		*plain = bytes_of(o->plain, place->plain_len);
	return e;
}

static bool in_front(const struct object_reader *o, uint64_t offset, size_t len)
{
	return o->front_of == o->now && offset <= o->front_len && len <= o->front_len - offset;
}

/* `len` bytes of the opened object, from what is there or from the store. */
static enum err read_bytes(struct object_reader *o, uint64_t offset, size_t len, struct bytes *out,
			   struct error *why)
{
	enum err e;

	if (in_front(o, offset, len)) {
		*out = bytes_of(o->front + offset, len);
		return ERR_NONE;
	}
	if (reserve(&o->sealed, &o->sealed_room, len).data == NULL)
		return error_set(why, ERR_MEMORY, "cannot read %s: out of memory", o->now->name);
	e = store_read(o->repository->store, o->now->name, offset, o->sealed, len, why);
	if (e == ERR_CORRUPT)
		return error_add(why, "object %s is damaged", o->now->name);
	if (e == ERR_NONE)
		*out = bytes_of(o->sealed, len);
	return e;
}

enum err object_frame(struct object_reader *o, enum frame_class class,
		      const struct frame_place *place, struct bytes *plain, struct error *why)
{
	struct bytes frame;
	enum err e;

	assert(o->now != NULL);
	e = check_place(o, place, why);
	if (e == ERR_NONE)
		e = read_bytes(o, place->offset, (size_t)place->stored_len + FRAME_OVERHEAD_BYTES,
			       &frame, why);
	if (e == ERR_NONE)
		e = object_frame_from(o, class, place, frame, plain, why);
	return e;
}

enum err object_first_frame(struct object_reader *o, enum frame_class class, struct bytes *plain,
			    struct error *why)
{
	struct frame_place place = {.ordinal = 0, .offset = OBJECT_HEADER_BYTES};
	struct frame_header h;
	struct bytes header;
	enum err e = ERR_NONE;

	assert(o->now != NULL);
	if (!in_front(o, OBJECT_HEADER_BYTES, FRAME_HEADER_BYTES)) {
		e = read_front(o, o->now->name, false, why);
		if (e == ERR_NONE)
			o->front_of = o->now;
	}
	if (e == ERR_NONE)
		e = read_bytes(o, OBJECT_HEADER_BYTES, FRAME_HEADER_BYTES, &header, why);
	if (e != ERR_NONE)
		return e;
	if (!frame_header_decode(header.data, &h))
		return frame_damaged(o, &place, "its header", why);
	place.stored_len = h.stored_len;
	place.plain_len = h.plain_len;
	return object_frame(o, class, &place, plain, why);
}

static enum err directory_damaged(const struct object_reader *o, const char *what,
				  struct error *why)
{
	return error_set(why, ERR_CORRUPT, "object %s is damaged: its %s", o->now->name, what);
}

/* Where the directory is, by the trailer; everything in it is checked against the size. */
static enum err read_trailer(struct object_reader *o, uint64_t *object_size,
			     struct frame_place *place, struct error *why)
{
	struct store_object object;
	struct object_trailer t;
	struct bytes in;
	enum err e = store_stat(o->repository->store, o->now->name, &object, why);

	if (e != ERR_NONE)
		return e;
	if (object.size < OBJECT_HEADER_BYTES + FRAME_OVERHEAD_BYTES + OBJECT_TRAILER_BYTES)
		return directory_damaged(o, "end is missing", why);
	e = read_bytes(o, object.size - OBJECT_TRAILER_BYTES, OBJECT_TRAILER_BYTES, &in, why);
	if (e != ERR_NONE)
		return e;
	if (!object_trailer_decode(in.data, &t))
		return directory_damaged(o, "end is missing or damaged", why);
	if (t.frames < 1 || t.frames - 1 > OBJECT_FRAMES_MAX ||
	    t.directory_len <= FRAME_OVERHEAD_BYTES || t.directory_offset > object.size ||
	    t.directory_offset + t.directory_len + OBJECT_TRAILER_BYTES != object.size)
		return directory_damaged(o, "trailer does not fit its size", why);
	*place = (struct frame_place){.ordinal = t.frames - 1,
				      .offset = t.directory_offset,
				      .stored_len = t.directory_len - FRAME_OVERHEAD_BYTES,
				      .plain_len = 4 + (t.frames - 1) * DIRECTORY_ENTRY_BYTES};
	*object_size = object.size;
	return ERR_NONE;
}

static enum err parse_directory(struct object_reader *o, struct bytes plain,
				const struct frame_place *place, struct frame_entry *entry,
				struct error *why)
{
	struct reader r = reader_of(plain);
	uint32_t count = reader_u32(&r);
	uint64_t offset = OBJECT_HEADER_BYTES;

	if (count != place->ordinal || r.left != (size_t)count * DIRECTORY_ENTRY_BYTES)
		return directory_damaged(o, "directory has another count than its trailer", why);
	for (uint32_t i = 0; i < count; i++) {
		struct frame_entry *at = &entry[i];

		at->place.ordinal = i;
		at->place.offset = reader_u64(&r);
		at->place.stored_len = reader_u32(&r);
		at->place.plain_len = reader_u32(&r);
		at->frame_class = reader_u8(&r);
		at->codec = reader_u8(&r);
		(void)reader_u16(&r); /* zero, and authenticated */
		if (at->place.offset != offset || check_place(o, &at->place, why) != ERR_NONE)
			return directory_damaged(o, "directory has a gap", why);
		offset += (uint64_t)at->place.stored_len + FRAME_OVERHEAD_BYTES;
	}
	if (offset != place->offset)
		return directory_damaged(o, "directory has a gap", why);
	return ERR_NONE;
}

enum err object_directory(struct object_reader *o, const struct frame_entry **out, size_t *count,
			  uint64_t *object_size, struct error *why)
{
	struct frame_place place;
	struct bytes plain;
	uint64_t size = 0;
	enum err e;

	assert(o->now != NULL);
	free(o->entry);
	o->entry = NULL;
	e = read_trailer(o, &size, &place, why);
	if (e == ERR_NONE)
		e = object_frame(o, FRAME_DIRECTORY, &place, &plain, why);
	if (e != ERR_NONE)
		return e;
	o->entry = calloc((size_t)place.ordinal + 1, sizeof(*o->entry));
	if (o->entry == NULL)
		return error_set(why, ERR_MEMORY, "cannot read %s: out of memory", o->now->name);
	e = parse_directory(o, plain, &place, o->entry, why);
	if (e != ERR_NONE)
		return e;
	*out = o->entry;
	*count = place.ordinal;
	if (object_size != NULL)
		*object_size = size;
	return ERR_NONE;
}
