/* golden/made_cluster.h - the made-up cluster of the golden repositories: what each page of each file
 * holds in each of three versions, and real WAL to go with it.
 */
#ifndef GOLDEN_MADE_CLUSTER_H
#define GOLDEN_MADE_CLUSTER_H

#include "base/bytes.h"
#include "base/crc32c.h"
#include "repo/map.h"

#include <stdio.h>
#include <stdlib.h>

enum { VERSIONS = 3, SEGMENT = 1 << 20, RUNS_MAX = 1 << 20 };

struct file {
	const char *path;
	uint64_t size[VERSIONS]; /* UINT64_MAX = not there in that version */
	unsigned change;         /* every such page differs from version to version; 0 = none */
	bool sparse;
	const char *text; /* of small files; `size` is its length */
};

#define GONE UINT64_MAX
#define PAGES(n) ((uint64_t)(n)*MAP_PAGE_BYTES)
#define SAME(n)                                                                                    \
	{                                                                                          \
		n, n, n                                                                            \
	}

static const struct file cluster_file[] = {
	{.path = "pg_tblspc/16400/PG_15_202209061/5/16401", .size = SAME(PAGES(20)), .change = 13},
	{.path = "backup_label",
	 .text = "START WAL LOCATION: 0/B00028 (file 00000001000000000000000B)\n"},
	{.path = "tablespace_map", .text = "16400 /srv/space\n"},
	{.path = "PG_VERSION", .text = "15\n"},
	{.path = "postgresql.conf", .text = "port = 5432\n"},
	{.path = "base/5/1259", .size = SAME(PAGES(14))},
	{.path = "base/5/empty", .size = SAME(0)},
	{.path = "base/5/short", .size = SAME(100)},
	{.path = "base/5/short_tail", .size = {PAGES(3) + 7, PAGES(3) + 7, PAGES(2) + 9}},
	{.path = "base/5/zeros", .size = SAME(PAGES(6) + 77), .sparse = true},
	/* Patches: a few of many pages change; the second one grows besides, the third shrinks. */
	{.path = "base/5/16384", .size = SAME(PAGES(60)), .change = 17},
	{.path = "base/5/16385", .size = {PAGES(40), PAGES(45), PAGES(45) + 512}, .change = 19},
	{.path = "base/5/16386", .size = {PAGES(50), PAGES(47), PAGES(47)}, .change = 0},
	/* Rewritten whole. */
	{.path = "base/5/16387", .size = SAME(PAGES(33)), .change = 1},
	/* Two shards, mostly holes. */
	{.path = "base/5/16388", .size = SAME(PAGES(2048 + 40) + 1), .change = 23, .sparse = true},
	{.path = "base/5/16389", .size = {GONE, PAGES(5), PAGES(5)}},
	{.path = "base/5/16390", .size = {PAGES(5), PAGES(5), GONE}},
	{.path = "global/pg_control", .size = SAME(PAGES(1))},
};
enum { CLUSTER_FILES = sizeof(cluster_file) / sizeof(cluster_file[0]) };

static const char *const directories[] = {"pg_tblspc/16400/PG_15_202209061",
					  "pg_tblspc/16400/PG_15_202209061/5",
					  "base",
					  "base/5",
					  "global",
					  "pg_tblspc",
					  "pg_wal",
					  "pg_wal/archive_status",
					  "pg_notify"};

static inline uint64_t size_of(const struct file *f, unsigned version)
{
	return f->text != NULL ? strlen(f->text) : f->size[version];
}

static inline bool is_control(const struct file *f)
{
	return strcmp(f->path, "global/pg_control") == 0;
}

static inline void fill_control(uint8_t *out, uint64_t system)
{
	FILE *in = fopen("tests/golden/pgformat/pg_control.15", "rb");

	if (in == NULL || fread(out, 1, MAP_PAGE_BYTES, in) < 296 || fclose(in) != 0) {
		(void)fprintf(stderr, "pg_control.15 cannot be read: run this in the root\n");
		exit(1);
	}
	put_u64(out, system);
	put_u32(out + 288, crc32c(bytes_of(out, 288)));
}

/* The bytes of a page; what compresses well, and differs from page to page. */
static inline size_t page_of(const struct file *f, unsigned version, uint64_t n, uint64_t system,
			     uint8_t out[MAP_PAGE_BYTES])
{
	uint64_t left = size_of(f, version) - n * MAP_PAGE_BYTES;
	size_t len = left < MAP_PAGE_BYTES ? (size_t)left : MAP_PAGE_BYTES, at = 0;
	unsigned changed = f->change != 0 && n % f->change == 0 ? version : 0;

	memset(out, 0, MAP_PAGE_BYTES);
	if (f->text != NULL)
		memcpy(out, f->text, len);
	else if (is_control(f))
		fill_control(out, system);
	else if (!f->sparse || n % 31 == 3 || n == 2048)
		while (at < len) {
			char text[128];
			size_t text_len =
				(size_t)snprintf(text, sizeof(text), "%s page %lu version %u\n",
						 f->path, (unsigned long)n, changed);

			if (text_len > len - at)
				text_len = len - at;
			memcpy(out + at, text, text_len);
			at += text_len;
		}
	return len;
}

/* A `.runs` file (tests/support/golden.h) of real WAL. */
static inline void golden_wal(unsigned segno, uint8_t out[SEGMENT])
{
	static uint8_t packed[RUNS_MAX];
	char path[128];
	struct reader in;
	size_t at = 0, len;
	FILE *file;

	(void)snprintf(path, sizeof(path), "tests/golden/wal/15/%08X%08X%08X.runs", 1u, 0u, segno);
	file = fopen(path, "rb");
	if (file == NULL) {
		perror(path);
		exit(1);
	}
	len = fread(packed, 1, sizeof(packed), file);
	(void)fclose(file); /* only read */
	memset(out, 0, SEGMENT);
	in = reader_of(bytes_of(packed, len));
	while (in.left > 0) {
		uint32_t n = reader_u32(&in);
		struct bytes plain = reader_take(&in, n);
		uint32_t times;
		uint8_t value;

		memcpy(out + at, plain.data, plain.len);
		at += plain.len;
		times = reader_u32(&in);
		value = reader_u8(&in);
		memset(out + at, value, times);
		at += times;
	}
}

#endif
