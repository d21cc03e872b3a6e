/* crypto/failure.c - from OpenSSL's error queue to `struct error`. */
#include "crypto/crypto_internal.h"

#include <openssl/err.h>

enum err crypto_failed_at(struct error *why, const char *file, int line, const char *what)
{
	/* The newest entry: older ones may be left over from another library of this thread, such
	 * as libpq's TLS, that did not empty the queue. */
	unsigned long code = ERR_peek_last_error();
	enum err kind = ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE ? ERR_MEMORY : ERR_IO;
	char reason[256] = "no reason given";

	if (code != 0)
		ERR_error_string_n(code, reason, sizeof(reason));
	ERR_clear_error();
	return error_set_at(why, kind, 0, file, line, "%s: OpenSSL: %s", what, reason);
}
