/* repo/verify_pack.c - one pack from its first byte to its last, with large reads.
 *
 * Where the frames lie is told by the pack's directory or, when that is damaged, by the frames' own
 * headers as far as they are whole.  Each frame is authenticated by itself, so that one turned
 * byte costs one frame.
 */
#include "base/crc32c.h"
#include "repo/object_internal.h"
#include "repo/pack.h"
#include "repo/verify_internal.h"

#include <inttypes.h>
#include <stdlib.h>

/* Where the frames of the pack lie. */
struct frames {
	const struct frame_entry *entry;
	size_t count;
	struct frame_entry *scanned; /* owned; when there was no directory */
	bool to_end;                 /* they are all that there are */
	uint64_t end;                /* behind the last one */
};

static enum err note(struct verify_worker *w, const struct verify_job *job, uint32_t ordinal,
		     uint32_t offset, struct error *why)
{
	char text[sizeof(why->text)];

	memcpy(text, why->text, sizeof(text));
	return verify_damage(w->run, job->pack, ordinal, offset, text, why);
}

/* Frame headers one after the other, until one makes no sense. */
static enum err scan(struct verify_worker *w, const char *key, uint64_t size, struct frames *f,
		     struct error *why)
{
	struct store *store = w->run->cluster->repository->store;
	size_t max = 0;

	f->end = OBJECT_HEADER_BYTES;
	while (f->count < OBJECT_FRAMES_MAX && f->end + FRAME_OVERHEAD_BYTES < size) {
		uint8_t in[FRAME_HEADER_BYTES];
		struct frame_header h;
		enum err e = store_read(store, key, f->end, in, sizeof(in), why);

		if (verify_is_damage(e))
			break;
		if (e != ERR_NONE)
			return e;
		if (!frame_header_decode(in, &h) || !frame_header_is_sane(&h) ||
		    h.ordinal != f->count || h.class == FRAME_DIRECTORY)
			break;
		if (f->count == max) {
			struct frame_entry *more;

			max = max == 0 ? 256 : max * 2;
			more = reallocarray(f->scanned, max, sizeof(*more));
			if (more == NULL)
				return error_set(why, ERR_MEMORY, "verify: out of memory");
			f->scanned = more;
		}
		f->scanned[f->count++] = (struct frame_entry){
			.place = {.ordinal = h.ordinal,
				  .offset = f->end,
				  .stored_len = h.stored_len,
				  .plain_len = h.plain_len},
			.frame_class = h.class,
			.codec = h.codec,
		};
		f->end += (uint64_t)h.stored_len + FRAME_OVERHEAD_BYTES;
	}
	f->entry = f->scanned;
	return ERR_NONE;
}

/* The frames by the directory, else by a scan, whose failure is noted. */
static enum err find_frames(struct verify_worker *w, const struct verify_job *job, const char *key,
			    struct frames *f, struct error *why)
{
	const struct verify_pack *pack = &w->run->table.pack[job->pack];
	uint64_t size;
	struct error reason;
	enum err e = object_directory(w->reader, &f->entry, &f->count, &size, why);

	if (e == ERR_NONE) {
		const struct frame_entry *last = &f->entry[f->count > 0 ? f->count - 1 : 0];

		f->to_end = true;
		f->end = f->count == 0 ? OBJECT_HEADER_BYTES
				       : last->place.offset + last->place.stored_len +
						 FRAME_OVERHEAD_BYTES;
		return ERR_NONE;
	}
	if (!verify_is_damage(e))
		return e;
	reason = *why;
	f->count = 0;
	e = scan(w, key, pack->present, f, why);
	if (e != ERR_NONE)
		return e;
	/* The scan came to where the directory begins: only that is damaged.  Else nobody can say
	 * which frames follow; what maps name of them is tried when damage is named. */
	*why = reason;
	f->to_end = f->end + FRAME_OVERHEAD_BYTES < pack->present && pack->present == pack->size &&
		    pack->present - f->end <= FRAME_OVERHEAD_BYTES + 4 +
						      (f->count + 1) * DIRECTORY_ENTRY_BYTES +
						      OBJECT_TRAILER_BYTES;
	return note(w, job, f->to_end ? (uint32_t)f->count : VERIFIED_ALL, VERIFIED_ALL, why);
}

/* The first need of this frame; the end of the job's when it has none. */
static size_t need_of(const struct verify_worker *w, const struct verify_job *job, uint32_t ordinal)
{
	size_t low = job->first, high = job->first + job->needs;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (w->group->need[middle].place.ordinal < ordinal)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_needed(const struct verify_worker *w, const struct verify_job *job, uint32_t ordinal)
{
	size_t at = need_of(w, job, ordinal);

	return at < job->first + job->needs && w->group->need[at].place.ordinal == ordinal;
}

static enum err check_page(struct verify_worker *w, const struct verify_job *job, uint32_t ordinal,
			   const struct verify_page *page, struct error *why)
{
	struct bytes bytes = bytes_of(w->plain + page->offset, page->len);
	uint8_t tag[CRYPTO_TAG_BYTES];
	enum err e = page_tag(w->tagger, bytes, tag, why);

	if (e != ERR_NONE)
		return e;
	if (crypto_same(tag, page->tag, sizeof(tag)) && crc32c(bytes) == page->crc)
		return ERR_NONE;
	return verify_damage(w->run, job->pack, ordinal, page->offset,
			     "a stored page is not the one a map names", why);
}

/* The pages that maps name in the frame in `plain`. */
static enum err check_pages(struct verify_worker *w, const struct verify_job *job,
			    const struct frame_entry *frame, struct error *why)
{
	const struct verify_group *g = w->group;
	uint64_t pages = 0;
	enum err e = ERR_NONE;

	for (size_t i = need_of(w, job, frame->place.ordinal);
	     i < job->first + job->needs && g->need[i].place.ordinal == frame->place.ordinal &&
	     e == ERR_NONE;
	     i++) {
		const struct verify_need *need = &g->need[i];

		/* Readers go by the map alone. */
		if (need->place.offset != frame->place.offset ||
		    need->place.stored_len != frame->place.stored_len ||
		    need->place.plain_len != frame->place.plain_len ||
		    frame->frame_class != FRAME_PAGES) {
			e = verify_damage(w->run, job->pack, frame->place.ordinal, VERIFIED_ALL,
					  "a map names another frame than is there", why);
			continue;
		}
		for (uint32_t n = 0; n < need->pages && e == ERR_NONE; n++)
			e = check_page(w, job, frame->place.ordinal, &g->page[need->first + n],
				       why);
		pages += need->pages;
	}
	(void)pthread_mutex_lock(&w->run->mutex); /* default mutex: cannot fail here */
	w->run->totals->pages += pages;
	(void)pthread_mutex_unlock(&w->run->mutex);
	return e;
}

static enum err check_frame(struct verify_worker *w, const struct verify_job *job,
			    const struct frame_entry *frame, struct bytes stored, struct error *why)
{
	enum err e = object_frame_into(w->reader, (enum frame_class)frame->frame_class,
				       &frame->place, stored, w->plain, why);

	if (verify_is_damage(e))
		return note(w, job, frame->place.ordinal, VERIFIED_ALL, why);
	return e == ERR_NONE && job->needs > 0 ? check_pages(w, job, frame, why) : e;
}

static uint64_t stored_bytes(const struct frame_entry *frame)
{
	return (uint64_t)frame->place.stored_len + FRAME_OVERHEAD_BYTES;
}

/* Frames [from, from + n) with one read, `len` bytes. */
static enum err read_frames(struct verify_worker *w, const struct verify_job *job, const char *key,
			    const struct frame_entry *from, size_t n, uint64_t len, bool whole,
			    struct error *why)
{
	struct store *store = w->run->cluster->repository->store;
	uint64_t at = 0;
	enum err e = store_read(store, key, from->place.offset, w->raw, (size_t)len, why);

	if (e == ERR_CORRUPT && n > 1) { /* it is cut short: as far as it goes */
		e = ERR_NONE;
		for (size_t i = 0; i < n && e == ERR_NONE; i++)
			e = read_frames(w, job, key, from + i, 1, stored_bytes(from + i), whole,
					why);
		return e;
	}
	if (verify_is_damage(e))
		return note(w, job, from->place.ordinal, VERIFIED_ALL, why);
	if (e == ERR_NONE && whole)
		e = sha256_add(w->digest, bytes_of(w->raw, (size_t)len), why);
	for (size_t i = 0; i < n && e == ERR_NONE; at += stored_bytes(from + i), i++)
		e = check_frame(w, job, from + i,
				bytes_of(w->raw + at, (size_t)stored_bytes(from + i)), why);
	if (e == ERR_NONE)
		verify_count_read(w->run, len);
	return e;
}

static enum err read_all_frames(struct verify_worker *w, const struct verify_job *job,
				const char *key, const struct frames *f, bool whole,
				struct error *why)
{
	enum err e = ERR_NONE;
	uint64_t frames = 0;

	for (size_t i = 0, n = 0; i < f->count && e == ERR_NONE; i += n) {
		uint64_t len = stored_bytes(&f->entry[i]);

		n = 1;
		if (!whole && !is_needed(w, job, f->entry[i].place.ordinal))
			continue;
		e = verify_go_on(w->run, why);
		while (i + n < f->count &&
		       len + stored_bytes(&f->entry[i + n]) <= VERIFY_READ_BYTES &&
		       (whole || is_needed(w, job, f->entry[i + n].place.ordinal)))
			len += stored_bytes(&f->entry[i + n++]);
		if (e == ERR_NONE)
			e = read_frames(w, job, key, &f->entry[i], n, len, whole, why);
		frames += n;
	}
	/* What maps name behind the last frame. */
	for (size_t i = job->first; i < job->first + job->needs && e == ERR_NONE; i++)
		if (w->group->need[i].place.ordinal >= f->count)
			e = verify_damage(w->run, job->pack, w->group->need[i].place.ordinal,
					  VERIFIED_ALL, "a map names a frame that is not there",
					  why);
	(void)pthread_mutex_lock(&w->run->mutex);
	w->run->totals->frames += frames;
	(void)pthread_mutex_unlock(&w->run->mutex);
	return e;
}

/* Bytes [from, to) that belong to no frame, into the digest. */
static enum err digest_rest(struct verify_worker *w, const char *key, uint64_t from, uint64_t to,
			    struct error *why)
{
	struct store *store = w->run->cluster->repository->store;
	enum err e = ERR_NONE;

	while (from < to && e == ERR_NONE) {
		size_t len =
			to - from < VERIFY_READ_BYTES ? (size_t)(to - from) : VERIFY_READ_BYTES;

		e = store_read(store, key, from, w->raw, len, why);
		if (e == ERR_NONE)
			e = sha256_add(w->digest, bytes_of(w->raw, len), why);
		if (e == ERR_NONE)
			verify_count_read(w->run, len);
		from += len;
	}
	return e;
}

static enum err check_digest(struct verify_worker *w, const struct verify_job *job, const char *key,
			     const struct frames *f, struct error *why)
{
	const struct verify_pack *pack = &w->run->table.pack[job->pack];
	uint8_t sum[CRYPTO_SHA256_BYTES];
	enum err e = digest_rest(w, key, f->end, pack->present, why);

	if (e == ERR_NONE)
		e = sha256_end(w->digest, sum, why);
	if (e != ERR_NONE)
		return verify_is_damage(e) ? note(w, job, (uint32_t)f->count, VERIFIED_ALL, why)
					   : e;
	if (crypto_same(sum, pack->sha256, sizeof(sum)) || pack->damages > 0)
		return ERR_NONE;
	(void)error_set(why, ERR_CORRUPT,
			"%s: its bytes have another SHA-256 than the manifest states, although "
			"every frame in it is sound",
			key);
	return note(w, job, (uint32_t)f->count, VERIFIED_ALL, why);
}

enum err verify_pack_read(struct verify_worker *w, const struct verify_job *job, struct error *why)
{
	struct verify_run *r = w->run;
	struct verify_pack *pack = &r->table.pack[job->pack];
	bool whole = !pack->read && verify_is_due(r, pack->proven_us);
	char key[STORE_KEY_MAX];
	struct frames f = {.count = 0};
	enum err e = verify_go_on(r, why);

	if (e != ERR_NONE || pack->present == UINT64_MAX)
		return e; /* that it is not there was noted when packs were listed */
	pack_key(r->cluster, &pack->id, key);
	e = object_open(w->reader, key, OBJECT_PACK, why);
	if (verify_is_damage(e)) {
		pack->read = true;
		return note(w, job, VERIFIED_ALL, VERIFIED_ALL, why);
	}
	if (e == ERR_NONE)
		e = find_frames(w, job, key, &f, why);
	if (e == ERR_NONE && whole)
		e = sha256_start(w->digest, why);
	if (e == ERR_NONE && whole)
		e = digest_rest(w, key, 0, OBJECT_HEADER_BYTES, why);
	if (verify_is_damage(e)) /* it went after it was opened */
		e = note(w, job, VERIFIED_ALL, VERIFIED_ALL, why);
	if (e == ERR_NONE)
		e = read_all_frames(w, job, key, &f, whole, why);
	if (e == ERR_NONE && whole)
		e = check_digest(w, job, key, &f, why);
	free(f.scanned);
	if (e != ERR_NONE || !whole)
		return e;
	(void)pthread_mutex_lock(&r->mutex);
	pack->read = true;
	r->totals->objects++;
	pack->proven_us = pack->damages == 0 ? r->started_us : 0;
	(void)pthread_mutex_unlock(&r->mutex);
	return ERR_NONE;
}
