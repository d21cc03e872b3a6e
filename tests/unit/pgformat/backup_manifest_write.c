#include "pgformat/backup_manifest.h"

#include <time.h>

#include "base/text.h"
#include "golden.h"

#define GOLDEN "tests/golden/pgformat/"

/* Writes again what is read; times are not among what the reader gives, so that they are found in
 * the text, in order. */
struct copying {
	struct writer out;
	const char *at; /* in the text read */
	size_t files;
};

static enum err copy_file(void *ctx, const struct backup_manifest_file *file, struct error *why)
{
	static const char key[] = "\"Last-Modified\": \"";
	struct copying *c = ctx;
	struct backup_manifest_entry entry = {
		.path = bytes_of_text(file->path), .size = file->size, .crc32c = file->crc32c};
	struct tm when = {.tm_isdst = 0};

	(void)why; /* it always succeeds */
	cr_assert(file->has_crc32c);
	c->at = strstr(c->at, key) + sizeof(key) - 1;
	cr_assert_not_null(strptime(c->at, "%Y-%m-%d %H:%M:%S", &when));
	entry.modified_s = timegm(&when);
	backup_manifest_add(&c->out, c->files == 0, &entry);
	c->files++;
	return ERR_NONE;
}

static enum err copy_range(void *ctx, const struct backup_manifest_range *range, struct error *why)
{
	struct copying *c = ctx;

	(void)why; /* it always succeeds */
	backup_manifest_ranges(&c->out, range, 1);
	return ERR_NONE;
}

Test(backup_manifest_write, a_real_manifest_is_written_byte_for_byte)
{
	struct bytes in = golden_view(golden_read(GOLDEN "backup_manifest.18"));
	struct copying c = {.at = (const char *)in.data};
	struct backup_manifest_visitor visitor = {&c, copy_file, copy_range};
	struct backup_manifest_reader *r;
	struct backup_manifest_summary sum;

	writer_init(&c.out, 1 << 20);
	backup_manifest_begin(&c.out, UINT64_C(7711350464323505919));
	cr_assert_eq(backup_manifest_reader_new(&visitor, &r, NULL), ERR_NONE);
	cr_assert_eq(backup_manifest_reader_take(r, in, NULL), ERR_NONE);
	cr_assert_eq(backup_manifest_reader_end(r, &sum, NULL), ERR_NONE);
	backup_manifest_reader_free(r);
	cr_assert_eq(c.out.len, sum.covered_bytes);
	backup_manifest_finish(&c.out, sum.checksum);
	cr_assert_not(c.out.bad);
	cr_assert_eq(c.out.len, in.len);
	for (size_t i = 0; i < in.len; i++)
		cr_assert_eq(c.out.data[i], in.data[i], "byte %zu: \"%.40s\"", i, in.data + i);
	writer_release(&c.out);
}

/* What the entry of that path looks like. */
static const char *line(const char *path, int64_t modified_s)
{
	static char out[1024];
	struct backup_manifest_entry entry = {
		.path = bytes_of_text(path), .modified_s = modified_s, .crc32c = 0x1e5fc5da};
	struct writer w;

	writer_init(&w, sizeof(out) - 1);
	backup_manifest_add(&w, true, &entry);
	if (!w.bad)
		memcpy(out, w.data, w.len);
	out[w.bad ? 0 : w.len] = '\0';
	writer_release(&w);
	return out;
}

Test(backup_manifest_write, paths_are_escaped_as_the_server_does)
{
	cr_assert_str_eq(
		line("a\b\f\n\r\t\"\\/\x01\x1f\x7f", 0),
		"\n{ \"Path\": \"a\\b\\f\\n\\r\\t\\\"\\\\/\\u0001\\u001f\x7f\", \"Size\": 0, "
		"\"Last-Modified\": \"1970-01-01 00:00:00 GMT\", \"Checksum-Algorithm\": "
		"\"CRC32C\", \"Checksum\": \"dac55f1e\" }");
}

Test(backup_manifest_write, paths_that_are_not_utf8_are_encoded)
{
	static const char *const good[] = {
		"\xc2\x80",     "\xdf\xbf",         "\xe0\xa0\x80",     "\xed\x9f\xbf",
		"\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\xef\xbf\xbf x \xc3\xa9"};
	static const char *const bad[] = {"\x80",
					  "\xc1\xbf",
					  "\xe0\x9f\xbf",
					  "\xed\xa0\x80",
					  "\xf0\x8f\xbf\xbf",
					  "\xf4\x90\x80\x80",
					  "\xf5\x80",
					  "\xff",
					  "a\xc3",
					  "\xe2\x82",
					  "\xe2\x28\xa1",
					  "\xe2\x82\x28"};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		char expected[64];

		(void)snprintf(expected, sizeof(expected), "\n{ \"Path\": \"%s\", ", good[i]);
		cr_expect_eq(strncmp(line(good[i], 0), expected, strlen(expected)), 0, "%zu", i);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char expected[64], hex[32];

		text_of_hex(bytes_of_text(bad[i]), hex);
		(void)snprintf(expected, sizeof(expected), "\n{ \"Encoded-Path\": \"%s\", ", hex);
		cr_expect_eq(strncmp(line(bad[i], 0), expected, strlen(expected)), 0, "%zu", i);
	}
}

Test(backup_manifest_write, a_time_beyond_all_years_makes_the_writer_bad)
{
	cr_assert_str_eq(line("x", INT64_MAX), "");
	cr_assert(strstr(line("x", INT64_C(4102444799)), "2099-12-31 23:59:59 GMT") != NULL);
}

Test(backup_manifest_write, several_ranges_and_no_files_are_still_a_manifest)
{
	const struct backup_manifest_range range[] = {{2, {0x5000000}, {0x5000100}},
						      {1, {0x4000028}, {0x5000000}}};
	struct backup_manifest_visitor visitor = {NULL, NULL, NULL};
	struct backup_manifest_reader *r;
	struct backup_manifest_summary sum;
	uint8_t checksum[BACKUP_MANIFEST_CHECKSUM_BYTES] = {0xab};
	struct writer w;

	writer_init(&w, 4096);
	backup_manifest_begin(&w, 7);
	backup_manifest_ranges(&w, range, 2);
	backup_manifest_finish(&w, checksum);
	cr_assert_eq(backup_manifest_reader_new(&visitor, &r, NULL), ERR_NONE);
	cr_assert_eq(backup_manifest_reader_take(r, writer_view(&w), NULL), ERR_NONE);
	cr_assert_eq(backup_manifest_reader_end(r, &sum, NULL), ERR_NONE);
	cr_assert_eq(sum.system_identifier, 7);
	cr_assert_eq(sum.checksum[0], 0xab);
	backup_manifest_reader_free(r);
	writer_release(&w);
}
