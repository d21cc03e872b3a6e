/* tests/unit/postgres/base_backup.c - the command as text, the messages as bytes. */
#include "postgres/base_backup_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static enum err decode(const char *data, size_t len, struct backup_message *m)
{
	struct error why;

	return decode_backup_message(bytes_of(data, len), m, &why);
}

Test(base_backup, messages_of_the_protocol_are_known)
{
	struct backup_message m;

	cr_assert_eq(decode("nbase.tar\0\0", 11, &m), ERR_NONE);
	cr_expect_eq(m.kind, BACKUP_MESSAGE_ARCHIVE);
	cr_expect_eq(m.oid, 0);
	cr_assert_eq(decode("n16389.tar\0/srv/a\0", 18, &m), ERR_NONE);
	cr_expect_eq(m.oid, 16389);
	cr_assert_eq(decode("m", 1, &m), ERR_NONE);
	cr_expect_eq(m.kind, BACKUP_MESSAGE_MANIFEST);
	cr_assert_eq(decode("dabc", 4, &m), ERR_NONE);
	cr_expect_eq(m.kind, BACKUP_MESSAGE_DATA);
	cr_expect_eq(m.data.len, 3);
	cr_assert_eq(decode("p12345678", 9, &m), ERR_NONE);
	cr_expect_eq(m.kind, BACKUP_MESSAGE_PROGRESS);
}

Test(base_backup, archive_names_that_are_neither_base_nor_an_oid_are_refused)
{
	static const char *const names[] = {
		"../base.tar", "base.tar.gz", "16389", "016389.tar",   "0.tar",  "4294967296.tar",
		"/16389.tar",  ".tar",        "",      "16389.tar.gz", "-1.tar", "Base.tar"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char in[64];
		int n = snprintf(in, sizeof(in), "n%s", names[i]);
		struct backup_message m;

		in[n + 1] = '\0'; /* the empty path */
		cr_expect_eq(decode(in, (size_t)n + 2, &m), ERR_PEER, "%s", names[i]);
	}
}

Test(base_backup, malformed_messages_are_refused)
{
	struct backup_message m;

	cr_expect_eq(decode("", 0, &m), ERR_PEER);
	cr_expect_eq(decode("n", 1, &m), ERR_PEER);
	cr_expect_eq(decode("nbase.tar", 9, &m), ERR_PEER);
	cr_expect_eq(decode("nbase.tar\0", 10, &m), ERR_PEER);
	cr_expect_eq(decode("nbase.tar\0x", 11, &m), ERR_PEER);
	cr_expect_eq(decode("nbase.tar\0\0x", 12, &m), ERR_PEER);
	cr_expect_eq(decode("mx", 2, &m), ERR_PEER);
	cr_expect_eq(decode("p1234567", 8, &m), ERR_PEER);
	cr_expect_eq(decode("p123456789", 10, &m), ERR_PEER);
	for (int type = 0; type < 256; type++) {
		char in[4] = {(char)type};

		if (strchr("nmdp", type) == NULL || type == 0)
			cr_expect_eq(decode(in, 4, &m), ERR_PEER, "%d", type);
	}
}

static const char *damaged(const char *warning, size_t tablespaces, char out[80])
{
	static const struct base_backup_tablespace list[] = {
		{.oid = 16389, .path = "/srv/it's base/a"},
		{.oid = 16390, .path = "/srv/it's base/a/b"}};

	return decode_damaged_file(warning, list, tablespaces, out, 80) ? out : "none";
}

Test(base_backup, damaged_files_are_found_in_any_language)
{
	char path[80];

	cr_expect_str_eq(damaged("checksum verification failed in file \"./base/5/1259\", "
				 "block 3: calculated 12 but expected 34",
				 2, path),
			 "base/5/1259");
	cr_expect_str_eq(damaged("Prüfsummenüberprüfung fehlgeschlagen in Datei "
				 "»./pg_tblspc/16389/PG_15_202209061/5/1.1«, Block 3",
				 0, path),
			 "pg_tblspc/16389/PG_15_202209061/5/1.1");
	cr_expect_str_eq(damaged("file ./global/1262.", 0, path), "global/1262");
	cr_expect_str_eq(damaged("could not verify checksum in file \"./base/5/1\"", 2, path),
			 "none");
	cr_expect_str_eq(damaged("skipping special file \"./x\"", 2, path), "none");
	cr_expect_str_eq(damaged("a database/x", 2, path), "none");
}

Test(base_backup, a_path_that_only_looks_like_a_relation_s_is_no_damaged_file)
{
	static const char *const others[] = {
		"skipping special file \"./x/base/5/1259\"",
		"skipping special file \"./base./base/5/1259\"",
		"skipping special file \"./x./base/5/1259\"",
		"überspringe besondere Datei »./ü./global/1262«",
		"skipping special file \"./x/pg_tblspc/16389/PG_15_202209061/5/1\"",
		"skipping special file \"./pg_tblspc/16389\"",
		"skipping special file \"./pg_tblspc/x/PG_15_202209061/5/1\"",
		"skipping special file \"./x/srv/it's base/a/PG_15_202209061/5/1\"",
		"skipping special file \"/srv/it's base/a/socket\"",
		"skipping special file \"base/5/1259\""};
	char path[80];

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		cr_expect_str_eq(damaged(others[i], 2, path), "none", "%s: %s", others[i], path);
}

Test(base_backup, damaged_files_of_a_tablespace_are_named_by_its_oid)
{
	char path[80];

	cr_expect_str_eq(damaged("file \"/srv/it's base/a/PG_15_2/5/16388\" has 1", 2, path),
			 "pg_tblspc/16389/PG_15_2/5/16388");
	cr_expect_str_eq(damaged("file \"/srv/it's base/a/b/PG_15_2/5/1\" has 1", 2, path),
			 "pg_tblspc/16390/PG_15_2/5/1");
}

Test(base_backup, a_damaged_file_s_name_that_does_not_fit_is_dropped)
{
	char path[8];

	cr_expect_not(decode_damaged_file("./base/123456789", NULL, 0, path, sizeof(path)));
	cr_expect(decode_damaged_file("./base/12", NULL, 0, path, sizeof(path)));
}

Test(base_backup, sizes_in_kB_become_bytes)
{
	uint64_t n = 7;
	struct error why;

	cr_expect_eq(decode_size_kb(NULL, &n, &why), ERR_NONE);
	cr_expect_eq(n, 0);
	cr_expect_eq(decode_size_kb("31", &n, &why), ERR_NONE);
	cr_expect_eq(n, 31744);
	cr_expect_eq(decode_size_kb("-1", &n, &why), ERR_PEER);
	cr_expect_eq(decode_size_kb("18446744073709551615", &n, &why), ERR_PEER);
}

Test(base_backup, the_command_says_all_that_was_asked_for)
{
	struct base_backup_options options = {.label = "it's",
					      .fast_checkpoint = true,
					      .manifest = true,
					      .verify_checksums = true,
					      .incremental = true,
					      .max_rate_kb = 64};
	char out[BASE_BACKUP_COMMAND_MAX];
	struct error why;

	cr_assert_eq(encode_base_backup(&options, out, sizeof(out), &why), ERR_NONE);
	cr_expect_str_eq(out,
			 "BASE_BACKUP (LABEL 'it''s', CHECKPOINT 'fast', WAIT 0, TABLESPACE_MAP 1, "
			 "PROGRESS 0, VERIFY_CHECKSUMS 1, MANIFEST 'yes', MANIFEST_CHECKSUMS "
			 "'CRC32C', MAX_RATE 64, INCREMENTAL)");
	options = (struct base_backup_options){.label = ""};
	cr_assert_eq(encode_base_backup(&options, out, sizeof(out), &why), ERR_NONE);
	cr_expect(strstr(out, "CHECKPOINT 'spread'") != NULL, "%s", out);
	cr_expect(strstr(out, "MANIFEST 'no')") != NULL, "%s", out);
}

Test(base_backup, options_that_make_no_command_are_refused)
{
	char out[BASE_BACKUP_COMMAND_MAX];
	char label[1026];
	struct base_backup_options options = {.label = "two\nlines"};
	struct error why;

	cr_expect_eq(encode_base_backup(&options, out, sizeof(out), &why), ERR_CONFIG);
	cr_expect(strstr(why.text, "label") != NULL, "%s", why.text);
	options = (struct base_backup_options){.label = "", .max_rate_kb = 31};
	cr_expect_eq(encode_base_backup(&options, out, sizeof(out), &why), ERR_CONFIG);
	cr_expect(strstr(why.text, "rate") != NULL, "%s", why.text);
	options.max_rate_kb = 1048577;
	cr_expect_eq(encode_base_backup(&options, out, sizeof(out), &why), ERR_CONFIG);
	memset(label, '\'', sizeof(label));
	label[1025] = '\0';
	options = (struct base_backup_options){.label = label};
	cr_expect_eq(encode_base_backup(&options, out, sizeof(out), &why), ERR_CONFIG);
	label[1024] = '\0';
	cr_expect_eq(encode_base_backup(&options, out, sizeof(out), &why), ERR_NONE);
}
