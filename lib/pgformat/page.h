/* pgformat/page.h - heap, index and WAL pages: what can be told from their headers.
 *
 * Source: src/include/storage/bufpage.h, checksum_impl.h, access/xlog_internal.h.
 */
#ifndef PGFORMAT_PAGE_H
#define PGFORMAT_PAGE_H

#include "pgformat/lsn.h"

enum { PAGE_BYTES = 8192 };

/* The checksum that the server would store in the page, `block` counted over the whole relation
 * (segment * 131072 + block in segment).  Never 0. */
uint16_t page_checksum(const uint8_t page[PAGE_BYTES], uint32_t block);

/* pd_lsn of the page. */
struct lsn page_lsn(const uint8_t page[PAGE_BYTES]);

/* False when the page has a checksum that is wrong, by the server's own rule: new pages
 * (pd_upper 0) and pages with pd_lsn >= `backup_start` count as good. */
bool page_is_good(const uint8_t page[PAGE_BYTES], uint32_t block, struct lsn backup_start);

/* A relation file by its path inside PGDATA ("base/5/16384.1", "pg_tblspc/1/PG_15_…/5/7_vm"). */
struct relation_file {
	uint32_t tablespace; /* 0 = pg_default or pg_global by path */
	uint32_t database;   /* 0 = global */
	uint32_t number;     /* relfilenumber */
	uint32_t segment;    /* 1 GiB each */
	uint8_t fork;        /* 0 main, 1 fsm, 2 vm, 3 init */
};
bool relation_file_from_path(const char *path, struct relation_file *out);

/* WAL page headers.  The first page of every segment has the long one. */
enum {
	WAL_PAGE_CONTINUES = 1, /* begins with the rest of a record */
	WAL_PAGE_LONG = 2,
	WAL_PAGE_REMOVABLE = 4,  /* no base backup was running; set on most pages */
	WAL_PAGE_OVERWRITES = 8, /* the record before it stays unfinished for ever */
	WAL_PAGE_INFO_BITS = 15
};
struct wal_page {
	uint16_t magic;
	uint16_t info; /* of the bits above */
	uint32_t timeline;
	struct lsn address;
	uint32_t remaining;         /* bytes of the record continued here */
	uint64_t system_identifier; /* long header only, else 0 */
	uint32_t segment_bytes;     /* long header only, else 0 */
	uint32_t header_bytes;      /* 24 or 40 */
};
/* Reads what is there and checks it for sense (known magic of 15-18, known info bits, page size);
 * false = not a WAL page; so is one of less than 40 bytes. */
bool wal_page_decode(struct bytes in, struct wal_page *out);
/* 15..18 from the magic; 0 = unknown. */
unsigned wal_page_major(uint16_t magic);

#endif
