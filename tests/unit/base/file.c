#include "base/file.h"
#include "fault_files.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

/* How many entries the directory holds, hidden ones too. */
static int count_entry(void *ctx, const char *name, mode_t type)
{
	(void)name;
	(void)type;
	++*(unsigned *)ctx;
	return 0;
}

static unsigned entries(const struct scratch *s)
{
	unsigned count = 0;

	cr_assert_eq(files_os()->ops->list(files_os(), s->dir, ".", count_entry, &count), 0);
	return count;
}

static void expect_content(const struct scratch *s, const char *path, const char *content)
{
	struct error why;
	uint8_t *data;
	size_t len;

	cr_assert_eq(file_read_all(files_os(), s->dir, path, 1000, &data, &len, &why), ERR_NONE,
		     "%s", why.text);
	cr_assert_eq(len, strlen(content));
	cr_assert_str_eq((char *)data, content);
	free(data);
}

static enum err publish(struct files *f, const struct scratch *s, const char *path,
			const char *content, struct error *why)
{
	return file_publish(f, random_os(), s->dir, path, bytes_of_text(content), 0640, why);
}

Test(file, published_is_there_whole_with_its_mode_and_nothing_else)
{
	struct scratch s = scratch_open();
	struct error why;
	struct stat st;

	cr_assert_eq(publish(files_os(), &s, "name", "content", &why), ERR_NONE, "%s", why.text);
	expect_content(&s, "name", "content");
	cr_assert_eq(fstatat(s.dir, "name", &st, 0), 0);
	cr_assert_eq(st.st_mode & 0777, 0640);
	cr_assert_eq(st.st_nlink, 1);
	cr_assert_eq(entries(&s), 1);
	scratch_close(&s);
}

Test(file, a_taken_name_is_left_alone)
{
	struct scratch s = scratch_open();
	struct error why;

	cr_assert_eq(publish(files_os(), &s, "name", "first", NULL), ERR_NONE);
	cr_assert_eq(publish(files_os(), &s, "name", "second", &why), ERR_EXISTS);
	cr_assert_not_null(strstr(why.text, "name"));
	expect_content(&s, "name", "first");
	cr_assert_eq(entries(&s), 1);
	scratch_close(&s);
}

Test(file, published_byte_by_byte_is_whole_too)
{
	struct scratch s = scratch_open();
	struct fault_files faults;

	fault_files_init(&faults, files_os());
	faults.transfer_max = 1;
	cr_assert_eq(publish(&faults.files, &s, "name", "content", NULL), ERR_NONE);
	cr_assert_eq(faults.calls[FAULT_WRITE], 7);
	expect_content(&s, "name", "content");
	scratch_close(&s);
}

/* Every single call fails once; then nothing is visible, and the next attempt succeeds. */
static void fail_each_call_of_publish(int os)
{
	for (unsigned nth = 1;; nth++) {
		struct scratch s = scratch_open();
		struct fault_files faults;
		struct error why = {0};
		enum err err;

		fault_files_init(&faults, files_os());
		fault_files_fail(&faults, FAULT_ANY, nth, os, false);
		err = publish(&faults.files, &s, "name", "content", &why);
		if (!faults.fired) {
			cr_assert_eq(err, ERR_NONE);
			cr_assert_gt(nth, 8, "open chmod write fsync close link open fsync close");
			scratch_close(&s);
			return;
		}
		/* The last call is the removal of the temporary, which is not worth a failure. */
		if (err == ERR_NONE) {
			expect_content(&s, "name", "content");
		} else {
			cr_assert_neq(why.text[0], '\0');
			cr_assert_eq(faccessat(s.dir, "name", F_OK, 0), -1, "call %u", nth);
			cr_assert_eq(entries(&s), 0, "call %u left something", nth);
			cr_assert_eq(publish(&faults.files, &s, "name", "content", &why), ERR_NONE,
				     "%s", why.text);
		}
		scratch_close(&s);
	}
}

Test(file, after_any_failure_of_publishing_nothing_is_visible)
{
	fail_each_call_of_publish(EIO);
	fail_each_call_of_publish(ENOSPC);
	fail_each_call_of_publish(EDQUOT);
}

Test(file, a_failed_fsync_is_not_tried_again)
{
	struct scratch s = scratch_open();
	struct fault_files faults;
	struct error why;

	fault_files_init(&faults, files_os());
	fault_files_fail(&faults, FAULT_FSYNC, 1, EIO, false);
	cr_assert_eq(publish(&faults.files, &s, "name", "content", &why), ERR_IO);
	cr_assert_eq(faults.calls[FAULT_FSYNC], 1);
	cr_assert_eq(faults.calls[FAULT_LINK], 0);
	cr_assert_eq(entries(&s), 0);
	scratch_close(&s);
}

Test(file, full_is_told_as_full)
{
	struct scratch s = scratch_open();
	struct fault_files faults;
	struct error why;

	fault_files_init(&faults, files_os());
	fault_files_fail(&faults, FAULT_WRITE, 1, ENOSPC, true);
	cr_assert_eq(publish(&faults.files, &s, "name", "content", &why), ERR_FULL);
	cr_assert_eq(why.os, ENOSPC);
	fault_files_clear(&faults);
	cr_assert_eq(publish(&faults.files, &s, "name", "content", &why), ERR_NONE);
	scratch_close(&s);
}

Test(file, where_links_are_refused_a_rename_publishes_and_still_replaces_nothing)
{
	static const int refusals[] = {EPERM, EOPNOTSUPP, ENOSYS, EMLINK};
	struct scratch s = scratch_open();
	struct fault_files faults;
	struct error why;

	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		fault_files_init(&faults, files_os());
		fault_files_fail(&faults, FAULT_LINK, 1, refusals[i], true);
		cr_assert_eq(publish(&faults.files, &s, "name", "content", &why), ERR_NONE);
		cr_assert_eq(publish(&faults.files, &s, "name", "other", &why), ERR_EXISTS);
		expect_content(&s, "name", "content");
		cr_assert_eq(entries(&s), 1);
		cr_assert_eq(unlinkat(s.dir, "name", 0), 0);
	}
	scratch_close(&s);
}

/* NFS: the request was sent twice, and the second answer arrived. */
Test(file, a_link_that_happened_counts_whatever_was_answered)
{
	static const int answers[] = {EEXIST, EIO};
	struct scratch s = scratch_open();
	struct fault_files faults;
	struct error why;

	for (size_t i = 0; i < 2; i++) {
		fault_files_init(&faults, files_os());
		fault_files_fail(&faults, FAULT_LINK, 1, answers[i], false);
		faults.done_first = true;
		cr_assert_eq(publish(&faults.files, &s, "name", "content", &why), ERR_NONE, "%s",
			     why.text);
		expect_content(&s, "name", "content");
		cr_assert_eq(unlinkat(s.dir, "name", 0), 0);
	}
	scratch_close(&s);
}

Test(file, a_link_nobody_can_ask_about_is_unsure)
{
	struct scratch s = scratch_open();
	struct fault_files faults;
	struct error why;

	fault_files_init(&faults, files_os());
	/* From the link on, the file system answers nothing. */
	fault_files_fail(&faults, FAULT_ANY, 6, EIO, true);
	cr_assert_eq(publish(&faults.files, &s, "name", "content", &why), ERR_UNSURE);
	cr_assert_eq(faults.calls[FAULT_LINK], 1);
	cr_assert_not_null(strstr(why.text, "name"));
	scratch_close(&s);
}

Test(file, a_name_that_cannot_be_taken_back_is_unsure)
{
	struct scratch s = scratch_open();
	struct fault_files faults;
	struct error why;

	fault_files_init(&faults, files_os());
	fault_files_fail(&faults, FAULT_ANY, 8, EIO, true); /* from the directory's fsync on */
	cr_assert_eq(publish(&faults.files, &s, "name", "content", &why), ERR_UNSURE);
	cr_assert_eq(faults.calls[FAULT_FSYNC], 2);
	expect_content(&s, "name", "content");
	scratch_close(&s);
}

Test(file, a_taken_name_is_made_durable_before_it_is_told)
{
	struct scratch s = scratch_open();
	struct fault_files faults;
	struct error why;

	cr_assert_eq(publish(files_os(), &s, "name", "first", NULL), ERR_NONE);
	fault_files_init(&faults, files_os());
	cr_assert_eq(publish(&faults.files, &s, "name", "first", &why), ERR_EXISTS);
	cr_assert_eq(faults.calls[FAULT_FSYNC], 2, "the file and the directory");
	fault_files_fail(&faults, FAULT_FSYNC, 2, EIO, false);
	cr_assert_eq(publish(&faults.files, &s, "name", "first", &why), ERR_IO);
	expect_content(&s, "name", "first");
	scratch_close(&s);
}

Test(file, replacing_puts_the_new_in_place_of_the_old)
{
	struct scratch s = scratch_open();
	struct error why;

	cr_assert_eq(file_replace(files_os(), random_os(), s.dir, "name", bytes_of_text("old"),
				  0600, &why),
		     ERR_NONE);
	cr_assert_eq(file_replace(files_os(), random_os(), s.dir, "name", bytes_of_text("new"),
				  0600, &why),
		     ERR_NONE);
	expect_content(&s, "name", "new");
	cr_assert_eq(entries(&s), 1);
	scratch_close(&s);
}

static enum err replace_unsynced(struct files *files, struct scratch *s, const char *name,
				 const char *text, struct error *why)
{
	struct file_temp t;
	enum err err = file_temp_begin(&t, files, random_os(), s->dir, name, 0600, why);

	if (err != ERR_NONE)
		return err;
	err = file_temp_append(&t, bytes_of_text(text), why);
	if (err == ERR_NONE)
		return file_temp_replace_unsynced(&t, name, why);
	file_temp_abandon(&t);
	return err;
}

Test(file, replacing_unsynced_is_whole_and_costs_no_sync)
{
	for (unsigned nth = 1;; nth++) {
		struct scratch s = scratch_open();
		struct fault_files faults;
		struct error why;
		enum err err;

		cr_assert_eq(publish(files_os(), &s, "name", "old", NULL), ERR_NONE);
		fault_files_init(&faults, files_os());
		fault_files_fail(&faults, FAULT_ANY, nth, EIO, false);
		err = replace_unsynced(&faults.files, &s, "name", "new", &why);
		expect_content(&s, "name", err == ERR_NONE ? "new" : "old");
		cr_assert_eq(entries(&s), 1, "call %u left something", nth);
		cr_assert_eq(faults.calls[FAULT_FSYNC], 0);
		scratch_close(&s);
		if (!faults.fired)
			return;
		cr_assert_neq(err, ERR_NONE, "call %u was not heeded", nth);
	}
}

Test(file, a_failed_replacing_leaves_the_old_or_is_unsure_with_the_new)
{
	for (unsigned nth = 1;; nth++) {
		struct scratch s = scratch_open();
		struct fault_files faults;
		struct error why;
		enum err err;

		cr_assert_eq(publish(files_os(), &s, "name", "old", NULL), ERR_NONE);
		fault_files_init(&faults, files_os());
		fault_files_fail(&faults, FAULT_ANY, nth, EIO, false);
		err = file_replace(&faults.files, random_os(), s.dir, "name", bytes_of_text("new"),
				   0600, &why);
		expect_content(&s, "name", err == ERR_NONE || err == ERR_UNSURE ? "new" : "old");
		cr_assert_eq(entries(&s), 1, "call %u left something", nth);
		scratch_close(&s);
		if (!faults.fired) {
			cr_assert_eq(err, ERR_NONE);
			cr_assert_gt(nth, 6);
			return;
		}
		cr_assert_neq(err, ERR_NONE, "call %u was not heeded", nth);
	}
}

Test(file, directories_are_made_and_their_parents_synced)
{
	struct scratch s = scratch_open();
	struct fault_files faults;
	struct error why;
	struct stat st;

	fault_files_init(&faults, files_os());
	cr_assert_eq(file_make_dirs(&faults.files, s.dir, "a/b//c/", 0700, &why), ERR_NONE, "%s",
		     why.text);
	cr_assert_eq(faults.calls[FAULT_FSYNC], 3);
	cr_assert_eq(fstatat(s.dir, "a/b/c", &st, 0), 0);
	cr_assert(S_ISDIR(st.st_mode));
	fault_files_clear(&faults);
	cr_assert_eq(file_make_dirs(&faults.files, s.dir, "a/b/c", 0700, &why), ERR_NONE);
	cr_assert_eq(faults.calls[FAULT_FSYNC], 0);
	scratch_close(&s);
}

Test(file, a_directory_whose_parent_was_not_synced_is_taken_back)
{
	struct scratch s = scratch_open();
	struct fault_files faults;
	struct error why;

	fault_files_init(&faults, files_os());
	fault_files_fail(&faults, FAULT_FSYNC, 2, EIO, false);
	cr_assert_eq(file_make_dirs(&faults.files, s.dir, "a/b/c", 0700, &why), ERR_IO);
	cr_assert_eq(faccessat(s.dir, "a", F_OK, 0), 0);
	cr_assert_eq(faccessat(s.dir, "a/b", F_OK, 0), -1);
	cr_assert_eq(file_make_dirs(&faults.files, s.dir, "a/b/c", 0700, &why), ERR_NONE);
	scratch_close(&s);
}

Test(file, a_file_in_the_way_of_a_directory_is_named)
{
	struct scratch s = scratch_open();
	struct error why;

	cr_assert_eq(publish(files_os(), &s, "a", "x", NULL), ERR_NONE);
	cr_assert_eq(file_make_dirs(files_os(), s.dir, "a", 0700, &why), ERR_DENIED);
	cr_assert_not_null(strstr(why.text, "directory a"));
	scratch_close(&s);
}

Test(file, read_all_takes_files_up_to_the_limit)
{
	struct scratch s = scratch_open();
	struct error why;
	uint8_t *data = NULL;
	size_t len = 0;

	cr_assert_eq(publish(files_os(), &s, "name", "12345678", NULL), ERR_NONE);
	cr_assert_eq(file_read_all(files_os(), s.dir, "name", 8, &data, &len, &why), ERR_NONE);
	cr_assert_eq(len, 8);
	free(data);
	data = NULL;
	cr_assert_eq(file_read_all(files_os(), s.dir, "name", 7, &data, &len, &why), ERR_LIMIT);
	cr_assert_not_null(strstr(why.text, "name"));
	cr_assert_null(data);
	cr_assert_eq(file_read_all(files_os(), s.dir, "gone", 7, &data, &len, &why), ERR_MISSING);
	cr_assert_eq(file_read_all(files_os(), s.dir, ".", 7, &data, &len, &why), ERR_IO);
	scratch_close(&s);
}

/* Files in /proc say that they are empty. */
Test(file, read_all_believes_the_end_and_not_the_size)
{
	uint8_t *data = NULL;
	size_t len = 0;

	cr_assert_eq(
		file_read_all(files_os(), AT_FDCWD, "/proc/self/maps", 1 << 22, &data, &len, NULL),
		ERR_NONE);
	cr_assert_gt(len, 4096);
	cr_assert_eq(strlen((char *)data), len);
	free(data);
}

Test(file, every_failing_call_of_read_all_is_told)
{
	struct scratch s = scratch_open();
	struct fault_files faults;
	struct error why;
	uint8_t *data = NULL;
	size_t len = 0;

	cr_assert_eq(publish(files_os(), &s, "name", "content", NULL), ERR_NONE);
	fault_files_init(&faults, files_os());
	faults.transfer_max = 2;
	for (unsigned nth = 1; nth <= 7; nth++) { /* open stat_fd, 4 reads and the end */
		fault_files_fail(&faults, FAULT_ANY, nth, EIO, false);
		cr_assert_eq(file_read_all(&faults.files, s.dir, "name", 99, &data, &len, &why),
			     ERR_IO, "call %u", nth);
		cr_assert_not_null(strstr(why.text, "name"));
	}
	cr_assert_null(data);
	fault_files_clear(&faults);
	cr_assert_eq(file_read_all(&faults.files, s.dir, "name", 99, &data, &len, &why), ERR_NONE);
	cr_assert_str_eq((char *)data, "content");
	free(data);
	scratch_close(&s);
}

Test(file, a_range_past_the_end_is_corrupt)
{
	struct scratch s = scratch_open();
	struct error why;
	char out[8] = {0};
	int fd;

	cr_assert_eq(publish(files_os(), &s, "name", "content", NULL), ERR_NONE);
	fd = openat(s.dir, "name", O_RDONLY);
	cr_assert_eq(file_pread(files_os(), fd, out, 4, 3, &why), ERR_NONE);
	cr_assert_str_eq(out, "tent");
	cr_assert_eq(file_pread(files_os(), fd, out, 5, 3, &why), ERR_CORRUPT);
	cr_assert_eq(file_pread(files_os(), fd, out, 1, UINT64_MAX, &why), ERR_CORRUPT);
	(void)close(fd);
	scratch_close(&s);
}

Test(file, a_write_that_takes_nothing_is_no_loop)
{
	struct scratch s = scratch_open();
	struct fault_files faults;
	struct error why;
	int fd = openat(s.dir, "name", O_RDWR | O_CREAT, 0600);

	fault_files_init(&faults, files_os());
	fault_files_fail(&faults, FAULT_WRITE, 1, 0, true); /* answers 0 bytes */
	cr_assert_eq(file_pwrite(&faults.files, fd, bytes_of_text("x"), 0, &why), ERR_IO);
	cr_assert_eq(file_pwrite(&faults.files, fd, bytes_of_text("x"), UINT64_MAX, &why),
		     ERR_LIMIT);
	(void)close(fd);
	scratch_close(&s);
}

Test(file, the_parent_of_a_path)
{
	static const char *const rows[][2] = {{"a/b", "a"},   {"b", "."},         {"/b", "/"},
					      {"a//b/", "a"}, {"/a/b/c", "/a/b"}, {"/", "/"}};
	char out[PATH_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_assert_eq(file_parent(rows[i][0], out, NULL), ERR_NONE);
		cr_assert_str_eq(out, rows[i][1]);
	}
}

Test(file, a_temporary_is_told_by_its_name_and_left_when_its_process_is_gone)
{
	static const char *const others[] = {".tmp-",
					     ".tmp-thesis",
					     ".tmp-1",
					     ".tmp-x-0123456789abcdef",
					     ".tmp-0-0123456789abcdef",
					     ".tmp--1-0123456789abcdef",
					     ".tmp-99999999999-0123456789abcdef",
					     ".tmp-999999999-0123456789abcde",
					     ".tmp-999999999-0123456789abcdef0",
					     ".tmp-999999999-0123456789ABCDEF",
					     "tmp-999999999-0123456789abcdef"};
	char own[64];

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		cr_expect_not(file_temp_is_name(others[i]), "%s", others[i]);
		cr_expect_not(file_temp_is_left(others[i]), "%s", others[i]);
	}
	(void)snprintf(own, sizeof(own), ".tmp-%d-0123456789abcdef", (int)getpid());
	cr_expect(file_temp_is_name(own));
	cr_expect_not(file_temp_is_left(own));
	cr_expect(file_temp_is_left(".tmp-999999999-0123456789abcdef"));
}
