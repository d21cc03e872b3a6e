/* commands/check_repository.c - each repository's links: store, keys, space, whose it is. */
#include "commands/check.h"
#include "repo/decision.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SLOTS_MIN = 2 };

/* "repository NAME (PATH): ", in front of what failed. */
static void fail(struct check *c, const struct place *place, const char *code, struct error *why)
{
	(void)error_add(why, "repository %s (%s)", place_name(place), place->config->path);
	c->repository_failed = true;
	check_fail(c, code, why);
}

struct slots_seen {
	size_t current; /* that open what is written now */
	uint32_t epoch; /* the newest */
};

static enum err count_slot(void *ctx, const struct slot_info *info, struct error *why)
{
	struct slots_seen *seen = ctx;

	(void)why; /* nothing here can fail */
	if (info->epoch > seen->epoch) {
		seen->epoch = info->epoch;
		seen->current = 0;
	}
	seen->current += info->epoch == seen->epoch;
	return ERR_NONE;
}

static void check_slots(struct check *c, const struct place *place)
{
	struct error why;
	struct slots_seen seen = {.current = 0};

	if (key_slots_list(place->store, count_slot, &seen, &why) != ERR_NONE)
		fail(c, place, "key_slots", &why);
	else if (seen.current < SLOTS_MIN)
		check_say(c, CHECK_WARNING, "key_slots", "pgagent key add --recovery-code",
			  "repository %s has %zu key slot(s) that open what is written now: when "
			  "that key is lost, so is all of it",
			  place_name(place), seen.current);
	else
		check_say(c, CHECK_OK, "key_slots",
			  "try the written code: pgagent key test --stdin", "repository %s has %zu",
			  place_name(place), seen.current);
}

/* Whether the key opens it; leaves place->repository NULL when not. */
static void check_key(struct check *c, struct place *place)
{
	struct repository_format format;
	struct key_secret secret = {.type = SLOT_CLEAR};
	bool has = false;
	struct error why;
	enum err e = repository_peek(place->store, &format, &why);

	if (e == ERR_MISSING) {
		error_hint(&why,
			   "look whether its file system is mounted; a repository that was never "
			   "made: pgagent init");
		fail(c, place, "repository", &why);
		return;
	}
	if (e == ERR_NONE && format.encryption != ENCRYPTION_NONE) {
		e = place_secret(c->agent, place->config, &secret, &has, &why);
		/* No usable key and a foreign one come to the same: nothing can be decrypted. */
		c->wrong_key = c->wrong_key || e != ERR_NONE;
	}
	if (e == ERR_NONE)
		e = repository_open(&c->agent->env, place->store, has ? &secret : NULL,
				    &place->repository, &why);
	key_secret_release(&secret);
	if (e != ERR_NONE) {
		place->repository = NULL;
		fail(c, place, "key", &why);
		return;
	}
	if (format.encryption == ENCRYPTION_NONE) {
		check_say(c, CHECK_OK, "key", NULL, "repository %s is not encrypted",
			  place_name(place));
		return;
	}
	check_say(c, CHECK_OK, "key", NULL, "repository %s opens", place_name(place));
	check_slots(c, place);
}

struct others {
	const char *name;
	uint64_t own;
	bool has_own, has_other;
};

static enum err see_cluster(void *ctx, const char *name, uint64_t system, struct error *why)
{
	struct others *o = ctx;

	(void)why; /* nothing here can fail */
	if (strcmp(name, o->name) == 0) {
		o->has_own = o->has_own || system == o->own;
		o->has_other = o->has_other || system != o->own;
	}
	return ERR_NONE;
}

/* A server that was made anew under an old name must not go on in the old one's history. */
static void check_identity(struct check *c, const struct place *place)
{
	struct others o = {.name = c->config->section.name, .own = c->system_identifier};
	struct error why;

	if (!c->has_system)
		return;
	if (clusters_list(place->repository, see_cluster, &o, &why) != ERR_NONE)
		fail(c, place, "system_identifier", &why);
	else if (o.has_other && !o.has_own)
		check_say(c, CHECK_ERROR, "system_identifier",
			  "after pg_upgrade or initdb: pgagent init --upgrade; else conninfo leads "
			  "to another server than it should",
			  "repository %s knows cluster %s under another system identifier than "
			  "%" PRIu64,
			  place_name(place), o.name, o.own);
	else
		check_say(c, CHECK_OK, "system_identifier", NULL, "repository %s %s",
			  place_name(place),
			  o.has_own ? "knows this server" : "gets to know it by the first backup");
	if (o.has_other && !o.has_own) {
		c->only_config = false;
		c->repository_failed = true;
	}
}

/* Whether it can be written.  A look leaves nothing behind, not even the versions that a bucket may keep of what
 * was removed: those of every minute would be many. */
static void check_written(struct check *c, const struct place *place)
{
	struct error why;
	enum err e;

	if (c->quiet) {
		check_say(c, CHECK_UNPROVEN, "repository", "pgagent check",
			  "%s (%s): that it can be written; --nagios does not", place_name(place),
			  place->config->path);
		return;
	}
	e = store_probe(place->store, c->agent->env.random, &why);
	if (e == ERR_NONE) {
		check_say(c, CHECK_OK, "repository", NULL,
			  "%s (%s): written, read back, listed, removed", place_name(place),
			  place->config->path);
		return;
	}
	if (e == ERR_DENIED && why.hint[0] == '\0')
		error_hint(&why,
			   "give the directory to the user that runs pgagent and the "
			   "server: chown -R postgres %s",
			   place->config->path);
	fail(c, place, "repository", &why);
}

static void check_place(struct check *c, struct place *place)
{
	struct repository_format format;
	struct newest_backup newest;
	struct error why;
	enum err e = place_open_store(c->agent, place->config, false, &place->store, &why);

	if (e != ERR_NONE) {
		place->store = NULL;
		fail(c, place, "repository", &why);
		return;
	}
	/* A directory that is no repository may be anybody's: nothing is written there. */
	if (repository_peek(place->store, &format, &why) == ERR_MISSING) {
		error_hint(&why,
			   "a new repository: pgagent init; else look whether its file system "
			   "is mounted");
		fail(c, place, "repository", &why);
	} else {
		check_written(c, place);
		check_key(c, place);
	}
	check_newest(c, place, &newest);
	check_space(c, place, &newest);
	if (place->repository != NULL) {
		check_identity(c, place);
		check_backup(c, place, &newest);
	}
}

void check_repositories(struct check *c)
{
	const struct config_repo *repos[PLACES_MAX];
	size_t count = 0;
	struct error why;

	if (config_select_repos(&c->agent->config, c->config, &c->agent->options, repos, PLACES_MAX,
				&count, &why) != ERR_NONE) {
		check_fail(c, "repository", &why);
		return;
	}
	c->places.count = count;
	for (size_t i = 0; i < count; i++) {
		c->places.place[i] = (struct place){.config = repos[i]};
		check_place(c, &c->places.place[i]);
	}
}
