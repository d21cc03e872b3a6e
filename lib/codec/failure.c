/* codec/failure.c - from zstd's results to `struct error`. */
#include "codec/codec_internal.h"

#include <zstd.h>
#include <zstd_errors.h>

enum err codec_failed_at(struct error *why, enum err otherwise, const char *file, int line,
			 const char *what, size_t result)
{
	enum err kind =
		ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation ? ERR_MEMORY : otherwise;

	return error_set_at(why, kind, 0, file, line, "%s: zstd: %s", what,
			    ZSTD_getErrorName(result));
}
