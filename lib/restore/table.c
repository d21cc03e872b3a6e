/* restore/table.c - the file table of the backup in memory, and who writes which record. */
#include "restore/restore_internal.h"

#include <stdlib.h>

enum { TABLE_BYTES_MAX = 1 << 30 };

bool path_is(struct bytes path, const char *text)
{
	return path.len == strlen(text) && memcmp(path.data, text, path.len) == 0;
}

bool table_is_apart(const struct file_record *record)
{
	/* Signal files are the restore's to decide; a server that was itself a copy may have left
	 * our own; what is left of another server's life stops this one from starting. */
	static const char *const apart[] = {
		"global/pg_control", "postgresql.auto.conf", "tablespace_map", "recovery.signal",
		"standby.signal",    "backup_manifest",      "postmaster.pid", "postmaster.opts",
		RESTORE_MARKER,      RESTORE_CONF,           RESTORE_HBA,      RESTORE_IDENT,
		RESTORE_LOG,         RESTORE_SOCKETS};

	for (size_t i = 0; i < sizeof(apart) / sizeof(apart[0]); i++)
		if (path_is(record->path, apart[i]))
			return true;
	return false;
}

static enum err table_decode(struct table *t, struct error *why)
{
	struct reader r = reader_of(bytes_of(t->data, t->len));
	size_t max = 0;

	while (r.left > 0) {
		enum err e;

		if (t->files == max) {
			struct file_record *more;

			max = max == 0 ? 1024 : max * 2;
			more = realloc(t->file, max * sizeof(*more));
			if (more == NULL)
				return error_set(why, ERR_MEMORY, "file table: out of memory");
			t->file = more;
		}
		e = file_record_decode(&r, &t->file[t->files], why);
		if (e != ERR_NONE)
			return e;
		t->files++;
	}
	return ERR_NONE;
}

enum err table_read(const struct source *s, struct table *t, struct error *why)
{
	enum err e;

	*t = (struct table){.files = 0};
	e = source_section(s, "files", TABLE_BYTES_MAX, &t->data, &t->len, why);
	if (e == ERR_MISSING)
		e = error_set(why, ERR_CORRUPT, "the backup has no file table");
	if (e == ERR_NONE)
		e = table_decode(t, why);
	for (size_t i = 0; e == ERR_NONE && i < t->files; i++) {
		const struct file_record *file = &t->file[i];

		if (file->kind != FILE_PLAIN)
			continue;
		if (path_is(file->path, "global/pg_control"))
			t->control = file;
		else if (path_is(file->path, "postgresql.auto.conf"))
			t->auto_conf = file;
		else if (path_is(file->path, "postgresql.conf"))
			t->conf = file;
		else if (path_is(file->path, "tablespace_map"))
			t->map = file;
	}
	if (e == ERR_NONE && t->control == NULL)
		e = error_set(why, ERR_CORRUPT, "the backup has no global/pg_control");
	if (e != ERR_NONE)
		table_release(t);
	return e;
}

void table_release(struct table *t)
{
	free(t->file);
	free(t->data);
	*t = (struct table){.files = 0};
}
