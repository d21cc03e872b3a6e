/* backup/incremental.c - whether the server may send only what changed, and its being told since when.
 *
 * The rule is pure and in one place.  What it can't see (WAL summaries that are missing) the server
 * says itself when it is asked.
 */
#include "backup/backup_internal.h"
#include "postgres/manifest_upload.h"

#include <stdio.h>

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

static enum err send_frame(void *ctx, struct bytes frame, struct error *why)
{
	return manifest_upload_add(ctx, frame, why);
}

enum err incremental_upload(struct session *session, const struct cluster *cluster,
			    const struct manifest *parent, struct error *why)
{
	struct manifest_upload *upload = NULL;
	enum err e = manifest_upload_begin(session, &upload, why);

	if (e != ERR_NONE)
		return e;
	e = section_walk(cluster, parent, SECTION_SERVER_MANIFEST, send_frame, upload, why);
	if (e == ERR_NONE)
		e = manifest_upload_end(upload, why);
	manifest_upload_free(upload);
	return e;
}
