/* commands/catalog.h - the backups of a cluster in all opened repositories, each named once.
 *
 * A cluster of one name may have several system identifiers (pg_upgrade, initdb): all of them are
 * in the catalog.
 */
#ifndef COMMANDS_CATALOG_H
#define COMMANDS_CATALOG_H

#include "places.h"
#include "repo/decision.h"

struct catalog_entry {
	struct summary summary; /* without tablespaces and names of bad files */
	bool hidden, keep;
	uint64_t manifest_bytes;
	unsigned places;     /* bit i: place i has it */
	int64_t verified_us; /* last proven whole; 0 = not known (catalog_read_verified) */
};

struct catalog {
	struct catalog_entry *entry; /* oldest first */
	size_t count, capacity;
};

/* `name` NULL = every cluster.  On failure the catalog is empty. */
enum err catalog_read(const struct places *, const char *name, struct catalog *out,
		      struct error *why) MUST_CHECK;
/* The same of one place alone; bit `index` is set. */
enum err catalog_read_place(const struct places *, size_t index, const char *name,
			    struct catalog *out, struct error *why) MUST_CHECK;
/* Fills in when each was last proven whole, by the records of verification in all its places. */
enum err catalog_read_verified(const struct places *, struct catalog *,
			       struct error *why) MUST_CHECK;
void catalog_release(struct catalog *);

/* By id, a beginning of it that only one has, or "latest".  ERR_MISSING: none; ERR_CONFIG: several.
 * `out` lives as long as the catalog. */
enum err catalog_find(const struct catalog *, const char *text, const struct catalog_entry **out,
		      struct error *why) MUST_CHECK;

/* Names of the places that have it, with ", " between. */
void catalog_places(const struct places *, const struct catalog_entry *, char *out, size_t size);

#endif
