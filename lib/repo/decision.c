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
	const struct pack_entry **pack; /* in the order of their keys */
	size_t packs, next;
};

static enum err lost(const struct pack_entry *pack, const struct cluster *c, struct error *why)
{
	char key[STORE_KEY_MAX];

	pack_key(c, &pack->id, key);
	return error_set(why, ERR_CORRUPT, "pack %s: it is not in the repository", key);
}

static enum err check_listed(void *ctx, const struct store_object *object, struct error *why)
{
	struct checking *checking = ctx;

	while (checking->next < checking->packs) {
		const struct pack_entry *pack = checking->pack[checking->next];
		char key[STORE_KEY_MAX];
		int order;

		pack_key(checking->cluster, &pack->id, key);
		order = strcmp(object->key, key);
		if (order < 0)
			return ERR_NONE; /* another backup's, or garbage */
		if (order > 0)
			return lost(pack, checking->cluster, why);
		checking->next++;
		if (object->size != pack->size)
			return error_set(why, ERR_CORRUPT,
					 "pack %s: it has %llu bytes, %llu were written", key,
					 (unsigned long long)object->size,
					 (unsigned long long)pack->size);
		return ERR_NONE;
	}
	return ERR_NONE;
}

static int by_key(const void *a, const void *b)
{
	const struct pack_entry *x = *(const struct pack_entry *const *)a;
	const struct pack_entry *y = *(const struct pack_entry *const *)b;
	int order = attempt_compare(&x->id.attempt, &y->id.attempt);

	if (order)
		return order;
	return (x->id.seq > y->id.seq) - (x->id.seq < y->id.seq);
}

/* One listing for each attempt that the table names: backups of others are not walked through. */
static enum err check_attempts(struct checking *checking, struct error *why)
{
	while (checking->next < checking->packs) {
		const struct cluster *c = checking->cluster;
		const struct pack_entry *first = checking->pack[checking->next];
		char prefix[STORE_KEY_MAX];
		enum err err;

		pack_key(c, &first->id, prefix);
		*(strrchr(prefix, '/') + 1) = '\0';
		err = store_list(c->repository->store, prefix, check_listed, checking, why);
		if (err)
			return err;
		if (checking->next < checking->packs &&
		    attempt_compare(&checking->pack[checking->next]->id.attempt,
				    &first->id.attempt) == 0)
			return lost(checking->pack[checking->next], c, why);
	}
	return ERR_NONE;
}

enum err decision_check_packs(const struct cluster *c, const struct manifest *m, struct error *why)
{
	struct checking checking = {.cluster = c, .packs = m->packs};
	enum err err;

	if (m->packs == 0)
		return ERR_NONE;
	checking.pack = malloc(m->packs * sizeof(const struct pack_entry *));
	if (!checking.pack)
		return error_set(why, ERR_MEMORY, "checking %u packs: no memory", m->packs);
	for (uint32_t i = 0; i < m->packs; i++)
		checking.pack[i] = &m->pack[i];
	qsort(checking.pack, m->packs, sizeof(const struct pack_entry *), by_key);
	err = check_attempts(&checking, why);
	free(checking.pack);
	return err;
}
