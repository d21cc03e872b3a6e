/* wal/record.c - what kind of record it is and where its main data begins. */
#include "wal/record.h"

enum { RM_XLOG = 0, RM_XACT = 1, RM_STANDBY = 8 };

/* From 2000-01-01, where PostgreSQL counts from, to 1970. */
#define EPOCH_US INT64_C(946684800000000)

static enum wal_record_kind xlog_kind(uint8_t info)
{
	switch (info & 0xF0) {
	case 0x40:
		return WAL_RECORD_SWITCH;
	case 0x50:
		return WAL_RECORD_BACKUP_END;
	case 0x70:
		return WAL_RECORD_RESTORE_POINT;
	case 0xD0:
		return WAL_RECORD_OVERWRITES;
	default:
		return WAL_RECORD_OTHER;
	}
}

/* Bit 0x80 says that more parts follow the time; it belongs to no operation. */
static enum wal_record_kind xact_kind(uint8_t info)
{
	switch (info & 0x70) {
	case 0x00:
		return WAL_RECORD_COMMIT;
	case 0x20:
		return WAL_RECORD_ABORT;
	case 0x30:
		return WAL_RECORD_COMMIT_PREPARED;
	case 0x40:
		return WAL_RECORD_ABORT_PREPARED;
	default:
		return WAL_RECORD_OTHER;
	}
}

enum wal_record_kind wal_record_kind(const struct wal_record *record)
{
	if (record->rmid == RM_XLOG)
		return xlog_kind(record->info);
	if (record->rmid == RM_XACT)
		return xact_kind(record->info);
	return WAL_RECORD_OTHER;
}

bool wal_record_is_commit(const struct wal_record *record)
{
	enum wal_record_kind kind = wal_record_kind(record);

	return kind == WAL_RECORD_COMMIT || kind == WAL_RECORD_COMMIT_PREPARED;
}

bool wal_record_is_missed(const struct wal_record *record)
{
	return (record->rmid != RM_XLOG && record->rmid != RM_STANDBY) ||
	       wal_record_kind(record) == WAL_RECORD_RESTORE_POINT;
}

bool wal_record_is_prepare(const struct wal_record *record)
{
	return record->rmid == RM_XACT && (record->info & 0x70) == 0x10;
}

bool wal_record_locks(const struct wal_record *record)
{
	return record->rmid == RM_STANDBY && (record->info & 0xF0) == 0x00;
}

/* One block reference behind its id; returns how much data it announces. */
static uint64_t block_header(struct reader *r)
{
	uint8_t flags = reader_u8(r);
	uint64_t data = reader_u16(r);

	if ((flags & 0x10) != 0) { /* with an image of the page */
		uint8_t image;

		data += reader_u16(r);
		(void)reader_u16(r); /* where the hole begins */
		image = reader_u8(r);
		if ((image & 0x1C) != 0 && (image & 0x01) != 0)
			(void)reader_u16(r); /* compressed and with a hole: its length */
	}
	if ((flags & 0x80) == 0)
		(void)reader_take(r, 12); /* tablespace, database, relation */
	(void)reader_u32(r);              /* block */
	return data;
}

bool wal_record_main(const struct wal_record *record, struct bytes *out)
{
	struct reader r = reader_of(record->seen);
	uint64_t data = 0, main_len = 0, headers;
	bool found = false;

	(void)reader_take(&r, WAL_RECORD_HEADER_BYTES);
	/* Headers go on until what they announce fills the rest of the record; the main data's own
	 * header, where there is one, is the last. */
	while (!r.bad && !found && record->len > (record->seen.len - r.left) + data) {
		uint8_t id = reader_u8(&r);

		if (id == 255 || id == 254) {
			main_len = id == 255 ? reader_u8(&r) : reader_u32(&r);
			found = true;
		} else if (id == 253) {
			(void)reader_u16(&r); /* replication origin */
		} else if (id == 252) {
			(void)reader_u32(&r); /* top-level transaction */
		} else if (id <= 32) {
			data += block_header(&r);
		} else {
			return false;
		}
	}
	headers = record->seen.len - r.left;
	if (r.bad || !found || headers + data + main_len != record->len)
		return false;
	(void)reader_take(&r, data > r.left ? r.left : (size_t)data);
	*out = bytes_of(r.at, main_len < r.left ? (size_t)main_len : r.left);
	return true;
}

/* The time that main data of commits, aborts and restore points begins with. */
static bool main_time(struct bytes main, int64_t *unix_us)
{
	uint64_t us;

	if (main.len < 8)
		return false;
	/* Unsigned, so that a senseless time wraps round instead of overflowing. */
	us = get_u64(main.data) + (uint64_t)EPOCH_US;
	*unix_us = (int64_t)us;
	return true;
}

bool wal_record_time(const struct wal_record *record, int64_t *unix_us)
{
	enum wal_record_kind kind = wal_record_kind(record);
	struct bytes main;

	if (kind != WAL_RECORD_COMMIT && kind != WAL_RECORD_ABORT &&
	    kind != WAL_RECORD_COMMIT_PREPARED && kind != WAL_RECORD_ABORT_PREPARED)
		return false;
	return wal_record_main(record, &main) && main_time(main, unix_us);
}

bool wal_record_birth(const struct wal_record *record, int64_t *from_us, int64_t *to_us)
{
	enum { SHUTDOWN = 0x00, END_OF_RECOVERY = 0x90, CHECKPOINT_TIME_OFFSET = 64 };
	enum { SECOND_US = 1000000 };
	uint8_t operation = record->info & 0xF0;
	struct bytes main;
	uint64_t seconds;

	if (record->rmid != RM_XLOG || (operation != SHUTDOWN && operation != END_OF_RECOVERY) ||
	    !wal_record_main(record, &main))
		return false;
	if (operation == END_OF_RECOVERY) {
		if (!main_time(main, from_us))
			return false;
		*to_us = *from_us;
		return true;
	}
	if (main.len < CHECKPOINT_TIME_OFFSET + 8)
		return false;
	/* Of 1970, unlike all other times. */
	seconds = get_u64(main.data + CHECKPOINT_TIME_OFFSET);
	if (seconds >= INT64_MAX / SECOND_US)
		return false;
	*from_us = (int64_t)seconds * SECOND_US;
	*to_us = *from_us + SECOND_US - 1;
	return true;
}

bool wal_record_restore_point(const struct wal_record *record,
			      char name[WAL_RESTORE_POINT_NAME_MAX], int64_t *unix_us)
{
	struct bytes main;
	int64_t time;

	if (wal_record_kind(record) != WAL_RECORD_RESTORE_POINT ||
	    !wal_record_main(record, &main) || main.len != 8 + WAL_RESTORE_POINT_NAME_MAX ||
	    !main_time(main, &time) ||
	    memchr(main.data + 8, '\0', WAL_RESTORE_POINT_NAME_MAX) == NULL)
		return false;
	/* What follows the NUL is whatever lay in the server's memory. */
	memset(name, 0, WAL_RESTORE_POINT_NAME_MAX);
	memcpy(name, main.data + 8, strlen((const char *)main.data + 8));
	*unix_us = time;
	return true;
}
