/* store/posix/posix_list.c - walking the directories: listing objects, sweeping temporaries and empty
 * directories.
 *
 * A walk reads one directory at a time, so what it holds is the names of the directories on the way
 * from the root.  It is not a snapshot: what is put or removed meanwhile may be seen or not.
 */
#include "store/names.h"
#include "store/posix/posix_internal.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct walk {
	struct posix *posix;
	const char *prefix; /* keys begin with it */
	bool temporaries;   /* those are visited, instead of objects */
	store_visit *visit;
	void *ctx;
	char key[STORE_KEY_MAX + NAME_MAX + 2]; /* of the entry at hand */
};

struct gathering {
	const struct walk *walk;
	struct names names;
};

static bool is_temporary(const char *name)
{
	return strncmp(name, FILE_TEMP_PREFIX, strlen(FILE_TEMP_PREFIX)) == 0;
}

static int gather(void *ctx, const char *name, mode_t type)
{
	struct gathering *g = ctx;
	bool wanted;

	/* Names that are no part of a key are not ours: lost+found, .snapshot, .nfs... */
	if (S_ISDIR(type))
		wanted = store_is_key(name);
	else if (S_ISREG(type))
		wanted = g->walk->temporaries ? is_temporary(name) : store_is_key(name);
	else
		wanted = false;
	if (!wanted)
		return 0;
	return names_add(&g->names, bytes_of_text(name), S_ISDIR(type)) ? 0 : -ENOMEM;
}

/* Whether keys that begin with `key` can be among those wanted. */
static bool may_match(const struct walk *w, const char *key, bool whole)
{
	size_t key_len = strlen(key);
	size_t prefix_len = strlen(w->prefix);

	if (key_len < prefix_len)
		return !whole && strncmp(key, w->prefix, key_len) == 0;
	return strncmp(key, w->prefix, prefix_len) == 0;
}

static enum err visit_file(struct walk *w, struct error *why)
{
	struct posix *p = w->posix;
	struct store_object object = {.key = w->key};
	struct stat st;
	int got = p->files->ops->stat(p->files, p->root, w->key, AT_SYMLINK_NOFOLLOW, &st);

	if (got == -ENOENT || (got == 0 && !S_ISREG(st.st_mode)))
		return ERR_NONE; /* removed since its name was read */
	if (got < 0)
		return error_set_os(why, error_kind_of_os(-got), -got, "cannot list %s in %s",
				    w->key, p->path);
	object.size = (uint64_t)st.st_size;
	object.stored_at_us = posix_written_at_us(&st);
	return w->visit(w->ctx, &object, why);
}

/* Walks the directory named by the first `len` bytes of w->key, which end with '/' unless 0.  It
 * calls itself once per level, at most STORE_KEY_MAX / 2 deep. */
static enum err walk_dir(struct walk *w, size_t len, struct error *why)
{
	struct posix *p = w->posix;
	struct gathering g = {.walk = w};
	enum err err = ERR_NONE;
	int got;

	names_init(&g.names);
	w->key[len] = '\0';
	if (len > 0)
		w->key[len - 1] = '\0'; /* a '/' at the end would let the system follow a link */
	got = p->files->ops->list(p->files, p->root, len == 0 ? "." : w->key, gather, &g);
	if (got == -ENOENT || got == -ENOTDIR) /* removed meanwhile, or never there */
		goto out;
	if (got == 0 && !names_sort_as_keys(&g.names))
		got = -ENOMEM;
	if (got < 0) {
		err = error_set_os(why, error_kind_of_os(-got), -got, "cannot list %s in %s",
				   len == 0 ? "." : w->key, p->path);
		goto out;
	}
	for (size_t i = 0; i < g.names.count && err == ERR_NONE; i++) {
		const char *name = g.names.sorted[i];
		size_t name_len = strlen(name);
		bool is_dir = name[name_len - 1] == '/';

		if (len + name_len > STORE_KEY_MAX)
			continue; /* no key of ours is so long */
		if (len > 0)
			w->key[len - 1] = '/';
		memcpy(w->key + len, name, name_len + 1);
		if (!may_match(w, w->key, !is_dir))
			continue;
		err = is_dir ? walk_dir(w, len + name_len, why) : visit_file(w, why);
	}
out:
	names_release(&g.names);
	return err;
}

enum err posix_list(struct store *s, const char *prefix, store_visit *visit, void *ctx,
		    struct error *why)
{
	struct walk w = {
		.posix = posix_of(s),
		.prefix = prefix,
		.visit = visit,
		.ctx = ctx,
	};
	const char *slash = strrchr(prefix, '/');
	size_t len = slash == NULL ? 0 : (size_t)(slash + 1 - prefix);

	/* Begin in the deepest directory that holds all of them. */
	memcpy(w.key, prefix, len);
	return walk_dir(&w, len, why);
}

/* A temporary that was not written to for this long is not being written: the process named in it
 * may live in another container or on another host, where this one cannot see it. */
#define SWEEP_QUIET_US (INT64_C(15) * 60 * 1000000)

struct sweep {
	struct posix *posix;
	int64_t age_us;
	int64_t now_us;
};

static bool is_dead(const char *key)
{
	const char *name = strrchr(key, '/');

	return file_temp_is_left(name == NULL ? key : name + 1);
}

static enum err sweep_visit(void *ctx, const struct store_object *object, struct error *why)
{
	struct sweep *sweep = ctx;
	struct posix *p = sweep->posix;
	int64_t age_us = sweep->now_us - object->stored_at_us;
	int done;

	if (age_us <= sweep->age_us && (age_us <= SWEEP_QUIET_US || !is_dead(object->key)))
		return ERR_NONE;
	done = p->files->ops->unlink(p->files, p->root, object->key, 0);
	if (done < 0 && done != -ENOENT)
		return error_set_os(why, error_kind_of_os(-done), -done, "cannot remove %s in %s",
				    object->key, p->path);
	return ERR_NONE;
}

enum err store_posix_sweep(struct store *s, int64_t age_us, struct error *why)
{
	struct posix *p = posix_of(s);
	struct sweep sweep = {.posix = p, .age_us = age_us, .now_us = clock_now_us(p->clock)};
	struct walk w = {
		.posix = p,
		.prefix = "",
		.temporaries = true,
		.visit = sweep_visit,
		.ctx = &sweep,
	};

	return walk_dir(&w, 0, why);
}

struct dir_sweep {
	struct posix *posix;
	int64_t made_before_us;
	char path[STORE_KEY_MAX + NAME_MAX + 2]; /* of the directory at hand */
};

struct dir_entries {
	struct names below; /* directories */
	bool others;        /* whatever else, also what is not ours */
};

static int gather_dirs(void *ctx, const char *name, mode_t type)
{
	struct dir_entries *found = ctx;

	if (S_ISDIR(type) && store_is_key(name))
		return names_add(&found->below, bytes_of_text(name), true) ? 0 : -ENOMEM;
	found->others = true;
	return 0;
}

static enum err remove_if_old(const struct dir_sweep *s, struct error *why)
{
	struct posix *p = s->posix;
	struct stat st;
	int done = p->files->ops->stat(p->files, p->root, s->path, AT_SYMLINK_NOFOLLOW, &st);

	if (done == 0 && posix_written_at_us(&st) < s->made_before_us)
		done = p->files->ops->unlink(p->files, p->root, s->path, AT_REMOVEDIR);
	/* Removed or filled meanwhile, or mounted. */
	if (done == 0 || done == -ENOENT || done == -ENOTEMPTY || done == -EEXIST || done == -EBUSY)
		return ERR_NONE;
	return error_set_os(why, error_kind_of_os(-done), -done,
			    "cannot remove the empty directory %s in %s", s->path, p->path);
}

/* The directory named by the first `len` bytes of s->path; `top` stays.  It calls itself once per
 * level, at most STORE_KEY_MAX / 2 deep. */
static enum err sweep_dir(struct dir_sweep *s, size_t len, bool top, struct error *why)
{
	struct posix *p = s->posix;
	struct dir_entries found = {.others = false};
	enum err err = ERR_NONE;
	int got;

	names_init(&found.below);
	got = p->files->ops->list(p->files, p->root, s->path, gather_dirs, &found);
	if (got == -ENOENT || got == -ENOTDIR)
		goto out;
	if (got == 0 && !names_sort_as_keys(&found.below))
		got = -ENOMEM;
	if (got < 0) {
		err = error_set_os(why, error_kind_of_os(-got), -got, "cannot list %s in %s",
				   s->path, p->path);
		goto out;
	}
	for (size_t i = 0; i < found.below.count && err == ERR_NONE; i++) {
		const char *name = found.below.sorted[i];
		size_t name_len = strlen(name) - 1; /* a directory's ends with '/' */

		if (len + 1 + name_len > STORE_KEY_MAX)
			continue; /* not ours */
		s->path[len] = '/';
		memcpy(s->path + len + 1, name, name_len);
		s->path[len + 1 + name_len] = '\0';
		err = sweep_dir(s, len + 1 + name_len, false, why);
		s->path[len] = '\0';
	}
	if (err == ERR_NONE && !top && found.below.count == 0 && !found.others)
		err = remove_if_old(s, why);
out:
	names_release(&found.below);
	return err;
}

enum err store_posix_sweep_dirs(struct store *s, const char *prefix, int64_t age_us,
				struct error *why)
{
	struct posix *p = posix_of(s);
	struct dir_sweep sweep = {
		.posix = p,
		.made_before_us = clock_now_us(p->clock) - age_us,
	};
	size_t len = strlen(prefix) - 1; /* without its '/' */

	memcpy(sweep.path, prefix, len); /* a key fits */
	return sweep_dir(&sweep, len, true, why);
}
