/* sim/baton.c - one process at a time: who goes next is drawn before every operation of the store. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

enum { STICKS_OF_100 = 85, CHANGE_ONE_OF = 6, TURN_ONE_OF = 3 };

/* Any process that is not done; not `but`, as long as there is another one. */
static struct actor *draw_uniform(struct world *w, const struct actor *but)
{
	struct actor *alive[SIM_ACTORS_MAX];
	unsigned count = 0;

	for (unsigned i = 0; i < w->actors; i++)
		if (!w->actor[i].done && &w->actor[i] != but)
			alive[count++] = &w->actor[i];
	if (count > 0)
		return alive[sim_below(&w->random, count)];
	return but == NULL || but->done ? NULL : &w->actor[but->index];
}

/* A few changes of priority reach deep orders that even draws hardly ever do. */
static struct actor *draw_priority(struct world *w, struct actor *now, bool weighty)
{
	struct actor *best = NULL;

	if (now != NULL && weighty && w->changes > 0 && sim_below(&w->random, CHANGE_ONE_OF) == 0) {
		now->priority = sim_below(&w->random, 1000);
		w->changes--;
	}
	for (unsigned i = 0; i < w->actors; i++)
		if (!w->actor[i].done && (best == NULL || w->actor[i].priority > best->priority))
			best = &w->actor[i];
	return best;
}

static struct actor *draw(struct world *w, struct actor *now, bool weighty)
{
	switch (w->order) {
	case ORDER_PRIORITY:
		return draw_priority(w, now, weighty);
	case ORDER_STICKY:
		if (now != NULL && !now->done && sim_below(&w->random, 100) < STICKS_OF_100)
			return now;
		break;
	case ORDER_WEIGHTY:
		if (now != NULL && !now->done &&
		    (!weighty || sim_below(&w->random, TURN_ONE_OF) != 0))
			return now;
		return draw_uniform(w, now);
	case ORDER_UNIFORM:
		break;
	}
	return draw_uniform(w, NULL);
}

/* With the mutex held. */
static void hand_over(struct world *w, struct actor *now, bool weighty)
{
	struct actor *next = draw(w, now, weighty);

	w->running = next == NULL ? -1 : (int)next->index;
	(void)pthread_cond_signal(next == NULL ? &w->over : &next->turn);
}

void baton_step(struct actor *a, bool weighty)
{
	struct world *w = a->world;

	if (!w->started || a == &w->observer)
		return;
	(void)pthread_mutex_lock(&w->mutex);
	w->steps++;
	hand_over(w, a, weighty);
	while (w->running != (int)a->index)
		(void)pthread_cond_wait(&a->turn, &w->mutex);
	(void)pthread_mutex_unlock(&w->mutex);
}

static void *actor_thread(void *arg)
{
	struct actor *a = arg;
	struct world *w = a->world;

	(void)pthread_mutex_lock(&w->mutex);
	while (w->running != (int)a->index)
		(void)pthread_cond_wait(&a->turn, &w->mutex);
	(void)pthread_mutex_unlock(&w->mutex);
	a->run(a);
	(void)pthread_mutex_lock(&w->mutex);
	a->done = true;
	hand_over(w, a, true);
	(void)pthread_mutex_unlock(&w->mutex);
	return NULL;
}

void baton_run(struct world *w)
{
	w->running = -1;
	w->started = true;
	for (unsigned i = 0; i < w->actors; i++)
		if (pthread_create(&w->actor[i].thread, NULL, actor_thread, &w->actor[i]) != 0) {
			perror("pthread_create");
			abort();
		}
	(void)pthread_mutex_lock(&w->mutex);
	hand_over(w, NULL, true);
	while (w->running != -1)
		(void)pthread_cond_wait(&w->over, &w->mutex);
	(void)pthread_mutex_unlock(&w->mutex);
	for (unsigned i = 0; i < w->actors; i++)
		(void)pthread_join(w->actor[i].thread, NULL);
	w->started = false;
}
