/* base/files_os.c - the file operations of Linux, each one system call. */
#include "base/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

/* One system call again until no signal interrupts it; its result, or -errno. */
#define UNINTERRUPTED(result, call)                                                                \
	do {                                                                                       \
		(result) = (call);                                                                 \
	} while ((result) < 0 && errno == EINTR);                                                  \
	if ((result) < 0)                                                                          \
	(result) = -errno

static int os_open(struct files *f, int dir, const char *path, int flags, mode_t mode)
{
	int fd;

	(void)f;
	UNINTERRUPTED(fd, openat(dir, path, flags | O_CLOEXEC, mode));
	return fd;
}

static bool is_symlink(int dir, const char *path)
{
	struct stat st;

	return fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
}

/* One component; a symbolic link is ELOOP in every case, as openat2 has it. */
static int open_component(int dir, const char *name, int flags, mode_t mode)
{
	int fd;

	UNINTERRUPTED(fd, openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC, mode));
	if (fd == -ENOTDIR && is_symlink(dir, name))
		return -ELOOP;
	return fd;
}

/* Stands in for openat2.  Each component is opened by itself relative to the one before, so that
 * nobody can put a link in the way between a check and a use. */
static int walk_beneath(int dir, const char *path, int flags, mode_t mode)
{
	char name[NAME_MAX + 1];
	int at = dir;
	int fd = -ENOENT;

	if (path[0] == '/')
		return -EXDEV;
	while (*path != '\0') {
		size_t len = strcspn(path, "/");
		size_t slashes = strspn(path + len, "/");
		bool last = path[len + slashes] == '\0';

		if (len > NAME_MAX) {
			fd = -ENAMETOOLONG;
			break;
		}
		memcpy(name, path, len);
		name[len] = '\0';
		path += len + slashes;
		if (strcmp(name, "..") == 0)
			fd = -EXDEV;
		else if (!last)
			fd = open_component(at, name, O_PATH | O_DIRECTORY, 0);
		else if (slashes > 0)
			fd = open_component(at, name, flags | O_DIRECTORY, mode);
		else
			fd = open_component(at, name, flags, mode);
		if (at != dir)
			(void)close(at); /* only a place to stand on; nothing was written */
		at = fd;
		if (fd < 0 || last)
			return fd;
	}
	if (at != dir)
		(void)close(at); /* as above */
	return fd;
}

static int os_open_walking(struct files *f, int dir, const char *path, int flags, mode_t mode)
{
	(void)f;
	return walk_beneath(dir, path, flags, mode);
}

/* A rename elsewhere in the tree at the same moment makes openat2 answer EAGAIN; to be unlucky
 * this often is to be attacked. */
enum { BENEATH_TRIES = 64 };

static int os_open_beneath(struct files *f, int dir, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.mode = flags & O_CREAT ? mode & 07777 : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd = -1;

	(void)f;
	for (int i = 0; i < BENEATH_TRIES; i++) {
		fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
		if (fd >= 0 || (errno != EINTR && errno != EAGAIN))
			break;
	}
	if (fd >= 0)
		return (int)fd;
	/* EPERM may also be about the file itself; the walk then answers the same. */
	if (errno == ENOSYS || errno == EPERM)
		return walk_beneath(dir, path, flags, mode);
	return -errno;
}

static int os_close(struct files *f, int fd)
{
	(void)f;
	/* On Linux the descriptor is gone even after EINTR: to try again could close another's. */
	if (close(fd) < 0 && errno != EINTR)
		return -errno;
	return 0;
}

static ssize_t os_pread(struct files *f, int fd, void *out, size_t len, off_t offset)
{
	ssize_t got;

	(void)f;
	UNINTERRUPTED(got, pread(fd, out, len, offset));
	return got;
}

static ssize_t os_pwrite(struct files *f, int fd, const void *in, size_t len, off_t offset)
{
	ssize_t put;

	(void)f;
	UNINTERRUPTED(put, pwrite(fd, in, len, offset));
	return put;
}

static int os_fsync(struct files *f, int fd)
{
	int done;

	(void)f;
	UNINTERRUPTED(done, fsync(fd));
	return done;
}

/* Failed writes are told from Linux 5.8 on (commit 735e4ae5ba28). */
static bool kernel_tells(void)
{
	struct utsname name;
	unsigned long major, minor = 0;
	char *end;

	if (uname(&name) != 0)
		return false;
	major = strtoul(name.release, &end, 10);
	if (*end == '.')
		minor = strtoul(end + 1, NULL, 10);
	return major > 5 || (major == 5 && minor >= 8);
}

/* Those of which it is known that syncfs writes everything, and that their failures come up.  FUSE may do
 * nothing at all, overlays keep the failures of what lies below to themselves. */
static bool file_system_tells(int fd)
{
	struct statfs st;
	int done;

	UNINTERRUPTED(done, fstatfs(fd, &st));
	return done == 0 && (st.f_type == EXT4_SUPER_MAGIC || st.f_type == XFS_SUPER_MAGIC ||
			     st.f_type == BTRFS_SUPER_MAGIC);
}

static int os_sync_fs(struct files *f, int fd)
{
	int done;

	(void)f;
	if (!kernel_tells() || !file_system_tells(fd))
		return -EOPNOTSUPP;
	UNINTERRUPTED(done, syncfs(fd));
	return done;
}

static int os_writeback(struct files *f, int fd, off_t offset, off_t len)
{
	int done;

	(void)f;
	UNINTERRUPTED(done, sync_file_range(fd, offset, len, SYNC_FILE_RANGE_WRITE));
	return done;
}

static int os_allocate(struct files *f, int fd, off_t len)
{
	int failed;

	(void)f;
	do {
		failed = posix_fallocate(fd, 0, len);
	} while (failed == EINTR);
	return -failed;
}

static int os_truncate(struct files *f, int fd, off_t len)
{
	int done;

	(void)f;
	UNINTERRUPTED(done, ftruncate(fd, len));
	return done;
}

static int os_stat(struct files *f, int dir, const char *path, int flags, struct stat *out)
{
	int done;

	(void)f;
	UNINTERRUPTED(done, fstatat(dir, path, out, flags));
	return done;
}

static int os_stat_fd(struct files *f, int fd, struct stat *out)
{
	int done;

	(void)f;
	UNINTERRUPTED(done, fstat(fd, out));
	return done;
}

static int os_mkdir(struct files *f, int dir, const char *path, mode_t mode)
{
	int done;

	(void)f;
	UNINTERRUPTED(done, mkdirat(dir, path, mode));
	return done;
}

static int os_chmod_fd(struct files *f, int fd, mode_t mode)
{
	int done;

	(void)f;
	UNINTERRUPTED(done, fchmod(fd, mode));
	return done;
}

static int os_link(struct files *f, int dir, const char *from, const char *to)
{
	int done;

	(void)f;
	UNINTERRUPTED(done, linkat(dir, from, dir, to, 0));
	return done;
}

static int os_rename(struct files *f, int dir, const char *from, const char *to)
{
	int done;

	(void)f;
	UNINTERRUPTED(done, renameat(dir, from, dir, to));
	return done;
}

static int os_rename_noreplace(struct files *f, int dir, const char *from, const char *to)
{
	int done;

	(void)f;
	UNINTERRUPTED(done, renameat2(dir, from, dir, to, RENAME_NOREPLACE));
	return done;
}

static int os_symlink(struct files *f, const char *target, int dir, const char *path)
{
	int done;

	(void)f;
	UNINTERRUPTED(done, symlinkat(target, dir, path));
	return done;
}

static ssize_t os_readlink(struct files *f, int dir, const char *path, char *out, size_t len)
{
	ssize_t got;

	(void)f;
	UNINTERRUPTED(got, readlinkat(dir, path, out, len));
	return got;
}

static int os_unlink(struct files *f, int dir, const char *path, int flags)
{
	int done;

	(void)f;
	UNINTERRUPTED(done, unlinkat(dir, path, flags));
	return done;
}

static mode_t type_of_entry(int dir, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN)
		return DTTOIF(entry->d_type);
	/* Some file systems do not say; a name that is gone again has no type. */
	if (fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return 0;
	return st.st_mode & S_IFMT;
}

static int os_list(struct files *f, int dir, const char *path, files_visit *visit, void *ctx)
{
	int fd = os_open(f, dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	struct dirent *entry;
	DIR *stream;
	int answer = 0;

	if (fd < 0)
		return fd;
	stream = fdopendir(fd);
	if (stream == NULL) {
		answer = -errno;
		(void)close(fd); /* nothing was written */
		return answer;
	}
	while (answer == 0) {
		errno = 0;
		entry = readdir(stream);
		if (entry == NULL) {
			answer = -errno;
			break;
		}
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			answer = visit(ctx, entry->d_name, type_of_entry(fd, entry));
	}
	(void)closedir(stream); /* nothing was written */
	return answer;
}

static int os_free_bytes(struct files *f, int fd, uint64_t *out)
{
	struct statvfs st;
	int done;

	(void)f;
	UNINTERRUPTED(done, fstatvfs(fd, &st));
	if (done == 0)
		*out = (uint64_t)st.f_bavail * st.f_frsize;
	return done;
}

/* One list for both tables, so that they can differ in nothing else. */
#define OPS(beneath)                                                                               \
	{                                                                                          \
		.open = os_open, .open_beneath = (beneath), .close = os_close, .pread = os_pread,  \
		.pwrite = os_pwrite, .fsync = os_fsync, .sync_fs = os_sync_fs,                     \
		.writeback = os_writeback, .allocate = os_allocate, .truncate = os_truncate,       \
		.stat = os_stat, .stat_fd = os_stat_fd, .mkdir = os_mkdir,                         \
		.chmod_fd = os_chmod_fd, .link = os_link, .rename = os_rename,                     \
		.rename_noreplace = os_rename_noreplace, .symlink = os_symlink,                    \
		.readlink = os_readlink, .unlink = os_unlink, .list = os_list,                     \
		.free_bytes = os_free_bytes,                                                       \
	}

static const struct files_ops os_ops = OPS(os_open_beneath);
static const struct files_ops walking_ops = OPS(os_open_walking);

static const struct files os_files = {.ops = &os_ops};
static const struct files walking_files = {.ops = &walking_ops};

struct files *files_os(void)
{
	return (struct files *)&os_files; /* it has no state to change */
}

struct files *files_os_walking(void)
{
	return (struct files *)&walking_files; /* as above */
}
