/* base/waiter.c - a flag, a mutex and a condition on the monotonic clock. */
#include "base/waiter.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct waiter {
	pthread_mutex_t mutex; /* guards woken */
	pthread_cond_t changed;
	bool woken;
};

enum err waiter_new(struct waiter **out, struct error *why)
{
	struct waiter *w = calloc(1, sizeof(*w));
	pthread_condattr_t attributes;

	if (w == NULL)
		return error_set(why, ERR_MEMORY, "out of memory");
	/* With default attributes and the monotonic clock none of these can fail on Linux. */
	(void)pthread_mutex_init(&w->mutex, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&w->changed, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	*out = w;
	return ERR_NONE;
}

bool waiter_wait(struct waiter *w, int64_t us)
{
	struct timespec until;
	int timed_out = 0;
	bool woken;

	if (us < 0)
		us = 0;
	(void)clock_gettime(CLOCK_MONOTONIC, &until); /* cannot fail for this clock */
	until.tv_sec += us / 1000000;
	until.tv_nsec += us % 1000000 * 1000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	(void)pthread_mutex_lock(&w->mutex);
	while (!w->woken && timed_out == 0)
		timed_out = pthread_cond_timedwait(&w->changed, &w->mutex, &until);
	woken = w->woken;
	(void)pthread_mutex_unlock(&w->mutex);
	return woken;
}

void waiter_wake(struct waiter *w)
{
	(void)pthread_mutex_lock(&w->mutex);
	w->woken = true;
	(void)pthread_cond_broadcast(&w->changed);
	(void)pthread_mutex_unlock(&w->mutex);
}

void waiter_free(struct waiter *w)
{
	if (w == NULL)
		return;
	(void)pthread_cond_destroy(&w->changed);
	(void)pthread_mutex_destroy(&w->mutex);
	free(w);
}
