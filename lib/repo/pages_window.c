/* repo/pages_window.c - the wanted pages of one shard, from their frames into a window.
 *
 * Frames are taken in the order of the store.  In a first backup that is the order of the file, and
 * runs are visited while they are fresh in the cache; after many backups it is not, and the front of
 * the window waits for its last page.
 *
 * Frames are decompressed whole: 128 KiB are one block of zstd, which has no middle.
 */
#include "base/crc32c.h"
#include "repo/pack.h"
#include "repo/pages_internal.h"

#include <stdlib.h>

uint32_t page_len(const struct shard *shard, uint32_t page)
{
	return page + 1U == shard->pages ? shard->last_bytes : MAP_PAGE_BYTES;
}

static bool is_wanted(const struct page_source *s, uint32_t page)
{
	return s->wanted == NULL || page_set_has(s->wanted, page);
}

static int by_place(const void *left, const void *right)
{
	const struct frame_ref *a = *(const struct frame_ref *const *)left;
	const struct frame_ref *b = *(const struct frame_ref *const *)right;
	int order = memcmp(a->pack.attempt.id, b->pack.attempt.id, ATTEMPT_BYTES);

	if (order == 0)
		order = (a->pack.seq > b->pack.seq) - (a->pack.seq < b->pack.seq);
	return order != 0 ? order : (a->offset > b->offset) - (a->offset < b->offset);
}

static void plan_make(struct page_source *s)
{
	const struct shard *shard = s->shard;
	struct frame_plan *plan = &s->plan;

	plan->frames = 0;
	for (uint32_t i = 0; i < shard->frames; i++)
		plan->first[i] = NO_PAGE;
	for (uint32_t i = shard->pages; i-- > 0;) { /* backwards, so that a frame's pages ascend */
		const struct page_entry *page = &shard->page[i];

		if (page->zero || !is_wanted(s, i))
			continue;
		if (plan->first[page->frame] == NO_PAGE)
			plan->order[plan->frames++] = &shard->frame[page->frame];
		plan->next[i] = plan->first[page->frame];
		plan->first[page->frame] = (uint16_t)i;
	}
	qsort(plan->order, plan->frames, sizeof(plan->order[0]), by_place);
}

static uint16_t first_page(const struct page_source *s, const struct frame_ref *ref)
{
	return s->plan.first[ref - s->shard->frame];
}

/* What `ref` says is damaged: all pages of its frame are. */
static void mark_damaged(struct page_source *s, const struct frame_ref *ref)
{
	for (uint16_t i = first_page(s, ref); i != NO_PAGE; i = s->plan.next[i])
		page_set_add(&s->damaged, i);
}

/* The pages of a frame fill it, one after the other: it can be decoded where they belong. */
static bool is_in_order(const struct page_source *s, const struct frame_ref *ref)
{
	uint32_t at = 0, page = first_page(s, ref);

	for (uint16_t i = (uint16_t)page; i != NO_PAGE; i = s->plan.next[i], page++) {
		if (i != page || s->shard->page[i].offset != at)
			return false;
		at += page_len(s->shard, i);
	}
	return at == ref->plain_len;
}

/* Holds one page in the window against the map. */
static enum err check_page(struct page_source *s, uint32_t index, struct error *why)
{
	const struct page_entry *entry = &s->shard->page[index];
	struct bytes page =
		bytes_of(s->window + (size_t)index * MAP_PAGE_BYTES, page_len(s->shard, index));
	uint8_t tag[CRYPTO_TAG_BYTES];
	char key[STORE_KEY_MAX];
	enum err e = page_tag(s->tagger, page, tag, why);

	if (e != ERR_NONE)
		return e;
	if (crypto_same(tag, entry->tag, sizeof(tag)) && crc32c(page) == entry->crc) {
		page_set_add(&s->ready, index);
		return ERR_NONE;
	}
	page_set_add(&s->damaged, index);
	pack_key(s->cluster, &s->shard->frame[entry->frame].pack, key);
	return error_set(why, ERR_CORRUPT, "%s: a stored page is not the one the map names", key);
}

/* From a decoded frame to the window; nothing to copy when `plain` is there already. */
static enum err scatter(struct page_source *s, const struct frame_ref *ref, struct bytes plain,
			uint32_t *at, struct error *why)
{
	enum err e = ERR_NONE;

	for (uint16_t i = first_page(s, ref); e == ERR_NONE && i != NO_PAGE; i = s->plan.next[i]) {
		uint8_t *to = s->window + (size_t)i * MAP_PAGE_BYTES;
		const uint8_t *from = plain.data + s->shard->page[i].offset;

		*at = i;
		if (from != to) /* the decoder of maps has checked that it lies inside */
			memcpy(to, from, page_len(s->shard, i));
		e = check_page(s, i, why);
	}
	return e;
}

/* Nothing of its pack comes behind it in this shard: the next shard may begin in it. */
static bool is_last_of_pack(const struct page_source *s, uint32_t index)
{
	const struct frame_ref *const *order = s->plan.order;

	return index + 1 == s->plan.frames ||
	       !pack_id_same(&order[index]->pack, &order[index + 1]->pack);
}

/* Frame `index` of the plan, at `offset` in what was read. */
static enum err take_frame(struct page_source *s, uint32_t index, uint64_t offset, uint32_t *at,
			   struct error *why)
{
	const struct frame_ref *ref = s->plan.order[index];
	uint8_t *into = s->frame;
	struct bytes plain;
	enum err e;

	*at = first_page(s, ref);
	if (is_in_order(s, ref))
		into = s->window + (size_t)*at * MAP_PAGE_BYTES;
	else if (is_last_of_pack(s, index))
		into = NULL;
	plain = bytes_of(into, ref->plain_len);
	e = into != NULL ? frames_decode(&s->pages, ref, offset, into, why)
			 : frames_decode_kept(&s->pages, ref, offset, &plain, why);
	if (e == ERR_CORRUPT)
		mark_damaged(s, ref);
	return e == ERR_NONE ? scatter(s, ref, plain, at, why) : e;
}

/* How many frames from `from` on are fetched together; `len` gets the bytes. */
static uint32_t group_from(const struct page_source *s, uint32_t from, uint64_t *len)
{
	const struct frame_ref *const *order = s->plan.order;
	uint64_t start = order[from]->offset, end = start + frame_stored_bytes(order[from]);
	uint32_t n = 1;

	for (; from + n < s->plan.frames; n++) {
		const struct frame_ref *ref = order[from + n];
		uint64_t to = ref->offset + frame_stored_bytes(ref);

		if (to < end)
			to = end;
		if (!pack_id_same(&ref->pack, &order[from]->pack) ||
		    ref->offset > end + PAGES_GAP_MAX || to - start > PAGES_READ_MAX)
			break;
		end = to;
	}
	*len = end - start;
	return n;
}

/* Visits what is complete from the front on; at least a large run of it, or up to where it ends. */
static enum err visit_ready(struct page_source *s, struct error *why)
{
	static const uint8_t zeros[MAP_PAGE_BYTES];
	const struct shard *shard = s->shard;

	while (s->visited < shard->pages) {
		uint32_t first = s->visited, page = first;
		bool zero = shard->page[first].zero;
		struct page_run run = {.offset = s->offset + (uint64_t)first * MAP_PAGE_BYTES};
		enum err e;

		if (!is_wanted(s, first)) {
			s->visited++;
			continue;
		}
		while (page < shard->pages && is_wanted(s, page) &&
		       shard->page[page].zero == zero && (zero || page_set_has(&s->ready, page))) {
			uint32_t len = page_len(shard, page);

			run.crc = crc32c_combine(
				run.crc,
				zero ? crc32c(bytes_of(zeros, len)) : shard->page[page].crc, len);
			run.len += len;
			page++;
		}
		/* The page that follows is on its way: better together. */
		if (run.len < PAGES_RUN_BYTES && page < shard->pages && is_wanted(s, page) &&
		    !shard->page[page].zero && !page_set_has(&s->ready, page))
			return ERR_NONE;
		if (!zero)
			run.data = s->window + (size_t)first * MAP_PAGE_BYTES;
		e = s->visit(s->ctx, &run, why);
		if (e != ERR_NONE)
			return e;
		s->visited = page;
	}
	return ERR_NONE;
}

/* Frames [from, from + *n) of the plan with one read; where the pack is cut short only the first. */
static enum err take_group(struct page_source *s, uint32_t from, uint32_t *n, uint32_t *at,
			   struct error *why)
{
	const struct frame_ref *const *order = &s->plan.order[from];
	uint64_t len;
	enum err e;

	*n = group_from(s, from, &len);
	e = frames_read(&s->pages, &order[0]->pack, order[0]->offset, len, why);
	if (e == ERR_CORRUPT && *n > 1) {
		*n = 1;
		e = frames_read(&s->pages, &order[0]->pack, order[0]->offset,
				frame_stored_bytes(order[0]), why);
	}
	if (e == ERR_CORRUPT)
		mark_damaged(s, order[0]);
	for (uint32_t i = 0; e == ERR_NONE && i < *n; i++) {
		e = take_frame(s, from + i, order[i]->offset - order[0]->offset, at, why);
		if (e != ERR_NONE)
			break;
		e = visit_ready(s, why);
		if (e != ERR_NONE)
			*at = s->visited;
	}
	return e;
}

/* The pack cannot be read at all. */
static void mark_pack(struct page_source *s, const struct pack_id *pack)
{
	for (uint32_t i = 0; i < s->plan.frames; i++)
		if (pack_id_same(&s->plan.order[i]->pack, pack))
			mark_damaged(s, s->plan.order[i]);
}

/* What lies in frames that are kept needs no read; they leave the plan. */
static enum err take_kept(struct page_source *s, uint32_t *at, struct error *why)
{
	uint32_t left = 0;
	enum err e = ERR_NONE;

	for (uint32_t i = 0; e == ERR_NONE && i < s->plan.frames; i++) {
		const struct frame_ref *ref = s->plan.order[i];
		struct bytes plain;

		if (frames_find(&s->pages, ref, &plain)) {
			e = scatter(s, ref, plain, at, why);
		} else {
			*at = first_page(s, ref);
			s->plan.order[left++] = ref;
			e = frame_check(ref, why);
			if (e != ERR_NONE)
				mark_damaged(s, ref);
		}
	}
	s->plan.frames = left;
	return e;
}

static enum err take_all(struct page_source *s, uint32_t *at, struct error *why)
{
	uint32_t n = 0;
	enum err e = take_kept(s, at, why);

	for (uint32_t i = 0; e == ERR_NONE && i < s->plan.frames; i += n) {
		const struct frame_ref *ref = s->plan.order[i];

		*at = first_page(s, ref);
		e = frames_open_pack(&s->pages, &ref->pack, why);
		if (e == ERR_CORRUPT)
			mark_pack(s, &ref->pack);
		if (e == ERR_NONE)
			e = take_group(s, i, &n, at, why);
	}
	return e;
}

enum err window_fill(struct page_source *s, struct error *why)
{
	uint32_t at = 0;
	enum err e;

	memset(&s->ready, 0, sizeof(s->ready));
	memset(&s->damaged, 0, sizeof(s->damaged));
	s->visited = 0;
	plan_make(s);
	e = take_all(s, &at, why);
	if (e == ERR_NONE) {
		e = visit_ready(s, why);
		at = s->visited;
	}
	if (e != ERR_NONE)
		return error_add(why, "\"%.*s\" at byte %llu", (int)s->path.len,
				 (const char *)s->path.data,
				 (unsigned long long)(s->offset + (uint64_t)at * MAP_PAGE_BYTES));
	return ERR_NONE;
}
