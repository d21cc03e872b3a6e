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
	unsigned places; /* bit i: place i has it */
	/* By catalog_read_verified; 0 = not known: */
	int64_t verified_us; /* last proven whole */
	int64_t damaged_us; /* the latest that one of these was found damaged, and not whole since */
	unsigned damaged_places; /* bit i: in place i */
};

/* A backup that can't be read in some places.  Where another has it whole it is an entry, too. */
struct catalog_damage {
	struct attempt attempt;
	uint64_t system_identifier;
	char cluster[CLUSTER_NAME_MAX];
	bool keep;       /* by a mark beside it */
	unsigned places; /* bit i: damaged in place i */
	char text[ERROR_TEXT_MAX];
};

/* WAL that verify found damaged, as far as told: the last by its position, of how many. */
struct catalog_wal_damage {
	size_t count;
	uint64_t system_identifier;
	uint32_t timeline;
	struct lsn end; /* of the segment */
	unsigned place; /* its bit */
	int64_t us;     /* when it was found */
	char segment[WAL_NAME_MAX];
};

struct catalog {
	struct catalog_entry *entry; /* oldest first */
	size_t count, capacity;
	struct catalog_damage *damage; /* in the order of their ids */
	size_t damages;
	struct catalog_wal_damage wal_damage; /* by catalog_read_verified */
};

/* `name` NULL = every cluster.  On failure the catalog is empty.  What is damaged is no failure: each is
 * told as a warning. */
enum err catalog_read(const struct places *, const char *name, struct catalog *out,
		      struct error *why) MUST_CHECK;
/* The same of one place alone, hidden ones too; bit `index` is set, and nothing is told of damage. */
enum err catalog_read_place(const struct places *, size_t index, const char *name,
			    struct catalog *out, struct error *why) MUST_CHECK;
/* Fills in when each was last proven whole or found damaged, by the records of verification in all its
 * places. */
enum err catalog_read_verified(const struct places *, struct catalog *,
			       struct error *why) MUST_CHECK;
void catalog_release(struct catalog *);

/* By id, a beginning of it that only one has, or "latest" of those that can be read.  ERR_MISSING:
 * none; ERR_CONFIG: several; ERR_CORRUPT: it can be read nowhere.  `out` lives as long as the
 * catalog. */
enum err catalog_find(const struct catalog *, const char *text, const struct catalog_entry **out,
		      struct error *why) MUST_CHECK;

/* Where one backup is, readable or not. */
struct catalog_named {
	struct attempt attempt;
	uint64_t system_identifier;
	const char *cluster; /* as long as the catalog */
	unsigned places;
};
/* As catalog_find, for who needs no summary: never ERR_CORRUPT. */
enum err catalog_name(const struct catalog *, const char *text, struct catalog_named *out,
		      struct error *why) MUST_CHECK;

/* NULL: there is no such one. */
const struct catalog_entry *catalog_entry_of(const struct catalog *, uint64_t system_identifier,
					     const struct attempt *);
const struct catalog_damage *catalog_damage_of(const struct catalog *, uint64_t system_identifier,
					       const struct attempt *);

/* Names of the places whose bit is set, with ", " between. */
void catalog_places(const struct places *, unsigned bits, char *out, size_t size);

#endif
