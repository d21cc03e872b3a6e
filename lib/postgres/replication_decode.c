/* postgres/replication_decode.c - bytes and texts of a walsender into values; pure. */
#include "postgres/replication_internal.h"

#include "base/text.h"

#include <string.h>

/* PostgreSQL counts microseconds from 2000-01-01: 10957 days after 1970. */
static const int64_t EPOCH_2000_US = INT64_C(10957) * 86400 * 1000000;

enum {
	DATA_HEADER_LEN = 25, /* 'w', start, end, clock */
	KEEPALIVE_LEN = 18,   /* 'k', end, clock, reply requested */
	/* The server sends 16 WAL pages at most; the largest page it can be built with is 64 KiB. */
	PAYLOAD_MAX = 16 * 65536
};

/* False when the server's clock is outside what 64 bits hold since 1970. */
static bool server_time(const uint8_t *at, int64_t *out)
{
	int64_t since_2000_us = (int64_t)get_u64_be(at);

	if (since_2000_us > INT64_MAX - EPOCH_2000_US)
		return false;
	*out = since_2000_us + EPOCH_2000_US;
	return true;
}

static enum err decode_data(struct bytes in, struct wal_stream_message *out, struct error *why)
{
	struct wal_stream_message message = {.kind = WAL_STREAM_DATA};

	if (in.len < DATA_HEADER_LEN)
		return error_set(why, ERR_PEER, "WAL stream: data message of %zu bytes", in.len);
	message.start = lsn_of(get_u64_be(in.data + 1));
	message.server_end = lsn_of(get_u64_be(in.data + 9));
	message.payload = bytes_of(in.data + DATA_HEADER_LEN, in.len - DATA_HEADER_LEN);
	if (message.payload.len > PAYLOAD_MAX ||
	    message.start.value > UINT64_MAX - message.payload.len)
		return error_set(why, ERR_PEER, "WAL stream: %zu bytes at once",
				 message.payload.len);
	if (!server_time(in.data + 17, &message.server_time_us))
		return error_set(why, ERR_PEER, "WAL stream: impossible server time");
	*out = message;
	return ERR_NONE;
}

static enum err decode_keepalive(struct bytes in, struct wal_stream_message *out, struct error *why)
{
	struct wal_stream_message message = {.kind = WAL_STREAM_KEEPALIVE};

	if (in.len != KEEPALIVE_LEN)
		return error_set(why, ERR_PEER, "WAL stream: keepalive of %zu bytes", in.len);
	message.server_end = lsn_of(get_u64_be(in.data + 1));
	if (!server_time(in.data + 9, &message.server_time_us))
		return error_set(why, ERR_PEER, "WAL stream: impossible server time");
	message.reply_requested = in.data[17] != 0;
	*out = message;
	return ERR_NONE;
}

enum err decode_wal_message(struct bytes in, struct wal_stream_message *out, struct error *why)
{
	if (in.len == 0)
		return error_set(why, ERR_PEER, "WAL stream: empty message");
	if (in.data[0] == 'w')
		return decode_data(in, out, why);
	if (in.data[0] == 'k')
		return decode_keepalive(in, out, why);
	return error_set(why, ERR_PEER, "WAL stream: message of unknown type 0x%02x", in.data[0]);
}

enum err decode_segment_bytes(const char *text, uint32_t *out, struct error *why)
{
	static const struct {
		const char *unit;
		uint64_t bytes;
	} units[] = {
		{"kB", UINT64_C(1) << 10}, {"MB", UINT64_C(1) << 20}, {"GB", UINT64_C(1) << 30}};
	size_t digits = strspn(text, "0123456789");
	uint64_t n;

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(text + digits, units[i].unit) != 0 ||
		    !text_to_u64(bytes_of(text, digits), &n) || n > WAL_SEGMENT_BYTES_MAX ||
		    !wal_is_segment_bytes(n * units[i].bytes))
			continue;
		*out = (uint32_t)(n * units[i].bytes);
		return ERR_NONE;
	}
	return error_set(why, ERR_PEER, "wal_segment_size: %.64s: no size of a WAL segment", text);
}

enum err decode_timeline(const char *text, uint32_t *out, struct error *why)
{
	uint64_t n;

	if (text == NULL || !text_to_u64(bytes_of_text(text), &n) || n == 0 || n > UINT32_MAX)
		return error_set(why, ERR_PEER, "timeline: %.64s: no timeline's number",
				 text != NULL ? text : "nothing");
	*out = (uint32_t)n;
	return ERR_NONE;
}

enum err decode_lsn(const char *text, struct lsn *out, struct error *why)
{
	struct lsn lsn;

	if (text == NULL || lsn_from_text(text, &lsn, NULL) != ERR_NONE)
		return error_set(why, ERR_PEER, "LSN: %.64s: no WAL position",
				 text != NULL ? text : "nothing");
	*out = lsn;
	return ERR_NONE;
}

void encode_status_update(struct lsn written, struct lsn flushed, int64_t now_us,
			  uint8_t out[STATUS_UPDATE_LEN])
{
	memset(out, 0, STATUS_UPDATE_LEN); /* applied 0 = unknown; no reply wanted */
	out[0] = 'r';
	put_u64_be(out + 1, written.value);
	put_u64_be(out + 9, flushed.value);
	put_u64_be(out + 25, (uint64_t)(now_us - EPOCH_2000_US));
}
