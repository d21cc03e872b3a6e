/* repo/renewal.h - what a backup stores again although its parent has it.  Pure.
 *
 * Old packs die by themselves this way: nothing is ever repacked, and a restore stays sequential.
 * Three reasons: (a) a pack of which less than half is used, (b) a copy older than the refresh period,
 * (c) a frame that verify found damaged.  (a) and (b) together are bounded in each run, least used
 * first, then oldest first, so that no backup stores half the database because many nights made
 * all packs half dead at once; (c) never waits.
 */
#ifndef REPO_RENEWAL_H
#define REPO_RENEWAL_H

#include "repo/manifest.h"

enum {
	/* At most this part of what the parent uses in one run, and one pack more.  2 % of random
	 * changes a night make a pack half dead in 35 nights: 1.4 % to renew a night. */
	RENEWAL_SHARE = 20,
	RENEWAL_ALIVE = 2, /* a pack less than 1/2 alive */
	/* Damaged frames that are told apart; of a pack with more all is stored again. */
	RENEWAL_FRAMES_MAX = 4096
};

struct renewal_policy {
	int64_t now_us;            /* since 1970 */
	int64_t since_last_us;     /* since the parent was taken: spreads what is old */
	int64_t refresh_period_us; /* 0 = nothing is too old */
};

struct renewal_frame { /* what verify flagged */
	struct pack_id pack;
	uint32_t ordinal;
};

struct renewal {
	bool *pack;   /* by index in the parent's table: all that lies there; owned */
	size_t packs; /* how many are true */
	struct renewal_frame *frame; /* owned; ascending */
	size_t frames;
};

/* Decides once for a run.  `flagged` (may be NULL) are frames in any order, of any pack; those the
 * parent does not use are dropped. */
enum err renewal_decide(const struct manifest *parent, const struct renewal_policy *,
			const struct renewal_frame *flagged, size_t n, struct renewal *out,
			struct error *why) MUST_CHECK;
void renewal_release(struct renewal *);

/* Whether pages in this frame, or a shard in it, are stored again.  Several threads may ask. */
bool renewal_wants(const struct renewal *, const struct manifest *parent, const struct pack_id *,
		   uint32_t ordinal);

#endif
