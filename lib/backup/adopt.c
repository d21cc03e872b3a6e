/* backup/adopt.c - finds the backup whose pages the run may share: candidates before W1, so that the
 * first pin can name one; the proof after it (W2).
 */
#include "backup/backup_internal.h"
#include "wal/archive.h"

#include <stdlib.h>

/* From the server, which nearly always has the file; else from the archive. */
static enum err read_history(struct adoption *a, struct error *why)
{
	struct wal_archive archive = {.count = a->clusters};
	uint8_t *text = NULL;
	size_t len = 0;
	enum err e;

	a->history = (struct history){.timeline = a->timeline};
	if (a->timeline <= 1)
		return ERR_NONE;
	e = replication_history(a->session, a->timeline, &text, &len, why);
	if (e == ERR_NONE)
		e = history_from_text(a->timeline, bytes_of(text, len), &a->history, why);
	free(text);
	if (e == ERR_NONE)
		return ERR_NONE;
	for (size_t i = 0; i < a->clusters; i++)
		archive.cluster[i] = a->cluster[i];
	return wal_archive_history(a->env, &archive, a->timeline, &a->history, why);
}

enum err adopt_find(struct adoption *a, struct error *why)
{
	a->candidates = 0;
	if (read_history(a, why) != ERR_NONE) {
		observer_event(a->env->observer, LEVEL_WARNING,
			       "the history of timeline %u is not to be had, every page is stored "
			       "anew: %s",
			       a->timeline, why->text);
		return ERR_NONE;
	}
	return parent_candidates(&a->cluster[0], &a->history, a->candidate, &a->candidates, why);
}

enum err adopt_prove(const struct adoption *a, struct keeper *keeper, struct parent_map **out,
		     struct error *why)
{
	*out = NULL;
	for (size_t i = 0; i < a->candidates && *out == NULL; i++) {
		char name[ATTEMPT_TEXT_MAX];
		struct manifest *manifest = NULL;
		enum err e = ERR_NONE;

		if (i > 0)
			e = keeper_set_backup(keeper, &a->candidate[i], why);
		if (e != ERR_NONE)
			return e;
		e = parent_prove(a->cluster, a->clusters, &a->candidate[i], &manifest, why);
		if (e == ERR_NONE)
			e = parent_map_open(&a->cluster[0], manifest, out, why);
		if (e == ERR_NONE)
			break;
		if (e != ERR_MISSING && e != ERR_CORRUPT && e != ERR_WRONG_KEY)
			return e;
		attempt_to_text(&a->candidate[i], name);
		observer_event(a->env->observer, LEVEL_WARNING,
			       "backup %s can't be the parent, an older one is tried: %s", name,
			       why->text);
	}
	return ERR_NONE;
}
