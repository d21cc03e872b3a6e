/* wal/salvage_path.c - the timeline of a lost server, and whether it is one that the archive knows. */
#include "wal/archive_internal.h"
#include "wal/salvage_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t salvage_owner(const struct wal_salvage *s, uint64_t segno)
{
	const struct history *path = &s->path;
	uint64_t behind = (segno + 1) * s->source.segment_bytes;

	for (size_t i = path->count; i-- > 0;)
		if (path->entry[i].end.value < behind)
			return i + 1 < path->count ? path->entry[i + 1].timeline : path->timeline;
	return path->count > 0 ? path->entry[0].timeline : path->timeline;
}

/* One history file of the path; *known = the archive has it, too. */
static enum err check_history(struct wal_salvage *s, const struct wal_archive *archive,
			      uint32_t timeline, bool *known, struct error *why)
{
	const struct wal_name name = {.kind = WAL_NAME_HISTORY, .timeline = timeline};
	char text[WAL_NAME_MAX];
	uint8_t *stored = NULL;
	struct bytes own;
	size_t len = 0;
	enum err e = archive_read(s->local.env, archive, &name, 0, &stored, &len, why);

	*known = e == ERR_NONE;
	if (e == ERR_MISSING)
		return ERR_NONE;
	wal_name_to_text(&name, text);
	if (e == ERR_NONE &&
	    local_read(&s->local, text, HISTORY_FILE_MAX, &own, NULL) == ERR_NONE &&
	    (own.len != len || memcmp(own.data, stored, len) != 0)) {
		(void)snprintf(s->found.reason, sizeof(s->found.reason),
			       "the archive has another %s", text); /* fits */
		s->found.answer = WAL_SALVAGE_BRANCH;
	}
	free(stored);
	return e;
}

enum err salvage_find_path(struct wal_salvage *s, const struct wal_archive *archive,
			   struct error *why)
{
	uint32_t timeline = s->source.timeline;
	bool known = true;
	enum err e = local_history(&s->local, timeline, &s->path, why);

	s->found.timeline = timeline;
	if (e == ERR_MISSING || e == ERR_CORRUPT || e == ERR_LIMIT) {
		s->path = (struct history){.timeline = timeline};
		(void)snprintf(s->found.reason, sizeof(s->found.reason),
			       "timeline %u has no history file, neither there nor in the archive",
			       timeline); /* fits */
		s->found.answer = WAL_SALVAGE_UNKNOWN;
		return ERR_NONE;
	}
	for (size_t i = 0; e == ERR_NONE && i < s->path.count; i++)
		if (s->path.entry[i].timeline > 1)
			e = check_history(s, archive, s->path.entry[i].timeline, &known, why);
	if (e == ERR_NONE && timeline > 1)
		e = check_history(s, archive, timeline, &known, why);
	if (e != ERR_NONE || known || s->found.answer == WAL_SALVAGE_BRANCH)
		return e;
	s->adopts = true;
	if (s->source.adopt)
		return ERR_NONE;
	(void)snprintf(
		s->found.reason, sizeof(s->found.reason),
		"it is on timeline %u, of which the archive knows nothing: a copy that went its own "
		"way, or a server that archived nothing since it was promoted",
		timeline); /* fits */
	s->found.answer = WAL_SALVAGE_UNKNOWN;
	return ERR_NONE;
}
