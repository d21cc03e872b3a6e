/* Facts about waiting for another thread. */
#include "base/waiter.h"

#include <criterion/criterion.h>
#include <pthread.h>

static struct waiter *make(void)
{
	struct waiter *w = NULL;
	struct error why;

	cr_assert_eq(waiter_new(&w, &why), ERR_NONE);
	return w;
}

Test(waiter, times_out_when_nobody_wakes_it)
{
	struct waiter *w = make();

	cr_assert(!waiter_wait(w, 1000));
	cr_assert(!waiter_wait(w, 0));
	cr_assert(!waiter_wait(w, -5));
	waiter_free(w);
}

Test(waiter, once_woken_stays_so)
{
	struct waiter *w = make();

	waiter_wake(w);
	cr_assert(waiter_wait(w, 0));
	cr_assert(waiter_wait(w, INT64_C(3600) * 1000000));
	waiter_free(w);
}

static void *wake(void *w)
{
	waiter_wake(w);
	return NULL;
}

Test(waiter, ends_as_soon_as_another_thread_wakes_it, .timeout = 60)
{
	struct waiter *w = make();
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, wake, w), 0);
	cr_assert(waiter_wait(w, INT64_C(3600) * 1000000));
	(void)pthread_join(thread, NULL);
	waiter_free(w);
}

Test(waiter, nothing_may_be_freed)
{
	waiter_free(NULL);
}
