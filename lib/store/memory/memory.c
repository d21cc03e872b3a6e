/* store/memory/memory.c - objects in a sorted array under one lock. */
#include "store/memory/memory.h"
#include "store/names.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct object {
	char *key; /* owned */
	uint8_t *data;
	size_t len;
	int64_t stored_at_us;
};

struct memory {
	struct store store;
	struct clock *clock;
	pthread_mutex_t lock;  /* over the rest */
	struct object *object; /* by key, bytewise ascending */
	size_t count;
	size_t capacity;
};

struct memory_upload {
	struct upload upload;
	struct memory *memory;
	char *key;
	struct writer data;
};

/* The place of `key`, or of the first one behind it.  With the lock held. */
static size_t find(const struct memory *m, const char *key, bool *there)
{
	size_t low = 0;
	size_t high = m->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(m->object[middle].key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*there = low < m->count && strcmp(m->object[low].key, key) == 0;
	return low;
}

static enum err memory_begin(struct store *s, const char *key, uint64_t size_hint,
			     struct upload **out, struct error *why)
{
	struct memory_upload *u = calloc(1, sizeof(*u));

	(void)size_hint; /* the buffer grows by itself */
	if (u != NULL)
		u->key = strdup(key);
	if (u == NULL || u->key == NULL) {
		free(u);
		return error_set(why, ERR_MEMORY, "cannot store %s in %s", key, s->label);
	}
	u->upload.ops = s->ops;
	u->memory = (struct memory *)s;
	writer_init(&u->data, SIZE_MAX / 2);
	*out = &u->upload;
	return ERR_NONE;
}

static enum err memory_append(struct upload *upload, struct bytes in, struct error *why)
{
	struct memory_upload *u = (struct memory_upload *)upload;

	writer_bytes(&u->data, in);
	if (u->data.bad)
		return error_set(why, ERR_MEMORY, "cannot store %s in %s", u->key,
				 u->memory->store.label);
	return ERR_NONE;
}

static void memory_abandon(struct upload *upload)
{
	struct memory_upload *u = (struct memory_upload *)upload;

	if (u == NULL)
		return;
	writer_release(&u->data);
	free(u->key);
	free(u);
}

/* Room for one more.  With the lock held. */
static bool grow(struct memory *m)
{
	size_t capacity = m->capacity == 0 ? 16 : m->capacity * 2;
	struct object *object;

	if (m->count < m->capacity)
		return true;
	object = reallocarray(m->object, capacity, sizeof(*object));
	if (object == NULL)
		return false;
	m->object = object;
	m->capacity = capacity;
	return true;
}

static enum err memory_commit(struct upload *upload, struct error *why)
{
	struct memory_upload *u = (struct memory_upload *)upload;
	struct memory *m = u->memory;
	enum err err = ERR_NONE;
	bool taken;
	size_t at;

	(void)pthread_mutex_lock(&m->lock);
	at = find(m, u->key, &taken);
	if (taken) {
		err = error_set(why, ERR_EXISTS, "cannot store %s in %s: the name is taken", u->key,
				m->store.label);
	} else if (!grow(m)) {
		err = error_set(why, ERR_MEMORY, "cannot store %s in %s", u->key, m->store.label);
	} else {
		memmove(m->object + at + 1, m->object + at, (m->count - at) * sizeof(*m->object));
		m->object[at] = (struct object){.key = u->key,
						.data = u->data.data,
						.len = u->data.len,
						.stored_at_us = clock_now_us(m->clock)};
		m->count++;
		u->key = NULL; /* both belong to the store now */
		u->data.data = NULL;
	}
	(void)pthread_mutex_unlock(&m->lock);
	memory_abandon(upload);
	return err;
}

static enum err memory_read(struct store *s, const char *key, uint64_t offset, void *out,
			    size_t len, struct error *why)
{
	struct memory *m = (struct memory *)s;
	enum err err = ERR_NONE;
	bool there;
	size_t at;

	(void)pthread_mutex_lock(&m->lock);
	at = find(m, key, &there);
	if (!there)
		err = error_set(why, ERR_MISSING, "cannot read %s in %s: no such object", key,
				s->label);
	else if (offset > m->object[at].len || len > m->object[at].len - offset)
		err = error_set(why, ERR_CORRUPT,
				"cannot read %s in %s: it has %zu bytes, not %zu from %llu", key,
				s->label, m->object[at].len, len, (unsigned long long)offset);
	else if (len > 0)
		memcpy(out, m->object[at].data + offset, len);
	(void)pthread_mutex_unlock(&m->lock);
	return err;
}

static enum err memory_stat(struct store *s, const char *key, struct store_object *out,
			    struct error *why)
{
	struct memory *m = (struct memory *)s;
	bool there;
	size_t at;

	(void)pthread_mutex_lock(&m->lock);
	at = find(m, key, &there);
	if (there)
		*out = (struct store_object){.key = key,
					     .size = m->object[at].len,
					     .stored_at_us = m->object[at].stored_at_us};
	(void)pthread_mutex_unlock(&m->lock);
	if (!there)
		return error_set(why, ERR_MISSING, "cannot find %s in %s: no such object", key,
				 s->label);
	return ERR_NONE;
}

/* Each step looks up the next key anew, without the lock while `visit` runs, so that it may put and
 * remove. */
static enum err memory_list(struct store *s, const char *prefix, store_visit *visit, void *ctx,
			    struct error *why)
{
	struct memory *m = (struct memory *)s;
	char key[STORE_KEY_MAX + 1];
	enum err err = ERR_NONE;
	bool more = true;
	bool at_start = true;

	(void)snprintf(key, sizeof(key), "%s", prefix); /* checked by store_list */
	while (err == ERR_NONE && more) {
		struct store_object object;
		bool there;
		size_t at;

		(void)pthread_mutex_lock(&m->lock);
		at = find(m, key, &there);
		if (there && !at_start)
			at++;
		more = at < m->count && strncmp(m->object[at].key, prefix, strlen(prefix)) == 0;
		if (more) {
			(void)snprintf(key, sizeof(key), "%s", m->object[at].key); /* a key */
			object = (struct store_object){.key = key,
						       .size = m->object[at].len,
						       .stored_at_us = m->object[at].stored_at_us};
		}
		(void)pthread_mutex_unlock(&m->lock);
		at_start = false;
		if (more)
			err = visit(ctx, &object, why);
	}
	return err;
}

/* With the lock held; false: no memory. */
static bool gather_parts(const struct memory *m, const char *prefix, struct names *names)
{
	size_t prefix_len = strlen(prefix);
	char behind[STORE_KEY_MAX + 2];
	bool there;
	size_t at = find(m, prefix, &there);

	while (at < m->count && strncmp(m->object[at].key, prefix, prefix_len) == 0) {
		const char *key = m->object[at].key;
		size_t len = prefix_len + strcspn(key + prefix_len, "/");

		if (!names_add(names, bytes_of(key + prefix_len, len - prefix_len), false))
			return false;
		if (key[len] == '\0') {
			at++;
			continue;
		}
		/* Past everything in it: '0' is the byte after '/'. */
		memcpy(behind, key, len);
		memcpy(behind + len, "0", 2);
		at = find(m, behind, &there);
	}
	return true;
}

static enum err memory_parts(struct store *s, const char *prefix, store_part_visit *visit,
			     void *ctx, struct error *why)
{
	struct memory *m = (struct memory *)s;
	struct names names;
	enum err err = ERR_NONE;
	bool gathered;

	names_init(&names);
	(void)pthread_mutex_lock(&m->lock);
	gathered = gather_parts(m, prefix, &names);
	(void)pthread_mutex_unlock(&m->lock);
	if (!gathered || !names_sort_as_parts(&names))
		err = error_set(why, ERR_MEMORY, "cannot list %s in %s", prefix, s->label);
	for (size_t i = 0; err == ERR_NONE && i < names.count; i++)
		err = visit(ctx, names.sorted[i], why);
	names_release(&names);
	return err;
}

static void object_release(struct object *object)
{
	free(object->data);
	free(object->key);
}

static enum err memory_remove(struct store *s, const char *key, struct error *why)
{
	struct memory *m = (struct memory *)s;
	bool there;
	size_t at;

	(void)why;
	(void)pthread_mutex_lock(&m->lock);
	at = find(m, key, &there);
	if (there) {
		object_release(&m->object[at]);
		m->count--;
		memmove(m->object + at, m->object + at + 1, (m->count - at) * sizeof(*m->object));
	}
	(void)pthread_mutex_unlock(&m->lock);
	return ERR_NONE;
}

static void memory_close(struct store *s)
{
	struct memory *m = (struct memory *)s;

	for (size_t i = 0; i < m->count; i++)
		object_release(&m->object[i]);
	(void)pthread_mutex_destroy(&m->lock); /* nobody uses the store any more */
	free(m->object);
	free(m);
}

static const struct store_ops memory_ops = {
	.name = "memory",
	.begin = memory_begin,
	.append = memory_append,
	.commit = memory_commit,
	.abandon = memory_abandon,
	.read = memory_read,
	.stat = memory_stat,
	.list = memory_list,
	.parts = memory_parts,
	.remove = memory_remove,
	.close = memory_close,
};

enum err store_memory_open(const struct env *env, struct store **out, struct error *why)
{
	struct memory *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return error_set(why, ERR_MEMORY, "cannot open a store in memory");
	m->store = (struct store){
		.ops = &memory_ops,
		.traits = {.object_max = SIZE_MAX / 2, .guards_keys = true},
		.label = "memory",
	};
	m->clock = env->clock;
	(void)pthread_mutex_init(&m->lock, NULL); /* never fails on Linux */
	*out = &m->store;
	return ERR_NONE;
}

uint8_t *store_memory_peek(struct store *s, const char *key, size_t *len)
{
	struct memory *m = (struct memory *)s;
	uint8_t *data = NULL;
	bool there;
	size_t at;

	(void)pthread_mutex_lock(&m->lock);
	at = find(m, key, &there);
	if (there) {
		data = m->object[at].data;
		*len = m->object[at].len;
	}
	(void)pthread_mutex_unlock(&m->lock);
	return data;
}
