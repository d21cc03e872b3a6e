/* postgres/replication.c - the commands of a walsender and the life of one WAL stream.
 *
 * A stream: START_REPLICATION; CopyBoth with messages both ways; then either we end it
 * (wal_stream_stop), or the server does: at the end of a historic timeline with a row that names
 * the next one, on shutdown without one, or with an error.
 */
#include "postgres/replication_internal.h"
#include "postgres/session_internal.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is under way when we end a stream arrives within this time or the connection is dead. */
enum { STOP_WAIT_MS = 30000 };

enum { SLOT_NAME_MAX = 64 };

enum err replication_identify(struct session *s, struct system_identity *out, struct error *why)
{
	struct system_identity found;
	struct rows *rows = NULL;
	const char *system;
	enum err e = session_query(s, "IDENTIFY_SYSTEM", &rows, why);

	if (e != ERR_NONE)
		return e;
	system = rows_value(rows, 0, 0);
	if (system == NULL || !text_to_u64(bytes_of_text(system), &found.system_identifier))
		e = error_set(why, ERR_PEER, "%s: no system identifier", s->label);
	if (e == ERR_NONE)
		e = decode_timeline(rows_value(rows, 0, 1), &found.timeline, why);
	if (e == ERR_NONE)
		e = decode_lsn(rows_value(rows, 0, 2), &found.flushed, why);
	if (e == ERR_NONE)
		*out = found;
	else
		(void)error_add(why, "IDENTIFY_SYSTEM");
	rows_free(rows);
	return e;
}

enum err replication_segment_bytes(struct session *s, uint32_t *out, struct error *why)
{
	char text[64];
	enum err e = session_show(s, "wal_segment_size", text, sizeof(text), why);

	return e != ERR_NONE ? e : decode_segment_bytes(text, out, why);
}

/* Slot names are [a-z0-9_]; quoted, since the grammar folds what is not. */
static enum err quote_slot(const char *name, char out[SLOT_NAME_MAX + 2], struct error *why)
{
	size_t len = strlen(name);

	if (len == 0 || len >= SLOT_NAME_MAX ||
	    name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")] != '\0')
		return error_set(why, ERR_CONFIG,
				 "slot name: %.80s: not 1 to 63 of a-z, 0-9 and underscore", name);
	return session_quote(name, '"', out, SLOT_NAME_MAX + 2, why);
}

enum err replication_temporary_slot(struct session *s, const char *name, struct error *why)
{
	char quoted[SLOT_NAME_MAX + 2];
	char command[160];
	struct rows *rows = NULL;
	enum err e = quote_slot(name, quoted, why);

	if (e != ERR_NONE)
		return e;
	(void)snprintf(command, sizeof(command),
		       "CREATE_REPLICATION_SLOT %s TEMPORARY PHYSICAL (RESERVE_WAL)",
		       quoted); /* fits: the name is bounded */
	e = session_query(s, command, &rows, why);
	if (e != ERR_NONE)
		(void)error_add(why, "create replication slot: %s", name);
	if (e == ERR_LIMIT)
		error_hint(why, "look for slots nobody needs: SELECT * FROM pg_replication_slots; "
				"or raise max_replication_slots");
	rows_free(rows);
	return e;
}

enum err replication_history(struct session *s, uint32_t timeline, uint8_t **out, size_t *len,
			     struct error *why)
{
	char command[64];
	struct rows *rows = NULL;
	const char *content;
	uint8_t *copy;
	size_t n;
	enum err e;

	(void)snprintf(command, sizeof(command), "TIMELINE_HISTORY %u", timeline); /* fits */
	e = session_query(s, command, &rows, why);
	if (e != ERR_NONE) {
		(void)error_add(why, "history of timeline %u", timeline);
		return e;
	}
	content = rows_value(rows, 0, 1);
	n = rows_value_len(rows, 0, 1);
	copy = content != NULL ? calloc(1, n + 1) : NULL;
	if (content == NULL)
		e = error_set(why, ERR_PEER, "history of timeline %u: %s: no content came",
			      timeline, s->label);
	else if (copy == NULL)
		e = error_set(why, ERR_MEMORY, "history of timeline %u: out of memory", timeline);
	if (e == ERR_NONE) {
		memcpy(copy, content, n);
		*out = copy;
		*len = n;
	}
	rows_free(rows);
	return e;
}

/* The row that names the next timeline. */
static enum err take_next(struct session *s, const PGresult *row, struct error *why)
{
	uint32_t timeline;
	struct lsn start;
	enum err e;

	if (PQntuples(row) != 1 || PQnfields(row) < 2)
		return error_set(why, ERR_PEER, "WAL stream: %s: malformed end of a timeline",
				 s->label);
	e = decode_timeline(PQgetvalue(row, 0, 0), &timeline, why);
	if (e == ERR_NONE)
		e = decode_lsn(PQgetvalue(row, 0, 1), &start, why);
	if (e != ERR_NONE)
		return e;
	s->stream.next_timeline = timeline;
	s->stream.next_start = start;
	return ERR_NONE;
}

/* Takes the results behind the copy: [next timeline row], START_STREAMING, START_REPLICATION. */
static enum err take_end(struct session *s, struct error *why)
{
	bool copy_open = true;
	bool ended = false;

	s->stream.state = WAL_STREAM_ENDED;
	for (;;) {
		PGresult *result = NULL;
		enum err e = session_result(s, &result, why);

		if (e != ERR_NONE || result == NULL)
			return e;
		switch (PQresultStatus(result)) {
		case PGRES_COPY_IN: /* the server has ended its half: end ours */
			if (!copy_open || PQputCopyEnd(s->conn, NULL) != 1 || PQflush(s->conn) != 0)
				e = session_refused(s, NULL, why);
			copy_open = false;
			break;
		case PGRES_TUPLES_OK:
			e = take_next(s, result, why);
			break;
		case PGRES_COMMAND_OK:
			ended = true;
			break;
		case PGRES_FATAL_ERROR:
			/* A server that shuts down says that the stream is over, then hangs up. */
			if (!ended || PQresultErrorField(result, PG_DIAG_SQLSTATE) != NULL)
				e = session_refused(s, result, why);
			break;
		default:
			e = error_set(why, ERR_PEER, "WAL stream: %s: answered %s at its end",
				      s->label, PQresStatus(PQresultStatus(result)));
		}
		if (PQresultStatus(result) == PGRES_FATAL_ERROR &&
		    PQstatus(s->conn) == CONNECTION_OK)
			session_forget(s);
		PQclear(result);
		if (e != ERR_NONE)
			return e;
	}
}

enum err wal_stream_start(struct session *s, const char *slot, struct lsn start, uint32_t timeline,
			  struct error *why)
{
	char quoted[SLOT_NAME_MAX + 2] = "";
	char at[LSN_TEXT_MAX];
	char command[192];
	PGresult *result = NULL;
	ExecStatusType status;
	enum err e = slot != NULL ? quote_slot(slot, quoted, why) : ERR_NONE;

	if (e != ERR_NONE)
		return e;
	lsn_to_text(start, at);
	(void)snprintf(command, sizeof(command), "START_REPLICATION%s%s PHYSICAL %s TIMELINE %u",
		       slot != NULL ? " SLOT " : "", quoted, at, timeline); /* fits */
	s->draining = false;
	e = session_send(s, command, why);
	if (e == ERR_NONE)
		e = session_result(s, &result, why);
	if (e != ERR_NONE)
		return e;
	s->stream.next_timeline = 0;
	s->stream.next_start = lsn_of(0);
	status = PQresultStatus(result);
	if (status == PGRES_COPY_BOTH) {
		s->stream.state = WAL_STREAM_COPYING;
	} else if (status == PGRES_TUPLES_OK) { /* the timeline ends at or before `start` */
		e = take_next(s, result, why);
		if (e == ERR_NONE)
			e = take_end(s, why);
	} else {
		e = session_refused(s, result, why);
		session_forget(s);
	}
	PQclear(result);
	if (e != ERR_NONE)
		(void)error_add(why, "start WAL stream: timeline %u at %s", timeline, at);
	return e;
}

static void give_end(const struct session *s, struct wal_stream_message *out)
{
	*out = (struct wal_stream_message){.kind = WAL_STREAM_END,
					   .next_timeline = s->stream.next_timeline,
					   .next_start = s->stream.next_start};
}

enum err wal_stream_next(struct session *s, int wait_ms, int wake_fd,
			 struct wal_stream_message *out, struct error *why)
{
	int len = 0;
	enum err e;

	PQfreemem(s->stream.message);
	s->stream.message = NULL;
	if (s->stream.state == WAL_STREAM_ENDED) {
		give_end(s, out);
		return ERR_NONE;
	}
	if (s->stream.state != WAL_STREAM_COPYING)
		return error_set(why, ERR_IO, "WAL stream: %s: not started", s->label);
	e = session_copy_data(s, wait_ms, wake_fd, &s->stream.message, &len, why);
	if (e != ERR_NONE)
		return e;
	if (len > 0)
		return decode_wal_message(bytes_of(s->stream.message, (size_t)len), out, why);
	if (len == 0) {
		*out = (struct wal_stream_message){.kind = WAL_STREAM_NOTHING};
		return ERR_NONE;
	}
	e = take_end(s, why);
	if (e != ERR_NONE) {
		s->stream.state = WAL_STREAM_IDLE;
		return e;
	}
	give_end(s, out);
	return ERR_NONE;
}

enum err wal_stream_report(struct session *s, struct lsn written, struct lsn flushed,
			   int64_t now_us, struct error *why)
{
	uint8_t message[STATUS_UPDATE_LEN];

	if (s->stream.state != WAL_STREAM_COPYING)
		return error_set(why, ERR_IO, "WAL stream: %s: not started", s->label);
	encode_status_update(written, flushed, now_us, message);
	if (PQputCopyData(s->conn, (const char *)message, sizeof(message)) != 1 ||
	    PQflush(s->conn) != 0)
		return session_refused(s, NULL, why);
	return ERR_NONE;
}

/* Drops what the server had sent before it saw our end of the copy. */
static enum err drain(struct session *s, struct error *why)
{
	int64_t until_us = clock_monotonic_us(s->env->clock) + (int64_t)STOP_WAIT_MS * 1000;

	for (;;) {
		char *message = NULL;
		int len = 0;
		enum err e = session_copy_data(s, SESSION_SLICE_MS, -1, &message, &len, why);

		PQfreemem(message);
		if (e != ERR_NONE || len < 0)
			return e;
		if (clock_monotonic_us(s->env->clock) >= until_us)
			return error_set(why, ERR_TRANSIENT,
					 "stop WAL stream: %s: no end within %d s", s->label,
					 STOP_WAIT_MS / 1000);
	}
}

enum err wal_stream_stop(struct session *s, struct error *why)
{
	enum err e = ERR_NONE;

	PQfreemem(s->stream.message);
	s->stream.message = NULL;
	if (s->stream.state == WAL_STREAM_COPYING) {
		s->draining = true;
		if (PQputCopyEnd(s->conn, NULL) != 1 || PQflush(s->conn) != 0)
			e = session_refused(s, NULL, why);
		if (e == ERR_NONE)
			e = drain(s, why);
		if (e == ERR_NONE)
			e = take_end(s, why);
		s->draining = false;
	}
	s->stream.state = WAL_STREAM_IDLE;
	return e;
}
