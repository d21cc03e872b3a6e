/* A store of stores: puts go to all, the first failure is the answer. */
#include "repo/fanout.h"
#include "repo_world.h"

#include <string.h>

static struct store *inner[3];
static struct fault_store fault[3];

static struct store *three(void)
{
	struct env env = env_os();
	struct store *parts[3], *out = NULL;
	struct error why;

	for (int i = 0; i < 3; i++) {
		OK(store_memory_open(&env, &inner[i], &why));
		fault_store_init(&fault[i], inner[i]);
		parts[i] = &fault[i].store;
	}
	OK(fanout_new(parts, 3, &out, &why));
	return out;
}

static void close_all(struct store *all)
{
	store_close(all);
	for (int i = 0; i < 3; i++)
		store_close(inner[i]);
}

Test(fanout, puts_and_removals_reach_every_store)
{
	struct store *all = three();
	struct store_object object;
	struct error why;
	char got[4];
	size_t count = 0;

	OK(store_put(all, "a/b", bytes_of("text", 4), &why));
	for (int i = 0; i < 3; i++) {
		OK(store_read(inner[i], "a/b", 0, got, 4, &why));
		cr_assert_eq(memcmp(got, "text", 4), 0);
	}
	OK(store_read(all, "a/b", 1, got, 3, &why));
	cr_assert_eq(memcmp(got, "ext", 3), 0);
	OK(store_stat(all, "a/b", &object, &why));
	cr_assert_eq(object.size, 4);
	OK(store_list(all, "a/", count_key, &count, &why));
	cr_assert_eq(count, 1);
	OK(store_remove(all, "a/b", &why));
	for (int i = 0; i < 3; i++)
		cr_assert_eq(store_stat(inner[i], "a/b", &object, &why), ERR_MISSING);
	close_all(all);
}

Test(fanout, a_failure_of_any_store_is_the_answer)
{
	for (int which = 0; which < 3; which++)
		for (unsigned nth = 1; nth <= 3; nth++) { /* begin, append, commit */
			struct store *all = three();
			struct store_object object;
			struct error why;

			fault[which].mode = FAULT_FAIL;
			fault[which].at = nth;
			fault[which].kind = ERR_FULL;
			cr_assert_eq(store_put(all, "k", bytes_of("x", 1), &why), ERR_FULL);
			cr_assert_eq(why.kind, ERR_FULL);
			/* From the failing one on nothing is visible. */
			for (int i = which; i < 3; i++)
				cr_assert_eq(store_stat(inner[i], "k", &object, &why), ERR_MISSING);
			close_all(all);
		}
}

Test(fanout, an_unsure_or_taken_part_is_not_settled_by_the_first_store)
{
	for (int which = 0; which < 3; which++) {
		struct store *all = three();
		struct error why;

		fault[which].mode = FAULT_LOST;
		fault[which].at = 3;
		cr_assert_eq(store_put(all, "k", bytes_of("x", 1), &why), ERR_TRANSIENT);
		cr_assert_eq(why.kind, ERR_TRANSIENT);
		OK(store_put(inner[2], "taken", bytes_of("y", 1), &why));
		cr_assert_eq(store_put(all, "taken", bytes_of("x", 1), &why), ERR_TRANSIENT);
		close_all(all);
	}
}

Test(fanout, traits_are_those_of_the_weakest)
{
	struct env env = env_os();
	struct store *a, *b, *parts[2], *all;
	struct error why;

	OK(store_memory_open(&env, &a, &why));
	OK(store_memory_open(&env, &b, &why));
	parts[0] = a;
	parts[1] = b;
	a->traits = (struct store_traits){.object_max = 100, .guards_keys = true};
	b->traits = (struct store_traits){.object_max = 50, .guards_keys = false};
	OK(fanout_new(parts, 2, &all, &why));
	cr_assert_eq(all->traits.object_max, 50);
	cr_assert_not(all->traits.guards_keys);
	store_close(all);
	store_close(a);
	store_close(b);
}

Test(fanout, more_stores_than_its_bound_are_refused)
{
	struct env env = env_os();
	struct store *a, *parts[FANOUT_STORES_MAX + 1], *all;
	struct error why;

	OK(store_memory_open(&env, &a, &why));
	for (size_t i = 0; i <= FANOUT_STORES_MAX; i++)
		parts[i] = a;
	cr_assert_eq(fanout_new(parts, FANOUT_STORES_MAX + 1, &all, &why), ERR_LIMIT);
	store_close(a);
}
