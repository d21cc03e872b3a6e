#include "pgformat/page.h"

#include "golden.h"

#define GOLDEN "tests/golden/pgformat/"

Test(page, checksums_of_real_pages_are_reproduced)
{
	struct golden heap = golden_read(GOLDEN "heap.15.blocks-0-1");
	struct golden last = golden_read(GOLDEN "heap.18.block-3");

	cr_assert_eq(heap.len, 2 * PAGE_BYTES);
	for (uint32_t block = 0; block < 2; block++) {
		const uint8_t *page = heap.data + block * PAGE_BYTES;

		cr_assert_eq(page_checksum(page, block), get_u16(page + 8));
		cr_assert_neq(page_checksum(page, block + 1), get_u16(page + 8));
	}
	cr_assert_eq(page_checksum(last.data, 3), get_u16(last.data + 8));
}

Test(page, checksum_does_not_depend_on_itself_or_alignment)
{
	struct golden heap = golden_read(GOLDEN "heap.15.blocks-0-1");
	uint16_t stored = get_u16(heap.data + 8);

	put_u16(heap.data + 8, 0);
	cr_assert_eq(page_checksum(heap.data, 0), stored);
	memmove(heap.data + 1, heap.data, PAGE_BYTES);
	cr_assert_eq(page_checksum(heap.data + 1, 0), stored);
}

Test(page, lsn_is_high_half_first)
{
	struct golden heap = golden_read(GOLDEN "heap.15.blocks-0-1");

	cr_assert_eq(page_lsn(heap.data).value, 0x8639A0);
	put_u32(heap.data, 0x16);
	cr_assert_eq(page_lsn(heap.data).value, 0x16008639A0);
}

Test(page, every_flipped_bit_is_found)
{
	struct golden heap = golden_read(GOLDEN "heap.15.blocks-0-1");
	const struct lsn start = lsn_of(UINT64_MAX);

	cr_assert(page_is_good(heap.data, 0, start));
	for (size_t i = 0; i < PAGE_BYTES * 8; i += 37) {
		heap.data[i / 8] ^= (uint8_t)(1U << i % 8);
		cr_assert_not(page_is_good(heap.data, 0, start), "bit %zu", i);
		heap.data[i / 8] ^= (uint8_t)(1U << i % 8);
	}
	cr_assert_not(page_is_good(heap.data, 1, start), "a page at another place is wrong");
}

Test(page, new_pages_and_pages_written_during_the_backup_are_good)
{
	struct golden heap = golden_read(GOLDEN "heap.15.blocks-0-1");
	static const uint8_t zero[PAGE_BYTES];

	cr_assert(page_is_good(zero, 5, lsn_of(1)));
	heap.data[5000] ^= 1;
	cr_assert(page_is_good(heap.data, 0, lsn_of(0x8639A0)), "written at the backup's start");
	cr_assert_not(page_is_good(heap.data, 0, lsn_of(0x8639A1)));
	put_u16(heap.data + 14, 0);
	cr_assert(page_is_good(heap.data, 0, lsn_of(0x8639A1)), "pd_upper 0 is a new page");
}

Test(relation_file, paths_of_every_kind_are_read)
{
	static const struct {
		const char *path;
		struct relation_file file;
	} cases[] = {
		{"base/5/16384", {0, 5, 16384, 0, 0}},
		{"base/5/16384.1", {0, 5, 16384, 1, 0}},
		{"base/5/16384_fsm", {0, 5, 16384, 0, 1}},
		{"base/5/16384_vm.12", {0, 5, 16384, 12, 2}},
		{"base/4294967295/4294967295_init.32767", {0, UINT32_MAX, UINT32_MAX, 32767, 3}},
		{"global/1262", {0, 0, 1262, 0, 0}},
		{"global/1262_fsm", {0, 0, 1262, 0, 1}},
		{"pg_tblspc/16391/PG_15_202209061/1/16392", {16391, 1, 16392, 0, 0}},
		{"pg_tblspc/1/PG_18_202506291/5/7_vm.3", {1, 5, 7, 3, 2}},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct relation_file f;

		cr_assert(relation_file_from_path(cases[i].path, &f), "%s", cases[i].path);
		cr_assert_eq(f.tablespace, cases[i].file.tablespace, "%s", cases[i].path);
		cr_assert_eq(f.database, cases[i].file.database, "%s", cases[i].path);
		cr_assert_eq(f.number, cases[i].file.number, "%s", cases[i].path);
		cr_assert_eq(f.segment, cases[i].file.segment, "%s", cases[i].path);
		cr_assert_eq(f.fork, cases[i].file.fork, "%s", cases[i].path);
	}
}

Test(relation_file, all_other_paths_are_none)
{
	static const char *const paths[] = {"",
					    "base",
					    "base/",
					    "base/5",
					    "base/5/",
					    "base/5/PG_VERSION",
					    "base/5/pg_filenode.map",
					    "base/5/016384",
					    "base/05/16384",
					    "base/5/0",
					    "base/0/5",
					    "base/5/16384.0",
					    "base/5/16384.01",
					    "base/5/16384.",
					    "base/5/16384.32768",
					    "base/5/16384_",
					    "base/5/16384_foo",
					    "base/5/16384.1_vm",
					    "base/5/16384_vm_fsm",
					    "base/5/4294967296",
					    "base/5/99999999999999999999999",
					    "base/5/t3_16384",
					    "base/5/t3_16384_vm",
					    "base/5/16384 ",
					    "base//16384",
					    "/base/5/16384",
					    "./base/5/16384",
					    "base/5/../5/16384",
					    "base/pgsql_tmp/pgsql_tmp1.0",
					    "global/pg_control",
					    "global/1/1262",
					    "pg_tblspc/16391",
					    "pg_tblspc/16391/1/16392",
					    "pg_tblspc/16391/PG_15/1/16392",
					    "pg_tblspc/16391/PG_15_202209061/16392",
					    "pg_tblspc/16391/PG_015_202209061/1/16392",
					    "pg_wal/000000010000000000000001"};
	struct relation_file f = {.number = 7};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		cr_assert_not(relation_file_from_path(paths[i], &f), "%s", paths[i]);
	cr_assert_eq(f.number, 7);
}

static void assert_headers(const char *path, unsigned major, uint64_t system_identifier,
			   uint32_t remaining)
{
	struct golden g = golden_read(path);
	struct wal_page page;

	cr_assert_eq(g.len, 3 * 40);
	cr_assert(wal_page_decode(bytes_of(g.data, 40), &page));
	cr_assert_eq(wal_page_major(page.magic), major);
	cr_assert_eq(page.info, WAL_PAGE_LONG | WAL_PAGE_REMOVABLE);
	cr_assert_eq(page.timeline, 1);
	cr_assert_eq(page.address.value, 0xB00000);
	cr_assert_eq(page.system_identifier, system_identifier);
	cr_assert_eq(page.segment_bytes, 1 << 20);
	cr_assert_eq(page.header_bytes, 40);
	cr_assert(wal_page_decode(bytes_of(g.data + 40, 40), &page));
	cr_assert_eq(page.info, WAL_PAGE_CONTINUES | WAL_PAGE_REMOVABLE);
	cr_assert_eq(page.address.value, 0xC02000);
	cr_assert_eq(page.remaining, remaining);
	cr_assert_eq(page.system_identifier, 0);
	cr_assert_eq(page.segment_bytes, 0);
	cr_assert_eq(page.header_bytes, 24);
	cr_assert(wal_page_decode(bytes_of(g.data + 80, 40), &page));
	cr_assert_eq(page.info, WAL_PAGE_LONG | WAL_PAGE_REMOVABLE | WAL_PAGE_OVERWRITES);
	cr_assert_eq(page.timeline, 2);
}

Test(wal_page, headers_of_real_pages_are_read)
{
	assert_headers(GOLDEN "wal_page_headers.15", 15, UINT64_C(7711350187797085647), 0x119509);
	assert_headers(GOLDEN "wal_page_headers.18", 18, UINT64_C(7711350464323505919), 0x1193C1);
}

Test(wal_page, majors_have_their_magic)
{
	cr_assert_eq(wal_page_major(0xD113), 16);
	cr_assert_eq(wal_page_major(0xD116), 17);
	cr_assert_eq(wal_page_major(0xD10D), 0);
}

Test(wal_page, senseless_headers_are_no_pages)
{
	static const struct {
		size_t at;
		uint32_t value;
	} damage[] = {
		{0, 0x0006D10D}, /* magic of PostgreSQL 14 */
		{0, 0x0016D110}, /* unknown bit */
		{0, 0x0007D110}, /* continues with nothing */
		{4, 0},          /* timeline */
		{8, 0xB00001},   /* address inside a page */
		{16, 9},         /* a rest without the bit */
		{32, 12345},     /* segment size */
		{36, 16384},     /* page size */
	};
	struct golden g = golden_read(GOLDEN "wal_page_headers.15");
	struct wal_page page;
	static const uint8_t zero[40];

	for (size_t i = 0; i < sizeof(damage) / sizeof(damage[0]); i++) {
		uint32_t was = get_u32(g.data + damage[i].at);

		put_u32(g.data + damage[i].at, damage[i].value);
		cr_assert_not(wal_page_decode(bytes_of(g.data, 40), &page), "case %zu", i);
		put_u32(g.data + damage[i].at, was);
		cr_assert(wal_page_decode(bytes_of(g.data, 40), &page));
	}
	cr_assert_not(wal_page_decode(bytes_of(zero, 40), &page));
	cr_assert_not(wal_page_decode(bytes_of(g.data, 39), &page));
}
