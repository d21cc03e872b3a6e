/* repo/object.c - writing sealed objects: seal, append, and a commit whose answer is certain.
 *
 * Frames are sealed where they lie in one buffer, so that a byte is copied once between the codec
 * and the store.  The reader is in object_read.c.
 */
#include "repo/object_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	/* Appends of 1 MiB: large enough for any store, small beside a pack. */
	FLUSH_BYTES = 1 << 20,
	BUFFER_BYTES = FLUSH_BYTES + FRAME_PLAIN_MAX + FRAME_OVERHEAD_BYTES
};

struct object_writer {
	const struct repository *repository;
	struct upload *upload; /* NULL once it ended */
	struct aead *aead;     /* NULL without encryption */
	struct sha256 *sha256; /* of the whole object; NULL for WAL, which nobody names by it */
	struct object_header header;
	uint8_t key[CRYPTO_KEY_BYTES]; /* of the object */
	char name[STORE_KEY_MAX + 1];  /* the object's key in the store */
	uint8_t *buffer;               /* BUFFER_BYTES; what was not appended yet */
	size_t used;
	uint64_t bytes; /* of the object so far, with what is in the buffer */
	uint32_t frames;
	bool failed;
	struct writer directory; /* count (set at the end) and entries */
	uint8_t *scratch;        /* for compression; grows */
	size_t scratch_len;
};

void object_abandon(struct object_writer *w)
{
	if (w == NULL)
		return;
	store_abandon(w->upload);
	aead_free(w->aead);
	sha256_free(w->sha256);
	writer_release(&w->directory);
	free(w->scratch);
	free(w->buffer);
	explicit_bzero(w->key, sizeof(w->key));
	free(w);
}

/* A fresh salt, so a fresh key: nothing was ever sealed under it. */
static enum err begin_keys(struct object_writer *w, enum object_class class, struct error *why)
{
	const struct repository *r = w->repository;
	struct object_header *h = &w->header;
	uint8_t class_key[CRYPTO_KEY_BYTES];
	enum err e;

	h->class = (uint8_t) class;
	h->encryption = (uint8_t)r->encryption;
	h->epoch = r->seals_in != 0 ? r->seals_in : keyring_epoch(r->keyring);
	memcpy(h->repository_id, r->id, REPOSITORY_ID_BYTES);
	e = object_id_of_key(w->name, h->object_id, why);
	if (e == ERR_NONE)
		e = random_fill(r->env->random, h->salt, sizeof(h->salt), why);
	if (e == ERR_NONE)
		e = keyring_class_key(r->keyring, object_key_class(h->class), h->epoch, class_key,
				      why);
	if (e == ERR_NONE)
		e = object_keys(h, class_key, w->key, h->commitment, why);
	if (e == ERR_NONE && r->encryption == ENCRYPTION_AES_256_GCM) {
		e = aead_new(&w->aead, why);
		if (e == ERR_NONE)
			e = aead_set_key(w->aead, w->key, true, why);
	}
	explicit_bzero(class_key, sizeof(class_key));
	return e;
}

enum err object_begin(const struct repository *r, const char *key, enum object_class class,
		      uint64_t size_hint, struct object_writer **out, struct error *why)
{
	struct object_writer *w = calloc(1, sizeof(*w));
	enum err e = ERR_NONE;

	if (w != NULL)
		w->buffer = malloc(BUFFER_BYTES);
	if (w == NULL || w->buffer == NULL) {
		free(w);
		return error_set(why, ERR_MEMORY, "cannot write %s: out of memory", key);
	}
	w->repository = r;
	writer_init(&w->directory, FRAME_PLAIN_MAX);
	writer_u32(&w->directory, 0);
	if (!store_is_key(key))
		e = error_set(why, ERR_CONFIG, "not a key of the store %s: \"%s\"", r->store->label,
			      key);
	if (e == ERR_NONE) {
		(void)snprintf(w->name, sizeof(w->name), "%s", key); /* a key */
		e = begin_keys(w, class, why);
	}
	if (e == ERR_NONE && object_key_class(w->header.class) != KEY_CLASS_WAL)
		e = sha256_new(&w->sha256, why);
	if (e == ERR_NONE && w->sha256 != NULL)
		e = sha256_start(w->sha256, why);
	if (e == ERR_NONE)
		e = store_begin(r->store, key, size_hint, &w->upload, why);
	if (e != ERR_NONE) {
		object_abandon(w);
		return e;
	}
	object_header_encode(&w->header, w->buffer);
	w->used = OBJECT_HEADER_BYTES;
	w->bytes = OBJECT_HEADER_BYTES;
	*out = w;
	return ERR_NONE;
}

static enum err flush(struct object_writer *w, struct error *why)
{
	struct bytes ready = bytes_of(w->buffer, w->used);
	enum err e = w->sha256 == NULL ? ERR_NONE : sha256_add(w->sha256, ready, why);

	if (e == ERR_NONE)
		e = store_append(w->upload, ready, why);
	w->used = 0;
	return e;
}

/* Seals one frame at the end of the buffer. */
static enum err seal(struct object_writer *w, const struct frame_header *h, struct bytes payload,
		     struct error *why)
{
	uint8_t *at = w->buffer + w->used;
	uint8_t *sealed = at + FRAME_HEADER_BYTES;
	uint8_t *tag = sealed + payload.len;
	uint8_t aad[FRAME_AAD_BYTES];
	enum err e;

	frame_header_encode(h, at);
	frame_aad(&w->header, at, aad);
	if (w->aead != NULL) {
		e = aead_seal(w->aead, h->class, h->ordinal, bytes_of(aad, sizeof(aad)), payload,
			      sealed, tag, why);
	} else {
		memcpy(sealed, payload.data, payload.len);
		e = frame_hmac(w->key, aad, payload, tag, why);
	}
	if (e == ERR_NONE) {
		w->used += payload.len + FRAME_OVERHEAD_BYTES;
		w->bytes += payload.len + FRAME_OVERHEAD_BYTES;
		w->frames++;
		if (w->used >= FLUSH_BYTES)
			e = flush(w, why);
	}
	return e;
}

static void note_in_directory(struct object_writer *w, const struct frame_header *h,
			      uint64_t offset)
{
	writer_u64(&w->directory, offset);
	writer_u32(&w->directory, h->stored_len);
	writer_u32(&w->directory, h->plain_len);
	writer_u8(&w->directory, h->class);
	writer_u8(&w->directory, h->codec);
	writer_u16(&w->directory, 0);
}

enum err object_add(struct object_writer *w, enum frame_class class, enum codec codec,
		    struct bytes payload, uint32_t plain_len, struct frame_place *place,
		    struct error *why)
{
	struct frame_header h = {.class = (uint8_t) class,
				 .codec = (uint8_t)codec,
				 .ordinal = w->frames,
				 .plain_len = plain_len,
				 .stored_len = (uint32_t)payload.len};
	uint64_t offset = w->bytes;
	enum err e = ERR_NONE;

	assert(!w->failed && class != FRAME_DIRECTORY && payload.len <= FRAME_PLAIN_MAX);
	if (w->frames == OBJECT_FRAMES_MAX)
		return error_set(why, ERR_LIMIT, "cannot write %s: more than %d frames", w->name,
				 OBJECT_FRAMES_MAX);
	assert(frame_header_is_sane(&h));
	note_in_directory(w, &h, offset);
	if (w->directory.bad)
		e = error_set(why, ERR_MEMORY, "cannot write %s: out of memory", w->name);
	if (e == ERR_NONE)
		e = seal(w, &h, payload, why);
	if (e != ERR_NONE) {
		w->failed = true;
		return e;
	}
	if (place != NULL)
		*place = (struct frame_place){.ordinal = h.ordinal,
					      .offset = offset,
					      .stored_len = h.stored_len,
					      .plain_len = plain_len};
	return ERR_NONE;
}

enum err object_add_plain(struct object_writer *w, enum frame_class class,
			  struct compressor *compressor, struct bytes plain,
			  struct frame_place *place, struct error *why)
{
	size_t room, stored_len = 0;
	enum codec codec = CODEC_STORED;
	enum err e;

	assert(plain.len > 0 && plain.len <= FRAME_PLAIN_MAX);
	if (compressor == NULL)
		return object_add(w, class, CODEC_STORED, plain, (uint32_t)plain.len, place, why);
	room = compressor_bound(plain.len);
	if (room > w->scratch_len) {
		free(w->scratch);
		w->scratch = malloc(room);
		w->scratch_len = w->scratch != NULL ? room : 0;
		if (w->scratch == NULL)
			return error_set(why, ERR_MEMORY, "cannot write %s: out of memory",
					 w->name);
	}
	e = compressor_run(compressor, plain, w->scratch, w->scratch_len, &stored_len, &codec, why);
	if (e != ERR_NONE)
		return e;
	return object_add(w, class, codec, bytes_of(w->scratch, stored_len), (uint32_t)plain.len,
			  place, why);
}

uint64_t object_bytes(const struct object_writer *w)
{
	return w->bytes;
}

uint32_t object_frames(const struct object_writer *w)
{
	return w->frames;
}

static enum err put_directory(struct object_writer *w, struct error *why)
{
	struct frame_header h = {.class = FRAME_DIRECTORY,
				 .codec = CODEC_STORED,
				 .ordinal = w->frames,
				 .plain_len = (uint32_t)w->directory.len,
				 .stored_len = (uint32_t)w->directory.len};
	struct object_trailer t = {
		.directory_offset = w->bytes,
		.directory_len = (uint32_t)w->directory.len + FRAME_OVERHEAD_BYTES,
		.frames = w->frames + 1,
	};
	enum err e;

	if (w->directory.bad)
		return error_set(why, ERR_MEMORY, "cannot write %s: out of memory", w->name);
	put_u32(w->directory.data, w->frames);
	e = seal(w, &h, writer_view(&w->directory), why);
	if (e != ERR_NONE)
		return e;
	object_trailer_encode(&t, w->buffer + w->used);
	w->used += OBJECT_TRAILER_BYTES;
	w->bytes += OBJECT_TRAILER_BYTES;
	return flush(w, why);
}

/* True when the object under our key is ours: of our size, and with our salt. */
static enum err look(const struct object_writer *w, bool *ours, struct error *why)
{
	uint8_t mine[OBJECT_HEADER_BYTES], found[OBJECT_HEADER_BYTES];
	struct store_object object;
	enum err e = store_stat(w->repository->store, w->name, &object, why);

	if (e != ERR_NONE)
		return e;
	*ours = false;
	if (object.size != w->bytes)
		return ERR_NONE;
	e = store_read(w->repository->store, w->name, 0, found, sizeof(found), why);
	if (e != ERR_NONE)
		return e;
	object_header_encode(&w->header, mine);
	*ours = memcmp(mine, found, sizeof(mine)) == 0;
	return ERR_NONE;
}

/* A response that was lost, or lost once and then repeated: the salt tells whose object it is. */
static enum err settle(const struct object_writer *w, enum err e, struct error *why)
{
	struct error look_why;
	bool ours = false;
	enum err looked = look(w, &ours, &look_why);

	if (looked == ERR_NONE && ours)
		return ERR_NONE;
	if (e == ERR_EXISTS)
		return e;
	if (looked == ERR_NONE)
		return error_set(why, ERR_EXISTS, "cannot put %s in %s: the name is taken", w->name,
				 w->repository->store->label);
	if (looked == ERR_MISSING)
		return error_set(why, ERR_TRANSIENT,
				 "cannot put %s in %s: the store lost the request, nothing is "
				 "there",
				 w->name, w->repository->store->label);
	return e;
}

enum err object_commit(struct object_writer *w, uint8_t sha256[CRYPTO_SHA256_BYTES], uint64_t *size,
		       struct error *why)
{
	uint8_t digest[CRYPTO_SHA256_BYTES];
	struct upload *upload;
	enum err e;

	assert(!w->failed && (sha256 == NULL || w->sha256 != NULL));
	e = put_directory(w, why);
	if (e == ERR_NONE && w->sha256 != NULL)
		e = sha256_end(w->sha256, digest, why);
	if (e == ERR_NONE) {
		upload = w->upload;
		w->upload = NULL; /* ends with the commit, whatever the answer */
		e = store_commit(upload, why);
		if (e == ERR_UNSURE || e == ERR_EXISTS)
			e = settle(w, e, why);
	}
	if (e == ERR_NONE && sha256 != NULL)
		memcpy(sha256, digest, sizeof(digest));
	if (e == ERR_NONE && size != NULL)
		*size = w->bytes;
	object_abandon(w);
	return e;
}
