/* store/posix/posix.c - opening the directory, and looking at and removing single objects.
 *
 * Everything below the root is opened beneath its descriptor and without following links, so that
 * nothing outside can be read or written, whoever else may write there.
 */
#include "store/posix/posix_internal.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum err posix_read(struct store *s, const char *key, uint64_t offset, void *out, size_t len,
			   struct error *why)
{
	struct posix *p = posix_of(s);
	struct posix_reader reader;
	uint64_t size;
	enum err err = posix_reader_open(p, key, &reader, why);

	if (err != ERR_NONE)
		return err;
	size = (uint64_t)reader.st.st_size;
	if (offset > size || len > size - offset)
		err = error_set(why, ERR_CORRUPT,
				"cannot read %s in %s: it has %llu bytes, not %zu from %llu", key,
				s->label, (unsigned long long)size, len,
				(unsigned long long)offset);
	else if ((err = file_pread(p->files, reader.fd, out, len, offset, why)) != ERR_NONE)
		(void)error_add(why, "cannot read %s in %s", key, s->label); /* the kind stays */
	posix_reader_close(p, &reader);
	return err;
}

static enum err posix_stat(struct store *s, const char *key, struct store_object *out,
			   struct error *why)
{
	struct posix *p = posix_of(s);
	struct stat st;
	int got = p->files->ops->stat(p->files, p->root, key, AT_SYMLINK_NOFOLLOW, &st);

	if (got < 0)
		return error_set_os(why, error_kind_of_os(-got), -got, "cannot find %s in %s", key,
				    s->label);
	/* Somebody moved the object and left a link: it is not read, but it is not absent either. */
	if (!S_ISREG(st.st_mode))
		return error_set(why, S_ISLNK(st.st_mode) ? ERR_DENIED : ERR_MISSING,
				 "cannot find %s in %s: not a file", key, s->label);
	*out = (struct store_object){
		.key = key, .size = (uint64_t)st.st_size, .stored_at_us = posix_written_at_us(&st)};
	return ERR_NONE;
}

/* Its content was synced before it had its name, and the directories above before that. */
static enum err posix_confirm(struct store *s, const char *key, struct error *why)
{
	struct posix *p = posix_of(s);
	char parent[PATH_MAX];
	enum err err = file_parent(key, parent, why);

	if (err == ERR_NONE)
		err = file_sync_dir(p->files, p->root, parent, why);
	if (err != ERR_NONE)
		(void)error_add(why, "%s is in %s, perhaps not durably", key, s->label);
	return err;
}

static enum err posix_remove(struct store *s, const char *key, struct error *why)
{
	struct posix *p = posix_of(s);
	char parent[PATH_MAX];
	enum err err = file_parent(key, parent, why);
	int done;

	if (err != ERR_NONE)
		return err;
	done = p->files->ops->unlink(p->files, p->root, key, 0);
	/* A directory of that name is no object. */
	if (done == -ENOENT || done == -ENOTDIR || done == -EISDIR)
		return ERR_NONE;
	if (done < 0)
		return error_set_os(why, error_kind_of_os(-done), -done, "cannot remove %s in %s",
				    key, s->label);
	posix_reader_forget(p, key);
	/* Or a power cut might bring a manifest back whose packs were removed after it. */
	err = file_sync_dir(p->files, p->root, parent, why);
	if (err != ERR_NONE)
		(void)error_add(why, "%s in %s was removed, perhaps not durably", key,
				s->label); /* the kind stays */
	return err;
}

static void posix_close(struct store *s)
{
	struct posix *p = posix_of(s);

	posix_reader_close_all(p);
	(void)p->files->ops->close(p->files, p->root); /* nothing was written through it */
	(void)pthread_mutex_destroy(&p->lock);         /* nobody uses the store any more */
	free(p);
}

static const struct store_ops posix_ops = {
	.name = "posix",
	.begin = posix_begin,
	.append = posix_append,
	.commit = posix_commit,
	.abandon = posix_abandon,
	.read = posix_read,
	.stat = posix_stat,
	.confirm = posix_confirm,
	.list = posix_list,
	.parts = posix_parts,
	.remove = posix_remove,
	.close = posix_close,
};

/* The directory's descriptor and mode. */
static enum err root_open(struct files *f, const char *path, int *out, mode_t *mode,
			  struct error *why)
{
	struct stat st;
	int root = f->ops->open(f, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	int got;

	if (root == -ENOENT) {
		(void)error_set_os(why, ERR_MISSING, ENOENT, "cannot open the repository %s", path);
		error_hint(why,
			   "check that the file system is mounted and the path is right; "
			   "a new repository is made by: pgagent init --repo %s",
			   path);
		return ERR_MISSING;
	}
	if (root == -ENOTDIR)
		return error_set_os(why, ERR_CONFIG, ENOTDIR, "cannot open the repository %s",
				    path);
	if (root < 0) {
		(void)error_set_os(why, error_kind_of_os(-root), -root,
				   "cannot open the repository %s", path);
		if (root == -EACCES)
			error_hint(why, "see who may read it: namei -l %s", path);
		return error_kind_of_os(-root);
	}
	got = f->ops->stat_fd(f, root, &st);
	if (got < 0) {
		(void)f->ops->close(f, root); /* nothing was written */
		return error_set_os(why, error_kind_of_os(-got), -got,
				    "cannot open the repository %s", path);
	}
	*out = root;
	*mode = st.st_mode;
	return ERR_NONE;
}

enum err store_posix_open(const struct env *env, const char *path, bool create, struct store **out,
			  struct error *why)
{
	struct posix *p;
	mode_t mode = 0;
	int root = -1;
	enum err err = ERR_NONE;

	if (path[0] != '/')
		return error_set(why, ERR_CONFIG, "not an absolute path: \"%s\"", path);
	if (strlen(path) >= sizeof(p->path))
		return error_set(why, ERR_LIMIT, "path too long: \"%s\"", path);
	if (create)
		err = file_make_dirs(env->files, AT_FDCWD, path, 0700, why);
	if (err == ERR_NONE)
		err = root_open(env->files, path, &root, &mode, why);
	if (err != ERR_NONE)
		return err;
	p = calloc(1, sizeof(*p));
	if (p == NULL) {
		(void)env->files->ops->close(env->files, root); /* nothing was written */
		return error_set(why, ERR_MEMORY, "cannot open the repository %s", path);
	}
	p->store.ops = &posix_ops;
	p->store.traits = (struct store_traits){.object_max = INT64_MAX, .guards_keys = true};
	(void)snprintf(p->store.label, sizeof(p->store.label), "%s", path); /* may be cut */
	(void)snprintf(p->path, sizeof(p->path), "%s", path);               /* measured above */
	p->files = env->files;
	p->random = env->random;
	p->clock = env->clock;
	p->root = root;
	p->dir_mode = mode & S_IRGRP ? 0750 : 0700;
	p->file_mode = mode & S_IRGRP ? 0640 : 0600;
	(void)pthread_mutex_init(&p->lock, NULL); /* never fails on Linux */
	for (unsigned i = 0; i < OPEN_MAX; i++)
		p->open[i].fd = -1;
	*out = &p->store;
	return ERR_NONE;
}

enum err store_posix_free_bytes(struct store *s, uint64_t *out, struct error *why)
{
	struct posix *p = posix_of(s);
	int got = p->files->ops->free_bytes(p->files, p->root, out);

	if (got < 0)
		return error_set_os(why, error_kind_of_os(-got), -got,
				    "cannot learn the free space of %s", p->path);
	return ERR_NONE;
}
