/* backup/run_wal.c - step W5 of a run: the WAL from start to stop comes into every repository.
 *
 * The happy path: a second connection streams it while the backup runs.  Where none was free, or it broke,
 * what the archive does not have yet is streamed once more, over the session that the backup itself is done
 * with.  What the server has no more only the archive can bring: that is waited for, archive_wait long.  A
 * standby needs this order: the segment its backup ends in may not be archived for days, because its
 * primary is idle.
 */
#include "backup/run_internal.h"
#include "repo/sweep.h"

#include <stdio.h>
#include <string.h>

static struct streamer_config stream_config(const struct run *r)
{
	return (struct streamer_config){.env = r->env,
					.conninfo = r->request->conninfo,
					.cluster = r->cluster,
					.clusters = r->clusters,
					.level = r->request->level};
}

/* A standby's backup begins where its last restartpoint was: WAL that may have been archived long before the pin,
 * so that a sweep that looked for pins before may still remove it.  What a primary's backup needs was not finished
 * when its pin was put, and nobody can have listed it. */
enum err run_outlast_sweeps(struct run *r)
{
	struct sweep_wait wait = {.who = "backup", .seen = r->request->seen};
	char standby[8];
	enum err e = session_show(r->session, "in_hot_standby", standby, sizeof(standby), r->why);

	r->on_standby = e == ERR_NONE && strcmp(standby, "on") == 0;
	for (size_t i = 0; r->on_standby && e == ERR_NONE && i < r->clusters; i++)
		e = sweep_outlast(&r->cluster[i], &wait, r->why);
	return e;
}

enum err run_open_stream(struct run *r)
{
	struct streamer_config config = stream_config(r);
	enum err e = streamer_open(&config, &r->streamer, r->why);

	/* The first connection has just been had: the second one lacks a free walsender. */
	if (e != ERR_TRANSIENT)
		return e;
	observer_event(r->env->observer, LEVEL_WARNING,
		       "no second walsender is free (max_wal_senders): the backup's WAL comes "
		       "after it, if the server still has it then: %s",
		       r->why->text);
	return ERR_NONE;
}

/* Whether another way may lead where this one failed: it was the server or the connection. */
static bool is_of_the_stream(enum err e)
{
	return e == ERR_MISSING || e == ERR_TRANSIENT || e == ERR_PEER;
}

/* Whether the rest of the segment that holds the stop comes.  A primary has switched to the next one; a standby
 * that is behind in replay may have received it, and then the whole is stored: archive-get gives out a slice
 * only where nothing later of the timeline is there. */
static bool rest_comes(const struct run *r)
{
	const struct summary *s = &r->manifest->summary;
	uint32_t bytes = s->wal_segment_bytes;
	struct lsn end = wal_segment_start(wal_segno(lsn_of(s->stop.value - 1), bytes) + 1, bytes);
	struct system_identity identity;

	return !s->from_standby || (replication_identify(r->session, &identity, NULL) == ERR_NONE &&
				    identity.flushed.value >= end.value);
}

/* What is missing, over the session of the backup. */
static enum err stream_missing(struct run *r, bool rest)
{
	const struct summary *s = &r->manifest->summary;
	struct streamer_config config = stream_config(r);
	struct wal_name name;
	uint64_t segno = 0;
	bool missing;
	enum err e = wal_find_missing(r->cluster, r->clusters, s->start, s->stop, s->timeline,
				      s->wal_segment_bytes, &missing, &name, r->why);

	if (e != ERR_NONE || !missing)
		return e;
	(void)wal_name_segno(&name, s->wal_segment_bytes, &segno); /* a segment's name */
	e = streamer_borrow(&config, r->session, &r->streamer, r->why);
	if (e == ERR_NONE)
		e = streamer_start(r->streamer, wal_segment_start(segno, s->wal_segment_bytes),
				   s->timeline, s->wal_segment_bytes, r->why);
	return e == ERR_NONE ? streamer_finish(r->streamer, s->stop, rest, &r->wal_bytes, r->why)
			     : e;
}

/* Says why there was no stream where waiting did not help either. */
static enum err wait_for_archive(struct run *r)
{
	const struct summary *s = &r->manifest->summary;
	const char *primary = r->request->primary_conninfo;
	struct error no_stream = *r->why, late;
	char blame[WAL_BLAME_MAX];
	enum err e = wal_wait(r->env, r->cluster, r->clusters, s->start, s->stop, s->timeline,
			      s->wal_segment_bytes, r->request->archive_wait_us, r->why);

	if (e != ERR_MISSING)
		return e;
	late = *r->why;
	wal_blame(r->env, primary != NULL ? primary : r->request->conninfo, blame);
	(void)error_set(r->why, ERR_MISSING, "%s%s%s, and can't be streamed: %s", late.text,
			blame[0] != '\0' ? "; " : "", blame, no_stream.text);
	error_hint(r->why, "%s", late.hint);
	return e;
}

enum err run_bring_wal(struct run *r)
{
	const struct summary *s = &r->manifest->summary;
	bool rest = rest_comes(r);
	enum err e = ERR_TRANSIENT;

	if (r->streamer != NULL)
		e = streamer_finish(r->streamer, s->stop, rest, &r->wal_bytes, r->why);
	if (is_of_the_stream(e)) {
		if (r->streamer != NULL)
			observer_event(r->env->observer, LEVEL_WARNING,
				       "the backup's WAL is fetched once more: %s", r->why->text);
		streamer_free(r->streamer);
		r->streamer = NULL;
		e = stream_missing(r, rest);
	}
	if (is_of_the_stream(e)) {
		observer_event(
			r->env->observer, LEVEL_WARNING,
			"the server can't send the backup's WAL, waiting for the archive: %s",
			r->why->text);
		e = wait_for_archive(r);
	}
	/* The first segment was stored when the backup began: much can happen since then. */
	if (e == ERR_NONE)
		e = wal_prove(r->cluster, r->clusters, s->start, s->stop, s->timeline,
			      s->wal_segment_bytes, r->why);
	return e;
}
