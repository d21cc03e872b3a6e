/* tests/support/fault_files.h - a `struct files` that passes on to another one and fails on demand.
 *
 * Calls are counted per operation and in all.  One rule at a time: the nth call (from 1) of an
 * operation, or of any operation, answers an errno, once or from then on for ever.  Besides,
 * transfers can be cut to a number of bytes.  A failing close does close: the system does too.
 *
 *	struct fault_files faults;
 *	fault_files_init(&faults, files_os());
 *	fault_files_fail(&faults, FAULT_FSYNC, 2, EIO, false);
 *	... use &faults.files ...
 *	faults.fired says whether the rule was met: a loop over nth ends when it was not.
 */
#ifndef TESTS_FAULT_FILES_H
#define TESTS_FAULT_FILES_H

#include "base/files.h"

#include <fcntl.h>
#include <stdbool.h>

enum fault_op {
	FAULT_ANY,
	FAULT_OPEN,
	FAULT_OPEN_BENEATH,
	FAULT_CLOSE,
	FAULT_READ,
	FAULT_WRITE,
	FAULT_FSYNC,
	FAULT_SYNC_FS,
	FAULT_ALLOCATE,
	FAULT_TRUNCATE,
	FAULT_STAT,
	FAULT_STAT_FD,
	FAULT_MKDIR,
	FAULT_CHMOD,
	FAULT_LINK,
	FAULT_RENAME,
	FAULT_RENAME_NOREPLACE,
	FAULT_SYMLINK,
	FAULT_READLINK,
	FAULT_UNLINK,
	FAULT_LIST,
	FAULT_FREE_BYTES,
	FAULT_OPS
};

struct fault_files {
	struct files files; /* pass &faults.files */
	struct files *inner;
	unsigned calls[FAULT_OPS]; /* [FAULT_ANY] counts all */
	enum fault_op op;
	unsigned nth; /* 0 = no rule */
	int os;
	bool for_ever;
	bool done_first; /* the operation happens, and then the failure is answered */
	bool fired;
	size_t transfer_max; /* bytes of one read or write; 0 = as asked */
};

static inline void fault_files_fail(struct fault_files *f, enum fault_op op, unsigned nth, int os,
				    bool for_ever)
{
	for (int i = 0; i < FAULT_OPS; i++)
		f->calls[i] = 0;
	f->op = op;
	f->nth = nth;
	f->os = os;
	f->for_ever = for_ever;
	f->done_first = false;
	f->fired = false;
}

static inline void fault_files_clear(struct fault_files *f)
{
	fault_files_fail(f, FAULT_ANY, 0, 0, false);
}

/* Counts the call; true when it is to fail. */
static inline bool fault_files_hits(struct files *files, enum fault_op op)
{
	struct fault_files *f = (struct fault_files *)files;
	unsigned n;

	f->calls[FAULT_ANY]++;
	f->calls[op]++;
	if (f->nth == 0 || (f->op != FAULT_ANY && f->op != op))
		return false;
	n = f->calls[f->op];
	if (f->for_ever ? n < f->nth : n != f->nth)
		return false;
	f->fired = true;
	return true;
}

static inline struct files *fault_files_inner(struct files *files)
{
	return ((struct fault_files *)files)->inner;
}

static inline size_t fault_files_cut(struct files *files, size_t len)
{
	struct fault_files *f = (struct fault_files *)files;

	return f->transfer_max != 0 && len > f->transfer_max ? f->transfer_max : len;
}

/* The body of an operation that is passed on as it is. */
#define FAULT_PASS(op_number, type, call)                                                          \
	do {                                                                                       \
		struct fault_files *self = (struct fault_files *)files;                            \
		struct files *f = self->inner;                                                     \
		bool hit = fault_files_hits(files, op_number);                                     \
                                                                                                   \
		if (hit && !self->done_first)                                                      \
			return (type)-self->os;                                                    \
		if (!hit)                                                                          \
			return f->ops->call;                                                       \
		(void)f->ops->call;                                                                \
		return (type)-self->os;                                                            \
	} while (0)

static inline int fault_open(struct files *files, int dir, const char *path, int flags, mode_t mode)
{
	if (fault_files_hits(files, FAULT_OPEN))
		return -((struct fault_files *)files)->os;
	return fault_files_inner(files)->ops->open(fault_files_inner(files), dir, path, flags,
						   mode);
}

static inline int fault_open_beneath(struct files *files, int dir, const char *path, int flags,
				     mode_t mode)
{
	if (fault_files_hits(files, FAULT_OPEN_BENEATH))
		return -((struct fault_files *)files)->os;
	return fault_files_inner(files)->ops->open_beneath(fault_files_inner(files), dir, path,
							   flags, mode);
}

static inline int fault_files_close(struct files *files, int fd)
{
	bool hit = fault_files_hits(files, FAULT_CLOSE);
	int done = fault_files_inner(files)->ops->close(fault_files_inner(files), fd);

	return hit ? -((struct fault_files *)files)->os : done;
}

static inline ssize_t fault_pread(struct files *files, int fd, void *out, size_t len, off_t offset)
{
	len = fault_files_cut(files, len);
	FAULT_PASS(FAULT_READ, ssize_t, pread(f, fd, out, len, offset));
}

static inline ssize_t fault_pwrite(struct files *files, int fd, const void *in, size_t len,
				   off_t offset)
{
	len = fault_files_cut(files, len);
	FAULT_PASS(FAULT_WRITE, ssize_t, pwrite(f, fd, in, len, offset));
}

static inline int fault_fsync(struct files *files, int fd)
{
	FAULT_PASS(FAULT_FSYNC, int, fsync(f, fd));
}

static inline int fault_sync_fs(struct files *files, int fd)
{
	FAULT_PASS(FAULT_SYNC_FS, int, sync_fs(f, fd));
}

/* Best effort: it has no failures that matter. */
static inline int fault_writeback(struct files *files, int fd, off_t offset, off_t len)
{
	return fault_files_inner(files)->ops->writeback(fault_files_inner(files), fd, offset, len);
}

static inline int fault_allocate(struct files *files, int fd, off_t len)
{
	FAULT_PASS(FAULT_ALLOCATE, int, allocate(f, fd, len));
}

static inline int fault_truncate(struct files *files, int fd, off_t len)
{
	FAULT_PASS(FAULT_TRUNCATE, int, truncate(f, fd, len));
}

static inline int fault_files_stat(struct files *files, int dir, const char *path, int flags,
				   struct stat *out)
{
	FAULT_PASS(FAULT_STAT, int, stat(f, dir, path, flags, out));
}

static inline int fault_stat_fd(struct files *files, int fd, struct stat *out)
{
	FAULT_PASS(FAULT_STAT_FD, int, stat_fd(f, fd, out));
}

static inline int fault_mkdir(struct files *files, int dir, const char *path, mode_t mode)
{
	FAULT_PASS(FAULT_MKDIR, int, mkdir(f, dir, path, mode));
}

static inline int fault_chmod_fd(struct files *files, int fd, mode_t mode)
{
	FAULT_PASS(FAULT_CHMOD, int, chmod_fd(f, fd, mode));
}

static inline int fault_link(struct files *files, int dir, const char *from, const char *to)
{
	FAULT_PASS(FAULT_LINK, int, link(f, dir, from, to));
}

static inline int fault_rename(struct files *files, int dir, const char *from, const char *to)
{
	FAULT_PASS(FAULT_RENAME, int, rename(f, dir, from, to));
}

static inline int fault_rename_noreplace(struct files *files, int dir, const char *from,
					 const char *to)
{
	FAULT_PASS(FAULT_RENAME_NOREPLACE, int, rename_noreplace(f, dir, from, to));
}

static inline int fault_symlink(struct files *files, const char *target, int dir, const char *path)
{
	FAULT_PASS(FAULT_SYMLINK, int, symlink(f, target, dir, path));
}

static inline ssize_t fault_readlink(struct files *files, int dir, const char *path, char *out,
				     size_t len)
{
	FAULT_PASS(FAULT_READLINK, ssize_t, readlink(f, dir, path, out, len));
}

static inline int fault_unlink(struct files *files, int dir, const char *path, int flags)
{
	FAULT_PASS(FAULT_UNLINK, int, unlink(f, dir, path, flags));
}

static inline int fault_files_list(struct files *files, int dir, const char *path,
				   files_visit *visit, void *ctx)
{
	FAULT_PASS(FAULT_LIST, int, list(f, dir, path, visit, ctx));
}

static inline int fault_free_bytes(struct files *files, int fd, uint64_t *out)
{
	FAULT_PASS(FAULT_FREE_BYTES, int, free_bytes(f, fd, out));
}

static inline void fault_files_init(struct fault_files *f, struct files *inner)
{
	static const struct files_ops ops = {
		.open = fault_open,
		.open_beneath = fault_open_beneath,
		.close = fault_files_close,
		.pread = fault_pread,
		.pwrite = fault_pwrite,
		.fsync = fault_fsync,
		.sync_fs = fault_sync_fs,
		.writeback = fault_writeback,
		.allocate = fault_allocate,
		.truncate = fault_truncate,
		.stat = fault_files_stat,
		.stat_fd = fault_stat_fd,
		.mkdir = fault_mkdir,
		.chmod_fd = fault_chmod_fd,
		.link = fault_link,
		.rename = fault_rename,
		.rename_noreplace = fault_rename_noreplace,
		.symlink = fault_symlink,
		.readlink = fault_readlink,
		.unlink = fault_unlink,
		.list = fault_files_list,
		.free_bytes = fault_free_bytes,
	};

	*f = (struct fault_files){.files = {.ops = &ops}, .inner = inner};
}

#endif
