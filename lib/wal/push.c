/* wal/push.c - archive-push: one file into every repository. */
#include "base/file.h"
#include "wal/archive.h"

#include <fcntl.h>
#include <inttypes.h>

enum { WAL_SMALL_FILE_MAX = 1 << 20 /* bytes of .history and .backup files */ };

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? path : slash + 1;
}

static bool is_segment_like(enum wal_name_kind kind)
{
	return kind == WAL_NAME_SEGMENT || kind == WAL_NAME_PARTIAL;
}

/* The segment size that a repository states; 0 when it has no identity yet (the first push ever) or
 * does not answer, which storing into it will then tell. */
static enum err stated_segment_bytes(const struct cluster *cluster, uint32_t *out,
				     struct error *why)
{
	struct identity identity;
	enum err e = identity_read(cluster, &identity, why);

	*out = e == ERR_NONE ? identity.wal_segment_bytes : 0;
	return e == ERR_CORRUPT || e == ERR_WRONG_KEY || e == ERR_CONFIG || e == ERR_MEMORY
		       ? e
		       : ERR_NONE;
}

/* Its size has to be right before a byte of it is stored.  *segment_bytes: of a segment, or what the
 * repositories state; 0 = nobody knows. */
static enum err check_size(const struct wal_archive *archive, const struct wal_name *name,
			   uint64_t bytes, uint32_t *segment_bytes, struct error *why)
{
	char text[WAL_NAME_MAX];

	wal_name_to_text(name, text);
	*segment_bytes = 0;
	if (bytes == 0)
		return error_set(why, ERR_CORRUPT, "the file is empty; nothing was stored");
	for (size_t i = 0; i < archive->count; i++) {
		uint32_t stated;
		enum err e = stated_segment_bytes(&archive->cluster[i], &stated, why);

		if (e != ERR_NONE)
			return e;
		if (stated == 0 && is_segment_like(name->kind))
			stated = (uint32_t)bytes;
		if (stated != 0)
			*segment_bytes = stated;
		if (!is_segment_like(name->kind))
			continue;
		if (!wal_is_segment_bytes(stated))
			return error_set(why, ERR_CORRUPT,
					 "%" PRIu64 " bytes: no size of a segment; nothing was "
					 "stored",
					 bytes);
		if (bytes != stated)
			return error_set(why, ERR_CORRUPT,
					 "segment %s has %" PRIu64
					 " bytes and not the segment size "
					 "of %" PRIu32 "; nothing was stored",
					 text, bytes, stated);
	}
	return ERR_NONE;
}

/* One repository that fails must not keep the file from the others; the first failure is the answer. */
static enum err put_everywhere(const struct env *env, const struct wal_archive *archive,
			       const struct wal_name *name, uint32_t segment_bytes, int level,
			       struct wal_content *source, struct wal_push_result *result,
			       struct error *why)
{
	struct error first = {.kind = ERR_NONE};

	for (size_t i = 0; i < archive->count && !source->unsound; i++) {
		enum wal_put_result one;
		enum err e = wal_put_from(&archive->cluster[i], name, segment_bytes, level, source,
					  &one, why);

		if (e == ERR_NONE && one == WAL_PUT_NEW)
			result->stored++;
		else if (e == ERR_NONE)
			result->same++;
		else if (first.kind == ERR_NONE || source->unsound)
			first = *why;
		else
			observer_event(env->observer, LEVEL_WARNING, "nor stored in %s: %s",
				       archive->cluster[i].repository->store->label, why->text);
	}
	result->bytes = source->bytes;
	if (first.kind != ERR_NONE)
		*why = first;
	return first.kind;
}

struct pushed_file {
	struct files *files;
	int fd;
};

static enum err read_file(void *ctx, uint64_t offset, uint8_t *room, size_t len, struct bytes *out,
			  struct error *why)
{
	const struct pushed_file *file = ctx;

	*out = bytes_of(room, len);
	return file_pread(file->files, file->fd, room, len, offset, why);
}

static enum err open_file(struct pushed_file *file, int dir, const char *path, uint64_t max,
			  uint64_t *bytes, struct error *why)
{
	struct stat st;
	int got;

	file->fd = file->files->ops->open(file->files, dir, path, O_RDONLY | O_NOCTTY, 0);
	if (file->fd < 0)
		return error_set_os(why, error_kind_of_os(-file->fd), -file->fd, "cannot open %s",
				    path);
	got = file->files->ops->stat_fd(file->files, file->fd, &st);
	if (got < 0)
		return error_set_os(why, error_kind_of_os(-got), -got, "cannot read %s", path);
	if (st.st_size < 0 || (uint64_t)st.st_size > max)
		return error_set(why, ERR_LIMIT, "cannot read %s: more than %" PRIu64 " bytes",
				 path, max);
	*bytes = (uint64_t)st.st_size;
	return ERR_NONE;
}

enum err wal_archive_push(const struct env *env, const struct wal_archive *archive, int dir,
			  const char *path, int level, struct wal_push_result *result,
			  struct error *why)
{
	struct wal_push_result got = {.bytes = 0};
	struct pushed_file file = {.files = env->files, .fd = -1};
	struct wal_content source = {.read = read_file, .ctx = &file};
	struct wal_name name;
	uint32_t segment_bytes = 0;
	enum err e = wal_name_from_text(last_part(path), &name, why);

	if (e != ERR_NONE)
		return error_add(why, "archive-push \"%s\"", path);
	source.check = is_segment_like(name.kind);
	e = open_file(&file, dir, path, source.check ? WAL_SEGMENT_BYTES_MAX : WAL_SMALL_FILE_MAX,
		      &source.bytes, why);
	if (e == ERR_NONE)
		e = check_size(archive, &name, source.bytes, &segment_bytes, why);
	if (e == ERR_NONE)
		e = put_everywhere(env, archive, &name, segment_bytes, level, &source, &got, why);
	wal_content_release(&source);
	if (file.fd >= 0)
		(void)env->files->ops->close(env->files, file.fd); /* only read */
	if (e == ERR_CORRUPT || e == ERR_LIMIT)
		return error_add(why, "archive-push \"%s\"", path);
	if (e == ERR_NONE)
		*result = got;
	return e;
}
