/* sim/source.c - another repository of the family that holds a backup more, and its copy. */
#include "repo/copy.h"
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

enum { OBJECT_MAX = 1 << 20 };

static void must(enum err e, const struct error *why)
{
	if (e == ERR_NONE)
		return;
	(void)fprintf(stderr, "the source of a copy could not be set up: %s\n", why->text);
	abort();
}

static enum err take_over(void *ctx, const struct store_object *object, struct error *why)
{
	struct world *w = ctx;
	uint8_t *data = NULL;
	size_t len = 0;
	enum err e = store_get(w->memory, object->key, OBJECT_MAX, &data, &len, why);

	if (e == ERR_NONE)
		e = store_put(w->source, object->key, bytes_of(data, len), why);
	free(data);
	return e;
}

/* What of the source's listing this repository is to lack. */
static enum err remove_here(void *ctx, const struct store_object *object, struct error *why)
{
	struct world *w = ctx;
	struct truth *t = &w->truth;
	char name[ATTEMPT_TEXT_MAX];
	const char *wal = strstr(object->key, "/wal/");
	uint64_t segments = ((UINT64_C(1) << SIM_SEGMENTS) - 1) << t->begins[SIM_COPIED];

	attempt_to_text(&w->attempt[SIM_COPIED], name);
	if (strstr(object->key, name) != NULL)
		return store_remove(w->memory, object->key, why);
	if (wal == NULL ||
	    (segments & UINT64_C(1) << strtoul(strrchr(wal, '/') + 1 + 16, NULL, 16)) == 0)
		return ERR_NONE;
	return store_remove(w->memory, object->key, why);
}

void source_init(struct world *w)
{
	struct truth *t = &w->truth;
	struct error why;

	must(writer_backup(&w->observer, SIM_COPIED, 1, &why), &why);
	must(store_memory_open(&w->observer.env, &w->source, &why), &why);
	must(store_list(w->memory, "", take_over, w, &why), &why);
	must(repository_open(&w->observer.env, w->source, NULL, &w->source_repository, &why), &why);
	cluster_init(&w->source_cluster, w->source_repository, w->observer.cluster.name,
		     w->observer.cluster.system_identifier);
	must(store_list(w->source, "", remove_here, w, &why), &why);
	t->manifests &= ~(1U << SIM_COPIED);
	t->packs &= ~(1U << SIM_COPIED);
	t->refers[SIM_COPIED] = 0;
	t->wal &= (UINT64_C(1) << t->begins[SIM_COPIED]) - 1;
}

void source_release(struct world *w)
{
	repository_close(w->source_repository);
	store_close(w->source);
}

static void hear_backup(void *ctx, const struct attempt *attempt, enum copy_outcome outcome,
			uint64_t bytes, const char *text)
{
	struct actor *a = ctx;
	char name[ATTEMPT_TEXT_MAX];

	(void)bytes;
	(void)text;
	attempt_to_text(attempt, name);
	if (a->world->trace != NULL)
		(void)fprintf(a->world->trace, "  ----- %s: %s has outcome %d\n", a->name, name,
			      (int)outcome);
}

static void hear_damage(void *ctx, const char *key, const char *text)
{
	struct actor *a = ctx;

	/* Of a broken variant more is wanted: that it loses something. */
	if (!a->world->scenario->broken)
		world_violate(a->world, "%s finds damage where there is none: %s: %s", a->name, key,
			      text);
}

void copy_run(struct actor *a)
{
	const struct copy_options options = {
		.backup = hear_backup, .damage = hear_damage, .ctx = a};
	struct copy_totals totals = {.bytes = 0};
	struct error why;

	ignore(copy_cluster(&a->world->source_cluster, &a->cluster, &options, &totals, &why));
}
