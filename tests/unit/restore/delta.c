/* Delta restores: what is reused, what is written over, what goes, what is refused, and what is left when
 * one breaks off anywhere.
 */
#include "fault_files.h"
#include "scene.h"

#include <fcntl.h>
#include <utime.h>

static void path_of(const struct scene *s, const char *name, char out[256])
{
	cr_assert_lt(snprintf(out, 256, "%s/%s", s->directory, name), 256);
}

/* Puts `content` where the file is, at `offset`; size and times stay. */
static void scribble(const struct scene *s, const char *name, uint64_t offset, const char *content)
{
	char path[256];
	struct stat st;
	struct timespec times[2];
	int fd;

	path_of(s, name, path);
	cr_assert_eq(stat(path, &st), 0);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, content, strlen(content), (off_t)offset), (ssize_t)strlen(content));
	cr_assert_eq(futimens(fd, times), 0);
	cr_assert_eq(close(fd), 0);
}

static void put(const struct scene *s, const char *name, const char *content)
{
	char path[256];
	FILE *f;

	path_of(s, name, path);
	f = fopen(path, "w");
	cr_assert_not_null(f, "%s", path);
	cr_assert_geq(fputs(content, f), 0);
	cr_assert_eq(fclose(f), 0);
}

static void drop(const struct scene *s, const char *name)
{
	char path[256];

	path_of(s, name, path);
	cr_assert_eq(remove(path), 0, "%s", path);
}

static ino_t inode(const struct scene *s, const char *name)
{
	char path[256];
	struct stat st;

	path_of(s, name, path);
	cr_assert_eq(lstat(path, &st), 0, "%s", path);
	return st.st_ino;
}

/* Restored once; from here on with --delta. */
static struct scene *scene_whole(bool large)
{
	struct scene *s = scene_usual(large);

	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	s->request.delta = true;
	s->plan.delta = true;
	return s;
}

static void assert_large(struct scene *s)
{
	uint8_t half_zero[4 * MAP_PAGE_BYTES] = {1, 2, 3};
	char path[64];

	assert_usual(s);
	assert_file(s, "base/1/100", golden_view(s->big), 0600);
	assert_file(s, "base/1/103", bytes_of(half_zero, sizeof(half_zero)), 0600);
	for (unsigned i = 0; i < SMALL_FILES; i++) {
		(void)snprintf(path, sizeof(path), "pg_xact/%04u", i);
		assert_file(s, path, golden_view(noise(100 + 500 * i, i)), 0600);
	}
}

Test(delta, of_a_whole_directory_writes_nothing)
{
	struct scene *s = scene_whole(true);
	ino_t big = inode(s, "base/1/100");
	uint64_t all = s->result.bytes_written;

	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_large(s);
	cr_assert_eq(inode(s, "base/1/100"), big);
	cr_assert_eq(s->result.bytes_written, s->control.len, "pg_control alone is written anew");
	cr_assert_eq(s->result.bytes_reused, all - s->control.len);
	scene_end(s);
}

Test(delta, finds_pages_that_differ_though_size_and_time_are_the_same)
{
	struct scene *s = scene_whole(true);
	uint64_t all = s->result.bytes_written;

	scribble(s, "base/1/100", 5 * MAP_PAGE_BYTES + 77, "x");
	scribble(s, "base/1/100", SHARD_FILE_BYTES - 1, "yz"); /* two pages, two shards */
	scribble(s, "base/1/100", 40 * MAP_PAGE_BYTES, "in a hole");
	scribble(s, "base/1/100", BIG_BYTES - 1, "!"); /* the short one */
	scribble(s, "pg_xact/0007", 3, "?");
	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_large(s);
	cr_assert_eq(s->result.bytes_written,
		     s->control.len + 4 * MAP_PAGE_BYTES + 100 + 100 + 500 * 7);
	cr_assert_eq(s->result.bytes_written + s->result.bytes_reused, all);
	scene_end(s);
}

Test(delta, mends_lengths_modes_and_what_is_missing)
{
	struct scene *s = scene_whole(true);
	char path[256];

	path_of(s, "base/1/100", path);
	cr_assert_eq(truncate(path, SHARD_FILE_BYTES + 5000), 0);
	path_of(s, "base/1/104", path);
	cr_assert_eq(truncate(path, 90000), 0);
	cr_assert_eq(chmod(path, 0604), 0);
	path_of(s, "base/1/101", path);
	cr_assert_eq(chmod(path, 0), 0);
	path_of(s, "base/1", path);
	cr_assert_eq(chmod(path, 0750), 0);
	drop(s, "pg_xact/0003");
	path_of(s, "base/1/103", path);
	cr_assert_eq(truncate(path, 3), 0);
	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_large(s);
	scene_end(s);
}

Test(delta, removes_what_the_backup_does_not_have)
{
	static const char *const names[] = {"base/1/999",     "base/2/1",        "base/2",
					    "PG_VERSION.old", "pg_wal/00000001", "base/l",
					    "base/1/l",       "pg_wal/fifo",     "standby.signal",
					    "lost",           "postmaster.pid"};
	struct scene *s = scene_whole(false);
	char path[256], outside[256];

	(void)snprintf(outside, sizeof(outside), "%s/outside", s->scratch.path);
	cr_assert_eq(mkdir(outside, 0700), 0);
	path_of(s, "base/2", path);
	cr_assert_eq(mkdir(path, 0700), 0);
	put(s, "base/1/999", "x");
	put(s, "base/2/1", "x");
	put(s, "PG_VERSION.old", "x");
	put(s, "pg_wal/00000001", "x");
	put(s, "standby.signal", "");
	put(s, "postmaster.pid", "999999999\n/r\n1\n5432\n/nowhere\n\n");
	path_of(s, "base/l", path);
	cr_assert_eq(symlink(outside, path), 0);
	path_of(s, "base/1/l", path);
	cr_assert_eq(symlink("/etc/passwd", path), 0);
	path_of(s, "lost", path);
	cr_assert_eq(symlink("nowhere", path), 0);
	path_of(s, "pg_wal/fifo", path);
	cr_assert_eq(mkfifo(path, 0600), 0);
	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_usual(s);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		cr_assert_not(exists(s, names[i]), "%s is left", names[i]);
	cr_assert_eq(rmdir(outside), 0, "what links led to was touched");
	scene_end(s);
}

/* What has the name of a file of the backup is a directory, a link, a pipe; and the other way round. */
Test(delta, puts_files_where_other_things_are)
{
	struct scene *s = scene_whole(true);
	char path[256], victim[256];
	struct stat st;

	(void)snprintf(victim, sizeof(victim), "%s/victim", s->scratch.path);
	path_of(s, "base/1/104", path);
	cr_assert_eq(rename(path, victim), 0);
	cr_assert_eq(link(victim, path), 0); /* somebody else's name for it */
	scribble(s, "base/1/104", 0, "theirs");
	drop(s, "pg_xact/0001");
	path_of(s, "pg_xact/0001", path);
	cr_assert_eq(symlink(victim, path), 0);
	drop(s, "pg_xact/0002");
	path_of(s, "pg_xact/0002", path);
	cr_assert_eq(mkdir(path, 0700), 0);
	put(s, "pg_xact/0002/below", "x");
	drop(s, "pg_xact/0004");
	path_of(s, "pg_xact/0004", path);
	cr_assert_eq(mkfifo(path, 0600), 0);
	path_of(s, "pg_notify", path);
	cr_assert_eq(rmdir(path), 0);
	put(s, "pg_notify", "a file");
	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_large(s);
	cr_assert_eq(stat(victim, &st), 0);
	cr_assert_eq(st.st_size, 30000);
	cr_assert_eq(st.st_nlink, 1);
	{
		char seen[7] = "";
		int fd = open(victim, O_RDONLY | O_CLOEXEC);

		cr_assert_eq(read(fd, seen, 6), 6);
		cr_assert_str_eq(seen, "theirs");
		(void)close(fd);
	}
	scene_end(s);
}

/* A directory of the backup is a link to one elsewhere. */
Test(delta, follows_no_link_for_a_directory)
{
	static const char *const names[] = {"base", "pg_wal", "pg_tblspc", "pg_xact"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct scene *s = scene_whole(true);
		char path[256], outside[256], left[512];

		(void)snprintf(outside, sizeof(outside), "%s/outside", s->scratch.path);
		path_of(s, names[i], path);
		cr_assert_eq(rename(path, outside), 0);
		cr_assert_eq(symlink(outside, path), 0);
		(void)snprintf(left, sizeof(left), "%s/left", outside);
		cr_assert_eq(mkdir(left, 0700), 0);
		cr_assert_eq(run(s), ERR_NONE, "%s: %s", names[i], s->why.text);
		assert_large(s);
		cr_assert_eq(access(left, F_OK), 0, "%s: what the link led to was touched",
			     names[i]);
		scene_end(s);
	}
}

/* ---- what is refused ---- */

static void assert_refused(struct scene *s, const char *named)
{
	ino_t before = inode(s, "base/1/104");

	scribble(s, "base/1/104", 0, "mine");
	cr_assert_eq(run(s), ERR_CONFIG, "%s", s->why.text);
	cr_assert_not_null(strstr(s->why.text, named), "%s", s->why.text);
	cr_assert_not(exists(s, RESTORE_MARKER));
	cr_assert(exists(s, "base/1"));
	cr_assert_eq(inode(s, "base/1/104"), before);
}

Test(delta, of_another_cluster_is_refused)
{
	struct scene *s = scene_whole(false);
	struct golden control = content_of(s->control.len);
	char path[256];
	FILE *f;

	memcpy(control.data, s->control.data, control.len);
	put_u64(control.data, 4711);
	put_u32(control.data + 288, crc32c(bytes_of(control.data, 288)));
	path_of(s, "global/pg_control", path);
	f = fopen(path, "w");
	cr_assert_eq(fwrite(control.data, 1, control.len, f), control.len);
	cr_assert_eq(fclose(f), 0);
	assert_refused(s, "4711");
	scene_end(s);
}

Test(delta, of_what_is_no_data_directory_is_refused)
{
	struct scene *s = scene_whole(false);

	put(s, "global/pg_control", "short");
	assert_refused(s, "not whole");
	drop(s, "global/pg_control");
	assert_refused(s, "no global/pg_control");
	scene_end(s);
}

/* Through a link anything could be passed off as the backup's own. */
Test(delta, a_linked_pg_control_proves_nothing)
{
	struct scene *s = scene_whole(false);
	char path[256], elsewhere[256];

	(void)snprintf(elsewhere, sizeof(elsewhere), "%s/control", s->scratch.path);
	path_of(s, "global/pg_control", path);
	cr_assert_eq(rename(path, elsewhere), 0);
	cr_assert_eq(symlink(elsewhere, path), 0);
	assert_refused(s, "no global/pg_control");
	scene_end(s);
}

Test(delta, under_a_server_is_refused)
{
	struct scene *s = scene_whole(false);
	char pid[32], path[256], here[PATH_MAX];

	(void)snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	put(s, "postmaster.pid", pid);
	path_of(s, "", path);
	cr_assert_eq(getcwd(here, sizeof(here)), here);
	cr_assert_eq(chdir(path), 0);
	assert_refused(s, "in use by a server");
	cr_assert_eq(chdir(here), 0);
	cr_assert(exists(s, "global/pg_control"));
	scene_end(s);
}

Test(delta, without_the_option_stays_refused)
{
	struct scene *s = scene_whole(false);

	s->plan.delta = false;
	assert_refused(s, "not empty");
	scene_end(s);
}

/* ---- tablespaces ---- */

Test(delta, of_a_linked_tablespace_reuses_it)
{
	struct restore_place place;
	struct scene *s = scene_tablespace(&place);

	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	s->plan.delta = true;
	put(s, "pg_tblspc/16400/PG_15_202209061/6", "not of the backup");
	scribble(s, "pg_tblspc/16400/PG_15_202209061/5", 8192, "?");
	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_usual(s);
	assert_file(s, "pg_tblspc/16400/PG_15_202209061/5", golden_view(noise(9000, 5)), 0600);
	cr_assert_not(exists(s, "pg_tblspc/16400/PG_15_202209061/6"));
	cr_assert_not(exists(s, "pg_tblspc/16400/" RESTORE_MARKER));
	cr_assert_eq(s->result.bytes_written, s->control.len + 9000 - MAP_PAGE_BYTES);
	scene_end(s);
}

Test(delta, of_a_tablespace_that_is_not_linked_is_refused)
{
	struct restore_place place;
	struct scene *s = scene_tablespace(&place);

	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	s->plan.delta = true;
	drop(s, "pg_tblspc/16400");
	assert_refused(s, "not linked");
	scene_end(s);
}

/* What a copied data directory links to is the original's. */
Test(delta, of_the_originals_tablespace_is_refused_but_in_place)
{
	struct restore_place place;
	struct scene *s = scene_tablespace(&place);

	(void)snprintf(place.from, sizeof(place.from), "%s/link", s->scratch.path);
	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	s->plan.delta = true;
	cr_assert_eq(symlink(place.to, place.from), 0);
	assert_refused(s, "backed up server itself");
	s->plan.side = false;
	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_usual(s);
	scene_end(s);
}

Test(delta, of_a_tablespace_with_another_version_in_it_is_refused)
{
	struct restore_place place;
	struct scene *s = scene_tablespace(&place);
	char path[256];

	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	s->plan.delta = true;
	path_of(s, "pg_tblspc/16400/PG_14_202107181", path);
	cr_assert_eq(mkdir(path, 0700), 0);
	assert_refused(s, "PG_15_");
	cr_assert(exists(s, "pg_tblspc/16400/PG_14_202107181"));
	scene_end(s);
}

/* ---- interruptions ---- */

/* A directory that has moved on since the restore. */
static void move_on(const struct scene *s)
{
	char path[256];

	scribble(s, "base/1/104", 100, "later");
	put(s, "base/1/999", "added");
	drop(s, "base/1/101");
	path_of(s, "base/1/103", path);
	cr_assert_eq(truncate(path, 10), 0);
}

/* Breaks off at call `nth`; false when there are not so many.  Then the same again, with --delta or
 * without. */
static bool interrupt(enum fault_op op, unsigned nth, int os, bool for_ever, bool again)
{
	struct scene *s = scene_whole(false);
	struct fault_files faults;
	bool fired;
	enum err e;

	s->request.jobs = 1;
	move_on(s);
	fault_files_init(&faults, files_os());
	s->env.files = &faults.files;
	fault_files_fail(&faults, op, nth, os, for_ever);
	e = run(s);
	fired = faults.fired;
	s->env.files = files_os();
	/* Without a marker nothing was changed, or all of it: without --delta it is refused, as ever. */
	if (e != ERR_NONE && exists(s, "global/pg_control") &&
	    (!exists(s, RESTORE_MARKER) || exists(s, "base/1/999"))) {
		cr_assert_eq(exists(s, "base/1/999"), !exists(s, "base/1/101"),
			     "call %u of %d: changed, and nothing says so", nth, op);
		again = true;
	}
	s->plan.delta = again;
	if (e != ERR_NONE || again)
		cr_assert_eq(run(s), ERR_NONE, "after call %u of operation %d%s: %s", nth, op,
			     again ? " with --delta" : "", s->why.text);
	assert_usual(s);
	cr_assert_not(exists(s, "base/1/999"));
	scene_end(s);
	return fired;
}

static void interrupt_everywhere(enum fault_op op, int os, bool for_ever, unsigned least)
{
	unsigned nth = 1;

	while (interrupt(op, nth, os, for_ever, nth % 2 == 0))
		nth++;
	cr_assert_gt(nth, least);
}

Test(delta, a_failed_removal_is_finished_by_the_next_run)
{
	interrupt_everywhere(FAULT_UNLINK, EIO, false, 4);
}

Test(delta, a_full_disk_is_finished_by_the_next_run)
{
	interrupt_everywhere(FAULT_WRITE, ENOSPC, false, 4);
}

Test(delta, a_failed_fsync_is_finished_by_the_next_run)
{
	interrupt_everywhere(FAULT_FSYNC, EIO, false, 10);
}

Test(delta, a_failed_open_is_finished_by_the_next_run)
{
	interrupt_everywhere(FAULT_OPEN_BENEATH, EIO, false, 20);
}

Test(delta, a_failed_rename_or_truncation_is_finished_by_the_next_run)
{
	interrupt_everywhere(FAULT_RENAME, EIO, false, 1);
	interrupt_everywhere(FAULT_TRUNCATE, EIO, false, 1);
	interrupt_everywhere(FAULT_CHMOD, EIO, false, 2);
	interrupt_everywhere(FAULT_READ, EIO, false, 4);
	interrupt_everywhere(FAULT_STAT_FD, EIO, false, 4);
	interrupt_everywhere(FAULT_LIST, EIO, false, 4);
}

/* As a power cut: nothing works from that call on. */
Test(delta, a_crash_anywhere_is_finished_by_the_next_run)
{
	unsigned nth = 1;

	while (interrupt(FAULT_ANY, nth, EIO, true, nth % 2 == 0))
		nth++;
	cr_assert_gt(nth, 100);
}

Test(delta, finishes_an_interrupted_restore_and_reuses_what_is_whole)
{
	struct scene *s = scene_usual(true);
	struct fault_files faults;

	s->request.jobs = 1;
	fault_files_init(&faults, files_os());
	s->env.files = &faults.files;
	fault_files_fail(&faults, FAULT_FSYNC, 8, EIO, true);
	cr_assert_neq(run(s), ERR_NONE);
	s->env.files = files_os();
	s->plan.delta = true;
	cr_assert_eq(run(s), ERR_NONE, "%s", s->why.text);
	assert_large(s);
	cr_assert_gt(s->result.bytes_reused, BIG_BYTES);
	scene_end(s);
}
