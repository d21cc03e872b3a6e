/* repo/keep.h - a backup that somebody wants to stay: `keeps/<attempt>.<g>`, withdrawn by `....<g>.off`
 * (FORMAT.md sections 2 and 3).  What was asked for at its birth counts until the first of these.
 *
 * Who keeps puts his mark and then looks whether it was hidden; who hides by a policy puts his record and then
 * looks for a mark (expire).  So at least one of two that meet sees the other.
 */
#ifndef REPO_KEEP_H
#define REPO_KEEP_H

#include "repo/hide.h"

enum { KEEP_GENERATIONS_MAX = 10000 };

enum keep_mark {
	KEEP_NONE = 0, /* nobody said anything since its birth */
	KEEP_ON = 1,
	KEEP_OFF = 2
};
/* The last word beside the backup. */
enum err keep_read(const struct cluster *, const struct attempt *, enum keep_mark *out,
		   struct error *why) MUST_CHECK;
/* Marks it, or withdraws the mark; *changed is false when that was the last word already.  Whether there is
 * such a backup is not looked at.  ERR_EXISTS: the mark is there, but the backup was hidden before or
 * meanwhile; undelete brings it back. */
enum err keep_set(const struct cluster *, const struct attempt *, bool keep, const char *reason,
		  bool *changed, struct error *why) MUST_CHECK;

#endif
