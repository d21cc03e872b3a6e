/* restore/choose.c - which backup to start from.  Pure: it sees summaries, not the repository. */
#include "restore/restore_internal.h"

/* The path must not have left the backup's timeline before the backup ended. */
static bool is_on_path(const struct candidate *c, const struct history *path)
{
	struct lsn begin, end;

	return history_has(path, c->timeline, &begin, &end) && c->stop.value <= end.value;
}

/* Whether the target can lie behind this backup's end, as far as that is known. */
static bool is_before_target(const struct candidate *c, const struct choice *choice)
{
	switch (choice->kind) {
	case TARGET_LSN:
		return c->stop.value <= choice->lsn.value;
	case TARGET_TIME:
		return c->finished_us <= choice->time_us;
	case TARGET_XID:
		/* 32-bit numbers in a circle: older means behind in the nearer direction. */
		return !c->has_next_xid || (int32_t)(choice->xid - c->next_xid) >= 0;
	case TARGET_LATEST:
	case TARGET_BACKUP_END:
	case TARGET_NAME:
		break;
	}
	return true;
}

enum choice_answer choose_backup(const struct candidate *list, size_t n,
				 const struct choice *choice, size_t *found, size_t *earliest)
{
	bool known = false, on_path = false, fits = false;
	size_t first = 0, best = 0;

	for (size_t i = 0; i < n; i++) {
		if (choice->backup != NULL &&
		    attempt_compare(&list[i].attempt, choice->backup) != 0)
			continue;
		known = true;
		if (!is_on_path(&list[i], choice->path))
			continue;
		if (!on_path || list[i].stop.value < list[first].stop.value)
			first = i;
		on_path = true;
		if (!is_before_target(&list[i], choice))
			continue;
		/* The later a backup ends, the less has to be replayed. */
		if (!fits || list[i].stop.value >= list[best].stop.value)
			best = i;
		fits = true;
	}
	if (!known && choice->backup != NULL)
		return CHOICE_UNKNOWN_BACKUP;
	if (!on_path)
		return CHOICE_OFF_PATH;
	*earliest = first;
	/* An xid has no bound check: where none fits by its number, the oldest has the best chance. */
	if (!fits && choice->kind == TARGET_XID) {
		best = first;
		fits = true;
	}
	if (!fits)
		return CHOICE_TOO_EARLY;
	*found = best;
	return CHOICE_FOUND;
}
