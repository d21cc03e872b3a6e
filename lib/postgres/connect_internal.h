/* postgres/connect_internal.h - the pure decisions behind session_open. */
#ifndef POSTGRES_CONNECT_INTERNAL_H
#define POSTGRES_CONNECT_INTERNAL_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* A socket or a loopback address: nobody else is on the wire.  `host` and `hostaddr` are single
 * values and may be NULL; hostaddr decides where both are given, as it does in libpq. */
bool connect_is_local(const char *host, const char *hostaddr);

/* The sslmode to ask for: what is set, except that libpq's own default, "prefer", becomes
 * verify-full towards another machine unless conninfo itself says prefer (`in_conninfo`). */
const char *connect_sslmode(const char *effective, bool in_conninfo, const char *host,
			    const char *hostaddr);

/* Seconds from libpq's text and the caller's wish (0 = none); 0 = no limit. */
unsigned connect_timeout_s(unsigned wish, const char *effective);

/* Element `i` of a comma-separated list (NULL = empty); the last of a shorter list of one. */
enum { CONNECT_ELEMENT_MAX = 512 };
size_t connect_list_len(const char *list);
void connect_list_element(const char *list, size_t i, char out[CONNECT_ELEMENT_MAX]);

/* True when the text could hold a password, so that an error about it must not repeat it. */
bool connect_may_hold_password(const char *conninfo);

#endif
