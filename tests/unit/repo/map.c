/* The page map: what is built is read back, patches give what they were made of, and no stored
 * bytes whatever lead outside a frame or the shard. */
#include "repo/map.h"
#include "repo/object.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct frame_ref frame_of(uint32_t pack, uint32_t ordinal, uint32_t plain_len)
{
	struct frame_ref frame = {.pack = {.seq = pack},
				  .ordinal = ordinal,
				  .offset = 128 + (uint64_t)ordinal * 131120,
				  .stored_len = 1000 + ordinal,
				  .plain_len = plain_len};

	memset(frame.pack.attempt.id, (int)(pack & 0xff), ATTEMPT_BYTES);
	return frame;
}

static void add(struct shard *s, uint32_t page_bytes, const struct frame_ref *frame,
		uint32_t offset)
{
	uint8_t tag[CRYPTO_TAG_BYTES];

	memset(tag, s->pages & 0xff, sizeof(tag));
	tag[0] = (uint8_t)(frame->ordinal + frame->pack.seq);
	tag[1] = (uint8_t)(page_bytes);
	shard_add(s, page_bytes, tag, s->pages * 7U + frame->ordinal, frame, offset);
}

static struct shard *shard_make(void)
{
	struct shard *s = malloc(sizeof(*s));

	cr_assert_not_null(s);
	memset(s, 0xa5, sizeof(*s)); /* reset must be enough */
	shard_reset(s);
	return s;
}

static void same_pages(const struct shard *a, const struct shard *b)
{
	cr_assert_eq(a->pages, b->pages);
	cr_assert_eq(a->last_bytes, b->last_bytes);
	cr_assert_leq(b->frames, b->pages);
	for (uint32_t i = 0; i < a->pages; i++) {
		const struct page_entry *x = &a->page[i], *y = &b->page[i];

		cr_assert_eq(x->zero, y->zero, "page %u", i);
		if (x->zero)
			continue;
		const struct frame_ref *fx = &a->frame[x->frame], *fy = &b->frame[y->frame];
		cr_assert(memcmp(x->tag, y->tag, CRYPTO_TAG_BYTES) == 0, "tag of page %u", i);
		cr_assert_eq(x->crc, y->crc);
		cr_assert_eq(x->offset, y->offset);
		cr_assert_eq(fx->pack.seq, fy->pack.seq);
		cr_assert(memcmp(fx->pack.attempt.id, fy->pack.attempt.id, ATTEMPT_BYTES) == 0);
		cr_assert_eq(fx->ordinal, fy->ordinal);
		cr_assert_eq(fx->offset, fy->offset);
		cr_assert_eq(fx->stored_len, fy->stored_len);
		cr_assert_eq(fx->plain_len, fy->plain_len);
	}
}

/* What every reader relies on after a successful decode. */
static void in_bounds(const struct shard *s)
{
	cr_assert(s->pages >= 1 && s->pages <= SHARD_PAGES_MAX);
	cr_assert(s->last_bytes >= 1 && s->last_bytes <= MAP_PAGE_BYTES);
	cr_assert_leq(s->frames, s->pages);
	for (uint32_t i = 0; i < s->frames; i++)
		cr_assert(s->frame[i].plain_len >= 1 && s->frame[i].plain_len <= FRAME_PAGES_MAX);
	for (uint32_t i = 0; i < s->pages; i++) {
		const struct page_entry *page = &s->page[i];
		uint32_t len = i + 1 == s->pages ? s->last_bytes : MAP_PAGE_BYTES;

		if (page->zero)
			continue;
		cr_assert_lt(page->frame, s->frames);
		cr_assert_leq((uint64_t)page->offset + len, s->frame[page->frame].plain_len);
	}
}

static void encoded(const struct shard *s, struct writer *w)
{
	writer_init(w, SHARD_ENCODED_MAX);
	shard_encode(s, w);
	cr_assert_not(w->bad);
}

static void round_trip(const struct shard *s)
{
	struct shard *back = shard_make();
	struct writer w;
	struct error why;

	encoded(s, &w);
	cr_assert_eq(shard_decode(writer_view(&w), back, &why), ERR_NONE, "%s", why.text);
	same_pages(s, back);
	in_bounds(back);
	writer_release(&w);
	free(back);
}

/* Zeros, whole frames, a page of the parent between pages of a new frame, a short last page. */
static struct shard *mixed(void)
{
	struct shard *s = shard_make();
	struct frame_ref mine = frame_of(3, 9, 16 * 8192), parents = frame_of(1, 2, 16 * 8192);
	struct frame_ref tail = frame_of(3, 10, 8192 + 100);

	for (int i = 0; i < 5; i++)
		shard_add_zero(s, 8192);
	for (uint32_t i = 0; i < 16; i++)
		add(s, 8192, i == 7 ? &parents : &mine, (i == 7 ? 3 : i) * 8192);
	shard_add_zero(s, 8192);
	add(s, 8192, &tail, 0);
	add(s, 100, &tail, 8192);
	return s;
}

Test(map, what_was_added_is_decoded)
{
	struct shard *s = mixed();

	round_trip(s);
	cr_assert_eq(s->frames, 3, "a frame seen before keeps its entry");
	cr_assert_eq(shard_file_bytes(s), 23 * 8192 + 100);
	free(s);
}

Test(map, one_short_page_is_a_shard)
{
	struct shard *s = shard_make();
	struct frame_ref frame = frame_of(0, 0, 131072);

	add(s, 1, &frame, 131071);
	round_trip(s);
	shard_reset(s);
	shard_add_zero(s, 17);
	round_trip(s);
	cr_assert_eq(shard_file_bytes(s), 17);
	free(s);
}

Test(map, a_full_frame_of_pages_is_one_run)
{
	struct shard *s = shard_make();
	struct frame_ref frame = frame_of(0, 0, 16 * 8192);
	struct writer w;

	for (uint32_t i = 0; i < 16; i++)
		add(s, 8192, &frame, i * 8192);
	encoded(s, &w);
	cr_assert_eq(w.len, 8 + 2 + 20 + 2 + 24 + 2 + 8 + 16 * 20);
	writer_release(&w);
	free(s);
}

Test(map, bytes_are_as_specified)
{
	struct shard *s = shard_make();
	struct frame_ref frame = frame_of(5, 6, 2 * 8192);
	struct writer w;
	char hex[2 * 200 + 1];

	shard_add_zero(s, 8192);
	add(s, 8192, &frame, 0);
	add(s, 1000, &frame, 8192);
	encoded(s, &w);
	cr_assert_eq(w.len, 8 + 2 + 20 + 2 + 24 + 2 + 2 * 8 + 2 * 20);
	for (size_t i = 0; i < w.len; i++)
		snprintf(hex + 2 * i, 3, "%02x", w.data[i]);
	/* offset 128 + 6 * 131120 = 0x0c0120 */
	cr_assert_eq(strncmp(hex, "01000300e80300000100", 20), 0);
	cr_assert_eq(get_u64(w.data + 8 + 2 + 20 + 2 + 8), 128 + 6 * 131120);
	cr_assert_eq(strncmp(hex + 2 * (8 + 2 + 20 + 2 + 24), "02000100ffff00000000", 20), 0);
	cr_assert_eq(strncmp(hex + 2 * (8 + 2 + 20 + 2 + 24 + 10), "0200000000000000", 16), 0);
	cr_assert_eq(get_u32(w.data + w.len - 4), 2 * 7 + 6, "the last page's CRC comes last");
	writer_release(&w);
	free(s);
}

Test(map, every_page_in_a_pack_of_its_own_fits_the_bound)
{
	struct shard *s = shard_make();

	for (uint32_t i = 0; i < SHARD_PAGES_MAX; i++) {
		struct frame_ref frame = frame_of(i, i, 8192);

		add(s, 8192, &frame, 0);
	}
	cr_assert_eq(s->frames, SHARD_PAGES_MAX);
	cr_assert_eq(shard_file_bytes(s), SHARD_FILE_BYTES);
	round_trip(s);
	free(s);
}

static const struct shard_ref somewhere = {
	.frame = {.pack = {.seq = 4}, .ordinal = 1, .offset = 500, .plain_len = 200000},
	.offset = 10,
	.len = 1000,
};

/* `now` stored as a patch over `base` reads back as `now`; returns the patch's size. */
static size_t patch_round_trip(const struct shard *base, const struct shard *now)
{
	struct shard *back = shard_make();
	struct shard_ref ref;
	struct writer whole, patch;
	struct error why;
	bool is_patch = false;
	size_t len;

	encoded(base, &whole);
	writer_init(&patch, SHARD_ENCODED_MAX);
	shard_encode_patch(base, now, &somewhere, &patch);
	cr_assert_not(patch.bad);
	len = patch.len;
	cr_assert_eq(shard_patch_base(writer_view(&patch), &is_patch, &ref, &why), ERR_NONE);
	cr_assert(is_patch);
	cr_assert_eq(ref.frame.pack.seq, 4);
	cr_assert_eq(ref.frame.plain_len, 200000);
	cr_assert_eq(ref.offset, 10);
	cr_assert_eq(ref.len, 1000);
	cr_assert_eq(shard_decode(writer_view(&whole), back, &why), ERR_NONE);
	cr_assert_eq(shard_decode_patch(writer_view(&patch), back, &why), ERR_NONE, "%s", why.text);
	same_pages(now, back);
	in_bounds(back);
	writer_release(&whole);
	writer_release(&patch);
	free(back);
	return len;
}

/* `pages` pages; those at a multiple of `step` are new, the rest as in the full base. */
static struct shard *changed(uint32_t pages, uint32_t step, uint32_t last_bytes)
{
	struct shard *s = shard_make();
	struct frame_ref fresh = frame_of(77, 5, FRAME_PAGES_MAX);

	for (uint32_t i = 0; i < pages; i++) {
		struct frame_ref old = frame_of(i / 512, i / 16, FRAME_PAGES_MAX);
		uint32_t bytes = i + 1 == pages ? last_bytes : 8192;

		if (step && i % step == 0)
			add(s, bytes, &fresh, i / step % 16 * 8192);
		else if (i % 31 == 30)
			shard_add_zero(s, bytes);
		else
			add(s, bytes, &old, i % 16 * 8192);
	}
	return s;
}

Test(map, patches_give_what_they_were_made_of)
{
	static const struct {
		uint32_t pages, step, last_bytes;
	} now[] = {{2048, 0, 8192}, {2048, 300, 8192}, {2048, 1, 8192}, {1000, 7, 8192},
		   {1, 0, 8192},    {600, 0, 200},     {900, 100, 1}};
	struct shard *base = changed(2048, 0, 8192);

	for (size_t i = 0; i < sizeof(now) / sizeof(now[0]); i++) {
		struct shard *s = changed(now[i].pages, now[i].step, now[i].last_bytes);

		patch_round_trip(base, s);
		patch_round_trip(s, base);
		free(s);
	}
	free(base);
}

Test(map, a_patch_is_as_small_as_the_change)
{
	struct shard *base = changed(2048, 0, 8192), *now = changed(2048, 0, 8192);
	struct frame_ref fresh = frame_of(9, 1, 8192);

	cr_assert_eq(patch_round_trip(base, now), 8 + 48 + 6);
	now->page[100].frame = (uint16_t)now->frames;
	now->frame[now->frames++] = fresh;
	now->page[100].offset = 0;
	now->page[200].zero = true;
	cr_assert_eq(patch_round_trip(base, now), 8 + 48 + 6 + 20 + 24 + 2 * 12 + 20);
	free(base);
	free(now);
}

Test(map, a_patch_over_full_tables_does_not_overflow_them)
{
	struct shard *base = shard_make(), *now = shard_make();

	for (uint32_t i = 0; i < SHARD_PAGES_MAX; i++) {
		struct frame_ref old = frame_of(1, i, 8192), new = frame_of(2, i, 8192);

		add(base, 8192, &old, 0);
		add(now, 8192, i % 2 ? &old : &new, 0);
	}
	patch_round_trip(base, now);
	free(base);
	free(now);
}

Test(map, a_patch_is_no_whole_shard_and_no_base)
{
	struct shard *base = mixed(), *back = shard_make();
	struct writer whole, patch;
	struct error why;
	struct shard_ref ref;
	bool is_patch = true;

	encoded(base, &whole);
	writer_init(&patch, SHARD_ENCODED_MAX);
	shard_encode_patch(base, base, &somewhere, &patch);
	cr_assert_eq(shard_decode(writer_view(&patch), back, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, "patch"));
	cr_assert_eq(back->pages, 0);
	cr_assert_eq(shard_decode_patch(writer_view(&whole), base, &why), ERR_CORRUPT);
	cr_assert_eq(shard_patch_base(writer_view(&whole), &is_patch, &ref, &why), ERR_NONE);
	cr_assert_not(is_patch);
	writer_release(&whole);
	writer_release(&patch);
	free(base);
	free(back);
}

Test(map, a_patch_does_not_lengthen_a_page_beyond_its_frame)
{
	struct shard *base = shard_make(), *now = shard_make();
	struct frame_ref frame = frame_of(1, 1, 8192 + 100);
	struct writer patch;
	struct error why;

	add(base, 8192, &frame, 0);
	add(base, 100, &frame, 8192);
	*now = *base;
	now->last_bytes = 101;
	writer_init(&patch, SHARD_ENCODED_MAX);
	shard_encode_patch(base, now, &somewhere, &patch);
	cr_assert_eq(shard_decode_patch(writer_view(&patch), base, &why), ERR_CORRUPT);
	cr_assert_eq(base->last_bytes, 100, "nothing was changed");
	writer_release(&patch);
	free(base);
	free(now);
}

/* Decodes in new memory of exactly that size, so that a sanitizer sees the first byte too far. */
static void decode_hostile(struct bytes in, const struct shard *base)
{
	struct shard *back = shard_make();
	uint8_t *copy = malloc(in.len ? in.len : 1);
	struct bytes view = bytes_of(copy, in.len);
	struct shard_ref ref;
	bool is_patch = false;

	cr_assert_not_null(copy);
	if (in.len)
		memcpy(copy, in.data, in.len);
	if (shard_decode(view, back, NULL) == ERR_NONE)
		in_bounds(back);
	else
		cr_assert_eq(back->pages, 0, "a failed decode leaves its output alone");
	(void)!shard_patch_base(view, &is_patch, &ref, NULL);
	*back = *base;
	if (shard_decode_patch(view, back, NULL) == ERR_NONE)
		in_bounds(back);
	free(copy);
	free(back);
}

static void every_damage(struct bytes good, const struct shard *base)
{
	uint8_t *bad = malloc(good.len + 1);

	cr_assert_not_null(bad);
	for (size_t i = 0; i < good.len; i++)
		for (int bit = 0; bit < 8; bit++) {
			memcpy(bad, good.data, good.len);
			bad[i] = (uint8_t)(bad[i] ^ 1 << bit);
			decode_hostile(bytes_of(bad, good.len), base);
		}
	for (size_t len = 0; len < good.len; len++) {
		cr_assert_eq(shard_decode(bytes_of(good.data, len), &(struct shard){0}, NULL),
			     ERR_CORRUPT);
		decode_hostile(bytes_of(good.data, len), base);
	}
	memcpy(bad, good.data, good.len);
	bad[good.len] = 0;
	decode_hostile(bytes_of(bad, good.len + 1), base);
	free(bad);
}

Test(map, damage_anywhere_is_corrupt_or_harmless)
{
	struct shard *base = mixed(), *now = mixed();
	struct frame_ref fresh = frame_of(8, 8, 8192);
	struct writer whole, patch;

	now->page[8].frame = (uint16_t)now->frames;
	now->page[8].offset = 0;
	now->frame[now->frames++] = fresh;
	now->page[12].zero = true;
	encoded(base, &whole);
	writer_init(&patch, SHARD_ENCODED_MAX);
	shard_encode_patch(base, now, &somewhere, &patch);
	every_damage(writer_view(&whole), base);
	every_damage(writer_view(&patch), base);
	writer_release(&whole);
	writer_release(&patch);
	free(base);
	free(now);
}

Test(map, random_bytes_are_corrupt_or_harmless)
{
	struct shard *base = mixed();
	uint8_t noise[400];

	srand(20261123);
	for (int n = 0; n < 20000; n++) {
		size_t len = (size_t)rand() % sizeof(noise);

		for (size_t i = 0; i < len; i++)
			noise[i] = (uint8_t)(rand() % 7 ? rand() % 4 : rand());
		if (len > 8) { /* a plausible head reaches the tables */
			noise[0] = (uint8_t)(1 + rand() % 2);
			noise[1] = 0;
			noise[3] = 0;
			noise[6] = noise[7] = 0;
		}
		decode_hostile(bytes_of(noise, len), base);
	}
	free(base);
}
