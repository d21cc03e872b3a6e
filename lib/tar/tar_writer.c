/* tar/tar_writer.c - tars through libarchive's ustar writer, byte for byte what the server's own have.
 *
 * ustar as libarchive writes it ends at 8 GiB for one file, where the server goes over to base 256.
 * libarchive does that in its GNU format only; so such an entry is written by a second archive of
 * that format into the same stream, whose end marker is swallowed.
 */
#include "tar/tar_writer.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>

/* Those that pg_basebackup gives to members of its own; the server's are the numbers of its user,
 * which no backup records. */
enum { OWNER = 04000, GROUP = 02000 };

struct tar_writer {
	struct archive *archive;
	struct archive *large; /* of one entry above TAR_USTAR_BYTES_MAX; else NULL */
	tar_push *push;
	void *ctx;
	struct error refused; /* by `push`; kind ERR_NONE = it never failed */
	uint64_t left;        /* bytes of the entry still to come */
	bool muted;           /* what is written now is no part of the stream */
};

/* libarchive never hears that the sink failed: an archive it has given up leaks when it is freed (seen
 * with 3.6.2).  What comes after the failure is swallowed. */
static la_ssize_t write_block(struct archive *archive, void *ctx, const void *block, size_t len)
{
	struct tar_writer *w = ctx;

	(void)archive;
	if (!w->muted && len > 0 && w->refused.kind == ERR_NONE)
		(void)w->push(w->ctx, bytes_of(block, len), &w->refused); /* `settle` looks */
	return (la_ssize_t)len;
}

/* After a call into libarchive: the sink's own reason when it failed, else libarchive's. */
static enum err settle(struct tar_writer *w, struct archive *archive, bool good, const char *what,
		       struct error *why)
{
	const char *text = archive_error_string(archive);

	if (w->refused.kind != ERR_NONE) {
		if (why != NULL)
			*why = w->refused;
		return w->refused.kind;
	}
	if (good)
		return ERR_NONE;
	if (archive_errno(archive) == ENOMEM)
		return error_set(why, ERR_MEMORY, "tar: out of memory while writing %s", what);
	return error_set(why, ERR_IO, "tar: %s cannot be written: %s", what,
			 text != NULL ? text : "libarchive does not say why");
}

static enum err begin(struct tar_writer *w, int (*format)(struct archive *), struct archive **out,
		      struct error *why)
{
	struct archive *archive = archive_write_new();

	if (archive == NULL)
		return error_set(why, ERR_MEMORY, "tar: out of memory");
	/* No blocking factor: every byte is pushed when it comes, and no padding at the end. */
	if (format(archive) != ARCHIVE_OK ||
	    archive_write_set_bytes_per_block(archive, 0) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(archive, 1) != ARCHIVE_OK ||
	    archive_write_open(archive, w, NULL, write_block, NULL) != ARCHIVE_OK) {
		enum err e = settle(w, archive, false, "the archive", why);

		(void)archive_write_free(archive); /* nothing was written */
		return e;
	}
	*out = archive;
	return ERR_NONE;
}

enum err tar_writer_open(tar_push *push, void *ctx, struct tar_writer **out, struct error *why)
{
	struct tar_writer *w = calloc(1, sizeof(*w));
	enum err e;

	if (w == NULL)
		return error_set(why, ERR_MEMORY, "tar: out of memory");
	w->push = push;
	w->ctx = ctx;
	e = begin(w, archive_write_set_format_ustar, &w->archive, why);
	if (e != ERR_NONE) {
		free(w);
		return e;
	}
	*out = w;
	return ERR_NONE;
}

/* The entry is padded, the rest of that archive is nobody's. */
static enum err end_large(struct tar_writer *w, struct error *why)
{
	enum err e = ERR_NONE;

	if (w->large == NULL)
		return ERR_NONE;
	e = settle(w, w->large, archive_write_finish_entry(w->large) == ARCHIVE_OK,
		   "the end of a file", why);
	w->muted = true;
	(void)archive_write_free(w->large); /* muted: there is nothing to lose */
	w->muted = false;
	w->large = NULL;
	return e;
}

static void fill(struct archive_entry *header, const struct tar_entry *entry)
{
	static const unsigned types[] = {
		[TAR_FILE] = AE_IFREG, [TAR_DIRECTORY] = AE_IFDIR, [TAR_SYMLINK] = AE_IFLNK};

	archive_entry_set_pathname(header, entry->path);
	archive_entry_set_filetype(header, types[entry->kind]);
	archive_entry_set_perm(header, (__LA_MODE_T)entry->mode);
	archive_entry_set_mtime(header, (time_t)entry->modified_s, 0);
	archive_entry_set_size(header, entry->kind == TAR_FILE ? (la_int64_t)entry->size : 0);
	archive_entry_set_uid(header, OWNER);
	archive_entry_set_gid(header, GROUP);
	archive_entry_set_uname(header, "postgres");
	archive_entry_set_gname(header, "postgres");
	if (entry->kind == TAR_SYMLINK)
		archive_entry_set_symlink(header, entry->target);
}

enum err tar_writer_entry(struct tar_writer *w, const struct tar_entry *entry, struct error *why)
{
	bool large = entry->kind == TAR_FILE && entry->size > TAR_USTAR_BYTES_MAX;
	struct archive_entry *header;
	struct archive *archive;
	enum err e = end_large(w, why);

	if (e == ERR_NONE && large) {
		/* The entry before is padded first, as its archive would do with the next. */
		e = settle(w, w->archive, archive_write_finish_entry(w->archive) == ARCHIVE_OK,
			   "the end of a file", why);
		if (e == ERR_NONE)
			e = begin(w, archive_write_set_format_gnutar, &w->large, why);
	}
	if (e != ERR_NONE)
		return e;
	archive = large ? w->large : w->archive;
	header = archive_entry_new();
	if (header == NULL)
		return error_set(why, ERR_MEMORY, "tar: out of memory");
	fill(header, entry);
	e = settle(w, archive, archive_write_header(archive, header) == ARCHIVE_OK, entry->path,
		   why);
	if (e == ERR_IO && w->refused.kind == ERR_NONE)
		e = why->kind = ERR_LIMIT; /* libarchive refuses only what does not fit */
	archive_entry_free(header);
	w->left = entry->kind == TAR_FILE ? entry->size : 0;
	return e;
}

enum err tar_writer_data(struct tar_writer *w, struct bytes in, struct error *why)
{
	struct archive *archive = w->large != NULL ? w->large : w->archive;

	if (in.len > w->left)
		return error_set(why, ERR_IO, "tar: more bytes than the entry's size");
	w->left -= in.len;
	return settle(w, archive,
		      in.len == 0 ||
			      archive_write_data(archive, in.data, in.len) == (la_ssize_t)in.len,
		      "a file", why);
}

enum err tar_writer_finish(struct tar_writer *w, struct error *why)
{
	enum err e = end_large(w, why);

	return e == ERR_NONE ? settle(w, w->archive, archive_write_close(w->archive) == ARCHIVE_OK,
				      "the end", why)
			     : e;
}

void tar_writer_close(struct tar_writer *w)
{
	if (w == NULL)
		return;
	w->muted = true; /* what is left inside libarchive is void */
	if (w->large != NULL)
		(void)archive_write_free(w->large);
	(void)archive_write_free(w->archive);
	free(w);
}
