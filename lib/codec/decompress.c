/* codec/decompress.c - one frame back to exactly the bytes that were announced.
 *
 * Everything a frame says about itself is compared with what its reader already knows before one
 * byte is decompressed: a wrong frame costs nothing, and none makes more than `plain_len` bytes.
 */
#include "codec/codec.h"
#include "codec/codec_internal.h"

#include <stdlib.h>
#include <zstd.h>

static const char failure[] = "cannot decompress";

struct decompressor {
	ZSTD_DCtx *ctx;
};

enum err decompressor_new(struct decompressor **out, struct error *why)
{
	struct decompressor *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return error_set(why, ERR_MEMORY, "%s: out of memory", failure);
	d->ctx = ZSTD_createDCtx();
	if (d->ctx == NULL) {
		free(d);
		return error_set(why, ERR_MEMORY, "%s: out of memory", failure);
	}
	*out = d;
	return ERR_NONE;
}

void decompressor_free(struct decompressor *d)
{
	if (d == NULL)
		return;
	(void)ZSTD_freeDCtx(d->ctx); /* cannot fail for a context of ZSTD_createDCtx */
	free(d);
}

static enum err run_stored(struct bytes in, uint8_t *out, size_t plain_len, struct error *why)
{
	if (in.len != plain_len)
		return error_set(why, ERR_CORRUPT, "%s: stored: %zu bytes instead of %zu", failure,
				 in.len, plain_len);
	if (plain_len > 0)
		memcpy(out, in.data, plain_len);
	return ERR_NONE;
}

/* One whole frame of this format and nothing behind it, that says it holds `plain_len` bytes. */
static enum err check_frame(struct bytes in, size_t plain_len, struct error *why)
{
	unsigned long long says;
	size_t frame_len;

	/* Skippable frames, and those of zstd before 0.8, have other magic numbers. */
	if (in.len < 4 || get_u32(in.data) != ZSTD_MAGICNUMBER)
		return error_set(why, ERR_CORRUPT, "%s: zstd: not a zstd frame", failure);
	says = ZSTD_getFrameContentSize(in.data, in.len);
	if (says == ZSTD_CONTENTSIZE_ERROR || says == ZSTD_CONTENTSIZE_UNKNOWN)
		return error_set(why, ERR_CORRUPT, "%s: zstd: the frame does not say its size",
				 failure);
	if (says != plain_len)
		return error_set(why, ERR_CORRUPT, "%s: zstd: the frame holds %llu bytes, not %zu",
				 failure, says, plain_len);
	frame_len = ZSTD_findFrameCompressedSize(in.data, in.len);
	if (ZSTD_isError(frame_len))
		return codec_failed(why, ERR_CORRUPT, failure, frame_len);
	if (frame_len != in.len)
		return error_set(why, ERR_CORRUPT,
				 "%s: zstd: the frame ends after %zu of %zu bytes", failure,
				 frame_len, in.len);
	return ERR_NONE;
}

enum err decompressor_run(struct decompressor *d, uint8_t codec, struct bytes in, uint8_t *out,
			  size_t plain_len, struct error *why)
{
	size_t r;
	enum err e;

	if (codec == CODEC_STORED)
		return run_stored(in, out, plain_len, why);
	if (codec != CODEC_ZSTD)
		return error_set(why, ERR_CORRUPT, "%s: codec %u is not known", failure, codec);
	e = check_frame(in, plain_len, why);
	if (e != ERR_NONE)
		return e;
	r = ZSTD_decompressDCtx(d->ctx, out, plain_len, in.data, in.len);
	if (ZSTD_isError(r))
		return codec_failed(why, ERR_CORRUPT, failure, r);
	if (r != plain_len)
		return error_set(why, ERR_CORRUPT, "%s: zstd: %zu bytes instead of %zu", failure, r,
				 plain_len);
	return ERR_NONE;
}
