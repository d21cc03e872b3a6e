/* base/pipeline.c - a ring of items between one owner, many workers and one deliverer.
 *
 * Places of the ring are numbered without end; place n lies at n % items.  Three counters run over
 * it, never passing each other: delivered <= begun <= submitted.  As there are no more items than
 * places, a place is free whenever an item for it exists.
 */
#include "base/pipeline.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct place {
	void *item;
	bool done; /* by a worker; waits for its turn to be delivered */
};

struct worker {
	struct pipeline *pipeline;
	void *state;
	pthread_t thread;
};

struct pipeline {
	struct pipeline_config config;
	pthread_mutex_t lock;     /* over all that follows */
	pthread_cond_t submitted; /* for workers: something to begin, or stop */
	pthread_cond_t done;      /* for the deliverer: the next place is done, or stop */
	pthread_cond_t delivered; /* for the owner: an item is free, or something failed */
	struct place *ring;
	uint64_t submitted_count;
	uint64_t begun_count;
	uint64_t delivered_count;
	void **idle; /* items that are free; a stack, so that the warmest one is used first */
	unsigned idle_count;
	bool stop; /* failed, or being freed */
	enum err failed;
	struct error why; /* of the first failure */

	pthread_t deliverer;
	bool has_deliverer;
	unsigned threads; /* workers that were started */
	struct worker *worker;
};

/* With the lock held. */
static void stop_all(struct pipeline *p)
{
	p->stop = true;
	(void)pthread_cond_broadcast(&p->submitted); /* these never fail on Linux */
	(void)pthread_cond_broadcast(&p->done);
	(void)pthread_cond_broadcast(&p->delivered);
}

/* With the lock held.  The first failure is the one that is told. */
static void keep_failure(struct pipeline *p, enum err err, const struct error *why)
{
	if (p->failed == ERR_NONE) {
		p->failed = err;
		p->why = *why;
	}
	stop_all(p);
}

/* With the lock held. */
static void set_free(struct pipeline *p, const struct place *place)
{
	p->idle[p->idle_count++] = place->item;
	p->delivered_count++;
	(void)pthread_cond_signal(&p->delivered);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct pipeline *p = w->pipeline;

	(void)pthread_mutex_lock(&p->lock);
	for (;;) {
		struct error why = {0};
		struct place *place;
		uint64_t number;
		enum err err;

		while (!p->stop && p->begun_count == p->submitted_count)
			(void)pthread_cond_wait(&p->submitted, &p->lock);
		if (p->stop)
			break;
		number = p->begun_count++;
		place = &p->ring[number % p->config.items];
		(void)pthread_mutex_unlock(&p->lock);

		err = p->config.work(w->state, place->item, &why);

		(void)pthread_mutex_lock(&p->lock);
		if (err != ERR_NONE) {
			keep_failure(p, err, &why);
			break;
		}
		if (p->config.deliver == NULL) {
			set_free(p, place);
			continue;
		}
		place->done = true;
		if (number == p->delivered_count)
			(void)pthread_cond_signal(&p->done);
	}
	(void)pthread_mutex_unlock(&p->lock);
	return NULL;
}

static void *deliverer_main(void *arg)
{
	struct pipeline *p = arg;

	(void)pthread_mutex_lock(&p->lock);
	for (;;) {
		struct place *place = &p->ring[p->delivered_count % p->config.items];
		struct error why = {0};
		enum err err;

		while (!p->stop && !place->done)
			(void)pthread_cond_wait(&p->done, &p->lock);
		if (p->stop)
			break;
		(void)pthread_mutex_unlock(&p->lock);

		err = p->config.deliver(p->config.ctx, place->item, &why);

		(void)pthread_mutex_lock(&p->lock);
		if (err != ERR_NONE) {
			keep_failure(p, err, &why);
			break;
		}
		place->done = false;
		set_free(p, place);
	}
	(void)pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Signals belong to the thread that waits for them: the program's first. */
static int thread_start(pthread_t *thread, void *(*start)(void *), void *arg)
{
	sigset_t all, before;
	int failed;

	(void)sigfillset(&all); /* cannot fail with a valid pointer, nor can the mask below */
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = pthread_create(thread, NULL, start, arg);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return failed;
}

static enum err threads_start(struct pipeline *p, struct error *why)
{
	int failed = 0;

	if (p->config.deliver != NULL) {
		failed = thread_start(&p->deliverer, deliverer_main, p);
		p->has_deliverer = failed == 0;
	}
	while (failed == 0 && p->threads < p->config.workers) {
		struct worker *w = &p->worker[p->threads];

		*w = (struct worker){.pipeline = p, .state = p->config.worker_state[p->threads]};
		failed = thread_start(&w->thread, worker_main, w);
		if (failed == 0)
			p->threads++;
	}
	if (failed != 0)
		return error_set_os(why, ERR_LIMIT, failed, "cannot start thread %u of %u",
				    p->threads + 1, p->config.workers);
	return ERR_NONE;
}

enum err pipeline_new(const struct pipeline_config *config, struct pipeline **out,
		      struct error *why)
{
	struct pipeline *p;
	enum err err;

	assert(config->workers >= 1 && config->workers <= PIPELINE_WORKERS_MAX);
	assert(config->items >= config->workers + 2);
	assert(config->deliver != NULL || config->workers == 1);
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return error_set(why, ERR_MEMORY, "cannot make a pipeline");
	p->config = *config;
	(void)pthread_mutex_init(&p->lock, NULL); /* these never fail on Linux */
	(void)pthread_cond_init(&p->submitted, NULL);
	(void)pthread_cond_init(&p->done, NULL);
	(void)pthread_cond_init(&p->delivered, NULL);
	p->ring = calloc(config->items, sizeof(*p->ring));
	p->idle = calloc(config->items, sizeof(*p->idle));
	p->worker = calloc(config->workers, sizeof(*p->worker));
	if (p->ring == NULL || p->idle == NULL || p->worker == NULL) {
		err = error_set(why, ERR_MEMORY, "cannot make a pipeline of %u items",
				config->items);
	} else {
		memcpy(p->idle, config->item, config->items * sizeof(*p->idle));
		p->idle_count = config->items;
		err = threads_start(p, why);
	}
	if (err != ERR_NONE) {
		pipeline_free(p);
		return err;
	}
	*out = p;
	return ERR_NONE;
}

/* With the lock held. */
static enum err answer(struct pipeline *p, struct error *why)
{
	if (p->failed != ERR_NONE && why != NULL)
		*why = p->why;
	return p->failed;
}

enum err pipeline_take(struct pipeline *p, void **item, struct error *why)
{
	enum err err;

	(void)pthread_mutex_lock(&p->lock);
	while (p->failed == ERR_NONE && p->idle_count == 0)
		(void)pthread_cond_wait(&p->delivered, &p->lock);
	err = answer(p, why);
	if (err == ERR_NONE)
		*item = p->idle[--p->idle_count];
	(void)pthread_mutex_unlock(&p->lock);
	return err;
}

void pipeline_submit(struct pipeline *p, void *item)
{
	struct place *place;

	(void)pthread_mutex_lock(&p->lock);
	assert(p->submitted_count - p->delivered_count < p->config.items);
	place = &p->ring[p->submitted_count % p->config.items];
	place->item = item;
	p->submitted_count++;
	(void)pthread_cond_signal(&p->submitted);
	(void)pthread_mutex_unlock(&p->lock);
}

enum err pipeline_drain(struct pipeline *p, struct error *why)
{
	enum err err;

	(void)pthread_mutex_lock(&p->lock);
	while (p->failed == ERR_NONE && p->delivered_count != p->submitted_count)
		(void)pthread_cond_wait(&p->delivered, &p->lock);
	err = answer(p, why);
	(void)pthread_mutex_unlock(&p->lock);
	return err;
}

void pipeline_free(struct pipeline *p)
{
	if (p == NULL)
		return;
	(void)pthread_mutex_lock(&p->lock);
	stop_all(p);
	(void)pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->threads; i++)
		(void)pthread_join(p->worker[i].thread, NULL); /* ours, and joined once */
	if (p->has_deliverer)
		(void)pthread_join(p->deliverer, NULL); /* as above */
	(void)pthread_cond_destroy(&p->delivered);      /* nobody waits any more */
	(void)pthread_cond_destroy(&p->done);
	(void)pthread_cond_destroy(&p->submitted);
	(void)pthread_mutex_destroy(&p->lock);
	free(p->worker);
	free(p->idle);
	free(p->ring);
	free(p);
}

struct loop {
	pthread_mutex_t lock;
	size_t next;
	size_t count;
	enum err (*job)(void *state, size_t index, struct error *why);
	enum err failed;
	struct error why;
};

struct loop_worker {
	struct loop *loop;
	void *state;
	pthread_t thread;
};

static void *loop_main(void *arg)
{
	struct loop_worker *w = arg;
	struct loop *loop = w->loop;

	(void)pthread_mutex_lock(&loop->lock);
	while (loop->failed == ERR_NONE && loop->next < loop->count) {
		size_t index = loop->next++;
		struct error why = {0};
		enum err err;

		(void)pthread_mutex_unlock(&loop->lock);
		err = loop->job(w->state, index, &why);
		(void)pthread_mutex_lock(&loop->lock);
		if (err != ERR_NONE && loop->failed == ERR_NONE) {
			loop->failed = err;
			loop->why = why;
		}
	}
	(void)pthread_mutex_unlock(&loop->lock);
	return NULL;
}

enum err parallel_for(unsigned workers, void **state, size_t count,
		      enum err (*job)(void *state, size_t index, struct error *why),
		      struct error *why)
{
	struct loop loop = {.count = count, .job = job};
	struct loop_worker worker[PIPELINE_WORKERS_MAX];
	unsigned started = 1;

	assert(workers >= 1 && workers <= PIPELINE_WORKERS_MAX);
	(void)pthread_mutex_init(&loop.lock, NULL); /* never fails on Linux */
	for (unsigned i = 0; i < workers; i++)
		worker[i] = (struct loop_worker){.loop = &loop,
						 .state = state == NULL ? NULL : state[i]};
	/* The calling thread is number 0.  More threads than jobs would only look on. */
	while (started < workers && started < count) {
		int failed = thread_start(&worker[started].thread, loop_main, &worker[started]);

		if (failed != 0) {
			(void)pthread_mutex_lock(&loop.lock);
			if (loop.failed == ERR_NONE)
				loop.failed = error_set_os(&loop.why, ERR_LIMIT, failed,
							   "cannot start thread %u of %u",
							   started + 1, workers);
			(void)pthread_mutex_unlock(&loop.lock);
			break;
		}
		started++;
	}
	(void)loop_main(&worker[0]); /* its answer is in `loop` */
	for (unsigned i = 1; i < started; i++)
		(void)pthread_join(worker[i].thread, NULL); /* ours, and joined once */
	(void)pthread_mutex_destroy(&loop.lock);            /* nobody holds it any more */
	if (loop.failed != ERR_NONE && why != NULL)
		*why = loop.why;
	return loop.failed;
}
