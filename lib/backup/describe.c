/* backup/describe.c - what a backup says of itself: the summary, checked against what came. */
#include "backup/run_internal.h"
#include "pgformat/control.h"
#include "pgformat/label.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What the stream said about itself must agree with what it was asked from. */
static enum err run_check(struct run *r, struct summary *s)
{
	struct bytes control = builder_control(r->builder);
	struct backup_label label;
	struct control decoded;
	enum err e = control_decode(control, &decoded, r->why);

	if (e != ERR_NONE)
		return error_add(r->why, "global/pg_control as received"), e;
	if (decoded.system_identifier != r->system.system_identifier)
		return error_set(r->why, ERR_PEER,
				 "global/pg_control has system identifier %" PRIu64
				 ", the server said %" PRIu64,
				 decoded.system_identifier, r->system.system_identifier);
	e = backup_label_decode(builder_label(r->builder), &label, r->why);
	if (e != ERR_NONE)
		return error_add(r->why, "backup_label as received"), e;
	if (label.start.value != base_backup_start(r->source).value)
		return error_set(r->why, ERR_PEER,
				 "backup_label and BASE_BACKUP name different start LSNs");
	/* A connection string may name several servers. */
	if (label.from_standby && !r->on_standby)
		return error_set(
			r->why, ERR_PEER,
			"the server was no standby when this backup was begun, and is one now: "
			"take it again");
	s->control_len = control.len < CONTROL_KEPT_BYTES ? control.len : CONTROL_KEPT_BYTES;
	memcpy(s->control, control.data, s->control_len);
	s->from_standby = label.from_standby;
	s->data_checksums = decoded.data_checksums != 0;
	return ERR_NONE;
}

static enum err copy_tablespaces(struct run *r, struct summary *s)
{
	const struct base_backup_tablespace *from;
	size_t n = base_backup_tablespaces(r->source, &from);

	if (n == 0)
		return ERR_NONE;
	s->tablespace = calloc(n, sizeof(*s->tablespace));
	if (s->tablespace == NULL)
		return error_set(r->why, ERR_MEMORY, "backup: out of memory");
	for (size_t i = 0; i < n; i++) {
		int len = snprintf(s->tablespace[i].path, sizeof(s->tablespace[i].path), "%s",
				   from[i].path);

		if (len < 0 || (size_t)len >= sizeof(s->tablespace[i].path))
			return error_set(r->why, ERR_LIMIT, "tablespace path is too long: %s",
					 from[i].path);
		s->tablespace[i].oid = from[i].oid;
	}
	s->tablespaces = n;
	return ERR_NONE;
}

static enum err copy_bad_files(struct run *r, struct summary *s)
{
	enum { BAD_FILES_MAX = 1000 };
	const char *const *paths;
	size_t n = base_backup_bad_files(r->source, &paths);

	s->checksum_failures = n;
	if (r->end.checksum_failures && n == 0)
		s->checksum_failures = 1; /* the server said so without naming a file */
	if (n > BAD_FILES_MAX)
		n = BAD_FILES_MAX;
	if (n == 0)
		return ERR_NONE;
	s->bad_file = calloc(n, sizeof(*s->bad_file));
	if (s->bad_file == NULL)
		return error_set(r->why, ERR_MEMORY, "backup: out of memory");
	for (size_t i = 0; i < n; i++) {
		s->bad_file[i] = strdup(paths[i]);
		if (s->bad_file[i] == NULL)
			return error_set(r->why, ERR_MEMORY, "backup: out of memory");
		s->bad_files = i + 1;
	}
	return ERR_NONE;
}

/* Everything about this backup that is known before it is committed. */
enum err run_describe(struct run *r, int64_t started_us)
{
	struct summary *s = &r->manifest->summary;
	const struct builder_totals totals = builder_totals(r->builder);
	const char *label = r->request->label;
	enum err e;

	s->attempt = r->attempt;
	(void)snprintf(s->cluster, sizeof(s->cluster), "%s", r->cluster[0].name);
	(void)snprintf(s->label, sizeof(s->label), "%s", label != NULL ? label : "");
	(void)snprintf(s->writer, sizeof(s->writer), "pgagent %s", PGAGENT_VERSION);
	if (gethostname(s->host, sizeof(s->host) - 1) != 0)
		s->host[0] = '\0';
	s->system_identifier = r->system.system_identifier;
	s->server_version = r->identity.server_version;
	s->wal_segment_bytes = r->identity.wal_segment_bytes;
	s->block_bytes = r->identity.block_bytes;
	s->timeline = base_backup_start_timeline(r->source);
	s->stop_timeline = r->end.timeline;
	s->start = base_backup_start(r->source);
	s->stop = r->end.stop;
	s->started_us = started_us;
	s->keep = r->request->keep;
	s->incremental = r->incremental;
	s->has_parent = r->parent != NULL;
	if (s->has_parent)
		s->parent = parent_map_manifest(r->parent)->summary.attempt;
	s->files = totals.files;
	s->bytes_cluster = totals.bytes_cluster;
	s->bytes_new = totals.pages.bytes_new;
	s->bytes_renewed = totals.pages.bytes_renewed;
	s->pages_changed = totals.pages.pages_changed;
	s->bytes_read = totals.pages.bytes_read;
	s->bytes_used = totals.pages.bytes_used;
	e = run_check(r, s);
	if (e == ERR_NONE)
		e = copy_tablespaces(r, s);
	if (e == ERR_NONE)
		e = copy_bad_files(r, s);
	if (e == ERR_NONE)
		e = about_collect(r->env, r->request->conninfo, r->packs, s, r->why);
	if (e == ERR_NONE && r->request->agent_config != NULL)
		e = pack_section_add(r->packs, SECTION_AGENT_CONFIG,
				     bytes_of_text(r->request->agent_config), r->why);
	if (e == ERR_NONE)
		e = pack_writer_finish(r->packs, r->why);
	s->bytes_stored = pack_stored_bytes(r->packs);
	return e;
}
