#include "base/pipeline.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

/* Threads under load are examined by tests/thread/pipeline.c; here is what one can see alone. */
enum { ITEMS = 6, WORKERS = 4, MANY = 5000 };

struct item {
	unsigned number;
	unsigned result;
};

struct run {
	struct item item[ITEMS];
	void *pointer[ITEMS];
	void *state[WORKERS];
	unsigned expected; /* next number to be delivered */
	unsigned fail_work;
	unsigned fail_deliver;
};

static enum err work(void *state, void *arg, struct error *why)
{
	const struct run *run = state;
	struct item *item = arg;

	if (item->number == run->fail_work)
		return error_set(why, ERR_CORRUPT, "work on %u", item->number);
	item->result = item->number * 3;
	return ERR_NONE;
}

static enum err deliver(void *ctx, void *arg, struct error *why)
{
	struct run *run = ctx;
	const struct item *item = arg;

	if (item->number == run->fail_deliver)
		return error_set(why, ERR_FULL, "delivery of %u", item->number);
	if (item->number != run->expected || item->result != item->number * 3)
		return error_set(why, ERR_IO, "out of order: %u", item->number);
	run->expected++;
	return ERR_NONE;
}

static struct pipeline *start(struct run *run)
{
	struct pipeline_config config = {.workers = WORKERS,
					 .items = ITEMS,
					 .item = run->pointer,
					 .worker_state = run->state,
					 .work = work,
					 .deliver = deliver,
					 .ctx = run};
	struct pipeline *p = NULL;

	*run = (struct run){.fail_work = UINT32_MAX, .fail_deliver = UINT32_MAX};
	for (int i = 0; i < ITEMS; i++)
		run->pointer[i] = &run->item[i];
	for (int i = 0; i < WORKERS; i++)
		run->state[i] = run;
	cr_assert_eq(pipeline_new(&config, &p, NULL), ERR_NONE);
	return p;
}

/* Feeds numbers until something fails or all are in. */
static enum err feed(struct pipeline *p, unsigned from, unsigned count, struct error *why)
{
	for (unsigned i = from; i < from + count; i++) {
		void *item;
		enum err err = pipeline_take(p, &item, why);

		if (err != ERR_NONE)
			return err;
		((struct item *)item)->number = i;
		pipeline_submit(p, item);
	}
	return pipeline_drain(p, why);
}

Test(pipeline, delivers_everything_in_order_and_goes_on_after_a_drain)
{
	struct run run;
	struct pipeline *p = start(&run);

	cr_assert_eq(feed(p, 0, MANY, NULL), ERR_NONE);
	cr_assert_eq(run.expected, MANY);
	cr_assert_eq(feed(p, MANY, MANY, NULL), ERR_NONE);
	cr_assert_eq(run.expected, 2 * MANY);
	pipeline_free(p);
}

Test(pipeline, a_failure_of_work_is_told_and_stops_delivery_before_it)
{
	struct run run;
	struct pipeline *p = start(&run);
	struct error why = {0};
	void *item;

	run.fail_work = 1000;
	cr_assert_eq(feed(p, 0, MANY, &why), ERR_CORRUPT);
	cr_assert_str_eq(why.text, "work on 1000");
	/* And from then on. */
	cr_assert_eq(pipeline_take(p, &item, &why), ERR_CORRUPT);
	cr_assert_eq(pipeline_drain(p, &why), ERR_CORRUPT);
	pipeline_free(p);
	cr_assert_leq(run.expected, 1000);
}

Test(pipeline, a_failure_of_delivery_is_told_and_nothing_follows_it)
{
	struct run run;
	struct pipeline *p = start(&run);
	struct error why = {0};

	run.fail_deliver = 777;
	cr_assert_eq(feed(p, 0, MANY, &why), ERR_FULL);
	cr_assert_str_eq(why.text, "delivery of 777");
	pipeline_free(p);
	cr_assert_eq(run.expected, 777);
}

/* Work is all there is to do: in order, and what failed is told. */
static enum err work_in_order(void *state, void *arg, struct error *why)
{
	enum err e = work(state, arg, why);

	return e == ERR_NONE ? deliver(state, arg, why) : e;
}

Test(pipeline, one_worker_without_a_deliverer_keeps_the_order)
{
	struct run run;
	void *pointer[3] = {&run.item[0], &run.item[1], &run.item[2]}, *state[1] = {&run};
	struct pipeline_config config = {.workers = 1,
					 .items = 3,
					 .item = pointer,
					 .worker_state = state,
					 .work = work_in_order};
	struct pipeline *p = NULL;
	struct error why = {0};

	run = (struct run){.fail_work = MANY + 500, .fail_deliver = UINT32_MAX};
	cr_assert_eq(pipeline_new(&config, &p, NULL), ERR_NONE);
	cr_assert_eq(feed(p, 0, MANY, NULL), ERR_NONE);
	cr_assert_eq(run.expected, MANY);
	cr_assert_eq(feed(p, MANY, MANY, &why), ERR_CORRUPT);
	cr_assert_eq(run.expected, MANY + 500);
	pipeline_free(p);
}

Test(pipeline, may_be_freed_unused_with_items_taken_or_under_way)
{
	struct run run;
	struct pipeline *p = start(&run);
	void *item;

	pipeline_free(p);
	pipeline_free(NULL);
	p = start(&run);
	cr_assert_eq(pipeline_take(p, &item, NULL), ERR_NONE);
	pipeline_free(p);
	p = start(&run);
	for (unsigned i = 0; i < ITEMS; i++) {
		cr_assert_eq(pipeline_take(p, &item, NULL), ERR_NONE);
		((struct item *)item)->number = i;
		pipeline_submit(p, item);
	}
	pipeline_free(p);
}

static enum err ask_mask(void *state, void *item, struct error *why)
{
	sigset_t mask;

	(void)item;
	(void)why;
	(void)pthread_sigmask(SIG_SETMASK, NULL, &mask);
	*(int *)state = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGINT);
	return ERR_NONE;
}

static enum err deliver_nothing(void *ctx, void *item, struct error *why)
{
	(void)ctx;
	(void)item;
	(void)why;
	return ERR_NONE;
}

Test(pipeline, its_threads_take_no_signals_and_its_owner_still_does)
{
	int blocked = 0;
	int number = 0;
	void *items[3] = {&number, &number, &number};
	void *state = &blocked;
	struct pipeline_config config = {.workers = 1,
					 .items = 3,
					 .item = items,
					 .worker_state = &state,
					 .work = ask_mask,
					 .deliver = deliver_nothing};
	struct pipeline *p;
	sigset_t mask;
	void *item;

	cr_assert_eq(pipeline_new(&config, &p, NULL), ERR_NONE);
	cr_assert_eq(pipeline_take(p, &item, NULL), ERR_NONE);
	pipeline_submit(p, item);
	cr_assert_eq(pipeline_drain(p, NULL), ERR_NONE);
	pipeline_free(p);
	cr_assert_eq(blocked, 1);
	(void)pthread_sigmask(SIG_SETMASK, NULL, &mask);
	cr_assert_eq(sigismember(&mask, SIGTERM), 0);
}

static enum err count_job(void *state, size_t index, struct error *why)
{
	atomic_uint *done = state;

	if (index == 700 && done[700] == 99)
		return error_set(why, ERR_MISSING, "job %zu", index);
	atomic_fetch_add(&done[index], 1);
	return ERR_NONE;
}

Test(parallel_for, runs_each_index_once)
{
	static atomic_uint done[1000];
	void *state[3] = {done, done, done};

	cr_assert_eq(parallel_for(3, state, 1000, count_job, NULL), ERR_NONE);
	for (int i = 0; i < 1000; i++)
		cr_assert_eq(done[i], 1, "index %d", i);
	cr_assert_eq(parallel_for(3, state, 0, count_job, NULL), ERR_NONE);
}

Test(parallel_for, the_first_failure_stops_the_rest)
{
	static atomic_uint done[100000];
	void *state[2] = {done, done};
	struct error why = {0};
	unsigned sum = 0;

	done[700] = 99;
	cr_assert_eq(parallel_for(1, state, 100000, count_job, &why), ERR_MISSING);
	cr_assert_str_eq(why.text, "job 700");
	for (int i = 0; i < 100000; i++)
		sum += done[i];
	cr_assert_eq(sum, 700 + 99);
	cr_assert_eq(parallel_for(2, state, 100000, count_job, &why), ERR_MISSING);
}

static enum err stateless_job(void *state, size_t index, struct error *why)
{
	return state == NULL ? ERR_NONE : error_set(why, ERR_IO, "state at %zu", index);
}

Test(parallel_for, needs_no_state)
{
	cr_assert_eq(parallel_for(8, NULL, 5, stateless_job, NULL), ERR_NONE);
}
