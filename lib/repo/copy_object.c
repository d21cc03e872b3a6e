/* repo/copy_object.c - one object from the source to the target, proven on its way.
 *
 * The bytes that are put are those that were checked: they are read once, into the piece at hand.
 */
#include "repo/copy_internal.h"
#include "repo/object_internal.h"
#include "repo/pack.h"
#include "repo/repo_internal.h"

#include <stdlib.h>

#define SECOND_US INT64_C(1000000)
enum { SLEEP_MAX_US = 200 * 1000 };

static struct store *source(const struct copying *c)
{
	return c->from->repository->store;
}

static struct store *target(const struct copying *c)
{
	return c->to->repository->store;
}

/* Tells how far it is, and keeps to the rate. */
static enum err moved(struct copying *c, uint64_t bytes, struct error *why)
{
	struct clock *clock = c->env->clock;
	int64_t wait_us = 0;

	c->moved += bytes;
	c->progress.done_bytes += bytes;
	observer_progress(c->env->observer, &c->progress);
	if (c->options->max_rate > 0)
		wait_us = c->began_us +
			  (int64_t)((double)c->moved * (double)SECOND_US /
				    (double)c->options->max_rate) -
			  clock_monotonic_us(clock);
	for (; wait_us > 0 && !*c->env->cancelled; wait_us -= SLEEP_MAX_US)
		clock_sleep_us(clock, wait_us < SLEEP_MAX_US ? wait_us : SLEEP_MAX_US);
	if (*c->env->cancelled)
		return error_set(why, ERR_CANCELLED, "copy: stopped on request");
	return ERR_NONE;
}

static enum err damaged(const struct copying *c, const char *key, const char *what,
			struct error *why)
{
	return error_set(why, ERR_CORRUPT, "object %s in %s is damaged: %s", key, source(c)->label,
			 what);
}

/* One object on its way. */
struct passage {
	struct copying *copying;
	const char *key;
	uint64_t size, at; /* bytes; put so far */
	struct upload *upload;
	uint8_t header[OBJECT_HEADER_BYTES];
};

static enum err begin(struct passage *p, struct error *why)
{
	return store_begin(target(p->copying), p->key, p->size, &p->upload, why);
}

static enum err take(struct passage *p, size_t len, struct error *why)
{
	return store_read(source(p->copying), p->key, p->at, p->copying->piece, len, why);
}

/* Puts what was taken last, and checked. */
static enum err give(struct passage *p, size_t len, struct error *why)
{
	enum err e = store_append(p->upload, bytes_of(p->copying->piece, len), why);

	if (p->at == 0)
		memcpy(p->header, p->copying->piece, sizeof(p->header));
	p->at += len;
	return e == ERR_NONE ? moved(p->copying, len, why) : e;
}

/* The key is taken, or the answer was lost.  A header holds a salt: the same one, and the same size, is
 * this object, put now, by a run before or by another one. */
static enum err settle(struct passage *p, struct error *why)
{
	struct store *store = target(p->copying);
	uint8_t there[OBJECT_HEADER_BYTES];
	struct store_object object;
	struct error look;
	enum err e = store_stat(store, p->key, &object, &look);

	if (e == ERR_MISSING)
		return error_set(why, ERR_TRANSIENT,
				 "cannot put %s: %s lost the request, nothing is there", p->key,
				 store->label);
	if (e == ERR_NONE && object.size != p->size)
		return error_set(why, ERR_EXISTS, "%s holds other bytes under %s", store->label,
				 p->key);
	if (e == ERR_NONE)
		e = store_read(store, p->key, 0, there, sizeof(there), &look);
	if (e != ERR_NONE)
		return error_set(why, ERR_TRANSIENT, "cannot tell whether %s was put: %s", p->key,
				 look.text);
	if (memcmp(there, p->header, sizeof(there)) != 0)
		return error_set(why, ERR_EXISTS, "%s holds other bytes under %s", store->label,
				 p->key);
	return store_confirm(store, p->key, why);
}

/* Ends the passage: commits when all of it was given and proven. */
static enum err end(struct passage *p, enum err e, struct error *why)
{
	if (e != ERR_NONE) {
		store_abandon(p->upload);
		return e;
	}
	e = store_commit(p->upload, why);
	if (e == ERR_UNSURE || e == ERR_EXISTS)
		e = settle(p, why);
	if (e == ERR_NONE)
		p->copying->totals->bytes += p->size;
	return e;
}

/* ---- packs: the manifest knows their SHA-256 ---- */

static enum err pass_pack(struct passage *p, struct sha256 *sha256, const uint8_t *expected,
			  struct error *why)
{
	uint8_t digest[CRYPTO_SHA256_BYTES];
	enum err e = sha256_start(sha256, why);

	while (e == ERR_NONE && p->at < p->size) {
		uint64_t left = p->size - p->at;
		size_t len = left < COPY_PIECE_BYTES ? (size_t)left : COPY_PIECE_BYTES;

		e = take(p, len, why);
		if (e == ERR_NONE)
			e = sha256_add(sha256, bytes_of(p->copying->piece, len), why);
		if (e == ERR_NONE)
			e = give(p, len, why);
	}
	if (e == ERR_NONE)
		e = sha256_end(sha256, digest, why);
	if (e == ERR_NONE && !crypto_same(digest, expected, sizeof(digest)))
		e = damaged(p->copying, p->key, "its SHA-256 is not the one in the manifest", why);
	return e;
}

enum err copy_pack(struct copying *c, const struct pack_entry *pack, struct error *why)
{
	struct passage p = {.copying = c, .size = pack->size};
	struct sha256 *sha256 = NULL;
	char key[STORE_KEY_MAX];
	enum err e = sha256_new(&sha256, why);

	pack_key(c->from, &pack->id, key);
	p.key = key;
	if (e == ERR_NONE && pack->size < OBJECT_HEADER_BYTES)
		e = damaged(c, key, "the manifest says that it is shorter than a header", why);
	if (e == ERR_NONE)
		e = begin(&p, why);
	if (e == ERR_NONE)
		e = end(&p, pass_pack(&p, sha256, pack->sha256, why), why);
	sha256_free(sha256);
	c->totals->packs += e == ERR_NONE;
	return e;
}

/* ---- other sealed objects: every frame is authenticated ---- */

static enum err pass_header(struct passage *p, struct error *why)
{
	struct object_header header;
	enum err e = take(p, OBJECT_HEADER_BYTES, why);

	/* What it says was checked when the object was opened. */
	if (e == ERR_NONE && !object_header_decode(p->copying->piece, &header))
		e = damaged(p->copying, p->key, "its header", why);
	return e == ERR_NONE ? give(p, OBJECT_HEADER_BYTES, why) : e;
}

static enum err check_frame(struct passage *p, enum frame_class class,
			    const struct frame_place *place, struct error *why)
{
	struct bytes plain, frame = bytes_of(p->copying->piece + (place->offset - p->at),
					     (size_t)place->stored_len + FRAME_OVERHEAD_BYTES);

	return object_frame_from(p->copying->reader, class, place, frame, &plain, why);
}

/* As many frames as fit into a piece, and at least one, which is never longer. */
static enum err pass_frames(struct passage *p, const struct frame_entry *entry, size_t count,
			    struct error *why)
{
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < count;) {
		size_t len = 0, frames = 0;

		while (i + frames < count) {
			size_t one =
				(size_t)entry[i + frames].place.stored_len + FRAME_OVERHEAD_BYTES;

			if (frames > 0 && len + one > COPY_PIECE_BYTES)
				break;
			len += one;
			frames++;
		}
		e = take(p, len, why);
		for (size_t k = i; e == ERR_NONE && k < i + frames; k++)
			e = check_frame(p, (enum frame_class)entry[k].frame_class, &entry[k].place,
					why);
		if (e == ERR_NONE)
			e = give(p, len, why);
		i += frames;
	}
	return e;
}

/* Directory and trailer. */
static enum err pass_end(struct passage *p, size_t count, struct error *why)
{
	struct frame_place place = {.ordinal = (uint32_t)count, .offset = p->at};
	struct object_trailer trailer;
	size_t len = (size_t)(p->size - p->at);
	enum err e;

	if (p->size - p->at > FRAME_PLAIN_MAX + FRAME_OVERHEAD_BYTES + OBJECT_TRAILER_BYTES ||
	    len < FRAME_OVERHEAD_BYTES + OBJECT_TRAILER_BYTES)
		return damaged(p->copying, p->key, "its directory has another length", why);
	e = take(p, len, why);
	if (e == ERR_NONE &&
	    (!object_trailer_decode(p->copying->piece + len - OBJECT_TRAILER_BYTES, &trailer) ||
	     trailer.directory_offset != p->at ||
	     trailer.directory_len != len - OBJECT_TRAILER_BYTES || trailer.frames != count + 1))
		e = damaged(p->copying, p->key, "its trailer", why);
	place.stored_len = (uint32_t)(len - OBJECT_TRAILER_BYTES - FRAME_OVERHEAD_BYTES);
	place.plain_len = (uint32_t)(4 + count * DIRECTORY_ENTRY_BYTES);
	if (e == ERR_NONE)
		e = check_frame(p, FRAME_DIRECTORY, &place, why);
	return e == ERR_NONE ? give(p, len, why) : e;
}

enum err copy_sealed(struct copying *c, const char *key, enum object_class class, struct error *why)
{
	struct passage p = {.copying = c, .key = key};
	const struct frame_entry *entry = NULL;
	size_t count = 0;
	enum err e = object_open(c->reader, key, class, why);

	if (e == ERR_NONE)
		e = object_directory(c->reader, &entry, &count, &p.size, why);
	if (e == ERR_NONE)
		e = begin(&p, why);
	if (e != ERR_NONE)
		return e;
	e = pass_header(&p, why);
	if (e == ERR_NONE)
		e = pass_frames(&p, entry, count, why);
	if (e == ERR_NONE)
		e = pass_end(&p, count, why);
	return end(&p, e, why);
}

/* ---- clear records ---- */

enum err copy_record(struct copying *c, const char *key, const char *type, struct error *why)
{
	const struct repository *r = c->from->repository;
	uint8_t *text = NULL;
	struct bytes body;
	size_t len = 0;
	struct store_object there;
	enum err e = store_stat(target(c), key, &there, why);

	if (e == ERR_NONE)
		return error_set(why, ERR_EXISTS, "%s has %s", target(c)->label, key);
	if (e == ERR_MISSING)
		e = store_get(source(c), key, RECORD_BYTES_MAX, &text, &len, why);
	if (e == ERR_LIMIT)
		e = damaged(c, key, "it is longer than a record", why);
	if (e == ERR_NONE)
		e = record_check(r->clear_key, key, type, bytes_of(text, len), &body, why);
	if (e == ERR_NONE)
		e = repo_put(target(c), key, bytes_of(text, len), why);
	free(text);
	if (e != ERR_NONE)
		return e;
	c->totals->others++;
	c->totals->bytes += len;
	return moved(c, len, why);
}

bool copy_is_damage(struct copying *c, enum err e, const char *key, const struct error *why)
{
	if (e != ERR_CORRUPT && e != ERR_WRONG_KEY)
		return false;
	c->totals->damaged++;
	c->options->damage(c->options->ctx, key, why->text);
	return true;
}
