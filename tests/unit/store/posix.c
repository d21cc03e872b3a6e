#include "base/file.h"
#include "posix_place.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The nth call of `op` fails, for each n until there is no such call; a fresh repository each time,
 * so that directories are made too. */
static void fail_each(enum fault_op op, int os, unsigned at_least)
{
	for (unsigned nth = 1;; nth++) {
		struct store_object object;
		struct error why = {0};
		struct place p;
		enum err err;

		place_open(&p);
		fault_files_fail(&p.faults, op, nth, os, false);
		err = put(&p, "dir/deeper/name", &why);
		if (!p.faults.fired) {
			cr_assert_eq(err, ERR_NONE);
			cr_assert_gt(nth, at_least, "only %u calls", nth - 1);
			place_close(&p);
			return;
		}
		p.faults.nth = 0;
		if (err == ERR_NONE) { /* a call that is not worth a failure */
			expect_whole(&p, "dir/deeper/name");
		} else {
			cr_assert_neq(err, ERR_UNSURE, "call %u", nth);
			cr_assert_not_null(strstr(why.text, "dir/deeper/name"), "%s", why.text);
			cr_assert_not_null(strstr(why.text, p.scratch.path), "%s", why.text);
			cr_assert_eq(store_stat(p.store, "dir/deeper/name", &object, NULL),
				     ERR_MISSING);
			cr_assert_eq(files_in(&p, "dir/deeper"), 0, "call %u left a file", nth);
			cr_assert_eq(put(&p, "dir/deeper/name", &why), ERR_NONE, "%s", why.text);
			expect_whole(&p, "dir/deeper/name");
		}
		cr_assert_eq(files_in(&p, "dir/deeper"), 1 + (op == FAULT_UNLINK));
		place_close(&p);
	}
}

Test(store_posix, a_failed_open_leaves_nothing_and_a_later_put_succeeds)
{
	fail_each(FAULT_OPEN, EMFILE, 3);
	fail_each(FAULT_OPEN_BENEATH, EIO, 1);
	fail_each(FAULT_MKDIR, ENOSPC, 2);
}

Test(store_posix, a_failed_write_leaves_nothing_and_a_later_put_succeeds)
{
	fail_each(FAULT_WRITE, EIO, 1);
	fail_each(FAULT_WRITE, ENOSPC, 1);
}

Test(store_posix, a_failed_fsync_leaves_nothing_and_a_later_put_succeeds)
{
	/* Two parents of new directories, the file, its directory. */
	fail_each(FAULT_FSYNC, EIO, 4);
	fail_each(FAULT_FSYNC, ENOSPC, 4);
}

Test(store_posix, a_failed_link_leaves_nothing_and_a_later_put_succeeds)
{
	fail_each(FAULT_LINK, EIO, 1);
	fail_each(FAULT_LINK, ENOSPC, 1);
	fail_each(FAULT_LINK, EDQUOT, 1);
}

Test(store_posix, a_failed_close_leaves_nothing_and_a_later_put_succeeds)
{
	fail_each(FAULT_CLOSE, EIO, 4);
	fail_each(FAULT_CLOSE, ENOSPC, 4);
}

Test(store_posix, a_temporary_that_cannot_be_removed_is_not_listed)
{
	fail_each(FAULT_UNLINK, EIO, 1);
}

Test(store_posix, any_failing_call_leaves_nothing_and_a_later_put_succeeds)
{
	fail_each(FAULT_CHMOD, EIO, 0);
	fail_each(FAULT_STAT, EIO, 0);
}

Test(store_posix, a_full_disk_is_told_as_full_with_what_to_do)
{
	struct error why = {0};
	struct place p;

	place_open(&p);
	fault_files_fail(&p.faults, FAULT_WRITE, 1, ENOSPC, true);
	cr_assert_eq(put(&p, "name", &why), ERR_FULL);
	cr_assert_not_null(strstr(why.hint, "df -h"));
	fault_files_clear(&p.faults);
	cr_assert_eq(put(&p, "name", &why), ERR_NONE);
	place_close(&p);
}

/* As root nothing is read-only, so the system's answer is put in place of it. */
Test(store_posix, the_probe_of_a_read_only_place_is_denied)
{
	static const enum fault_op ops[] = {FAULT_MKDIR, FAULT_OPEN};
	static const int answers[] = {EROFS, EACCES};
	static const char *const hints[] = {"ReadWritePaths=", "namei -l"};
	struct error why = {0};
	struct place p;

	place_open(&p);
	for (int i = 0; i < 4; i++) {
		fault_files_fail(&p.faults, ops[i % 2], 1, answers[i / 2], true);
		cr_assert_eq(store_probe(p.store, p.env.random, &why), ERR_DENIED);
		cr_assert_not_null(strstr(why.text, p.scratch.path));
		cr_assert_not_null(strstr(why.hint, hints[i / 2]));
	}
	fault_files_clear(&p.faults);
	cr_assert_eq(store_probe(p.store, p.env.random, &why), ERR_NONE);
	place_close(&p);
}

Test(store_posix, where_links_are_refused_renames_pass_the_probe)
{
	struct error why = {0};
	struct place p;

	place_open(&p);
	fault_files_fail(&p.faults, FAULT_LINK, 1, EPERM, true);
	cr_assert_eq(store_probe(p.store, p.env.random, &why), ERR_NONE, "%s", why.text);
	cr_assert_eq(p.faults.calls[FAULT_RENAME_NOREPLACE], 2);
	place_close(&p);
}

Test(store_posix, removal_is_durable_or_told)
{
	struct error why = {0};
	struct place p;

	place_open(&p);
	cr_assert_eq(put(&p, "dir/name", NULL), ERR_NONE);
	fault_files_clear(&p.faults);
	cr_assert_eq(store_remove(p.store, "dir/name", &why), ERR_NONE);
	cr_assert_eq(p.faults.calls[FAULT_FSYNC], 1);
	cr_assert_eq(put(&p, "dir/name", NULL), ERR_NONE);
	fault_files_fail(&p.faults, FAULT_FSYNC, 1, EIO, false);
	cr_assert_eq(store_remove(p.store, "dir/name", &why), ERR_IO);
	cr_assert_not_null(strstr(why.text, "dir/name"));
	cr_assert_eq(put(&p, "dir/name", NULL), ERR_NONE);
	fault_files_fail(&p.faults, FAULT_UNLINK, 1, EROFS, false);
	cr_assert_eq(store_remove(p.store, "dir/name", &why), ERR_DENIED);
	expect_whole(&p, "dir/name");
	place_close(&p);
}

static enum err count_object(void *ctx, const struct store_object *object, struct error *why)
{
	(void)object;
	(void)why;
	++*(unsigned *)ctx;
	return ERR_NONE;
}

Test(store_posix, a_list_that_cannot_be_read_whole_fails)
{
	struct error why = {0};
	unsigned count = 0;
	struct place p;

	place_open(&p);
	cr_assert_eq(put(&p, "a/1", NULL), ERR_NONE);
	cr_assert_eq(put(&p, "b/2", NULL), ERR_NONE);
	for (unsigned nth = 1; nth <= 3; nth++) {
		fault_files_fail(&p.faults, FAULT_LIST, nth, EACCES, false);
		cr_assert_eq(store_list(p.store, "", count_object, &count, &why), ERR_DENIED);
	}
	fault_files_fail(&p.faults, FAULT_STAT, 2, EIO, false);
	cr_assert_eq(store_list(p.store, "", count_object, &count, &why), ERR_IO);
	cr_assert_not_null(strstr(why.text, "b/2"));
	place_close(&p);
}

static enum err count_part(void *ctx, const char *name, struct error *why)
{
	(void)name;
	(void)why;
	++*(unsigned *)ctx;
	return ERR_NONE;
}

Test(store_posix, parts_that_cannot_be_read_whole_fail)
{
	struct error why = {0};
	unsigned count = 0;
	struct place p;

	place_open(&p);
	cr_assert_eq(put(&p, "a/1", NULL), ERR_NONE);
	cr_assert_eq(put(&p, "b/deeper/2", NULL), ERR_NONE);
	for (unsigned nth = 1; nth <= 4; nth++) { /* root, a, b, b/deeper */
		fault_files_fail(&p.faults, FAULT_LIST, nth, EACCES, false);
		cr_assert_eq(store_parts(p.store, "", count_part, &count, &why), ERR_DENIED);
		cr_assert_not_null(strstr(why.text, p.scratch.path));
	}
	cr_assert_not_null(strstr(why.text, "b/deeper"), "%s", why.text);
	fault_files_clear(&p.faults);
	cr_assert_eq(store_parts(p.store, "a/", count_part, &count, &why), ERR_NONE);
	cr_assert_eq(p.faults.calls[FAULT_LIST], 1, "only that directory");
	cr_assert_eq(p.faults.calls[FAULT_STAT], 0, "no object is stat'ed");
	place_close(&p);
}

Test(store_posix, what_holds_no_object_is_no_part)
{
	struct error why = {0};
	unsigned count = 0;
	struct place p;

	place_open(&p);
	cr_assert_eq(put(&p, "dir/name", NULL), ERR_NONE);
	cr_assert_eq(mkdirat(p.scratch.dir, "lost+found", 0700), 0);
	cr_assert_eq(mkdirat(p.scratch.dir, ".snapshot", 0700), 0);
	cr_assert_eq(mkdirat(p.scratch.dir, "empty", 0700), 0);
	cr_assert_eq(mkdirat(p.scratch.dir, "empty/too", 0700), 0);
	cr_assert_eq(symlinkat("dir", p.scratch.dir, "link"), 0);
	cr_assert_eq(symlinkat("../dir", p.scratch.dir, "empty/link"), 0);
	cr_assert_eq(mkfifoat(p.scratch.dir, "fifo", 0600), 0);
	(void)close(
		openat(p.scratch.dir, "empty/.tmp-1-0000000000000000", O_CREAT | O_WRONLY, 0600));
	cr_assert_eq(store_parts(p.store, "", count_part, &count, &why), ERR_NONE, "%s", why.text);
	cr_assert_eq(count, 1);
	cr_assert_eq(store_parts(p.store, "link/", count_part, &count, &why), ERR_NONE);
	cr_assert_eq(count, 1);
	place_close(&p);
}

Test(store_posix, what_is_not_an_object_is_not_listed)
{
	unsigned count = 0;
	struct place p;

	place_open(&p);
	cr_assert_eq(put(&p, "dir/name", NULL), ERR_NONE);
	cr_assert_eq(mkdirat(p.scratch.dir, "lost+found", 0), 0);
	cr_assert_eq(mkdirat(p.scratch.dir, ".snapshot", 0), 0);
	cr_assert_eq(symlinkat("dir", p.scratch.dir, "link"), 0);
	cr_assert_eq(mkfifoat(p.scratch.dir, "fifo", 0600), 0);
	(void)close(openat(p.scratch.dir, "dir/.tmp-1-0000000000000000", O_CREAT | O_WRONLY, 0600));
	(void)close(openat(p.scratch.dir, "dir/with space", O_CREAT | O_WRONLY, 0600));
	cr_assert_eq(store_list(p.store, "", count_object, &count, NULL), ERR_NONE);
	cr_assert_eq(count, 1);
	place_close(&p);
}

Test(store_posix, nothing_outside_is_reached_through_links)
{
	struct error why = {0};
	struct store_object object;
	char byte;
	struct place p;

	place_open(&p);
	cr_assert_eq(symlinkat("/etc", p.scratch.dir, "etc"), 0);
	cr_assert_eq(symlinkat("/etc/passwd", p.scratch.dir, "passwd"), 0);
	cr_assert_eq(mkfifoat(p.scratch.dir, "fifo", 0600), 0);
	cr_assert_eq(store_read(p.store, "etc/passwd", 0, &byte, 1, &why), ERR_DENIED);
	cr_assert_eq(store_read(p.store, "passwd", 0, &byte, 1, &why), ERR_DENIED);
	cr_assert_eq(store_read(p.store, "fifo", 0, &byte, 1, &why), ERR_MISSING);
	cr_assert_eq(store_stat(p.store, "passwd", &object, &why), ERR_DENIED,
		     "what hides behind a link is not known to be absent");
	cr_assert_eq(put(&p, "etc/pgagent-test", &why), ERR_DENIED);
	cr_assert_eq(faccessat(AT_FDCWD, "/etc/pgagent-test", F_OK, 0), -1);
	place_close(&p);
}

Test(store_posix, confirming_an_object_syncs_its_directory)
{
	struct error why = {0};
	struct place p;

	place_open(&p);
	cr_assert_eq(put(&p, "dir/name", NULL), ERR_NONE);
	fault_files_fail(&p.faults, FAULT_FSYNC, 1, EIO, false);
	cr_assert_eq(store_confirm(p.store, "dir/name", &why), ERR_IO);
	cr_assert_not_null(strstr(why.text, "dir/name"), "%s", why.text);
	fault_files_clear(&p.faults);
	cr_assert_eq(store_confirm(p.store, "dir/name", &why), ERR_NONE, "%s", why.text);
	cr_assert_eq(p.faults.calls[FAULT_FSYNC], 1);
	place_close(&p);
}

Test(store_posix, an_object_removed_by_another_process_is_missing_at_once)
{
	struct place p;
	char byte;

	place_open(&p);
	cr_assert_eq(put(&p, "name", NULL), ERR_NONE);
	expect_whole(&p, "name"); /* and stays open */
	cr_assert_eq(unlinkat(p.scratch.dir, "name", 0), 0);
	cr_assert_eq(store_read(p.store, "name", 0, &byte, 1, NULL), ERR_MISSING);
	place_close(&p);
}

Test(store_posix, ranges_of_one_object_open_it_once)
{
	struct place p;

	place_open(&p);
	cr_assert_eq(put(&p, "name", NULL), ERR_NONE);
	fault_files_clear(&p.faults);
	for (int i = 0; i < 10; i++)
		expect_whole(&p, "name");
	cr_assert_eq(p.faults.calls[FAULT_OPEN_BENEATH], 1);
	place_close(&p);
}

Test(store_posix, every_failing_call_of_a_read_is_told)
{
	struct error why = {0};
	struct place p;
	char byte;

	place_open(&p);
	cr_assert_eq(put(&p, "name", NULL), ERR_NONE);
	for (unsigned nth = 1; nth <= 3;
	     nth++) { /* open_beneath stat_fd read; then it stays open */
		fault_files_fail(&p.faults, FAULT_ANY, nth, EIO, false);
		cr_assert_eq(store_read(p.store, "name", 0, &byte, 1, &why), ERR_IO);
		cr_assert_not_null(strstr(why.text, "name"));
	}
	/* A descriptor that went bad is opened anew. */
	fault_files_fail(&p.faults, FAULT_STAT_FD, 1, ESTALE, false);
	expect_whole(&p, "name");
	place_close(&p);
}

Test(store_posix, directories_removed_by_hand_are_made_again)
{
	struct place p;

	place_open(&p);
	cr_assert_eq(put(&p, "a/b/name", NULL), ERR_NONE);
	cr_assert_eq(store_remove(p.store, "a/b/name", NULL), ERR_NONE);
	cr_assert_eq(unlinkat(p.scratch.dir, "a/b", AT_REMOVEDIR), 0);
	cr_assert_eq(unlinkat(p.scratch.dir, "a", AT_REMOVEDIR), 0);
	cr_assert_eq(put(&p, "a/b/name", NULL), ERR_NONE);
	expect_whole(&p, "a/b/name");
	place_close(&p);
}

/* Whoever made it may have died before syncing its parent. */
Test(store_posix, directories_found_are_synced_once_per_handle)
{
	struct place p;

	place_open(&p);
	cr_assert_eq(mkdirat(p.scratch.dir, "a", 0700), 0);
	cr_assert_eq(mkdirat(p.scratch.dir, "a/b", 0700), 0);
	cr_assert_eq(put(&p, "a/b/1", NULL), ERR_NONE);
	cr_assert_eq(p.faults.calls[FAULT_FSYNC], 4);
	cr_assert_eq(put(&p, "a/b/2", NULL), ERR_NONE);
	cr_assert_eq(p.faults.calls[FAULT_FSYNC], 6);
	place_close(&p);
}

/* Who published it had synced the directories above before. */
Test(store_posix, an_object_proves_that_its_directories_are_durable)
{
	struct place p;

	place_open(&p);
	cr_assert_eq(put(&p, "a/b/1", NULL), ERR_NONE);
	store_close(p.store);
	cr_assert_eq(store_posix_open(&p.env, p.scratch.path, false, &p.store, NULL), ERR_NONE);
	p.faults.calls[FAULT_FSYNC] = 0;
	cr_assert_eq(put(&p, "a/b/2", NULL), ERR_NONE);
	cr_assert_eq(p.faults.calls[FAULT_FSYNC], 2); /* the object and its name */
	place_close(&p);
}

Test(store_posix, a_temporary_or_a_directory_proves_nothing_about_its_directories)
{
	struct place p;

	place_open(&p);
	cr_assert_eq(mkdirat(p.scratch.dir, "a", 0700), 0);
	cr_assert_eq(mkdirat(p.scratch.dir, "a/b", 0700), 0);
	/* of a bad descriptor close fails */
	cr_assert_eq(close(openat(p.scratch.dir, "a/.tmp-1-0123456789abcdef", O_CREAT, 0600)), 0);
	cr_assert_eq(put(&p, "a/1", NULL), ERR_NONE);
	cr_assert_eq(p.faults.calls[FAULT_FSYNC], 3);
	place_close(&p);
}

static mode_t mode_of(const struct place *p, const char *path)
{
	struct stat st;

	cr_assert_eq(fstatat(p->scratch.dir, path, &st, 0), 0);
	return st.st_mode & 0777;
}

Test(store_posix, modes_follow_the_root_whatever_the_umask)
{
	struct place p;

	(void)umask(0077);
	place_open(&p);
	cr_assert_eq(put(&p, "a/name", NULL), ERR_NONE);
	cr_assert_eq(mode_of(&p, "a"), 0700);
	cr_assert_eq(mode_of(&p, "a/name"), 0600);
	store_close(p.store);
	cr_assert_eq(fchmod(p.scratch.dir, 0750), 0);
	cr_assert_eq(store_posix_open(&p.env, p.scratch.path, false, &p.store, NULL), ERR_NONE);
	cr_assert_eq(put(&p, "b/name", NULL), ERR_NONE);
	cr_assert_eq(mode_of(&p, "b"), 0750);
	cr_assert_eq(mode_of(&p, "b/name"), 0640);
	place_close(&p);
}

Test(store_posix, opening_says_what_is_wrong)
{
	struct error why = {0};
	struct store *s = NULL;
	char path[100];
	struct place p;

	place_open(&p);
	cr_assert_eq(store_posix_open(&p.env, "relative", true, &s, &why), ERR_CONFIG);
	(void)snprintf(path, sizeof(path), "%s/x/y", p.scratch.path);
	cr_assert_eq(store_posix_open(&p.env, path, false, &s, &why), ERR_MISSING);
	cr_assert_not_null(strstr(why.text, path));
	cr_assert_not_null(strstr(why.hint, "pgagent init"));
	cr_assert_null(s);
	cr_assert_eq(store_posix_open(&p.env, path, true, &s, &why), ERR_NONE, "%s", why.text);
	cr_assert_eq(mode_of(&p, "x/y"), 0700);
	store_close(s);
	cr_assert_eq(put(&p, "file", NULL), ERR_NONE);
	(void)snprintf(path, sizeof(path), "%s/file", p.scratch.path);
	cr_assert_eq(store_posix_open(&p.env, path, false, &s, &why), ERR_CONFIG);
	fault_files_fail(&p.faults, FAULT_OPEN, 1, EACCES, false);
	cr_assert_eq(store_posix_open(&p.env, p.scratch.path, false, &s, &why), ERR_DENIED);
	fault_files_fail(&p.faults, FAULT_STAT_FD, 1, EIO, false);
	cr_assert_eq(store_posix_open(&p.env, p.scratch.path, false, &s, &why), ERR_IO);
	place_close(&p);
}

Test(store_posix, free_bytes_are_told_or_not_known)
{
	struct error why = {0};
	uint64_t got = 0;
	struct place p;

	place_open(&p);
	cr_assert_eq(store_posix_free_bytes(p.store, &got, &why), ERR_NONE);
	cr_assert_gt(got, 0);
	fault_files_fail(&p.faults, FAULT_FREE_BYTES, 1, EIO, false);
	cr_assert_eq(store_posix_free_bytes(p.store, &got, &why), ERR_IO);
	cr_assert_not_null(strstr(why.text, p.scratch.path));
	place_close(&p);
}

/* A link that never works, and no rename that spares what is there. */
static int no_link(struct files *f, int dir, const char *from, const char *to)
{
	(void)f;
	(void)dir;
	(void)from;
	(void)to;
	return -EPERM;
}

Test(store_posix, neither_links_nor_careful_renames_is_told_with_the_first_answer)
{
	struct files_ops ops = *files_os()->ops;
	struct files inner = {.ops = &ops};
	struct error why = {0};
	struct place p;

	place_open(&p);
	ops.link = no_link;
	p.faults.inner = &inner;
	fault_files_fail(&p.faults, FAULT_RENAME_NOREPLACE, 1, EINVAL, true);
	cr_assert_eq(store_probe(p.store, p.env.random, &why), ERR_DENIED);
	cr_assert_eq(why.os, EPERM);
	cr_assert_eq(files_in(&p, "probe"), 0);
	place_close(&p);
}
