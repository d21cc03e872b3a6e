/* repo/verified_internal.h - making a record of verification, for the run that writes it. */
#ifndef REPO_VERIFIED_INTERNAL_H
#define REPO_VERIFIED_INTERNAL_H

#include "repo/verified.h"

struct verified_packs { /* proven, first to last */
	struct attempt attempt;
	uint32_t first, last;
	int64_t us;
};

struct verified_backup {
	struct attempt attempt;
	int64_t maps_us;   /* 0 = not all yet */
	int64_t whole_us;  /* 0 = damaged or not known */
	int64_t stated_us; /* of this statement */
	uint64_t records;  /* of the file table, from its front, that are done */
};

struct verified_wal {
	uint32_t timeline, segment_bytes;
	uint64_t first, last;
	int64_t us;
};

/* Found damaged, and not whole since. */
struct verified_hit {
	struct attempt attempt;
	int64_t us;        /* when that was found first */
	int64_t stated_us; /* of this statement */
};

struct verified_damage {
	struct pack_id pack;
	uint32_t ordinal, offset; /* or VERIFIED_ALL */
	int64_t us;
};

/* A growing array of one kind of entry. */
struct verified_list {
	void *at; /* owned */
	size_t count, max;
};

struct verified {
	struct verified_list packs; /* of struct verified_packs, by attempt, then first */
	struct verified_list
		backups; /* of struct verified_backup, by attempt, newest statement last */
	struct verified_list hits;   /* of struct verified_hit, in the same order */
	struct verified_list wal;    /* of struct verified_wal */
	struct verified_list lost;   /* of struct verified_segment, in order */
	struct verified_list damage; /* of struct verified_damage, by pack, ordinal, offset */
	struct verified_list read;   /* of struct attempt: the objects all this is from */
};

struct verified *verified_new(void); /* empty; NULL = no memory */
enum err verified_add_packs(struct verified *, const struct verified_packs *,
			    struct error *why) MUST_CHECK;
enum err verified_add_backup(struct verified *, const struct verified_backup *,
			     struct error *why) MUST_CHECK;
enum err verified_add_hit(struct verified *, const struct verified_hit *,
			  struct error *why) MUST_CHECK;
enum err verified_add_wal(struct verified *, const struct verified_wal *,
			  struct error *why) MUST_CHECK;
/* Beyond VERIFIED_DAMAGE_MAX it is not remembered. */
enum err verified_add_segment(struct verified *, const struct verified_segment *,
			      struct error *why) MUST_CHECK;
enum err verified_add_damage(struct verified *, const struct verified_damage *,
			     struct error *why) MUST_CHECK;
/* After the last one: sorts, and drops what is outdated. */
void verified_settle(struct verified *);
/* The newest statement about a backup, or NULL. */
const struct verified_backup *verified_find_backup(const struct verified *, const struct attempt *);
/* The newest statement that it is damaged, where none outdates it, or NULL. */
const struct verified_hit *verified_find_hit(const struct verified *, const struct attempt *);

/* A run, as its record tells of it. */
struct verified_run {
	struct attempt run;
	int64_t started_us, finished_us;
	bool complete;
	const struct attempt *only; /* NULL = the whole cluster */
};
/* Puts `verified/<run>`; then removes the objects that `before` was read from, best effort.  `now` is
 * settled. */
enum err verified_write(const struct cluster *, const struct verified_run *,
			const struct verified *now, const struct verified *before,
			struct error *why) MUST_CHECK;

/* The frames behind the first, pure: appends the entries of one frame; ERR_CORRUPT. */
enum err verified_decode(struct bytes frame, struct verified *, struct error *why) MUST_CHECK;

#endif
