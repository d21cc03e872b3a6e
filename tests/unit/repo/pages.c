/* Facts about reading the pages of a backup. */
#include "repo/pages.h"
#include "made_backup.h"

struct world {
	struct repo_world repo;
	struct made_backup made;
	struct page_source *pages;
	uint8_t *table;
	size_t table_len;
};

static void world_init(struct world *w, uint64_t size)
{
	struct error why;

	memset(w, 0, sizeof(*w));
	repo_world_init(&w->repo, NULL);
	made_begin(&w->made, &w->repo.cluster, 1);
	made_file(&w->made, "base/5/1259", 1, size);
	made_file(&w->made, "base/5/1260", 2, 3 * MAP_PAGE_BYTES);
	made_commit(&w->made, &w->repo.cluster);
	OK(section_read(&w->repo.cluster, w->made.manifest, "files", 1 << 20, &w->table,
			&w->table_len, &why));
	OK(page_source_new(&w->repo.cluster, w->made.manifest, &w->pages, &why));
}

static void world_release(struct world *w)
{
	page_source_free(w->pages);
	free(w->table);
	made_release(&w->made);
	repo_world_release(&w->repo);
}

static struct file_record record(struct world *w)
{
	struct reader in = reader_of(bytes_of(w->table, w->table_len));
	struct file_record file;
	struct error why;

	OK(file_record_decode(&in, &file, &why));
	return file;
}

struct seen {
	uint64_t at;
	unsigned runs;
	enum err answer;
};

static enum err visit(void *ctx, const struct page_run *run, struct error *why)
{
	struct seen *s = ctx;

	cr_assert_eq(run->offset, s->at);
	for (uint64_t i = 0; i < run->len; i++) {
		uint8_t byte = made_byte(1, (s->at + i) / MAP_PAGE_BYTES);

		cr_assert_eq(run->data == NULL ? 0 : run->data[i], byte);
	}
	s->at += run->len;
	s->runs++;
	return s->answer == ERR_NONE ? ERR_NONE : error_set(why, s->answer, "enough");
}

static enum err read_shard(struct world *w, uint32_t index, struct seen *seen, uint32_t *crc,
			   struct error *why)
{
	struct file_record file = record(w);

	return page_source_shard(w->pages, &file, index, visit, seen, crc, why);
}

Test(pages, of_every_shard_come_in_order_with_their_crc)
{
	static const uint64_t size = SHARD_FILE_BYTES + 5 * MAP_PAGE_BYTES + 9;
	uint32_t first = 0, second = 0;
	struct seen seen = {0};
	struct error why;
	struct world w;

	world_init(&w, size);
	OK(read_shard(&w, 0, &seen, &first, &why));
	cr_assert_eq(seen.at, SHARD_FILE_BYTES);
	OK(read_shard(&w, 1, &seen, &second, &why));
	cr_assert_eq(seen.at, size);
	cr_assert_eq(crc32c_combine(first, second, size - SHARD_FILE_BYTES), record(&w).crc);
	world_release(&w);
}

Test(pages, of_neighbouring_frames_are_fetched_together)
{
	struct seen seen = {0};
	struct error why;
	struct world w;
	uint32_t crc;
	unsigned calls;

	world_init(&w, SHARD_FILE_BYTES);
	repo_world_fail(&w.repo, FAULT_NONE, 0, ERR_NONE);
	OK(read_shard(&w, 0, &seen, &crc, &why));
	calls = w.repo.fault.calls;
	/* 512 frames of 32 KiB, up to 1 MiB with one read, and a few for headers. */
	cr_assert_leq(calls, 16 * 2 + 8, "%u calls", calls);
	cr_assert_eq(page_source_frames(w.pages), SHARD_PAGES_MAX / MADE_FRAME_PAGES + 1);
	cr_assert_geq(page_source_fetched(w.pages), SHARD_FILE_BYTES / 7 * 6);
	world_release(&w);
}

Test(pages, a_visitor_may_stop)
{
	struct seen seen = {.answer = ERR_CANCELLED};
	struct error why;
	struct world w;
	uint32_t crc;

	world_init(&w, 9 * MAP_PAGE_BYTES);
	cr_assert_eq(read_shard(&w, 0, &seen, &crc, &why), ERR_CANCELLED);
	cr_assert_eq(seen.runs, 1);
	cr_assert_not_null(strstr(why.text, "base/5/1259"), "%s", why.text);
	world_release(&w);
}

Test(pages, a_pack_that_is_gone_is_damage_and_named)
{
	char key[STORE_KEY_MAX];
	struct seen seen = {0};
	struct error why;
	struct world w;
	uint32_t crc;

	world_init(&w, 9 * MAP_PAGE_BYTES);
	pack_key(&w.repo.cluster, &w.made.manifest->pack[0].id, key);
	OK(store_remove(w.repo.memory, key, &why));
	cr_assert_eq(read_shard(&w, 0, &seen, &crc, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, key), "%s", why.text);
	cr_assert_not_null(strstr(why.text, "base/5/1259"), "%s", why.text);
	world_release(&w);
}

Test(pages, a_file_has_no_more_shards_than_its_record_says)
{
	struct seen seen = {0};
	struct error why;
	struct world w;
	uint32_t crc;

	world_init(&w, 9 * MAP_PAGE_BYTES);
	cr_assert_eq(read_shard(&w, 1, &seen, &crc, &why), ERR_CORRUPT);
	world_release(&w);
}

/* Whatever call of the store fails, that failure comes out, and the next reading succeeds. */
Test(pages, a_failing_store_is_no_damage)
{
	struct error why;
	struct world w;
	bool failed = true;

	world_init(&w, 9 * MAP_PAGE_BYTES);
	for (unsigned at = 1; failed; at++) {
		struct seen seen = {0};
		uint32_t crc;

		page_source_free(w.pages);
		OK(page_source_new(&w.repo.cluster, w.made.manifest, &w.pages, &why));
		repo_world_fail(&w.repo, FAULT_FAIL, at, ERR_TRANSIENT);
		failed = read_shard(&w, 0, &seen, &crc, &why) != ERR_NONE;
		cr_assert_eq(failed, w.repo.fault.calls >= at);
		if (failed)
			cr_assert_eq(why.kind, ERR_TRANSIENT, "%s", why.text);
		repo_world_fail(&w.repo, FAULT_NONE, 0, ERR_NONE);
		seen = (struct seen){0};
		OK(read_shard(&w, 0, &seen, &crc, &why));
	}
	world_release(&w);
}
