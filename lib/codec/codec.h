/* codec/codec.h - compression of one frame at a time (zstd), contexts reused.
 *
 * One context belongs to one worker thread.
 */
#ifndef CODEC_CODEC_H
#define CODEC_CODEC_H

#include "base/bytes.h"
#include "base/error.h"

enum codec { CODEC_STORED = 0, CODEC_ZSTD = 1 }; /* stored in frame headers */

enum { CODEC_LEVEL_MIN = 1, CODEC_LEVEL_MAX = 19 };

struct compressor;
/* `level` as zstd's; `plain_max` bounds one input. */
enum err compressor_new(int level, size_t plain_max, struct compressor **out,
			struct error *why) MUST_CHECK;
/* From now on each zstd frame ends with a checksum of its content (RFC 8878, 3.1.1: XXH64, 4 bytes), which
 * decompressor_run holds it against. */
enum err compressor_add_checksums(struct compressor *, struct error *why) MUST_CHECK;
void compressor_free(struct compressor *);
/* Bytes that `out` must have room for. */
size_t compressor_bound(size_t plain_len);
/* One zstd frame with its content size, no dictionary, and no checksum unless they were added.  When that is not smaller
 * than the input, the input is copied and *codec is CODEC_STORED. */
enum err compressor_run(struct compressor *, struct bytes in, uint8_t *out, size_t out_max,
			size_t *out_len, enum codec *codec, struct error *why) MUST_CHECK;

struct decompressor;
enum err decompressor_new(struct decompressor **out, struct error *why) MUST_CHECK;
void decompressor_free(struct decompressor *);
/* One shot into exactly `plain_len` bytes, a length that was authenticated before; any other
 * outcome, trailing bytes, an unknown codec included, is ERR_CORRUPT. */
enum err decompressor_run(struct decompressor *, uint8_t codec, struct bytes in, uint8_t *out,
			  size_t plain_len, struct error *why) MUST_CHECK;

#endif
