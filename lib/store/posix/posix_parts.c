/* store/posix/posix_parts.c - the names of one level.
 *
 * One directory is read, and no object is stat'ed.  Removals leave empty directories behind, which
 * are not reported: a directory counts when some object lies below it.  To know, it is read only
 * until its first object; where it holds directories alone, those are looked into until one does.
 */
#include "store/names.h"
#include "store/posix/posix_internal.h"

#include <errno.h>
#include <string.h>

enum { OBJECT_FOUND = 1 /* ends the reading of a directory */ };

static int gather_part(void *ctx, const char *name, mode_t type)
{
	/* Temporaries, and what is not ours, are no parts of a key. */
	if ((!S_ISDIR(type) && !S_ISREG(type)) || !store_is_key(name))
		return 0;
	return names_add(ctx, bytes_of_text(name), S_ISDIR(type)) ? 0 : -ENOMEM;
}

static int gather_until_object(void *ctx, const char *name, mode_t type)
{
	if (S_ISREG(type) && store_is_key(name))
		return OBJECT_FOUND;
	return S_ISDIR(type) ? gather_part(ctx, name, type) : 0;
}

static enum err refuse(const struct posix *p, int os, const char *dir, struct error *why)
{
	return error_set_os(why, error_kind_of_os(os), os, "cannot list %s in %s", dir, p->path);
}

/* Whether an object lies below the directory `key`, which has `len` bytes and is extended in place;
 * it is as it was afterwards.  It calls itself once per level, at most STORE_KEY_MAX / 2 deep. */
static enum err holds_object(struct posix *p, char *key, size_t len, bool *out, struct error *why)
{
	struct names below;
	enum err err = ERR_NONE;
	int got;

	*out = false;
	names_init(&below);
	got = p->files->ops->list(p->files, p->root, key, gather_until_object, &below);
	if (got == OBJECT_FOUND)
		*out = true;
	else if (got < 0 && got != -ENOENT && got != -ENOTDIR) /* removed meanwhile */
		err = refuse(p, -got, key, why);
	if (got == 0 && !names_sort_as_parts(&below))
		err = refuse(p, ENOMEM, key, why);
	for (size_t i = 0; got == 0 && err == ERR_NONE && !*out && i < below.count; i++) {
		size_t name_len = strlen(below.sorted[i]) - 1; /* without its '/' */

		if (len + 1 + name_len > STORE_KEY_MAX)
			continue; /* no key of ours is so long */
		key[len] = '/';
		memcpy(key + len + 1, below.sorted[i], name_len);
		key[len + 1 + name_len] = '\0';
		err = holds_object(p, key, len + 1 + name_len, out, why);
		key[len] = '\0';
	}
	names_release(&below);
	return err;
}

enum err posix_parts(struct store *s, const char *prefix, store_part_visit *visit, void *ctx,
		     struct error *why)
{
	struct posix *p = posix_of(s);
	char key[STORE_KEY_MAX + 1];
	size_t len = strlen(prefix);
	struct names names;
	enum err err = ERR_NONE;
	int got;

	names_init(&names);
	memcpy(key, prefix, len + 1);
	if (len > 0)
		key[len - 1] = '\0'; /* a '/' at the end would let the system follow a link */
	got = p->files->ops->list(p->files, p->root, len == 0 ? "." : key, gather_part, &names);
	if (got == -ENOENT || got == -ENOTDIR) /* nothing is below */
		goto out;
	if (got == 0 && !names_sort_as_parts(&names))
		got = -ENOMEM;
	if (got < 0) {
		err = refuse(p, -got, len == 0 ? "." : key, why);
		goto out;
	}
	memcpy(key, prefix, len);
	for (size_t i = 0; i < names.count && err == ERR_NONE; i++) {
		size_t name_len = strcspn(names.sorted[i], "/");
		bool counts = names.sorted[i][name_len] == '\0';

		if (len + name_len > STORE_KEY_MAX)
			continue; /* no key of ours is so long */
		memcpy(key + len, names.sorted[i], name_len);
		key[len + name_len] = '\0';
		if (!counts)
			err = holds_object(p, key, len + name_len, &counts, why);
		if (err == ERR_NONE && counts)
			err = visit(ctx, key + len, why);
	}
out:
	names_release(&names);
	return err;
}
