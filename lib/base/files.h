/* base/files.h - the file operations of the system, as a table that tests can put faults into.
 *
 * Every entry returns >= 0 on success and -errno on failure; none retries, except that EINTR is
 * retried by the system table.  `dir` is a directory descriptor or AT_FDCWD.  What is built on
 * top (whole writes, atomic publishing) is in base/file.h.
 */
#ifndef BASE_FILES_H
#define BASE_FILES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct files;

/* One name in a directory, never "." or ".."; `type` is one of S_IFREG, S_IFDIR, S_IFLNK, ... Other
 * than 0 ends the listing and is its answer. */
typedef int files_visit(void *ctx, const char *name, mode_t type);

struct files_ops {
	int (*open)(struct files *, int dir, const char *path, int flags, mode_t mode);
	/* openat2 with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS.  Where the
	 * kernel or a container denies openat2 (ENOSYS, EPERM), a walk by single components with
	 * O_NOFOLLOW that refuses ".." stands in for it. */
	int (*open_beneath)(struct files *, int dir, const char *path, int flags, mode_t mode);
	int (*close)(struct files *, int fd);
	ssize_t (*pread)(struct files *, int fd, void *out, size_t len, off_t offset);
	ssize_t (*pwrite)(struct files *, int fd, const void *in, size_t len, off_t offset);
	int (*fsync)(struct files *, int fd);
	/* Everything on the file system that holds `fd`, whoever wrote it.  Answers for writes that failed
	 * since `fd` was opened; -EOPNOTSUPP, with nothing done, where the kernel or the file system would
	 * not tell: then each file has to be synced by itself. */
	int (*sync_fs)(struct files *, int fd);
	/* Begins to write this part of the file out, as far as the system takes part, and waits for
	 * nothing: a later fsync has less to do.  Promises nothing, and reports no failed write. */
	int (*writeback)(struct files *, int fd, off_t offset, off_t len);
	int (*allocate)(struct files *, int fd, off_t len); /* posix_fallocate; may be ENOSPC */
	int (*truncate)(struct files *, int fd, off_t len);
	int (*stat)(struct files *, int dir, const char *path, int flags, struct stat *out);
	int (*stat_fd)(struct files *, int fd, struct stat *out);
	int (*mkdir)(struct files *, int dir, const char *path, mode_t mode);
	int (*chmod_fd)(struct files *, int fd, mode_t mode);
	int (*link)(struct files *, int dir, const char *from, const char *to);
	int (*rename)(struct files *, int dir, const char *from, const char *to);
	int (*rename_noreplace)(struct files *, int dir, const char *from, const char *to);
	int (*symlink)(struct files *, const char *target, int dir, const char *path);
	ssize_t (*readlink)(struct files *, int dir, const char *path, char *out, size_t len);
	int (*unlink)(struct files *, int dir, const char *path, int flags); /* AT_REMOVEDIR */
	/* Names in the directory `path`, which is no symbolic link, in no particular order. */
	int (*list)(struct files *, int dir, const char *path, files_visit *, void *ctx);
	/* Bytes free for this user on the file system that holds `fd`. */
	int (*free_bytes)(struct files *, int fd, uint64_t *out);
};

struct files {
	const struct files_ops *ops;
};

/* The operating system's; static, any thread. */
struct files *files_os(void);

/* The same, but walking in open_beneath as where openat2 is denied. */
struct files *files_os_walking(void);

#endif
