/* Summaries: every value comes back, and a line that is missing or makes no sense is named. */
#include "repo_world.h"

#include <stdlib.h>
#include <string.h>

static const struct cluster somewhere = {.name = "main", .system_identifier = 77};

static struct summary full(void)
{
	struct summary s = summary_number(&somewhere, 5);

	s.has_parent = s.incremental = true;
	s.parent = attempt_number(4);
	strcpy(s.label, "line\nbreak and \\ backslash");
	s.files = 1;
	s.bytes_cluster = UINT64_MAX;
	s.bytes_new = 3;
	s.bytes_stored = 4;
	s.bytes_renewed = 5;
	s.pages_changed = 6;
	s.bytes_read = 9;
	s.bytes_used = 8;
	s.checksum_failures = 7;
	s.from_standby = s.keep = true;
	s.data_checksums = 1;
	strcpy(s.data_directory, "/var/lib/postgresql/15/main");
	strcpy(s.config_file, "/etc/postgresql/15/main/postgresql.conf");
	strcpy(s.hba_file, "/etc/hba");
	strcpy(s.ident_file, "/etc/ident");
	strcpy(s.superuser, "the boss");
	memset(s.control, 0xc5, sizeof(s.control));
	s.control_len = CONTROL_KEPT_BYTES;
	s.has_previous = true;
	s.previous = attempt_number(3);
	memset(s.previous_sha256, 0xab, sizeof(s.previous_sha256));
	strcpy(s.writer, "pgagent 0.1.0");
	strcpy(s.host, "db1");
	s.tablespaces = 3;
	s.tablespace = calloc(3, sizeof(*s.tablespace));
	s.bad_files = 5;
	s.bad_file = calloc(5, sizeof(char *));
	for (uint32_t i = 0; i < 5; i++) {
		if (i < 3) {
			s.tablespace[i].oid = 16384 + i;
			sprintf(s.tablespace[i].path, "/space %u\n", i);
		}
		s.bad_file[i] = strdup("base/5/16384");
	}
	return s;
}

static struct summary decoded(struct bytes text)
{
	struct summary s;
	struct error why;

	OK(summary_decode(text, &s, &why));
	return s;
}

Test(summary, every_value_comes_back)
{
	struct summary s = full(), back;
	struct writer first, second;

	writer_init(&first, 1 << 20);
	writer_init(&second, 1 << 20);
	summary_encode(&s, &first);
	back = decoded(writer_view(&first));
	cr_assert_str_eq(back.label, s.label);
	cr_assert_eq(back.started_us, s.started_us);
	cr_assert_eq(back.finished_us, s.finished_us);
	cr_assert_eq(back.bytes_cluster, UINT64_MAX);
	cr_assert(back.has_parent && back.incremental && back.from_standby && back.keep);
	cr_assert_eq(attempt_compare(&back.parent, &s.parent), 0);
	cr_assert_eq(back.data_checksums, 1);
	cr_assert_eq(back.control_len, CONTROL_KEPT_BYTES);
	cr_assert_eq(memcmp(back.control, s.control, CONTROL_KEPT_BYTES), 0);
	cr_assert_eq(memcmp(back.previous_sha256, s.previous_sha256, CRYPTO_SHA256_BYTES), 0);
	cr_assert_eq(back.tablespaces, 3);
	cr_assert_eq(back.tablespace[2].oid, 16386);
	cr_assert_str_eq(back.tablespace[2].path, "/space 2\n");
	cr_assert_eq(back.bad_files, 5);
	summary_encode(&back, &second);
	cr_assert_eq(first.len, second.len);
	cr_assert_eq(memcmp(first.data, second.data, first.len), 0);
	summary_release(&s);
	summary_release(&back);
	writer_release(&first);
	writer_release(&second);
}

Test(summary, what_is_not_known_is_left_out)
{
	struct summary s = summary_number(&somewhere, 1), back;
	struct writer w;

	writer_init(&w, 1 << 20);
	summary_encode(&s, &w);
	writer_u8(&w, 0);
	cr_assert_null(strstr((const char *)w.data, "data-directory"));
	cr_assert_null(strstr((const char *)w.data, "data-checksums"));
	cr_assert_not_null(strstr((const char *)w.data, "parent -\n"));
	cr_assert_not_null(strstr((const char *)w.data, "previous -\n"));
	back = decoded(bytes_of(w.data, w.len - 1));
	cr_assert_eq(back.data_checksums, -1);
	cr_assert(!back.has_parent && !back.has_previous && back.control_len == 0);
	summary_release(&back);
	writer_release(&w);
}

/* The text of a good summary with the line `name` replaced (NULL: left out). */
static char *with_line(const char *name, const char *line)
{
	struct summary s = summary_number(&somewhere, 1);
	struct writer w;
	char start[64], *at, *end, *out;

	writer_init(&w, 1 << 20);
	summary_encode(&s, &w);
	writer_u8(&w, 0);
	snprintf(start, sizeof(start), "\n%s ", name);
	at = strstr((char *)w.data, start);
	if (!at && strncmp((char *)w.data, start + 1, strlen(start + 1)) == 0)
		at = (char *)w.data - 1;
	cr_assert_not_null(at, "no line %s", name);
	end = strchr(at + 1, '\n') + 1;
	out = malloc(w.len + 200);
	sprintf(out, "%.*s%s%s", (int)(at + 1 - (char *)w.data), (char *)w.data, line ? line : "",
		end);
	writer_release(&w);
	return out;
}

Test(summary, a_required_line_is_missed)
{
	static const char *const required[] = {"attempt",
					       "cluster",
					       "system-identifier",
					       "server-version",
					       "timeline",
					       "start-lsn",
					       "stop-lsn",
					       "stop-timeline",
					       "started",
					       "finished",
					       "type",
					       "parent",
					       "files",
					       "keep",
					       "from-standby",
					       "wal-segment-bytes",
					       "block-bytes",
					       "previous",
					       "generation",
					       "checksum-failures"};

	for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
		char *text = with_line(required[i], NULL);
		struct summary s;
		struct error why;

		cr_assert_eq(summary_decode(bytes_of_text(text), &s, &why), ERR_CORRUPT, "%s",
			     required[i]);
		cr_assert_not_null(strstr(why.text, required[i]), "%s", why.text);
		free(text);
	}
}

Test(summary, a_line_that_makes_no_sense_is_named)
{
	static const struct {
		const char *name, *line;
	} bad[] = {
		{"attempt", "attempt 20261123\n"},
		{"system-identifier", "system-identifier -1\n"},
		{"system-identifier", "system-identifier 18446744073709551616\n"},
		{"timeline", "timeline 4294967296\n"},
		{"timeline", "timeline 0\n"},
		{"start-lsn", "start-lsn 3000028\n"},
		{"started", "started 2026-11-23\n"},
		{"started", "started 2026-13-23T14:05:00.000000Z\n"},
		{"started", "started 2026-11-23T14:05:00.000000Zx\n"},
		{"type", "type partial\n"},
		{"parent", "parent none\n"},
		{"previous", "previous 20261123T140500Z-0123456789abcdef\n"},
		{"previous", "previous 20261123T140500Z-0123456789abcdef 00\n"},
		{"keep", "keep maybe\n"},
		{"wal-segment-bytes", "wal-segment-bytes 12345\n"},
		{"keep", "keep no\ncontrol abc\n"},
		{"keep", "keep no\ndata-checksums perhaps\n"},
		{"keep", "keep no\ntablespace x /y\n"},
		{"keep", "keep no\ntablespace 1\n"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *text = with_line(bad[i].name, bad[i].line);
		struct summary s;
		struct error why;

		cr_assert_eq(summary_decode(bytes_of_text(text), &s, &why), ERR_CORRUPT, "%s",
			     bad[i].line);
		free(text);
	}
}

Test(summary, unknown_names_are_ignored)
{
	char *text = with_line("keep", "keep yes\nof-a-later-version x\n");
	struct summary s = decoded(bytes_of_text(text));

	cr_assert(s.keep);
	summary_release(&s);
	free(text);
}

Test(summary, a_thousand_bad_files_fit_a_frame_and_one_more_is_refused)
{
	struct summary s = summary_number(&somewhere, 1), back;
	char path[1024];
	struct writer w;

	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	s.bad_files = 1001;
	s.bad_file = calloc(1001, sizeof(char *));
	for (int i = 0; i < 1001; i++)
		s.bad_file[i] = strdup(path);
	writer_init(&w, FRAME_PLAIN_MAX);
	summary_encode(&s, &w);
	cr_assert_not(w.bad);
	back = decoded(writer_view(&w));
	cr_assert_gt(back.bad_files, 400);
	cr_assert_leq(back.bad_files, 1000);
	summary_release(&back);
	while (w.len < FRAME_PLAIN_MAX - 20)
		writer_text(&w, "bad-file x\n");
	cr_assert_eq(summary_decode(writer_view(&w), &back, NULL), ERR_CORRUPT);
	summary_release(&s);
	writer_release(&w);
}

Test(summary, damage_anywhere_never_crashes)
{
	struct summary s = full(), back;
	struct writer w;
	uint8_t *copy;

	writer_init(&w, 1 << 20);
	summary_encode(&s, &w);
	copy = malloc(w.len);
	for (size_t i = 0; i < w.len; i++)
		for (int bit = 0; bit < 8; bit++) {
			memcpy(copy, w.data, w.len);
			copy[i] = (uint8_t)(copy[i] ^ 1 << bit);
			if (summary_decode(bytes_of(copy, w.len), &back, NULL) == ERR_NONE)
				summary_release(&back);
		}
	free(copy);
	summary_release(&s);
	writer_release(&w);
}
