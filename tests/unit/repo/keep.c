/* Marks against retention: the last word counts, and none is lost beside a hidden record. */
#include "repo/keep.h"
#include "repo_world.h"

#include <string.h>

static enum keep_mark mark_of(struct repo_world *w, unsigned n)
{
	struct attempt attempt = attempt_number(n);
	enum keep_mark mark;
	struct error why;

	OK(keep_read(&w->cluster, &attempt, &mark, &why));
	return mark;
}

Test(keep, the_last_word_counts)
{
	struct repo_world w;
	struct attempt a = attempt_number(1);
	struct error why;
	bool changed;

	repo_world_init(&w, NULL);
	cr_assert_eq(mark_of(&w, 1), KEEP_NONE);
	for (unsigned g = 0; g < 12; g++) {
		OK(keep_set(&w.cluster, &a, true, "t", &changed, &why));
		cr_assert(changed);
		OK(keep_set(&w.cluster, &a, true, "t", &changed, &why));
		cr_assert(!changed);
		cr_assert_eq(mark_of(&w, 1), KEEP_ON);
		OK(keep_set(&w.cluster, &a, false, "t", &changed, &why));
		cr_assert(changed);
		OK(keep_set(&w.cluster, &a, false, "t", &changed, &why));
		cr_assert(!changed);
		cr_assert_eq(mark_of(&w, 1), KEEP_OFF);
	}
	cr_assert_eq(mark_of(&w, 2), KEEP_NONE);
	repo_world_release(&w);
}

Test(keep, a_wish_at_birth_is_withdrawn_without_a_mark_before)
{
	struct repo_world w;
	struct attempt a = attempt_number(1);
	struct error why;
	bool changed;

	repo_world_init(&w, NULL);
	OK(keep_set(&w.cluster, &a, false, "t", &changed, &why));
	cr_assert(changed);
	cr_assert_eq(mark_of(&w, 1), KEEP_OFF);
	OK(keep_set(&w.cluster, &a, true, "t", &changed, &why));
	cr_assert_eq(mark_of(&w, 1), KEEP_ON);
	repo_world_release(&w);
}

Test(keep, a_mark_on_what_is_hidden_is_no_promise)
{
	struct repo_world w;
	struct attempt a = attempt_number(1);
	struct error why;
	bool changed;

	repo_world_init(&w, NULL);
	OK(hide_backup(&w.cluster, &a, "t", &why));
	cr_assert_eq(keep_set(&w.cluster, &a, true, "t", &changed, &why), ERR_EXISTS);
	cr_assert_not_null(strstr(why.hint, "pgagent undelete"), "%s", why.hint);
	/* Whoever hides looks for it behind his record. */
	cr_assert_eq(mark_of(&w, 1), KEEP_ON);
	OK(hide_undelete(&w.cluster, &a, "t", &why));
	OK(keep_set(&w.cluster, &a, true, "t", &changed, &why));
	cr_assert(!changed);
	repo_world_release(&w);
}

struct hiding {
	struct repo_world *world;
	bool done;
	enum keep_mark seen; /* behind the record */
};

static void hide_meanwhile(void *ctx)
{
	struct hiding *hiding = ctx;
	struct repo_world *w = hiding->world;
	struct attempt a = attempt_number(1);
	struct error why;

	w->fault.meanwhile = NULL;
	OK(hide_backup(&w->cluster, &a, "t", &why));
	hiding->seen = mark_of(w, 1);
	hiding->done = true;
}

Test(keep, hidden_at_any_moment_of_it_one_of_the_two_sees_the_other)
{
	unsigned met = 0;

	for (unsigned nth = 1; nth < 40; nth++) {
		struct repo_world w;
		struct attempt a = attempt_number(1);
		struct hiding hiding = {.world = &w};
		struct error why;
		bool changed;
		enum err e;

		repo_world_init(&w, NULL);
		repo_world_fail(&w, FAULT_NONE, nth, ERR_NONE);
		w.fault.meanwhile = hide_meanwhile;
		w.fault.ctx = &hiding;
		e = keep_set(&w.cluster, &a, true, "t", &changed, &why);
		w.fault.meanwhile = NULL;
		met += hiding.done;
		cr_assert(!hiding.done || e == ERR_EXISTS || hiding.seen == KEEP_ON, "call %u",
			  nth);
		cr_assert(hiding.done || e == ERR_NONE, "call %u", nth);
		repo_world_release(&w);
	}
	cr_assert_gt(met, 2);
}
