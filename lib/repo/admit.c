/* repo/admit.c - a new system identifier under an old name needs a person's word. */
#include "repo/admit.h"

#include <inttypes.h>

struct others {
	const char *name;
	uint64_t system; /* ours */
	uint64_t other;  /* one that is not, or 0 */
	bool known;
};

static enum err visit(void *ctx, const char *name, uint64_t system, struct error *why)
{
	struct others *o = ctx;

	(void)why;
	if (strcmp(name, o->name) != 0)
		return ERR_NONE;
	if (system == o->system)
		o->known = true;
	else
		o->other = system;
	return ERR_NONE;
}

enum err identity_admit(const struct cluster *cluster, const struct identity *identity,
			bool upgrade, struct error *why)
{
	struct others o = {.name = cluster->name, .system = cluster->system_identifier};
	struct identity known;
	enum err e = identity_read(cluster, &known, why);

	if (e == ERR_NONE)
		return identity_ensure(cluster, identity, why);
	if (e != ERR_MISSING)
		return e;
	e = clusters_list(cluster->repository, visit, &o, why);
	if (e != ERR_NONE)
		return e;
	if (o.other != 0 && !o.known && !upgrade) {
		(void)error_set(why, ERR_CONFIG,
				"the server has system identifier %" PRIu64
				", cluster %s in repository %s belongs to %" PRIu64,
				cluster->system_identifier, cluster->name,
				cluster->repository->store->label, o.other);
		error_hint(why,
			   "after pg_upgrade or initdb, to begin anew beside the old backups: "
			   "pgagent init --upgrade --cluster %s\nany other server needs a "
			   "[cluster:NAME] section of its own",
			   cluster->name);
		return ERR_CONFIG;
	}
	return identity_ensure(cluster, identity, why);
}
