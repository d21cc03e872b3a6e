/* repo/wal_need.h - which WAL backups need.  Pure. */
#ifndef REPO_WAL_NEED_H
#define REPO_WAL_NEED_H

#include "pgformat/history.h"

/* What a restore from one backup replays. */
struct wal_need {
	uint32_t timeline;
	struct lsn start;
	struct lsn
		stop; /* behind its last byte; 0 = all there is, on every timeline that leads on */
};

/* Whether one of them needs a segment of `timeline`.  `history` leads to it; NULL = not known: every
 * lower timeline may. */
bool wal_need_any(const struct wal_need *, size_t count, uint32_t timeline,
		  const struct history *history, uint64_t segno, uint32_t segment_bytes);

#endif
