/* lock.c - flock in the state directory. */
#include "lock.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* Who holds it, as the holder wrote it; empty when it can't be told. */
static void read_holder(struct files *files, int fd, char *out, size_t size)
{
	ssize_t n = files->ops->pread(files, fd, out, size - 1, 0);

	out[n > 0 ? n : 0] = '\0';
	out[strspn(out, "0123456789")] = '\0';
}

static enum err taken(struct files *files, int fd, const char *path, struct error *why)
{
	char holder[24];

	read_holder(files, fd, holder, sizeof(holder));
	(void)error_set(why, ERR_EXISTS, "another pgagent%s%s holds the lock %s",
			holder[0] != '\0' ? ", process " : "", holder, path);
	error_hint(why, "Wait until it has ended%s%s; the lock then ends by itself.",
		   holder[0] != '\0' ? ": ps -fp " : "", holder);
	return ERR_EXISTS;
}

enum err lock_take(struct lock *lock, const struct env *env, const char *directory,
		   const char *name, struct error *why)
{
	struct files *files = env->files;
	char path[4096], pid[24];
	enum err err;
	int fd, n;

	lock->fd = -1;
	n = snprintf(path, sizeof(path), "%s/%s.lock", directory, name);
	if (n < 0 || (size_t)n >= sizeof(path))
		return error_set(why, ERR_LIMIT, "state directory %s: the path is too long",
				 directory);
	err = file_make_dirs(files, AT_FDCWD, directory, 0700, why);
	if (err != ERR_NONE) {
		(void)error_add(why, "state directory %s", directory);
		error_hint(why, "As root: install -d -o \"$(id -un %u)\" -m 700 %s",
			   (unsigned)geteuid(), directory);
		return err;
	}
	fd = files->ops->open(files, AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
			      0600);
	if (fd < 0)
		return error_set_os(why, error_kind_of_os(-fd), -fd, "lock %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		err = errno == EWOULDBLOCK
			      ? taken(files, fd, path, why)
			      : error_set_os(why, error_kind_of_os(errno), errno, "lock %s", path);
		(void)files->ops->close(files, fd); /* nothing was written */
		return err;
	}
	n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	/* Only for the message of the next one: the lock itself is the kernel's. */
	if (files->ops->truncate(files, fd, 0) >= 0)
		(void)files->ops->pwrite(files, fd, pid, (size_t)n, 0);
	lock->fd = fd;
	return ERR_NONE;
}

void lock_release(struct lock *lock)
{
	if (lock->fd >= 0)
		(void)files_os()->ops->close(files_os(), lock->fd); /* its content is no matter */
	lock->fd = -1;
}
