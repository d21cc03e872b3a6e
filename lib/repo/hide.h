/* repo/hide.h - a backup that was asked to go: hidden first, and until its end is decided it may
 * come back (`hidden/<attempt>.<g>`, `....<g>.end`, `tombs/<attempt>`; FORMAT.md sections 2 and 3).
 *
 * The end of a generation is one create-if-absent key: of undelete and removal exactly one wins.
 */
#ifndef REPO_HIDE_H
#define REPO_HIDE_H

#include "repo/decision.h"

enum hide_state {
	HIDE_SHOWN = 0,  /* never hidden, or undeleted last */
	HIDE_HIDDEN = 1, /* asked to go; may be undeleted */
	HIDE_REMOVED = 2 /* its end is decided: being removed, or a tombstone is there */
};
enum { HIDE_GENERATIONS_MAX = 10000 };

struct hidden {
	enum hide_state state;
	uint32_t generation; /* of the newest hidden record; 0 also when there is none */
	bool has_record;
	bool tomb;
	int64_t since_us; /* HIDE_HIDDEN: when it was asked, by the asker's clock; microseconds since
			     1970 */
	bool by_policy;   /* HIDE_HIDDEN: nobody asked for it by name */
};

/* The reason that a policy gives: what it hides yields to a mark (keep.h). */
#define HIDE_BY_POLICY "no rule of the retention keeps it"

/* ERR_CORRUPT: a record about it is damaged. */
enum err hide_read(const struct cluster *, const struct attempt *, struct hidden *out,
		   struct error *why) MUST_CHECK;
/* ERR_EXISTS: it is hidden or being removed already.  Whether there is such a backup is not looked
 * at. */
enum err hide_backup(const struct cluster *, const struct attempt *, const char *reason,
		     struct error *why) MUST_CHECK;
/* ERR_MISSING: it is not hidden.  ERR_EXISTS: too late, it is being removed. */
enum err hide_undelete(const struct cluster *, const struct attempt *, const char *reason,
		       struct error *why) MUST_CHECK;
/* Decides the end as `removed`; again is success.  ERR_MISSING: it is not hidden (any more). */
enum err hide_decide_removed(const struct cluster *, const struct attempt *, const char *reason,
			     struct error *why) MUST_CHECK;
/* The tombstone; again is success.  Only after hide_decide_removed succeeded. */
enum err hide_put_tomb(const struct cluster *, const struct attempt *, const char *reason,
		       struct error *why) MUST_CHECK;
/* ERR_MISSING: a tombstone is there: nobody may begin to read or to refer to this backup.  What a
 * reader looks at after its pin, and a writer in W2. */
enum err hide_check_no_tomb(const struct cluster *, const struct attempt *,
			    struct error *why) MUST_CHECK;

/* Every attempt with a hidden record or a tombstone, ascending, each once. */
enum err hide_list(const struct cluster *,
		   enum err (*visit)(void *ctx, const struct attempt *, struct error *why),
		   void *ctx, struct error *why) MUST_CHECK;

#endif
