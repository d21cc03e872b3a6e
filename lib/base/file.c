/* base/file.c - whole reads, whole writes, and publishing a file so that it survives a power cut.
 *
 * The steps of publishing carry the numbers of the table in lib/base/README.md.
 */
#include "base/file.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	READ_FIRST = 4096, /* bytes, where the size is not known, as in /proc */
	TEMP_HEX = 16      /* digits at the end of a temporary's name */
};

/* Reads to the end of `fd`; the size it was said to have is only where to begin. */
static int read_to_end(struct files *f, int fd, size_t expected, size_t max, uint8_t **out,
		       size_t *len)
{
	size_t capacity = expected > max ? max : expected;
	size_t used = 0;
	uint8_t *data;
	ssize_t got = 0;

	/* One byte more shows that the file has grown; another one is for the NUL. */
	data = bytes_new_large(capacity + 2);
	while (data != NULL) {
		got = f->ops->pread(f, fd, data + used, capacity + 1 - used, (off_t)used);
		if (got <= 0)
			break;
		used += (size_t)got;
		if (used > max) {
			got = -EFBIG;
			break;
		}
		if (used > capacity) {
			uint8_t *larger;

			capacity = capacity < READ_FIRST ? READ_FIRST : capacity;
			capacity = capacity > max / 2 ? max : capacity * 2;
			larger = realloc(data, capacity + 2);
			if (larger == NULL)
				free(data);
			data = larger;
		}
	}
	if (data == NULL)
		return -ENOMEM;
	if (got < 0) {
		free(data);
		return (int)got;
	}
	data[used] = '\0';
	*out = data;
	*len = used;
	return 0;
}

enum err file_read_all(struct files *f, int dir, const char *path, size_t max, uint8_t **out,
		       size_t *len, struct error *why)
{
	struct stat st;
	int fd = f->ops->open(f, dir, path, O_RDONLY | O_NOCTTY, 0);
	int got;

	if (fd < 0)
		return error_set_os(why, error_kind_of_os(-fd), -fd, "cannot open %s", path);
	got = f->ops->stat_fd(f, fd, &st);
	if (got == 0)
		got = read_to_end(f, fd, st.st_size > 0 ? (size_t)st.st_size : 0, max, out, len);
	(void)f->ops->close(f, fd); /* nothing was written */
	if (got == -EFBIG)
		return error_set(why, ERR_LIMIT, "cannot read %s: more than %zu bytes", path, max);
	if (got < 0)
		return error_set_os(why, error_kind_of_os(-got), -got, "cannot read %s", path);
	return ERR_NONE;
}

enum err file_pread(struct files *f, int fd, void *out, size_t len, uint64_t offset,
		    struct error *why)
{
	uint8_t *at = out;

	if (offset > (uint64_t)INT64_MAX - len)
		return error_set(why, ERR_CORRUPT, "file ends before byte %llu",
				 (unsigned long long)offset);
	while (len > 0) {
		ssize_t got = f->ops->pread(f, fd, at, len, (off_t)offset);

		if (got < 0)
			return error_set_os(why, error_kind_of_os((int)-got), (int)-got,
					    "cannot read %zu bytes at %llu", len,
					    (unsigned long long)offset);
		if (got == 0)
			return error_set(why, ERR_CORRUPT, "file ends at byte %llu, %zu too early",
					 (unsigned long long)offset, len);
		at += got;
		len -= (size_t)got;
		offset += (uint64_t)got;
	}
	return ERR_NONE;
}

enum err file_pwrite(struct files *f, int fd, struct bytes in, uint64_t offset, struct error *why)
{
	if (offset > (uint64_t)INT64_MAX - in.len)
		return error_set(why, ERR_LIMIT, "cannot write at byte %llu: too far",
				 (unsigned long long)offset);
	while (in.len > 0) {
		ssize_t put = f->ops->pwrite(f, fd, in.data, in.len, (off_t)offset);

		if (put == 0) /* never for a regular file; it must not become a loop */
			put = -EIO;
		if (put < 0)
			return error_set_os(why, error_kind_of_os((int)-put), (int)-put,
					    "cannot write %zu bytes at %llu", in.len,
					    (unsigned long long)offset);
		in = bytes_of(in.data + put, in.len - (size_t)put);
		offset += (uint64_t)put;
	}
	return ERR_NONE;
}

enum err file_sync_dir(struct files *f, int dir, const char *path, struct error *why)
{
	int fd = f->ops->open(f, dir, path, O_RDONLY | O_DIRECTORY, 0);
	int synced;
	int closed;

	if (fd < 0)
		return error_set_os(why, error_kind_of_os(-fd), -fd, "cannot open directory %s",
				    path);
	synced = f->ops->fsync(f, fd);
	closed = f->ops->close(f, fd);
	if (synced == 0)
		synced = closed;
	if (synced < 0)
		return error_set_os(why, error_kind_of_os(-synced), -synced,
				    "cannot sync directory %s", path);
	return ERR_NONE;
}

enum err file_parent(const char *path, char out[PATH_MAX], struct error *why)
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		len--;
	while (len > 0 && path[len - 1] != '/')
		len--;
	while (len > 1 && path[len - 1] == '/')
		len--;
	if (len >= PATH_MAX)
		return error_set(why, ERR_LIMIT, "path too long: %s", path);
	if (len == 0)
		out[len++] = '.';
	else
		memcpy(out, path, len);
	out[len] = '\0';
	return ERR_NONE;
}

/* Makes one directory.  When its parent cannot be synced it is taken back, since the next caller
 * would find it there and believe it durable. */
static enum err make_dir(struct files *f, int dir, const char *path, mode_t mode, struct error *why)
{
	char parent[PATH_MAX];
	struct stat st;
	enum err err = file_parent(path, parent, why);
	int made;

	if (err != ERR_NONE)
		return err;
	made = f->ops->mkdir(f, dir, path, mode);
	if (made == 0) {
		err = file_sync_dir(f, dir, parent, why);
		if (err != ERR_NONE)
			(void)f->ops->unlink(f, dir, path, AT_REMOVEDIR); /* `why` says enough */
		return err;
	}
	/* Existing ones of a path may also answer EROFS or EACCES: only what is there counts. */
	if (f->ops->stat(f, dir, path, 0, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			return ERR_NONE;
		made = -ENOTDIR;
	}
	return error_set_os(why, made == -ENOTDIR ? ERR_DENIED : error_kind_of_os(-made), -made,
			    "cannot make directory %s", path);
}

enum err file_make_dirs(struct files *f, int dir, const char *path, mode_t mode, struct error *why)
{
	char part[PATH_MAX];
	size_t len = strlen(path);

	if (len >= sizeof(part))
		return error_set(why, ERR_LIMIT, "path too long: %s", path);
	for (size_t i = 1; i <= len; i++) {
		enum err err;

		if ((path[i] != '/' && path[i] != '\0') || path[i - 1] == '/')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		err = make_dir(f, dir, part, mode, why);
		if (err != ERR_NONE)
			return err;
	}
	return ERR_NONE;
}

/* The number of the process that made it; 0 for any other name. */
static pid_t temp_maker(const char *name)
{
	const char *digits = name + strlen(FILE_TEMP_PREFIX), *hex;
	uint64_t pid;

	if (strncmp(name, FILE_TEMP_PREFIX, strlen(FILE_TEMP_PREFIX)) != 0)
		return 0;
	hex = digits + strcspn(digits, "-");
	if (!text_to_u64(bytes_of(digits, (size_t)(hex - digits)), &pid) || pid > INT32_MAX ||
	    *hex != '-' || strspn(hex + 1, "0123456789abcdef") != TEMP_HEX ||
	    hex[1 + TEMP_HEX] != '\0')
		return 0;
	return (pid_t)pid;
}

bool file_temp_is_name(const char *name)
{
	return temp_maker(name) > 0;
}

bool file_temp_is_left(const char *name)
{
	pid_t maker = temp_maker(name);

	return maker > 0 && kill(maker, 0) < 0 && errno == ESRCH;
}

enum err file_temp_begin(struct file_temp *t, struct files *f, struct random *random, int dir,
			 const char *path, mode_t mode, struct error *why)
{
	uint8_t bytes[TEMP_HEX / 2];
	char hex[TEMP_HEX + 1];
	const char *slash = strrchr(path, '/');
	int used;
	enum err err = random_fill(random, bytes, sizeof(bytes), why);

	if (err != ERR_NONE)
		return err;
	text_of_hex(bytes_of(bytes, sizeof(bytes)), hex);
	*t = (struct file_temp){.files = f, .dir = dir, .fd = -1};
	used = snprintf(t->path, sizeof(t->path), "%.*s" FILE_TEMP_PREFIX "%ld-%s",
			slash == NULL ? 0 : (int)(slash + 1 - path), path, (long)getpid(), hex);
	if (used < 0 || (size_t)used >= sizeof(t->path))
		return error_set(why, ERR_LIMIT, "path too long: %s", path);
	/* 1: an exclusive name; a link put there by somebody else is never followed. */
	t->fd = f->ops->open(f, dir, t->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	if (t->fd < 0)
		return error_set_os(why, error_kind_of_os(-t->fd), -t->fd, "cannot create %s",
				    t->path);
	/* The umask must not decide what is readable; 0600 is already so. */
	if (mode != 0600) {
		int done = f->ops->chmod_fd(f, t->fd, mode);

		if (done < 0) {
			file_temp_abandon(t);
			return error_set_os(why, error_kind_of_os(-done), -done,
					    "cannot set the mode of %s", t->path);
		}
	}
	return ERR_NONE;
}

enum err file_temp_append(struct file_temp *t, struct bytes in, struct error *why)
{
	/* 2 */
	enum err err = file_pwrite(t->files, t->fd, in, t->len, why);

	if (err == ERR_NONE)
		t->len += in.len;
	return err;
}

void file_temp_abandon(struct file_temp *t)
{
	if (t->fd >= 0)
		(void)t->files->ops->close(t->files, t->fd); /* what it held is thrown away */
	t->fd = -1;
	/* What cannot be removed now has a name that listings skip and sweeps remove. */
	(void)t->files->ops->unlink(t->files, t->dir, t->path, 0);
}

/* 3 and 4.  Neither is tried twice: after a failed fsync the kernel may have dropped the pages and
 * called them clean, so that a second one would lie. */
static enum err temp_close(struct file_temp *t, bool sync, struct error *why)
{
	int synced = sync ? t->files->ops->fsync(t->files, t->fd) : 0;
	int closed = t->files->ops->close(t->files, t->fd);

	t->fd = -1;
	if (synced < 0)
		return error_set_os(why, error_kind_of_os(-synced), -synced, "cannot sync %s",
				    t->path);
	if (closed < 0)
		return error_set_os(why, error_kind_of_os(-closed), -closed, "cannot close %s",
				    t->path);
	return ERR_NONE;
}

enum ours { OURS_NO, OURS_YES, OURS_UNKNOWN };

/* Whether `path` is the file that the temporary is, whatever was answered: on NFS the answer to a
 * request sent twice is that of the second. */
static enum ours is_ours(struct file_temp *t, const char *path)
{
	struct stat temp;
	struct stat there;
	int got = t->files->ops->stat(t->files, t->dir, path, AT_SYMLINK_NOFOLLOW, &there);

	if (got == -ENOENT)
		return OURS_NO;
	if (got < 0 ||
	    t->files->ops->stat(t->files, t->dir, t->path, AT_SYMLINK_NOFOLLOW, &temp) < 0)
		return OURS_UNKNOWN;
	return there.st_ino == temp.st_ino && there.st_dev == temp.st_dev ? OURS_YES : OURS_NO;
}

/* 5: -errno, or 0 when `path` now is the file. */
static int temp_show(struct file_temp *t, const char *path, enum ours *ours)
{
	struct files *f = t->files;
	int shown = f->ops->link(f, t->dir, t->path, path);

	*ours = shown == 0 ? OURS_YES : is_ours(t, path);
	if (*ours != OURS_NO)
		return *ours == OURS_YES ? 0 : shown;
	/* File systems without hard links say so in different words. */
	if (shown == -EPERM || shown == -EOPNOTSUPP || shown == -ENOSYS || shown == -EMLINK) {
		int renamed = f->ops->rename_noreplace(f, t->dir, t->path, path);

		if (renamed == 0) {
			*ours = OURS_YES;
			return 0;
		}
		/* EINVAL, ENOSYS: it knows no such rename either; the first answer tells more. */
		return renamed == -EINVAL || renamed == -ENOSYS ? shown : renamed;
	}
	return shown;
}

enum err file_temp_publish(struct file_temp *t, const char *path, struct error *why)
{
	struct files *f = t->files;
	char parent[PATH_MAX];
	enum ours ours = OURS_NO;
	enum err err;
	int shown;

	err = file_parent(path, parent, why);
	if (err == ERR_NONE)
		err = temp_close(t, true, why);
	if (err != ERR_NONE)
		goto out;
	shown = temp_show(t, path, &ours);
	if (shown < 0 && ours == OURS_UNKNOWN)
		err = error_set_os(why, ERR_UNSURE, -shown, "cannot tell whether %s was published",
				   path);
	else if (shown < 0)
		err = error_set_os(why, error_kind_of_os(-shown), -shown, "cannot publish %s",
				   path);
	/* 6: also for a name that was taken, so that "exists" means durable even when the one who
	 * put it there is still between his steps 5 and 6. */
	if (err == ERR_NONE || err == ERR_EXISTS) {
		struct error sync;
		enum err synced = file_sync_dir(f, t->dir, parent, &sync);

		if (synced != ERR_NONE && why != NULL)
			*why = sync;
		if (synced != ERR_NONE && err == ERR_NONE && f->ops->unlink(f, t->dir, path, 0) < 0)
			synced = error_set(why, ERR_UNSURE, "cannot take back %s: %s", path,
					   sync.text);
		if (synced != ERR_NONE)
			err = synced;
	}
out:
	file_temp_abandon(t); /* 7 */
	return err;
}

enum err file_publish(struct files *f, struct random *random, int dir, const char *path,
		      struct bytes in, mode_t mode, struct error *why)
{
	struct file_temp t;
	enum err err = file_temp_begin(&t, f, random, dir, path, mode, why);

	if (err != ERR_NONE)
		return err;
	err = file_temp_append(&t, in, why);
	if (err != ERR_NONE) {
		file_temp_abandon(&t);
		return err;
	}
	return file_temp_publish(&t, path, why);
}

/* Steps 3 to 5, with rename. */
static enum err temp_replace(struct file_temp *t, const char *path, bool sync, struct error *why)
{
	enum err err = temp_close(t, sync, why);
	int renamed;

	if (err != ERR_NONE) {
		file_temp_abandon(t);
		return err;
	}
	renamed = t->files->ops->rename(t->files, t->dir, t->path, path);
	if (renamed < 0) {
		file_temp_abandon(t);
		return error_set_os(why, error_kind_of_os(-renamed), -renamed, "cannot replace %s",
				    path);
	}
	return ERR_NONE;
}

enum err file_temp_replace_unsynced(struct file_temp *t, const char *path, struct error *why)
{
	return temp_replace(t, path, false, why);
}

enum err file_replace(struct files *f, struct random *random, int dir, const char *path,
		      struct bytes in, mode_t mode, struct error *why)
{
	struct file_temp t;
	char parent[PATH_MAX];
	enum err err = file_parent(path, parent, why);

	if (err == ERR_NONE)
		err = file_temp_begin(&t, f, random, dir, path, mode, why);
	if (err != ERR_NONE)
		return err;
	err = file_temp_append(&t, in, why);
	if (err != ERR_NONE) {
		file_temp_abandon(&t);
		return err;
	}
	err = temp_replace(&t, path, true, why);
	if (err != ERR_NONE)
		return err;
	err = file_sync_dir(f, dir, parent, why);
	if (err != ERR_NONE) {
		/* What was there before is gone, so this cannot be taken back. */
		(void)error_add(why, "%s is replaced, but may not survive a power cut", path);
		if (why != NULL)
			why->kind = ERR_UNSURE;
		err = ERR_UNSURE;
	}
	return err;
}
