#include "base/crc32c.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static void fill(uint8_t *out, size_t len)
{
	uint32_t seed = 1;

	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525u + 1013904223u;
		out[i] = (uint8_t)(seed >> 24);
	}
}

/* RFC 3720 B.4, and the check value of the catalogue. */
Test(crc32c, agrees_with_published_vectors)
{
	uint8_t bytes[32];

	cr_assert_eq(crc32c(bytes_of_text("123456789")), 0xE3069283u);
	cr_assert_eq(crc32c(bytes_of(NULL, 0)), 0);
	memset(bytes, 0, sizeof(bytes));
	cr_assert_eq(crc32c(bytes_of(bytes, 32)), 0x8A9136AAu);
	memset(bytes, 0xff, sizeof(bytes));
	cr_assert_eq(crc32c(bytes_of(bytes, 32)), 0x62A8AB43u);
	for (uint8_t i = 0; i < 32; i++)
		bytes[i] = i;
	cr_assert_eq(crc32c(bytes_of(bytes, 32)), 0x46DD794Eu);
	cr_assert_eq(crc32c_more_by_table(0, bytes_of(bytes, 32)), 0x46DD794Eu);
}

/* Every length up to beyond two pages crosses both lane sizes and every tail. */
Test(crc32c, instruction_and_tables_agree_at_every_length)
{
	enum { LEN = 20000 };
	uint8_t *bytes = malloc(LEN + 1);
	uint32_t bytewise = 0;

	fill(bytes, LEN + 1);
	for (size_t len = 0; len < LEN; len++) {
		if (len % 8 == len / 1000 % 8) /* each tail in turn; all would take long */
			cr_assert_eq(crc32c(bytes_of(bytes, len)), bytewise, "length %zu", len);
		bytewise = crc32c_more_by_table(bytewise, bytes_of(bytes + len, 1));
	}
	/* Also where the bytes are not aligned. */
	cr_assert_eq(crc32c(bytes_of(bytes + 1, 8192)),
		     crc32c_more_by_table(0, bytes_of(bytes + 1, 8192)));
	free(bytes);
}

Test(crc32c, more_goes_on_from_any_point)
{
	uint8_t bytes[9000];
	uint32_t whole;

	fill(bytes, sizeof(bytes));
	whole = crc32c(bytes_of(bytes, sizeof(bytes)));
	for (size_t cut = 0; cut <= sizeof(bytes); cut += 41)
		cr_assert_eq(whole, crc32c_more(crc32c(bytes_of(bytes, cut)),
						bytes_of(bytes + cut, sizeof(bytes) - cut)));
}

Test(crc32c, combine_joins_at_any_point)
{
	uint8_t bytes[20000];
	uint32_t whole;

	fill(bytes, sizeof(bytes));
	whole = crc32c(bytes_of(bytes, sizeof(bytes)));
	for (size_t cut = 0; cut <= sizeof(bytes); cut += 13)
		cr_assert_eq(whole,
			     crc32c_combine(crc32c(bytes_of(bytes, cut)),
					    crc32c(bytes_of(bytes + cut, sizeof(bytes) - cut)),
					    sizeof(bytes) - cut));
}

/* A file of 64 GiB of zeros, joined from halves and from runs of 6 GiB: the same in any order. */
Test(crc32c, combine_holds_beyond_four_gigabytes)
{
	static const uint8_t page[8192];
	uint32_t power[48];
	uint32_t halves = crc32c(bytes_of(page, sizeof(page)));
	uint32_t runs;

	for (unsigned i = 13; i < 48; i++) { /* power[i]: 2^i zero bytes */
		power[i] = halves;
		halves = crc32c_combine(halves, halves, UINT64_C(1) << i);
	}
	runs = power[32];
	for (unsigned i = 0; i < 10; i++) { /* 4 GiB + 10 times 6 GiB = 64 GiB */
		uint32_t six = crc32c_combine(power[32], power[31], UINT64_C(1) << 31);

		runs = crc32c_combine(runs, six, UINT64_C(3) << 31);
	}
	cr_assert_eq(runs, power[36]);
	cr_assert_neq(power[36], power[35]);
}
