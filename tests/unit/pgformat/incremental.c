#include "pgformat/incremental.h"

#include "golden.h"

#define GOLDEN "tests/golden/pgformat/"

enum { MAGIC = 0, COUNT = 4, TRUNCATED = 8, LIST = 12, PAGE = 8192 };

static enum err decode(struct bytes header, uint64_t file_bytes, struct incremental *inc,
		       uint32_t *block, uint32_t *length, struct error *why)
{
	size_t head_len = header.len < LIST ? header.len : LIST;
	enum err e = incremental_decode_head(bytes_of(header.data, head_len), file_bytes, inc, why);

	if (e != ERR_NONE)
		return e;
	return incremental_decode_blocks(inc, bytes_of(header.data + LIST, header.len - LIST),
					 block, length, why);
}

static void assert_golden(const char *changed, const char *unchanged)
{
	struct bytes header = golden_view(golden_read(changed));
	struct incremental inc;
	uint32_t block[3], length = 0;
	struct error why;

	cr_assert_eq(decode(header, header.len + 3 * PAGE, &inc, block, &length, &why), ERR_NONE,
		     "%s", why.text);
	cr_assert_eq(inc.blocks, 3);
	cr_assert_eq(inc.header_bytes, PAGE);
	cr_assert_eq(inc.truncated, 273);
	cr_assert_eq(length, 273);
	cr_assert_eq(block[0], 0);
	cr_assert_eq(block[1], 136);
	cr_assert_eq(block[2], 272);
	header = golden_view(golden_read(unchanged));
	cr_assert_eq(decode(header, header.len, &inc, block, &length, &why), ERR_NONE, "%s",
		     why.text);
	cr_assert_eq(inc.blocks, 0);
	cr_assert_eq(inc.header_bytes, LIST);
	cr_assert_eq(length, 1);
}

Test(incremental, files_of_real_servers_are_read)
{
	assert_golden(GOLDEN "incremental.changed.header.17", GOLDEN "incremental.unchanged.17");
	assert_golden(GOLDEN "incremental.changed.header.18", GOLDEN "incremental.unchanged.18");
}

/* A header of `count` blocks beginning with `first`, all in a row. */
static struct bytes made(uint32_t count, uint32_t truncated, uint32_t first, size_t len)
{
	uint8_t *header = golden_new(len + 4);

	put_u32(header + MAGIC, 0xd3ae1f0d);
	put_u32(header + COUNT, count);
	put_u32(header + TRUNCATED, truncated);
	for (uint32_t i = 0; i < count && LIST + 4 * (size_t)i + 4 <= len; i++)
		put_u32(header + LIST + 4 * (size_t)i, first + i);
	return bytes_of(header, len);
}

Test(incremental, the_padding_ends_at_a_whole_page_and_may_be_none)
{
	/* 2045 blocks fill the first page to its last byte; one more begins the second. */
	struct bytes full = made(2045, 0, 0, PAGE), two = made(2046, 0, 0, 2 * PAGE);
	uint32_t *block = (uint32_t *)(void *)golden_new(INCREMENTAL_BLOCKS_MAX * 4);
	struct incremental inc;
	uint32_t length;
	struct error why;

	cr_assert_eq(decode(full, PAGE + 2045 * PAGE, &inc, block, &length, &why), ERR_NONE, "%s",
		     why.text);
	cr_assert_eq(inc.header_bytes, PAGE);
	cr_assert_eq(length, 2045);
	cr_assert_eq(decode(two, 2 * PAGE + 2046 * PAGE, &inc, block, &length, &why), ERR_NONE,
		     "%s", why.text);
	cr_assert_eq(inc.header_bytes, 2 * PAGE);
	cr_assert_eq(decode(two, PAGE + 2046 * PAGE, &inc, block, &length, &why), ERR_CORRUPT);
}

Test(incremental, a_whole_segment_of_blocks_is_the_most)
{
	struct bytes most =
		made(INCREMENTAL_BLOCKS_MAX, INCREMENTAL_BLOCKS_MAX, 0, INCREMENTAL_HEADER_MAX);
	uint32_t *block = (uint32_t *)(void *)golden_new(INCREMENTAL_BLOCKS_MAX * 4);
	uint64_t file_bytes = INCREMENTAL_HEADER_MAX + (uint64_t)INCREMENTAL_BLOCKS_MAX * PAGE;
	struct incremental inc;
	uint32_t length;
	struct error why;

	cr_assert_eq(decode(most, file_bytes, &inc, block, &length, &why), ERR_NONE, "%s",
		     why.text);
	cr_assert_eq(length, INCREMENTAL_BLOCKS_MAX);
	put_u32((uint8_t *)most.data + COUNT, INCREMENTAL_BLOCKS_MAX + 1);
	cr_assert_eq(decode(most, file_bytes + PAGE, &inc, block, &length, &why), ERR_CORRUPT);
	put_u32((uint8_t *)most.data + COUNT, UINT32_MAX);
	cr_assert_eq(decode(most, file_bytes, &inc, block, &length, &why), ERR_CORRUPT);
}

Test(incremental, blocks_above_the_truncation_make_it_longer)
{
	struct bytes header = made(2, 3, 9, PAGE);
	struct incremental inc;
	uint32_t block[2], length;

	cr_assert_eq(decode(header, 3 * PAGE, &inc, block, &length, NULL), ERR_NONE);
	cr_assert_eq(length, 11);
}

Test(incremental, a_truncation_beyond_the_segment_names_the_servers_that_write_it)
{
	struct bytes header = made(0, INCREMENTAL_BLOCKS_MAX + 1, 0, LIST);
	struct incremental inc;
	struct error why;

	cr_assert_eq(incremental_decode_head(header, LIST, &inc, &why), ERR_PEER);
	cr_assert(strstr(why.text, "18.0-18.1") != NULL, "%s", why.text);
	cr_assert(strstr(why.hint, "--type full") != NULL, "%s", why.hint);
}

Test(incremental, blocks_must_ascend_and_lie_in_the_segment)
{
	struct bytes header = made(3, 10, 4, PAGE);
	uint8_t *list = (uint8_t *)header.data + LIST;
	struct incremental inc;
	uint32_t block[3], length = 77;

	put_u32(list + 8, 5); /* twice */
	cr_assert_eq(decode(header, 4 * PAGE, &inc, block, &length, NULL), ERR_CORRUPT);
	put_u32(list + 8, 2); /* back */
	cr_assert_eq(decode(header, 4 * PAGE, &inc, block, &length, NULL), ERR_CORRUPT);
	put_u32(list + 8, INCREMENTAL_BLOCKS_MAX);
	cr_assert_eq(decode(header, 4 * PAGE, &inc, block, &length, NULL), ERR_CORRUPT);
	put_u32(list + 8, UINT32_MAX);
	cr_assert_eq(decode(header, 4 * PAGE, &inc, block, &length, NULL), ERR_CORRUPT);
	cr_assert_eq(length, 77);
	put_u32(list + 8, INCREMENTAL_BLOCKS_MAX - 1);
	cr_assert_eq(decode(header, 4 * PAGE, &inc, block, &length, NULL), ERR_NONE);
}

/* A flip in the list may give another good list; everywhere else it must be noticed, but for the
 * truncation, which is any number. */
Test(incremental, flips_outside_the_numbers_are_noticed)
{
	struct bytes header = golden_view(golden_read(GOLDEN "incremental.changed.header.18"));
	struct incremental inc;
	uint32_t block[8], length;

	for (size_t bit = 0; bit < header.len * 8; bit++) {
		uint8_t *at = (uint8_t *)header.data + bit / 8;
		enum err e;

		if (bit / 8 >= TRUNCATED && bit / 8 < LIST + 12)
			continue;
		*at ^= (uint8_t)(1 << bit % 8);
		e = decode(header, header.len + 3 * PAGE, &inc, block, &length, NULL);
		cr_assert(e == ERR_CORRUPT, "bit %zu", bit);
		*at ^= (uint8_t)(1 << bit % 8);
	}
}

Test(incremental, cuts_are_noticed)
{
	struct bytes header = golden_view(golden_read(GOLDEN "incremental.changed.header.18"));
	uint64_t file_bytes = header.len + 3 * PAGE;
	struct incremental inc;
	uint32_t block[3], length;

	for (size_t len = 0; len < header.len; len++) {
		struct bytes cut = bytes_of(header.data, len);

		if (len < LIST)
			cr_assert_eq(incremental_decode_head(cut, file_bytes, &inc, NULL),
				     ERR_CORRUPT);
		else
			cr_assert_eq(decode(cut, file_bytes, &inc, block, &length, NULL),
				     ERR_CORRUPT);
	}
	cr_assert_eq(
		incremental_decode_head(bytes_of(header.data, LIST), file_bytes - 1, &inc, NULL),
		ERR_CORRUPT);
	cr_assert_eq(
		incremental_decode_head(bytes_of(header.data, LIST), file_bytes + PAGE, &inc, NULL),
		ERR_CORRUPT);
}

static const char *stands_for(const char *path)
{
	static char out[256];

	return incremental_path(path, out, sizeof(out)) ? out : "nothing";
}

Test(incremental, names_stand_for_files_of_relations_only)
{
	char small[8];

	cr_assert_str_eq(stands_for("base/5/INCREMENTAL.16384.1"), "base/5/16384.1");
	cr_assert_str_eq(stands_for("global/INCREMENTAL.1262_vm"), "global/1262_vm");
	cr_assert_str_eq(stands_for("pg_tblspc/16389/PG_18_202506291/5/INCREMENTAL.16390"),
			 "pg_tblspc/16389/PG_18_202506291/5/16390");
	cr_assert_str_eq(stands_for("base/5/INCREMENTAL.16384_fsm"), "nothing");
	cr_assert_str_eq(stands_for("base/5/16384"), "nothing");
	cr_assert_str_eq(stands_for("base/5/INCREMENTAL."), "nothing");
	cr_assert_str_eq(stands_for("base/5/INCREMENTAL.notes"), "nothing");
	cr_assert_str_eq(stands_for("INCREMENTAL.16384"), "nothing");
	cr_assert_str_eq(stands_for("my/INCREMENTAL.16384"), "nothing");
	cr_assert_str_eq(stands_for("base/5/incremental.16384"), "nothing");
	cr_assert_not(incremental_path("base/5/INCREMENTAL.1", small, sizeof(small)));
}
