/* restore/export_outputs.c - the files of an export: refused, begun, published, taken back.
 *
 * All are temporaries until all are whole.  Then they are published, base.tar last; a crash in between
 * leaves no base.tar, and what it leaves of temporaries the next run removes.
 */
#include "base/text.h"
#include "restore/export_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILE_MODE = 0600, DIRECTORY_MODE = 0700 };

/* ---- what is in the way ---- */

struct looking {
	const struct export_outputs *outputs;
	char other[NAME_MAX + 1]; /* "" = nothing is in the way */
	char left[8][NAME_MAX + 1];
	size_t lefts;
};

static int look(void *ctx, const char *name, mode_t type)
{
	struct looking *l = ctx;

	if (!S_ISREG(type) || !file_temp_is_name(name))
		(void)snprintf(l->other, sizeof(l->other), "%s", name);
	else if (l->lefts < sizeof(l->left) / sizeof(l->left[0]))
		(void)snprintf(l->left[l->lefts++], sizeof(l->left[0]), "%s", name);
	return l->other[0] != '\0';
}

static enum err refuse_other(const struct export_outputs *o, const char *name, struct error *why)
{
	(void)error_set(why, ERR_CONFIG, "directory \"%s\" is not empty: it holds \"%s\"",
			o->request->directory, name);
	error_hint(why, "export into a directory that is empty or not there yet");
	return ERR_CONFIG;
}

/* Empties the directory of what interrupted exports left, a few names at a time. */
static enum err clear_directory(struct export_outputs *o, struct error *why)
{
	struct files *files = o->env->files;

	for (;;) {
		struct looking l = {.outputs = o};
		int answer = files->ops->list(files, o->dir, ".", look, &l);

		if (answer < 0)
			return error_set_os(why, error_kind_of_os(-answer), -answer,
					    "cannot look into \"%s\"", o->request->directory);
		if (l.other[0] != '\0')
			return refuse_other(o, l.other, why);
		if (l.lefts == 0)
			return ERR_NONE;
		for (size_t i = 0; i < l.lefts; i++) {
			if (!file_temp_is_left(l.left[i]))
				return refuse_other(o, l.left[i], why);
			answer = files->ops->unlink(files, o->dir, l.left[i], 0);
			if (answer < 0)
				return error_set_os(why, error_kind_of_os(-answer), -answer,
						    "cannot remove \"%s/%s\"",
						    o->request->directory, l.left[i]);
		}
	}
}

/* A place that is not there is a wrong place: "missing" is an answer about backups. */
static enum err place_kind(int answer)
{
	enum err kind = error_kind_of_os(-answer);

	return kind == ERR_MISSING || answer == -ENOTDIR ? ERR_CONFIG : kind;
}

static enum err open_directory(struct export_outputs *o, struct error *why)
{
	struct files *files = o->env->files;
	const char *path = o->request->directory;
	int answer = files->ops->mkdir(files, AT_FDCWD, path, DIRECTORY_MODE);

	if (answer < 0 && answer != -EEXIST)
		return error_set_os(why, place_kind(answer), -answer,
				    "cannot make directory \"%s\"", path);
	o->made = answer >= 0;
	o->dir = files->ops->open(files, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	if (o->dir < 0)
		return error_set_os(why, place_kind(o->dir), -o->dir,
				    "cannot open directory \"%s\"", path);
	return clear_directory(o, why);
}

static enum err check_space(struct export_outputs *o, int fd, uint64_t need, struct error *why)
{
	struct files *files = o->env->files;
	uint64_t space = 0;
	char needed[TEXT_SIZE_MAX], has[TEXT_SIZE_MAX];

	if (files->ops->free_bytes(files, fd, &space) < 0 || space >= need)
		return ERR_NONE; /* where it is not known, writing finds out */
	text_of_size(need, needed);
	text_of_size(space, has);
	(void)error_set(why, ERR_FULL, "the export needs %s, %s are free at \"%s\"", needed, has,
			o->request->directory != NULL ? o->request->directory : o->request->file);
	error_hint(why, "take another place, or free some space there");
	return ERR_FULL;
}

static enum err check_file(struct export_outputs *o, uint64_t need, struct error *why)
{
	struct files *files = o->env->files;
	char parent[PATH_MAX];
	struct stat st;
	int fd;
	enum err e = file_parent(o->request->file, parent, why);

	if (e != ERR_NONE)
		return e;
	if (files->ops->stat(files, AT_FDCWD, o->request->file, AT_SYMLINK_NOFOLLOW, &st) >= 0) {
		(void)error_set(why, ERR_CONFIG, "\"%s\" is already there", o->request->file);
		error_hint(why, "give another name");
		return ERR_CONFIG;
	}
	fd = files->ops->open(files, AT_FDCWD, parent, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return error_set_os(why, place_kind(fd), -fd, "cannot open directory \"%s\"",
				    parent);
	e = check_space(o, fd, need, why);
	(void)files->ops->close(files, fd); /* nothing was written */
	return e;
}

/* ---- opening ---- */

/* `path` is where it goes, or NULL for the stream. */
static enum err output_begin(struct export_outputs *o, struct export_output *output,
			     const char *path, bool is_tar, struct error *why)
{
	enum err e = ERR_NONE;

	output->request = o->request;
	output->buffer = malloc(OUTPUT_BUFFER_BYTES);
	if (output->buffer == NULL)
		return error_set(why, ERR_MEMORY, "export: out of memory");
	if (path != NULL)
		e = file_temp_begin(&output->temp, o->env->files, o->env->random, o->dir, path,
				    FILE_MODE, why);
	output->begun = e == ERR_NONE && path != NULL;
	if (e == ERR_NONE && is_tar)
		e = tar_writer_open(output_push, output, &output->tar, why);
	return e;
}

static enum err begin_all(struct export_outputs *o, const struct summary *s, struct error *why)
{
	enum err e = ERR_NONE;

	if (o->request->directory == NULL) {
		o->count = 1;
		o->base = o->wal = o->manifest = o->output;
		return output_begin(o, o->base, o->request->file, true, why);
	}
	o->count = s->tablespaces + 3;
	for (size_t i = 0; i < s->tablespaces; i++) {
		o->output[i].oid = s->tablespace[i].oid;
		(void)snprintf(o->output[i].name, sizeof(o->output[i].name), "%" PRIu32 ".tar",
			       s->tablespace[i].oid);
	}
	o->wal = &o->output[s->tablespaces];
	o->manifest = o->wal + 1;
	o->base = o->wal + 2; /* published last */
	(void)snprintf(o->wal->name, sizeof(o->wal->name), "pg_wal.tar");
	(void)snprintf(o->manifest->name, sizeof(o->manifest->name), "backup_manifest");
	(void)snprintf(o->base->name, sizeof(o->base->name), "base.tar");
	for (size_t i = 0; e == ERR_NONE && i < o->count; i++)
		e = output_begin(o, &o->output[i], o->output[i].name, &o->output[i] != o->manifest,
				 why);
	return e;
}

enum err outputs_open(struct export_outputs *o, const struct env *env,
		      const struct export_request *request, const struct summary *s,
		      uint64_t bytes_needed, struct error *why)
{
	enum err e = ERR_NONE;

	*o = (struct export_outputs){.env = env, .request = request, .dir = AT_FDCWD};
	if (s->tablespaces > RESTORE_TABLESPACES_MAX)
		return error_set(why, ERR_LIMIT,
				 "the backup has %zu tablespaces, at most %d are "
				 "exported",
				 s->tablespaces, (int)RESTORE_TABLESPACES_MAX);
	o->output = calloc(s->tablespaces + 3, sizeof(*o->output));
	if (o->output == NULL)
		return error_set(why, ERR_MEMORY, "export: out of memory");
	if (request->directory != NULL) {
		e = open_directory(o, why);
		if (e == ERR_NONE)
			e = check_space(o, o->dir, bytes_needed, why);
	} else if (request->file != NULL) {
		e = check_file(o, bytes_needed, why);
	}
	return e == ERR_NONE ? begin_all(o, s, why) : e;
}

/* ---- writing ---- */

static enum err pass_on(struct export_output *output, struct bytes in, struct error *why)
{
	const struct export_request *r = output->request;
	enum err e = output->begun ? file_temp_append(&output->temp, in, why)
				   : r->push(r->push_ctx, in, why);

	if (e == ERR_FULL)
		error_hint(why, "free some space there, then run the same command again");
	return e;
}

static enum err flush(struct export_output *output, struct error *why)
{
	struct bytes held = bytes_of(output->buffer, output->held);

	output->held = 0;
	return held.len > 0 ? pass_on(output, held, why) : ERR_NONE;
}

enum err output_push(void *ctx, struct bytes in, struct error *why)
{
	struct export_output *output = ctx;
	enum err e = ERR_NONE;

	output->bytes += in.len;
	if (in.len > OUTPUT_BUFFER_BYTES - output->held)
		e = flush(output, why);
	if (e != ERR_NONE || in.len >= OUTPUT_BUFFER_BYTES)
		return e == ERR_NONE ? pass_on(output, in, why) : e;
	memcpy(output->buffer + output->held, in.data, in.len);
	output->held += in.len;
	return ERR_NONE;
}

enum err export_member(struct export_output *output, const struct tar_entry *entry,
		       struct bytes content, struct error *why)
{
	struct tar_entry sized = *entry;
	enum err e;

	sized.size = content.len;
	e = tar_writer_entry(output->tar, &sized, why);
	return e == ERR_NONE ? tar_writer_data(output->tar, content, why) : e;
}

struct export_output *outputs_route(struct export_outputs *o, struct bytes path,
				    struct bytes *member)
{
	*member = path;
	for (size_t i = 0; i < o->count; i++) {
		char prefix[32];
		size_t len;

		if (o->output[i].oid == 0)
			continue;
		len = (size_t)snprintf(prefix, sizeof(prefix), "pg_tblspc/%" PRIu32,
				       o->output[i].oid);
		if (path.len < len || memcmp(path.data, prefix, len) != 0 ||
		    (path.len > len && path.data[len] != '/'))
			continue;
		*member = path.len > len ? bytes_of(path.data + len + 1, path.len - len - 1)
					 : bytes_of(NULL, 0);
		return &o->output[i];
	}
	return o->base;
}

/* ---- the end ---- */

enum err outputs_publish(struct export_outputs *o, struct error *why)
{
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < o->count; i++) {
		if (o->output[i].tar != NULL)
			e = tar_writer_finish(o->output[i].tar, why);
		if (e == ERR_NONE)
			e = flush(&o->output[i], why);
	}
	for (size_t i = 0; e == ERR_NONE && i < o->count; i++) {
		struct export_output *output = &o->output[i];

		if (!output->begun)
			continue;
		/* A backup that came without a manifest is exported without one. */
		if (output->tar == NULL && output->bytes == 0)
			continue;
		output->begun = false;
		e = file_temp_publish(&output->temp,
				      o->request->file != NULL ? o->request->file : output->name,
				      why);
		output->published = e == ERR_NONE;
	}
	if (e == ERR_NONE && o->made) {
		char parent[PATH_MAX];

		e = file_parent(o->request->directory, parent, why);
		if (e == ERR_NONE)
			e = file_sync_dir(o->env->files, AT_FDCWD, parent, why);
	}
	for (size_t i = 0; i < o->count; i++)
		o->output[i].published =
			o->output[i].published && e != ERR_NONE; /* to be taken back */
	o->made = o->made && e != ERR_NONE;
	return e;
}

void outputs_close(struct export_outputs *o)
{
	if (o->env == NULL)
		return; /* never opened */
	for (size_t i = 0; i < o->count; i++) {
		struct export_output *output = &o->output[i];
		const char *path = o->request->file != NULL ? o->request->file : output->name;

		tar_writer_close(output->tar);
		if (output->begun)
			file_temp_abandon(&output->temp);
		if (output->published)
			(void)o->env->files->ops->unlink(o->env->files, o->dir, path, 0);
		free(output->buffer);
	}
	free(o->output);
	if (o->dir >= 0)
		(void)o->env->files->ops->close(o->env->files, o->dir); /* all was synced */
	if (o->made) /* best effort, as the unlink above: the run has failed and says so */
		(void)o->env->files->ops->unlink(o->env->files, AT_FDCWD, o->request->directory,
						 AT_REMOVEDIR);
	o->env = NULL;
}
