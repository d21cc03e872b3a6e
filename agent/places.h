/* places.h - the repositories a command works on, opened with their keys. */
#ifndef PLACES_H
#define PLACES_H

#include "agent.h"
#include "repo/repository.h"

enum { PLACES_MAX = 8 };

struct place {
	const struct config_repo *config; /* lives as long as the configuration */
	struct store *store;
	struct repository *repository; /* NULL until opened */
};

struct places {
	struct place place[PLACES_MAX];
	size_t count;
	size_t silent;           /* left out by places_open_to_read, each with a warning */
	struct error why_silent; /* of the first of them */
};

/* NAME of [repo:NAME], or the path or URL that --repo gave; for messages. */
const char *place_name(const struct place *);

/* Whether it is the path that --repo gave: no section of the configuration, and nowhere called so again. */
bool place_is_adhoc(const struct agent *, const struct config_repo *);

/* Whether its configuration names a key. */
bool place_wants_key(const struct config_repo *);

/* What opens a repository according to its configuration: *has = false for `encryption = none`.
 * ERR_CONFIG when nothing is configured, ERR_MISSING when the file is not there. */
enum err place_secret(const struct agent *, const struct config_repo *, struct key_secret *out,
		      bool *has, struct error *why) MUST_CHECK;

/* The store alone, without a key; `create` makes the directory. */
enum err place_open_store(const struct agent *, const struct config_repo *, bool create,
			  struct store **out, struct error *why) MUST_CHECK;

/* What is in the store, before any key.  ERR_MISSING: no repository; the hint says where one may be. */
enum err place_peek(const struct agent *, const struct place *, struct repository_format *out,
		    struct error *why) MUST_CHECK;

/* The hint "BEFORE: pgagent key list ..." of this one. */
void place_hint_slots(const struct agent *, const struct place *, const char *before,
		      struct error *why);

/* Store and repository of every selected one (config_select_repos).  `cluster` may be NULL: all that
 * are configured, or what --repo says.  All or nothing.  Never ERR_MISSING: a repository that is not
 * there is ERR_TRANSIENT, a key file ERR_CONFIG. */
enum err places_open(struct agent *, const struct config_cluster *cluster, struct places *out,
		     struct error *why) MUST_CHECK;
/* What can't be opened is left out with a warning, as another may have what is
 * wanted.  The first failure when none can be opened. */
enum err places_open_to_read(struct agent *, const struct config_cluster *cluster,
			     struct places *out, struct error *why) MUST_CHECK;
/* One more, at the end of `out`, which the caller closes also after a failure.  As places_open. */
enum err places_add(struct agent *, const struct config_repo *, struct places *out,
		    struct error *why) MUST_CHECK;
void places_close(struct places *);

#endif
