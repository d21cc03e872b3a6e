/* backup/wal_wait.c - step W5: what the backup could not stream of its own WAL the archive has to bring,
 * within the time the operator allows; and that it is there in the end, whoever brought it.
 */
#include "backup/backup_internal.h"

#include <inttypes.h>
#include <stdio.h>

enum { LOOK_EVERY_US = 500 * 1000 };

static enum err segment_there(const struct cluster *cluster, size_t clusters,
			      const struct wal_name *name, struct error *why)
{
	enum err e = ERR_NONE;

	for (size_t i = 0; i < clusters && e == ERR_NONE; i++)
		e = wal_is_there(&cluster[i], name, why);
	return e;
}

enum err wal_find_missing(const struct cluster *cluster, size_t clusters, struct lsn start,
			  struct lsn stop, uint32_t timeline, uint32_t segment_bytes, bool *missing,
			  struct wal_name *out, struct error *why)
{
	uint64_t last = (stop.value - 1) / segment_bytes;

	*missing = false;
	for (uint64_t n = wal_segno(start, segment_bytes); n <= last; n++) {
		enum err e;

		wal_segment_name(timeline, n, segment_bytes, out);
		e = segment_there(cluster, clusters, out, why);
		*missing = e == ERR_MISSING;
		if (e != ERR_NONE)
			return *missing ? ERR_NONE : e;
	}
	return ERR_NONE;
}

enum err wal_wait(const struct env *env, const struct cluster *cluster, size_t clusters,
		  struct lsn start, struct lsn stop, uint32_t timeline, uint32_t segment_bytes,
		  int64_t wait_us, struct error *why)
{
	int64_t deadline = clock_monotonic_us(env->clock) + wait_us;

	for (;;) {
		struct wal_name name;
		char text[WAL_NAME_MAX];
		uint64_t segno;
		bool missing;
		enum err e = wal_find_missing(cluster, clusters, start, stop, timeline,
					      segment_bytes, &missing, &name, why);

		if (e != ERR_NONE || !missing)
			return e;
		/* What is there needs no second look: wal_prove has the last. */
		if (wal_name_segno(&name, segment_bytes, &segno) &&
		    segno > wal_segno(start, segment_bytes))
			start = wal_segment_start(segno, segment_bytes);
		if (*env->cancelled)
			return error_set(why, ERR_CANCELLED, "backup: stopped on request");
		if (clock_monotonic_us(env->clock) >= deadline) {
			wal_name_to_text(&name, text);
			(void)error_set(why, ERR_MISSING,
					"segment %s, needed by this backup, was not archived "
					"within %" PRId64 " s",
					text, wait_us / 1000000);
			error_hint(why,
				   "look at pg_stat_archiver on the server (last_failed_wal), or "
				   "give the backup a walsender of its own: max_wal_senders");
			return ERR_MISSING;
		}
		clock_sleep_us(env->clock, LOOK_EVERY_US);
	}
}

void wal_blame(const struct env *env, const char *conninfo, char out[WAL_BLAME_MAX])
{
	static const char sql[] =
		"SELECT pg_catalog.current_setting('archive_mode'), last_failed_wal, "
		"last_failed_time, coalesce(last_failed_time > coalesce(last_archived_time, "
		"'-infinity'), false) FROM pg_catalog.pg_stat_archiver";
	struct session_options options = {.conninfo = conninfo, .kind = SESSION_SQL};
	struct session *session = NULL;
	struct rows *rows = NULL;
	struct error unasked;
	const char *mode, *failing;
	enum err e = session_open(env, &options, &session, &unasked);

	out[0] = '\0';
	if (e == ERR_NONE)
		e = session_query(session, sql, &rows, &unasked);
	mode = rows_value(rows, 0, 0);
	failing = rows_value(rows, 0, 3);
	/* What is cut below is still text. */
	if (e != ERR_NONE)
		(void)snprintf(out, WAL_BLAME_MAX, "its archiver can't be asked: %.400s",
			       unasked.text);
	else if (mode != NULL && strcmp(mode, "off") == 0)
		(void)snprintf(out, WAL_BLAME_MAX, "%s archives nothing: archive_mode is off",
			       session_label(session));
	else if (failing != NULL && *failing == 't')
		(void)snprintf(out, WAL_BLAME_MAX, "the archiver of %s failed on %s at %s",
			       session_label(session), rows_value(rows, 0, 1),
			       rows_value(rows, 0, 2));
	rows_free(rows);
	session_close(session);
}

/* archive-get gives out a slice only where nothing later of the timeline is there, since PostgreSQL would take its
 * padding for the end of WAL: what ends in one and has more behind it could not be restored. */
static enum err refuse_slice(const struct cluster *cluster, struct lsn reach, uint32_t timeline,
			     uint32_t segment_bytes, struct error *why)
{
	uint64_t segno = wal_segno(reach, segment_bytes);
	struct wal_name name;
	char text[WAL_NAME_MAX];
	bool later = false;
	enum err e;

	if (reach.value % segment_bytes == 0)
		return ERR_NONE;
	e = wal_has_later(cluster, timeline, segno + 1, segment_bytes, &later, why);
	if (e != ERR_NONE || !later)
		return e;
	wal_segment_name(timeline, segno, segment_bytes, &name);
	wal_name_to_text(&name, text);
	(void)error_set(why, ERR_MISSING,
			"segment %s, in which this backup ends, is in %s only in part, and later "
			"ones are there: no recovery would be given it",
			text, cluster->repository->store->label);
	error_hint(why, "take the backup again when the standby has caught up, or the archiver has "
			"delivered that segment");
	return ERR_MISSING;
}

enum err wal_prove(const struct cluster *cluster, size_t clusters, struct lsn start,
		   struct lsn stop, uint32_t timeline, uint32_t segment_bytes, struct error *why)
{
	for (size_t i = 0; i < clusters; i++) {
		struct wal_name name;
		struct lsn reach;
		char text[WAL_NAME_MAX];
		enum err e = wal_reaches(&cluster[i], timeline, start, segment_bytes, &reach, why);

		if (e != ERR_NONE)
			return e;
		if (reach.value >= stop.value) {
			e = refuse_slice(&cluster[i], reach, timeline, segment_bytes, why);
			if (e != ERR_NONE)
				return e;
			continue;
		}
		wal_segment_name(timeline, wal_segno(reach, segment_bytes), segment_bytes, &name);
		wal_name_to_text(&name, text);
		(void)error_set(why, ERR_MISSING,
				"segment %s, needed by this backup, was stored in %s and is not "
				"there any more",
				text, cluster[i].repository->store->label);
		error_hint(why, "find out who removes files there; then take the backup again");
		return ERR_MISSING;
	}
	return ERR_NONE;
}
