/* codec/compress.c - one input to one zstd frame, or a plain copy where that is not larger. */
#include "codec/codec.h"
#include "codec/codec_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <zstd.h>

static const char failure[] = "cannot compress";

struct compressor {
	ZSTD_CCtx *ctx; /* its tables are allocated at the first run and kept */
	size_t plain_max;
};

/* Level 1 as zstd means it looks for repetitions by a table of 32 KiB, all of a processor's first
 * cache; in a frame of 128 KiB one of 8 KiB finds as much.  Measured on 128 MB of heaps and B-trees, on
 * WAL and on text, beside zstd 1.5.4's own level 1: 21, 13 and 8 percent faster; 0.5 and 2.5
 * percent smaller, and 0.9 larger.  Higher levels search in other ways. */
enum { LEVEL_1_HASH_LOG = 11, LEVEL_1_MIN_MATCH = 5 };

/* These stay set over all runs: each run resets the session only, by itself. */
static enum err set_up(ZSTD_CCtx *ctx, int level, struct error *why)
{
	const struct {
		ZSTD_cParameter name;
		int value;
	} wanted[] = {
		{ZSTD_c_compressionLevel, level},
		{ZSTD_c_contentSizeFlag, 1},
		{ZSTD_c_checksumFlag, 0}, /* frames are sealed; see compressor_add_checksums */
		{ZSTD_c_dictIDFlag, 0},
		{ZSTD_c_hashLog, level == 1 ? LEVEL_1_HASH_LOG : 0}, /* 0 = the level's own */
		{ZSTD_c_minMatch, level == 1 ? LEVEL_1_MIN_MATCH : 0},
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		size_t r = ZSTD_CCtx_setParameter(ctx, wanted[i].name, wanted[i].value);

		if (ZSTD_isError(r))
			return codec_failed(why, ERR_IO, failure, r);
	}
	return ERR_NONE;
}

enum err compressor_new(int level, size_t plain_max, struct compressor **out, struct error *why)
{
	struct compressor *c;
	enum err e;

	if (level < CODEC_LEVEL_MIN || level > CODEC_LEVEL_MAX)
		return error_set(why, ERR_CONFIG, "%s: zstd: level is %d, not in %d..%d", failure,
				 level, CODEC_LEVEL_MIN, CODEC_LEVEL_MAX);
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return error_set(why, ERR_MEMORY, "%s: out of memory", failure);
	c->plain_max = plain_max;
	c->ctx = ZSTD_createCCtx();
	e = c->ctx != NULL ? set_up(c->ctx, level, why)
			   : error_set(why, ERR_MEMORY, "%s: out of memory", failure);
	if (e != ERR_NONE) {
		compressor_free(c);
		return e;
	}
	*out = c;
	return ERR_NONE;
}

enum err compressor_add_checksums(struct compressor *c, struct error *why)
{
	size_t r = ZSTD_CCtx_setParameter(c->ctx, ZSTD_c_checksumFlag, 1);

	return ZSTD_isError(r) ? codec_failed(why, ERR_IO, failure, r) : ERR_NONE;
}

void compressor_free(struct compressor *c)
{
	if (c == NULL)
		return;
	(void)ZSTD_freeCCtx(
		c->ctx); /* cannot fail for a context of ZSTD_createCCtx; NULL is fine */
	free(c);
}

size_t compressor_bound(size_t plain_len)
{
	return ZSTD_compressBound(plain_len);
}

enum err compressor_run(struct compressor *c, struct bytes in, uint8_t *out, size_t out_max,
			size_t *out_len, enum codec *codec, struct error *why)
{
	size_t r;

	/* With less room zstd would take another path, and what it makes would depend on it. */
	assert(out_max >= compressor_bound(in.len));
	if (in.len > c->plain_max)
		return error_set(why, ERR_LIMIT, "%s: %zu bytes, at most %zu are possible", failure,
				 in.len, c->plain_max);
	r = ZSTD_compress2(c->ctx, out, out_max, in.data, in.len);
	if (ZSTD_isError(r))
		return codec_failed(why, ERR_IO, failure, r);
	if (r >= in.len) {
		if (in.len > 0)
			memcpy(out, in.data, in.len);
		*out_len = in.len;
		*codec = CODEC_STORED;
		return ERR_NONE;
	}
	*out_len = r;
	*codec = CODEC_ZSTD;
	return ERR_NONE;
}
