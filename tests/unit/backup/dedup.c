/* A backup over its parent: what it stores, and that every one of a line reads as if it stood alone. */
#include "lineage.h"

Test(dedup, nothing_changed_stores_no_page_and_no_shard)
{
	static struct lineage l;
	struct shapes first, second;

	lineage_init(&l, 1);
	resize(&l, 0, 4500, 100);
	resize(&l, 1, 1, 5);
	resize(&l, 2, 0, 0);
	resize(&l, 3, 300, MAP_PAGE_BYTES);
	l.file[0].content[7] = 0;
	back_up(&l);
	cr_assert_eq(l.last.pages_changed, 4500 + 1 + 300 - 1);
	first = judge(&l);
	cr_assert_eq(first.whole, 5);
	back_up(&l);
	cr_assert_eq(l.last.pages_changed, 0);
	cr_assert_eq(l.last.bytes_new, 0);
	cr_assert_lt(l.last.bytes_stored, 2000, "the file table");
	second = judge(&l);
	cr_assert_eq(second.whole, 5);
	back_up(&l);
	cr_assert_eq(l.last.pages_changed, 0);
	(void)judge(&l);
	lineage_release(&l);
}

Test(dedup, a_quarter_changed_is_a_patch_and_more_is_whole)
{
	static struct lineage l;
	struct shapes s;

	lineage_init(&l, 2);
	resize(&l, 0, SHARD_PAGES_MAX, MAP_PAGE_BYTES);
	back_up(&l);
	for (uint32_t i = 0; i < SHARD_PAGES_MAX / 4; i++)
		change(&l, 0, i * 4);
	back_up(&l);
	cr_assert_eq(l.last.pages_changed, SHARD_PAGES_MAX / 4);
	cr_assert_eq(l.last.bytes_new, (uint64_t)SHARD_PAGES_MAX / 4 * MAP_PAGE_BYTES);
	s = judge(&l);
	cr_assert_eq(s.patches, 1);
	/* Over the same base, not over the patch: the same pages once more still fit. */
	for (uint32_t i = 0; i < SHARD_PAGES_MAX / 4; i++)
		change(&l, 0, i * 4);
	back_up(&l);
	s = judge(&l);
	cr_assert_eq(s.patches, 1);
	change(&l, 0, 1);
	back_up(&l);
	cr_assert_eq(l.last.pages_changed, 1);
	s = judge(&l);
	cr_assert_eq(s.whole, 1);
	lineage_release(&l);
}

Test(dedup, growing_shrinking_and_zeroing)
{
	static struct lineage l;

	lineage_init(&l, 3);
	resize(&l, 0, 2000, MAP_PAGE_BYTES);
	back_up(&l);
	resize(&l, 0, 2100, MAP_PAGE_BYTES);
	back_up(&l);
	cr_assert_eq(l.last.pages_changed, 100);
	(void)judge(&l);
	resize(&l, 0, 1900, MAP_PAGE_BYTES);
	back_up(&l);
	cr_assert_eq(l.last.pages_changed, 0);
	cr_assert_eq(judge(&l).patches, 1, "shorter is a patch without pages");
	for (uint32_t i = 100; i < 110; i++)
		l.file[0].content[i] = 0;
	back_up(&l);
	cr_assert_eq(l.last.pages_changed, 10);
	cr_assert_eq(l.last.bytes_new, 0);
	(void)judge(&l);
	resize(&l, 0, 1950, 77);
	back_up(&l);
	cr_assert_eq(l.last.pages_changed, 50);
	(void)judge(&l);
	lineage_release(&l);
}

/* Frames of pages in the first pack of the newest backup. */
static size_t page_frames(struct lineage *l)
{
	struct pack_id id = {.attempt = attempt_number(l->newest)};
	const struct frame_entry *entry;
	struct object_reader *r;
	char key[STORE_KEY_MAX];
	size_t count, pages = 0;
	uint64_t size;
	struct error why;

	OK(object_reader_new(l->w.repository, &r, &why));
	pack_key(&l->w.cluster, &id, key);
	OK(object_open(r, key, OBJECT_PACK, &why));
	OK(object_directory(r, &entry, &count, &size, &why));
	for (size_t i = 0; i < count; i++)
		pages += entry[i].frame_class == FRAME_PAGES;
	object_reader_free(r);
	return pages;
}

Test(dedup, few_changes_of_many_files_are_gathered_into_few_frames)
{
	static struct lineage l;

	lineage_init(&l, 4);
	for (uint32_t i = 0; i < FILES_MAX; i++)
		resize(&l, i, 40, MAP_PAGE_BYTES);
	back_up(&l);
	for (uint32_t i = 0; i < FILES_MAX; i++)
		change(&l, i, i % 40);
	back_up(&l);
	cr_assert_eq(l.last.pages_changed, FILES_MAX);
	cr_assert_eq(page_frames(&l), FILES_MAX / RUN_PAGES_MAX);
	(void)judge(&l);
	/* Many short pages that are all new are a frame of their own. */
	for (uint32_t i = 0; i < FILES_MAX; i++)
		resize(&l, i, 1, 100 + i);
	back_up(&l);
	cr_assert_eq(page_frames(&l), 1);
	(void)judge(&l);
	/* Each that is gathered holds a shard back: the bound is met before the frame is full. */
	for (uint32_t i = 0; i < FILES_MAX; i += 2)
		change(&l, i, 0);
	back_up(&l);
	cr_assert_eq(l.last.pages_changed, FILES_MAX / 2);
	cr_assert_eq(page_frames(&l), 2, "%zu", page_frames(&l));
	(void)judge(&l);
	lineage_release(&l);
}

Test(dedup, half_a_frame_of_changes_is_a_frame)
{
	static struct lineage l;

	lineage_init(&l, 6);
	resize(&l, 0, 4 * RUN_PAGES_MAX, MAP_PAGE_BYTES);
	back_up(&l);
	cr_assert_eq(page_frames(&l), 4);
	for (uint32_t i = 0; i < RUN_PAGES_MAX; i += 2)
		change(&l, 0, i); /* eight of the first sixteen */
	for (uint32_t i = 0; i < 7; i++)
		change(&l, 0, RUN_PAGES_MAX + i); /* seven of the next */
	change(&l, 0, 3 * RUN_PAGES_MAX);
	back_up(&l);
	cr_assert_eq(l.last.pages_changed, 16);
	cr_assert_eq(page_frames(&l), 2, "eight, and seven with one");
	(void)judge(&l);
	lineage_release(&l);
}

Test(dedup, a_damaged_map_of_the_parent_costs_space_and_is_healed)
{
	static struct lineage l;
	struct pack_id id = {.attempt = attempt_number(1)};
	char key[STORE_KEY_MAX];
	const struct frame_entry *entry;
	struct object_reader *r;
	uint8_t *object;
	uint64_t size;
	size_t len, count;
	struct error why;

	lineage_init(&l, 7);
	resize(&l, 0, 500, MAP_PAGE_BYTES);
	back_up(&l);
	pack_key(&l.w.cluster, &id, key);
	OK(object_reader_new(l.w.repository, &r, &why));
	OK(object_open(r, key, OBJECT_PACK, &why));
	OK(object_directory(r, &entry, &count, &size, &why));
	object = store_memory_peek(l.w.memory, key, &len);
	for (size_t i = 0; i < count; i++)
		if (entry[i].frame_class == FRAME_SHARD)
			object[entry[i].place.offset + FRAME_HEADER_BYTES] ^= 1;
	object_reader_free(r);
	back_up(&l);
	cr_assert_eq(l.last.bytes_new, (uint64_t)500 * MAP_PAGE_BYTES);
	(void)judge(&l);
	back_up(&l);
	cr_assert_eq(l.last.bytes_new, 0);
	lineage_release(&l);
}

Test(dedup, whatever_call_of_the_store_fails_the_next_try_succeeds)
{
	static struct lineage l;
	enum err e = ERR_IO;
	unsigned failures = 0;
	struct error why;

	lineage_init(&l, 8);
	resize(&l, 0, 100, MAP_PAGE_BYTES);
	resize(&l, 1, 3, 10);
	back_up(&l);
	for (uint32_t i = 0; i < 10; i++)
		change(&l, 0, i * 9);
	for (unsigned nth = 1; e != ERR_NONE; nth++) {
		repo_world_fail(&l.w, FAULT_FAIL, nth, ERR_IO);
		e = try_back_up(&l, &why);
		cr_assert(e == ERR_NONE || e == ERR_IO, "call %u: %s", nth, why.text);
		failures += e != ERR_NONE;
	}
	repo_world_fail(&l.w, FAULT_NONE, 0, ERR_NONE);
	cr_assert_gt(failures, 8);
	cr_assert_eq(l.last.pages_changed, 10);
	(void)judge(&l);
	lineage_release(&l);
}

Test(dedup, an_old_pack_is_stored_again_shards_and_all)
{
	static struct lineage l;
	struct manifest *m;
	struct attempt attempt;
	struct error why;

	lineage_init(&l, 5);
	resize(&l, 0, 3000, MAP_PAGE_BYTES);
	/* Of zeros nothing is in the pack but their maps: one that stays, and the base of a patch. */
	for (uint32_t file = 1; file <= 2; file++) {
		resize(&l, file, 100, MAP_PAGE_BYTES);
		memset(l.file[file].content, 0, 100 * sizeof(uint32_t));
	}
	back_up(&l);
	change(&l, 0, 5);
	change(&l, 2, 7);
	back_up(&l);
	cr_assert_eq(l.last.pages_changed, 2);
	cr_assert_eq(l.last.bytes_renewed, 0);
	/* 23 MiB of one pack, older than the period: one pack goes, shards and all. */
	l.policy.refresh_period_us = 1;
	l.policy.since_last_us = 1;
	back_up(&l);
	cr_assert_gt(l.last.bytes_renewed, (uint64_t)2900 * MAP_PAGE_BYTES);
	cr_assert_eq(l.last.bytes_new, 0);
	cr_assert_eq(l.last.pages_changed, 0);
	(void)judge(&l);
	attempt = attempt_number(3);
	OK(manifest_read(&l.w.cluster, &attempt, &m, &why));
	for (uint32_t i = 0; i < m->packs; i++)
		cr_assert_neq(m->pack[i].id.attempt.id[15], 1, "nothing leans on the first");
	manifest_free(m);
	lineage_release(&l);
}

Test(dedup, a_patch_in_a_renewed_pack_is_written_again_over_the_same_base)
{
	static struct lineage l;
	struct attempt attempt = attempt_number(3);
	struct manifest *m;
	struct error why;

	lineage_init(&l, 9);
	resize(&l, 0, 100, MAP_PAGE_BYTES);
	back_up(&l);
	l.file[0].content[5] = 0; /* a change without a page */
	back_up(&l);
	cr_assert_eq(judge(&l).patches, 1);
	l.renew = 2;
	back_up(&l);
	cr_assert_eq(l.last.bytes_renewed, 0);
	cr_assert_eq(judge(&l).patches, 1);
	OK(manifest_read(&l.w.cluster, &attempt, &m, &why));
	for (uint32_t i = 0; i < m->packs; i++)
		cr_assert_neq(m->pack[i].id.attempt.id[15], 2, "nothing leans on the second");
	manifest_free(m);
	lineage_release(&l);
}

/* A step of somebody's life with the files. */
static void live(struct lineage *l)
{
	uint32_t file = dice(l, FILES_MAX), kind = dice(l, 8), pages;
	struct model_file *f = &l->file[file];

	if (!f->there || kind == 0) {
		pages = dice(l, 4) == 0 && file < 3 ? dice(l, PAGES_MAX) : dice(l, 50);
		resize(l, file, pages,
		       pages == 0   ? 0
		       : dice(l, 2) ? MAP_PAGE_BYTES
				    : 1 + dice(l, 8192));
		return;
	}
	if (kind == 1) {
		f->there = false;
		f->pages = 0;
		return;
	}
	if (f->pages == 0)
		return;
	if (kind < 4) { /* scattered */
		for (uint32_t i = 0, n = 1 + f->pages / 50; i < n; i++)
			change(l, file, dice(l, f->pages));
	} else if (kind < 6) { /* a stretch */
		uint32_t from = dice(l, f->pages), n = dice(l, 200);

		for (uint32_t i = from; i < f->pages && i < from + n; i++)
			change(l, file, i);
	} else if (kind == 6) {
		l->file[file].content[dice(l, f->pages)] = 0;
	} else { /* as it was long ago, maybe */
		l->file[file].content[dice(l, f->pages)] = 1 + dice(l, 100);
	}
}

Test(dedup, a_random_life_reads_back_at_every_age)
{
	enum { LIVES = 3, GENERATIONS = 14 };

	for (uint64_t seed = 1; seed <= LIVES; seed++) {
		static struct lineage l;

		lineage_init(&l, seed * UINT64_C(0x9E3779B97F4A7C15));
		for (uint32_t i = 0; i < 100; i++)
			live(&l);
		for (uint32_t g = 0; g < GENERATIONS; g++) {
			for (uint32_t i = dice(&l, 30); i > 0; i--)
				live(&l);
			if (g == GENERATIONS / 2) { /* renewal of all kinds from now on */
				l.policy.refresh_period_us = 1;
				l.policy.since_last_us = 1;
			}
			back_up(&l);
			(void)judge(&l);
		}
		lineage_release(&l);
	}
}
