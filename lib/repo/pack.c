/* repo/pack.c - the packs one backup writes, and the sections it keeps in them (protocol W3).
 *
 * A commit waits for the disk, and whoever fills packs would wait with it: so a full pack is committed
 * by a thread of its own while the next one is filled.  One at a time; the order of durable steps is
 * that of the packs.
 */
#include "repo/pack.h"

#include "repo/fanout.h"
#include "repo/manifest_internal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { SECTION_LEVEL = 3 /* zstd: text and file records, small beside the pages */ };

/* Bytes of a section that have not become a frame yet. */
struct held {
	char name[SECTION_NAME_MAX];
	size_t len;
	uint8_t bytes[FRAME_SECTION_MAX];
};

/* A full pack on its way into the store. */
struct committing {
	pthread_t thread;
	struct object_writer
		*object; /* the thread's until it is joined; NULL = none is under way */
	uint64_t bytes;  /* so far; the directory comes on top */
	/* The thread's answer. */
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	uint64_t size;
	enum err err;
	struct error why;
	uint32_t index; /* in the manifest's table, which may move meanwhile */
};

struct pack_writer {
	struct repository repository; /* the first one's; its store may be the fan-out */
	struct cluster cluster;       /* of that repository */
	struct store *fanout;         /* owned; NULL with one repository */
	struct manifest *manifest;    /* borrowed */
	struct compressor *zstd;      /* of sections */
	struct pack_id id;            /* of the open pack, or of the next one */
	struct object_writer *object; /* the open pack or NULL */
	uint32_t index;               /* of the open pack in the manifest's table */
	struct committing committing;
	uint64_t committed_bytes;
	uint64_t plain_bytes; /* of the open pack's frames */
	struct held *held[MANIFEST_SECTIONS_MAX];
	size_t helds;
};

void pack_key(const struct cluster *c, const struct pack_id *id, char out[STORE_KEY_MAX])
{
	char attempt[ATTEMPT_TEXT_MAX];

	attempt_to_text(&id->attempt, attempt);
	(void)snprintf(out, STORE_KEY_MAX, "%spacks/%s/%08u", c->prefix, attempt, id->seq);
}

/* Sealed bytes carry the repository id and the key of the object: both must be the same. */
static enum err check_family(const struct cluster *const *clusters, size_t n, struct error *why)
{
	const struct repository *first = clusters[0]->repository;

	for (size_t i = 1; i < n; i++) {
		const struct repository *other = clusters[i]->repository;

		if (memcmp(first->id, other->id, REPOSITORY_ID_BYTES) != 0 ||
		    first->encryption != other->encryption || first->tag_kind != other->tag_kind ||
		    strcmp(clusters[0]->prefix, clusters[i]->prefix) != 0) {
			(void)error_set(why, ERR_CONFIG,
					"backup to %s and %s: these repositories are not of one "
					"family",
					first->store->label, other->store->label);
			error_hint(why, "Back up to each of them in a run of its own, or make the "
					"second one anew with 'pgagent init' while the first one "
					"is configured.");
			return ERR_CONFIG;
		}
	}
	return ERR_NONE;
}

static enum err join_stores(struct pack_writer *w, const struct cluster *const *clusters, size_t n,
			    struct error *why)
{
	struct store *stores[FANOUT_STORES_MAX];
	enum err err;

	w->repository = *clusters[0]->repository;
	w->cluster = *clusters[0];
	w->cluster.repository = &w->repository;
	if (n == 1)
		return ERR_NONE;
	if (n > FANOUT_STORES_MAX)
		return error_set(why, ERR_LIMIT, "backup to %zu repositories: at most %d", n,
				 FANOUT_STORES_MAX);
	err = check_family(clusters, n, why);
	if (err)
		return err;
	for (size_t i = 0; i < n; i++)
		stores[i] = clusters[i]->repository->store;
	err = fanout_new(stores, n, &w->fanout, why);
	if (!err)
		w->repository.store = w->fanout;
	return err;
}

enum err pack_writer_new(const struct cluster *const *clusters, size_t n,
			 const struct attempt *attempt, struct manifest *manifest,
			 struct pack_writer **out, struct error *why)
{
	struct pack_writer *w = calloc(1, sizeof(*w));
	enum err err;

	if (!w)
		return error_set(why, ERR_MEMORY, "writing packs: no memory");
	w->manifest = manifest;
	w->id.attempt = *attempt;
	err = join_stores(w, clusters, n, why);
	if (!err)
		err = compressor_new(SECTION_LEVEL, FRAME_PLAIN_MAX, &w->zstd, why);
	if (err)
		pack_writer_free(w);
	else
		*out = w;
	return err;
}

void pack_writer_free(struct pack_writer *w)
{
	if (!w)
		return;
	if (w->committing.object)
		(void)pthread_join(w->committing.thread, NULL); /* garbage, or refused */
	object_abandon(w->object);
	for (size_t i = 0; i < w->helds; i++)
		free(w->held[i]);
	compressor_free(w->zstd);
	store_close(w->fanout);
	free(w);
}

uint64_t pack_stored_bytes(const struct pack_writer *w)
{
	return w->committed_bytes + (w->committing.object ? w->committing.bytes : 0) +
	       (w->object ? object_bytes(w->object) : 0);
}

enum err pack_index(struct pack_writer *w, const struct pack_id *id, uint32_t *out,
		    struct error *why)
{
	return manifest_pack_index(w->manifest, id, out, why);
}

enum err pack_borrow(struct pack_writer *w, const struct pack_entry *known, uint64_t plain_bytes,
		     struct error *why)
{
	uint32_t index, before = w->manifest->packs;
	enum err err = manifest_pack_index(w->manifest, &known->id, &index, why);

	if (err)
		return err;
	if (index == before) {
		w->manifest->pack[index] = *known;
		w->manifest->pack[index].live_bytes = 0;
	}
	w->manifest->pack[index].live_bytes += plain_bytes;
	return ERR_NONE;
}

static enum err open_pack(struct pack_writer *w, struct error *why)
{
	char key[STORE_KEY_MAX];
	enum err err;

	if (w->object)
		return ERR_NONE;
	pack_key(&w->cluster, &w->id, key);
	err = object_begin(&w->repository, key, OBJECT_PACK, PACK_BYTES, &w->object, why);
	if (!err)
		err = manifest_pack_index(w->manifest, &w->id, &w->index, why);
	return err;
}

static void *commit(void *arg)
{
	struct committing *c = arg;

	c->err = object_commit(c->object, c->sha256, &c->size, &c->why);
	return NULL;
}

/* The answer goes into the table. */
static enum err take_answer(struct pack_writer *w, struct error *why)
{
	struct committing *c = &w->committing;
	struct pack_entry *entry = &w->manifest->pack[c->index];

	c->object = NULL; /* committing ended it, whatever the answer */
	if (c->err) {
		if (why)
			*why = c->why;
		return c->err;
	}
	memcpy(entry->sha256, c->sha256, sizeof(entry->sha256));
	entry->size = c->size;
	w->committed_bytes += c->size;
	return ERR_NONE;
}

/* Waits for the pack before. */
static enum err settle(struct pack_writer *w, struct error *why)
{
	if (!w->committing.object)
		return ERR_NONE;
	(void)pthread_join(w->committing.thread, NULL); /* ours, and joined once */
	return take_answer(w, why);
}

/* The open pack takes no more frames. */
static void hand_over(struct pack_writer *w)
{
	w->committing = (struct committing){
		.object = w->object, .bytes = object_bytes(w->object), .index = w->index};
	w->manifest->pack[w->index].plain_kib = (uint32_t)((w->plain_bytes + 1023) / 1024);
	w->plain_bytes = 0;
	w->object = NULL;
	w->id.seq++;
}

static enum err close_pack(struct pack_writer *w, struct error *why)
{
	enum err err = settle(w, why);

	if (err)
		return err;
	hand_over(w);
	if (pthread_create(&w->committing.thread, NULL, commit, &w->committing) == 0)
		return ERR_NONE;
	object_abandon(w->committing.object);
	w->committing.object = NULL;
	return error_set(why, ERR_LIMIT, "writing packs: no thread");
}

/* Counts what lies at `place`, says where that is, and closes a full pack. */
static enum err added(struct pack_writer *w, const struct frame_place *place, struct frame_ref *ref,
		      struct error *why)
{
	*ref = (struct frame_ref){.pack = w->id,
				  .ordinal = place->ordinal,
				  .offset = place->offset,
				  .stored_len = place->stored_len,
				  .plain_len = place->plain_len};
	/* All of it is referred to: pages, shards and sections are written because they are. */
	w->manifest->pack[w->index].live_bytes += place->plain_len;
	w->plain_bytes += place->plain_len;
	/* Pages that compress to almost nothing fill the directory before the pack. */
	if (object_bytes(w->object) < PACK_BYTES && object_frames(w->object) < OBJECT_FRAMES_MAX)
		return ERR_NONE;
	return close_pack(w, why);
}

enum err pack_add(struct pack_writer *w, enum frame_class class, enum codec codec,
		  struct bytes payload, uint32_t plain_len, struct frame_ref *ref,
		  struct error *why)
{
	struct frame_place place;
	enum err err = open_pack(w, why);

	if (!err)
		err = object_add(w->object, class, codec, payload, plain_len, &place, why);
	if (!err)
		err = added(w, &place, ref, why);
	return err;
}

static enum err add_section_frame(struct pack_writer *w, const char *name, struct bytes plain,
				  struct error *why)
{
	struct section *section;
	struct frame_place place;
	struct frame_ref ref;
	enum err err = open_pack(w, why);

	if (!err)
		err = object_add_plain(w->object, FRAME_SECTION, w->zstd, plain, &place, why);
	if (!err)
		err = manifest_section_ensure(w->manifest, name, &section, why);
	if (!err)
		err = section_add_frame(section, w->index, &place, why);
	if (!err)
		err = added(w, &place, &ref, why);
	return err;
}

static enum err flush(struct pack_writer *w, struct held *held, struct error *why)
{
	enum err err = ERR_NONE;

	if (held->len > 0)
		err = add_section_frame(w, held->name, bytes_of(held->bytes, held->len), why);
	if (!err)
		held->len = 0;
	return err;
}

/* The buffer of a section, made with the section itself when it is named the first time. */
static enum err held_of(struct pack_writer *w, const char *name, struct held **out,
			struct error *why)
{
	struct section *section;
	struct held *held;
	enum err err;

	for (size_t i = 0; i < w->helds; i++)
		if (strcmp(w->held[i]->name, name) == 0) {
			*out = w->held[i];
			return ERR_NONE;
		}
	err = manifest_section_ensure(w->manifest, name, &section, why);
	if (err)
		return err;
	held = malloc(sizeof(*held));
	if (!held)
		return error_set(why, ERR_MEMORY, "section '%s': no memory", name);
	memcpy(held->name, section->name, sizeof(held->name));
	held->len = 0;
	w->held[w->helds++] = held; /* as many as the manifest has sections at most */
	*out = held;
	return ERR_NONE;
}

enum err pack_section_add(struct pack_writer *w, const char *name, struct bytes whole,
			  struct error *why)
{
	struct held *held = NULL;
	enum err err;

	if (whole.len > FRAME_PLAIN_MAX)
		return error_set(why, ERR_LIMIT,
				 "section '%s': a record of %zu bytes, at most %d fit in a frame",
				 name, whole.len, FRAME_PLAIN_MAX);
	err = held_of(w, name, &held, why);
	if (!err && whole.len > sizeof(held->bytes) - held->len)
		err = flush(w, held, why);
	if (err)
		return err;
	if (whole.len > sizeof(held->bytes))
		return add_section_frame(w, name, whole, why);
	if (whole.len > 0)
		memcpy(held->bytes + held->len, whole.data, whole.len);
	held->len += whole.len;
	return ERR_NONE;
}

enum err pack_writer_finish(struct pack_writer *w, struct error *why)
{
	enum err err;

	for (size_t i = 0; i < w->helds; i++) {
		err = flush(w, w->held[i], why);
		if (err)
			return err;
	}
	err = settle(w, why);
	if (err || !w->object)
		return err;
	hand_over(w);
	(void)commit(&w->committing); /* there is nothing to do beside it */
	return take_answer(w, why);
}
