/* repo/sweep_reader.c - what a reader asks before it counts on WAL behind its backup's own. */
#include "pgformat/history.h"
#include "repo/sweep_internal.h"
#include "repo/wal_gaps.h"

/* One that is under way; its holder is "" where none is. */
static enum err find_sweep(const struct cluster *c, struct pin_seen *out, struct error *why)
{
	struct pins pins;
	enum err e = pins_read(c, &pins, why);

	*out = (struct pin_seen){.n = 0};
	for (size_t i = 0; e == ERR_NONE && i < pins.count; i++)
		if (sweep_is_under_way(&pins.pin[i]))
			*out = pins.pin[i];
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
			 struct lsn to, struct pin_seen *by, struct error *why)
{
	struct wal_gaps gaps;
	struct pin_seen sweep;
	bool threatens = false;
	enum err e = find_sweep(c, &sweep, why);

	if (e == ERR_NONE)
		*by = (struct pin_seen){.n = 0};
	if (e != ERR_NONE || sweep.holder[0] == '\0')
		return e;
	e = wal_gaps_read(c, &gaps, why);
	for (size_t i = 0; e == ERR_NONE && i < gaps.count; i++)
		threatens = threatens || comes_through(path, &gaps.gap[i], from, to);
	wal_gaps_release(&gaps);
	if (e == ERR_NONE && threatens)
		*by = sweep;
	return e;
}
