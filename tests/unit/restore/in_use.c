/* Facts about whether a server runs in a data directory. */
#include "scratch.h"

#include "restore/restore_internal.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

enum { SHARED_MAGIC = 679834894, NOBODY = 999999999 };

struct scene {
	struct scratch scratch;
	struct env env;
	char how[256];
	int memory; /* -1 = none */
	char *header;
};

static struct scene scene(void)
{
	return (struct scene){.scratch = scratch_open(), .env = env_os(), .memory = -1};
}

static void scene_end(struct scene *s)
{
	if (s->memory >= 0)
		(void)shmctl(s->memory, IPC_RMID, NULL);
	scratch_close(&s->scratch);
}

/* As a server makes it for `directory`. */
static void make_memory(struct scene *s, const char *directory)
{
	struct stat st;
	uint64_t device, inode;
	uint32_t magic = SHARED_MAGIC, creator = NOBODY;

	cr_assert_eq(stat(directory, &st), 0);
	device = st.st_dev;
	inode = st.st_ino;
	s->memory = shmget(IPC_PRIVATE, 56, IPC_CREAT | 0600);
	cr_assert_geq(s->memory, 0);
	s->header = shmat(s->memory, NULL, 0);
	memcpy(s->header, &magic, 4);
	memcpy(s->header + 4, &creator, 4);
	memcpy(s->header + 40, &device, 8);
	memcpy(s->header + 48, &inode, 8);
}

static void put_pid(struct scene *s, long pid, long started, const char *sockets, const char *tail)
{
	char text[1024];
	int fd = openat(s->scratch.dir, "postmaster.pid", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	int n = snprintf(text, sizeof(text), "%ld\n%s\n%ld\n5432\n%s\n\n%s", pid, s->scratch.path,
			 started, sockets, tail);

	cr_assert_eq(write(fd, text, (size_t)n), n);
	(void)close(fd);
}

static void put_memory_pid(struct scene *s, long pid)
{
	char line[64];

	(void)snprintf(line, sizeof(line), "  4711 %9d\nready\n", s->memory);
	put_pid(s, pid, (long)time(NULL), "/nowhere", line);
}

static enum directory_use use_of(struct scene *s)
{
	return directory_is_in_use(&s->env, s->scratch.path, s->how, sizeof(s->how));
}

Test(in_use, without_a_trace_is_free)
{
	struct scene s = scene();

	cr_assert_eq(use_of(&s), DIRECTORY_FREE);
	scene_end(&s);
}

/* In containers every id is somebody's. */
Test(in_use, a_process_that_works_elsewhere_proves_nothing)
{
	struct scene s = scene();

	put_pid(&s, getpid(), 1, "/nowhere", "");
	cr_assert_eq(use_of(&s), DIRECTORY_FREE, "%s", s.how);
	cr_assert_eq(chdir(s.scratch.path), 0);
	cr_assert_eq(use_of(&s), DIRECTORY_USED);
	cr_assert_not_null(strstr(s.how, "alive"));
	put_pid(&s, -getpid(), 1, "/nowhere", "");
	cr_assert_eq(use_of(&s), DIRECTORY_USED, "a server of one user is one");
	cr_assert_eq(chdir("/"), 0);
	scene_end(&s);
}

Test(in_use, attached_memory_of_the_directory_is_a_server)
{
	struct scene s = scene();

	make_memory(&s, s.scratch.path);
	put_memory_pid(&s, NOBODY);
	cr_assert_eq(use_of(&s), DIRECTORY_USED);
	cr_assert_not_null(strstr(s.how, "shared memory"));
	cr_assert_eq(shmdt(s.header), 0);
	cr_assert_eq(use_of(&s), DIRECTORY_FREE, "left by a server that was killed: %s", s.how);
	scene_end(&s);
}

/* Each container numbers its memory from 0 on: what a server left here says nothing of one that runs there. */
Test(in_use, memory_that_another_server_left_proves_nothing)
{
	struct scene s = scene();
	uint32_t creator = NOBODY - 1;
	char line[64];

	make_memory(&s, s.scratch.path);
	cr_assert_eq(shmdt(s.header), 0);
	(void)snprintf(line, sizeof(line), "  4711 %9d\nready\n", s.memory);
	put_pid(&s, NOBODY, (long)time(NULL) + 60, "/nowhere", line);
	cr_assert_eq(use_of(&s), DIRECTORY_UNPROVEN, "made before that one was started");
	put_memory_pid(&s, NOBODY - 1);
	cr_assert_eq(use_of(&s), DIRECTORY_UNPROVEN, "made by another");
	s.header = shmat(s.memory, NULL, 0);
	memcpy(s.header + 4, &creator, 4);
	cr_assert_eq(shmdt(s.header), 0);
	cr_assert_eq(use_of(&s), DIRECTORY_FREE, "%s", s.how);
	scene_end(&s);
}

/* In a container seen from its host, or after its postmaster.pid was removed. */
Test(in_use, a_process_called_postgres_that_works_there_is_a_server)
{
	struct scene s = scene();
	int ready[2];
	char byte;
	pid_t child;

	cr_assert_eq(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		if (prctl(PR_SET_NAME, "postgres") != 0 || chdir(s.scratch.path) != 0 ||
		    write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			(void)pause();
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	cr_assert_eq(use_of(&s), DIRECTORY_USED);
	cr_assert_not_null(strstr(s.how, "a postgres"));
	put_pid(&s, NOBODY, 1, "/nowhere", "");
	cr_assert_eq(use_of(&s), DIRECTORY_USED);
	cr_assert_eq(kill(child, SIGKILL), 0);
	cr_assert_eq(waitpid(child, NULL, 0), child);
	cr_assert_eq(use_of(&s), DIRECTORY_FREE, "%s", s.how);
	scene_end(&s);
}

/* The directory is a copy, or the number was given anew. */
Test(in_use, memory_of_another_directory_proves_nothing)
{
	struct scene s = scene();

	make_memory(&s, "/");
	put_memory_pid(&s, NOBODY);
	cr_assert_eq(use_of(&s), DIRECTORY_UNPROVEN);
	put_pid(&s, NOBODY, 1, "/nowhere", "");
	cr_assert_eq(use_of(&s), DIRECTORY_FREE);
	scene_end(&s);
}

static void put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	(void)close(fd);
}

/* cp -a of the directory of a server that runs, or was killed. */
Test(in_use, a_copy_of_a_servers_directory_is_not_that_server)
{
	struct scene s = scene();
	char original[256], copied[512], line[512];
	int fd;

	(void)snprintf(original, sizeof(original), "%s/original", s.scratch.path);
	cr_assert_eq(mkdir(original, 0700), 0);
	make_memory(&s, original);
	fd = openat(s.scratch.dir, "postmaster.pid", O_WRONLY | O_CREAT, 0600);
	(void)snprintf(line, sizeof(line), "%d\n%s\n%ld\n5432\n/nowhere\n\n  1 %d\n", NOBODY,
		       original, (long)time(NULL), s.memory);
	cr_assert_eq(write(fd, line, strlen(line)), (ssize_t)strlen(line));
	cr_assert_eq(use_of(&s), DIRECTORY_UNPROVEN, "the path may be another one there");
	(void)snprintf(copied, sizeof(copied), "%s/postmaster.pid", original);
	put_text(copied, "1\n");
	cr_assert_eq(use_of(&s), DIRECTORY_UNPROVEN,
		     "the original was started again, or is another");
	put_text(copied, line);
	cr_assert_eq(use_of(&s), DIRECTORY_FREE, "%s", s.how);
	(void)close(fd);
	cr_assert_eq(directory_is_in_use(&s.env, original, s.how, sizeof(s.how)), DIRECTORY_USED);
	scene_end(&s);
}

/* Started since this machine was, and nothing of it is here. */
Test(in_use, what_may_run_elsewhere_is_not_proven_free)
{
	struct scene s = scene();
	char hint[512];

	put_pid(&s, NOBODY, (long)time(NULL), "/nowhere", "  4711 999999999\nready\n");
	cr_assert_eq(use_of(&s), DIRECTORY_UNPROVEN);
	cr_assert_not_null(strstr(s.how, "another container"));
	directory_use_hint(DIRECTORY_UNPROVEN, s.scratch.path, hint, sizeof(hint));
	cr_assert_not_null(strstr(hint, s.scratch.path));
	cr_assert_not_null(strstr(hint, "postmaster.pid"));
	/* Nothing but a process id is no proof either. */
	cr_assert_eq(unlinkat(s.scratch.dir, "postmaster.pid", 0), 0);
	put_pid(&s, NOBODY, 0, "", "");
	cr_assert_eq(use_of(&s), DIRECTORY_UNPROVEN);
	scene_end(&s);
}

static void put_lock(struct scene *s, const char *directory)
{
	int fd = openat(s->scratch.dir, ".s.PGSQL.5432.lock", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	cr_assert_gt(dprintf(fd, "1\n%s\n1\n5432\n%s\n", directory, s->scratch.path), 0);
	(void)close(fd);
}

Test(in_use, a_socket_that_answers_is_a_server_unless_it_is_anothers)
{
	struct scene s = scene();
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.5432",
		       s.scratch.path);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(listen(fd, 8), 0);
	put_pid(&s, NOBODY, 1, s.scratch.path, "");
	cr_assert_eq(use_of(&s), DIRECTORY_USED, "nothing says whose it is");
	cr_assert_not_null(strstr(s.how, "socket"));
	put_lock(&s, s.scratch.path);
	cr_assert_eq(use_of(&s), DIRECTORY_USED);
	put_lock(&s, "/");
	cr_assert_eq(use_of(&s), DIRECTORY_FREE, "%s", s.how);
	(void)close(fd);
	scene_end(&s);
}

Test(in_use, a_pid_file_that_cannot_be_read_is_no_proof)
{
	struct scene s = scene();

	cr_assert_eq(mkdirat(s.scratch.dir, "postmaster.pid", 0700), 0);
	cr_assert_eq(use_of(&s), DIRECTORY_UNPROVEN);
	scene_end(&s);
}
