/* base/pipeline.h - work items through parallel workers, delivered in the order of submission.
 *
 * One owner thread takes free items, fills them, submits them.  Worker threads call `work` on
 * items in any order; one deliverer thread calls `deliver` in submission order, after which the
 * item is free again.  The number of items is the bound of everything: the owner blocks in
 * pipeline_take while all are under way.  The first failure of any stage is kept, stops the rest
 * and is what pipeline_take and pipeline_drain answer from then on.  Threads made here take no signals.
 */
#ifndef BASE_PIPELINE_H
#define BASE_PIPELINE_H

#include "base/error.h"

#include <stddef.h>

struct pipeline;

enum { PIPELINE_WORKERS_MAX = 64 };

struct pipeline_config {
	unsigned workers;    /* 1..PIPELINE_WORKERS_MAX */
	unsigned items;      /* how many items exist; >= workers + 2 */
	void **item;         /* `items` pointers made by the caller, borrowed until pipeline_free */
	void **worker_state; /* `workers` pointers, one for each worker; borrowed */
	enum err (*work)(void *worker_state, void *item, struct error *why);
	/* One thread, in order.  NULL: with one worker, which keeps the order, and is all there is to do. */
	enum err (*deliver)(void *ctx, void *item, struct error *why);
	void *ctx;
};

/* Starts the threads. */
enum err pipeline_new(const struct pipeline_config *, struct pipeline **out,
		      struct error *why) MUST_CHECK;
/* The next free item; blocks while there is none. */
enum err pipeline_take(struct pipeline *, void **item, struct error *why) MUST_CHECK;
/* Hands over what pipeline_take gave.  Never blocks. */
void pipeline_submit(struct pipeline *, void *item);
/* Waits until everything submitted was delivered or something failed.  After success more items
 * may be taken. */
enum err pipeline_drain(struct pipeline *, struct error *why) MUST_CHECK;
/* Stops and joins the threads, whatever the state; items not delivered are dropped.  NULL is fine. */
void pipeline_free(struct pipeline *);

/* Runs `count` independent jobs on `workers` threads; each thread takes the next index.  The
 * first failure stops the rest and is returned.  `state[i]` belongs to thread i; `state` may be NULL
 * when the job needs none.  The calling thread is one of the workers. */
enum err parallel_for(unsigned workers, void **state, size_t count,
		      enum err (*job)(void *state, size_t index, struct error *why),
		      struct error *why) MUST_CHECK;

#endif
