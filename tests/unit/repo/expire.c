/* Removing a backup: grace, pins, interruptions, and what is left of it. */
#include "repo/expire.h"
#include "repo/keep.h"
#include "repo/sweep.h"
#include "small_backup.h"
#include "still_clock.h"

#include <string.h>

struct world {
	struct repo_world repo;
	struct still_clock clock;
};

static void small(struct repo_world *w, unsigned n)
{
	struct small_backup b;
	uint8_t page[MAP_PAGE_BYTES];

	memset(page, (int)n, sizeof(page));
	small_backup_begin(&b, w, n);
	small_backup_file(&b, "base/1/1", bytes_of(page, sizeof(page)));
	small_backup_commit(&b);
}

/* Two backups, each with a pack of its own. */
static void world_init(struct world *w)
{
	repo_world_init(&w->repo, NULL);
	still_clock_init(&w->clock);
	w->repo.env.clock = &w->clock.clock;
	small(&w->repo, 1);
	small(&w->repo, 2);
}

static enum err advance(struct world *w, int64_t grace_us, struct expire_result *out,
			struct error *why)
{
	struct attempt first = attempt_number(1);

	return expire_advance(&w->repo.cluster, &first, grace_us, out, why);
}

/* All of it, as a run does it that has no grace. */
static enum err remove_first(struct world *w, struct error *why)
{
	const struct sweep_options options = {.force = true};
	struct attempt first = attempt_number(1);
	struct expire_result result;
	struct sweep_totals totals;
	enum err e = hide_backup(&w->repo.cluster, &first, "t", why);

	if (e == ERR_NONE || e == ERR_EXISTS)
		e = advance(w, 0, &result, why);
	if (e == ERR_NONE)
		cr_assert_eq(result.outcome, EXPIRE_REMOVED);
	return e == ERR_NONE ? sweep_packs(&w->repo.cluster, &options, &totals, why) : e;
}

static void expect_second_whole(struct world *w)
{
	struct attempt second = attempt_number(2);
	struct manifest *m;
	struct error why;

	OK(manifest_read(&w->repo.cluster, &second, &m, &why));
	OK(decision_check_packs(&w->repo.cluster, m, &why));
	manifest_free(m);
}

Test(expire, whichever_call_fails_nothing_is_harmed_and_the_next_run_finishes)
{
	static const enum fault_mode modes[] = {FAULT_FAIL, FAULT_DOWN, FAULT_LOST,
						FAULT_LOST_EARLY};
	unsigned longest = 0;

	for (size_t mode = 0; mode < 4; mode++)
		for (unsigned nth = 1; nth < 60; nth++) {
			struct world w;
			struct error why;

			world_init(&w);
			repo_world_fail(&w.repo, modes[mode], nth, ERR_TRANSIENT);
			if (remove_first(&w, &why) == ERR_NONE && w.repo.fault.calls > longest)
				longest = w.repo.fault.calls;
			repo_world_fail(&w.repo, FAULT_NONE, 0, ERR_NONE);
			expect_second_whole(&w);
			OK(remove_first(&w, &why));
			expect_second_whole(&w);
			cr_assert_eq(keys_below(&w.repo, "backups/"), 1);
			cr_assert_eq(keys_below(&w.repo, "packs/"), 1);
			cr_assert_eq(keys_below(&w.repo, "tombs/"), 1);
			repo_world_release(&w.repo);
		}
	cr_assert(longest > 5 && longest < 60, "%u calls: the loop must pass the last", longest);
}

Test(expire, grace_counts_from_the_asking)
{
	struct attempt first = attempt_number(1);
	struct expire_result result;
	struct error why;
	struct world w;

	world_init(&w);
	OK(advance(&w, 100, &result, &why));
	cr_assert_eq(result.outcome, EXPIRE_KEPT);
	OK(hide_backup(&w.repo.cluster, &first, "t", &why));
	w.clock.now_us += 99;
	OK(advance(&w, 100, &result, &why));
	cr_assert_eq(result.outcome, EXPIRE_GRACE);
	cr_assert_eq(result.due_us, w.clock.now_us + 1);
	w.clock.now_us -= 1000; /* a clock that went back waits */
	OK(advance(&w, 0, &result, &why));
	cr_assert_eq(result.outcome, EXPIRE_GRACE);
	w.clock.now_us += 1001;
	OK(advance(&w, 100, &result, &why));
	cr_assert_eq(result.outcome, EXPIRE_REMOVED);
	repo_world_release(&w.repo);
}

/* Who hid it was killed before his look at the marks; one that was asked for by name goes all the same. */
Test(expire, what_a_policy_hid_comes_back_for_a_mark_whoever_finds_it)
{
	static const char *const reason[] = {HIDE_BY_POLICY, HIDE_BY_POLICY " ", "t"};

	for (size_t i = 0; i < sizeof(reason) / sizeof(reason[0]); i++) {
		struct attempt first = attempt_number(1);
		struct expire_result result;
		struct hidden hidden;
		struct error why;
		struct world w;
		bool changed, hid;

		world_init(&w);
		OK(keep_set(&w.repo.cluster, &first, true, "t", &changed, &why));
		OK(hide_backup(&w.repo.cluster, &first, reason[i], &why));
		OK(hide_read(&w.repo.cluster, &first, &hidden, &why));
		cr_assert_eq(hidden.by_policy, i == 0);
		OK(advance(&w, 0, &result, &why));
		cr_assert_eq(result.outcome, i == 0 ? EXPIRE_KEPT : EXPIRE_REMOVED);
		if (i == 0) {
			OK(hide_check_no_tomb(&w.repo.cluster, &first, &why));
			OK(expire_hide(&w.repo.cluster, &first, &hid, &why));
			cr_assert_not(hid, "the mark is there");
		}
		repo_world_release(&w.repo);
	}
}

/* A pin of `kind` that names the first backup. */
static struct pin pin_of(struct world *w, const char *kind, const char *holder)
{
	struct pin pin = {.kind = kind, .has_backup = true, .backup = attempt_number(1)};
	struct error why;

	(void)snprintf(pin.holder, sizeof(pin.holder), "%s", holder);
	OK(pin_put(&w->repo.cluster, &pin, &why));
	return pin;
}

static enum expire_outcome outcome_of(struct world *w)
{
	struct attempt first = attempt_number(1);
	struct expire_result result;
	struct error why;
	enum err e = hide_backup(&w->repo.cluster, &first, "t", &why);

	cr_assert(e == ERR_NONE || e == ERR_EXISTS);
	OK(advance(w, 0, &result, &why));
	return result.outcome;
}

Test(expire, a_reader_holds_the_manifest_until_it_lets_go)
{
	struct error why;
	struct world w;
	struct pin pin;

	world_init(&w);
	pin = pin_of(&w, "restore", "restore-0123456789abcdef");
	cr_assert_eq(outcome_of(&w), EXPIRE_PINNED);
	cr_assert_eq(keys_below(&w.repo, "tombs/"), 1);
	cr_assert_eq(keys_below(&w.repo, "backups/"), 2);
	OK(pin_drop(&w.repo.cluster, pin.holder, &why));
	cr_assert_eq(outcome_of(&w), EXPIRE_REMOVED);
	cr_assert_eq(keys_below(&w.repo, "backups/"), 1);
	repo_world_release(&w.repo);
}

Test(expire, a_writer_holds_its_parent_only_while_it_is_undecided)
{
	struct attempt third = attempt_number(3);
	char holder[ATTEMPT_TEXT_MAX];
	struct error why;
	struct world w;

	world_init(&w);
	attempt_to_text(&third, holder);
	(void)pin_of(&w, "backup", holder);
	cr_assert_eq(outcome_of(&w), EXPIRE_PINNED);
	OK(decision_abort(&w.repo.cluster, &third, "t", &why));
	cr_assert_eq(outcome_of(&w), EXPIRE_REMOVED);
	repo_world_release(&w.repo);
}

Test(expire, a_pin_that_cannot_be_read_holds_everything)
{
	char key[STORE_KEY_MAX];
	struct error why;
	struct world w;

	world_init(&w);
	(void)snprintf(key, sizeof(key), "%spins/restore-1/00000000", w.repo.cluster.prefix);
	OK(store_put(w.repo.memory, key, bytes_of_text("nonsense"), &why));
	cr_assert_eq(outcome_of(&w), EXPIRE_PINNED);
	repo_world_release(&w.repo);
}

Test(expire, a_tombstone_stays_a_week_and_as_long_as_there_is_a_manifest)
{
	size_t forgotten;
	struct error why;
	struct pin pin;
	struct world w;

	world_init(&w);
	pin = pin_of(&w, "restore", "restore-0123456789abcdef");
	cr_assert_eq(outcome_of(&w), EXPIRE_PINNED);
	w.clock.now_us += 2 * TOMB_KEPT_US;
	OK(expire_forget(&w.repo.cluster, &forgotten, &why));
	cr_assert_eq(forgotten, 0);
	OK(pin_drop(&w.repo.cluster, pin.holder, &why));
	w.clock.now_us -= TOMB_KEPT_US + 1;
	cr_assert_eq(outcome_of(&w), EXPIRE_REMOVED);
	OK(expire_forget(&w.repo.cluster, &forgotten, &why));
	cr_assert_eq(forgotten, 0);
	w.clock.now_us += 1;
	OK(expire_forget(&w.repo.cluster, &forgotten, &why));
	cr_assert_eq(forgotten, 1);
	cr_assert_eq(keys_below(&w.repo, "tombs/") + keys_below(&w.repo, "hidden/"), 0);
	repo_world_release(&w.repo);
}
