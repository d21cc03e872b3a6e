/* repo/renewal.h - what a backup stores again although its parent has it.  No I/O.
 *
 * Old packs die by themselves this way: nothing is ever repacked, and a restore stays sequential.
 * Three reasons: (a) a pack of which less than half is used, (b) a copy older than the refresh period,
 * (c) a pack in which verify found damage.  (a) and (b) together are bounded in each run, least used
 * first, then oldest first, so that no backup stores half the database because many nights made
 * all packs half dead at once; (c) never waits.
 */
#ifndef REPO_RENEWAL_H
#define REPO_RENEWAL_H

#include "repo/verified.h"

enum {
	/* At most this part of what the parent uses in one run, and one pack more.  2 % of random
	 * changes a night make a pack half dead in 35 nights: 1.4 % to renew a night. */
	RENEWAL_SHARE = 20,
	RENEWAL_ALIVE = 2, /* a pack less than 1/2 alive */
};

struct renewal_policy {
	int64_t now_us;            /* since 1970 */
	int64_t since_last_us;     /* since the parent was taken: spreads what is old */
	int64_t refresh_period_us; /* 0 = nothing is too old */
};

struct renewal {
	bool *pack;      /* by index in the parent's table: all that lies there; owned */
	size_t packs;    /* how many are true */
	bool has_damage; /* a pack of the parent holds some: its pages have to come from the server */
};

/* Decides (a) and (b) once for a run. */
enum err renewal_decide(const struct manifest *parent, const struct renewal_policy *,
			struct renewal *out, struct error *why) MUST_CHECK;
/* What verify found in one of the repositories, for (c): damage in one is reason enough.  The whole pack
 * is stored again, so that the next backup does not refer to it any more. */
void renewal_add_damage(struct renewal *, const struct manifest *parent, const struct verified *);
void renewal_release(struct renewal *);

/* Whether what lies in this pack is stored again. */
bool renewal_wants(const struct renewal *, const struct manifest *parent, const struct pack_id *);

#endif
