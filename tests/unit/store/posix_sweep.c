/* What dead writers and removed objects leave behind in a posix store. */
#include "base/file.h"
#include "posix_place.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void leave_temporary(const struct place *p, const char *dir, pid_t pid, int64_t age_s)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL) - age_s}};
	char path[200];

	(void)snprintf(path, sizeof(path), "%s/" FILE_TEMP_PREFIX "%d-%016llx", dir, (int)pid,
		       (unsigned long long)age_s);
	(void)close(openat(p->scratch.dir, path, O_CREAT | O_WRONLY, 0600));
	cr_assert_eq(utimensat(p->scratch.dir, path, times, 0), 0);
}

/* A process of ours that is gone and waited for. */
static pid_t dead_pid(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	(void)waitpid(pid, NULL, 0);
	return pid;
}

Test(store_posix_sweep, a_sweep_removes_old_temporaries_and_those_of_dead_processes)
{
	enum { DAY = 86400, HOUR = 3600 };
	pid_t dead = dead_pid();
	struct error why = {0};
	struct place p;

	place_open(&p);
	cr_assert_eq(put(&p, "a/b/name", NULL), ERR_NONE);
	leave_temporary(&p, ".", getpid(), 2 * DAY); /* old: goes */
	leave_temporary(&p, "a/b", dead, 2 * DAY);   /* old: goes */
	leave_temporary(&p, "a", dead, HOUR);        /* dead and quiet: goes */
	leave_temporary(&p, "a/b", getpid(), HOUR);  /* alive: stays */
	leave_temporary(&p, "a/b", dead, 60);        /* not quiet: may live elsewhere; stays */
	cr_assert_eq(store_posix_sweep(p.store, (int64_t)DAY * 1000000, &why), ERR_NONE, "%s",
		     why.text);
	cr_assert_eq(files_in(&p, "."), 0);
	cr_assert_eq(files_in(&p, "a"), 0);
	cr_assert_eq(files_in(&p, "a/b"), 3);
	expect_whole(&p, "a/b/name");

	fault_files_fail(&p.faults, FAULT_UNLINK, 1, EROFS, false);
	cr_assert_eq(store_posix_sweep(p.store, 0, &why), ERR_DENIED);
	cr_assert_not_null(strstr(why.text, FILE_TEMP_PREFIX));
	cr_assert_eq(store_posix_sweep(p.store, 0, &why), ERR_NONE);
	cr_assert_eq(files_in(&p, "a/b"), 1);
	place_close(&p);
}

static void make_old(const struct place *p, const char *path)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL) - 2 * 3600}};

	cr_assert_eq(utimensat(p->scratch.dir, path, times, 0), 0);
}

static bool is_there(const struct place *p, const char *path)
{
	return faccessat(p->scratch.dir, path, F_OK, 0) == 0;
}

Test(store_posix_sweep, directories_go_when_they_were_empty_for_long)
{
	static const char *const made[] = {"c",           "c/packs",        "c/packs/old",
					   "c/packs/new", "c/.snap",        "c/packs/x",
					   "other",       "c/packs/foreign"};
	static const int64_t hour_us = INT64_C(3600) * 1000000;
	struct error why = {0};
	struct place p;

	place_open(&p);
	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
		cr_assert_eq(mkdirat(p.scratch.dir, made[i], 0700), 0);
	(void)close(openat(p.scratch.dir, "c/packs/foreign/.note", O_CREAT | O_WRONLY, 0600));
	cr_assert_eq(put(&p, "c/packs/x/name", NULL), ERR_NONE);
	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
		if (strcmp(made[i], "c/packs/new") != 0)
			make_old(&p, made[i]);
	cr_assert_eq(store_posix_sweep_dirs(p.store, "c/", hour_us, &why), ERR_NONE, "%s",
		     why.text);
	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
		cr_assert_eq(is_there(&p, made[i]), strcmp(made[i], "c/packs/old") != 0, "%s",
			     made[i]);
	expect_whole(&p, "c/packs/x/name");

	/* It empties from below, the top stays. */
	cr_assert_eq(store_posix_sweep_dirs(p.store, "other/", 0, &why), ERR_NONE);
	cr_assert(is_there(&p, "other"));
	cr_assert_eq(mkdirat(p.scratch.dir, "other/d", 0700), 0);
	make_old(&p, "other/d");
	for (int errnum = ENOTEMPTY; errnum != 0; errnum = errnum == ENOTEMPTY ? EBUSY : 0) {
		fault_files_fail(&p.faults, FAULT_UNLINK, 1, errnum, false);
		cr_assert_eq(store_posix_sweep_dirs(p.store, "other/", hour_us, &why), ERR_NONE);
	}
	fault_files_fail(&p.faults, FAULT_UNLINK, 1, EROFS, false);
	cr_assert_eq(store_posix_sweep_dirs(p.store, "other/", hour_us, &why), ERR_DENIED);
	cr_assert_not_null(strstr(why.text, "other/d"));
	fault_files_fail(&p.faults, FAULT_LIST, 1, EIO, false);
	cr_assert_eq(store_posix_sweep_dirs(p.store, "other/", hour_us, &why), ERR_IO);
	fault_files_clear(&p.faults);
	cr_assert_eq(store_posix_sweep_dirs(p.store, "other/", hour_us, &why), ERR_NONE);
	cr_assert_not(is_there(&p, "other/d"));
	cr_assert_eq(store_posix_sweep_dirs(p.store, "gone/", hour_us, &why), ERR_NONE);
	place_close(&p);
}

/* Its directory went between its opening and the temporary in it. */
Test(store_posix_sweep, who_comes_to_write_into_a_directory_that_goes_makes_it_again)
{
	struct place p;

	place_open(&p);
	cr_assert_eq(put(&p, "a/name", NULL), ERR_NONE);
	fault_files_fail(&p.faults, FAULT_OPEN, 1, ENOENT, false);
	cr_assert_eq(put(&p, "a/other", NULL), ERR_NONE);
	expect_whole(&p, "a/other");
	fault_files_fail(&p.faults, FAULT_OPEN, 1, ENOENT, true);
	cr_assert_eq(put(&p, "a/third", NULL), ERR_MISSING);
	place_close(&p);
}
