/* base/secret.c - keeping and wiping key material. */
#include "base/secret.h"

#include <string.h>

enum err secret_set(struct secret *s, struct bytes in, struct error *why)
{
	if (in.len > SECRET_MAX)
		return error_set(why, ERR_LIMIT, "secret too long: %zu bytes, at most %d", in.len,
				 SECRET_MAX);
	/* memmove, because `in` may be a view of `s` itself; then no rest of a longer one stays. */
	if (in.len > 0)
		memmove(s->data, in.data, in.len);
	explicit_bzero(s->data + in.len, SECRET_MAX - in.len);
	s->len = in.len;
	return ERR_NONE;
}

void secret_release(struct secret *s)
{
	explicit_bzero(s, sizeof(*s));
}
