#include "base/bytes.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(bytes, what_a_writer_puts_a_reader_takes)
{
	struct writer w;
	struct reader r;
	struct bytes text;

	writer_init(&w, 1000);
	writer_u8(&w, 0xab);
	writer_u16(&w, 0x0102);
	writer_u32(&w, 0x03040506);
	writer_u64(&w, UINT64_C(0x0708090a0b0c0d0e));
	writer_short_bytes(&w, bytes_of_text("name"));
	writer_text(&w, "%d-%s", 5, "x");
	cr_assert_not(w.bad);
	cr_assert_eq(w.len, 1 + 2 + 4 + 8 + 6 + 3);
	cr_assert_eq(w.data[1], 2, "the low byte comes first");
	r = reader_of(writer_view(&w));
	cr_assert_eq(reader_u8(&r), 0xab);
	cr_assert_eq(reader_u16(&r), 0x0102);
	cr_assert_eq(reader_u32(&r), 0x03040506);
	cr_assert_eq(reader_u64(&r), UINT64_C(0x0708090a0b0c0d0e));
	text = reader_short_bytes(&r);
	cr_assert_eq(text.len, 4);
	cr_assert_eq(memcmp(text.data, "name", 4), 0);
	cr_assert_eq(memcmp(reader_take(&r, 3).data, "5-x", 3), 0);
	cr_assert_not(r.bad);
	cr_assert_eq(r.left, 0);
	writer_release(&w);
}

Test(bytes, a_reader_past_its_end_is_bad_and_gives_zero)
{
	uint8_t in[] = {1, 2, 3};
	struct reader r = reader_of(bytes_of(in, 3));

	cr_assert_eq(reader_u32(&r), 0);
	cr_assert(r.bad);
	cr_assert_eq(reader_u8(&r), 0, "also where one byte would be there");
	r = reader_of(bytes_of((uint8_t[]){9, 0, 1}, 3));
	cr_assert_eq(reader_short_bytes(&r).len, 0);
	cr_assert(r.bad, "a length beyond the end");
}

Test(bytes, a_writer_at_its_bound_is_bad_until_reset)
{
	struct writer w;

	writer_init(&w, 4);
	writer_u32(&w, 1);
	cr_assert_not(w.bad);
	writer_u8(&w, 1);
	cr_assert(w.bad);
	writer_reset(&w);
	writer_u16(&w, 7);
	cr_assert_not(w.bad);
	cr_assert_eq(w.len, 2);
	writer_text(&w, "long text");
	cr_assert(w.bad);
	writer_release(&w);
}

Test(bytes, short_bytes_end_at_65535)
{
	static const uint8_t big[65536];
	struct writer w;

	writer_init(&w, 1 << 20);
	writer_short_bytes(&w, bytes_of(big, 65535));
	cr_assert_not(w.bad);
	writer_short_bytes(&w, bytes_of(big, 65536));
	cr_assert(w.bad);
	writer_release(&w);
}

Test(bytes, big_endian_is_the_other_way_round)
{
	uint8_t out[8];

	put_u64_be(out, UINT64_C(0x0102030405060708));
	cr_assert_eq(out[0], 1);
	cr_assert_eq(get_u64_be(out), UINT64_C(0x0102030405060708));
	cr_assert_eq(get_u64(out), UINT64_C(0x0807060504030201));
}

Test(bytes, zero_is_seen_at_every_place_and_length)
{
	uint8_t in[200] = {0};

	for (size_t len = 0; len <= sizeof(in); len++)
		cr_assert(bytes_are_zero(bytes_of(in, len)));
	for (size_t i = 0; i < sizeof(in); i++) {
		in[i] = 1;
		cr_assert_not(bytes_are_zero(bytes_of(in, sizeof(in))), "byte %zu", i);
		in[i] = 0;
	}
}

Test(bytes, large_memory_is_whole_at_every_size)
{
	static const size_t sizes[] = {0, 1, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, (16 << 20) + 2};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *data = bytes_new_large(sizes[i]);

		cr_assert_not_null(data, "%zu bytes", sizes[i]);
		memset(data, 0xa5, sizes[i]);
		cr_assert(sizes[i] == 0 || data[sizes[i] - 1] == 0xa5);
		free(data);
	}
}
