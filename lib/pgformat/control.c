/* pgformat/control.c - the fields of pg_control, where they are in each major version. */
#include "pgformat/control.h"

#include "base/crc32c.h"

enum { CONTROL_VERSION_15 = 1300, CONTROL_VERSION_17 = 1700, CONTROL_VERSION_18 = 1800 };

/* Offset of the CRC, which covers all bytes before it; 0 for a version not known here. */
static size_t crc_offset(uint32_t control_version)
{
	switch (control_version) {
	case CONTROL_VERSION_15: /* 16 has the same */
	case CONTROL_VERSION_17:
		return 288;
	case CONTROL_VERSION_18:
		return 292;
	default:
		return 0;
	}
}

static enum err check_whole(struct bytes in, struct error *why)
{
	uint32_t version;
	size_t crc_at;

	if (in.len != CONTROL_FILE_BYTES)
		return error_set(why, ERR_CORRUPT, "reading pg_control: it has %zu bytes, not %d",
				 in.len, CONTROL_FILE_BYTES);
	version = get_u32(in.data + 8);
	/* Versions stay below 65536, so that a number like this one is a small one turned round. */
	if (version != 0 && (version & 0xFFFF) == 0)
		return error_set(why, ERR_CORRUPT,
				 "reading pg_control: it was written in the other byte order");
	crc_at = crc_offset(version);
	if (crc_at == 0) {
		error_set(why, ERR_CONFIG, "reading pg_control: its version %u is unknown",
			  version);
		error_hint(why, "PostgreSQL 15 to 18 are supported");
		return ERR_CONFIG;
	}
	if (crc32c(bytes_of(in.data, crc_at)) != get_u32(in.data + crc_at))
		return error_set(why, ERR_CORRUPT,
				 "reading pg_control: its checksum does not match");
	return ERR_NONE;
}

enum err control_decode(struct bytes in, struct control *out, struct error *why)
{
	const uint8_t *p = in.data;
	enum err kind = check_whole(in, why);
	struct control c;

	if (kind != ERR_NONE)
		return kind;
	c = (struct control){
		.system_identifier = get_u64(p),
		.control_version = get_u32(p + 8),
		.catalog_version = get_u32(p + 12),
		.state = get_u32(p + 16),
		.checkpoint = lsn_of(get_u64(p + 32)),
		.redo = lsn_of(get_u64(p + 40)),
		.timeline = get_u32(p + 48),
		.min_recovery = lsn_of(get_u64(p + 136)),
		.min_recovery_timeline = get_u32(p + 144),
		.backup_start = lsn_of(get_u64(p + 152)),
		.backup_end = lsn_of(get_u64(p + 160)),
		.wal_level = (int32_t)get_u32(p + 172),
		.max_connections = (int32_t)get_u32(p + 180),
		.max_worker_processes = (int32_t)get_u32(p + 184),
		.max_wal_senders = (int32_t)get_u32(p + 188),
		.max_prepared_transactions = (int32_t)get_u32(p + 192),
		.max_locks_per_transaction = (int32_t)get_u32(p + 196),
		.block_bytes = get_u32(p + 216),
		.wal_segment_bytes = get_u32(p + 228),
		.data_checksums = get_u32(p + 252),
	};
	if (!wal_is_segment_bytes(c.wal_segment_bytes))
		return error_set(why, ERR_CORRUPT,
				 "reading pg_control: %u bytes are no WAL segment size",
				 c.wal_segment_bytes);
	*out = c;
	return ERR_NONE;
}

unsigned control_major(const struct control *c)
{
	static const struct {
		uint32_t control, catalog;
		unsigned major;
	} known[] = {
		{CONTROL_VERSION_15, 202209061, 15},
		{CONTROL_VERSION_15, 202307071, 16},
		{CONTROL_VERSION_17, 202406281, 17},
		{CONTROL_VERSION_18, 202506291, 18},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].control == c->control_version &&
		    known[i].catalog == c->catalog_version)
			return known[i].major;
	return 0;
}
