/* tests/unit/tar/tar.c - honest archives are read whole; hostile and cut ones are refused. */
#include "tar/tar.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARCHIVE_MAX = 1 << 16, BLOCK = 512 };

/* An archive under construction, then its source. */
struct tape {
	uint8_t data[ARCHIVE_MAX];
	size_t len;
	size_t at;    /* of the pull */
	size_t piece; /* bytes per pull; 0 = all at once */
	enum err fail_with;
	size_t fail_at;
};

static uint8_t *put_header(struct tape *t, char type, const char *name, const char *target,
			   uint64_t size)
{
	uint8_t *h = t->data + t->len;

	cr_assert(t->len + BLOCK <= sizeof(t->data));
	memset(h, 0, BLOCK);
	memcpy(h, name, strlen(name) < 100 ? strlen(name) : 100);
	memcpy(h + 100, "0000640 ", 8);
	memcpy(h + 108, "0000000 ", 8);
	memcpy(h + 116, "0000000 ", 8);
	(void)snprintf((char *)h + 124, 13, "%011llo ", (unsigned long long)size);
	memcpy(h + 136, "00000001750 ", 12);
	h[156] = (uint8_t)type;
	memcpy(h + 157, target, strlen(target));
	memcpy(h + 257, "ustar\00000", 8);
	t->len += BLOCK;
	return h;
}

/* Must follow every change of a header. */
static void seal_header(uint8_t *h)
{
	unsigned sum = 0;

	memset(h + 148, ' ', 8);
	for (int i = 0; i < BLOCK; i++)
		sum += h[i];
	(void)snprintf((char *)h + 148, 8, "%06o", sum);
	h[155] = ' ';
}

static void put_entry(struct tape *t, char type, const char *name, const char *target)
{
	seal_header(put_header(t, type, name, target, 0));
}

static void put_file(struct tape *t, const char *name, size_t size)
{
	seal_header(put_header(t, '0', name, "", size));
	for (size_t i = 0; i < size; i++)
		t->data[t->len + i] = (uint8_t)(i * 7 + 1);
	memset(t->data + t->len + size, 0, (BLOCK - size % BLOCK) % BLOCK);
	t->len += (size + BLOCK - 1) / BLOCK * BLOCK;
}

static void put_end(struct tape *t)
{
	memset(t->data + t->len, 0, 1024);
	t->len += 1024;
}

static enum err pull(void *ctx, struct bytes *out, struct error *why)
{
	struct tape *t = ctx;
	size_t n = t->len - t->at;

	if (t->fail_with != ERR_NONE && t->at >= t->fail_at)
		return error_set(why, t->fail_with, "pull: the server went away");
	if (t->piece != 0 && n > t->piece)
		n = t->piece;
	*out = bytes_of(t->data + t->at, n);
	t->at += n;
	return ERR_NONE;
}

static struct tape *tape_new(void)
{
	struct tape *t = calloc(1, sizeof(*t));

	cr_assert_not_null(t);
	return t;
}

/* Reads everything; the kind that ended it. */
static enum err read_all(struct tape *t, uint64_t *bytes, unsigned *entries, struct error *why)
{
	struct tar_reader *r = NULL;
	struct tar_entry entry;
	struct bytes data;
	enum err e;

	t->at = 0;
	*bytes = 0;
	*entries = 0;
	e = tar_reader_open(pull, t, &r, why);
	while (e == ERR_NONE) {
		e = tar_reader_next(r, &entry, why);
		if (e != ERR_NONE)
			break;
		(*entries)++;
		do {
			e = tar_reader_data(r, &data, why);
			if (e == ERR_NONE)
				*bytes += data.len;
		} while (e == ERR_NONE && data.len > 0);
	}
	tar_reader_close(r);
	return e;
}

/* One archive whose first header is refused; what the error must name. */
static void assert_refused(struct tape *t, const char *named)
{
	struct error why = {.kind = ERR_NONE};
	uint64_t bytes;
	unsigned entries;

	put_end(t);
	cr_expect_eq(read_all(t, &bytes, &entries, &why), ERR_PEER, "%s", named);
	cr_expect_eq(entries, 0);
	cr_expect(strstr(why.text, named) != NULL, "%s in: %s", named, why.text);
	free(t);
}

static void assert_name_refused(const char *name, const char *named)
{
	struct tape *t = tape_new();

	put_entry(t, '0', name, "");
	assert_refused(t, named);
}

Test(tar, entries_come_with_their_kind_name_mode_time_and_size)
{
	struct tape *t = tape_new();
	struct tar_reader *r = NULL;
	struct tar_entry entry;
	struct error why;

	put_entry(t, '5', "./pg_wal/archive_status/", "");
	put_file(t, "base/5/1259", 3);
	put_entry(t, '2', "pg_tblspc/16389/", "/srv/space");
	put_end(t);
	cr_assert_eq(tar_reader_open(pull, t, &r, &why), ERR_NONE);
	cr_assert_eq(tar_reader_next(r, &entry, &why), ERR_NONE);
	cr_expect_eq(entry.kind, TAR_DIRECTORY);
	cr_expect_str_eq(entry.path, "pg_wal/archive_status");
	cr_assert_eq(tar_reader_next(r, &entry, &why), ERR_NONE);
	cr_expect_eq(entry.kind, TAR_FILE);
	cr_expect_str_eq(entry.path, "base/5/1259");
	cr_expect_eq(entry.mode, 0640);
	cr_expect_eq(entry.modified_s, 01750);
	cr_expect_eq(entry.size, 3);
	cr_assert_eq(tar_reader_next(r, &entry, &why), ERR_NONE); /* content not read: skipped */
	cr_expect_eq(entry.kind, TAR_SYMLINK);
	cr_expect_str_eq(entry.path, "pg_tblspc/16389");
	cr_expect_str_eq(entry.target, "/srv/space");
	cr_expect_eq(tar_reader_next(r, &entry, &why), ERR_MISSING);
	cr_expect_eq(tar_reader_next(r, &entry, &why), ERR_MISSING);
	tar_reader_close(r);
	free(t);
}

Test(tar, content_is_the_same_in_pieces_of_any_size)
{
	static const size_t pieces[] = {0, 1, 7, 511, 512, 513, 1024, 8192};
	struct tape *t = tape_new();

	put_file(t, "base/1/1", 20000);
	put_end(t);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct tar_reader *r = NULL;
		struct tar_entry entry;
		struct bytes data;
		struct error why;
		size_t got = 0;

		t->at = 0;
		t->piece = pieces[i];
		cr_assert_eq(tar_reader_open(pull, t, &r, &why), ERR_NONE);
		cr_assert_eq(tar_reader_next(r, &entry, &why), ERR_NONE);
		do {
			cr_assert_eq(tar_reader_data(r, &data, &why), ERR_NONE);
			cr_assert(data.len == 0 ||
				  memcmp(data.data, t->data + BLOCK + got, data.len) == 0);
			got += data.len;
		} while (data.len > 0);
		cr_expect_eq(got, 20000);
		cr_expect_eq(tar_reader_next(r, &entry, &why), ERR_MISSING);
		tar_reader_close(r);
	}
	free(t);
}

Test(tar, names_that_leave_the_directory_are_refused)
{
	assert_name_refused("/etc/passwd", "absolute");
	assert_name_refused("..", "\"..\"");
	assert_name_refused("../x", "\"..\"");
	assert_name_refused("a/../x", "\"..\"");
	assert_name_refused("a/..", "\"..\"");
	assert_name_refused("./../x", "\"..\"");
	assert_name_refused("a/./x", "\".\"");
	assert_name_refused(".//x", "empty part");
	assert_name_refused("a//x", "empty part");
	assert_name_refused("", "no name");
	assert_name_refused("./", "no name");
}

Test(tar, a_name_ends_at_its_first_NUL)
{
	struct tape *t = tape_new();
	struct tar_reader *r = NULL;
	struct tar_entry entry;
	struct error why;
	uint8_t *h = put_header(t, '0', "ok", "", 0);

	memcpy(h + 3, "/../../x", 8);
	seal_header(h);
	put_end(t);
	cr_assert_eq(tar_reader_open(pull, t, &r, &why), ERR_NONE);
	cr_assert_eq(tar_reader_next(r, &entry, &why), ERR_NONE);
	cr_expect_str_eq(entry.path, "ok");
	tar_reader_close(r);
	free(t);
}

Test(tar, names_that_are_no_UTF8_are_kept_as_bytes)
{
	struct tape *t = tape_new();
	struct tar_reader *r = NULL;
	struct tar_entry entry;
	struct error why = {.text = ""};

	put_entry(t, '0', "a/\xff\xfe\xe4", "");
	put_end(t);
	cr_assert_eq(tar_reader_open(pull, t, &r, &why), ERR_NONE);
	cr_assert_eq(tar_reader_next(r, &entry, &why), ERR_NONE, "%s", why.text);
	cr_expect_str_eq(entry.path, "a/\xff\xfe\xe4");
	tar_reader_close(r);
	free(t);
}

Test(tar, kinds_the_server_never_writes_are_refused)
{
	static const char types[] = {'3', '4', '6'};
	struct tape *t = tape_new();

	put_entry(t, '1', "a", "base/5/1259");
	assert_refused(t, "hard link");
	t = tape_new();
	put_entry(t, '2', "a", "");
	assert_refused(t, "nowhere");
	for (size_t i = 0; i < sizeof(types); i++) {
		uint64_t bytes;
		unsigned entries;
		struct error why;

		t = tape_new();
		put_entry(t, types[i], "a", "");
		put_end(t);
		cr_expect_eq(read_all(t, &bytes, &entries, &why), ERR_PEER, "%c", types[i]);
		cr_expect_eq(entries, 0);
		free(t);
	}
}

Test(tar, extended_headers_are_refused)
{
	static const char record[] = "20 path=../../../x\n\n";
	struct tape *t = tape_new();
	uint64_t bytes;
	unsigned entries;
	struct error why;

	seal_header(put_header(t, 'x', "PaxHeaders/a", "", sizeof(record) - 1));
	memcpy(t->data + t->len, record, sizeof(record) - 1);
	t->len += BLOCK;
	put_file(t, "a", 1);
	put_end(t);
	cr_expect_eq(read_all(t, &bytes, &entries, &why), ERR_PEER);
	cr_expect_eq(entries, 0);
	free(t);

	t = tape_new();
	seal_header(put_header(t, 'L', "././@LongLink", "", 300));
	memset(t->data + t->len, 'n', 300);
	t->len += BLOCK;
	put_file(t, "a", 1);
	put_end(t);
	cr_expect_eq(read_all(t, &bytes, &entries, &why), ERR_PEER);
	cr_expect_eq(entries, 0);
	free(t);
}

/* Size in base-256: 0x80, then big-endian. */
static void put_big_size(uint8_t *h, uint8_t first, uint64_t size)
{
	memset(h + 124, first == 0xff ? 0xff : 0, 12);
	h[124] = first;
	put_u64_be(h + 128, size);
	seal_header(h);
}

Test(tar, sizes_of_8_GiB_and_more_are_known)
{
	struct tape *t = tape_new();
	struct tar_reader *r = NULL;
	struct tar_entry entry;
	struct bytes data;
	struct error why;
	enum err e;

	put_big_size(put_header(t, '0', "big", "", 0), 0x80, UINT64_C(9) << 30);
	put_end(t);
	cr_assert_eq(tar_reader_open(pull, t, &r, &why), ERR_NONE);
	cr_assert_eq(tar_reader_next(r, &entry, &why), ERR_NONE);
	cr_expect_eq(entry.size, UINT64_C(9) << 30);
	do
		e = tar_reader_data(r, &data, &why);
	while (e == ERR_NONE && data.len > 0);
	cr_expect_eq(e, ERR_PEER); /* only 1024 bytes of it are there */
	cr_expect(strstr(why.text, "big") != NULL, "%s", why.text);
	tar_reader_close(r);
	free(t);
}

Test(tar, a_negative_size_is_refused)
{
	struct tape *t = tape_new();
	uint64_t bytes;
	unsigned entries;
	struct error why;

	put_big_size(put_header(t, '0', "a", "", 0), 0xff, UINT64_MAX - 511);
	put_end(t);
	cr_expect_eq(read_all(t, &bytes, &entries, &why), ERR_PEER);
	cr_expect_eq(entries, 0);
	free(t);
}

Test(tar, an_archive_cut_anywhere_is_refused)
{
	struct tape *t = tape_new();
	size_t whole;

	put_entry(t, '5', "base/", "");
	put_file(t, "base/1", 1000);
	put_file(t, "base/2", 512);
	put_entry(t, '0', "base/3", "");
	put_end(t);
	whole = t->len;
	for (size_t cut = 0; cut < whole; cut += 256) {
		uint64_t bytes;
		unsigned entries;
		struct error why;

		t->len = cut;
		cr_expect_eq(read_all(t, &bytes, &entries, &why), ERR_PEER, "cut at %zu", cut);
	}
	free(t);
}

Test(tar, only_zeros_may_follow_the_end)
{
	struct tape *t = tape_new();
	uint64_t bytes;
	unsigned entries;
	struct error why;

	put_file(t, "a", 10);
	put_end(t);
	put_end(t);
	t->len += 3000;
	cr_expect_eq(read_all(t, &bytes, &entries, &why), ERR_MISSING);
	cr_expect_eq(bytes, 10);
	t->data[t->len - 1] = 1;
	cr_expect_eq(read_all(t, &bytes, &entries, &why), ERR_PEER);
	cr_expect(strstr(why.text, "bytes follow") != NULL, "%s", why.text);
	free(t);
}

Test(tar, an_empty_archive_is_complete_and_no_bytes_are_not)
{
	struct tape *t = tape_new();
	uint64_t bytes;
	unsigned entries;
	struct error why;

	cr_expect_eq(read_all(t, &bytes, &entries, &why), ERR_PEER);
	put_end(t);
	cr_expect_eq(read_all(t, &bytes, &entries, &why), ERR_MISSING);
	cr_expect_eq(entries, 0);
	free(t);
}

Test(tar, a_damaged_header_is_refused)
{
	struct tape *t = tape_new();
	uint64_t bytes;
	unsigned entries;
	struct error why;

	put_file(t, "a", 10);
	put_file(t, "b", 10);
	put_end(t);
	t->data[2 * BLOCK] ^= 1;
	cr_expect_eq(read_all(t, &bytes, &entries, &why), ERR_PEER);
	cr_expect_eq(entries, 1);
	free(t);
}

Test(tar, the_source_s_own_reason_comes_through)
{
	struct tape *t = tape_new();

	put_file(t, "a", 2000);
	put_end(t);
	t->piece = BLOCK;
	t->fail_with = ERR_CANCELLED;
	for (t->fail_at = 0; t->fail_at < t->len; t->fail_at += BLOCK) {
		uint64_t bytes;
		unsigned entries;
		struct error why;

		cr_expect_eq(read_all(t, &bytes, &entries, &why), ERR_CANCELLED, "%zu", t->fail_at);
		cr_expect(strstr(why.text, "went away") != NULL, "%s", why.text);
	}
	free(t);
}
