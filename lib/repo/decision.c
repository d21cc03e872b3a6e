/* repo/decision.c - deciding against a backup, and looking at its packs before deciding for it
 * (protocol step W4).
 */
#include "repo/decision_internal.h"
#include "repo/lines.h"
#include "repo/manifest_internal.h"
#include "repo/pack.h"

#include <stdlib.h>

enum err decision_abort(const struct cluster *c, const struct attempt *attempt, const char *reason,
			struct error *why)
{
	const struct env *env = c->repository->env;
	char key[STORE_KEY_MAX], text[TIME_TEXT_MAX];
	struct host_identity here;
	struct writer body;
	enum err err;

	host_identify(env, &here);
	backup_key(c, attempt, key);
	writer_init(&body, RECORD_BYTES_MAX);
	attempt_to_text(attempt, text);
	lines_put(&body, "attempt", text);
	lines_put(&body, "reason", reason);
	lines_put(&body, "host", here.host);
	time_to_text(clock_now_us(env->clock), text);
	lines_put(&body, "time", text);
	if (body.bad)
		err = error_set(why, ERR_LIMIT, "aborting %s: the reason is too long", key);
	else
		err = record_put(c->repository, key, "abort", writer_view(&body), why);
	writer_release(&body);
	return err;
}

enum err decision_is_there(const struct cluster *c, const struct attempt *attempt, bool *out,
			   struct error *why)
{
	struct store_object object;
	char key[STORE_KEY_MAX];
	enum err err;

	backup_key(c, attempt, key);
	err = store_stat(c->repository->store, key, &object, why);
	if (err && err != ERR_MISSING)
		return err;
	*out = err == ERR_NONE;
	return ERR_NONE;
}

enum err decision_is_aborted(const struct cluster *c, const struct attempt *attempt, bool *out,
			     struct error *why)
{
	enum err err = backup_check_aborted(c, attempt, why);

	/* Too short, or a damaged marker: it can't be known, and stands in the way of a sweep. */
	if (err && err != ERR_MISSING && err != ERR_CORRUPT)
		return err;
	*out = err == ERR_MISSING;
	return ERR_NONE;
}

/* The listing of packs and the table, both ascending, walked side by side. */
struct checking {
	const struct cluster *cluster;
	const struct manifest *manifest;
	uint32_t *order; /* of the table's entries by the keys of their packs; owned */
	uint32_t next;   /* in `order` */
	bool *there;     /* by index in the table */
};

static const struct pack_entry *next_pack(const struct checking *c)
{
	return c->next < c->manifest->packs ? &c->manifest->pack[c->order[c->next]] : NULL;
}

static enum err check_listed(void *ctx, const struct store_object *object, struct error *why)
{
	struct checking *c = ctx;
	const struct pack_entry *pack;

	while ((pack = next_pack(c)) != NULL) {
		char key[STORE_KEY_MAX];
		int order;

		pack_key(c->cluster, &pack->id, key);
		order = strcmp(object->key, key);
		if (order < 0)
			return ERR_NONE; /* another backup's, or garbage */
		c->there[c->order[c->next++]] = order == 0;
		if (order > 0)
			continue;
		if (object->size != pack->size)
			return error_set(why, ERR_CORRUPT,
					 "pack %s: it has %llu bytes, %llu were written", key,
					 (unsigned long long)object->size,
					 (unsigned long long)pack->size);
		return ERR_NONE;
	}
	return ERR_NONE;
}

static int by_key(const void *a, const void *b, void *table)
{
	const struct pack_entry *pack = table;
	const struct pack_entry *x = &pack[*(const uint32_t *)a], *y = &pack[*(const uint32_t *)b];
	int order = attempt_compare(&x->id.attempt, &y->id.attempt);

	return order != 0 ? order : (x->id.seq > y->id.seq) - (x->id.seq < y->id.seq);
}

/* One listing for each attempt that the table names: backups of others are not walked through. */
static enum err check_attempts(struct checking *c, struct error *why)
{
	const struct pack_entry *first, *next;

	while ((first = next_pack(c)) != NULL) {
		char prefix[STORE_KEY_MAX];
		enum err err;

		pack_key(c->cluster, &first->id, prefix);
		*(strrchr(prefix, '/') + 1) = '\0';
		err = store_list(c->cluster->repository->store, prefix, check_listed, c, why);
		if (err)
			return err;
		while ((next = next_pack(c)) != NULL &&
		       attempt_compare(&next->id.attempt, &first->id.attempt) == 0)
			c->there[c->order[c->next++]] = false;
	}
	return ERR_NONE;
}

enum err decision_find_packs(const struct cluster *c, const struct manifest *m, bool *there,
			     struct error *why)
{
	struct checking checking = {.cluster = c, .manifest = m, .there = there};
	enum err err;

	if (m->packs == 0)
		return ERR_NONE;
	checking.order = malloc(m->packs * sizeof(*checking.order));
	if (!checking.order)
		return error_set(why, ERR_MEMORY, "checking %u packs: no memory", m->packs);
	for (uint32_t i = 0; i < m->packs; i++)
		checking.order[i] = i;
	qsort_r(checking.order, m->packs, sizeof(*checking.order), by_key, m->pack);
	err = check_attempts(&checking, why);
	free(checking.order);
	return err;
}

enum err decision_check_packs(const struct cluster *c, const struct manifest *m, struct error *why)
{
	bool *there = calloc((size_t)m->packs + 1, sizeof(*there));
	enum err err;

	if (!there)
		return error_set(why, ERR_MEMORY, "checking %u packs: no memory", m->packs);
	err = decision_find_packs(c, m, there, why);
	for (uint32_t i = 0; !err && i < m->packs; i++) {
		char key[STORE_KEY_MAX];

		if (there[i])
			continue;
		pack_key(c, &m->pack[i].id, key);
		err = error_set(why, ERR_CORRUPT, "pack %s: it is not in the repository", key);
	}
	free(there);
	return err;
}
