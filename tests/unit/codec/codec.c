#include "codec/codec.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>

enum { PLAIN_MAX = 128 * 1024 };

static struct error why;

struct pair {
	struct compressor *c;
	struct decompressor *d;
};

static struct pair make_pair(int level)
{
	struct pair p = {NULL, NULL};

	cr_assert_eq(compressor_new(level, PLAIN_MAX, &p.c, &why), ERR_NONE);
	cr_assert_eq(decompressor_new(&p.d, &why), ERR_NONE);
	return p;
}

static void free_pair(struct pair p)
{
	compressor_free(p.c);
	decompressor_free(p.d);
}

/* Memory of exactly `len` bytes, so that AddressSanitizer sees one byte too many. */
static uint8_t *exactly(size_t len)
{
	uint8_t *p = malloc(len > 0 ? len : 1);

	cr_assert_not_null(p);
	return p;
}

static void fill_text(uint8_t *out, size_t len)
{
	static const uint8_t text[] = "a tuple of a table ";

	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(text[i % 19] + (i / 1000) % 7);
}

static void fill_noise(uint8_t *out, size_t len)
{
	uint64_t x = 0x9e3779b97f4a7c15;

	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		out[i] = (uint8_t)(x >> 32);
	}
}

/* Compresses into new memory of exactly the frame's length. */
static uint8_t *compress(struct pair p, struct bytes in, size_t *len, enum codec *codec)
{
	size_t room_len = compressor_bound(in.len);
	uint8_t *room = exactly(room_len), *frame;

	cr_assert_eq(compressor_run(p.c, in, room, room_len, len, codec, &why), ERR_NONE);
	frame = exactly(*len);
	memcpy(frame, room, *len);
	free(room);
	return frame;
}

static enum codec round_trip(struct pair p, struct bytes in)
{
	enum codec codec = CODEC_STORED;
	size_t len = 0;
	uint8_t *frame = compress(p, in, &len, &codec);
	uint8_t *back = exactly(in.len);

	cr_assert_eq(
		decompressor_run(p.d, (uint8_t)codec, bytes_of(frame, len), back, in.len, &why),
		ERR_NONE, "%zu bytes: %s", in.len, why.text);
	cr_assert(in.len == 0 || memcmp(in.data, back, in.len) == 0);
	if (codec == CODEC_ZSTD)
		cr_assert_lt(len, in.len);
	else
		cr_assert_eq(len, in.len);
	free(back);
	free(frame);
	return codec;
}

Test(codec, what_was_compressed_comes_back_at_every_size_and_level)
{
	static const int levels[] = {CODEC_LEVEL_MIN, 3, CODEC_LEVEL_MAX};
	static const size_t sizes[] = {0,    1,     2,     7,     8,     63,     64,
				       255,  256,   257,   1000,  4096,  8191,   8192,
				       8193, 65535, 65536, 65791, 65792, 131071, PLAIN_MAX};
	uint8_t *plain = exactly(PLAIN_MAX);

	fill_text(plain, PLAIN_MAX);
	for (size_t l = 0; l < 3; l++) {
		struct pair p = make_pair(levels[l]);

		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			enum codec codec = round_trip(p, bytes_of(plain, sizes[s]));

			/* Between these it is up to zstd. */
			if (sizes[s] < 20)
				cr_assert_eq(codec, CODEC_STORED, "%zu bytes", sizes[s]);
			if (sizes[s] > 200)
				cr_assert_eq(codec, CODEC_ZSTD, "%zu bytes", sizes[s]);
		}
		free_pair(p);
	}
	free(plain);
}

Test(codec, what_does_not_get_smaller_is_stored)
{
	uint8_t *noise = exactly(PLAIN_MAX);
	struct pair p = make_pair(1);

	fill_noise(noise, PLAIN_MAX);
	cr_assert_eq(round_trip(p, bytes_of(noise, PLAIN_MAX)), CODEC_STORED);
	cr_assert_eq(round_trip(p, bytes_of(noise, 100)), CODEC_STORED);
	cr_assert_eq(round_trip(p, bytes_of(NULL, 0)), CODEC_STORED);
	free_pair(p);
	free(noise);
}

/* Deduplication of whole objects and copies between repositories rest on it. */
Test(codec, the_same_input_gives_the_same_frame_whatever_was_before)
{
	uint8_t *plain = exactly(PLAIN_MAX), *a, *b;
	size_t a_len = 0, b_len = 0;
	enum codec codec;
	struct pair p = make_pair(1);

	fill_text(plain, PLAIN_MAX);
	a = compress(p, bytes_of(plain, 8192), &a_len, &codec);
	free(compress(p, bytes_of(plain + 500, 60000), &b_len, &codec));
	b = compress(p, bytes_of(plain, 8192), &b_len, &codec);
	cr_assert_eq(a_len, b_len);
	cr_assert_arr_eq(a, b, a_len);
	free(a);
	free(b);
	free(plain);
	free_pair(p);
}

/* RFC 8878, 3.1.1: magic, then the descriptor: bit 2 checksum, bits 0-1 dictionary id. */
Test(codec, a_frame_has_its_size_no_checksum_and_no_dictionary)
{
	uint8_t *plain = exactly(8192), *frame;
	size_t len = 0;
	enum codec codec;
	struct pair p = make_pair(1);

	fill_text(plain, 8192);
	frame = compress(p, bytes_of(plain, 8192), &len, &codec);
	cr_assert_eq(get_u32(frame), 0xFD2FB528);
	cr_assert_eq(frame[4], 0x60, "two bytes of size, single segment");
	cr_assert_eq(get_u16(frame + 5) + 256, 8192);
	free(frame);
	free(plain);
	free_pair(p);
}

Test(codec, more_than_the_compressor_was_made_for_is_refused)
{
	static uint8_t plain[PLAIN_MAX + 1], out[2 * PLAIN_MAX];
	struct pair p = make_pair(1);
	size_t len = 7;
	enum codec codec = CODEC_ZSTD;

	cr_assert_eq(compressor_run(p.c, bytes_of(plain, sizeof(plain)), out, sizeof(out), &len,
				    &codec, &why),
		     ERR_LIMIT);
	cr_assert_not_null(strstr(why.text, "131073 bytes"), "%s", why.text);
	cr_assert_eq(len, 7, "outputs are untouched");
	free_pair(p);
}

Test(codec, too_little_room_is_a_programmer_error, .signal = SIGABRT)
{
	static uint8_t plain[100], out[100];
	struct pair p = make_pair(1);
	size_t len;
	enum codec codec;

	cr_assert_eq(compressor_run(p.c, bytes_of(plain, 100), out, 100, &len, &codec, &why),
		     ERR_NONE);
}

Test(codec, levels_outside_the_range_are_refused)
{
	static const int levels[] = {-5, 0, 20, 22, 1000};

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		struct compressor *c = NULL;

		cr_assert_eq(compressor_new(levels[i], PLAIN_MAX, &c, &why), ERR_CONFIG);
		cr_assert_null(c);
		cr_assert_not_null(strstr(why.text, "level is"), "%s", why.text);
	}
	compressor_free(NULL);
	decompressor_free(NULL);
}

/* Copies the frame to memory of its own length and expects that it is refused as `plain_len`
 * bytes, with `names` in the text. */
static void refuse(struct decompressor *d, uint8_t codec, const uint8_t *frame, size_t len,
		   size_t plain_len, const char *names)
{
	uint8_t *in = exactly(len), *out = exactly(plain_len);

	memcpy(in, frame, len);
	cr_assert_eq(decompressor_run(d, codec, bytes_of(in, len), out, plain_len, &why),
		     ERR_CORRUPT, "%zu bytes as %zu", len, plain_len);
	cr_assert_not_null(strstr(why.text, names), "%s", why.text);
	free(in);
	free(out);
}

Test(codec, a_frame_of_another_size_than_announced_is_refused)
{
	uint8_t *plain = exactly(PLAIN_MAX), *frame;
	size_t len = 0;
	enum codec codec;
	struct pair p = make_pair(1);

	memset(plain, 0, PLAIN_MAX);
	frame = compress(p, bytes_of(plain, PLAIN_MAX), &len, &codec);
	refuse(p.d, CODEC_ZSTD, frame, len, PLAIN_MAX - 1, "holds 131072 bytes, not 131071");
	refuse(p.d, CODEC_ZSTD, frame, len, PLAIN_MAX + 1, "holds 131072 bytes, not 131073");
	refuse(p.d, CODEC_ZSTD, frame, len, 0, "holds 131072 bytes, not 0");
	free(frame);
	free(plain);
	free_pair(p);
}

/* What was changed before it was compressed, or by the compressor, nobody else would notice. */
Test(codec, a_checksum_tells_that_the_content_is_another)
{
	uint8_t *plain = exactly(PLAIN_MAX), *frame, *out = exactly(PLAIN_MAX);
	size_t len = 0;
	enum codec codec;
	struct pair p = make_pair(1);

	fill_noise(plain, PLAIN_MAX / 2); /* literals of a block that are stored as they are */
	memset(plain + PLAIN_MAX / 2, 0, PLAIN_MAX / 2);
	for (int checked = 0; checked < 2; checked++) {
		if (checked)
			cr_assert_eq(compressor_add_checksums(p.c, &why), ERR_NONE);
		frame = compress(p, bytes_of(plain, PLAIN_MAX), &len, &codec);
		cr_assert_eq(codec, CODEC_ZSTD);
		cr_assert_eq(
			decompressor_run(p.d, codec, bytes_of(frame, len), out, PLAIN_MAX, &why),
			ERR_NONE);
		frame[len / 2] ^= 1;
		if (checked)
			refuse(p.d, CODEC_ZSTD, frame, len, PLAIN_MAX, "checksum");
		else
			cr_assert_eq(decompressor_run(p.d, codec, bytes_of(frame, len), out,
						      PLAIN_MAX, &why),
				     ERR_NONE, "the byte is no literal: %s", why.text);
		free(frame);
	}
	free(out);
	free(plain);
	free_pair(p);
}

/* The header lies, the blocks hold more or less: nothing is written past the announced end. */
Test(codec, a_frame_that_lies_about_its_size_is_refused)
{
	uint8_t *plain = exactly(PLAIN_MAX), *frame;
	size_t len = 0;
	enum codec codec;
	struct pair p = make_pair(1);

	memset(plain, 0, PLAIN_MAX);
	frame = compress(p, bytes_of(plain, PLAIN_MAX), &len, &codec);
	cr_assert_eq(frame[4] >> 6, 2, "four bytes of size follow the descriptor");
	cr_assert_eq(get_u32(frame + 5), PLAIN_MAX);
	put_u32(frame + 5, 1000);
	refuse(p.d, CODEC_ZSTD, frame, len, 1000, "zstd: ");
	put_u32(frame + 5, PLAIN_MAX + 1000);
	refuse(p.d, CODEC_ZSTD, frame, len, PLAIN_MAX + 1000, "zstd: ");
	put_u32(frame + 5, UINT32_MAX);
	refuse(p.d, CODEC_ZSTD, frame, len, PLAIN_MAX, "holds 4294967295 bytes");
	free(frame);
	free(plain);
	free_pair(p);
}

Test(codec, a_frame_cut_anywhere_is_refused)
{
	uint8_t *plain = exactly(8192), *frame;
	size_t len = 0;
	enum codec codec;
	struct pair p = make_pair(1);

	fill_text(plain, 8192);
	frame = compress(p, bytes_of(plain, 8192), &len, &codec);
	for (size_t cut = 0; cut < len; cut++)
		refuse(p.d, CODEC_ZSTD, frame, cut, 8192, "zstd: ");
	free(frame);
	free(plain);
	free_pair(p);
}

Test(codec, anything_behind_the_frame_is_refused)
{
	uint8_t *plain = exactly(8192), *frame, *more;
	size_t len = 0;
	enum codec codec;
	struct pair p = make_pair(1);

	fill_text(plain, 8192);
	frame = compress(p, bytes_of(plain, 8192), &len, &codec);
	more = exactly(2 * len);
	memcpy(more, frame, len);
	memcpy(more + len, frame, len); /* a second frame */
	refuse(p.d, CODEC_ZSTD, more, 2 * len, 8192, "the frame ends after");
	refuse(p.d, CODEC_ZSTD, more, 2 * len, 16384, "holds 8192 bytes, not 16384");
	memset(more + len, 0, len);
	refuse(p.d, CODEC_ZSTD, more, len + 1, 8192, "the frame ends after");
	free(more);
	free(frame);
	free(plain);
	free_pair(p);
}

Test(codec, skippable_and_foreign_frames_are_refused)
{
	static const uint8_t skippable[] = {0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 'd', 'a', 't', 'a'};
	static const uint8_t gzip[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0};
	/* magic, descriptor without a size, window, one raw last block of one byte */
	static const uint8_t unsized[] = {0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 9, 0, 0, 'x'};
	/* the same with "one byte" said; and that with another magic: zstd 0.7 */
	static const uint8_t sized[] = {0x28, 0xb5, 0x2f, 0xfd, 0x20, 1, 9, 0, 0, 'x'};
	static const uint8_t old[] = {0x27, 0xb5, 0x2f, 0xfd, 0x20, 1, 9, 0, 0, 'x'};
	struct pair p = make_pair(1);
	uint8_t out[1];

	refuse(p.d, CODEC_ZSTD, skippable, sizeof(skippable), 0, "not a zstd frame");
	refuse(p.d, CODEC_ZSTD, gzip, sizeof(gzip), 0, "not a zstd frame");
	refuse(p.d, CODEC_ZSTD, old, sizeof(old), 1, "not a zstd frame");
	refuse(p.d, CODEC_ZSTD, unsized, sizeof(unsized), 1, "does not say its size");
	cr_assert_eq(
		decompressor_run(p.d, CODEC_ZSTD, bytes_of(sized, sizeof(sized)), out, 1, &why),
		ERR_NONE, "%s", why.text);
	cr_assert_eq(out[0], 'x');
	free_pair(p);
}

Test(codec, stored_bytes_of_another_length_are_refused)
{
	static const uint8_t three[] = {1, 2, 3};
	struct pair p = make_pair(1);

	refuse(p.d, CODEC_STORED, three, 3, 2, "stored: 3 bytes instead of 2");
	refuse(p.d, CODEC_STORED, three, 3, 4, "stored: 3 bytes instead of 4");
	refuse(p.d, CODEC_STORED, three, 0, 1, "stored: 0 bytes instead of 1");
	free_pair(p);
}

Test(codec, an_unknown_codec_is_refused)
{
	static const uint8_t three[] = {1, 2, 3};
	struct pair p = make_pair(1);

	refuse(p.d, 2, three, 3, 3, "codec 2 is not known");
	refuse(p.d, 255, three, 3, 3, "codec 255 is not known");
	free_pair(p);
}

/* Whatever damage does, it is an answer; without a checksum some damage gives other bytes, which
 * the seal of the repository finds first. */
Test(codec, damaged_frames_never_write_past_the_end)
{
	uint8_t *plain = exactly(8192), *frame, *out = exactly(8192);
	size_t len = 0, refused = 0;
	enum codec codec;
	struct pair p = make_pair(1);

	fill_text(plain, 8192);
	frame = compress(p, bytes_of(plain, 8192), &len, &codec);
	for (size_t bit = 0; bit < 8 * len; bit++) {
		enum err e;

		frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
		e = decompressor_run(p.d, CODEC_ZSTD, bytes_of(frame, len), out, 8192, &why);
		cr_assert(e == ERR_NONE || e == ERR_CORRUPT, "%s", why.text);
		refused += e == ERR_CORRUPT;
		frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	cr_assert_gt(refused, 50, "magic, size and block headers alone are more");
	cr_assert_eq(decompressor_run(p.d, CODEC_ZSTD, bytes_of(frame, len), out, 8192, &why),
		     ERR_NONE, "the context is good after every refusal");
	cr_assert_arr_eq(out, plain, 8192);
	free(out);
	free(frame);
	free(plain);
	free_pair(p);
}
