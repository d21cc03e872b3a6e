#include "base/random.h"

#include <criterion/criterion.h>
#include <string.h>

Test(random, fills_every_byte_and_nothing_beyond)
{
	unsigned char bytes[1026];
	unsigned char ever[1024] = {0};

	/* A byte that stays 0 in 8 fills would do so by chance once in 2^64. */
	for (int round = 0; round < 8; round++) {
		bytes[0] = bytes[1025] = 0x5a;
		cr_assert_eq(random_fill(random_os(), bytes + 1, 1024, NULL), ERR_NONE);
		for (int i = 0; i < 1024; i++)
			ever[i] |= bytes[i + 1];
		cr_assert_eq(bytes[0], 0x5a);
		cr_assert_eq(bytes[1025], 0x5a);
	}
	cr_assert_null(memchr(ever, 0, sizeof(ever)));
}

Test(random, two_fills_differ)
{
	unsigned char a[32], b[32];

	cr_assert_eq(random_fill(random_os(), a, sizeof(a), NULL), ERR_NONE);
	cr_assert_eq(random_fill(random_os(), b, sizeof(b), NULL), ERR_NONE);
	cr_assert_neq(memcmp(a, b, sizeof(a)), 0);
}
