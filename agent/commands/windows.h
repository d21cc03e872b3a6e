/* commands/windows.h - which moments can be restored: per timeline, from the end of a backup to
 * where the WAL behind it ends without a gap.
 */
#ifndef COMMANDS_WINDOWS_H
#define COMMANDS_WINDOWS_H

#include "commands/catalog.h"
#include "wal/archive.h"

enum { WINDOWS_MAX = 64, WINDOW_GAPS_MAX = 64 };

struct window_gap {
	struct lsn from, to; /* to = 0: not known */
	bool by_retention; /* what is missing was removed behind a backup that is kept for itself alone */
};

struct window {
	uint64_t system_identifier;
	uint32_t timeline;
	bool entered;    /* from another timeline, whose backup it begins with */
	int64_t from_us; /* end of its first backup; entered: when it began, 0 = not known */
	struct lsn from; /* first position that can be restored */
	struct lsn to;   /* behind the last record */
	int64_t latest_commit_us; /* 0 = none was seen in the last segments */
	struct window_gap gap[WINDOW_GAPS_MAX];
	size_t gaps; /* those beyond the bound are left out */
};

/* Where restores of a timeline may begin, in order of `start`, and how far each comes. */
struct window_entry {
	int64_t finished_us; /* entered: when the timeline began */
	struct lsn start, stop;
	bool entered; /* where the path comes from another timeline; no backup ends here */
	bool reached; /* `reach` is set; false: lies within the one before */
	struct wal_reach reach;
	struct lsn next;   /* where WAL goes on behind the hole of `reach`; 0 = unknown */
	bool by_retention; /* that hole */
};

/* Pure: one window out of the entries of one timeline; count >= 1 and entry[0].reached. */
void window_merge(uint32_t timeline, const struct window_entry *, size_t count, struct window *out);

/* Pure: until when, so that it never lies before `from_us`: without a commit since, that is all there is.  0 =
 * not known. */
int64_t window_to_us(const struct window *);

/* Pure: whether the position lies in a window of that system and timeline, and in none of its gaps. */
bool windows_hold(const struct window *, size_t count, uint64_t system_identifier,
		  uint32_t timeline, struct lsn);

/* The windows of one system's part of a cluster, by timeline.  Backups whose own WAL is not there
 * are in no window.  `out` has room for WINDOWS_MAX. */
enum err windows_read(const struct env *, const struct wal_archive *, const struct catalog *,
		      uint64_t system_identifier, struct window *out, size_t *count,
		      struct error *why) MUST_CHECK;

/* The windows of every system identifier that the backups have, oldest first, in new memory (also after
 * a failure); free() it. */
enum err windows_read_all(const struct env *, const struct places *, const char *name,
			  const struct catalog *, struct window **out, size_t *count,
			  struct error *why) MUST_CHECK;

#endif
