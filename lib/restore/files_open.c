/* restore/files_open.c - opening the files that are written: new ones, and what is there and may be
 * used again.
 */
#include "restore/files_internal.h"

#include <errno.h>
#include <fcntl.h>

bool file_is_ours(const struct file_record *file)
{
	return file->kind == FILE_PLAIN && !table_is_apart(file);
}

bool file_is_synced_at_once(const struct file_record *file)
{
	return (file->mode & S_IRUSR) == 0;
}

uint64_t item_bytes(const struct file_record *file, uint32_t shard)
{
	uint64_t left = file->size - (uint64_t)shard * SHARD_FILE_BYTES;

	return left < SHARD_FILE_BYTES ? left : SHARD_FILE_BYTES;
}

enum err file_failed(struct error *why, const struct target *target, const struct file_record *file,
		     int answer, const char *what)
{
	enum err kind = error_kind_of_os(-answer);

	if (kind == ERR_MISSING || kind == ERR_EXISTS)
		kind = ERR_IO; /* what is there was looked at: somebody interferes */
	(void)error_set_os(why, kind, -answer, "%s \"%s/%.*s\"", what, target->path,
			   (int)file->path.len, (const char *)file->path.data);
	if (kind == ERR_FULL)
		error_hint(why, "free some space there, then run the same command again");
	return kind;
}

enum err file_open(const struct target *target, const struct file_record *file, int flags, int *out,
		   struct error *why)
{
	struct files *files = target->env->files;
	char path[FILE_PATH_MAX];
	int dir, fd;
	enum err e = target_route(target, file->path, &dir, path, why);

	if (e != ERR_NONE)
		return e;
	fd = files->ops->open_beneath(files, dir, path, flags | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0)
		return file_failed(why, target, file, fd,
				   (flags & O_CREAT) != 0 ? "creating" : "opening");
	*out = fd;
	return ERR_NONE;
}

/* What is there and may be written to; *fd = -1 when there is no such thing. */
static enum err open_there(const struct target *target, const struct file_record *file,
			   struct opened_file *out, struct error *why)
{
	struct files *files = target->env->files;
	char path[FILE_PATH_MAX];
	struct stat st = {.st_mode = 0};
	int dir, answer;
	enum err e = target_route(target, file->path, &dir, path, why);

	out->fd = -1;
	if (e != ERR_NONE)
		return e;
	answer = files->ops->open_beneath(files, dir, path, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0);
	if (answer == -ENOENT)
		return ERR_NONE;
	if (answer >= 0) {
		out->fd = answer;
		answer = files->ops->stat_fd(files, out->fd, &st);
		if (answer >= 0 && S_ISREG(st.st_mode) && st.st_nlink == 1) {
			out->size = (uint64_t)st.st_size;
			out->mode = st.st_mode;
			return ERR_NONE;
		}
		(void)files->ops->close(files, out->fd); /* nothing was written */
		out->fd = -1;
		if (answer < 0)
			return file_failed(why, target, file, answer, "looking at");
	} else if (answer != -EACCES && answer != -ELOOP && answer != -ENXIO) {
		return file_failed(why, target, file, answer, "opening");
	}
	answer = files->ops->unlink(files, dir, path, 0);
	return answer < 0 ? file_failed(why, target, file, answer, "removing") : ERR_NONE;
}

/* In its full size: what is not written is zero. */
static enum err set_size(const struct target *target, const struct file_record *file,
			 const struct opened_file *opened, struct error *why)
{
	struct files *files = target->env->files;
	int answer = 0;

	if (opened->size != file->size)
		answer = files->ops->truncate(files, opened->fd, (off_t)file->size);
	return answer < 0 ? file_failed(why, target, file, answer, "extending") : ERR_NONE;
}

enum err file_prepare(const struct target *target, const struct file_record *file,
		      struct opened_file *out, struct error *why)
{
	enum err e = ERR_NONE;

	*out = (struct opened_file){.fd = -1};
	if (target->reuses)
		e = open_there(target, file, out, why);
	if (e == ERR_NONE && out->fd < 0) {
		out->fresh = true;
		e = file_open(target, file, O_RDWR | O_CREAT | O_EXCL, &out->fd, why);
	}
	if (e == ERR_NONE)
		e = set_size(target, file, out, why);
	if (e != ERR_NONE && out->fd >= 0)
		(void)target->env->files->ops->close(target->env->files, out->fd); /* failed */
	return e;
}
