/* tests/unit/postgres/replication.c - a walsender's bytes, honest and hostile. */
#include "postgres/replication_internal.h"

#include <criterion/criterion.h>
#include <string.h>

static size_t data_message(uint8_t *out, uint64_t start, uint64_t end, int64_t clock_us, size_t n)
{
	out[0] = 'w';
	put_u64_be(out + 1, start);
	put_u64_be(out + 9, end);
	put_u64_be(out + 17, (uint64_t)clock_us);
	memset(out + 25, 0xab, n);
	return 25 + n;
}

Test(replication, a_data_message_has_start_end_time_and_payload)
{
	uint8_t in[64];
	struct wal_stream_message m;
	struct error why;
	size_t len = data_message(in, 0x3000000, 0x4000000, 5, 10);

	cr_assert_eq(decode_wal_message(bytes_of(in, len), &m, &why), ERR_NONE);
	cr_expect_eq(m.kind, WAL_STREAM_DATA);
	cr_expect_eq(m.start.value, 0x3000000);
	cr_expect_eq(m.server_end.value, 0x4000000);
	cr_expect_eq(m.server_time_us, INT64_C(946684800000005)); /* 2000-01-01 and 5 us */
	cr_expect_eq(m.payload.len, 10);
	cr_expect_eq(m.payload.data, in + 25);
}

Test(replication, an_empty_payload_is_tolerated)
{
	uint8_t in[64];
	struct wal_stream_message m;
	struct error why;

	cr_assert_eq(decode_wal_message(bytes_of(in, data_message(in, 1, 1, 0, 0)), &m, &why),
		     ERR_NONE);
	cr_expect_eq(m.payload.len, 0);
}

Test(replication, a_keepalive_may_ask_for_a_reply)
{
	uint8_t in[18] = {'k'};
	struct wal_stream_message m;
	struct error why;

	put_u64_be(in + 1, 77);
	in[17] = 1;
	cr_assert_eq(decode_wal_message(bytes_of(in, 18), &m, &why), ERR_NONE);
	cr_expect_eq(m.kind, WAL_STREAM_KEEPALIVE);
	cr_expect_eq(m.server_end.value, 77);
	cr_expect(m.reply_requested);
}

Test(replication, hostile_messages_are_refused)
{
	static uint8_t in[2 << 20];
	struct wal_stream_message m;
	struct error why;
	size_t len;

	for (len = 0; len < 25; len++) {
		(void)data_message(in, 1, 2, 3, 0);
		cr_expect_eq(decode_wal_message(bytes_of(in, len), &m, &why), ERR_PEER, "%zu", len);
	}
	len = data_message(in, UINT64_MAX - 3, 2, 3, 10);
	cr_expect_eq(decode_wal_message(bytes_of(in, len), &m, &why), ERR_PEER);
	len = data_message(in, 1, 2, INT64_MAX, 10);
	cr_expect_eq(decode_wal_message(bytes_of(in, len), &m, &why), ERR_PEER);
	len = data_message(in, 1, 2, 3, (1 << 20) + 1);
	cr_expect_eq(decode_wal_message(bytes_of(in, len), &m, &why), ERR_PEER);
	in[0] = 'k';
	cr_expect_eq(decode_wal_message(bytes_of(in, 17), &m, &why), ERR_PEER);
	cr_expect_eq(decode_wal_message(bytes_of(in, 19), &m, &why), ERR_PEER);
	for (int type = 0; type < 256; type++) {
		in[0] = (uint8_t)type;
		if (type != 'w' && type != 'k')
			cr_expect_eq(decode_wal_message(bytes_of(in, 30), &m, &why), ERR_PEER);
	}
}

Test(replication, a_status_update_is_34_bytes_with_applied_unknown)
{
	uint8_t out[STATUS_UPDATE_LEN];

	encode_status_update(lsn_of(9), lsn_of(8), INT64_C(946684800000007), out);
	cr_expect_eq(out[0], 'r');
	cr_expect_eq(get_u64_be(out + 1), 9);
	cr_expect_eq(get_u64_be(out + 9), 8);
	cr_expect_eq(get_u64_be(out + 17), 0);
	cr_expect_eq(get_u64_be(out + 25), 7);
	cr_expect_eq(out[33], 0);
}

Test(replication, segment_sizes_are_powers_of_two_from_1_MiB_to_1_GiB)
{
	static const char *const bad[] = {
		"",      "16",    "MB",   "3MB",   "512kB",
		"2GB",   "16 MB", "16mb", "-16MB", "18446744073709551617MB",
		"16MBx", "0MB"};
	uint32_t n = 0;
	struct error why;

	cr_assert_eq(decode_segment_bytes("16MB", &n, &why), ERR_NONE);
	cr_expect_eq(n, 16u << 20);
	cr_assert_eq(decode_segment_bytes("1MB", &n, &why), ERR_NONE);
	cr_expect_eq(n, 1u << 20);
	cr_assert_eq(decode_segment_bytes("1GB", &n, &why), ERR_NONE);
	cr_expect_eq(n, 1u << 30);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_expect_eq(decode_segment_bytes(bad[i], &n, &why), ERR_PEER, "%s", bad[i]);
		cr_expect(strstr(why.text, "wal_segment_size") != NULL, "%s", why.text);
	}
}

Test(replication, timelines_and_positions_of_the_server_are_checked)
{
	uint32_t timeline = 0;
	struct lsn lsn;
	struct error why;

	cr_expect_eq(decode_timeline("4294967295", &timeline, &why), ERR_NONE);
	cr_expect_eq(timeline, UINT32_MAX);
	cr_expect_eq(decode_timeline("0", &timeline, &why), ERR_PEER);
	cr_expect_eq(decode_timeline("4294967296", &timeline, &why), ERR_PEER);
	cr_expect_eq(decode_timeline("-1", &timeline, &why), ERR_PEER);
	cr_expect_eq(decode_timeline(NULL, &timeline, &why), ERR_PEER);
	cr_expect_eq(decode_lsn("1/3000028", &lsn, &why), ERR_NONE);
	cr_expect_eq(lsn.value, UINT64_C(0x103000028));
	cr_expect_eq(decode_lsn("", &lsn, &why), ERR_PEER);
	cr_expect_eq(decode_lsn(NULL, &lsn, &why), ERR_PEER);
}
