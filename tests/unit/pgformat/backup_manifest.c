#include "pgformat/backup_manifest.h"

#include "base/text.h"
#include "golden.h"

#define GOLDEN "tests/golden/pgformat/"

struct seen {
	size_t files, ranges;
	bool odd, latin;
	struct backup_manifest_file last;
	char path[BACKUP_MANIFEST_STRING_MAX + 1];
	uint32_t crc_of_1259;
	struct backup_manifest_range range;
};

static enum err see_file(void *ctx, const struct backup_manifest_file *file, struct error *why)
{
	struct seen *s = ctx;

	(void)why; /* it always succeeds */
	s->files++;
	s->last = *file;
	(void)snprintf(s->path, sizeof(s->path), "%s", file->path);
	if (strcmp(file->path, "odd \"name\" \\ tab\t\303\251.txt") == 0)
		s->odd = true;
	if (strcmp(file->path, "latin\351.txt") == 0)
		s->latin = true;
	if (strcmp(file->path, "base/1/1259") == 0)
		s->crc_of_1259 = file->crc32c;
	return ERR_NONE;
}

static enum err see_range(void *ctx, const struct backup_manifest_range *range, struct error *why)
{
	struct seen *s = ctx;

	(void)why; /* it always succeeds */
	s->ranges++;
	s->range = *range;
	return ERR_NONE;
}

/* Reads `in` in pieces of `piece` bytes. */
static enum err read_pieces(struct bytes in, size_t piece, struct seen *seen,
			    struct backup_manifest_summary *summary, struct error *why)
{
	struct backup_manifest_visitor visitor = {seen, see_file, see_range};
	struct backup_manifest_reader *r;
	enum err kind;

	*seen = (struct seen){0};
	cr_assert_eq(backup_manifest_reader_new(&visitor, &r, why), ERR_NONE);
	do {
		size_t len = in.len < piece ? in.len : piece;

		kind = backup_manifest_reader_take(r, bytes_of(in.data, len), why);
		in = bytes_of(in.data + len, in.len - len);
	} while (kind == ERR_NONE && in.len > 0);
	if (kind == ERR_NONE)
		kind = backup_manifest_reader_end(r, summary, why);
	backup_manifest_reader_free(r);
	return kind;
}

static void assert_golden(const char *path, unsigned version, uint64_t system_identifier,
			  uint64_t covered, const char *checksum, uint32_t crc, uint64_t end)
{
	static const size_t pieces[] = {1, 2, 7, 1000, 1 << 20};
	struct bytes in = golden_view(golden_read(path));

	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct seen seen;
		struct backup_manifest_summary sum;
		struct error why;
		char hex[65];

		cr_assert_eq(read_pieces(in, pieces[i], &seen, &sum, &why), ERR_NONE, "%s",
			     why.text);
		cr_assert_eq(sum.version, version);
		cr_assert_eq(sum.system_identifier, system_identifier);
		cr_assert_eq(sum.covered_bytes, covered);
		text_of_hex(bytes_of(sum.checksum, 32), hex);
		cr_assert_str_eq(hex, checksum);
		cr_assert_eq(seen.files, 378);
		cr_assert(seen.odd, "escapes are decoded");
		cr_assert(seen.latin, "Encoded-Path is decoded");
		cr_assert_eq(seen.crc_of_1259, crc, "%x", seen.crc_of_1259);
		cr_assert_str_eq(seen.path, "global/pg_control");
		cr_assert_eq(seen.last.size, 8192);
		cr_assert(seen.last.has_crc32c);
		cr_assert_eq(seen.ranges, 1);
		cr_assert_eq(seen.range.timeline, 1);
		cr_assert_eq(seen.range.start.value, 0x900028);
		cr_assert_eq(seen.range.end.value, end);
	}
}

/* The checksums are what sha256sum gives for the covered bytes. */
Test(backup_manifest, of_postgresql_15_is_read_in_any_cutting)
{
	assert_golden(GOLDEN "backup_manifest.15", 1, 0, 53854,
		      "f3af374fd05b9f18700938dae79638d99470a140b0070865e0baf70e493ca05c",
		      0x4d7343f8, 0x900100);
}

Test(backup_manifest, of_postgresql_18_is_read_in_any_cutting)
{
	assert_golden(GOLDEN "backup_manifest.18", 2, UINT64_C(7711350464323505919), 53901,
		      "b833ab3854d683ba13099bf2a09bf2be11135bda7e64f2cf009020ff7f91f127",
		      0x7d0e58fb, 0x900120);
}

Test(backup_manifest, cut_anywhere_is_incomplete)
{
	struct bytes in = golden_view(golden_read(GOLDEN "backup_manifest.18"));
	struct backup_manifest_summary sum;
	struct seen seen;
	struct error why;
	size_t whole = in.len;

	while (in.data[whole - 1] != '}')
		whole--;
	for (size_t len = 0; len < whole; len += len < 300 || len > whole - 300 ? 1 : 501)
		cr_assert_eq(read_pieces(bytes_of(in.data, len), len + 1, &seen, &sum, &why),
			     ERR_CORRUPT, "%zu", len);
	cr_assert_not_null(strstr(why.text, "ends early"), "%s", why.text);
}

#define HEAD "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n"
#define HEAD2                                                                                      \
	"{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": "                    \
	"18446744073709551615,\n"
#define RANGES "\"WAL-Ranges\": [\n],\n"
#define SHA "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define TAIL RANGES "\"Manifest-Checksum\": \"" SHA "\"}\n"

static enum err read_text(const char *text, struct seen *seen,
			  struct backup_manifest_summary *summary, struct error *why)
{
	return read_pieces(bytes_of_text(text), 1000, seen, summary, why);
}

Test(backup_manifest, system_identifier_keeps_all_its_bits)
{
	struct backup_manifest_summary sum;
	struct seen seen;

	cr_assert_eq(read_text(HEAD2 "\"Files\": [],\n" TAIL, &seen, &sum, NULL), ERR_NONE);
	cr_assert_eq(sum.system_identifier, UINT64_MAX);
	cr_assert_eq(seen.files, 0);
}

Test(backup_manifest, crc_is_in_server_memory_order)
{
	struct backup_manifest_summary sum;
	struct seen seen;

	cr_assert_eq(
		read_text(HEAD
			  "\"Files\":[{\"Checksum\":\"dac55f1e\",\"Size\":18446744073709551615,"
			  "\"Checksum-Algorithm\":\"CRC32C\",\"Path\":\"a\"}],\n" TAIL,
			  &seen, &sum, NULL),
		ERR_NONE);
	cr_assert(seen.last.has_crc32c);
	cr_assert_eq(seen.last.crc32c, 0x1e5fc5da);
	cr_assert_eq(seen.last.size, UINT64_MAX);
}

Test(backup_manifest, files_without_crc32c)
{
	static const char *const items[] = {
		"\"Path\":\"a\",\"Size\":1",
		"\"Path\":\"a\",\"Size\":1,\"Checksum-Algorithm\":\"SHA224\",\"Checksum\":\"00\"",
	};

	for (size_t i = 0; i < 2; i++) {
		struct backup_manifest_summary sum;
		struct seen seen;
		char text[1000];

		(void)snprintf(text, sizeof(text), HEAD "\"Files\":[{%s}],\n" TAIL, items[i]);
		cr_assert_eq(read_text(text, &seen, &sum, NULL), ERR_NONE);
		cr_assert_eq(seen.files, 1);
		cr_assert_not(seen.last.has_crc32c);
	}
}

Test(backup_manifest, strings_have_all_escapes_of_json)
{
	struct backup_manifest_summary sum;
	struct seen seen;

	cr_assert_eq(read_text(HEAD
			       "\"Files\":[{\"Path\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9"
			       "\\u20AC\\ud83d\\ude00\",\"Size\":0}],\n" TAIL,
			       &seen, &sum, NULL),
		     ERR_NONE);
	cr_assert_str_eq(seen.path, "\"\\/\b\f\n\r\tA\303\251\342\202\254\360\237\230\200");
}

Test(backup_manifest, unknown_scalars_are_passed_over)
{
	struct backup_manifest_summary sum;
	struct seen seen;

	cr_assert_eq(read_text(HEAD "\"New\": \"x\", \"Newer\": -1.5e3, \"Newest\": null,\n"
				    "\"Files\":[{\"Path\":\"a\",\"Size\":0,\"New\":true}],\n" TAIL,
			       &seen, &sum, NULL),
		     ERR_NONE);
	cr_assert_eq(seen.files, 1);
}

#define FILES(item) HEAD "\"Files\":[" item "],\n" TAIL
#define WAL(item)                                                                                  \
	HEAD "\"Files\":[],\n\"WAL-Ranges\":[" item "],\n\"Manifest-Checksum\":\"" SHA "\"}"

Test(backup_manifest, what_has_another_shape_is_refused)
{
	static const char *const wrong[] = {
		"[]",
		"x",
		"{}",
		"{ \"Files\": [] }",
		"{ \"PostgreSQL-Backup-Manifest-Version\": 3, ",
		"{ \"PostgreSQL-Backup-Manifest-Version\": \"1\", ",
		HEAD "\"Files\": {},\n" TAIL,
		HEAD "\"Files\": 1,\n" TAIL,
		HEAD "\"Files\": [],\n\"Files\": [],\n" TAIL,
		HEAD "\"New\": [],\n\"Files\": [],\n" TAIL,
		HEAD "\"New\": {\"a\": 1},\n\"Files\": [],\n" TAIL,
		HEAD TAIL,
		HEAD "\"Files\": [],\n\"Manifest-Checksum\": \"" SHA "\"}\n",
		HEAD "\"Files\": [],\n" RANGES "}\n",
		HEAD "\"Files\": [],\n" RANGES "\"Manifest-Checksum\": \"00\"}\n",
		HEAD "\"Files\": [],\n" RANGES " \"Manifest-Checksum\": \"" SHA "\"}\n",
		HEAD "\"Files\": [],\n" RANGES "\"Manifest-Checksum\": \"" SHA "\", \"More\": 1}\n",
		HEAD "\"Files\": [],\n" TAIL "x",
		HEAD "\"Files\": [],\n" TAIL "{",
		"{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"Files\": [],\n" TAIL,
		HEAD "\"System-Identifier\": 18446744073709551616,\n\"Files\": [],\n" TAIL,
		HEAD "\"System-Identifier\": -1,\n\"Files\": [],\n" TAIL,
		HEAD "\"Files\": [] \"More\": 1,\n" TAIL,
		HEAD "\"Files\" [],\n" TAIL,
		FILES("{}"),
		FILES("1"),
		FILES("{\"Path\":\"a\",\"Size\":1},"),
		FILES("{\"Path\":\"a\",\"Size\":1} {\"Path\":\"b\",\"Size\":1}"),
		FILES("{\"Path\":\"a\",\"Size\":1,}"),
		FILES("{\"Path\":\"a\" \"Size\":1}"),
		FILES("{\"Path\":\"a\"}"),
		FILES("{\"Size\":1}"),
		FILES("{\"Path\":\"\",\"Size\":1}"),
		FILES("{\"Path\":\"a\\u0000b\",\"Size\":1}"),
		FILES("{\"Path\":1,\"Size\":1}"),
		FILES("{\"Path\":[],\"Size\":1}"),
		FILES("{\"Path\":\"a\",\"Size\":\"1\"}"),
		FILES("{\"Path\":\"a\",\"Size\":-1}"),
		FILES("{\"Path\":\"a\",\"Size\":1e3}"),
		FILES("{\"Path\":\"a\",\"Path\":\"b\",\"Size\":1}"),
		FILES("{\"Path\":\"a\",\"Encoded-Path\":\"62\",\"Size\":1}"),
		FILES("{\"Encoded-Path\":\"6\",\"Size\":1}"),
		FILES("{\"Encoded-Path\":\"6x\",\"Size\":1}"),
		FILES("{\"Encoded-Path\":\"6100\",\"Size\":1}"),
		FILES("{\"Encoded-Path\":\"\",\"Size\":1}"),
		FILES("{\"Path\":\"a\",\"Size\":1,\"Checksum\":\"00000000\"}"),
		FILES("{\"Path\":\"a\",\"Size\":1,\"Checksum-Algorithm\":\"CRC32C\"}"),
		FILES("{\"Path\":\"a\",\"Size\":1,\"Checksum-Algorithm\":\"CRC32C\","
		      "\"Checksum\":\"0000000\"}"),
		FILES("{\"Path\":\"a\",\"Size\":1,\"Checksum-Algorithm\":\"CRC32C\","
		      "\"Checksum\":\"0000000x\"}"),
		FILES("{\"Path\":\"a\",\"Size\":1,\"Checksum-Algorithm\":\"CRC32C\","
		      "\"Checksum\":\"000000000000000000000000000000\"}"),
		FILES("{\"Path\":\"a\\x\",\"Size\":1}"),
		FILES("{\"Path\":\"a\\u00G0\",\"Size\":1}"),
		FILES("{\"Path\":\"\\ud83d\",\"Size\":1}"),
		FILES("{\"Path\":\"\\ud83d\\n\",\"Size\":1}"),
		FILES("{\"Path\":\"\\ud83dx\",\"Size\":1}"),
		FILES("{\"Path\":\"\\ud83d\\u0041\",\"Size\":1}"),
		FILES("{\"Path\":\"\\ude00\",\"Size\":1}"),
		FILES("{\"Path\":\"a\nb\",\"Size\":1}"),
		WAL("{\"Timeline\":1,\"Start-LSN\":\"0/1\"}"),
		WAL("{\"Timeline\":0,\"Start-LSN\":\"0/1\",\"End-LSN\":\"0/2\"}"),
		WAL("{\"Timeline\":4294967296,\"Start-LSN\":\"0/1\",\"End-LSN\":\"0/2\"}"),
		WAL("{\"Timeline\":\"1\",\"Start-LSN\":\"0/1\",\"End-LSN\":\"0/2\"}"),
		WAL("{\"Timeline\":1,\"Start-LSN\":\"0/3\",\"End-LSN\":\"0/2\"}"),
		WAL("{\"Timeline\":1,\"Start-LSN\":1,\"End-LSN\":\"0/2\"}"),
		WAL("{\"Timeline\":1,\"Start-LSN\":\"0/1\\u0000\",\"End-LSN\":\"0/2\"}"),
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct backup_manifest_summary sum = {.version = 77};
		struct seen seen;
		struct error why;

		cr_assert_eq(read_text(wrong[i], &seen, &sum, &why), ERR_CORRUPT, "%s", wrong[i]);
		cr_assert_not_null(strstr(why.text, "backup_manifest"));
		cr_assert_eq(sum.version, 77);
	}
}

Test(backup_manifest, strings_are_bounded)
{
	static char text[2 * BACKUP_MANIFEST_STRING_MAX + 100];
	size_t head = (size_t)snprintf(text, sizeof(text), HEAD "\"Files\":[{\"Path\":\"");
	struct backup_manifest_summary sum;
	struct seen seen;
	struct error why;

	memset(text + head, 'a', BACKUP_MANIFEST_STRING_MAX);
	(void)snprintf(text + head + BACKUP_MANIFEST_STRING_MAX, 100, "\",\"Size\":1}],\n");
	cr_assert_eq(read_text(text, &seen, &sum, &why), ERR_CORRUPT, "only its end is missing");
	cr_assert_eq(seen.files, 1);
	cr_assert_eq(strlen(seen.path), BACKUP_MANIFEST_STRING_MAX);
	memset(text + head, 'a', BACKUP_MANIFEST_STRING_MAX + 1);
	cr_assert_eq(read_text(text, &seen, &sum, &why), ERR_LIMIT);
	cr_assert_not_null(strstr(why.text, "4096"));
}

static enum err refuse(void *ctx, const struct backup_manifest_file *file, struct error *why)
{
	(void)ctx; /* there is none */
	return error_set(why, ERR_FULL, "no room for %s", file->path);
}

Test(backup_manifest, error_of_the_visitor_is_final)
{
	struct backup_manifest_visitor visitor = {.file = refuse};
	struct backup_manifest_reader *r;
	struct backup_manifest_summary sum;
	struct error why;

	cr_assert_eq(backup_manifest_reader_new(&visitor, &r, &why), ERR_NONE);
	cr_assert_eq(backup_manifest_reader_take(
			     r, bytes_of_text(HEAD "\"Files\":[{\"Path\":\"a\",\"Size\":1}"), &why),
		     ERR_FULL);
	cr_assert_str_eq(why.text, "no room for a");
	cr_assert_eq(backup_manifest_reader_take(r, bytes_of_text("],"), &why), ERR_CORRUPT);
	cr_assert_eq(backup_manifest_reader_end(r, &sum, &why), ERR_CORRUPT);
	backup_manifest_reader_free(r);
}

Test(backup_manifest, visitors_may_be_absent)
{
	struct backup_manifest_visitor visitor = {0};
	struct bytes in = golden_view(golden_read(GOLDEN "backup_manifest.15"));
	struct backup_manifest_reader *r;
	struct backup_manifest_summary sum;

	cr_assert_eq(backup_manifest_reader_new(&visitor, &r, NULL), ERR_NONE);
	cr_assert_eq(backup_manifest_reader_take(r, in, NULL), ERR_NONE);
	cr_assert_eq(backup_manifest_reader_end(r, &sum, NULL), ERR_NONE);
	backup_manifest_reader_free(r);
}
