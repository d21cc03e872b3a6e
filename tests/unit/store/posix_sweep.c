/* What dead writers leave behind in a posix store. */
#include "base/file.h"
#include "posix_place.h"

#include <fcntl.h>
#include <string.h>
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
