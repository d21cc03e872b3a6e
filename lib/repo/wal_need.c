/* repo/wal_need.c - see wal_need.h. */
#include "repo/wal_need.h"

static bool needs(const struct wal_need *need, uint32_t timeline, const struct history *history,
		  uint64_t segno, uint32_t segment_bytes)
{
	uint64_t first = wal_segment_start(segno, segment_bytes).value;
	struct lsn begin, end;

	if (need->start.value >= first + segment_bytes)
		return false;
	if (need->stop.value != 0)
		return need->timeline == timeline && need->stop.value > first;
	if (need->timeline == timeline)
		return true;
	if (history == NULL)
		return need->timeline < timeline;
	return history_has(history, need->timeline, &begin, &end) && need->start.value < end.value;
}

bool wal_need_any(const struct wal_need *need, size_t count, uint32_t timeline,
		  const struct history *history, uint64_t segno, uint32_t segment_bytes)
{
	for (size_t i = 0; i < count; i++)
		if (needs(&need[i], timeline, history, segno, segment_bytes))
			return true;
	return false;
}
