/* backup/keeper.c - keeps the pins of a running backup alive from a thread of its own.
 *
 * A spread checkpoint can keep the backup's own thread waiting for many minutes; an observer takes
 * an attempt without a new heartbeat for 15 minutes for dead.
 */
#include "backup/backup_internal.h"

#include <stdlib.h>
#include <time.h>

enum { HEARTBEAT_S = 60 };

struct keeper {
	const struct env *env;
	const struct cluster *cluster;
	size_t clusters;
	pthread_t thread;
	pthread_mutex_t mutex; /* guards what follows */
	pthread_cond_t changed;
	bool stop;
	struct pin pin[BACKUP_REPOSITORIES_MAX];
};

/* One heartbeat in every repository; the mutex is held. */
static enum err keeper_beat(struct keeper *k, struct error *why)
{
	for (size_t i = 0; i < k->clusters; i++) {
		enum err e = pin_put(&k->cluster[i], &k->pin[i], why);

		if (e != ERR_NONE)
			return error_add(why, "pin of backup %s", k->pin[i].holder);
	}
	return ERR_NONE;
}

static void *keeper_thread(void *arg)
{
	struct keeper *k = arg;
	struct error why;

	(void)pthread_mutex_lock(&k->mutex); /* default mutex: cannot fail here */
	while (!k->stop) {
		struct timespec until;
		int waited = 0;

		(void)clock_gettime(CLOCK_MONOTONIC, &until); /* only for the condition below */
		until.tv_sec += HEARTBEAT_S;
		while (!k->stop && waited == 0)
			waited = pthread_cond_timedwait(&k->changed, &k->mutex, &until);
		if (k->stop)
			break;
		/* Missing one heartbeat is survived: the next one comes before 15 minutes. */
		if (keeper_beat(k, &why) != ERR_NONE)
			observer_event(k->env->observer, LEVEL_WARNING,
				       "heartbeat not written, trying again in %d s: %s",
				       HEARTBEAT_S, why.text);
	}
	(void)pthread_mutex_unlock(&k->mutex);
	return NULL;
}

enum err keeper_start(const struct env *env, const struct cluster *cluster, size_t clusters,
		      const struct attempt *attempt, struct keeper **out, struct error *why)
{
	struct keeper *k = calloc(1, sizeof(*k));
	pthread_condattr_t attributes;
	enum err e;

	if (k == NULL)
		return error_set(why, ERR_MEMORY, "backup: out of memory");
	k->env = env;
	k->cluster = cluster;
	k->clusters = clusters;
	for (size_t i = 0; i < clusters; i++) {
		k->pin[i].kind = "backup";
		attempt_to_text(attempt, k->pin[i].holder);
	}
	e = keeper_beat(k, why);
	if (e != ERR_NONE) {
		free(k);
		return e;
	}
	(void)pthread_mutex_init(&k->mutex, NULL); /* these four cannot fail on Linux */
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&k->changed, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	if (pthread_create(&k->thread, NULL, keeper_thread, k) != 0) {
		free(k);
		return error_set(why, ERR_LIMIT, "backup: no thread for heartbeats");
	}
	*out = k;
	return ERR_NONE;
}

enum err keeper_set_start(struct keeper *k, struct lsn start, uint32_t timeline, struct error *why)
{
	enum err e;

	(void)pthread_mutex_lock(&k->mutex);
	for (size_t i = 0; i < k->clusters; i++) {
		k->pin[i].start = start;
		k->pin[i].timeline = timeline;
	}
	e = keeper_beat(k, why);
	(void)pthread_mutex_unlock(&k->mutex);
	return e;
}

void keeper_stop(struct keeper *k, bool drop)
{
	struct error why;

	if (k == NULL)
		return;
	(void)pthread_mutex_lock(&k->mutex);
	k->stop = true;
	(void)pthread_cond_signal(&k->changed);
	(void)pthread_mutex_unlock(&k->mutex);
	(void)pthread_join(k->thread, NULL);
	for (size_t i = 0; drop && i < k->clusters; i++)
		if (pin_drop(&k->cluster[i], k->pin[i].holder, &why) != ERR_NONE)
			observer_event(k->env->observer, LEVEL_INFO,
				       "pin left behind, it protects nothing any more: %s",
				       why.text);
	(void)pthread_cond_destroy(&k->changed);
	(void)pthread_mutex_destroy(&k->mutex);
	free(k);
}
