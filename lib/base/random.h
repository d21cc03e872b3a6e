/* base/random.h - randomness as something that is passed in.
 *
 * Keys and salts need the operating system's; a simulation passes a seeded one.
 */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include "base/error.h"

#include <stddef.h>

struct random;

struct random_ops {
	enum err (*fill)(struct random *, void *out, size_t len, struct error *why);
};

struct random {
	const struct random_ops *ops;
};

/* getrandom(2); static, any thread. */
struct random *random_os(void);

static inline MUST_CHECK enum err random_fill(struct random *r, void *out, size_t len,
					      struct error *why)
{
	return r->ops->fill(r, out, len, why);
}

#endif
