/* Sweeping packs: what is live stays, and where that is not known everything stays. */
#include "repo/sweep.h"
#include "repo/expire.h"
#include "repo/manifest_internal.h"
#include "small_backup.h"
#include "still_clock.h"

#include <string.h>

static const struct sweep_options plain = {.plan = false};

static void put_pack(struct repo_world *w, unsigned attempt, uint32_t seq)
{
	struct pack_id id = {.attempt = attempt_number(attempt), .seq = seq};
	char key[STORE_KEY_MAX];
	struct error why;

	pack_key(&w->cluster, &id, key);
	OK(store_put(w->memory, key, bytes_of_text("pack"), &why));
}

/* Backup 1 refers to `live` packs of its own, and `dead` ones lie beside them. */
static void world_init(struct repo_world *w, unsigned live, unsigned dead)
{
	struct manifest *m;
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	struct error why;

	repo_world_init(w, NULL);
	m = manifest_number(&w->cluster, 1);
	for (unsigned seq = 0; seq < live + dead; seq++) {
		struct pack_id id = {.attempt = attempt_number(1), .seq = seq};
		uint32_t index;

		put_pack(w, 1, seq);
		if (seq < live)
			OK(manifest_pack_index(m, &id, &index, &why));
	}
	OK(manifest_commit(&w->cluster, m, sha256, &why));
	manifest_free(m);
}

Test(sweep, what_no_manifest_refers_to_goes)
{
	const struct sweep_options plan = {.plan = true};
	struct sweep_totals totals;
	struct repo_world w;
	struct error why;

	world_init(&w, 5, 4);
	OK(sweep_packs(&w.cluster, &plan, &totals, &why));
	cr_assert_eq(totals.packs_removed, 4);
	cr_assert_eq(totals.packs_removed_bytes, 16);
	cr_assert_eq(keys_below(&w, "packs/"), 9);
	OK(sweep_packs(&w.cluster, &plain, &totals, &why));
	cr_assert_eq(totals.packs_removed, 4);
	cr_assert_eq(keys_below(&w, "packs/"), 5);
	OK(sweep_packs(&w.cluster, &plain, &totals, &why));
	cr_assert_eq(totals.packs_removed, 0);
	repo_world_release(&w);
}

Test(sweep, a_plan_without_a_backup_counts_its_packs)
{
	struct attempt first = attempt_number(1);
	const struct sweep_options plan = {.plan = true, .without = &first, .withouts = 1};
	struct sweep_totals totals;
	struct repo_world w;
	struct error why;

	world_init(&w, 5, 0);
	OK(sweep_packs(&w.cluster, &plan, &totals, &why));
	cr_assert_eq(totals.packs_removed, 5);
	cr_assert_eq(keys_below(&w, "packs/"), 5);
	repo_world_release(&w);
}

Test(sweep, more_than_half_is_asked_for_by_force)
{
	const struct sweep_options force = {.force = true};
	struct sweep_totals totals;
	struct repo_world w;
	struct error why;

	world_init(&w, 2, 3);
	cr_assert_eq(sweep_packs(&w.cluster, &plain, &totals, &why), ERR_LIMIT);
	cr_assert_not_null(strstr(why.hint, "--force"), "%s", why.hint);
	cr_assert_eq(keys_below(&w, "packs/"), 5);
	OK(sweep_packs(&w.cluster, &force, &totals, &why));
	cr_assert_eq(keys_below(&w, "packs/"), 2);
	repo_world_release(&w);
}

/* What was removed as a backup, or aborted, goes for a reason, however much it is. */
Test(sweep, packs_of_removed_and_aborted_attempts_need_no_force)
{
	struct attempt third = attempt_number(3);
	struct expire_result result;
	struct sweep_totals totals;
	struct repo_world w;
	struct error why;

	world_init(&w, 2, 0);
	for (unsigned n = 2; n < 5; n++) {
		struct attempt attempt = attempt_number(n);

		for (uint32_t seq = 0; seq < 4; seq++)
			put_pack(&w, n, seq);
		if (n == 3)
			continue;
		backup_number(&w.cluster, n);
		OK(hide_backup(&w.cluster, &attempt, "t", &why));
		OK(expire_advance(&w.cluster, &attempt, 0, &result, &why));
	}
	cr_assert_eq(sweep_packs(&w.cluster, &plain, &totals, &why), ERR_LIMIT); /* the third */
	cr_assert_eq(totals.packs_unaccounted, 4);
	cr_assert_eq(keys_below(&w, "packs/"), 14);
	OK(decision_abort(&w.cluster, &third, "t", &why));
	OK(sweep_packs(&w.cluster, &plain, &totals, &why));
	cr_assert_eq(totals.packs_removed, 12);
	cr_assert_eq(keys_below(&w, "packs/"), 2);
	repo_world_release(&w);
}

Test(sweep, a_backup_that_a_listing_leaves_out_is_noticed_by_its_packs)
{
	const struct sweep_options force = {.force = true};
	struct attempt second = attempt_number(2);
	struct sweep_totals totals;
	char key[STORE_KEY_MAX];
	struct repo_world w;
	struct error why;

	world_init(&w, 20, 1);
	backup_number(&w.cluster, 2);
	put_pack(&w, 2, 0);
	backup_key(&w.cluster, &second, key);
	w.fault.unlisted = key;
	cr_assert_eq(sweep_packs(&w.cluster, &plain, &totals, &why), ERR_TRANSIENT);
	cr_assert_eq(sweep_packs(&w.cluster, &force, &totals, &why), ERR_TRANSIENT);
	cr_assert_eq(keys_below(&w, "packs/"), 22);
	w.fault.unlisted = NULL;
	OK(sweep_packs(&w.cluster, &plain, &totals, &why));
	cr_assert_eq(totals.packs_removed, 2);
	repo_world_release(&w);
}

/* An hour goes by with each look at it. */
static int64_t hurry(struct clock *c)
{
	return ((struct still_clock *)c)->now_us += INT64_C(3600) * 1000 * 1000;
}

static int64_t stand(struct clock *c)
{
	(void)c;
	return 0;
}

/* Its pin may be taken for left behind after a day, and a copy then begins.  Also where it was suspended
 * meanwhile and the clock was set back, or where a virtual machine was paused. */
Test(sweep, ends_well_before_its_pin_can_be_taken_for_left_behind)
{
	static const struct clock_ops ops[] = {
		{.now_us = stand, .monotonic_us = stand, .since_boot_us = hurry},
		{.now_us = hurry, .monotonic_us = stand, .since_boot_us = stand}};
	const struct sweep_options force = {.force = true};
	struct still_clock clock;
	struct sweep_totals totals;
	struct repo_world w;
	struct error why;

	world_init(&w, 5, 40);
	w.env.clock = &clock.clock;
	for (size_t i = 0; i < 2; i++) {
		clock = (struct still_clock){.clock = {.ops = &ops[i]}};
		cr_assert_eq(sweep_packs(&w.cluster, &force, &totals, &why), ERR_TRANSIENT);
		cr_assert(totals.packs_removed > 0 &&
			  totals.packs_removed < SWEEP_TIME_MAX_US / 3600000000);
		cr_assert_eq(keys_below(&w, "pins/"), 0);
	}
	w.env.clock = clock_os();
	OK(sweep_packs(&w.cluster, &force, &totals, &why));
	cr_assert_eq(keys_below(&w, "packs/"), 5);
	repo_world_release(&w);
}

Test(sweep, an_unreadable_manifest_stops_it_until_that_backup_is_removed_by_name)
{
	struct attempt first = attempt_number(1);
	struct expire_result result;
	struct sweep_totals totals;
	char key[STORE_KEY_MAX], name[ATTEMPT_TEXT_MAX];
	struct repo_world w;
	struct error why;
	uint8_t *data;
	size_t len;

	world_init(&w, 1, 0);
	backup_number(&w.cluster, 2);
	put_pack(&w, 2, 0);
	attempt_to_text(&first, name);
	(void)snprintf(key, sizeof(key), "%sbackups/%s", w.cluster.prefix, name);
	data = store_memory_peek(w.memory, key, &len);
	cr_assert_not_null(data);
	data[len / 2] ^= 1;
	cr_assert_eq(sweep_packs(&w.cluster, &plain, &totals, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.hint, name), "%s", why.hint);
	cr_assert_eq(keys_below(&w, "packs/"), 2);
	OK(hide_backup(&w.cluster, &first, "t", &why));
	OK(expire_advance(&w.cluster, &first, 0, &result, &why));
	cr_assert_eq(result.outcome, EXPIRE_REMOVED);
	OK(sweep_packs(&w.cluster, &(struct sweep_options){.force = true}, &totals, &why));
	cr_assert_eq(keys_below(&w, "packs/"), 0);
	repo_world_release(&w);
}

Test(sweep, packs_of_an_undecided_attempt_stay_until_it_is_aborted)
{
	struct pin pin = {.kind = "backup"};
	struct attempt second = attempt_number(2);
	struct sweep_totals totals;
	struct repo_world w;
	struct error why;

	world_init(&w, 3, 0);
	attempt_to_text(&second, pin.holder);
	OK(pin_put(&w.cluster, &pin, &why));
	put_pack(&w, 2, 0);
	OK(sweep_packs(&w.cluster, &plain, &totals, &why));
	cr_assert_eq(totals.packs_removed, 0);
	OK(decision_abort(&w.cluster, &second, "t", &why));
	OK(sweep_packs(&w.cluster, &plain, &totals, &why));
	cr_assert_eq(totals.packs_removed, 1);
	cr_assert_eq(keys_below(&w, "packs/"), 3);
	repo_world_release(&w);
}

/* Between the listing of decisions and the reading of the first: backup 1 goes, and a child of it that
 * refers to its packs was committed. */
static void vanish(void *ctx)
{
	struct repo_world *w = ctx;
	struct cluster c = w->cluster;
	struct attempt first = attempt_number(1);
	struct manifest *m = manifest_number(&c, 3);
	struct pack_id id = {.attempt = first};
	uint8_t sha256[CRYPTO_SHA256_BYTES];
	char key[STORE_KEY_MAX], name[ATTEMPT_TEXT_MAX];
	struct error why;
	uint32_t index;

	w->fault.meanwhile = NULL;
	OK(manifest_pack_index(m, &id, &index, &why));
	OK(manifest_commit(&c, m, sha256, &why));
	manifest_free(m);
	attempt_to_text(&first, name);
	(void)snprintf(key, sizeof(key), "%sbackups/%s", c.prefix, name);
	OK(store_remove(w->memory, key, &why));
}

Test(sweep, a_backup_that_goes_under_it_makes_it_begin_again)
{
	unsigned again = 0;

	for (unsigned nth = 1; nth < 20; nth++) {
		struct repo_world w;
		const struct sweep_options force = {.force = true};
		struct sweep_totals totals;
		struct error why;
		unsigned calls;

		world_init(&w, 1, 0);
		backup_number(&w.cluster, 2);
		repo_world_fail(&w, FAULT_NONE, 0, ERR_NONE);
		OK(sweep_packs(&w.cluster, &force, &totals, &why));
		calls = w.fault.calls;
		if (nth > calls)
			nth = 20; /* once more, behind its last call */
		repo_world_fail(&w, FAULT_NONE, nth, ERR_NONE);
		w.fault.meanwhile = vanish;
		w.fault.ctx = &w;
		OK(sweep_packs(&w.cluster, &force, &totals, &why));
		cr_assert_eq(keys_below(&w, "packs/"), 1, "call %u", nth);
		again += w.fault.calls > calls + calls / 2;
		repo_world_release(&w);
	}
	cr_assert(again > 0, "it never had to");
}
