/* postgres/base_backup.c - one BASE_BACKUP from its command to the result that makes it good.
 *
 * 1. command; wait for the checkpoint; result: start
 * 2. result: tablespaces; one CopyOut begins
 * 3. per archive: a message that names it, its bytes; then the manifest in the same way
 * 4. CopyOut ends; result: stop; result: done
 *
 * An error of the server may come in place of any of these.  Every message is checked against the
 * step it belongs to, and every archive that was announced must come exactly once.
 */
#include "postgres/base_backup_internal.h"
#include "postgres/replication_internal.h"
#include "postgres/session_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bad files are collected up to this many; a cluster with more is lost anyway. */
enum { BAD_FILES_MAX = 10000, BAD_FILE_LEN_MAX = 256 };

struct base_backup {
	struct session *session;
	struct base_backup_options options;
	enum {
		STEP_BETWEEN, /* the message in hand or the next one names what comes */
		STEP_ARCHIVE, /* bytes of an archive come */
		STEP_MANIFEST,
		STEP_COPIED, /* all has come, and the stop position; the last result waits */
		STEP_DONE
	} step;
	PGresult *list; /* tablespace rows: owns their paths */
	struct base_backup_tablespace *tablespaces;
	bool *seen; /* beside tablespaces */
	bool seen_base;
	size_t tablespace_count;
	uint64_t size_bytes;
	bool seen_manifest;
	struct lsn start;
	uint32_t timeline;
	struct lsn stop;
	uint32_t stop_timeline;
	char *message; /* libpq's; what the last call gave out is in it */
	bool held;     /* `decoded` was read ahead and not used yet */
	struct backup_message decoded;
	char **bad_files;
	size_t bad_file_count;
};

static void hear(void *ctx, const PGresult *result)
{
	struct base_backup *b = ctx;
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *file = PQresultErrorField(result, PG_DIAG_SOURCE_FILE);
	const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
	const char *words = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	char path[BAD_FILE_LEN_MAX];
	char **grown;
	char *copy;

	/* No warning about a file has a code of its own, and the words may be translated.  sendDir reads no
	 * page: it skips what is no file. */
	if (severity == NULL || strcmp(severity, "WARNING") != 0 || words == NULL || file == NULL ||
	    strstr(file, "basebackup") == NULL ||
	    (function != NULL && strcmp(function, "sendDir") == 0) ||
	    !decode_damaged_file(words, b->tablespaces, b->tablespace_count, path, sizeof(path)) ||
	    b->bad_file_count >= BAD_FILES_MAX)
		return;
	for (size_t i = 0; i < b->bad_file_count; i++)
		if (strcmp(b->bad_files[i], path) == 0)
			return;
	/* Without memory the list is short; the server's last error still marks the backup. */
	grown = realloc(b->bad_files, (b->bad_file_count + 1) * sizeof(*grown));
	if (grown == NULL)
		return;
	b->bad_files = grown;
	copy = strdup(path);
	if (copy != NULL)
		b->bad_files[b->bad_file_count++] = copy;
}

static void forget_bad_files(struct base_backup *b)
{
	for (size_t i = 0; i < b->bad_file_count; i++)
		free(b->bad_files[i]);
	free(b->bad_files);
	b->bad_files = NULL;
	b->bad_file_count = 0;
}

void base_backup_free(struct base_backup *b)
{
	if (b == NULL)
		return;
	b->session->on_notice = NULL;
	forget_bad_files(b);
	PQfreemem(b->message);
	PQclear(b->list);
	free(b->tablespaces);
	free(b->seen);
	free(b);
}

/* A row of position and timeline: the start or the stop. */
static enum err take_position(struct session *s, struct lsn *lsn, uint32_t *timeline,
			      struct error *why)
{
	PGresult *row = NULL;
	enum err e = session_expect(s, PGRES_TUPLES_OK, &row, why);

	if (e != ERR_NONE)
		return e;
	if (PQntuples(row) != 1 || PQnfields(row) < 2)
		e = error_set(why, ERR_PEER, "base backup: %s: malformed position", s->label);
	if (e == ERR_NONE)
		e = decode_lsn(PQgetvalue(row, 0, 0), lsn, why);
	if (e == ERR_NONE)
		e = decode_timeline(PQgetvalue(row, 0, 1), timeline, why);
	PQclear(row);
	return e;
}

/* One row per tablespace; the one without oid is the data directory itself. */
static enum err take_tablespace(struct base_backup *b, int row, struct error *why)
{
	const PGresult *list = b->list;
	const char *size = PQgetisnull(list, row, 2) ? NULL : PQgetvalue(list, row, 2);
	struct base_backup_tablespace found = {.path = PQgetvalue(list, row, 1)};
	uint64_t size_bytes;
	enum err e = decode_size_kb(size, &size_bytes, why);

	if (e != ERR_NONE)
		return e;
	b->size_bytes += size_bytes;
	if (PQgetisnull(list, row, 0))
		return ERR_NONE;
	found.size_bytes = size_bytes;
	/* An oid is a positive 32-bit number in decimal, like a timeline. */
	e = decode_timeline(PQgetvalue(list, row, 0), &found.oid, NULL);
	if (e != ERR_NONE)
		return error_set(why, ERR_PEER, "base backup: tablespace oid %.64s",
				 PQgetvalue(list, row, 0));
	b->tablespaces[b->tablespace_count++] = found;
	return ERR_NONE;
}

static enum err take_tablespaces(struct base_backup *b, struct error *why)
{
	enum err e = session_expect(b->session, PGRES_TUPLES_OK, &b->list, why);
	int n;

	if (e != ERR_NONE)
		return e;
	n = PQntuples(b->list);
	if (n < 1 || PQnfields(b->list) < 3)
		return error_set(why, ERR_PEER, "base backup: %s: malformed tablespace list",
				 b->session->label);
	b->tablespaces = calloc((size_t)n, sizeof(*b->tablespaces));
	b->seen = calloc((size_t)n, sizeof(*b->seen));
	if (b->tablespaces == NULL || b->seen == NULL)
		return error_set(why, ERR_MEMORY, "base backup: out of memory");
	for (int i = 0; i < n && e == ERR_NONE; i++)
		e = take_tablespace(b, i, why);
	return e;
}

enum err base_backup_begin(const struct env *env, struct session *s,
			   const struct base_backup_options *options, struct base_backup **out,
			   struct error *why)
{
	char command[BASE_BACKUP_COMMAND_MAX];
	const struct progress waiting = {.phase = "waiting for checkpoint"};
	struct base_backup *b;
	PGresult *copy = NULL;
	enum err e = encode_base_backup(options, command, sizeof(command), why);

	if (e != ERR_NONE)
		return e;
	b = calloc(1, sizeof(*b));
	if (b == NULL)
		return error_set(why, ERR_MEMORY, "base backup: out of memory");
	b->session = s;
	b->options = *options;
	s->on_notice = hear;
	s->notice_ctx = b;
	observer_progress(env->observer, &waiting);
	e = session_send(s, command, why);
	if (e == ERR_NONE)
		e = take_position(s, &b->start, &b->timeline, why);
	if (e == ERR_NONE)
		e = take_tablespaces(b, why);
	if (e == ERR_NONE)
		e = session_expect(s, PGRES_COPY_OUT, &copy, why);
	PQclear(copy);
	if (e != ERR_NONE) {
		(void)error_add(why, "begin base backup");
		session_forget(s);
		base_backup_free(b);
		return e;
	}
	*out = b;
	return ERR_NONE;
}

struct lsn base_backup_start(const struct base_backup *b)
{
	return b->start;
}

uint32_t base_backup_start_timeline(const struct base_backup *b)
{
	return b->timeline;
}

size_t base_backup_tablespaces(const struct base_backup *b,
			       const struct base_backup_tablespace **out)
{
	*out = b->tablespaces;
	return b->tablespace_count;
}

uint64_t base_backup_size(const struct base_backup *b)
{
	return b->size_bytes;
}

size_t base_backup_bad_files(const struct base_backup *b, const char *const **paths)
{
	*paths = (const char *const *)b->bad_files;
	return b->bad_file_count;
}

/* Marks an archive as come; ERR_PEER when it was not announced or comes again. */
static enum err mark_seen(struct base_backup *b, uint32_t oid, struct error *why)
{
	bool *seen = oid == 0 ? &b->seen_base : NULL;

	for (size_t i = 0; i < b->tablespace_count && seen == NULL; i++)
		if (b->tablespaces[i].oid == oid)
			seen = &b->seen[i];
	if (seen == NULL || *seen)
		return error_set(why, ERR_PEER, "base backup: archive of tablespace %u %s", oid,
				 seen == NULL ? "was not announced" : "comes twice");
	*seen = true;
	return ERR_NONE;
}

static bool all_seen(const struct base_backup *b)
{
	for (size_t i = 0; i < b->tablespace_count; i++)
		if (!b->seen[i])
			return false;
	return b->seen_base;
}

/* The copy is over: for good when everything has come and the stop position follows.  An error of
 * the server in its place is told at once, before the caller wonders about half an archive. */
static enum err end_copy(struct base_backup *b, struct error *why)
{
	enum err e = take_position(b->session, &b->stop, &b->stop_timeline, why);

	if (e != ERR_NONE)
		return e;
	if (!all_seen(b) || b->options.manifest != b->seen_manifest)
		return error_set(why, ERR_PEER, "base backup: %s: ended without %s",
				 b->session->label, all_seen(b) ? "a manifest" : "every archive");
	b->step = STEP_COPIED;
	return ERR_NONE;
}

/* The next message that is no report of progress into b->decoded; *over when the copy has ended.
 * A message that was put back comes first. */
static enum err next_message(struct base_backup *b, bool *over, struct error *why)
{
	struct session *s = b->session;

	*over = false;
	if (b->held) {
		b->held = false;
		return ERR_NONE;
	}
	for (;;) {
		int len = 0;
		enum err e;

		PQfreemem(b->message);
		b->message = NULL;
		e = session_copy_data(s, -1, -1, &b->message, &len, why);
		if (e != ERR_NONE)
			return e;
		if (len < 0) {
			*over = true;
			return end_copy(b, why);
		}
		e = decode_backup_message(bytes_of(b->message, (size_t)len), &b->decoded, why);
		if (e != ERR_NONE)
			return e;
		if (b->decoded.kind != BACKUP_MESSAGE_PROGRESS)
			return ERR_NONE;
	}
}

enum err base_backup_next_archive(struct base_backup *b, uint32_t *oid, struct error *why)
{
	bool over = false;
	enum err e;

	while (b->step == STEP_ARCHIVE) { /* the caller did not want the rest of the last one */
		struct bytes rest;

		e = base_backup_read(b, &rest, why);
		if (e != ERR_NONE)
			return e;
		if (rest.len == 0)
			break;
	}
	if (b->step == STEP_BETWEEN) {
		e = next_message(b, &over, why);
		if (e != ERR_NONE)
			return e;
	}
	if (b->step == STEP_BETWEEN && b->decoded.kind == BACKUP_MESSAGE_MANIFEST &&
	    b->options.manifest && all_seen(b)) {
		b->step = STEP_MANIFEST;
		b->seen_manifest = true;
	}
	if (b->step != STEP_BETWEEN)
		return error_set(why, ERR_MISSING, "base backup: no more archives");
	if (b->decoded.kind != BACKUP_MESSAGE_ARCHIVE)
		return error_set(why, ERR_PEER, "base backup: %s: %s before every archive came",
				 b->session->label,
				 b->decoded.kind == BACKUP_MESSAGE_DATA ? "data" : "a manifest");
	e = mark_seen(b, b->decoded.oid, why);
	if (e != ERR_NONE)
		return e;
	b->step = STEP_ARCHIVE;
	*oid = b->decoded.oid;
	return ERR_NONE;
}

enum err base_backup_read(struct base_backup *b, struct bytes *out, struct error *why)
{
	*out = bytes_of(NULL, 0);
	while (b->step == STEP_ARCHIVE) {
		bool over = false;
		enum err e = next_message(b, &over, why);

		if (e != ERR_NONE)
			return e;
		if (over)
			break;
		if (b->decoded.kind != BACKUP_MESSAGE_DATA) {
			b->held = true;
			b->step = STEP_BETWEEN;
			break;
		}
		if (b->decoded.data.len > 0) {
			*out = b->decoded.data;
			break;
		}
	}
	return ERR_NONE;
}

enum err base_backup_read_manifest(struct base_backup *b, struct bytes *out, struct error *why)
{
	*out = bytes_of(NULL, 0);
	while (b->step == STEP_MANIFEST) {
		bool over = false;
		enum err e = next_message(b, &over, why);

		if (e != ERR_NONE)
			return e;
		if (over)
			break;
		if (b->decoded.kind != BACKUP_MESSAGE_DATA)
			return error_set(why, ERR_PEER, "base backup: %s: archive after manifest",
					 b->session->label);
		if (b->decoded.data.len > 0) {
			*out = b->decoded.data;
			break;
		}
	}
	return ERR_NONE;
}

/* The last result: done, or an error; damage of the data (XX001) is an answer, since everything
 * was sent and the stop position with it. */
static enum err take_done(struct session *s, bool *damaged, struct error *why)
{
	PGresult *result = NULL;
	const char *state;
	enum err e = session_result(s, &result, why);

	if (e != ERR_NONE)
		return e;
	state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	*damaged = state != NULL && strcmp(state, "XX001") == 0;
	if (PQresultStatus(result) == PGRES_FATAL_ERROR && !*damaged)
		e = session_refused(s, result, why);
	else if (PQresultStatus(result) != PGRES_COMMAND_OK && !*damaged)
		e = error_set(why, ERR_PEER, "base backup: %s: ended without its last result",
			      s->label);
	PQclear(result);
	return e != ERR_NONE ? e : session_finish(s, why);
}

enum err base_backup_end(struct base_backup *b, struct base_backup_end *out, struct error *why)
{
	struct base_backup_end end = {.stop = b->stop, .timeline = b->stop_timeline};
	enum err e;

	if (b->step != STEP_COPIED)
		return error_set(why, ERR_PEER, "base backup: %s: not all of it was read",
				 b->session->label);
	e = take_done(b->session, &end.checksum_failures, why);
	if (e != ERR_NONE) {
		(void)error_add(why, "end base backup");
		return e;
	}
	b->step = STEP_DONE;
	b->session->on_notice = NULL;
	/* The server's last word is that every checksum was right: the warnings were about something else. */
	if (!end.checksum_failures)
		forget_bad_files(b);
	*out = end;
	return ERR_NONE;
}
