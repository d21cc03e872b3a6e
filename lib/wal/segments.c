/* wal/segments.c - the segments of an archive, for a walk that reads each as it comes to it. */
#include "wal/archive_internal.h"

#include <stdlib.h>

enum err archive_segment_read(void *segments, uint32_t timeline, uint64_t segno, struct bytes *out,
			      struct error *why)
{
	struct archive_segments *s = segments;
	struct wal_name name;
	uint32_t valid = 0;
	size_t len = 0;
	enum err e;

	archive_segments_release(s);
	if (*s->env->cancelled)
		return error_set(why, ERR_CANCELLED, "reading WAL: cancelled");
	wal_segment_name(timeline, segno, s->segment_bytes, &name);
	e = archive_read(s->env, s->archive, &name, s->segment_bytes, &s->segment, &len, why);
	if (e == ERR_MISSING) {
		e = archive_read_sliced(s->archive, &name, s->segment_bytes, &s->segment, &valid,
					why);
		len = valid;
	}
	if (e == ERR_NONE)
		*out = bytes_of(s->segment, len);
	return e == ERR_CORRUPT ? error_set(why, ERR_MISSING, "damaged") : e;
}

void archive_segments_release(struct archive_segments *s)
{
	free(s->segment);
	s->segment = NULL;
}
