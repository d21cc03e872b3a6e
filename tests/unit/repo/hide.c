/* Hidden backups: generations, and the one end of each. */
#include "repo/hide.h"
#include "repo_world.h"

#include <string.h>

static enum hide_state state_of(struct repo_world *w, unsigned n)
{
	struct attempt attempt = attempt_number(n);
	struct hidden hidden;
	struct error why;

	OK(hide_read(&w->cluster, &attempt, &hidden, &why));
	return hidden.state;
}

Test(hide, what_was_brought_back_can_be_hidden_anew)
{
	struct repo_world w;
	struct attempt a = attempt_number(1);
	struct hidden hidden;
	struct error why;

	repo_world_init(&w, NULL);
	cr_assert_eq(hide_undelete(&w.cluster, &a, "t", &why), ERR_MISSING);
	for (unsigned g = 0; g < 12; g++) {
		OK(hide_backup(&w.cluster, &a, "t", &why));
		cr_assert_eq(hide_backup(&w.cluster, &a, "t", &why), ERR_EXISTS);
		OK(hide_read(&w.cluster, &a, &hidden, &why));
		cr_assert_eq(hidden.state, HIDE_HIDDEN);
		cr_assert_eq(hidden.generation, g);
		cr_assert(hidden.since_us > 0);
		OK(hide_undelete(&w.cluster, &a, "t", &why));
		cr_assert_eq(state_of(&w, 1), HIDE_SHOWN);
		cr_assert_eq(hide_decide_removed(&w.cluster, &a, "t", &why), ERR_MISSING);
	}
	repo_world_release(&w);
}

Test(hide, nothing_comes_back_whose_removal_was_decided)
{
	struct repo_world w;
	struct attempt a = attempt_number(1);
	struct error why;

	repo_world_init(&w, NULL);
	OK(hide_backup(&w.cluster, &a, "t", &why));
	OK(hide_decide_removed(&w.cluster, &a, "t", &why));
	OK(hide_decide_removed(&w.cluster, &a, "t", &why));
	cr_assert_eq(hide_undelete(&w.cluster, &a, "t", &why), ERR_EXISTS);
	cr_assert_eq(state_of(&w, 1), HIDE_REMOVED);
	OK(hide_check_no_tomb(&w.cluster, &a, &why));
	OK(hide_put_tomb(&w.cluster, &a, "t", &why));
	OK(hide_put_tomb(&w.cluster, &a, "t", &why));
	cr_assert_eq(hide_check_no_tomb(&w.cluster, &a, &why), ERR_MISSING);
	cr_assert_not_null(strstr(why.text, "being removed"), "%s", why.text);
	repo_world_release(&w);
}

struct other {
	struct repo_world *world;
	bool removes;
};

/* The other one is faster by one call. */
static void decide_meanwhile(void *ctx)
{
	struct other *other = ctx;
	struct repo_world *w = other->world;
	struct attempt a = attempt_number(1);
	struct error why;
	enum err e;

	w->fault.meanwhile = NULL;
	e = other->removes ? hide_decide_removed(&w->cluster, &a, "t", &why)
			   : hide_undelete(&w->cluster, &a, "t", &why);
	cr_assert(e == ERR_NONE || e == ERR_EXISTS || e == ERR_MISSING);
}

Test(hide, of_undelete_and_removal_exactly_one_wins_wherever_they_meet)
{
	for (unsigned nth = 1; nth < 12; nth++)
		for (int removes = 0; removes < 2; removes++) {
			struct repo_world w;
			struct attempt a = attempt_number(1);
			struct other other = {.world = &w, .removes = removes == 1};
			struct error why;
			enum err e;

			repo_world_init(&w, NULL);
			OK(hide_backup(&w.cluster, &a, "t", &why));
			repo_world_fail(&w, FAULT_NONE, nth, ERR_NONE);
			w.fault.meanwhile = decide_meanwhile;
			w.fault.ctx = &other;
			e = removes ? hide_undelete(&w.cluster, &a, "t", &why)
				    : hide_decide_removed(&w.cluster, &a, "t", &why);
			w.fault.meanwhile = NULL;
			cr_assert_eq(state_of(&w, 1),
				     (e == ERR_NONE) == (removes == 1) ? HIDE_SHOWN : HIDE_REMOVED,
				     "call %u: %d", nth, (int)e);
			repo_world_release(&w);
		}
}

Test(hide, after_any_failure_the_next_try_succeeds)
{
	static const enum fault_mode modes[] = {FAULT_FAIL, FAULT_LOST, FAULT_LOST_EARLY};

	for (size_t mode = 0; mode < 3; mode++)
		for (unsigned nth = 1; nth < 40; nth++) {
			struct repo_world w;
			struct attempt a = attempt_number(1);
			struct error why;
			enum err e;

			repo_world_init(&w, NULL);
			repo_world_fail(&w, modes[mode], nth, ERR_TRANSIENT);
			e = hide_backup(&w.cluster, &a, "t", &why);
			if (e == ERR_NONE)
				e = hide_decide_removed(&w.cluster, &a, "t", &why);
			if (e == ERR_NONE)
				e = hide_put_tomb(&w.cluster, &a, "t", &why);
			repo_world_fail(&w, FAULT_NONE, 0, ERR_NONE);
			e = hide_backup(&w.cluster, &a, "t", &why);
			cr_assert(e == ERR_NONE || e == ERR_EXISTS, "%s", why.text);
			OK(hide_decide_removed(&w.cluster, &a, "t", &why));
			OK(hide_put_tomb(&w.cluster, &a, "t", &why));
			cr_assert_eq(state_of(&w, 1), HIDE_REMOVED);
			cr_assert_eq(keys_below(&w, "hidden/"), 2);
			cr_assert_eq(keys_below(&w, "tombs/"), 1);
			repo_world_release(&w);
		}
}

static void turn_a_byte(struct repo_world *w, const char *name)
{
	char key[STORE_KEY_MAX], text[ATTEMPT_TEXT_MAX];
	struct attempt a = attempt_number(1);
	uint8_t *data;
	size_t len;

	attempt_to_text(&a, text);
	(void)snprintf(key, sizeof(key), "%shidden/%s%s", w->cluster.prefix, text, name);
	data = store_memory_peek(w->memory, key, &len);
	cr_assert_not_null(data);
	data[len / 2] ^= 1;
}

Test(hide, damaged_records_decide_nothing)
{
	static const char *const name[] = {".00000000", ".00000000.end"};

	for (int i = 0; i < 2; i++) {
		struct repo_world w;
		struct attempt a = attempt_number(1);
		struct hidden hidden;
		struct error why;

		repo_world_init(&w, NULL);
		OK(hide_backup(&w.cluster, &a, "t", &why));
		if (i == 1)
			OK(hide_decide_removed(&w.cluster, &a, "t", &why));
		turn_a_byte(&w, name[i]);
		cr_assert_eq(hide_read(&w.cluster, &a, &hidden, &why), ERR_CORRUPT);
		cr_assert_eq(hide_undelete(&w.cluster, &a, "t", &why), ERR_CORRUPT);
		repo_world_release(&w);
	}
}

static enum err note_attempt(void *ctx, const struct attempt *attempt, struct error *why)
{
	struct attempt *last = ctx;

	(void)why;
	cr_assert(attempt_compare(attempt, last) > 0);
	*last = *attempt;
	return ERR_NONE;
}

Test(hide, every_attempt_is_listed_once_and_in_order)
{
	struct repo_world w;
	struct attempt last = {.id = {0}}, third = attempt_number(3);
	struct error why;

	repo_world_init(&w, NULL);
	for (unsigned n = 1; n <= 3; n++) {
		struct attempt a = attempt_number(n);

		if (n != 3)
			OK(hide_backup(&w.cluster, &a, "t", &why));
		if (n != 1)
			OK(hide_put_tomb(&w.cluster, &a, "t", &why));
	}
	OK(hide_list(&w.cluster, note_attempt, &last, &why));
	cr_assert_eq(attempt_compare(&last, &third), 0);
	repo_world_release(&w);
}
