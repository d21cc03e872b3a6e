/* support/golden.h - files below tests/golden, which real servers wrote, for unit tests.
 *
 * A test program runs in the root of the tree.  Memory is never given back, since each test is a
 * process of its own; `golden_kept` shows a leak checker that this is meant.
 */
#ifndef SUPPORT_GOLDEN_H
#define SUPPORT_GOLDEN_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

enum { GOLDEN_MAX = 4 << 20 };

struct golden {
	uint8_t *data;
	size_t len;
};

enum { GOLDEN_KEPT_MAX = 256 };
static void *golden_kept[GOLDEN_KEPT_MAX];
static size_t golden_count;

static inline uint8_t *golden_new(size_t len)
{
	uint8_t *data = calloc(1, len);

	cr_assert(data != NULL && golden_count < GOLDEN_KEPT_MAX);
	golden_kept[golden_count++] = data;
	return data;
}

static inline struct bytes golden_view(struct golden g)
{
	return bytes_of(g.data, g.len);
}

static inline struct golden golden_read(const char *path)
{
	FILE *file = fopen(path, "rb");
	struct golden g = {.data = golden_new(GOLDEN_MAX + 1)};

	cr_assert_not_null(file, "%s is not there: run the test in the root of the tree", path);
	g.len = fread(g.data, 1, GOLDEN_MAX, file);
	cr_assert_eq(fclose(file), 0);
	return g;
}

/* A `.runs` file: (u32 n, n bytes as they are, u32 m, one byte that comes m times) over and over.
 * The rest up to `len` bytes is zero. */
static inline struct golden golden_read_runs(const char *path, size_t len)
{
	struct golden packed = golden_read(path);
	struct golden out = {.data = golden_new(len), .len = len};
	struct reader in = reader_of(golden_view(packed));
	size_t at = 0;

	while (in.left > 0) {
		struct bytes plain = reader_take(&in, reader_u32(&in));
		uint32_t run = reader_u32(&in);
		uint8_t byte = reader_u8(&in);

		cr_assert(!in.bad && plain.len <= len - at && run <= len - at - plain.len,
			  "%s is damaged", path);
		if (plain.len > 0)
			memcpy(out.data + at, plain.data, plain.len);
		memset(out.data + at + plain.len, byte, run);
		at += plain.len + run;
	}
	return out;
}

#endif
