/* repo/keys_open.c - opening a repository's key set: which slot is for this secret, or why none is.
 *
 * Every slot of the secret's type is tried, and of those that open the one with the newest epoch is
 * taken: after a rotation the secret may still open its old slot beside the new one.  The commitment
 * tells "not for this secret" apart from damage.
 */
#include "repo/keys_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	SLOT_NAMES_TEXT_MAX = 400,
	OPEN_WALKS_MAX = 3 /* a rotation may replace slots behind a listing, but not every time */
};

enum err slot_open(const struct slot *s, const struct key_secret *secret, struct keyring **out,
		   struct error *why)
{
	uint8_t derived[CRYPTO_KEY_BYTES + SLOT_COMMITMENT_BYTES];
	size_t len = s->sealed_len - CRYPTO_TAG_BYTES;
	struct aead *aead = NULL;
	enum err e;

	e = slot_derive(s->info.type, &s->cost, s->repository_id, s->salt,
			secret_view(&secret->material), derived, why);
	if (e == ERR_NONE &&
	    !crypto_same(derived + CRYPTO_KEY_BYTES, s->commitment, SLOT_COMMITMENT_BYTES))
		e = error_set(why, ERR_WRONG_KEY, "slot \"%s\" is for another secret",
			      s->info.name);
	if (e == ERR_NONE)
		e = aead_new(&aead, why);
	if (e == ERR_NONE)
		e = aead_set_key(aead, derived, false, why);
	if (e == ERR_NONE)
		e = aead_open(aead, 0, 0, s->aad, bytes_of(s->sealed, len), s->sealed + len,
			      s->sealed, why);
	if (e == ERR_NONE)
		e = keyring_decode(bytes_of(s->sealed, len), out, why);
	aead_free(aead);
	explicit_bzero(derived, sizeof(derived));
	return e;
}

struct opening {
	struct store *store;
	const struct key_secret *secret;
	struct keyring *found;
	char slot_name[SLOT_NAME_MAX];
	unsigned slots, fitting, damaged;
	bool vanished;                   /* a slot that was listed is gone */
	char names[SLOT_NAMES_TEXT_MAX]; /* of all slots, for the message */
	struct error damage;             /* the first */
};

static void opening_note_damage(struct opening *o, const struct error *seen)
{
	if (o->damaged++ == 0)
		o->damage = *seen;
}

static void opening_note_name(struct opening *o, const char *name, const char *what)
{
	size_t used = strlen(o->names);

	/* Cut text is still text. */
	(void)snprintf(o->names + used, sizeof(o->names) - used, "%s%s (%s)", used > 0 ? ", " : "",
		       name, what);
}

/* Of two key sets that a secret opens the newer counts. */
static void opening_take(struct opening *o, struct keyring *take_found, const char *slot_name)
{
	if (o->found != NULL && keyring_epoch(o->found) >= keyring_epoch(take_found)) {
		keyring_free(take_found);
		return;
	}
	keyring_free(o->found);
	o->found = take_found;
	memcpy(o->slot_name, slot_name, sizeof(o->slot_name));
}

/* Opens one slot, where the secret is for it. */
static enum err opening_try(void *ctx, const struct store_object *object, struct error *why)
{
	struct opening *o = ctx;
	enum slot_type type = o->secret != NULL ? o->secret->type : SLOT_CLEAR;
	struct keyring *found = NULL;
	struct slot s;
	enum err e;

	e = slot_read(o->store, object->key, &s, why);
	if (e == ERR_MISSING) {
		o->vanished = true;
		return ERR_NONE;
	}
	o->slots++;
	if (e == ERR_CORRUPT) {
		opening_note_name(o, object->key + sizeof(SLOTS_PREFIX) - 1, "damaged");
		opening_note_damage(o, why);
		return ERR_NONE;
	}
	if (e != ERR_NONE)
		return e;
	opening_note_name(o, s.info.name, slot_type_text(s.info.type));
	if (s.info.type == type) {
		o->fitting++;
		e = type == SLOT_CLEAR
			    ? keyring_decode(bytes_of(s.sealed, s.sealed_len), &found, why)
			    : slot_open(&s, o->secret, &found, why);
		if (e == ERR_NONE &&
		    memcmp(found->repository_id, s.repository_id, REPOSITORY_ID_BYTES) != 0)
			e = error_set(why, ERR_CORRUPT, "it holds the keys of another repository");
		if (e == ERR_CORRUPT) {
			(void)error_add(why, "key slot %s is damaged", object->key);
			o->fitting--;
			opening_note_damage(o, why);
		}
	}
	if (found != NULL && e == ERR_NONE) {
		opening_take(o, found, s.info.name);
		found = NULL;
	} else if (e == ERR_CORRUPT || e == ERR_WRONG_KEY) {
		e = ERR_NONE;
	}
	keyring_free(found);
	slot_release(&s);
	return e;
}

/* Why no slot opened, as a decision. */
static enum err opening_refusal(const struct opening *o, struct error *why)
{
	if (o->slots == 0) {
		(void)error_set(why, ERR_MISSING, "repository %s has no key slots",
				o->store->label);
		error_hint(why, "pgagent init");
		return ERR_MISSING;
	}
	if (o->damaged > 0 && o->fitting == 0) {
		if (why != NULL)
			*why = o->damage;
		(void)error_add(why, "cannot open the repository %s", o->store->label);
		error_hint(why, "another slot may still open it; see them with: pgagent key list");
		return ERR_CORRUPT;
	}
	if (o->secret == NULL)
		(void)error_set(why, ERR_WRONG_KEY,
				"cannot open the repository %s without a key; its slots: %s",
				o->store->label, o->names);
	else
		(void)error_set(why, ERR_WRONG_KEY,
				"cannot open the repository %s: %s was given that opens none of "
				"its slots: %s",
				o->store->label, slot_type_text(o->secret->type), o->names);
	error_hint(why, "see the slots with: pgagent key list\n"
			"try another key with: pgagent key test --key-file FILE");
	return ERR_WRONG_KEY;
}

enum err keyring_open(struct store *store, const struct key_secret *secret, struct keyring **out,
		      char *slot_name, struct error *why)
{
	struct opening o = {.store = store, .secret = secret};
	struct error seen = {.kind = ERR_NONE};
	enum err e = ERR_NONE;

	for (int walk = 0; walk < OPEN_WALKS_MAX && o.found == NULL && e == ERR_NONE; walk++) {
		if (walk > 0 && !o.vanished)
			break;
		o = (struct opening){.store = store, .secret = secret};
		e = store_list(store, SLOTS_PREFIX, opening_try, &o, &seen);
	}
	/* One slot opened is enough, whatever is wrong with another. */
	if (o.found != NULL) {
		*out = o.found;
		if (slot_name != NULL)
			memcpy(slot_name, o.slot_name, sizeof(o.slot_name));
		return ERR_NONE;
	}
	if (e == ERR_NONE)
		return opening_refusal(&o, why);
	if (why != NULL)
		*why = seen;
	return error_add(why, "cannot open the repository %s", store->label);
}

struct listing {
	struct store *store;
	enum err (*visit)(void *ctx, const struct slot_info *, struct error *why);
	void *ctx;
	struct error damage; /* the first */
};

static enum err list_one(void *ctx, const struct store_object *object, struct error *why)
{
	struct listing *l = ctx;
	struct slot s;
	enum err e = slot_read(l->store, object->key, &s, why);

	if (e == ERR_CORRUPT && l->damage.kind == ERR_NONE)
		l->damage = *why;
	if (e == ERR_MISSING || e == ERR_CORRUPT)
		return ERR_NONE; /* missing: removed since it was listed */
	if (e != ERR_NONE)
		return e;
	e = l->visit(l->ctx, &s.info, why);
	slot_release(&s);
	return e;
}

enum err key_slots_list(struct store *store,
			enum err (*visit)(void *ctx, const struct slot_info *, struct error *why),
			void *ctx, struct error *why)
{
	struct listing l = {.store = store, .visit = visit, .ctx = ctx};
	struct error seen = {.kind = ERR_NONE};
	enum err e = store_list(store, SLOTS_PREFIX, list_one, &l, &seen);

	if (e == ERR_NONE && l.damage.kind == ERR_NONE)
		return ERR_NONE;
	if (why != NULL)
		*why = e == ERR_NONE ? l.damage : seen;
	return e == ERR_NONE ? ERR_CORRUPT : e;
}
