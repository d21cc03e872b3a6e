/* store/store.c - keys, the calls into a driver, and whole objects on top of them. */
#include "store/store.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_key_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-';
}

/* A key, or with `open_end` the beginning of one. */
static bool is_key(const char *key, bool open_end)
{
	size_t len = strlen(key);
	bool begins_part = true;

	if (len > STORE_KEY_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (key[i] == '/' && begins_part)
			return false;
		if (key[i] != '/' && !is_key_char(key[i]))
			return false;
		/* This refuses "." and ".." too. */
		if (key[i] == '.' && begins_part)
			return false;
		begins_part = key[i] == '/';
	}
	return open_end || !begins_part;
}

bool store_is_key(const char *key)
{
	return is_key(key, false);
}

static enum err check_key(const struct store *s, const char *key, struct error *why)
{
	if (store_is_key(key))
		return ERR_NONE;
	return error_set(why, ERR_CONFIG, "not a key of the store %s: \"%s\"", s->label, key);
}

enum err store_begin(struct store *s, const char *key, uint64_t size_hint, struct upload **out,
		     struct error *why)
{
	enum err err = check_key(s, key, why);

	return err != ERR_NONE ? err : s->ops->begin(s, key, size_hint, out, why);
}

enum err store_append(struct upload *u, struct bytes in, struct error *why)
{
	return in.len == 0 ? ERR_NONE : u->ops->append(u, in, why);
}

enum err store_commit(struct upload *u, struct error *why)
{
	return u->ops->commit(u, why);
}

void store_abandon(struct upload *u)
{
	if (u != NULL)
		u->ops->abandon(u);
}

enum err store_read(struct store *s, const char *key, uint64_t offset, void *out, size_t len,
		    struct error *why)
{
	enum err err = check_key(s, key, why);

	return err != ERR_NONE ? err : s->ops->read(s, key, offset, out, len, why);
}

enum err store_stat(struct store *s, const char *key, struct store_object *out, struct error *why)
{
	enum err err = check_key(s, key, why);

	return err != ERR_NONE ? err : s->ops->stat(s, key, out, why);
}

enum err store_confirm(struct store *s, const char *key, struct error *why)
{
	enum err err = check_key(s, key, why);

	return err != ERR_NONE || s->ops->confirm == NULL ? err : s->ops->confirm(s, key, why);
}

enum err store_list(struct store *s, const char *prefix, store_visit *visit, void *ctx,
		    struct error *why)
{
	if (!is_key(prefix, true))
		return error_set(why, ERR_CONFIG,
				 "not the beginning of a key of the store %s: \"%s\"", s->label,
				 prefix);
	return s->ops->list(s, prefix, visit, ctx, why);
}

enum err store_parts(struct store *s, const char *prefix, store_part_visit *visit, void *ctx,
		     struct error *why)
{
	size_t len = strlen(prefix);

	if (!is_key(prefix, true) || (len > 0 && prefix[len - 1] != '/'))
		return error_set(why, ERR_CONFIG, "not a level of keys of the store %s: \"%s\"",
				 s->label, prefix);
	return s->ops->parts(s, prefix, visit, ctx, why);
}

enum err store_remove(struct store *s, const char *key, struct error *why)
{
	enum err err = check_key(s, key, why);

	return err != ERR_NONE ? err : s->ops->remove(s, key, why);
}

void store_close(struct store *s)
{
	if (s != NULL)
		s->ops->close(s);
}

enum err store_put(struct store *s, const char *key, struct bytes in, struct error *why)
{
	struct upload *u = NULL;
	enum err err = store_begin(s, key, in.len, &u, why);

	if (err != ERR_NONE)
		return err;
	err = store_append(u, in, why);
	if (err != ERR_NONE) {
		store_abandon(u);
		return err;
	}
	return store_commit(u, why);
}

enum err store_get(struct store *s, const char *key, size_t max, uint8_t **out, size_t *len,
		   struct error *why)
{
	struct store_object object;
	uint8_t *data;
	enum err err = store_stat(s, key, &object, why);

	if (err != ERR_NONE)
		return err;
	if (object.size > max || object.size >= SIZE_MAX)
		return error_set(why, ERR_LIMIT, "cannot read %s in %s: %llu bytes, at most %zu",
				 key, s->label, (unsigned long long)object.size, max);
	data = malloc((size_t)object.size + 1);
	if (data == NULL)
		return error_set(why, ERR_MEMORY, "cannot read %s in %s: no memory for %llu bytes",
				 key, s->label, (unsigned long long)object.size);
	err = store_read(s, key, 0, data, (size_t)object.size, why);
	if (err != ERR_NONE) {
		free(data);
		return err;
	}
	data[object.size] = '\0';
	*out = data;
	*len = (size_t)object.size;
	return ERR_NONE;
}

static enum err probe_count(void *ctx, const struct store_object *object, struct error *why)
{
	unsigned *count = ctx;

	(void)object;
	(void)why;
	(*count)++;
	return ERR_NONE;
}

static enum err unfit(const struct store *s, struct error *why, const char *what)
{
	(void)error_set(why, ERR_CONFIG, "%s cannot keep backups: %s", s->label, what);
	error_hint(why, "use another file system or service for this repository; this one does not "
			"do what a repository is built on");
	return ERR_CONFIG;
}

/* What was put is what is found, in every way of looking. */
static enum err probe_look(struct store *s, const char *key, struct bytes first, struct error *why)
{
	struct store_object object;
	uint8_t *data = NULL;
	size_t len = 0;
	unsigned count = 0;
	enum err err = store_stat(s, key, &object, why);

	if (err == ERR_MISSING)
		return unfit(s, why, "an object is not found after it was stored");
	if (err != ERR_NONE)
		return err;
	if (object.size != first.len)
		return unfit(s, why, "an object has another size than what was stored");
	err = store_get(s, key, first.len, &data, &len, why);
	if (err != ERR_NONE)
		return err;
	if (len != first.len || memcmp(data, first.data, len) != 0)
		err = unfit(s, why, "an object reads back as something else than was stored");
	free(data);
	if (err == ERR_NONE)
		err = store_list(s, key, probe_count, &count, why);
	if (err == ERR_NONE && count != 1)
		err = unfit(s, why, "an object is not listed after it was stored");
	return err;
}

/* Two uploads are begun before one is committed, so that it is the commit that must refuse. */
static enum err probe_race(struct store *s, const char *key, struct error *why)
{
	struct bytes first = bytes_of_text("pgagent probe: first\n");
	struct bytes second = bytes_of_text("pgagent probe: the second must be refused\n");
	struct upload *a = NULL;
	struct upload *b = NULL;
	enum err err = store_begin(s, key, first.len, &a, why);

	if (err != ERR_NONE)
		goto out;
	err = store_append(a, first, why);
	if (err == ERR_NONE)
		err = store_begin(s, key, second.len, &b, why);
	if (err == ERR_NONE)
		err = store_append(b, second, why);
	if (err != ERR_NONE)
		goto out;
	err = store_commit(a, why);
	a = NULL;
	if (err != ERR_NONE)
		goto out;
	err = store_commit(b, why);
	b = NULL;
	if (err == ERR_EXISTS)
		err = probe_look(s, key, first, why);
	else if (err == ERR_NONE && s->traits.guards_keys)
		err = unfit(s, why, "a second object was stored under a taken name");
out:
	store_abandon(b);
	store_abandon(a);
	return err;
}

enum err store_probe(struct store *s, struct random *random, struct error *why)
{
	uint8_t bytes[16];
	char hex[2 * sizeof(bytes) + 1];
	char key[sizeof("probe/") + sizeof(hex)];
	struct store_object object;
	enum err removed;
	enum err err = random_fill(random, bytes, sizeof(bytes), why);

	if (err != ERR_NONE)
		return err;
	text_of_hex(bytes_of(bytes, sizeof(bytes)), hex);
	(void)snprintf(key, sizeof(key), "probe/%s", hex); /* measured by its type */
	err = probe_race(s, key, why);
	/* Also after a failure, whose reason is then the one to be told. */
	removed = store_remove(s, key, err == ERR_NONE ? why : NULL);
	if (err == ERR_NONE)
		err = removed;
	if (err == ERR_NONE) {
		err = store_stat(s, key, &object, why);
		if (err == ERR_NONE)
			err = unfit(s, why, "an object is still there after it was removed");
		else if (err == ERR_MISSING)
			return ERR_NONE;
	}
	(void)error_add(why, "probe of %s", s->label); /* only text; the kind stays */
	return err;
}
