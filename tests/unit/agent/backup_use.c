/* The figures of sharing that `show` prints. */
#include "commands/backup_use.h"

#include <criterion/criterion.h>

static struct attempt attempt_at(uint64_t seconds, uint8_t last)
{
	struct attempt a = {{0}};

	put_u64(a.id, seconds);
	a.id[15] = last;
	return a;
}

static void add_pack(struct manifest *m, struct attempt of, uint32_t seq, uint64_t live)
{
	struct pack_id id = {.attempt = of, .seq = seq};
	struct error why;
	uint32_t index;

	cr_assert_eq(manifest_pack_index(m, &id, &index, &why), ERR_NONE);
	m->pack[index].live_bytes = live;
}

Test(backup_use, own_share_and_the_backups_it_leans_on)
{
	struct manifest *m = manifest_new();
	struct backup_use use;
	struct error why;

	m->summary.attempt = attempt_at(3000, 1);
	m->summary.bytes_read = 300;
	m->summary.bytes_used = 200;
	add_pack(m, attempt_at(2000, 1), 0, 500);
	add_pack(m, attempt_at(3000, 1), 0, 100);
	add_pack(m, attempt_at(1000, 1), 3, 300);
	add_pack(m, attempt_at(2000, 1), 1, 100);
	cr_assert_eq(backup_use_of(m, &use, &why), ERR_NONE);
	cr_assert_float_eq(use.amplification, 1.5, 1e-9);
	cr_assert_eq(use.own_bytes, 100);
	cr_assert_eq(use.all_bytes, 1000);
	cr_assert_eq(use.packs, 4);
	cr_assert_eq(use.backups, 3);
	cr_assert_eq(use.oldest_us, 1000 * INT64_C(1000000));
	manifest_free(m);
}

Test(backup_use, nothing_to_read_is_null)
{
	struct manifest *m = manifest_new();
	json_t *object = json_object();
	struct backup_use use;
	struct error why;

	cr_assert_eq(backup_use_of(m, &use, &why), ERR_NONE);
	backup_use_json(object, &use);
	cr_assert(json_is_null(json_object_get(object, "reading_amplification")));
	cr_assert(json_is_null(json_object_get(object, "own_share")));
	cr_assert(json_is_null(json_object_get(object, "oldest_pack_at")));
	cr_assert_eq(json_integer_value(json_object_get(object, "packs_of_backups")), 0);
	json_decref(object);
	manifest_free(m);
}
