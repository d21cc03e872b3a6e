/* pgformat/page.c - checksums of pages, names of relation files, headers of WAL pages. */
#include "pgformat/page.h"

/* PostgreSQL's checksum is made for vector units: 32 lanes of 32 bits that do not meet before the
 * end.  Each lane starts from its own number (storage/checksum_impl.h). */
enum { LANES = 32, ROWS = PAGE_BYTES / (4 * LANES) };
static const uint32_t lane_start[LANES] = {
	0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2,
	0x83E13D2C, 0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C,
	0xF718902A, 0x0B1C9CDB, 0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979,
	0xCCA6C0B2, 0x304A0979, 0x85AA43D4, 0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E,
	0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
};

/* One row of words into the lanes; no branch and no dependence between lanes. */
static void lanes_add(uint32_t lane[LANES], const uint32_t row[LANES])
{
	for (int i = 0; i < LANES; i++) {
		uint32_t t = lane[i] ^ row[i];

		lane[i] = t * 16777619U ^ t >> 17;
	}
}

uint16_t page_checksum(const uint8_t page[PAGE_BYTES], uint32_t block)
{
	static const uint32_t zeros[LANES];
	uint32_t lane[LANES], row[LANES], sum = 0;

	memcpy(lane, lane_start, sizeof(lane));
	for (int i = 0; i < ROWS; i++) {
		for (int j = 0; j < LANES; j++)
			row[j] = get_u32(page + (i * LANES + j) * 4);
		if (i == 0)
			row[2] &= 0xFFFF0000U; /* pd_checksum itself, bytes 8 and 9, counts as 0 */
		lanes_add(lane, row);
	}
	lanes_add(lane, zeros);
	lanes_add(lane, zeros);
	for (int i = 0; i < LANES; i++)
		sum ^= lane[i];
	return (uint16_t)((sum ^ block) % 65535 + 1);
}

struct lsn page_lsn(const uint8_t page[PAGE_BYTES])
{
	return lsn_of((uint64_t)get_u32(page) << 32 | get_u32(page + 4));
}

bool page_is_good(const uint8_t page[PAGE_BYTES], uint32_t block, struct lsn backup_start)
{
	if (get_u16(page + 14) == 0 || page_lsn(page).value >= backup_start.value)
		return true;
	return get_u16(page + 8) == page_checksum(page, block);
}

/* A number from 1 to `max` without leading zeros; *at is left behind it. */
static bool number_from_path(const char **at, uint32_t max, uint32_t *out)
{
	uint64_t value = 0;

	if (**at < '1' || **at > '9')
		return false;
	for (; **at >= '0' && **at <= '9'; (*at)++) {
		value = value * 10 + (uint64_t)(**at - '0');
		if (value > max)
			return false;
	}
	*out = (uint32_t)value;
	return true;
}

/* True when *at begins with `text`, which then is passed over. */
static bool skip_text(const char **at, const char *text)
{
	size_t len = strlen(text);

	if (strncmp(*at, text, len) != 0)
		return false;
	*at += len;
	return true;
}

/* "5/": the folder of a database. */
static bool database_from_path(const char **at, uint32_t *out)
{
	return number_from_path(at, UINT32_MAX, out) && skip_text(at, "/");
}

/* "16389/PG_15_202209061/": a tablespace and the folder of one major version in it. */
static bool tablespace_from_path(const char **at, uint32_t *out)
{
	uint32_t major, catalog;

	return number_from_path(at, UINT32_MAX, out) && skip_text(at, "/PG_") &&
	       number_from_path(at, 999, &major) && skip_text(at, "_") &&
	       number_from_path(at, UINT32_MAX, &catalog) && skip_text(at, "/");
}

/* "16384_vm.2": relfilenumber, fork, segment. */
static bool relation_from_name(const char *at, struct relation_file *file)
{
	/* A relation has fewer than 2^32 blocks, 131072 of them in each segment. */
	const uint32_t segment_max = UINT32_MAX / 131072;

	if (!number_from_path(&at, UINT32_MAX, &file->number))
		return false;
	if (skip_text(&at, "_fsm"))
		file->fork = 1;
	else if (skip_text(&at, "_vm"))
		file->fork = 2;
	else if (skip_text(&at, "_init"))
		file->fork = 3;
	if (skip_text(&at, ".") && !number_from_path(&at, segment_max, &file->segment))
		return false;
	return *at == '\0';
}

bool relation_file_from_path(const char *path, struct relation_file *out)
{
	struct relation_file file = {0};
	const char *at = path;

	if (skip_text(&at, "base/")) {
		if (!database_from_path(&at, &file.database))
			return false;
	} else if (skip_text(&at, "pg_tblspc/")) {
		if (!tablespace_from_path(&at, &file.tablespace) ||
		    !database_from_path(&at, &file.database))
			return false;
	} else if (!skip_text(&at, "global/")) {
		return false;
	}
	if (!relation_from_name(at, &file))
		return false;
	*out = file;
	return true;
}

unsigned wal_page_major(uint16_t magic)
{
	switch (magic) {
	case 0xD110:
		return 15;
	case 0xD113:
		return 16;
	case 0xD116:
		return 17;
	case 0xD118:
		return 18;
	default:
		return 0;
	}
}

bool wal_page_decode(struct bytes in, struct wal_page *out)
{
	const uint8_t *p = in.data;
	struct wal_page page;

	if (in.len < 40)
		return false;
	page = (struct wal_page){
		.magic = get_u16(p),
		.info = get_u16(p + 2),
		.timeline = get_u32(p + 4),
		.address = lsn_of(get_u64(p + 8)),
		.remaining = get_u32(p + 16),
		.header_bytes = 24,
	};
	if (wal_page_major(page.magic) == 0 || (page.info & ~WAL_PAGE_INFO_BITS) != 0 ||
	    page.timeline == 0 || page.address.value % WAL_PAGE_BYTES != 0)
		return false;
	if (((page.info & WAL_PAGE_CONTINUES) != 0) != (page.remaining != 0))
		return false;
	if ((page.info & WAL_PAGE_LONG) != 0) {
		page.header_bytes = 40;
		page.system_identifier = get_u64(p + 24);
		page.segment_bytes = get_u32(p + 32);
		if (!wal_is_segment_bytes(page.segment_bytes) || get_u32(p + 36) != WAL_PAGE_BYTES)
			return false;
	}
	*out = page;
	return true;
}
