/* backup/incremental.c - whether the server may send only what changed, and its being told since when.
 *
 * The rule is pure and in one place.  What it can't see (WAL summaries that are missing) the server
 * says itself when it is asked.
 */
#include "backup/backup_internal.h"
#include "crypto/crypto.h"
#include "pgformat/page.h"
#include "postgres/manifest_upload.h"

enum {
	SEND_BYTES = 32 << 10, /* gathered for a message; an entry is shorter */
	FORK_VISIBILITY_MAP = 2
};

/* These take a relation of more than 1 GiB that VACUUM made shorter for one that ends in another
 * segment. */
static bool is_bad_server(int version)
{
	return (version >= 170000 && version < 170008) || (version >= 180000 && version < 180002);
}

/* What speaks against the server. */
static bool server_allows(const struct incremental_facts *f, struct error *why_not)
{
	int major = f->server_version / 10000;

	if (f->server_version < MANIFEST_UPLOAD_VERSION_MIN) {
		(void)error_set(why_not, ERR_CONFIG,
				"PostgreSQL %d has no incremental base backups, 17 is the first",
				major);
		error_hint(why_not, "read everything: pgagent backup --type full");
		return false;
	}
	if (is_bad_server(f->server_version)) {
		(void)error_set(why_not, ERR_CONFIG,
				"PostgreSQL %d.%d has a defect in incremental base backups, mended "
				"in 17.8 and 18.2",
				major, f->server_version % 10000);
		error_hint(why_not, "update the server; until then: pgagent backup --type full");
		return false;
	}
	if (f->summarize_wal == 1)
		return true;
	(void)error_set(why_not, ERR_CONFIG, "summarize_wal is %s",
			f->summarize_wal == 0 ? "off" : "not known");
	error_hint(why_not, "on the server:\n  ALTER SYSTEM SET summarize_wal = on;\n"
			    "  SELECT pg_reload_conf();");
	return false;
}

/* What speaks against the parent. */
static const char *parent_allows(const struct incremental_facts *f)
{
	const struct summary *parent = f->parent;

	if (parent == NULL)
		return "there is no earlier backup of this server that it could rest on";
	if (!f->has_manifest || parent->server_version < MANIFEST_UPLOAD_VERSION_MIN)
		return "the backup before has no manifest that this server would take";
	/* pg_checksums changes pages behind the server's back. */
	if (f->data_checksums < 0 || f->data_checksums != parent->data_checksums)
		return "data_checksums is not as in the backup before";
	/* Nobody would look at these pages again. */
	if (parent->checksum_failures > 0)
		return "the backup before has pages with wrong checksums";
	if (f->is_flagged)
		return "damage was found in what the backup before is made of, and only the server "
		       "has the pages whole";
	return NULL;
}

bool incremental_allowed(const struct incremental_facts *f, struct error *why_not)
{
	const char *reason;

	if (!server_allows(f, why_not))
		return false;
	reason = parent_allows(f);
	if (reason == NULL)
		return true;
	(void)error_set(why_not, ERR_CONFIG, "%s", reason);
	error_hint(why_not, "read everything once: pgagent backup --type full");
	return false;
}

void incremental_ask(struct session *session, struct incremental_facts *f)
{
	char text[16];

	f->server_version = session_server_version(session);
	f->summarize_wal = -1;
	if (f->server_version >= MANIFEST_UPLOAD_VERSION_MIN &&
	    session_show(session, "summarize_wal", text, sizeof(text), NULL) == ERR_NONE)
		f->summarize_wal = strcmp(text, "on") == 0;
}

static enum err take_frame(void *reader, struct bytes frame, struct error *why)
{
	return backup_manifest_reader_take(reader, frame, why);
}

/* The parent's backup_manifest, entry by entry. */
static enum err walk_manifest(const struct cluster *cluster, const struct manifest *parent,
			      const struct backup_manifest_visitor *visitor, struct error *why)
{
	struct backup_manifest_reader *reader = NULL;
	struct backup_manifest_summary summary;
	enum err e = backup_manifest_reader_new(visitor, &reader, why);

	if (e == ERR_NONE)
		e = section_walk(cluster, parent, SECTION_SERVER_MANIFEST, take_frame, reader, why);
	if (e == ERR_NONE)
		e = backup_manifest_reader_end(reader, &summary, why);
	backup_manifest_reader_free(reader);
	return e;
}

/* The manifest on its way to the server, as the server needs it. */
struct sending {
	struct manifest_upload *upload;
	struct sha256 *sum;
	struct writer piece;
	const struct truncations *truncated;
	bool has_file;
};

static enum err send_piece(struct sending *s, bool summed, struct error *why)
{
	struct bytes piece = writer_view(&s->piece);
	enum err e = ERR_NONE;

	if (s->piece.bad)
		return error_set(why, ERR_LIMIT, "upload manifest: an entry does not fit");
	if (summed)
		e = sha256_add(s->sum, piece, why);
	if (e == ERR_NONE)
		e = manifest_upload_add(s->upload, piece, why);
	writer_reset(&s->piece);
	return e;
}

/* Servers up to 18 write nothing of the visibility map into the WAL when its bits are cleared, so that
 * they would not send its pages: the map would call rows visible and frozen that are not.  What the
 * manifest does not have they send whole, and of a map that is little. */
static bool is_sent_whole(const char *path)
{
	struct relation_file file;

	return relation_file_from_path(path, &file) && file.fork == FORK_VISIBILITY_MAP;
}

static enum err send_file(void *ctx, const struct backup_manifest_file *file, struct error *why)
{
	struct sending *s = ctx;
	const struct backup_manifest_entry entry = {
		.path = bytes_of_text(file->path), .size = file->size, .crc32c = file->crc32c};

	if (is_sent_whole(file->path) || truncations_have(s->truncated, file->path))
		return ERR_NONE;
	backup_manifest_add(&s->piece, !s->has_file, &entry);
	s->has_file = true;
	return s->piece.len >= SEND_BYTES ? send_piece(s, true, why) : ERR_NONE;
}

static enum err send_range(void *ctx, const struct backup_manifest_range *range, struct error *why)
{
	struct sending *s = ctx;

	(void)why; /* a second one makes the server refuse the document */
	backup_manifest_ranges(&s->piece, range, 1);
	return ERR_NONE;
}

static enum err send_manifest(struct sending *s, const struct cluster *cluster,
			      const struct manifest *parent, struct error *why)
{
	const struct backup_manifest_visitor visitor = {
		.ctx = s, .file = send_file, .range = send_range};
	uint8_t sum[CRYPTO_SHA256_BYTES];
	enum err e = sha256_start(s->sum, why);

	backup_manifest_begin(&s->piece, parent->summary.system_identifier);
	if (e == ERR_NONE)
		e = walk_manifest(cluster, parent, &visitor, why);
	if (e == ERR_NONE)
		e = send_piece(s, true, why);
	if (e == ERR_NONE)
		e = sha256_end(s->sum, sum, why);
	if (e != ERR_NONE)
		return e;
	backup_manifest_finish(&s->piece, sum);
	e = send_piece(s, false, why);
	return e == ERR_NONE ? manifest_upload_end(s->upload, why) : e;
}

enum err incremental_upload(struct session *session, const struct cluster *cluster,
			    const struct manifest *parent, const struct truncations *truncated,
			    struct error *why)
{
	struct sending s = {.truncated = truncated};
	enum err e = manifest_upload_begin(session, &s.upload, why);

	if (e != ERR_NONE)
		return e;
	writer_init(&s.piece, 4 * SEND_BYTES);
	e = sha256_new(&s.sum, why);
	if (e == ERR_NONE)
		e = send_manifest(&s, cluster, parent, why);
	manifest_upload_free(s.upload);
	sha256_free(s.sum);
	writer_release(&s.piece);
	return e;
}

struct covering {
	const struct truncations *truncated, *later;
	bool covers;
};

static enum err look_at_file(void *ctx, const struct backup_manifest_file *file, struct error *why)
{
	struct covering *c = ctx;

	(void)why;
	if (truncations_have(c->later, file->path) && !truncations_have(c->truncated, file->path))
		c->covers = false;
	return ERR_NONE;
}

enum err incremental_covers(const struct cluster *cluster, const struct manifest *parent,
			    const struct truncations *truncated, const struct truncations *later,
			    bool *covers, struct error *why)
{
	struct covering c = {.truncated = truncated, .later = later, .covers = true};
	const struct backup_manifest_visitor visitor = {.ctx = &c, .file = look_at_file};
	enum err e = walk_manifest(cluster, parent, &visitor, why);

	if (e == ERR_NONE)
		*covers = c.covers;
	return e;
}
