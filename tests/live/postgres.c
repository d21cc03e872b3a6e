/* tests/live/postgres.c - rooms postgres and tar against a real server.
 *
 * live_postgres CONNINFO: CONNINFO leads to a superuser (it switches WAL and makes a table).
 * Prints one line per fact and exits 1 with the first that does not hold.
 *
 * live_postgres --open sql|replication CONNINFO: opens one session and prints its label, or the
 * kind, text and hint of the refusal; always exits 0.
 *
 * live_postgres --damaged CONNINFO: the same facts about a backup of a cluster with wrong
 * checksums, prints the files the server named; exits 1 unless the end says so too.
 *
 * live_postgres --stream LSN TIMELINE CONNINFO: streams from LSN to the end of the timeline or
 * the first error, or until nothing came for 2 s; prints what ended it.
 */
#include "base/text.h"
#include "postgres/base_backup.h"
#include "postgres/manifest_upload.h"
#include "postgres/replication.h"
#include "postgres/session.h"
#include "tar/tar.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile int cancelled;
static unsigned warnings;

static void hear(struct observer *observer, enum level level, const char *text)
{
	(void)observer;
	warnings += level == LEVEL_WARNING;
	printf("  heard: %s\n", text);
}

static void ignore(struct observer *observer, const struct progress *progress)
{
	(void)observer;
	(void)progress;
}

static void hold(bool fact, const char *text, const struct error *why)
{
	printf("%s %s\n", fact ? "ok  " : "FAIL", text);
	if (fact)
		return;
	if (why != NULL)
		printf("     %s: %s\n     %s\n", error_kind_word(why->kind), why->text, why->hint);
	exit(1);
}

static struct session *open_session(const struct env *env, const char *conninfo,
				    enum session_kind kind)
{
	const struct session_options options = {
		.conninfo = conninfo, .kind = kind, .extra_options = "-cwal_sender_timeout=30s"};
	struct session *s = NULL;
	struct error why = {.kind = ERR_NONE};
	enum err e = session_open(env, &options, &s, &why);

	hold(e == ERR_NONE, kind == SESSION_SQL ? "opens an SQL session" : "opens a walsender",
	     &why);
	printf("  %s, server %d\n", session_label(s), session_server_version(s));
	return s;
}

static void run(struct session *s, const char *sql)
{
	struct rows *rows = NULL;
	struct error why = {.kind = ERR_NONE};

	hold(session_query(s, sql, &rows, &why) == ERR_NONE, sql, &why);
	rows_free(rows);
}

static void check_sql(struct session *s)
{
	const char *params[] = {"40", "it's"};
	struct rows *rows = NULL;
	struct error why = {.kind = ERR_NONE};
	char text[64];
	enum err e;

	e = session_query_params(s, "SELECT $1::int + 2, $2::text, NULL", 2, params, &rows, &why);
	hold(e == ERR_NONE, "runs a query with parameters", &why);
	hold(rows_count(rows) == 1 && rows_columns(rows) == 3, "has one row of three", NULL);
	hold(strcmp(rows_value(rows, 0, 0), "42") == 0, "adds", NULL);
	hold(strcmp(rows_value(rows, 0, 1), "it's") == 0, "passes text", NULL);
	hold(rows_value(rows, 0, 2) == NULL && rows_value(rows, 1, 0) == NULL, "knows NULL", NULL);
	rows_free(rows);
	e = session_query(s, "SELEKT", &rows, &why);
	hold(e == ERR_PEER && strstr(why.text, "42601") != NULL, "tells a syntax error", &why);
	e = session_show(s, "no_such_setting", text, sizeof(text), &why);
	hold(e == ERR_MISSING, "misses a setting that is none", &why);
	e = session_show(s, "server_version", text, sizeof(text), &why);
	hold(e == ERR_NONE, "goes on after errors", &why);
	run(s, "DO $$ BEGIN RAISE WARNING 'from the server'; END $$");
	hold(warnings == 1, "passes a WARNING on", NULL);
	e = session_query(s, "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '58P01'; END $$",
			  &rows, &why);
	hold(e == ERR_MISSING, "maps 58P01", &why);
}

static void check_commands(struct session *s, struct system_identity *identity, uint32_t *segment)
{
	struct error why = {.kind = ERR_NONE};
	uint8_t *history = NULL;
	size_t len = 0;
	enum err e = replication_identify(s, identity, &why);
	char text[LSN_TEXT_MAX];

	hold(e == ERR_NONE, "identifies the system", &why);
	lsn_to_text(identity->flushed, text);
	printf("  system %" PRIu64 ", timeline %u, flushed %s\n", identity->system_identifier,
	       identity->timeline, text);
	hold(replication_segment_bytes(s, segment, &why) == ERR_NONE, "knows the segment size",
	     &why);
	printf("  %u bytes\n", *segment);
	e = replication_history(s, identity->timeline, &history, &len, &why);
	if (identity->timeline == 1)
		hold(e == ERR_MISSING, "misses the history of timeline 1", &why);
	else
		hold(e == ERR_NONE && len > 0, "reads the timeline's history", &why);
	free(history);
	e = replication_temporary_slot(s, "live_check", &why);
	hold(e == ERR_NONE, "makes a temporary slot", &why);
}

/* Takes the WAL from the start of the current segment to `target`. */
static void check_stream(const struct env *env, struct session *s, struct session *sql,
			 const struct system_identity *identity, uint32_t segment)
{
	struct lsn at = wal_segment_start(wal_segno(identity->flushed, segment), segment);
	struct lsn first = at;
	struct wal_stream_message m = {.kind = WAL_STREAM_NOTHING};
	struct system_identity after;
	struct error why = {.kind = ERR_NONE};
	unsigned keepalives = 0;
	unsigned messages = 0;
	enum err e = wal_stream_start(s, "live_check", at, identity->timeline, &why);

	hold(e == ERR_NONE, "starts the WAL stream", &why);
	run(sql, "CREATE TABLE live_check AS SELECT g, md5(g::text) FROM "
		 "generate_series(1, 50000) g");
	run(sql, "DROP TABLE live_check");
	run(sql, "SELECT pg_switch_wal()");
	while (at.value % segment != 0 || at.value == first.value) {
		e = wal_stream_next(s, 10000, -1, &m, &why);
		if (e != ERR_NONE || (m.kind != WAL_STREAM_DATA && m.kind != WAL_STREAM_KEEPALIVE))
			hold(false, "streams to the end of a segment", &why);
		keepalives += m.kind == WAL_STREAM_KEEPALIVE;
		if (m.kind != WAL_STREAM_DATA)
			continue;
		if (m.start.value != at.value)
			hold(false, "streams without a gap", NULL);
		at.value += m.payload.len;
		messages++;
		if (at.value / segment > first.value / segment)
			break;
	}
	printf("  %" PRIu64 " bytes in %u messages, %u keepalives\n", at.value - first.value,
	       messages, keepalives);
	hold(llabs(m.server_time_us - clock_now_us(env->clock)) < 60000000,
	     "reads the server's clock", NULL);
	e = wal_stream_report(s, at, at, clock_now_us(env->clock), &why);
	hold(e == ERR_NONE, "reports its position", &why);
	for (int i = 0; i < 100 && m.kind != WAL_STREAM_NOTHING; i++)
		if (wal_stream_next(s, 50, -1, &m, &why) != ERR_NONE)
			hold(false, "waits in vain without failing", &why);
	hold(wal_stream_stop(s, &why) == ERR_NONE, "stops the stream", &why);
	hold(replication_identify(s, &after, &why) == ERR_NONE, "goes on behind the stream", &why);
	hold(replication_temporary_slot(s, "live_check", &why) == ERR_EXISTS,
	     "finds the slot's name taken", &why);
}

static enum err pull(void *ctx, struct bytes *out, struct error *why)
{
	return base_backup_read(ctx, out, why);
}

struct counts {
	uint64_t files, directories, links, bytes;
	bool control_last;
};

static void read_archive(struct base_backup *b, struct counts *c)
{
	struct error why = {.kind = ERR_NONE};
	struct tar_reader *reader = NULL;
	static struct tar_entry entry; /* 2 kB */
	struct bytes data;
	enum err e = tar_reader_open(pull, b, &reader, &why);

	while (e == ERR_NONE) {
		uint64_t got = 0;

		e = tar_reader_next(reader, &entry, &why);
		if (e != ERR_NONE)
			break;
		c->directories += entry.kind == TAR_DIRECTORY;
		c->links += entry.kind == TAR_SYMLINK;
		if (entry.kind != TAR_FILE)
			continue;
		c->files++;
		c->control_last = strcmp(entry.path, "global/pg_control") == 0;
		do {
			e = tar_reader_data(reader, &data, &why);
			got += data.len;
		} while (e == ERR_NONE && data.len > 0);
		c->bytes += got;
		if (e == ERR_NONE && got != entry.size)
			hold(false, "gives a file whole", NULL);
	}
	hold(e == ERR_MISSING, "reads an archive to its end", &why);
	tar_reader_close(reader);
}

/* Every file that came is in the manifest and the other way round, by number and by bytes. */
static void check_manifest(struct base_backup *b, const struct counts *c, struct writer *text)
{
	struct error why = {.kind = ERR_NONE};
	struct bytes data;
	uint64_t files = 0;
	uint64_t bytes = 0;

	do {
		if (base_backup_read_manifest(b, &data, &why) != ERR_NONE)
			hold(false, "reads the manifest", &why);
		writer_bytes(text, data);
	} while (data.len > 0);
	writer_u8(text, 0); /* for strstr; not the manifest's */
	hold(!text->bad && text->len > 100, "reads the manifest", NULL);
	for (const char *at = (const char *)text->data; (at = strstr(at, "\"Size\": ")) != NULL;) {
		at += strlen("\"Size\": ");
		bytes += strtoull(at, NULL, 10);
		files++;
	}
	printf("  manifest: %zu bytes, %" PRIu64 " files of %" PRIu64 " bytes\n", text->len, files,
	       bytes);
	hold(files == c->files && bytes == c->bytes, "has what the manifest lists", NULL);
}

static void check_backup(const struct env *env, struct session *s, size_t *tablespaces,
			 struct writer *manifest)
{
	const struct base_backup_options options = {.label = "it's live",
						    .fast_checkpoint = true,
						    .manifest = true,
						    .verify_checksums = true,
						    .progress = true};
	const struct base_backup_tablespace *list = NULL;
	struct base_backup *b = NULL;
	struct base_backup_end end;
	struct counts c = {.files = 0};
	struct error why = {.kind = ERR_NONE};
	int64_t began_us = clock_monotonic_us(env->clock);
	size_t archives = 0;
	uint32_t oid = 1;
	enum err e;
	double seconds;

	hold(base_backup_begin(env, s, &options, &b, &why) == ERR_NONE, "begins a backup", &why);
	*tablespaces = base_backup_tablespaces(b, &list);
	for (size_t i = 0; i < *tablespaces; i++)
		printf("  tablespace %u at %s, %" PRIu64 " bytes\n", list[i].oid, list[i].path,
		       list[i].size_bytes);
	while ((e = base_backup_next_archive(b, &oid, &why)) == ERR_NONE) {
		read_archive(b, &c);
		archives++;
	}
	hold(e == ERR_MISSING, "comes to the last archive", &why);
	hold(oid == 0 && c.control_last, "has base.tar and pg_control last", NULL);
	hold(archives == *tablespaces + 1, "has an archive per tablespace", NULL);
	hold(c.links == 0, "has no symbolic links", NULL);
	check_manifest(b, &c, manifest);
	hold(base_backup_end(b, &end, &why) == ERR_NONE, "ends the backup", &why);
	hold(end.stop.value > base_backup_start(b).value, "stops behind its start", NULL);
	seconds = (double)(clock_monotonic_us(env->clock) - began_us) / 1e6;
	printf("  %" PRIu64 " files, %" PRIu64 " directories, %" PRIu64 " bytes of about %" PRIu64
	       ", %.2f s, %.0f MB/s, checksum failures %s, bad files %zu\n",
	       c.files, c.directories, c.bytes, base_backup_size(b), seconds,
	       (double)c.bytes / 1e6 / seconds, end.checksum_failures ? "yes" : "no",
	       base_backup_bad_files(b, &(const char *const *){NULL}));
	base_backup_free(b);
}

/* A backup on top of the one whose manifest this is; taken back halfway, refused, then whole. */
static void check_incremental(const struct env *env, struct session *s, struct bytes manifest)
{
	const struct base_backup_options options = {
		.label = "", .fast_checkpoint = true, .incremental = true};
	struct manifest_upload *u = NULL;
	struct base_backup *b = NULL;
	struct error why = {.kind = ERR_NONE};
	enum err e = manifest_upload_begin(s, &u, &why);

	if (session_server_version(s) < MANIFEST_UPLOAD_VERSION_MIN) {
		hold(e == ERR_CONFIG, "uploads no manifest to an old server", &why);
		return;
	}
	hold(e == ERR_NONE && manifest_upload_add(u, bytes_of(manifest.data, 10), &why) == ERR_NONE,
	     "begins to upload a manifest", &why);
	manifest_upload_free(u);
	e = base_backup_begin(env, s, &options, &b, &why);
	hold(e == ERR_MISSING, "is refused an incremental backup without a manifest", &why);
	hold(manifest_upload_begin(s, &u, &why) == ERR_NONE &&
		     manifest_upload_add(u, bytes_of("{}", 2), &why) == ERR_NONE &&
		     manifest_upload_end(u, &why) == ERR_PEER,
	     "is refused what is no manifest", &why);
	manifest_upload_free(u);
	hold(manifest_upload_begin(s, &u, &why) == ERR_NONE &&
		     manifest_upload_add(u, manifest, &why) == ERR_NONE &&
		     manifest_upload_end(u, &why) == ERR_NONE,
	     "uploads a manifest", &why);
	manifest_upload_free(u);
	e = base_backup_begin(env, s, &options, &b, &why);
	hold(e == ERR_NONE || e == ERR_MISSING, "asks for an incremental backup", &why);
	printf("  %s\n", e == ERR_NONE ? "it begins" : why.text);
	base_backup_free(b);
}

static void check_cancel(const struct env *env, const char *conninfo)
{
	const struct base_backup_options options = {
		.label = "", .fast_checkpoint = true, .max_rate_kb = 1024};
	struct session *s = open_session(env, conninfo, SESSION_REPLICATION);
	struct base_backup *b = NULL;
	struct session *none = NULL;
	struct bytes data = {.len = 1};
	struct error why = {.kind = ERR_NONE};
	uint32_t oid;
	enum err e = base_backup_begin(env, s, &options, &b, &why);

	if (e == ERR_NONE)
		e = base_backup_next_archive(b, &oid, &why);
	if (e == ERR_NONE)
		e = base_backup_read(b, &data, &why);
	hold(e == ERR_NONE && data.len > 0, "begins a slow backup without a manifest", &why);
	cancelled = 1;
	while (e == ERR_NONE)
		e = base_backup_read(b, &data, &why);
	hold(e == ERR_CANCELLED, "stops it on request", &why);
	e = session_open(env, &(struct session_options){.conninfo = conninfo}, &none, &why);
	hold(e == ERR_CANCELLED, "opens nothing when stopped", &why);
	cancelled = 0;
	base_backup_free(b);
	session_close(s);
}

static void try_open(const struct env *env, const char *kind, const char *conninfo)
{
	const struct session_options options = {
		.conninfo = conninfo,
		.kind = strcmp(kind, "sql") == 0 ? SESSION_SQL : SESSION_REPLICATION};
	struct session *s = NULL;
	struct error why = {.kind = ERR_NONE};

	if (session_open(env, &options, &s, &why) == ERR_NONE)
		printf("open: %s\n", session_label(s));
	else
		printf("%s: %s\nhint: %s\n", error_kind_word(why.kind), why.text, why.hint);
	session_close(s);
}

static void check_damaged(const struct env *env, const char *conninfo)
{
	const struct base_backup_options options = {.label = "damaged",
						    .fast_checkpoint = true,
						    .manifest = true,
						    .verify_checksums = true};
	struct session *s = open_session(env, conninfo, SESSION_REPLICATION);
	const char *const *paths = NULL;
	struct base_backup *b = NULL;
	struct base_backup_end end;
	struct writer manifest;
	struct system_identity identity;
	struct counts c = {.files = 0};
	struct error why = {.kind = ERR_NONE};
	uint32_t oid = 0;
	size_t n;

	hold(base_backup_begin(env, s, &options, &b, &why) == ERR_NONE, "begins a backup", &why);
	while (base_backup_next_archive(b, &oid, &why) == ERR_NONE)
		read_archive(b, &c);
	writer_init(&manifest, 64 << 20);
	check_manifest(b, &c, &manifest);
	writer_release(&manifest);
	hold(base_backup_end(b, &end, &why) == ERR_NONE, "ends the backup", &why);
	n = base_backup_bad_files(b, &paths);
	for (size_t i = 0; i < n; i++)
		printf("  damaged: %s\n", paths[i]);
	hold(end.checksum_failures && n > 0, "has checksum failures and their files", NULL);
	hold(replication_identify(s, &identity, &why) == ERR_NONE, "goes on behind it", &why);
	base_backup_free(b);
	session_close(s);
}

static void stream(const struct env *env, const char *from, const char *timeline,
		   const char *conninfo)
{
	struct session *s = open_session(env, conninfo, SESSION_REPLICATION);
	struct wal_stream_message m = {.kind = WAL_STREAM_NOTHING};
	struct error why = {.kind = ERR_NONE};
	char text[LSN_TEXT_MAX];
	struct lsn at;
	enum err e = lsn_from_text(from, &at, &why);

	if (e == ERR_NONE)
		e = wal_stream_start(s, NULL, at, (uint32_t)strtoul(timeline, NULL, 10), &why);
	while (e == ERR_NONE) {
		e = wal_stream_next(s, 2000, -1, &m, &why);
		if (e != ERR_NONE || m.kind == WAL_STREAM_NOTHING || m.kind == WAL_STREAM_END)
			break;
		if (m.kind == WAL_STREAM_DATA)
			at.value = m.start.value + m.payload.len;
		if (m.kind == WAL_STREAM_KEEPALIVE && m.reply_requested)
			e = wal_stream_report(s, at, at, clock_now_us(env->clock), &why);
	}
	lsn_to_text(at, text);
	printf("came to %s\n", text);
	if (e != ERR_NONE) {
		printf("%s: %s\n", error_kind_word(e), why.text);
	} else if (m.kind == WAL_STREAM_END) {
		lsn_to_text(m.next_start, text);
		printf("end: next timeline %u at %s\n", m.next_timeline, text);
	} else {
		printf("nothing more\n");
	}
	if (wal_stream_stop(s, &why) == ERR_NONE)
		printf("stopped\n");
	session_close(s);
}

int main(int argc, char **argv)
{
	static const struct observer_ops ops = {.event = hear, .progress = ignore};
	struct observer observer = {.ops = &ops};
	struct env env = env_os();
	struct system_identity identity;
	uint32_t segment = 0;
	size_t tablespaces = 0;
	struct writer manifest;
	struct session *sql;
	struct session *walsender;

	env.observer = &observer;
	env.cancelled = &cancelled;
	if (argc == 4 && strcmp(argv[1], "--open") == 0) {
		try_open(&env, argv[2], argv[3]);
		return 0;
	}
	if (argc == 3 && strcmp(argv[1], "--damaged") == 0) {
		check_damaged(&env, argv[2]);
		return 0;
	}
	if (argc == 5 && strcmp(argv[1], "--stream") == 0) {
		stream(&env, argv[2], argv[3], argv[4]);
		return 0;
	}
	if (argc != 2) {
		fprintf(stderr, "usage: live_postgres CONNINFO\n");
		return 2;
	}
	sql = open_session(&env, argv[1], SESSION_SQL);
	walsender = open_session(&env, argv[1], SESSION_REPLICATION);
	check_sql(sql);
	check_commands(walsender, &identity, &segment);
	check_stream(&env, walsender, sql, &identity, segment);
	session_close(walsender);
	walsender = open_session(&env, argv[1], SESSION_REPLICATION);
	writer_init(&manifest, 64 << 20);
	check_backup(&env, walsender, &tablespaces, &manifest);
	check_incremental(&env, walsender, bytes_of(manifest.data, manifest.len - 1));
	writer_release(&manifest);
	session_close(walsender);
	session_close(sql);
	check_cancel(&env, argv[1]);
	printf("all facts hold\n");
	return 0;
}
