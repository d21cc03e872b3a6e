/* base/waiter.h - lets one thread wait for another to wake it, for a bounded time. */
#ifndef BASE_WAITER_H
#define BASE_WAITER_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct waiter;

enum err waiter_new(struct waiter **out, struct error *why) MUST_CHECK;
/* True when somebody woke it, now or before; false when `us` microseconds passed.  Once woken it
 * stays so. */
bool waiter_wait(struct waiter *, int64_t us);
void waiter_wake(struct waiter *); /* any thread */
void waiter_free(struct waiter *); /* nobody may be waiting; NULL is fine */

#endif
