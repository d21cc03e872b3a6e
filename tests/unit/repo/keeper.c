/* Facts about pins kept alive. */
#include "repo/keeper.h"
#include "repo/pins.h"
#include "repo_world.h"

static struct pin pin_of(unsigned n)
{
	struct attempt attempt = attempt_number(n);
	struct pin pin = {.kind = "backup"};

	attempt_to_text(&attempt, pin.holder);
	return pin;
}

Test(keeper, pins_at_once_and_drops_them_at_the_end)
{
	struct repo_world w;
	struct keeper *k = NULL;
	struct pin pin = pin_of(1);
	struct error why;

	repo_world_init(&w, NULL);
	OK(keeper_start(&w.env, &w.cluster, 1, &pin, &k, &why));
	cr_assert_eq(keys_below(&w, "pins/"), 1);
	OK(keeper_set_start(k, lsn_of(0x3000028), 1, &why));
	/* The one before it is gone: one pin for one holder. */
	cr_assert_eq(keys_below(&w, "pins/"), 1);
	keeper_stop(k, true);
	cr_assert_eq(keys_below(&w, "pins/"), 0);
	repo_world_release(&w);
}

Test(keeper, leaves_the_pin_when_told_so)
{
	struct repo_world w;
	struct keeper *k = NULL;
	struct pin pin = pin_of(1);
	struct error why;

	repo_world_init(&w, NULL);
	OK(keeper_start(&w.env, &w.cluster, 1, &pin, &k, &why));
	keeper_stop(k, false);
	cr_assert_eq(keys_below(&w, "pins/"), 1);
	keeper_stop(NULL, true);
	repo_world_release(&w);
}

Test(keeper, that_cannot_pin_everywhere_pins_nowhere)
{
	struct repo_world w, sibling;
	struct cluster clusters[2];
	struct keeper *k = NULL;
	struct pin pin = pin_of(1);
	struct error why;

	repo_world_init(&w, NULL);
	repo_world_init(&sibling, &w);
	clusters[0] = w.cluster;
	clusters[1] = sibling.cluster;
	repo_world_fail(&sibling, FAULT_FAIL, 1, ERR_FULL);
	cr_assert_eq(keeper_start(&w.env, clusters, 2, &pin, &k, &why), ERR_FULL);
	cr_assert_not_null(strstr(why.text, pin.holder), "%s", why.text);
	cr_assert_null(k);
	cr_assert_eq(keys_below(&w, "pins/"), 0);
	repo_world_release(&sibling);
	repo_world_release(&w);
}

Test(keeper, of_a_reader_goes_on_with_the_repositories_that_took_the_pin)
{
	struct repo_world w, sibling;
	struct cluster clusters[2];
	struct keeper *k = NULL;
	struct pin pin = {.holder = "restore-1", .kind = "restore"};
	struct error why;

	repo_world_init(&w, NULL);
	repo_world_init(&sibling, &w);
	clusters[0] = w.cluster;
	clusters[1] = sibling.cluster;
	repo_world_fail(&w, FAULT_FAIL, 1, ERR_DENIED);
	OK(keeper_start(&w.env, clusters, 2, &pin, &k, &why));
	cr_assert_eq(keys_below(&sibling, "pins/"), 1);
	keeper_stop(k, true);
	cr_assert_eq(keys_below(&sibling, "pins/"), 0);
	repo_world_fail(&w, FAULT_FAIL, 1, ERR_DENIED);
	k = NULL;
	cr_assert_eq(keeper_start(&w.env, clusters, 1, &pin, &k, &why), ERR_DENIED);
	cr_assert_null(k);
	repo_world_release(&sibling);
	repo_world_release(&w);
}

Test(keeper, a_silent_repository_does_not_keep_the_heartbeat_from_the_others)
{
	struct repo_world w, sibling;
	struct cluster clusters[2];
	struct keeper *k = NULL;
	struct pin pin = pin_of(1);
	char key[STORE_KEY_MAX];
	struct store_object object;
	struct error why;

	repo_world_init(&w, NULL);
	repo_world_init(&sibling, &w);
	clusters[0] = w.cluster;
	clusters[1] = sibling.cluster;
	OK(keeper_start(&w.env, clusters, 2, &pin, &k, &why));
	repo_world_fail(&w, FAULT_FAIL, 1, ERR_TRANSIENT);
	cr_assert_eq(keeper_set_start(k, lsn_of(0x3000028), 1, &why), ERR_TRANSIENT);
	(void)snprintf(key, sizeof(key), "%spins/%s/%08u", clusters[1].prefix, pin.holder, 1U);
	OK(store_stat(sibling.memory, key, &object, &why));
	keeper_stop(k, true);
	repo_world_release(&sibling);
	repo_world_release(&w);
}

Test(keeper, leaves_a_recovery_behind_that_outlives_its_process)
{
	struct repo_world w;
	struct keeper *k = NULL;
	struct attempt read = attempt_number(7);
	struct pin pin = {
		.holder = "restore-1", .kind = "restore", .has_backup = true, .backup = read};
	struct pin_seen seen;
	struct error why;

	repo_world_init(&w, NULL);
	OK(keeper_start(&w.env, &w.cluster, 1, &pin, &k, &why));
	keeper_leave(k);
	OK(pins_read_holder(&w.cluster, "restore-1", &seen, &why));
	cr_assert_str_eq(seen.kind, "recovery");
	cr_assert_eq(seen.n, 1);
	cr_assert_eq(seen.backups, 1);
	cr_assert_eq(attempt_compare(&seen.backup[0], &read), 0);
	cr_assert_eq(pins_read_holder(&w.cluster, "restore-2", &seen, &why), ERR_MISSING);
	keeper_leave(NULL);
	repo_world_release(&w);
}
