/* wal/timelines.c - which timelines the archive has, and their histories. */
#include "wal/archive_internal.h"
#include "wal/salvage.h"

#include <stdlib.h>

enum err wal_archive_history(const struct env *env, const struct wal_archive *archive,
			     uint32_t timeline, struct history *out, struct error *why)
{
	struct wal_name name = {.kind = WAL_NAME_HISTORY, .timeline = timeline};
	uint8_t *text = NULL;
	size_t len = 0;
	enum err e;

	if (timeline == 1) {
		*out = (struct history){.timeline = 1};
		return ERR_NONE;
	}
	e = archive_read(env, archive, &name, 0, &text, &len, why);
	if (e == ERR_NONE)
		e = history_from_text(timeline, bytes_of(text, len), out, why);
	free(text);
	return e;
}

/* What would be salvaged may be a timeline of its own, or the first WAL of one. */
static enum err see_salvaged(const struct wal_archive *archive, wal_timeline_visit *visit,
			     void *ctx, struct error *why)
{
	uint32_t added = salvage_new_timeline(archive->salvage);
	const struct wal_salvage_found *found =
		archive->salvage != NULL ? wal_salvage_found(archive->salvage) : NULL;
	enum err e = ERR_NONE;

	if (added != 0)
		e = visit(ctx, added, true, why);
	if (e == ERR_NONE && found != NULL && found->answer == WAL_SALVAGE_FOUND)
		e = visit(ctx, found->timeline, false, why);
	return e;
}

enum err wal_archive_timelines(const struct wal_archive *archive, wal_timeline_visit *visit,
			       void *ctx, struct error *why)
{
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < archive->count; i++)
		e = wal_list_timelines(&archive->cluster[i], visit, ctx, why);
	return e == ERR_NONE ? see_salvaged(archive, visit, ctx, why) : e;
}
