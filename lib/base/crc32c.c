/* base/crc32c.c - CRC-32C by the processor's instruction where it has one, else by tables.
 *
 * A value of 32 bits stands for a polynomial over GF(2) in the reflected order: bit 31 is the
 * coefficient of x^0.  Inside, a CRC is not inverted ("raw"); the functions of the header invert
 * at their borders.
 */
#include "base/crc32c.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { WORD = 8 };

static const uint32_t polynomial = 0x82f63b78u;

/* Eight bytes at a time: table k holds the raw CRC of a byte followed by k zero bytes.  A CRC is
 * linear, so each of the 256 entries is the sum of those of its bits, which the compiler does. */
#define BIT(n, i, v) (((n) >> (i)) & 1 ? (v) : 0u)
#define ENTRY(n, a, b, c, d, e, f, g, h)                                                           \
	(BIT(n, 0, a) ^ BIT(n, 1, b) ^ BIT(n, 2, c) ^ BIT(n, 3, d) ^ BIT(n, 4, e) ^ BIT(n, 5, f) ^ \
	 BIT(n, 6, g) ^ BIT(n, 7, h))
#define FOUR(n, ...)                                                                               \
	ENTRY(n, __VA_ARGS__), ENTRY((n) + 1, __VA_ARGS__), ENTRY((n) + 2, __VA_ARGS__),           \
		ENTRY((n) + 3, __VA_ARGS__)
#define SIXTEEN(n, ...)                                                                            \
	FOUR(n, __VA_ARGS__), FOUR((n) + 4, __VA_ARGS__), FOUR((n) + 8, __VA_ARGS__),              \
		FOUR((n) + 12, __VA_ARGS__)
#define SIXTY_FOUR(n, ...)                                                                         \
	SIXTEEN(n, __VA_ARGS__), SIXTEEN((n) + 16, __VA_ARGS__), SIXTEEN((n) + 32, __VA_ARGS__),   \
		SIXTEEN((n) + 48, __VA_ARGS__)
#define TABLE(...)                                                                                 \
	{                                                                                          \
		SIXTY_FOUR(0, __VA_ARGS__), SIXTY_FOUR(64, __VA_ARGS__),                           \
			SIXTY_FOUR(128, __VA_ARGS__), SIXTY_FOUR(192, __VA_ARGS__)                 \
	}

static const uint32_t tables[WORD][256] = {
	TABLE(0xf26b8303u, 0xe13b70f7u, 0xc79a971fu, 0x8ad958cfu, 0x105ec76fu, 0x20bd8edeu,
	      0x417b1dbcu, 0x82f63b78u),
	TABLE(0x13a29877u, 0x274530eeu, 0x4e8a61dcu, 0x9d14c3b8u, 0x3fc5f181u, 0x7f8be302u,
	      0xff17c604u, 0xfbc3faf9u),
	TABLE(0xa541927eu, 0x4f6f520du, 0x9edea41au, 0x38513ec5u, 0x70a27d8au, 0xe144fb14u,
	      0xc76580d9u, 0x8b277743u),
	TABLE(0xdd45aab8u, 0xbf672381u, 0x7b2231f3u, 0xf64463e6u, 0xe964b13du, 0xd725148bu,
	      0xaba65fe7u, 0x52a0c93fu),
	TABLE(0x38116facu, 0x7022df58u, 0xe045beb0u, 0xc5670b91u, 0x8f2261d3u, 0x1ba8b557u,
	      0x37516aaeu, 0x6ea2d55cu),
	TABLE(0xef306b19u, 0xdb8ca0c3u, 0xb2f53777u, 0x6006181fu, 0xc00c303eu, 0x85f4168du,
	      0x0e045bebu, 0x1c08b7d6u),
	TABLE(0x68032cc8u, 0xd0065990u, 0xa5e0c5d1u, 0x4e2dfd53u, 0x9c5bfaa6u, 0x3d5b83bdu,
	      0x7ab7077au, 0xf56e0ef4u),
	TABLE(0x493c7d27u, 0x9278fa4eu, 0x211d826du, 0x423b04dau, 0x847609b4u, 0x0d006599u,
	      0x1a00cb32u, 0x34019664u),
};

static uint32_t raw_by_table(uint32_t crc, const uint8_t *at, size_t len)
{
	for (; len >= WORD; at += WORD, len -= WORD) {
		uint32_t low = get_u32(at) ^ crc;
		uint32_t high = get_u32(at + 4);

		crc = tables[7][low & 255] ^ tables[6][low >> 8 & 255] ^
		      tables[5][low >> 16 & 255] ^ tables[4][low >> 24] ^ tables[3][high & 255] ^
		      tables[2][high >> 8 & 255] ^ tables[1][high >> 16 & 255] ^
		      tables[0][high >> 24];
	}
	for (; len > 0; at++, len--)
		crc = tables[0][(crc ^ *at) & 255] ^ crc >> 8;
	return crc;
}

#if defined(__x86_64__)

/* The instruction answers after 3 cycles but one can start in each, so three lanes run side by
 * side.  A lane of 2728 bytes makes three of them cover a page of 8192 but for its last word.
 * What a lane's CRC becomes behind the lanes after it is that CRC times x^(8 * bytes): carry-less
 * multiplication gives the product times x, and the instruction reduces it and gives x^32 more,
 * so the constants are x^(8 * bytes - 33). */
enum { LONG_LANE = 2728, SHORT_LANE = 256 };

static const uint32_t long_once = 0x7b454cb3u;   /* x^(8 * 2728 - 33) */
static const uint32_t long_twice = 0x5d4c91fcu;  /* x^(8 * 5456 - 33) */
static const uint32_t short_once = 0xb9e02b86u;  /* x^(8 * 256 - 33) */
static const uint32_t short_twice = 0xdd7e3b0cu; /* x^(8 * 512 - 33) */

#define BY_INSTRUCTION __attribute__((target("sse4.2,pclmul")))

static inline uint64_t word_at(const uint8_t *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

BY_INSTRUCTION static inline uint64_t product(uint32_t crc, uint32_t by)
{
	__m128i wide =
		_mm_clmulepi64_si128(_mm_cvtsi32_si128((int)crc), _mm_cvtsi32_si128((int)by), 0);

	return (uint64_t)_mm_cvtsi128_si64(wide);
}

BY_INSTRUCTION static uint32_t three_lanes(uint32_t crc, const uint8_t *at, size_t lane,
					   uint32_t once, uint32_t twice)
{
	uint64_t a = crc;
	uint64_t b = 0;
	uint64_t c = 0;

	for (size_t i = 0; i < lane; i += WORD) {
		a = _mm_crc32_u64(a, word_at(at + i));
		b = _mm_crc32_u64(b, word_at(at + lane + i));
		c = _mm_crc32_u64(c, word_at(at + 2 * lane + i));
	}
	return (uint32_t)c ^
	       (uint32_t)_mm_crc32_u64(0, product((uint32_t)a, twice) ^ product((uint32_t)b, once));
}

BY_INSTRUCTION static uint32_t raw_by_instruction(uint32_t crc, const uint8_t *at, size_t len)
{
	uint64_t wide;

	for (; len >= 3 * LONG_LANE; at += 3 * LONG_LANE, len -= 3 * LONG_LANE)
		crc = three_lanes(crc, at, LONG_LANE, long_once, long_twice);
	for (; len >= 3 * SHORT_LANE; at += 3 * SHORT_LANE, len -= 3 * SHORT_LANE)
		crc = three_lanes(crc, at, SHORT_LANE, short_once, short_twice);
	wide = crc;
	for (; len >= WORD; at += WORD, len -= WORD)
		wide = _mm_crc32_u64(wide, word_at(at));
	crc = (uint32_t)wide;
	for (; len > 0; at++, len--)
		crc = _mm_crc32_u8(crc, *at);
	return crc;
}

static uint32_t raw(uint32_t crc, const uint8_t *at, size_t len)
{
	if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"))
		return raw_by_instruction(crc, at, len);
	return raw_by_table(crc, at, len);
}

#else

static uint32_t raw(uint32_t crc, const uint8_t *at, size_t len)
{
	return raw_by_table(crc, at, len);
}

#endif

uint32_t crc32c_more(uint32_t crc, struct bytes in)
{
	return ~raw(~crc, in.data, in.len);
}

uint32_t crc32c_more_by_table(uint32_t crc, struct bytes in)
{
	return ~raw_by_table(~crc, in.data, in.len);
}

uint32_t crc32c(struct bytes in)
{
	return crc32c_more(0, in);
}

/* x^(2^k) mod P.  P is (x + 1) times a primitive polynomial of degree 31, so x^(2^31 - 1) is 1 and
 * the row repeats after 31. */
enum { POWERS = 31 };

static const uint32_t powers[POWERS] = {
	0x40000000u, 0x20000000u, 0x08000000u, 0x00800000u, 0x00008000u, 0x82f63b78u, 0x6ea2d55cu,
	0x18b8ea18u, 0x510ac59au, 0xb82be955u, 0xb8fdb1e7u, 0x88e56f72u, 0x74c360a4u, 0xe4172b16u,
	0x0d65762au, 0x35d73a62u, 0x28461564u, 0xbf455269u, 0xe2ea32dcu, 0xfe7740e6u, 0xf946610bu,
	0x3c204f8fu, 0x538586e3u, 0x59726915u, 0x734d5309u, 0xbc1ac763u, 0x7d0722ccu, 0xd289cabeu,
	0xe94ca9bcu, 0x05b74f3fu, 0xa51e1f42u,
};

static uint32_t multiply(uint32_t a, uint32_t b)
{
	uint32_t sum = 0;

	/* Without branches: the bits of a CRC are random, so every second guess would be wrong. */
	for (; a != 0; a <<= 1) {
		sum ^= b & (0u - (a >> 31));
		b = b >> 1 ^ (polynomial & (0u - (b & 1)));
	}
	return sum;
}

uint32_t crc32c_combine(uint32_t a, uint32_t b, uint64_t b_len)
{
	/* The inversions cancel out: both sides of the sum carry the same ones. */
	for (unsigned k = 3; b_len != 0; k++, b_len >>= 1) /* 8 = 2^3 bits in a byte */
		if (b_len & 1)
			a = multiply(a, powers[k % POWERS]);
	return a ^ b;
}
