/* Facts about what verification remembers, and how it ends, slows down and is overtaken. */
#include "base/crc32c.h"
#include "repo/manifest_internal.h"
#include "verify_world.h"

static int64_t verified_at(struct world *w)
{
	struct verified *v = NULL;
	struct error why;
	int64_t us;

	OK(verified_read(&w->repo.cluster, &v, &why));
	us = verified_backup_us(v, &w->made.attempt);
	verified_free(v);
	return us;
}

/* Since when the backup is known to be damaged. */
static int64_t damaged_since(struct world *w)
{
	struct verified *v = NULL;
	struct error why;
	int64_t us;

	OK(verified_read(&w->repo.cluster, &v, &why));
	us = verified_damaged_us(v, &w->made.attempt);
	verified_free(v);
	return us;
}

/* The one that is known to be damaged; 0 = none. */
static uint64_t damaged_segment(struct world *w)
{
	const struct verified_segment *segment;
	struct verified *v = NULL;
	struct error why;
	uint64_t segno = 0;

	OK(verified_read(&w->repo.cluster, &v, &why));
	if (verified_wal_damaged(v, &segment) > 0)
		segno = segment[0].segno;
	verified_free(v);
	return segno;
}

Test(verify_memory, what_was_proven_is_not_read_again_for_a_week)
{
	struct still_clock clock;
	struct world w;
	int64_t first;

	world_init(&w);
	world_stand_still(&w, &clock);
	world_backup(&w);
	w.options.all = false;
	first = clock.now;
	OK_(everything(&w));
	cr_assert_gt(w.totals.bytes_read, 0);
	cr_assert_eq(w.totals.pages, 11);
	cr_assert_eq(verified_at(&w), first);
	clock.now = first + 7 * day_us - 1;
	OK_(everything(&w));
	cr_assert_eq(w.totals.bytes_read, 0);
	cr_assert_eq(w.totals.packs_lately, 1);
	cr_assert_eq(w.totals.wal_lately, 3);
	cr_assert_eq(verified_at(&w), first);
	clock.now = first + 7 * day_us;
	OK_(everything(&w));
	cr_assert_gt(w.totals.bytes_read, 0);
	cr_assert_eq(w.totals.pages, 0); /* maps were proven for good */
	w.options.all = true;
	OK_(everything(&w));
	cr_assert_eq(w.totals.pages, 11);
	cr_assert_eq(keys_below(&w.repo, "verified/"), 1);
	world_release(&w);
}

Test(verify_memory, damage_is_remembered_and_forgotten_when_it_is_mended)
{
	struct still_clock clock;
	char key[STORE_KEY_MAX];
	struct verified *v = NULL;
	struct error why;
	struct world w;
	uint8_t *pack;
	size_t len;

	world_init(&w);
	world_stand_still(&w, &clock);
	world_backup(&w);
	w.options.all = false;
	pack_key(&w.repo.cluster, &w.made.manifest->pack[0].id, key);
	pack = store_memory_peek(w.repo.memory, key, &len);
	OK_(everything(&w));
	pack[OBJECT_HEADER_BYTES + FRAME_HEADER_BYTES + 7] ^= 1;
	clock.now += 7 * day_us;
	cr_assert_eq(everything(&w), ERR_CORRUPT);
	OK(verified_read(&w.repo.cluster, &v, &why));
	cr_assert(verified_flagged(v, &w.made.manifest->pack[0].id, 0));
	cr_assert_not(verified_flagged(v, &w.made.manifest->pack[0].id, 1));
	verified_free(v);
	cr_assert_eq(verified_at(&w), 0);
	clock.now += 1;
	cr_assert_eq(everything(&w), ERR_CORRUPT); /* at once, not after a week */
	pack[OBJECT_HEADER_BYTES + FRAME_HEADER_BYTES + 7] ^= 1;
	clock.now += 1;
	OK_(everything(&w));
	cr_assert_eq(verified_at(&w), clock.now - 2); /* when its WAL was read */
	world_release(&w);
}

Test(verify_memory, a_damaged_backup_stays_so_until_it_is_found_whole)
{
	struct still_clock clock;
	char key[STORE_KEY_MAX];
	struct world w;
	int64_t found;
	uint8_t *pack;
	size_t len;

	world_init(&w);
	world_stand_still(&w, &clock);
	world_backup(&w);
	w.options.all = false;
	OK_(everything(&w));
	cr_assert_eq(damaged_since(&w), 0);
	pack_key(&w.repo.cluster, &w.made.manifest->pack[0].id, key);
	pack = store_memory_peek(w.repo.memory, key, &len);
	pack[OBJECT_HEADER_BYTES + FRAME_HEADER_BYTES + 7] ^= 1;
	found = clock.now += 7 * day_us;
	cr_assert_eq(everything(&w), ERR_CORRUPT);
	cr_assert_eq(damaged_since(&w), found);
	/* Found again it is since the first time; a quick look neither forgets nor denies it. */
	clock.now += 1;
	cr_assert_eq(everything(&w), ERR_CORRUPT);
	cr_assert_eq(damaged_since(&w), found);
	pack[OBJECT_HEADER_BYTES + FRAME_HEADER_BYTES + 7] ^= 1;
	w.options.quick = true;
	cr_assert_eq(everything(&w), ERR_CORRUPT);
	w.options.quick = false;
	cr_assert_eq(damaged_since(&w), found);
	clock.now += 1;
	OK_(everything(&w));
	cr_assert_eq(damaged_since(&w), 0);
	world_release(&w);
}

Test(verify_memory, a_backup_whose_own_wal_is_damaged_is_damaged)
{
	struct still_clock clock;
	struct world w;
	int64_t found;

	world_init(&w);
	world_stand_still(&w, &clock);
	world_backup(&w);
	w.options.all = false;
	shelf_damage(&w.repo, 1, 0xC);
	cr_assert_eq(everything(&w), ERR_CORRUPT);
	cr_assert_eq(damaged_since(&w), clock.now);
	/* A run that has no time for it has not found it whole. */
	found = clock.now;
	shelf_damage(&w.repo, 1, 0xC);
	clock.tick = 1;
	w.options.max_time_us = 1;
	OK_(everything(&w));
	cr_assert_eq(w.totals.wal_left, 1);
	cr_assert_eq(damaged_since(&w), found);
	clock.tick = 0;
	w.options.max_time_us = 0;
	/* Behind its end is not its own. */
	shelf_put_golden(&w.repo, 1, 0xE);
	shelf_damage(&w.repo, 1, 0xE);
	clock.now += 1;
	cr_assert_eq(everything(&w), ERR_CORRUPT);
	cr_assert_eq(damaged_since(&w), 0);
	cr_assert_eq(damaged_segment(&w), 0xE);
	/* It is so for a run of the backup alone, and for one that has no time for it. */
	w.options.only = &w.made.attempt;
	world_reset(&w);
	OK_(verify_cluster(&w.repo.cluster, &w.options, &w.totals, &w.why));
	cr_assert_eq(damaged_segment(&w), 0xE);
	clock.tick = 1;
	w.options.max_time_us = 1;
	OK_(everything(&w));
	cr_assert_eq(w.totals.wal_left, 1);
	cr_assert_eq(damaged_segment(&w), 0xE);
	clock.tick = 0;
	w.options.max_time_us = 0;
	/* Until it is whole, or gone. */
	clock.now += 1;
	shelf_damage(&w.repo, 1, 0xE);
	OK_(everything(&w));
	cr_assert_eq(damaged_segment(&w), 0);
	shelf_damage(&w.repo, 1, 0xE);
	clock.now += 8 * day_us;
	cr_assert_eq(everything(&w), ERR_CORRUPT);
	cr_assert_eq(damaged_segment(&w), 0xE);
	shelf_remove(&w.repo, 1, 0xE);
	clock.now += 1;
	OK_(everything(&w));
	cr_assert_eq(damaged_segment(&w), 0);
	world_release(&w);
}

/* The object is of an epoch that the keys here do not have. */
static void seal_otherwise(struct world *w, const char *key)
{
	size_t len;
	uint8_t *data = store_memory_peek(w->repo.memory, key, &len);
	uint32_t crc;

	data[12] ^= 0x10; /* FORMAT.md 6 */
	crc = crc32c(bytes_of(data, 124));
	for (unsigned i = 0; i < 4; i++)
		data[124 + i] = (uint8_t)(crc >> (8 * i));
}

Test(verify_memory, what_another_key_may_open_is_not_remembered_as_damaged)
{
	struct wal_name name = shelf_name(1, 0xC);
	char key[STORE_KEY_MAX];
	struct world w;

	world_init(&w);
	world_backup(&w);
	wal_key(&w.repo.cluster, &name, key);
	seal_otherwise(&w, key);
	cr_assert_eq(everything(&w), ERR_CORRUPT);
	cr_assert_not_null(strstr(w.text, "key"), "%s", w.text);
	cr_assert_eq(damaged_segment(&w), 0);
	cr_assert_eq(damaged_since(&w), 0);
	backup_key(&w.repo.cluster, &w.made.attempt, key);
	seal_otherwise(&w, key);
	cr_assert_eq(everything(&w), ERR_CORRUPT);
	cr_assert_eq(damaged_since(&w), 0);
	world_release(&w);
}

Test(verify_memory, names_the_damaged_pages_as_ranges)
{
	char key[STORE_KEY_MAX];
	struct world w;
	uint8_t *pack;
	size_t len;

	world_init(&w);
	world_backup(&w);
	pack_key(&w.repo.cluster, &w.made.manifest->pack[0].id, key);
	pack = store_memory_peek(w.repo.memory, key, &len);
	/* The second frame: pages 4, 6 and 7; page 5 is zero. */
	pack[OBJECT_HEADER_BYTES + FRAME_OVERHEAD_BYTES + 4 * MAP_PAGE_BYTES +
	     FRAME_HEADER_BYTES] ^= 1;
	cr_assert_eq(everything(&w), ERR_CORRUPT);
	cr_assert_eq(w.findings, 1);
	cr_assert_str_eq(w.file, "base/5/1259");
	cr_assert_eq(w.ranges, 2);
	cr_assert_eq(w.range[0].first, 4);
	cr_assert_eq(w.range[0].last, 4);
	cr_assert_eq(w.range[1].first, 6);
	cr_assert_eq(w.range[1].last, 7);
	world_release(&w);
}

Test(verify_memory, a_run_that_ran_out_of_time_is_gone_on_with)
{
	struct still_clock clock;
	struct made_backup more[3];
	struct world w;
	unsigned runs = 0;
	uint64_t read = 0;

	world_init(&w);
	world_stand_still(&w, &clock);
	world_backup(&w);
	for (unsigned i = 0; i < 3; i++) {
		made_begin(&more[i], &w.repo.cluster, 2 + i);
		for (unsigned f = 0; f < 5; f++) {
			char path[32];

			(void)snprintf(path, sizeof(path), "base/5/%u", 2000 + f);
			made_file(&more[i], path, 10 + 5 * i + f, 9 * MAP_PAGE_BYTES);
		}
		world_summary(&more[i].manifest->summary);
		made_commit(&more[i], &w.repo.cluster);
	}
	w.options.all = false;
	w.options.max_time_us = 100;
	clock.tick = 60;
	do {
		clock.now += 1000;
		OK_(everything(&w));
		read += w.totals.pages;
		runs++;
		cr_assert_lt(runs, 100);
	} while (w.totals.backups_left + w.totals.packs_left + w.totals.wal_left > 0);
	cr_assert_gt(runs, 3, "%u runs", runs);
	cr_assert_eq(read, 11 + 3 * 5 * 9, "%d pages", (int)read); /* each once */
	cr_assert_neq(verified_at(&w), 0);
	for (unsigned i = 0; i < 3; i++)
		made_release(&more[i]);
	world_release(&w);
}

Test(verify_memory, reads_no_faster_than_it_may)
{
	struct still_clock clock;
	struct world w;

	world_init(&w);
	world_stand_still(&w, &clock);
	world_backup(&w);
	w.options.max_rate = 1000;
	OK_(everything(&w));
	cr_assert_geq(clock.slept, (int64_t)(w.totals.bytes_read - 1) * 1000);
	cr_assert_leq(clock.slept, (int64_t)w.totals.bytes_read * 1000 + 1000000);
	world_release(&w);
}

Test(verify_memory, a_backup_that_is_being_removed_is_no_damage)
{
	char key[STORE_KEY_MAX], name[ATTEMPT_TEXT_MAX];
	struct world w;
	struct error why;

	world_init(&w);
	world_backup(&w);
	pack_key(&w.repo.cluster, &w.made.manifest->pack[0].id, key);
	OK(store_remove(w.repo.memory, key, &why));
	cr_assert_eq(everything(&w), ERR_CORRUPT);
	attempt_to_text(&w.made.attempt, name);
	(void)snprintf(key, sizeof(key), "%sbackups/%s", w.repo.cluster.prefix, name);
	OK(store_remove(w.repo.memory, key, &why));
	OK_(everything(&w));
	world_release(&w);
}

static void expire_meanwhile(void *ctx)
{
	struct world *w = ctx;
	char key[STORE_KEY_MAX], name[ATTEMPT_TEXT_MAX];
	struct error why;

	attempt_to_text(&w->made.attempt, name);
	(void)snprintf(key, sizeof(key), "%sbackups/%s", w->repo.cluster.prefix, name);
	OK(store_remove(w->repo.memory, key, &why));
	pack_key(&w->repo.cluster, &w->made.manifest->pack[0].id, key);
	OK(store_remove(w->repo.memory, key, &why));
	for (unsigned segno = 0xB; segno <= 0xD; segno++)
		shelf_remove(&w->repo, 1, segno);
}

Test(verify_memory, a_backup_that_expires_meanwhile_is_no_damage)
{
	unsigned at = 1, calls;

	do {
		struct world w;

		world_init(&w);
		world_backup(&w);
		repo_world_fail(&w.repo, FAULT_NONE, at, ERR_NONE);
		w.repo.fault.meanwhile = expire_meanwhile;
		w.repo.fault.ctx = &w;
		cr_assert_eq(everything(&w), ERR_NONE, "call %u: %s, %s", at, w.why.text, w.text);
		calls = w.repo.fault.calls;
		world_release(&w);
	} while ((at += 5) <= calls);
	cr_assert_gt(at, 20);
}
