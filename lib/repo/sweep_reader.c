/* repo/sweep_reader.c - what a reader asks before it counts on WAL behind its backup's own. */
#include "pgformat/history.h"
#include "repo/sweep.h"
#include "repo/wal_gaps.h"

#include <string.h>

static enum err is_sweep_under_way(const struct cluster *c, bool *out, struct error *why)
{
	struct pins pins;
	enum err e = pins_read(c, &pins, why);

	*out = false;
	for (size_t i = 0; e == ERR_NONE && i < pins.count; i++)
		*out = *out || pins.pin[i].unreadable || strcmp(pins.pin[i].kind, PIN_SWEEP) == 0;
	pins_release(&pins);
	return e;
}

/* Whether a path that goes from one LSN to another comes through the gap. */
static bool comes_through(const struct history *path, const struct wal_gap *gap, struct lsn from,
			  struct lsn to)
{
	struct lsn begin, end;

	if (!history_has(path, gap->timeline, &begin, &end))
		return false;
	if (begin.value < from.value)
		begin = from;
	if (end.value > to.value)
		end = to;
	return gap->from.value < end.value && gap->to.value > begin.value;
}

enum err sweep_threatens(const struct cluster *c, const struct history *path, struct lsn from,
			 struct lsn to, bool *out, struct error *why)
{
	struct wal_gaps gaps;
	bool under_way, threatens = false;
	enum err e = is_sweep_under_way(c, &under_way, why);

	if (e != ERR_NONE || !under_way) {
		*out = false;
		return e;
	}
	e = wal_gaps_read(c, &gaps, why);
	for (size_t i = 0; e == ERR_NONE && i < gaps.count; i++)
		threatens = threatens || comes_through(path, &gaps.gap[i], from, to);
	wal_gaps_release(&gaps);
	if (e == ERR_NONE)
		*out = threatens;
	return e;
}
