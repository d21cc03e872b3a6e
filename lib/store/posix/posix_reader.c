/* store/posix/posix_reader.c - objects open for reading, a few of which stay open.
 *
 * Objects never change, so a descriptor stays right until its file is removed; that shows as a link
 * count of 0 and is looked at before each use.
 */
#include "store/posix/posix_internal.h"

#include <fcntl.h>
#include <string.h>

static void reader_close_fd(struct posix *p, int fd)
{
	(void)p->files->ops->close(p->files, fd); /* nothing was written */
}

/* The usable open object of that key, or NULL.  With the lock held. */
static struct open_object *find_open(struct posix *p, const char *key)
{
	for (unsigned i = 0; i < OPEN_MAX; i++)
		if (p->open[i].fd >= 0 && !p->open[i].stale && strcmp(p->open[i].key, key) == 0)
			return &p->open[i];
	return NULL;
}

/* A free place, or the one unused for the longest time, or NULL.  With the lock held. */
static struct open_object *find_place(struct posix *p)
{
	struct open_object *best = NULL;

	for (unsigned i = 0; i < OPEN_MAX; i++) {
		struct open_object *o = &p->open[i];

		if (o->fd < 0)
			return o;
		if (o->users == 0 && (best == NULL || o->used_at < best->used_at))
			best = o;
	}
	return best;
}

/* With the lock held. */
static void drop(struct posix *p, struct open_object *o)
{
	if (o->users > 0) {
		o->stale = true;
		return;
	}
	reader_close_fd(p, o->fd);
	o->fd = -1;
	o->stale = false;
}

static enum err open_anew(struct posix *p, const char *key, struct posix_reader *out,
			  struct error *why)
{
	/* O_NONBLOCK, or a FIFO put there would hold the reader for ever. */
	int fd = p->files->ops->open_beneath(p->files, p->root, key, O_RDONLY | O_NONBLOCK, 0);
	int got;

	if (fd < 0)
		return error_set_os(why, error_kind_of_os(-fd), -fd, "cannot read %s in %s", key,
				    p->store.label);
	got = p->files->ops->stat_fd(p->files, fd, &out->st);
	if (got < 0 || !S_ISREG(out->st.st_mode)) {
		reader_close_fd(p, fd);
		if (got < 0)
			return error_set_os(why, error_kind_of_os(-got), -got,
					    "cannot read %s in %s", key, p->store.label);
		return error_set(why, ERR_MISSING, "cannot read %s in %s: not a file", key,
				 p->store.label);
	}
	out->fd = fd;
	out->shared = NULL;
	return ERR_NONE;
}

enum err posix_reader_open(struct posix *p, const char *key, struct posix_reader *out,
			   struct error *why)
{
	struct open_object *o;
	enum err err;

	(void)pthread_mutex_lock(&p->lock);
	o = find_open(p, key);
	if (o != NULL) {
		if (p->files->ops->stat_fd(p->files, o->fd, &out->st) == 0 &&
		    out->st.st_nlink > 0) {
			o->users++;
			o->used_at = ++p->uses;
			out->fd = o->fd;
			out->shared = o;
			(void)pthread_mutex_unlock(&p->lock);
			return ERR_NONE;
		}
		drop(p, o);
	}
	(void)pthread_mutex_unlock(&p->lock);

	err = open_anew(p, key, out, why);
	if (err != ERR_NONE)
		return err;
	(void)pthread_mutex_lock(&p->lock);
	/* Another thread may have opened it meanwhile; then this one is closed after use. */
	o = find_open(p, key) == NULL ? find_place(p) : NULL;
	if (o != NULL) {
		if (o->fd >= 0)
			drop(p, o);
		(void)memccpy(o->key, key, '\0', sizeof(o->key)); /* a key fits */
		o->fd = out->fd;
		o->users = 1;
		o->used_at = ++p->uses;
		out->shared = o;
	}
	(void)pthread_mutex_unlock(&p->lock);
	return ERR_NONE;
}

void posix_reader_close(struct posix *p, struct posix_reader *reader)
{
	if (reader->shared == NULL) {
		reader_close_fd(p, reader->fd);
		return;
	}
	(void)pthread_mutex_lock(&p->lock);
	reader->shared->users--;
	if (reader->shared->stale)
		drop(p, reader->shared);
	(void)pthread_mutex_unlock(&p->lock);
}

void posix_reader_forget(struct posix *p, const char *key)
{
	struct open_object *o;

	(void)pthread_mutex_lock(&p->lock);
	o = find_open(p, key);
	if (o != NULL)
		drop(p, o);
	(void)pthread_mutex_unlock(&p->lock);
}

void posix_reader_close_all(struct posix *p)
{
	for (unsigned i = 0; i < OPEN_MAX; i++)
		if (p->open[i].fd >= 0)
			reader_close_fd(p, p->open[i].fd);
}
