/* crypto/crypto_internal.h - what the files of this room share: OpenSSL's failures, translated. */
#ifndef CRYPTO_CRYPTO_INTERNAL_H
#define CRYPTO_CRYPTO_INTERNAL_H

#include "base/error.h"

/* Turns the failure of an OpenSSL call into "WHAT: OpenSSL: reason" and empties its error queue.
 * ERR_MEMORY when that is the reason, otherwise ERR_IO. */
#define crypto_failed(why, what) crypto_failed_at((why), __FILE__, __LINE__, (what))

enum err crypto_failed_at(struct error *why, const char *file, int line, const char *what);

#endif
