/* repo/repository.c - making a repository, opening one, and reading what FORMAT says of it.
 *
 * Making: slots first, FORMAT last.  Without FORMAT there is no repository, so slots that a
 * crashed init left protect nothing, and the next init removes them.
 */
#include "repo/repository.h"

#include "base/text.h"
#include "repo/lines.h"
#include "repo/repo_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const char format_key[] = "FORMAT";
static const char clear_slot[] = "clear";
static const char recovery_slot[] = "recovery";

static bool is_leftover(const char *key)
{
	return strncmp(key, "keys/", 5) == 0 || strncmp(key, "probe/", 6) == 0;
}

/* Ends the walk with ERR_EXISTS at the first object that no init leaves behind. */
static enum err find_foreign(void *ctx, const struct store_object *object, struct error *why)
{
	char *found = ctx;

	if (is_leftover(object->key))
		return ERR_NONE;
	(void)snprintf(found, STORE_KEY_MAX + 1, "%s", object->key); /* a key */
	return error_set(why, ERR_EXISTS, "found");
}

enum err repository_exists(struct store *store, bool *out, struct error *why)
{
	char found[STORE_KEY_MAX + 1] = "";
	struct store_object object;
	enum err e;

	e = store_stat(store, format_key, &object, why);
	if (e == ERR_NONE) {
		*out = true;
		return e;
	}
	if (e != ERR_MISSING)
		return e;
	e = store_list(store, "", find_foreign, found, why);
	if (found[0] != '\0') {
		(void)error_set(why, ERR_CONFIG,
				"%s is no repository and not empty: it holds %s, but no FORMAT",
				store->label, found);
		error_hint(why, "name an empty directory, or the one that was given to "
				"`pgagent init`");
		return ERR_CONFIG;
	}
	if (e == ERR_NONE)
		*out = false;
	return e;
}

static enum err format_unknown(const struct store *store, const char *name, const char *value,
			       struct error *why)
{
	(void)error_set(why, ERR_CONFIG,
			"cannot use the repository %s: FORMAT says \"%s %s\", which this version "
			"of pgagent does not know",
			store->label, name, value);
	error_hint(why, "use the version of pgagent that made it, or a newer one");
	return ERR_CONFIG;
}

/* FORMAT without its hmac. */
static enum err format_parse(const struct store *store, struct bytes text,
			     struct repository_format *out, struct error *why)
{
	static const char first[] = "pgagent-record format ";
	struct repository_format f;
	char id[2 * REPOSITORY_ID_BYTES + 1], version[32], requires[256], encryption[32], tag[32];

	if (text.len < sizeof(first) || memcmp(text.data, first, sizeof(first) - 1) != 0 ||
	    !lines_get(text, "format", version, sizeof(version)))
		return error_set(why, ERR_CORRUPT, "FORMAT in %s is damaged: not a format record",
				 store->label);
	if (strcmp(version, "1") != 0)
		return format_unknown(store, "format", version, why);
	if (!lines_get(text, "requires", requires, sizeof(requires)) ||
	    !lines_get(text, "encryption", encryption, sizeof(encryption)) ||
	    !lines_get(text, "page-tag", tag, sizeof(tag)) ||
	    !lines_get(text, "created", f.created, sizeof(f.created)) ||
	    !lines_get(text, "repository", id, sizeof(id)) ||
	    !text_to_hex(bytes_of_text(id), f.id, sizeof(f.id)))
		return error_set(why, ERR_CORRUPT, "FORMAT in %s is damaged: lines are missing",
				 store->label);
	if (strcmp(requires, "-") != 0)
		return format_unknown(store, "requires", requires, why);
	if (strcmp(encryption, "aes-256-gcm") == 0)
		f.encryption = ENCRYPTION_AES_256_GCM;
	else if (strcmp(encryption, "none") == 0)
		f.encryption = ENCRYPTION_NONE;
	else
		return format_unknown(store, "encryption", encryption, why);
	f.tag_kind = f.encryption == ENCRYPTION_NONE ? PAGE_TAG_HMAC : PAGE_TAG_GMAC;
	/* GMAC tags would leave sealed objects where nothing is sealed. */
	if (strcmp(tag, f.tag_kind == PAGE_TAG_HMAC ? "hmac" : "gmac") != 0)
		return format_unknown(store, "page-tag", tag, why);
	*out = f;
	return ERR_NONE;
}

static enum err format_read(struct store *store, uint8_t **text, size_t *len, struct error *why)
{
	enum err e = store_get(store, format_key, RECORD_BYTES_MAX, text, len, why);

	if (e == ERR_MISSING) {
		e = error_set(why, ERR_MISSING, "there is no repository in %s", store->label);
		error_hint(why, "make one with: pgagent init");
	}
	if (e == ERR_LIMIT)
		e = error_set(why, ERR_CORRUPT, "FORMAT in %s is damaged: longer than %d bytes",
			      store->label, RECORD_BYTES_MAX);
	return e;
}

enum err repository_peek(struct store *store, struct repository_format *out, struct error *why)
{
	uint8_t *text = NULL;
	size_t len = 0;
	enum err e = format_read(store, &text, &len, why);

	if (e == ERR_NONE)
		e = format_parse(store, bytes_of(text, len), out, why);
	free(text);
	return e;
}

static enum err remove_leftover(void *ctx, const struct store_object *object, struct error *why)
{
	return is_leftover(object->key) ? store_remove(ctx, object->key, why) : ERR_NONE;
}

/* Slots by their secrets, then FORMAT, whose appearance makes it a repository. */
static enum err put_repository(const struct repository *r, const struct repository_init *init,
			       struct error *why)
{
	char id[2 * REPOSITORY_ID_BYTES + 1], created[TIME_TEXT_MAX];
	struct writer body;
	enum err e;

	e = keyring_put_slot(r->keyring, r->env, r->store,
			     init->secret != NULL ? init->slot_name : clear_slot, init->secret,
			     why);
	if (e == ERR_NONE && init->recovery != NULL)
		e = keyring_put_slot(r->keyring, r->env, r->store, recovery_slot, init->recovery,
				     why);
	if (e != ERR_NONE)
		return e;
	writer_init(&body, RECORD_BYTES_MAX);
	text_of_hex(bytes_of(r->id, sizeof(r->id)), id);
	time_to_text(clock_now_us(r->env->clock), created);
	lines_put(&body, "repository", id);
	lines_put(&body, "format", "1");
	lines_put(&body, "requires", "-");
	lines_put(&body, "encryption", r->encryption == ENCRYPTION_NONE ? "none" : "aes-256-gcm");
	lines_put(&body, "page-tag", r->tag_kind == PAGE_TAG_HMAC ? "hmac" : "gmac");
	lines_put(&body, "created", created);
	lines_put(&body, "created-by", "pgagent " PGAGENT_VERSION);
	lines_put(&body, "read-me",
		  "Backups of PostgreSQL made by pgagent. Objects here are written once and never "
		  "changed; remove them with pgagent only. docs/1/FORMAT.md describes every byte, "
		  "and docs/1/reader.py reads them without pgagent: python3 docs/1/reader.py "
		  "--help");
	if (body.bad)
		e = error_set(why, ERR_MEMORY, "cannot make FORMAT: out of memory");
	else
		e = record_put(r, format_key, "format", writer_view(&body), why);
	writer_release(&body);
	return e;
}

/* The key set of a new family, or the one of a sibling, which stays the sibling's. */
static enum err init_keys(struct repository *r, const struct repository_init *init,
			  struct keyring **made, struct error *why)
{
	enum err e;

	if (init->adopt != NULL) {
		memcpy(r->id, keyring_repository_id(init->adopt), sizeof(r->id));
		r->keyring = (struct keyring *)(uintptr_t)init->adopt; /* only read from here on */
	} else {
		e = random_fill(r->env->random, r->id, sizeof(r->id), why);
		if (e == ERR_NONE)
			e = keyring_new(r->env->random, r->id, made, why);
		if (e != ERR_NONE)
			return e;
		r->keyring = *made;
	}
	return keyring_clear_key(r->keyring, r->clear_key, why);
}

/* Two inits at the same time may remove each other's slots; who put FORMAT looks again. */
static enum err init_prove(const struct env *env, struct store *store,
			   const struct repository_init *init, struct error *why)
{
	struct repository *opened = NULL;
	enum err e = repository_open(env, store, init->secret, &opened, why);

	repository_close(opened);
	if (e == ERR_NONE)
		return e;
	error_hint(why,
		   "another init may have run at the same time: empty %s and run `pgagent "
		   "init` again",
		   store->label);
	return error_add(why, "the new repository does not open");
}

enum err repository_init(const struct env *env, struct store *store,
			 const struct repository_init *init, struct error *why)
{
	struct repository r = {.env = env, .store = store, .encryption = init->encryption};
	struct keyring *made = NULL;
	bool exists = false;
	enum err e;

	assert(init->secret != NULL ? init->slot_name != NULL
				    : init->encryption == ENCRYPTION_NONE);
	r.tag_kind = init->encryption == ENCRYPTION_NONE ? PAGE_TAG_HMAC : PAGE_TAG_GMAC;
	e = repository_exists(store, &exists, why);
	if (e == ERR_NONE && exists) {
		e = error_set(why, ERR_EXISTS, "there is a repository in %s already", store->label);
		error_hint(why, "look at it with: pgagent list");
	}
	if (e == ERR_NONE)
		e = store_probe(store, env->random, why);
	if (e == ERR_NONE)
		e = store_list(store, "", remove_leftover, store, why);
	if (e == ERR_NONE)
		e = init_keys(&r, init, &made, why);
	if (e == ERR_NONE)
		e = put_repository(&r, init, why);
	if (e == ERR_NONE)
		e = init_prove(env, store, init, why);
	keyring_free(made);
	explicit_bzero(r.clear_key, sizeof(r.clear_key));
	return e;
}

/* The keyring is open: FORMAT is genuine and belongs to it. */
static enum err open_checked(struct repository *r, struct bytes text, struct error *why)
{
	struct repository_format format;
	struct bytes body;
	enum err e;

	e = keyring_clear_key(r->keyring, r->clear_key, why);
	if (e == ERR_NONE)
		e = record_check(r->clear_key, format_key, "format", text, &body, why);
	if (e == ERR_NONE)
		e = format_parse(r->store, text, &format, why);
	if (e != ERR_NONE)
		return e;
	if (memcmp(format.id, keyring_repository_id(r->keyring), sizeof(format.id)) != 0)
		return error_set(why, ERR_CORRUPT,
				 "FORMAT in %s is damaged: its repository id is not that of the "
				 "key slots",
				 r->store->label);
	memcpy(r->id, format.id, sizeof(r->id));
	r->encryption = format.encryption;
	r->tag_kind = format.tag_kind;
	return ERR_NONE;
}

enum err repository_open(const struct env *env, struct store *store,
			 const struct key_secret *secret, struct repository **out,
			 struct error *why)
{
	struct repository_format format;
	struct repository *r = NULL;
	uint8_t *text = NULL;
	size_t len = 0;
	struct error format_why = {.kind = ERR_NONE};
	enum err format_e, e;

	e = format_read(store, &text, &len, why);
	if (e != ERR_NONE)
		return e;
	r = calloc(1, sizeof(*r));
	if (r == NULL) {
		e = error_set(why, ERR_MEMORY, "cannot open the repository: out of memory");
		goto out;
	}
	r->env = env;
	r->store = store;
	/* A version that is not known may seal its slots in another way: then it is the news.  With
	 * the slots open the hmac decides first, so that damage is not taken for a new version. */
	format_e = format_parse(store, bytes_of(text, len), &format, &format_why);
	e = keyring_open(store, secret, &r->keyring, NULL, why);
	if (e != ERR_NONE && format_e != ERR_NONE) {
		e = format_e;
		if (why != NULL)
			*why = format_why;
	} else if (e == ERR_WRONG_KEY && secret != NULL && format.encryption == ENCRYPTION_NONE) {
		error_hint(why, "this repository is not encrypted: try without a key");
	}
	if (e == ERR_NONE)
		e = open_checked(r, bytes_of(text, len), why);
	if (e == ERR_NONE) {
		*out = r;
		r = NULL;
	}
out:
	repository_close(r);
	free(text);
	return e;
}

void repository_close(struct repository *r)
{
	if (r == NULL)
		return;
	keyring_free(r->keyring);
	explicit_bzero(r, sizeof(*r));
	free(r);
}

void repositories_agree(struct repository *const *r, size_t count, bool *behind)
{
	bool differ = false;

	for (size_t i = 0; i < count; i++) {
		const struct keyring *own = r[i]->keyring;
		uint32_t epoch = keyring_epoch(own), common;

		for (size_t j = 0; j < count; j++) {
			if (memcmp(r[i]->id, r[j]->id, REPOSITORY_ID_BYTES) != 0)
				continue;
			common = keyring_common_epoch(own, r[j]->keyring);
			differ = differ || common != keyring_epoch(r[j]->keyring) ||
				 common != keyring_epoch(own);
			epoch = common < epoch ? common : epoch;
		}
		r[i]->seals_in = epoch;
	}
	if (behind != NULL)
		*behind = differ;
}
