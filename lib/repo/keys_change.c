/* repo/keys_change.c - slots put and removed over a family of repositories.
 *
 * A rotation: (1) what the given secrets open anywhere is merged, so that an epoch that an earlier
 * rotation began is gone on with, under the same key; (2) the new secret is shown, its slots, then those of the
 * others, then our own are put, each in every repository: we seal in the new epoch last, when whoever
 * is to open it can; (3) each is opened again; (4) only then the slots that they replace are removed.
 *
 * Slots of a rotation are called epoch-N-M in the order they are put, and the number N is not used
 * again if any slot has it: of two rotations at once, one finds the name taken and stops.
 */
#include "repo/keys_change.h"
#include "repo/keys_internal.h"

#include <stdio.h>
#include <stdlib.h>

static const char slots_prefix[] = SLOTS_PREFIX;

enum { SLOT_KEY_TEXT_MAX = sizeof(slots_prefix) + SLOT_NAME_MAX };

/* The newest epoch that the secret opens there; 0 when it opens nothing.  `merged` (may be NULL) takes
 * up what was found. */
static enum err look(struct store *store, const struct key_secret *secret, uint32_t *epoch,
		     struct keyring **merged, struct error *why)
{
	struct keyring *found = NULL, *both = NULL;
	enum err e = keyring_open(store, secret, &found, NULL, why);

	*epoch = 0;
	if (e == ERR_WRONG_KEY)
		return ERR_NONE;
	if (e == ERR_NONE)
		*epoch = keyring_epoch(found);
	if (e == ERR_NONE && merged != NULL && *merged != NULL) {
		e = keyring_merge(*merged, found, &both, why);
		if (e == ERR_NONE) {
			keyring_free(*merged);
			*merged = both;
		}
	} else if (e == ERR_NONE && merged != NULL) {
		*merged = found;
		found = NULL;
	}
	keyring_free(found);
	return e;
}

static enum err look_own(const struct key_change *c, struct keyring **merged, uint32_t *oldest,
			 struct error *why)
{
	uint32_t epoch;

	*oldest = UINT32_MAX;
	for (size_t i = 0; i < c->count; i++) {
		const struct key_place *p = &c->place[i];
		struct keyring *opened = NULL;
		/* For the reason why it does not open. */
		enum err e = keyring_open(p->store, p->own, &opened, NULL, why);

		keyring_free(opened);
		if (e == ERR_NONE)
			e = look(p->store, p->own, &epoch, merged, why);
		if (e != ERR_NONE)
			return e;
		if (epoch < *oldest)
			*oldest = epoch;
	}
	return ERR_NONE;
}

static enum err look_also(const struct key_change *c, const struct key_rotation *r,
			  struct keyring **merged, struct error *why)
{
	for (size_t s = 0; s < r->also_count; s++) {
		uint32_t epoch, any = 0;

		for (size_t i = 0; i < c->count; i++) {
			enum err e = look(c->place[i].store, r->also[s], &epoch, merged, why);

			if (e != ERR_NONE)
				return e;
			any |= epoch;
		}
		if (any == 0) {
			(void)error_set(why, ERR_WRONG_KEY,
					"%s that was given opens none of the repositories",
					slot_type_text(r->also[s]->type));
			error_hint(why, "see the slots with: pgagent key list; a new one gets a "
					"slot with: pgagent key add");
			return ERR_WRONG_KEY;
		}
	}
	return ERR_NONE;
}

/* The slots that `secret` opens and that hold nothing newer than before `epoch`. */
struct replaced {
	struct store *store;
	const struct key_secret *secret;
	uint32_t epoch;
};

static enum err remove_replaced(void *ctx, const struct store_object *object, struct error *why)
{
	struct replaced *r = ctx;
	struct keyring *found = NULL;
	struct slot s;
	enum err e = slot_read(r->store, object->key, &s, why);

	if (e == ERR_CORRUPT || e == ERR_MISSING)
		return ERR_NONE; /* not known to be ours */
	if (e != ERR_NONE)
		return e;
	if (s.info.type == r->secret->type)
		e = slot_open(&s, r->secret, &found, why);
	if (e == ERR_WRONG_KEY || e == ERR_CORRUPT)
		e = ERR_NONE;
	else if (e == ERR_NONE && found != NULL && keyring_epoch(found) < r->epoch)
		e = store_remove(r->store, object->key, why);
	keyring_free(found);
	slot_release(&s);
	return e;
}

/* Only after the slot that replaces them was opened again. */
static enum err drop_replaced(struct store *store, const struct key_secret *secret, uint32_t epoch,
			      struct error *why)
{
	struct replaced r = {.store = store, .secret = secret, .epoch = epoch};
	uint32_t held;
	enum err e = look(store, secret, &held, NULL, why);

	if (e == ERR_NONE && held != epoch)
		return error_set(why, ERR_TRANSIENT,
				 "the new key slot in %s does not open: was it removed meanwhile?",
				 store->label);
	return e == ERR_NONE ? store_list(store, SLOTS_PREFIX, remove_replaced, &r, why) : e;
}

enum err keys_add(const struct key_change *c, const struct key_secret *secret, const char *name,
		  struct error *why)
{
	struct keyring *merged = NULL;
	uint32_t oldest, epoch, held;
	enum err e = look_own(c, &merged, &oldest, why);

	if (e != ERR_NONE) {
		keyring_free(merged);
		return e;
	}
	epoch = keyring_epoch(merged);
	if (c->show != NULL)
		e = c->show(c->ctx, why);
	for (size_t i = 0; i < c->count && e == ERR_NONE; i++) {
		struct store *store = c->place[i].store;

		e = look(store, secret, &held, NULL, why);
		if (e == ERR_NONE && held != epoch)
			e = keyring_put_slot(merged, c->env, store, name, secret, why);
		if (e == ERR_NONE)
			c->told(c->ctx, i, name, held != epoch);
	}
	for (size_t i = 0; i < c->count && e == ERR_NONE; i++)
		e = drop_replaced(c->place[i].store, secret, epoch, why);
	keyring_free(merged);
	return e;
}

/* The N of the newest slot that is called epoch-N-M. */
static enum err find_named_epoch(void *ctx, const struct store_object *object, struct error *why)
{
	uint32_t *newest = ctx, n, m;
	char end;

	(void)why; /* nothing here can fail */
	if (sscanf(object->key, SLOTS_PREFIX "epoch-%9u-%9u%c", &n, &m, &end) == 2 && n > *newest)
		*newest = n;
	return ERR_NONE;
}

struct rotating {
	const struct key_change *change;
	struct keyring *target;
};

/* The first name of this epoch that is free in the store. */
static enum err put_numbered(const struct rotating *r, size_t place,
			     const struct key_secret *secret, unsigned *number, struct error *why)
{
	struct store *store = r->change->place[place].store;
	uint32_t epoch = keyring_epoch(r->target);
	char name[SLOT_NAME_MAX], key[SLOT_KEY_TEXT_MAX];
	struct store_object object;
	enum err e;

	do {
		(void)snprintf(name, sizeof(name), "epoch-%u-%u", epoch, ++*number); /* fits */
		(void)snprintf(key, sizeof(key), "%s%s", slots_prefix, name);        /* fits */
		e = store_stat(store, key, &object, why);
	} while (e == ERR_NONE);
	if (e != ERR_MISSING)
		return e;
	e = keyring_put_slot(r->target, r->change->env, store, name, secret, why);
	if (e == ERR_EXISTS)
		error_hint(why,
			   "another rotation runs: let it end, then run pgagent key rotate again");
	if (e == ERR_NONE)
		r->change->told(r->change->ctx, place, name, true);
	return e;
}

/* In every repository, or `where_known`, in those where it opens something now. */
static enum err put_everywhere(const struct rotating *r, const struct key_secret *secret,
			       bool where_known, struct error *why)
{
	for (size_t i = 0; i < r->change->count; i++) {
		const struct key_place *p = &r->change->place[i];
		unsigned number = 0;
		uint32_t held;
		enum err e = look(p->store, secret != NULL ? secret : p->own, &held, NULL, why);

		if (e == ERR_NONE && held != keyring_epoch(r->target) &&
		    (held != 0 || !where_known))
			e = put_numbered(r, i, secret != NULL ? secret : p->own, &number, why);
		if (e != ERR_NONE)
			return e;
	}
	return ERR_NONE;
}

/* (2) */
static enum err put_all(const struct rotating *r, const struct key_rotation *what,
			struct error *why)
{
	enum err e = ERR_NONE;

	if (what->fresh != NULL && r->change->show != NULL)
		e = r->change->show(r->change->ctx, why);
	if (what->fresh != NULL && e == ERR_NONE)
		e = put_everywhere(r, what->fresh, false, why);
	for (size_t s = 0; s < what->also_count && e == ERR_NONE; s++)
		e = put_everywhere(r, what->also[s], true, why);
	return e == ERR_NONE ? put_everywhere(r, NULL, true, why) : e;
}

/* (3) and (4) */
static enum err drop_all(const struct rotating *r, const struct key_rotation *what,
			 struct error *why)
{
	uint32_t epoch = keyring_epoch(r->target), held;
	enum err e = ERR_NONE;

	for (size_t i = 0; i < r->change->count && e == ERR_NONE; i++) {
		const struct key_place *p = &r->change->place[i];

		e = drop_replaced(p->store, p->own, epoch, why);
		for (size_t s = 0; s < what->also_count && e == ERR_NONE; s++) {
			e = look(p->store, what->also[s], &held, NULL, why);
			if (e == ERR_NONE && held != 0)
				e = drop_replaced(p->store, what->also[s], epoch, why);
		}
	}
	return e;
}

enum err keys_rotate(const struct key_change *c, struct key_rotation *what, struct error *why)
{
	struct rotating r = {.change = c};
	struct keyring *merged = NULL;
	uint32_t oldest = 0, named = 0;
	enum err e = look_own(c, &merged, &oldest, why);

	/* (1) */
	if (e == ERR_NONE)
		e = look_also(c, what, &merged, why);
	for (size_t i = 0; i < c->count && e == ERR_NONE; i++)
		e = store_list(c->place[i].store, SLOTS_PREFIX, find_named_epoch, &named, why);
	if (e != ERR_NONE)
		goto out;
	what->resumed = oldest < keyring_epoch(merged);
	if (what->resumed) {
		r.target = merged;
		merged = NULL;
	} else {
		uint32_t newest = keyring_epoch(merged);

		e = keyring_rotate(merged, c->env->random, (named > newest ? named : newest) + 1,
				   &r.target, why);
	}
	if (e == ERR_NONE)
		e = put_all(&r, what, why);
	if (e == ERR_NONE)
		e = drop_all(&r, what, why);
	if (e == ERR_NONE)
		what->epoch = keyring_epoch(r.target);
out:
	keyring_free(merged);
	keyring_free(r.target);
	return e;
}

struct summing {
	struct store *store;
	struct key_slots_summary sum;
	const char *without; /* a name that is left out, or NULL */
};

static enum err sum_up_one(void *ctx, const struct store_object *object, struct error *why)
{
	struct summing *s = ctx;
	struct slot slot;
	enum err e;

	if (s->without != NULL && strcmp(object->key + sizeof(slots_prefix) - 1, s->without) == 0)
		return ERR_NONE;
	e = slot_read(s->store, object->key, &slot, why);
	if (e == ERR_MISSING)
		return ERR_NONE;
	if (e == ERR_CORRUPT) {
		s->sum.damaged++;
		return ERR_NONE;
	}
	if (e != ERR_NONE)
		return e;
	s->sum.slots++;
	if (slot.info.epoch > s->sum.epoch) {
		s->sum.epoch = slot.info.epoch;
		s->sum.current = 0;
	}
	s->sum.current += slot.info.epoch == s->sum.epoch;
	slot_release(&slot);
	return ERR_NONE;
}

enum err key_slots_sum_up(struct store *store, const char *without, struct key_slots_summary *out,
			  struct error *why)
{
	struct summing s = {.store = store, .without = without};
	enum err e = store_list(store, SLOTS_PREFIX, sum_up_one, &s, why);

	if (e == ERR_NONE)
		*out = s.sum;
	return e;
}

static enum err no_slot(const struct store *store, const char *name, struct error *why)
{
	(void)error_set(why, ERR_MISSING, "there is no key slot \"%s\" in %s", name, store->label);
	error_hint(why, "see the slots with: pgagent key list");
	return ERR_MISSING;
}

enum err key_slot_find(struct store *store, const char *name, struct slot_info *out,
		       struct error *why)
{
	char key[SLOT_KEY_TEXT_MAX];
	struct slot slot;
	enum err e;

	if (!slot_is_name(name))
		return no_slot(store, name, why);
	(void)snprintf(key, sizeof(key), "%s%s", slots_prefix, name); /* length checked */
	e = slot_read(store, key, &slot, why);
	if (e == ERR_MISSING)
		return no_slot(store, name, why);
	if (e != ERR_NONE)
		return e;
	*out = slot.info;
	slot_release(&slot);
	return ERR_NONE;
}

enum err key_slot_may_go(struct store *store, const char *name, struct error *why)
{
	struct key_slots_summary all, rest;
	struct slot_info info;
	enum err e = key_slot_find(store, name, &info, why);

	if (e == ERR_NONE || e == ERR_CORRUPT)
		e = key_slots_sum_up(store, NULL, &all, why);
	if (e == ERR_NONE)
		e = key_slots_sum_up(store, name, &rest, why);
	if (e != ERR_NONE)
		return e;
	if (rest.slots > 0 && rest.epoch >= all.epoch)
		return ERR_NONE;
	(void)error_set(why, ERR_CONFIG,
			"the key slot \"%s\" is the last of %s that holds the newest keys: "
			"without it nobody could read what is written now",
			name, store->label);
	error_hint(why, "first give another key a slot: pgagent key add --recovery-code");
	return ERR_CONFIG;
}

enum err key_slot_remove(struct store *store, const char *name, struct error *why)
{
	char key[SLOT_KEY_TEXT_MAX];
	enum err e = key_slot_may_go(store, name, why);

	if (e != ERR_NONE)
		return e;
	(void)snprintf(key, sizeof(key), "%s%s", slots_prefix, name); /* a slot's name: it fits */
	return store_remove(store, key, why);
}
