/* tests/thread/pipeline.c - the pipeline under load, as a plain program, since Criterion does not
 * start under the thread sanitizer.  Prints what it checked; exits 1 when something is not so.
 */
#include "base/pipeline.h"
#include "base/crc32c.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORKERS = 8, ITEMS = 24, ROUNDS = 20000, PAGE = 512 };

#define NEVER UINT64_MAX

struct item {
	uint64_t number;
	uint32_t crc;
	uint8_t page[PAGE];
};

struct run {
	void *item[ITEMS];
	void *state[WORKERS];
	struct worker {
		struct run *run;
		uint64_t handled; /* touched by this worker only, until the end */
	} worker[WORKERS];
	uint64_t delivered;
	uint64_t fail_work;
	uint64_t fail_deliver;
};

static void fill(struct item *item, uint64_t number)
{
	item->number = number;
	for (size_t i = 0; i < PAGE; i++)
		item->page[i] = (uint8_t)(number * 31 + i);
}

static enum err work(void *state, void *arg, struct error *why)
{
	struct worker *w = state;
	struct item *item = arg;

	if (item->number == w->run->fail_work)
		return error_set(why, ERR_CORRUPT, "work");
	item->crc = crc32c(bytes_of(item->page, PAGE));
	w->handled++;
	return ERR_NONE;
}

static enum err deliver(void *ctx, void *arg, struct error *why)
{
	struct run *run = ctx;
	struct item *item = arg;
	struct item again;

	if (item->number == run->fail_deliver)
		return error_set(why, ERR_FULL, "deliver");
	fill(&again, item->number);
	if (item->number != run->delivered || item->crc != crc32c(bytes_of(again.page, PAGE)))
		return error_set(why, ERR_IO, "not in order, or not whole");
	run->delivered++;
	return ERR_NONE;
}

static enum err feed(struct pipeline *p, struct error *why)
{
	for (uint64_t i = 0; i < ROUNDS; i++) {
		void *item;
		enum err err = pipeline_take(p, &item, why);

		if (err != ERR_NONE)
			return err;
		fill(item, i);
		pipeline_submit(p, item);
	}
	return pipeline_drain(p, why);
}

static int failures;

static void check(int good, const char *what)
{
	(void)printf("%s: %s\n", good ? "ok" : "NOT OK", what);
	failures += !good;
}

/* All that is done, by one worker. */
static enum err work_and_deliver(void *state, void *arg, struct error *why)
{
	struct worker *w = state;
	enum err err = work(state, arg, why);

	return err == ERR_NONE ? deliver(w->run, arg, why) : err;
}

static enum err run_once(struct run *run, bool alone, uint64_t fail_work, uint64_t fail_deliver)
{
	struct pipeline_config config = {.workers = alone ? 1 : WORKERS,
					 .items = ITEMS,
					 .item = run->item,
					 .worker_state = run->state,
					 .work = alone ? work_and_deliver : work,
					 .deliver = alone ? NULL : deliver,
					 .ctx = run};
	struct pipeline *p;
	struct error why;
	enum err err;

	run->delivered = 0;
	run->fail_work = fail_work;
	run->fail_deliver = fail_deliver;
	for (unsigned i = 0; i < WORKERS; i++) {
		run->worker[i] = (struct worker){.run = run};
		run->state[i] = &run->worker[i];
	}
	err = pipeline_new(&config, &p, &why);
	if (err != ERR_NONE)
		return err;
	err = feed(p, &why);
	pipeline_free(p);
	return err;
}

static enum err job(void *state, size_t index, struct error *why)
{
	uint64_t *sum = state;

	if (index == SIZE_MAX)
		return error_set(why, ERR_IO, "beyond");
	*sum += index;
	return ERR_NONE;
}

int main(void)
{
	static struct run run;
	uint64_t sum[WORKERS] = {0};
	uint64_t handled = 0;
	void *state[WORKERS];
	enum err err;

	for (unsigned i = 0; i < ITEMS; i++) {
		run.item[i] = calloc(1, sizeof(struct item));
		if (run.item[i] == NULL)
			return 1;
	}
	err = run_once(&run, false, NEVER, NEVER);
	for (unsigned i = 0; i < WORKERS; i++)
		handled += run.worker[i].handled;
	check(err == ERR_NONE && run.delivered == ROUNDS, "everything is delivered in order");
	check(handled == ROUNDS, "each item is worked on once");
	check(run_once(&run, false, 5000, NEVER) == ERR_CORRUPT && run.delivered <= 5000,
	      "a failure of work ends the run before its item is delivered");
	check(run_once(&run, false, NEVER, 5000) == ERR_FULL && run.delivered == 5000,
	      "a failure of delivery ends the run there");
	err = run_once(&run, false, 5000, 4990);
	check((err == ERR_FULL || err == ERR_CORRUPT) && run.delivered <= 4990,
	      "of two failures one is told");
	for (unsigned i = 0; i < 200; i++)
		(void)run_once(&run, false, i % 40,
			       NEVER); /* ends among the first items, in any state */
	check(run.delivered <= 39, "a pipeline can be freed while its items are under way");

	err = run_once(&run, true, NEVER, NEVER);
	check(err == ERR_NONE && run.delivered == ROUNDS, "one worker alone keeps the order");
	check(run_once(&run, true, 5000, NEVER) == ERR_CORRUPT && run.delivered == 5000,
	      "and its failure ends the run there");
	for (unsigned i = 0; i < 200; i++)
		(void)run_once(&run, true, i % 40, NEVER);
	check(run.delivered == 39, "and it can be freed, too");

	for (unsigned i = 0; i < WORKERS; i++)
		state[i] = &sum[i];
	err = parallel_for(WORKERS, state, ROUNDS, job, NULL);
	for (unsigned i = 1; i < WORKERS; i++)
		sum[0] += sum[i];
	check(err == ERR_NONE && sum[0] == (uint64_t)ROUNDS * (ROUNDS - 1) / 2,
	      "parallel_for runs each index once");
	for (unsigned i = 0; i < ITEMS; i++)
		free(run.item[i]);
	return failures > 0;
}
