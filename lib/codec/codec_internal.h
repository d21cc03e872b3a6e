/* codec/codec_internal.h - what the files of this room share: zstd's failures, translated. */
#ifndef CODEC_CODEC_INTERNAL_H
#define CODEC_CODEC_INTERNAL_H

#include "base/error.h"

#include <stddef.h>

/* "WHAT: zstd: reason", for a `result` that ZSTD_isError.  ERR_MEMORY when that is the reason,
 * `otherwise` when it is anything else: what that means differs with the direction. */
#define codec_failed(why, otherwise, what, result)                                                 \
	codec_failed_at((why), (otherwise), __FILE__, __LINE__, (what), (result))

enum err codec_failed_at(struct error *why, enum err otherwise, const char *file, int line,
			 const char *what, size_t result);

#endif
