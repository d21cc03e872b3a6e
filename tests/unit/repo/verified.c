/* Facts about what is remembered of verification. */
#include "repo/verified_internal.h"
#include "repo_world.h"

static struct pack_id pack(unsigned n, uint32_t seq)
{
	return (struct pack_id){.attempt = attempt_number(n), .seq = seq};
}

static void add_packs(struct verified *v, unsigned n, uint32_t first, uint32_t last, int64_t us)
{
	struct verified_packs p = {attempt_number(n), first, last, us};
	struct error why;

	OK(verified_add_packs(v, &p, &why));
}

static void add_damage(struct verified *v, unsigned n, uint32_t seq, uint32_t ordinal, int64_t us)
{
	struct verified_damage d = {pack(n, seq), ordinal, VERIFIED_ALL, us};
	struct error why;

	OK(verified_add_damage(v, &d, &why));
}

static int64_t pack_us(const struct verified *v, unsigned n, uint32_t seq)
{
	struct pack_id id = pack(n, seq);

	return verified_pack_us(v, &id);
}

static bool flagged(const struct verified *v, unsigned n, uint32_t seq, uint32_t ordinal)
{
	struct pack_id id = pack(n, seq);

	return verified_flagged(v, &id, ordinal);
}

/* Writes `now` as run `n`, which has read what is there. */
static enum err put(struct repo_world *w, struct verified *now, unsigned n, struct error *why)
{
	struct verified_run run = {.run = attempt_number(n), .complete = true};
	struct verified *before = NULL;
	enum err e = verified_read(&w->cluster, &before, why);

	verified_settle(now);
	if (e == ERR_NONE)
		e = verified_write(&w->cluster, &run, now, before, why);
	verified_free(before);
	return e;
}

Test(verified, of_two_statements_the_newer_counts)
{
	struct verified *v = verified_new();

	add_packs(v, 1, 0, 9, 100);
	add_packs(v, 1, 5, 20, 200);
	add_packs(v, 2, 0, 0, 50);
	add_damage(v, 1, 3, 7, 150);           /* after its proof */
	add_damage(v, 1, 6, 7, 150);           /* before it: mended */
	add_damage(v, 2, 0, VERIFIED_ALL, 50); /* at the same time */
	verified_settle(v);
	cr_assert_eq(pack_us(v, 1, 0), 100);
	cr_assert_eq(pack_us(v, 1, 9), 200);
	cr_assert_eq(pack_us(v, 1, 21), 0);
	cr_assert_eq(pack_us(v, 1, 3), 0);
	cr_assert_eq(pack_us(v, 2, 0), 0);
	cr_assert_eq(pack_us(v, 3, 0), 0);
	cr_assert(flagged(v, 1, 3, 7));
	cr_assert_not(flagged(v, 1, 3, 8));
	cr_assert_not(flagged(v, 1, 6, 7));
	cr_assert(flagged(v, 2, 0, 12345));
	cr_assert(verified_any_flagged(v));
	verified_free(v);
}

Test(verified, what_was_written_is_read_and_supersedes_what_was_there)
{
	struct verified *v = verified_new(), *seen = NULL;
	struct verified_wal wal = {1, 16 << 20, 7, 9, 44};
	struct verified_backup backup = {attempt_number(1), 11, 12, 13, 14};
	struct repo_world w;
	struct error why;

	repo_world_init(&w, NULL);
	OK(verified_read(&w.cluster, &seen, &why));
	cr_assert_not(verified_any_flagged(seen));
	cr_assert_eq(pack_us(seen, 1, 0), 0);
	verified_free(seen);
	/* More than one frame of each kind. */
	for (unsigned i = 0; i < 20000; i++) {
		add_packs(v, 1, 2 * i, 2 * i, 5);
		add_damage(v, 2, 1, i, 6);
	}
	OK(verified_add_wal(v, &wal, &why));
	OK(verified_add_backup(v, &backup, &why));
	for (unsigned n = 1; n < 5; n++) {
		OK(put(&w, v, n, &why));
		cr_assert_eq(keys_below(&w, "verified/"), 1);
	}
	OK(verified_read(&w.cluster, &seen, &why));
	cr_assert_eq(pack_us(seen, 1, 19998), 5);
	cr_assert_eq(pack_us(seen, 1, 19999), 0);
	cr_assert(flagged(seen, 2, 1, 19999));
	cr_assert_not(flagged(seen, 2, 1, 20000));
	cr_assert_eq(verified_wal_us(seen, 1, 16 << 20, 9), 44);
	cr_assert_eq(verified_wal_us(seen, 1, 16 << 20, 10), 0);
	cr_assert_eq(verified_wal_us(seen, 2, 16 << 20, 9), 0);
	cr_assert_eq(verified_maps_us(seen, &backup.attempt), 11);
	cr_assert_eq(verified_backup_us(seen, &backup.attempt), 12);
	cr_assert_eq(verified_find_backup(seen, &backup.attempt)->records, 14);
	backup.attempt = attempt_number(2);
	cr_assert_eq(verified_backup_us(seen, &backup.attempt), 0);
	verified_free(seen);
	verified_free(v);
	repo_world_release(&w);
}

Test(verified, records_of_two_runs_at_once_are_merged)
{
	struct verified *a = verified_new(), *b = verified_new(), *empty = verified_new();
	struct verified_run run = {.run = attempt_number(1)};
	struct verified *seen = NULL;
	struct repo_world w;
	struct error why;

	repo_world_init(&w, NULL);
	add_packs(a, 1, 0, 5, 100);
	add_packs(b, 1, 3, 8, 90);
	OK(verified_write(&w.cluster, &run, a, empty, &why));
	run.run = attempt_number(2);
	OK(verified_write(&w.cluster, &run, b, empty, &why));
	cr_assert_eq(keys_below(&w, "verified/"), 2);
	OK(verified_read(&w.cluster, &seen, &why));
	cr_assert_eq(pack_us(seen, 1, 4), 100);
	cr_assert_eq(pack_us(seen, 1, 8), 90);
	OK(put(&w, seen, 3, &why));
	cr_assert_eq(keys_below(&w, "verified/"), 1);
	verified_free(seen);
	verified_free(a);
	verified_free(b);
	verified_free(empty);
	repo_world_release(&w);
}

Test(verified, of_a_damaged_backup_the_newest_statement_counts)
{
	struct verified_backup whole = {attempt_number(1), 1, 5, 300, 0};
	struct verified_hit hit[] = {{attempt_number(1), 100, 400},
				     {attempt_number(1), 90, 200},
				     {attempt_number(2), 50, 50}};
	struct verified *v = verified_new(), *seen = NULL;
	struct repo_world w;
	struct error why;

	repo_world_init(&w, NULL);
	for (size_t i = 0; i < 3; i++)
		OK(verified_add_hit(v, &hit[i], &why));
	OK(verified_add_backup(v, &whole, &why));
	OK(put(&w, v, 1, &why));
	OK(verified_read(&w.cluster, &seen, &why));
	cr_assert_eq(verified_damaged_us(seen, &hit[0].attempt), 100);
	cr_assert_eq(verified_damaged_us(seen, &hit[2].attempt), 50);
	verified_free(seen);
	whole.stated_us = 400; /* of two at the same time, that it is damaged */
	OK(verified_add_backup(v, &whole, &why));
	OK(put(&w, v, 2, &why));
	OK(verified_read(&w.cluster, &seen, &why));
	cr_assert_eq(verified_damaged_us(seen, &hit[0].attempt), 100);
	verified_free(seen);
	whole.stated_us = 401;
	OK(verified_add_backup(v, &whole, &why));
	OK(put(&w, v, 3, &why));
	OK(verified_read(&w.cluster, &seen, &why));
	cr_assert_eq(verified_damaged_us(seen, &hit[0].attempt), 0);
	cr_assert_eq(verified_damaged_us(seen, &hit[2].attempt), 50);
	verified_free(seen);
	verified_free(v);
	repo_world_release(&w);
}

Test(verified, a_damaged_record_proves_nothing_and_is_replaced)
{
	struct verified *v = verified_new(), *seen = NULL;
	char key[STORE_KEY_MAX], name[ATTEMPT_TEXT_MAX];
	struct attempt run = attempt_number(1);
	struct repo_world w;
	struct error why;
	uint8_t *data;
	size_t len;

	repo_world_init(&w, NULL);
	add_packs(v, 1, 0, 0, 100);
	OK(put(&w, v, 1, &why));
	attempt_to_text(&run, name);
	(void)snprintf(key, sizeof(key), "%sverified/%s", w.cluster.prefix, name);
	data = store_memory_peek(w.memory, key, &len);
	for (size_t at = 0; at < len; at++) {
		data[at] ^= 1;
		OK(verified_read(&w.cluster, &seen, &why));
		verified_free(seen);
		data[at] ^= 1;
	}
	data[len / 2] ^= 1;
	OK(put(&w, v, 2, &why));
	cr_assert_eq(keys_below(&w, "verified/"), 1);
	OK(verified_read(&w.cluster, &seen, &why));
	cr_assert_eq(pack_us(seen, 1, 0), 100);
	verified_free(seen);
	verified_free(v);
	repo_world_release(&w);
}

Test(verified, a_frame_cut_short_is_refused_and_unknown_kinds_are_not)
{
	static const uint8_t unknown[] = {99, 0, 0, 0, 1, 2, 3}, cut[] = {1, 0, 0, 0, 5};
	struct verified *v = verified_new();
	struct error why;

	OK(verified_decode(bytes_of(unknown, sizeof(unknown)), v, &why));
	cr_assert_eq(verified_decode(bytes_of(cut, sizeof(cut)), v, &why), ERR_CORRUPT);
	cr_assert_eq(verified_decode(bytes_of(cut, 3), v, &why), ERR_CORRUPT);
	verified_free(v);
}

Test(verified, a_store_that_does_not_answer_is_said)
{
	struct verified *v = verified_new();
	struct repo_world w;
	struct error why;
	enum err e = ERR_TRANSIENT;

	repo_world_init(&w, NULL);
	add_packs(v, 1, 0, 0, 100);
	OK(put(&w, v, 1, &why));
	for (unsigned at = 1; e != ERR_NONE; at++) {
		cr_assert_lt(at, 60);
		repo_world_fail(&w, FAULT_FAIL, at, ERR_TRANSIENT);
		e = put(&w, v, 100 + at, &why);
	}
	repo_world_fail(&w, FAULT_NONE, 0, ERR_NONE);
	OK(put(&w, v, 900, &why));
	cr_assert_eq(keys_below(&w, "verified/"), 1);
	verified_free(v);
	repo_world_release(&w);
}
