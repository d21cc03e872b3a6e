/* repo/listing.c - which backups there are: decisions, hidden, tombs and keeps put together. */
#include "repo/decision_internal.h"
#include "repo/lines.h"
#include "repo/manifest_internal.h"

#include <stdio.h>
#include <stdlib.h>

/* Key lists. */

struct reading {
	struct key_list *list;
	size_t cut; /* bytes of the prefix */
};

static enum err add_key(void *ctx, const struct store_object *object, struct error *why)
{
	struct reading *r = ctx;
	struct key_list *list = r->list;

	if ((list->count & (list->count - 1)) == 0) { /* doubles at powers of two */
		size_t capacity = list->count ? 2 * list->count : 1;
		char **key = realloc(list->key, capacity * sizeof(*key));
		uint64_t *size;

		if (key)
			list->key = key;
		size = realloc(list->size, capacity * sizeof(*size));
		if (size)
			list->size = size;
		if (!key || !size)
			return error_set(why, ERR_MEMORY, "listing %s: no memory", object->key);
	}
	list->key[list->count] = strdup(object->key + r->cut);
	if (!list->key[list->count])
		return error_set(why, ERR_MEMORY, "listing %s: no memory", object->key);
	list->size[list->count++] = object->size;
	return ERR_NONE;
}

enum err key_list_read(const struct cluster *c, const char *folder, struct key_list *out,
		       struct error *why)
{
	char prefix[STORE_KEY_MAX];
	struct reading r = {.list = out};

	*out = (struct key_list){.count = 0};
	r.cut = (size_t)snprintf(prefix, sizeof(prefix), "%s%s", c->prefix, folder);
	return store_list(c->repository->store, prefix, add_key, &r, why);
}

void key_list_release(struct key_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->key[i]);
	free(list->key);
	free(list->size);
	*list = (struct key_list){.count = 0};
}

/* The last key that begins with `attempt`, or NULL. */
static const char *newest_of(const struct key_list *list, const char *attempt)
{
	size_t len = strlen(attempt), low = 0, high = list->count;

	while (low < high) { /* the first key above all of this attempt's */
		size_t middle = low + (high - low) / 2;

		if (strncmp(list->key[middle], attempt, len) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0 || strncmp(list->key[low - 1], attempt, len) != 0)
		return NULL;
	return list->key[low - 1];
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* What stands beside the decisions. */
struct marks {
	struct key_list hidden, tombs, keeps;
};

static void marks_release(struct marks *m)
{
	key_list_release(&m->hidden);
	key_list_release(&m->tombs);
	key_list_release(&m->keeps);
}

static enum err marks_read(const struct cluster *c, struct marks *m, struct error *why)
{
	enum err err;

	*m = (struct marks){.hidden = {.count = 0}};
	err = key_list_read(c, "hidden/", &m->hidden, why);
	if (!err)
		err = key_list_read(c, "tombs/", &m->tombs, why);
	if (!err)
		err = key_list_read(c, "keeps/", &m->keeps, why);
	return err;
}

/* Hidden is what was asked to go last and was not undeleted: "<g>" without its ".end", or an end
 * that says `removed`. */
static enum err is_hidden(const struct cluster *c, const struct marks *m, const char *attempt,
			  bool *out, struct error *why)
{
	const char *newest = newest_of(&m->hidden, attempt);
	char key[STORE_KEY_MAX], end[16] = "";
	struct writer body;
	enum err err;

	*out = newest_of(&m->tombs, attempt) != NULL || newest != NULL;
	if (newest_of(&m->tombs, attempt) || !newest || !ends_with(newest, ".end"))
		return ERR_NONE;
	(void)snprintf(key, sizeof(key), "%shidden/%s", c->prefix, newest);
	writer_init(&body, RECORD_BYTES_MAX);
	err = record_get(c->repository, key, "hidden-end", &body, why);
	if (!err && lines_get(writer_view(&body), "end", end, sizeof(end)))
		*out = strcmp(end, "undeleted") != 0;
	writer_release(&body);
	return err == ERR_MISSING ? ERR_NONE : err; /* it went meanwhile: it was being removed */
}

/* The summary of one backup; ERR_MISSING for an abort marker and for what went meanwhile. */
static enum err read_summary(const struct cluster *c, struct object_reader *r,
			     const struct attempt *attempt, struct summary *out, struct error *why)
{
	char key[STORE_KEY_MAX];
	struct bytes plain;
	struct error look;
	enum err err;

	backup_key(c, attempt, key);
	err = object_open(r, key, OBJECT_MANIFEST, why);
	if (err == ERR_CORRUPT && backup_check_aborted(c, attempt, &look) == ERR_MISSING) {
		if (why)
			*why = look;
		return ERR_MISSING;
	}
	if (!err)
		err = object_first_frame(r, FRAME_SUMMARY, &plain, why);
	if (!err)
		err = summary_decode(plain, out, why);
	/* Who opened the repository has its keys: an object that they do not open is damaged. */
	if (err == ERR_WRONG_KEY) {
		err = ERR_CORRUPT;
		if (why)
			why->kind = err;
	}
	if (err)
		(void)error_add(why, "reading %s", key); /* the kind stays */
	return err;
}

struct listing {
	const struct cluster *cluster;
	struct object_reader *reader;
	struct marks marks;
	bool all;
	enum err (*visit)(void *ctx, const struct backup_info *, struct error *why);
	backup_damage_visit *damaged;
	void *ctx;
};

/* What keeps/ says last, else `birth`. */
static bool is_kept(const struct listing *l, const char *name, bool birth)
{
	const char *keep = newest_of(&l->marks.keeps, name);

	return keep ? !ends_with(keep, ".off") : birth;
}

static enum err visit_one(const struct listing *l, const char *name, uint64_t size,
			  struct error *why)
{
	struct summary summary = {.tablespaces = 0};
	struct backup_info info = {.summary = &summary, .manifest_bytes = size};
	struct attempt attempt;
	struct error reason;
	enum err err;

	if (!attempt_from_text(name, &attempt))
		return ERR_NONE; /* nothing of ours */
	err = is_hidden(l->cluster, &l->marks, name, &info.hidden, &reason);
	if (!err && info.hidden && !l->all)
		return ERR_NONE;
	if (!err)
		err = read_summary(l->cluster, l->reader, &attempt, &summary, &reason);
	if (err == ERR_MISSING)
		return ERR_NONE;
	if (err == ERR_CORRUPT) {
		struct backup_damage damage = {
			.attempt = attempt, .keep = is_kept(l, name, false), .reason = &reason};

		return l->damaged(l->ctx, &damage, why);
	}
	if (err) {
		if (why)
			*why = reason;
		return err;
	}
	info.keep = is_kept(l, name, summary.keep);
	err = l->visit(l->ctx, &info, why);
	summary_release(&summary);
	return err;
}

enum err backups_list_all(const struct cluster *c, bool all,
			  enum err (*visit)(void *ctx, const struct backup_info *,
					    struct error *why),
			  backup_damage_visit *damaged, void *ctx, struct error *why)
{
	struct listing l = {
		.cluster = c, .all = all, .visit = visit, .damaged = damaged, .ctx = ctx};
	struct key_list backups = {.count = 0};
	enum err err = marks_read(c, &l.marks, why);

	if (!err)
		err = key_list_read(c, "backups/", &backups, why);
	if (!err)
		err = object_reader_new(c->repository, &l.reader, why);
	for (size_t i = 0; !err && i < backups.count; i++)
		err = visit_one(&l, backups.key[i], backups.size[i], why);
	object_reader_free(l.reader);
	key_list_release(&backups);
	marks_release(&l.marks);
	return err;
}

/* Keeps the first damage as the answer for after the last visit. */
struct loud {
	const struct cluster *cluster;
	enum err (*visit)(void *ctx, const struct backup_info *, struct error *why);
	void *ctx;
	struct error first;
};

static enum err pass_on(void *ctx, const struct backup_info *info, struct error *why)
{
	struct loud *loud = ctx;

	return loud->visit(loud->ctx, info, why);
}

static enum err tell_damage(void *ctx, const struct backup_damage *damage, struct error *why)
{
	struct loud *loud = ctx;
	char name[ATTEMPT_TEXT_MAX];

	(void)why; /* nothing here can fail */
	attempt_to_text(&damage->attempt, name);
	observer_event(loud->cluster->repository->env->observer, LEVEL_ERROR,
		       "backup %s is damaged, it is left out: %s", name, damage->reason->text);
	if (!loud->first.kind)
		loud->first = *damage->reason;
	return ERR_NONE;
}

enum err backups_list(const struct cluster *c, bool all,
		      enum err (*visit)(void *ctx, const struct backup_info *, struct error *why),
		      void *ctx, struct error *why)
{
	struct loud loud = {.cluster = c, .visit = visit, .ctx = ctx};
	enum err err = backups_list_all(c, all, pass_on, tell_damage, &loud, why);

	if (err || !loud.first.kind)
		return err;
	if (why)
		*why = loud.first;
	return loud.first.kind;
}

static enum err digest_of(const struct cluster *c, const struct attempt *attempt,
			  uint8_t sha256[CRYPTO_SHA256_BYTES], struct error *why)
{
	char key[STORE_KEY_MAX];
	uint8_t *object = NULL;
	size_t len = 0;
	enum err err;

	backup_key(c, attempt, key);
	err = store_get(c->repository->store, key, MANIFEST_BYTES_MAX, &object, &len, why);
	if (!err)
		err = crypto_sha256(bytes_of(object, len), sha256, why);
	free(object);
	return err;
}

enum err decision_newest(const struct cluster *c, struct attempt *out, uint64_t *generation,
			 uint8_t sha256[CRYPTO_SHA256_BYTES], struct error *why)
{
	struct object_reader *r = NULL;
	struct key_list backups;
	struct summary summary;
	struct attempt attempt;
	enum err err = key_list_read(c, "backups/", &backups, why);

	if (!err)
		err = object_reader_new(c->repository, &r, why);
	if (err)
		goto out;
	err = ERR_MISSING;
	for (size_t i = backups.count; err == ERR_MISSING && i > 0; i--) {
		if (!attempt_from_text(backups.key[i - 1], &attempt))
			continue;
		err = read_summary(c, r, &attempt, &summary, why);
	}
	if (err == ERR_MISSING) /* or the text would be about an abort marker */
		err = error_set(why, ERR_MISSING, "%.*s: there is no backup yet",
				(int)strlen(c->prefix) - 1, c->prefix);
	if (err)
		goto out;
	err = digest_of(c, &attempt, sha256, why);
	if (!err) {
		*out = attempt;
		*generation = summary.generation;
	}
	summary_release(&summary);
out:
	object_reader_free(r);
	key_list_release(&backups);
	return err;
}

enum err decision_newest_attempt(const struct cluster *c, struct attempt *out, struct error *why)
{
	struct key_list backups;
	struct attempt attempt;
	bool aborted = true;
	enum err err = key_list_read(c, "backups/", &backups, why);

	for (size_t i = backups.count; !err && aborted && i > 0; i--)
		if (attempt_from_text(backups.key[i - 1], &attempt))
			err = decision_is_aborted(c, &attempt, &aborted, why);
	key_list_release(&backups);
	if (!err && aborted)
		err = error_set(why, ERR_MISSING, "%.*s: there is no backup yet",
				(int)strlen(c->prefix) - 1, c->prefix);
	if (!err)
		*out = attempt;
	return err;
}
