/* tests/unit/tar/tar_writer.c - what is written is read back, and has the server's bytes. */
#include "tar/tar_writer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARCHIVE_MAX = 1 << 16, BLOCK = 512 };

struct tape {
	uint8_t data[ARCHIVE_MAX];
	size_t len, at;
	size_t fail_at; /* the push that would go past it fails; 0 = never */
};

static enum err push(void *ctx, struct bytes in, struct error *why)
{
	struct tape *t = ctx;

	if (t->fail_at != 0 && t->len + in.len > t->fail_at)
		return error_set(why, ERR_FULL, "the tape is full");
	cr_assert(t->len + in.len <= sizeof(t->data));
	memcpy(t->data + t->len, in.data, in.len);
	t->len += in.len;
	return ERR_NONE;
}

static enum err pull(void *ctx, struct bytes *out, struct error *why)
{
	struct tape *t = ctx;

	(void)why;
	*out = bytes_of(t->data + t->at, t->len - t->at);
	t->at = t->len;
	return ERR_NONE;
}

static struct tar_entry entry_of(enum tar_kind kind, const char *path, uint64_t size)
{
	struct tar_entry e = {.kind = kind, .mode = 0640, .modified_s = 01750, .size = size};

	(void)snprintf(e.path, sizeof(e.path), "%s", path);
	return e;
}

#define OK(call) cr_assert_eq((call), ERR_NONE, "%s", why.text)

Test(tar_writer, what_is_written_is_read_back)
{
	struct tape *t = calloc(1, sizeof(*t));
	struct tar_writer *w = NULL;
	struct tar_reader *r = NULL;
	struct tar_entry entry = entry_of(TAR_DIRECTORY, "base/5", 0);
	uint8_t content[700];
	struct bytes data;
	struct error why;

	memset(content, 'x', sizeof(content));
	OK(tar_writer_open(push, t, &w, &why));
	OK(tar_writer_entry(w, &entry, &why));
	entry = entry_of(TAR_FILE, "base/5/1259", sizeof(content));
	OK(tar_writer_entry(w, &entry, &why));
	OK(tar_writer_data(w, bytes_of(content, 100), &why));
	OK(tar_writer_data(w, bytes_of(content, 600), &why));
	entry = entry_of(TAR_FILE, "empty", 0);
	OK(tar_writer_entry(w, &entry, &why));
	OK(tar_writer_data(w, bytes_of(NULL, 0), &why));
	entry = entry_of(TAR_SYMLINK, "pg_tblspc/16389", 0);
	(void)snprintf(entry.target, sizeof(entry.target), "/srv/space");
	OK(tar_writer_entry(w, &entry, &why));
	OK(tar_writer_finish(w, &why));
	tar_writer_close(w);
	cr_expect_eq(t->len, BLOCK + tar_entry_bytes(700) + 2 * BLOCK + 2 * BLOCK);

	OK(tar_reader_open(pull, t, &r, &why));
	OK(tar_reader_next(r, &entry, &why));
	cr_expect_eq(entry.kind, TAR_DIRECTORY);
	cr_expect_str_eq(entry.path, "base/5");
	OK(tar_reader_next(r, &entry, &why));
	cr_expect_str_eq(entry.path, "base/5/1259");
	cr_expect_eq(entry.mode, 0640);
	cr_expect_eq(entry.modified_s, 01750);
	cr_expect_eq(entry.size, 700);
	OK(tar_reader_data(r, &data, &why));
	cr_expect(data.len == 700 && memcmp(data.data, content, 700) == 0);
	OK(tar_reader_next(r, &entry, &why));
	cr_expect_str_eq(entry.path, "empty");
	OK(tar_reader_next(r, &entry, &why));
	cr_expect_eq(entry.kind, TAR_SYMLINK);
	cr_expect_str_eq(entry.target, "/srv/space");
	cr_expect_eq(tar_reader_next(r, &entry, &why), ERR_MISSING);
	tar_reader_close(r);
	free(t);
}

/* src/port/tar.c of PostgreSQL, tarCreateHeader. */
Test(tar_writer, headers_are_those_of_the_server)
{
	struct tape *t = calloc(1, sizeof(*t));
	struct tar_writer *w = NULL;
	struct tar_entry entry = entry_of(TAR_DIRECTORY, "global", 0);
	struct error why;

	OK(tar_writer_open(push, t, &w, &why));
	OK(tar_writer_entry(w, &entry, &why));
	OK(tar_writer_finish(w, &why));
	tar_writer_close(w);
	cr_expect_str_eq((char *)t->data, "global/");
	cr_expect_eq(memcmp(t->data + 100, "000640 \0", 8), 0);
	cr_expect_eq(memcmp(t->data + 108, "004000 \0", 8), 0, "the owner is 04000");
	cr_expect_eq(memcmp(t->data + 116, "002000 \0", 8), 0, "the group is 02000");
	cr_expect_eq(memcmp(t->data + 124, "00000000000 ", 12), 0);
	cr_expect_eq(t->data[156], '5');
	cr_expect_eq(memcmp(t->data + 257, "ustar\00000", 8), 0);
	cr_expect_str_eq((char *)t->data + 265, "postgres");
	cr_expect_str_eq((char *)t->data + 297, "postgres");
	free(t);
}

Test(tar_writer, sizes_above_8_gib_are_in_base_256)
{
	struct tape *t = calloc(1, sizeof(*t));
	struct tar_writer *w = NULL;
	struct tar_entry entry = entry_of(TAR_FILE, "small", 3);
	struct error why;
	uint64_t size = TAR_USTAR_BYTES_MAX + 1;
	uint8_t *at;

	OK(tar_writer_open(push, t, &w, &why));
	OK(tar_writer_entry(w, &entry, &why));
	OK(tar_writer_data(w, bytes_of("abc", 3), &why));
	entry = entry_of(TAR_FILE, "huge", size);
	OK(tar_writer_entry(w, &entry, &why));
	cr_assert_eq(t->len, 3 * BLOCK, "the entry before is padded");
	at = t->data + 2 * BLOCK;
	cr_expect_str_eq((char *)at, "huge");
	cr_expect_eq(at[124], 0x80);
	cr_expect_eq(get_u64_be(at + 128), size);
	tar_writer_close(w); /* without its content */
	cr_expect_eq(t->len, 3 * BLOCK, "closing writes nothing");

	t->len = 0;
	OK(tar_writer_open(push, t, &w, &why));
	entry = entry_of(TAR_FILE, "fits", TAR_USTAR_BYTES_MAX);
	OK(tar_writer_entry(w, &entry, &why));
	cr_expect_eq(memcmp(t->data + 124, "77777777777 ", 12), 0);
	tar_writer_close(w);
	free(t);
}

Test(tar_writer, the_sinks_reason_comes_through)
{
	struct tape *t = calloc(1, sizeof(*t));
	struct tar_writer *w = NULL;
	struct tar_entry entry = entry_of(TAR_FILE, "x", 2000);
	uint8_t content[2000] = {1};
	struct error why;

	t->fail_at = 1000;
	OK(tar_writer_open(push, t, &w, &why));
	OK(tar_writer_entry(w, &entry, &why));
	cr_expect_eq(tar_writer_data(w, bytes_of(content, 2000), &why), ERR_FULL);
	cr_expect_str_eq(why.text, "the tape is full");
	tar_writer_close(w);
	t->fail_at = 100;
	t->len = 0;
	OK(tar_writer_open(push, t, &w, &why));
	cr_expect_eq(tar_writer_entry(w, &entry, &why), ERR_FULL);
	tar_writer_close(w);
	t->len = 0;
	OK(tar_writer_open(push, t, &w, &why));
	cr_expect_eq(tar_writer_finish(w, &why), ERR_FULL);
	tar_writer_close(w);
	tar_writer_close(NULL);
	free(t);
}

Test(tar_writer, what_does_not_fit_is_refused)
{
	struct tape *t = calloc(1, sizeof(*t));
	struct tar_writer *w = NULL;
	struct tar_entry entry = entry_of(TAR_FILE, "x", 3);
	struct error why;

	OK(tar_writer_open(push, t, &w, &why));
	OK(tar_writer_entry(w, &entry, &why));
	cr_expect_eq(tar_writer_data(w, bytes_of("abcd", 4), &why), ERR_IO);
	OK(tar_writer_data(w, bytes_of("abc", 3), &why));
	memset(entry.path, 'n', 300);
	entry.path[300] = '\0';
	cr_expect_eq(tar_writer_entry(w, &entry, &why), ERR_LIMIT);
	cr_expect_not_null(strstr(why.text, "nnn"), "%s", why.text);
	tar_writer_close(w);
	free(t);
}
