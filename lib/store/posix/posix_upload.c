/* store/posix/posix_upload.c - an object on its way from a temporary to its name.
 *
 * The numbers are those of the table of durable steps in lib/store/README.md; steps 2 to 8 are
 * publishing, which base/file.c counts as 1 to 7.
 */
#include "store/posix/posix_internal.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

struct posix_upload {
	struct upload upload;
	struct posix *posix;
	struct file_temp temp;
	int dir; /* where the object will be; beneath the root for certain */
	char key[STORE_KEY_MAX + 1];
};

/* The part of a key after the last '/'. */
static const char *name_of(const char *key)
{
	const char *slash = strrchr(key, '/');

	return slash == NULL ? key : slash + 1;
}

static bool is_durable(struct posix *p, const char *dir)
{
	bool found = false;

	(void)pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < DURABLE_MAX && !found; i++)
		found = strcmp(p->durable[i], dir) == 0;
	(void)pthread_mutex_unlock(&p->lock);
	return found;
}

static void set_durable(struct posix *p, const char *dir)
{
	(void)pthread_mutex_lock(&p->lock);
	(void)memccpy(p->durable[p->durable_next], dir, '\0', STORE_KEY_MAX + 1); /* it fits */
	p->durable_next = (p->durable_next + 1) % DURABLE_MAX;
	(void)pthread_mutex_unlock(&p->lock);
}

/* All of them: it happens when somebody removed an empty directory, and costs a few syncs. */
static void forget_durable(struct posix *p)
{
	(void)pthread_mutex_lock(&p->lock);
	memset(p->durable, 0, sizeof(p->durable));
	(void)pthread_mutex_unlock(&p->lock);
}

/* Makes one directory readable for the group where the repository is, whatever the umask. */
static enum err widen(struct posix *p, const char *dir, struct error *why)
{
	struct files *f = p->files;
	int fd = f->ops->open_beneath(f, p->root, dir, O_RDONLY | O_DIRECTORY, 0);
	int done = fd < 0 ? fd : f->ops->chmod_fd(f, fd, p->dir_mode);

	if (fd >= 0)
		(void)f->ops->close(f, fd); /* nothing was written */
	if (done < 0)
		return error_set_os(why, error_kind_of_os(-done), -done,
				    "cannot set the mode of %s", dir);
	return ERR_NONE;
}

/* One directory, made and durable.  The parent is synced also when the directory was there: the one
 * who made it may not have come so far, or have died. */
static enum err ensure_dir(struct posix *p, const char *dir, struct error *why)
{
	struct files *f = p->files;
	char parent[PATH_MAX];
	int made = f->ops->mkdir(f, p->root, dir, p->dir_mode);
	enum err err = ERR_NONE;

	if (made < 0 && made != -EEXIST)
		return error_set_os(why, error_kind_of_os(-made), -made, "cannot make directory %s",
				    dir);
	if (made == 0 && p->dir_mode != 0700)
		err = widen(p, dir, why);
	if (err == ERR_NONE)
		err = file_parent(dir, parent, why);
	if (err == ERR_NONE)
		err = file_sync_dir(f, p->root, parent, why);
	return err;
}

static int stop_at_object(void *ctx, const char *name, mode_t type)
{
	(void)ctx;
	return S_ISREG(type) && store_is_key(name) ? 1 : 0;
}

/* Whoever published an object in `dir` had passed step 1 before. */
static bool holds_object(struct posix *p, const char *dir)
{
	return p->files->ops->list(p->files, p->root, dir, stop_at_object, NULL) == 1;
}

/* 1: every directory above `key`, made and durable. */
static enum err ensure_dirs(struct posix *p, const char *dir, struct error *why)
{
	char part[STORE_KEY_MAX + 1];
	size_t len = strlen(dir);

	if (strcmp(dir, ".") == 0 || is_durable(p, dir))
		return ERR_NONE;
	if (holds_object(p, dir)) {
		set_durable(p, dir);
		return ERR_NONE;
	}
	for (size_t i = 1; i <= len; i++) {
		enum err err;

		if (dir[i] != '/' && dir[i] != '\0')
			continue;
		memcpy(part, dir, i);
		part[i] = '\0';
		if (is_durable(p, part))
			continue;
		err = ensure_dir(p, part, why);
		if (err != ERR_NONE)
			return err;
		set_durable(p, part);
	}
	return ERR_NONE;
}

/* The descriptor of `dir`, which is made where it is missing. */
static enum err dir_open(struct posix *p, const char *dir, int *out, struct error *why)
{
	struct files *f = p->files;
	int fd = -ENOENT;

	/* Twice, because a directory known as durable may have been removed. */
	for (int i = 0; i < 2 && fd == -ENOENT; i++) {
		enum err err = ensure_dirs(p, dir, why);

		if (err != ERR_NONE)
			return err;
		fd = f->ops->open_beneath(f, p->root, dir, O_RDONLY | O_DIRECTORY, 0);
		if (fd == -ENOENT)
			forget_durable(p);
	}
	if (fd < 0)
		return error_set_os(why, fd == -ENOTDIR ? ERR_DENIED : error_kind_of_os(-fd), -fd,
				    "cannot open directory %s", dir);
	*out = fd;
	return ERR_NONE;
}

static enum err explain(struct posix *p, const char *key, enum err err, struct error *why)
{
	(void)error_add(why, "cannot store %s in %s", key, p->path); /* the kind stays */
	if (err == ERR_FULL)
		error_hint(why, "free space or grow the file system: df -h %s", p->path);
	if (err == ERR_DENIED && why != NULL && why->os == EROFS)
		error_hint(why,
			   "it is mounted read-only, for us at least: a unit of systemd writes "
			   "there with ReadWritePaths=%s",
			   p->path);
	else if (err == ERR_DENIED)
		error_hint(why, "see who may write there: namei -l %s", p->path);
	return err;
}

static enum err temp_begin(struct posix_upload *u, const char *parent, struct error *why)
{
	struct posix *p = u->posix;
	enum err err = dir_open(p, parent, &u->dir, why);

	if (err != ERR_NONE)
		return err;
	err = file_temp_begin(&u->temp, p->files, p->random, u->dir, name_of(u->key), p->file_mode,
			      why);
	if (err != ERR_NONE)
		(void)p->files->ops->close(p->files, u->dir); /* nothing was written */
	return err;
}

enum err posix_begin(struct store *s, const char *key, uint64_t size_hint, struct upload **out,
		     struct error *why)
{
	struct posix *p = posix_of(s);
	char parent[PATH_MAX];
	struct posix_upload *u = calloc(1, sizeof(*u));
	enum err err;

	(void)size_hint; /* nothing is reserved: where that is not known, zeros would be written */
	if (u == NULL)
		return error_set(why, ERR_MEMORY, "cannot store %s in %s", key, s->label);
	u->upload.ops = s->ops;
	u->posix = p;
	(void)memccpy(u->key, key, '\0', sizeof(u->key)); /* a key fits */
	err = file_parent(key, parent, why);
	if (err == ERR_NONE)
		err = temp_begin(u, parent, why);
	if (err ==
	    ERR_MISSING) /* an empty directory, swept between its opening and the temporary */
		err = temp_begin(u, parent, why);
	if (err != ERR_NONE) {
		free(u);
		return explain(p, key, err, why);
	}
	*out = &u->upload;
	return ERR_NONE;
}

enum err posix_append(struct upload *upload, struct bytes in, struct error *why)
{
	struct posix_upload *u = (struct posix_upload *)upload;
	enum err err = file_temp_append(&u->temp, in, why);

	return err == ERR_NONE ? err : explain(u->posix, u->key, err, why);
}

static void upload_free(struct posix_upload *u)
{
	struct files *f = u->posix->files;

	(void)f->ops->close(f, u->dir); /* nothing was written through it */
	free(u);
}

enum err posix_commit(struct upload *upload, struct error *why)
{
	struct posix_upload *u = (struct posix_upload *)upload;
	enum err err = file_temp_publish(&u->temp, name_of(u->key), why);

	if (err != ERR_NONE)
		err = explain(u->posix, u->key, err, why);
	upload_free(u);
	return err;
}

void posix_abandon(struct upload *upload)
{
	struct posix_upload *u = (struct posix_upload *)upload;

	if (u == NULL)
		return;
	file_temp_abandon(&u->temp);
	upload_free(u);
}
