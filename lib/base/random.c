/* base/random.c - the operating system's randomness. */
#include "base/random.h"

#include <errno.h>
#include <stdint.h>
#include <sys/random.h>

static enum err os_fill(struct random *r, void *out, size_t len, struct error *why)
{
	uint8_t *at = out;

	(void)r;
	/* Requests above 256 bytes may be cut short by a signal. */
	while (len > 0) {
		ssize_t got = getrandom(at, len, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return error_set_os(why, ERR_IO, got < 0 ? errno : EIO,
					    "cannot read random bytes");
		at += got;
		len -= (size_t)got;
	}
	return ERR_NONE;
}

static const struct random_ops os_ops = {.fill = os_fill};

static const struct random os_random = {.ops = &os_ops};

struct random *random_os(void)
{
	return (struct random *)&os_random; /* it has no state to change */
}
