/* repo/keeper.c - heartbeats: pins/<holder>/<n>, then <n + 1>, one a minute. */
#include "repo/keeper.h"
#include "base/waiter.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct keeper {
	const struct env *env;
	const struct cluster *cluster;
	size_t clusters;
	pthread_t thread;
	struct waiter *stop;
	pthread_mutex_t mutex; /* guards pin */
	struct pin pin[KEEPER_CLUSTERS_MAX];
};

/* One repository that does not answer must not let the pins in the others die.  *failed counts them. */
static enum err keeper_beat(struct keeper *k, size_t *failed, struct error *why)
{
	struct error first = {.kind = ERR_NONE};

	*failed = 0;
	(void)pthread_mutex_lock(&k->mutex); /* default mutex: cannot fail here */
	for (size_t i = 0; i < k->clusters; i++) {
		if (pin_put(&k->cluster[i], &k->pin[i], why) == ERR_NONE)
			continue;
		if ((*failed)++ == 0)
			first = *why;
	}
	(void)pthread_mutex_unlock(&k->mutex);
	if (first.kind == ERR_NONE)
		return ERR_NONE;
	*why = first;
	return error_add(why, "pin of %s", k->pin[0].holder);
}

/* The first pins.  A writer needs all of them; a reader goes on with those it has: what it reads may
 * be there, and without any it would be worse off. */
static enum err keeper_begin(struct keeper *k, struct error *why)
{
	size_t failed;
	enum err e = keeper_beat(k, &failed, why);

	if (e == ERR_NONE || strcmp(k->pin[0].kind, "backup") == 0 || failed == k->clusters)
		return e;
	observer_event(k->env->observer, LEVEL_WARNING,
		       "%zu of %zu repositories took no pin: nothing keeps an expire there from "
		       "removing what is read: %s",
		       failed, k->clusters, why->text);
	return ERR_NONE;
}

static void *keeper_thread(void *arg)
{
	struct keeper *k = arg;
	struct error why;
	size_t failed;

	while (!waiter_wait(k->stop, KEEPER_HEARTBEAT_US)) {
		/* Missing one is survived: 14 more come before anybody takes us for dead. */
		if (keeper_beat(k, &failed, &why) != ERR_NONE)
			observer_event(k->env->observer, LEVEL_WARNING,
				       "heartbeat not written, trying again in a minute: %s",
				       why.text);
	}
	return NULL;
}

static void keeper_drop(struct keeper *k)
{
	struct error why;

	for (size_t i = 0; i < k->clusters; i++)
		if (pin_drop(&k->cluster[i], k->pin[i].holder, &why) != ERR_NONE)
			observer_event(k->env->observer, LEVEL_INFO,
				       "pin left behind, it protects nothing any more: %s",
				       why.text);
}

static void keeper_free(struct keeper *k)
{
	waiter_free(k->stop);
	(void)pthread_mutex_destroy(&k->mutex);
	free(k);
}

enum err keeper_start(const struct env *env, const struct cluster *cluster, size_t clusters,
		      const struct pin *pin, struct keeper **out, struct error *why)
{
	struct keeper *k = calloc(1, sizeof(*k));
	enum err e;

	assert(clusters <= KEEPER_CLUSTERS_MAX);
	if (k == NULL)
		return error_set(why, ERR_MEMORY, "pin of %s: out of memory", pin->holder);
	k->env = env;
	k->cluster = cluster;
	k->clusters = clusters;
	(void)pthread_mutex_init(&k->mutex, NULL); /* cannot fail on Linux */
	for (size_t i = 0; i < clusters; i++)
		k->pin[i] = *pin;
	e = waiter_new(&k->stop, why);
	if (e == ERR_NONE)
		e = keeper_begin(k, why);
	if (e == ERR_NONE && pthread_create(&k->thread, NULL, keeper_thread, k) != 0)
		e = error_set(why, ERR_LIMIT, "pin of %s: no thread for heartbeats", pin->holder);
	if (e != ERR_NONE) {
		keeper_drop(k);
		keeper_free(k);
		return e;
	}
	*out = k;
	return ERR_NONE;
}

enum err keeper_set_start(struct keeper *k, struct lsn start, uint32_t timeline, struct error *why)
{
	size_t failed;

	(void)pthread_mutex_lock(&k->mutex);
	for (size_t i = 0; i < k->clusters; i++) {
		k->pin[i].start = start;
		k->pin[i].timeline = timeline;
	}
	(void)pthread_mutex_unlock(&k->mutex);
	return keeper_beat(k, &failed, why);
}

enum err keeper_set_backup(struct keeper *k, const struct attempt *backup, struct error *why)
{
	size_t failed;

	(void)pthread_mutex_lock(&k->mutex);
	for (size_t i = 0; i < k->clusters; i++) {
		k->pin[i].has_backup = true;
		k->pin[i].backup = *backup;
	}
	(void)pthread_mutex_unlock(&k->mutex);
	return keeper_beat(k, &failed, why);
}

void keeper_stop(struct keeper *k, bool drop)
{
	if (k == NULL)
		return;
	waiter_wake(k->stop);
	(void)pthread_join(k->thread, NULL);
	if (drop)
		keeper_drop(k);
	keeper_free(k);
}

void keeper_rest(struct keeper *k)
{
	struct error why;
	size_t failed;

	if (k == NULL)
		return;
	(void)pthread_mutex_lock(&k->mutex);
	for (size_t i = 0; i < k->clusters; i++)
		k->pin[i].has_backup = false;
	(void)pthread_mutex_unlock(&k->mutex);
	if (keeper_beat(k, &failed, &why) != ERR_NONE)
		observer_event(k->env->observer, LEVEL_WARNING,
			       "the pin that is left behind still names a backup: %s", why.text);
	keeper_stop(k, false);
}

void keeper_leave(struct keeper *k)
{
	struct error why;
	size_t failed;

	if (k == NULL)
		return;
	(void)pthread_mutex_lock(&k->mutex);
	for (size_t i = 0; i < k->clusters; i++)
		k->pin[i].kind = "recovery";
	(void)pthread_mutex_unlock(&k->mutex);
	if (keeper_beat(k, &failed, &why) != ERR_NONE)
		observer_event(k->env->observer, LEVEL_WARNING,
			       "in %zu of %zu repositories no pin is left to the recovery, it ends "
			       "with this process: %s",
			       failed, k->clusters, why.text);
	keeper_stop(k, false);
}
