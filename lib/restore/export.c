/* restore/export.c - a backup as tars: reads what there is, refuses what can't be, then writes. */
#include "restore/export_internal.h"
#include "restore/reading.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { SERVER_MANIFEST_MAX = 1 << 30, MEMBER_MODE = 0600 };

struct exporting {
	const struct env *env;
	const struct wal_archive *archive;
	const struct export_request *request;
	struct export_result *out;
	pthread_mutex_t speaking;
	struct reading reading;
	struct manifest *manifest;
	struct source source;
	struct table table;
	struct history *path;
	struct export_outputs outputs;
};

static enum err check_packs(const struct exporting *x, struct error *why)
{
	struct error first = {.kind = ERR_NONE};

	for (size_t i = 0; i < x->archive->count; i++) {
		enum err e = decision_check_packs(&x->archive->cluster[i], x->manifest, why);

		if (e == ERR_NONE)
			return ERR_NONE;
		if (first.kind == ERR_NONE)
			first = *why;
	}
	if (x->archive->count == 1) {
		*why = first;
		return first.kind;
	}
	/* Each may have what the others lack: only reading tells. */
	observer_event(x->env->observer, LEVEL_WARNING, "no repository has all of it: %s",
		       first.text);
	return ERR_NONE;
}

static uint64_t bytes_needed(const struct exporting *x)
{
	const struct summary *s = &x->manifest->summary;
	const struct section *manifest = manifest_section(x->manifest, "server-manifest");
	uint64_t need = export_wal_segments(s) * (tar_entry_bytes(s->wal_segment_bytes) + 512);

	for (size_t i = 0; i < x->table.files; i++)
		need += tar_entry_bytes(x->table.file[i].size);
	return need + (manifest != NULL ? tar_entry_bytes(manifest->plain_bytes) : 0);
}

/* Everything that is known before the first byte. */
static enum err prepare(struct exporting *x, struct error *why)
{
	const struct summary *s = &x->manifest->summary;
	enum err e;

	if (x->request->directory == NULL && s->tablespaces > 0) {
		(void)error_set(why, ERR_CONFIG,
				"the backup has %zu tablespace(s), each of which is a tar of its "
				"own: they do not fit into one file",
				s->tablespaces);
		error_hint(why, "export into a directory: --to DIR");
		return ERR_CONFIG;
	}
	x->source = (struct source){.env = x->env,
				    .archive = x->archive,
				    .manifest = x->manifest,
				    .speaking = &x->speaking};
	e = check_packs(x, why);
	if (e == ERR_NONE)
		e = export_wal_check(x->env, x->archive, s, x->path, why);
	if (e == ERR_NONE)
		e = table_read(&x->source, &x->table, why);
	if (e == ERR_NONE)
		e = outputs_open(&x->outputs, x->env, x->request, s, bytes_needed(x), why);
	return e;
}

static enum err write_server_manifest(struct exporting *x, struct error *why)
{
	struct export_output *output = x->outputs.manifest;
	struct tar_entry entry = {.kind = TAR_FILE,
				  .path = "backup_manifest",
				  .mode = MEMBER_MODE,
				  .modified_s = x->manifest->summary.finished_us / 1000000};
	uint8_t *data = NULL;
	size_t len = 0;
	enum err e = source_section(&x->source, "server-manifest", SERVER_MANIFEST_MAX, &data, &len,
				    why);

	if (e == ERR_MISSING) {
		observer_event(x->env->observer, LEVEL_WARNING,
			       "the server gave no backup_manifest, so there is none to export");
		return ERR_NONE;
	}
	if (e == ERR_NONE && output->tar == NULL)
		e = output_push(output, bytes_of(data, len), why);
	else if (e == ERR_NONE)
		e = export_member(output, &entry, bytes_of(data, len), why);
	free(data);
	return e;
}

static enum err write_all(struct exporting *x, struct error *why)
{
	enum err e =
		export_files(&x->source, &x->table, &x->outputs, x->request->jobs, x->out, why);

	table_release(&x->table);
	if (e == ERR_NONE)
		e = export_wal(x->env, x->archive, &x->manifest->summary, x->path, &x->outputs,
			       why);
	if (e == ERR_NONE)
		e = write_server_manifest(x, why);
	if (e == ERR_NONE)
		e = outputs_publish(&x->outputs, why);
	x->out->wal_segments = export_wal_segments(&x->manifest->summary);
	return e;
}

enum err export_run(const struct env *env, const struct wal_archive *archive,
		    const struct export_request *request, struct export_result *out,
		    struct error *why)
{
	struct exporting x = {.env = env,
			      .archive = archive,
			      .request = request,
			      .out = out,
			      .reading = {.pin = {.backup = request->backup}}};
	int64_t began = clock_monotonic_us(env->clock);
	enum err e;

	*out = (struct export_result){.files = 0};
	(void)pthread_mutex_init(&x.speaking, NULL); /* cannot fail on Linux */
	x.path = calloc(1, sizeof(*x.path));
	e = x.path != NULL ? ERR_NONE : error_set(why, ERR_MEMORY, "export: out of memory");
	if (e == ERR_NONE)
		e = reading_begin(&x.reading, env, archive, &x.manifest, why);
	if (e == ERR_NONE)
		e = prepare(&x, why);
	if (e == ERR_NONE)
		e = write_all(&x, why);
	for (size_t i = 0; e == ERR_NONE && i < x.outputs.count; i++) {
		out->bytes_written += x.outputs.output[i].bytes;
		out->tars += x.outputs.output[i].tar != NULL;
	}
	outputs_close(&x.outputs);
	table_release(&x.table);
	reading_end(&x.reading);
	manifest_free(x.manifest);
	free(x.path);
	(void)pthread_mutex_destroy(&x.speaking);
	out->duration_us = clock_monotonic_us(env->clock) - began;
	return e;
}
