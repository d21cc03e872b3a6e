/* Records of the file table: round trips, and paths and lengths that must not be believed. */
#include "repo/manifest.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct bytes text(const char *t)
{
	return bytes_of_text(t);
}

static struct file_record plain(const char *path, uint64_t size, const uint8_t *refs)
{
	return (struct file_record){
		.kind = FILE_PLAIN,
		.flags = FILE_FLAG_BAD_CHECKSUMS,
		.mode = 0600,
		.size = size,
		.modified_s = -5,
		.crc = 0xdeadbeef,
		.path = text(path),
		.shards = (uint32_t)((size + SHARD_FILE_BYTES - 1) / SHARD_FILE_BYTES),
		.shard_refs = refs};
}

static void refs_make(uint8_t *refs, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct file_shard_ref ref = {.pack = i,
					     .place = {.ordinal = i + 1,
						       .offset = 1000 + i,
						       .stored_len = 50,
						       .plain_len = 40000},
					     .offset = 300,
					     .len = 39700};

		file_shard_ref_encode(&ref, refs + 32 * (size_t)i);
	}
}

static enum err decode_one(struct bytes in, struct file_record *out, struct error *why)
{
	struct reader r = reader_of(in);

	return file_record_decode(&r, out, why);
}

Test(file_record, records_come_back_in_order)
{
	uint8_t refs[32 * 300];
	struct file_record record[3], back;
	struct file_shard_ref ref;
	struct writer w;
	struct reader r;
	struct error why;

	refs_make(refs, 300);
	record[0] = plain("base/5/16384", UINT64_C(299) * SHARD_FILE_BYTES + 1, refs);
	record[1] =
		(struct file_record){.kind = FILE_DIRECTORY, .mode = 0700, .path = text("pg_wal")};
	record[2] = (struct file_record){.kind = FILE_SYMLINK,
					 .mode = 0777,
					 .path = text("pg_tblspc/16385"),
					 .target = text("/space/1")};
	writer_init(&w, 1 << 20);
	for (int i = 0; i < 3; i++)
		file_record_encode(&record[i], &w);
	cr_assert_not(w.bad);
	r = reader_of(writer_view(&w));
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(file_record_decode(&r, &back, &why), ERR_NONE, "%s", why.text);
		cr_assert_eq(back.kind, record[i].kind);
		cr_assert_eq(back.flags, record[i].flags);
		cr_assert_eq(back.mode, record[i].mode);
		cr_assert_eq(back.size, record[i].size);
		cr_assert_eq(back.modified_s, record[i].modified_s);
		cr_assert_eq(back.crc, record[i].crc);
		cr_assert_eq(back.path.len, record[i].path.len);
		cr_assert_eq(memcmp(back.path.data, record[i].path.data, back.path.len), 0);
		cr_assert_eq(back.target.len, record[i].target.len);
		cr_assert_eq(back.shards, record[i].shards);
		if (i > 0)
			continue;
		cr_assert_eq(back.shards, 300);
		file_shard_ref_decode(back.shard_refs + 32 * 299, &ref);
		cr_assert_eq(ref.pack, 299);
		cr_assert_eq(ref.place.ordinal, 300);
		cr_assert_eq(ref.place.offset, 1299);
		cr_assert_eq(ref.place.plain_len, 40000);
		cr_assert_eq(ref.offset, 300);
		cr_assert_eq(ref.len, 39700);
	}
	cr_assert_eq(r.left, 0);
	cr_assert_eq(file_record_decode(&r, &back, &why), ERR_CORRUPT);
	writer_release(&w);
}

Test(file_record, paths_out_of_the_directory_are_refused)
{
	static const char *const bad[] = {"",     "/etc/passwd", "../x",  "a/../b", "a/..",
					  "a//b", "a/",          "./a",   "a/./b",  ".",
					  "..",   "//",          "a/b/.."};
	char long_path[FILE_PATH_MAX + 1];

	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	for (size_t i = 0; i <= sizeof(bad) / sizeof(bad[0]); i++) {
		const char *path = i < sizeof(bad) / sizeof(bad[0]) ? bad[i] : long_path;
		struct file_record record = plain(path, 0, NULL), back;
		struct error why;
		struct writer w;

		writer_init(&w, 1 << 16);
		file_record_encode(&record, &w);
		cr_assert_eq(decode_one(writer_view(&w), &back, &why), ERR_CORRUPT, "'%s'", path);
		cr_assert_not_null(strstr(why.text, "path"));
		writer_release(&w);
	}
	struct file_record record = plain("a\0b", 0, NULL), back;
	struct writer w;

	record.path.len = 3;
	writer_init(&w, 1 << 16);
	file_record_encode(&record, &w);
	cr_assert_eq(decode_one(writer_view(&w), &back, NULL), ERR_CORRUPT);
	writer_release(&w);
}

Test(file_record, names_with_dots_are_fine)
{
	static const char *const good[] = {"..a", "a..", "...", ".hidden", "base/1/2.1"};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct file_record record = plain(good[i], 0, NULL), back;
		struct writer w;

		writer_init(&w, 1 << 16);
		file_record_encode(&record, &w);
		cr_assert_eq(decode_one(writer_view(&w), &back, NULL), ERR_NONE, "%s", good[i]);
		writer_release(&w);
	}
}

static void refused(struct file_record record, const char *object)
{
	struct file_record back;
	struct error why;
	struct writer w;

	writer_init(&w, 1 << 16);
	file_record_encode(&record, &w);
	cr_assert_eq(decode_one(writer_view(&w), &back, &why), ERR_CORRUPT);
	cr_assert_not_null(strstr(why.text, object), "%s", why.text);
	writer_release(&w);
}

Test(file_record, sizes_and_shards_must_agree)
{
	uint8_t refs[96];
	struct file_record record;
	struct file_shard_ref ref;

	refs_make(refs, 3);
	record = plain("some/file", SHARD_FILE_BYTES, refs);
	record.shards = 2;
	refused(record, "some/file");
	record.shards = 0;
	refused(record, "some/file");
	record = plain("some/file", UINT64_MAX, refs);
	record.shards = 3;
	refused(record, "some/file");
	record = plain("a/dir", 1, refs);
	record.kind = FILE_DIRECTORY;
	refused(record, "a/dir");
	record = plain("a/link", 0, NULL);
	record.kind = FILE_SYMLINK;
	record.crc = 0;
	refused(record, "a/link");
	record = plain("some/file", 0, NULL);
	record.target = text("/x");
	refused(record, "some/file");
	record = plain("some/file", 0, NULL);
	record.mode = 010000;
	refused(record, "some/file");
	record = plain("some/file", 0, NULL);
	record.kind = 4;
	refused(record, "some/file");
	file_shard_ref_decode(refs, &ref);
	ref.len++;
	file_shard_ref_encode(&ref, refs);
	refused(plain("some/file", 1, refs), "some/file");
	ref.offset = UINT32_MAX;
	file_shard_ref_encode(&ref, refs);
	refused(plain("some/file", 1, refs), "some/file");
}

Test(file_record, damage_anywhere_stays_in_bounds)
{
	uint8_t refs[64], *copy;
	struct file_record record, back;
	struct writer w;

	refs_make(refs, 2);
	record = plain("base/5/16384", SHARD_FILE_BYTES + 1, refs);
	writer_init(&w, 1 << 16);
	file_record_encode(&record, &w);
	for (size_t len = 0; len < w.len; len++) {
		copy = malloc(len ? len : 1);
		memcpy(copy, w.data, len);
		cr_assert_eq(decode_one(bytes_of(copy, len), &back, NULL), ERR_CORRUPT);
		free(copy);
	}
	copy = malloc(w.len);
	for (size_t i = 0; i < w.len; i++)
		for (int bit = 0; bit < 8; bit++) {
			memcpy(copy, w.data, w.len);
			copy[i] = (uint8_t)(copy[i] ^ 1 << bit);
			if (decode_one(bytes_of(copy, w.len), &back, NULL) != ERR_NONE)
				continue;
			cr_assert(back.path.data >= copy &&
				  back.path.data + back.path.len <= copy + w.len);
			cr_assert(back.shards == 0 ||
				  back.shard_refs + (size_t)back.shards * 32 == copy + w.len);
		}
	free(copy);
	writer_release(&w);
}
