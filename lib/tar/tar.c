/* tar/tar.c - the server's tar stream through libarchive, with everything refused that the server
 * never writes: extended headers, hard links, devices, holes, names that leave the directory.
 *
 * libarchive takes a stream that stops at a header, or after one empty block, for a complete
 * archive.  So the end is decided here: the bytes from the last header position to the end of
 * input must be zero and at least two blocks, and `taken` and `solid` are kept for that.
 */
#include "tar/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCK_BYTES = 512, END_BYTES = 2 * BLOCK_BYTES };

struct tar_reader {
	struct archive *archive;
	tar_pull *pull;
	void *ctx;
	bool input_over;
	uint64_t taken;       /* bytes pulled so far */
	uint64_t solid;       /* bytes up to and including the last one that is not zero */
	struct error refused; /* by `pull`; kind ERR_NONE = it never failed */
	struct tar_entry entry;
	uint64_t given; /* bytes of the entry handed out */
	bool complete;  /* the end was seen and is good */
};

/* Bytes up to and including the last that is not zero.  Most blocks end with one, so this looks at
 * whole blocks of zeros only where there are some. */
static size_t solid_len(struct bytes in)
{
	size_t len = in.len;

	while (len > BLOCK_BYTES &&
	       bytes_are_zero(bytes_of(in.data + len - BLOCK_BYTES, BLOCK_BYTES)))
		len -= BLOCK_BYTES;
	while (len > 0 && in.data[len - 1] == 0)
		len--;
	return len;
}

static enum err take(struct tar_reader *r, struct bytes *out)
{
	enum err e;
	size_t solid;

	*out = bytes_of(NULL, 0);
	if (r->input_over)
		return ERR_NONE;
	e = r->pull(r->ctx, out, &r->refused);
	if (e != ERR_NONE) {
		r->refused.kind = e;
		r->input_over = true;
		return e;
	}
	solid = solid_len(*out);
	if (solid > 0)
		r->solid = r->taken + solid;
	r->taken += out->len;
	r->input_over = out->len == 0;
	return ERR_NONE;
}

static la_ssize_t read_block(struct archive *archive, void *ctx, const void **block)
{
	struct bytes in;

	if (take(ctx, &in) != ERR_NONE) {
		archive_set_error(archive, EIO, "the source failed");
		return ARCHIVE_FATAL;
	}
	*block = in.data;
	return (la_ssize_t)in.len;
}

/* What went wrong below: the source's own reason when it failed, else libarchive's. */
static enum err failed(struct tar_reader *r, const char *what, struct error *why)
{
	const char *said = archive_error_string(r->archive);

	if (r->refused.kind != ERR_NONE) {
		if (why != NULL)
			*why = r->refused;
		return r->refused.kind;
	}
	if (archive_errno(r->archive) == ENOMEM)
		return error_set(why, ERR_MEMORY, "tar: %s: out of memory", what);
	return error_set(why, ERR_PEER, "tar: %s: %s", what, said != NULL ? said : "malformed");
}

enum err tar_reader_open(tar_pull *pull, void *ctx, struct tar_reader **out, struct error *why)
{
	struct tar_reader *r = calloc(1, sizeof(*r));
	enum err e = ERR_NONE;

	if (r == NULL)
		return error_set(why, ERR_MEMORY, "tar: out of memory");
	r->pull = pull;
	r->ctx = ctx;
	r->archive = archive_read_new();
	if (r->archive == NULL)
		e = error_set(why, ERR_MEMORY, "tar: out of memory");
	else if (archive_read_support_filter_none(r->archive) != ARCHIVE_OK ||
		 archive_read_support_format_tar(r->archive) != ARCHIVE_OK ||
		 archive_read_open2(r->archive, r, NULL, read_block, NULL, NULL) != ARCHIVE_OK)
		e = failed(r, "open archive", why);
	if (e != ERR_NONE) {
		tar_reader_close(r);
		return e;
	}
	*out = r;
	return ERR_NONE;
}

void tar_reader_close(struct tar_reader *r)
{
	if (r == NULL)
		return;
	(void)archive_read_free(r->archive); /* it only gives memory back */
	free(r);
}

/* The end marker, then nothing but zeros. */
static enum err check_end(struct tar_reader *r, struct error *why)
{
	int64_t end = archive_read_header_position(r->archive);

	while (!r->input_over) {
		struct bytes rest;

		if (take(r, &rest) != ERR_NONE)
			return failed(r, "end of archive", why);
	}
	if (r->refused.kind != ERR_NONE)
		return failed(r, "end of archive", why);
	if (end < 0 || r->solid > (uint64_t)end)
		return error_set(why, ERR_PEER, "tar: end of archive: bytes follow it");
	if (r->taken < (uint64_t)end + END_BYTES)
		return error_set(why, ERR_PEER, "tar: end of archive: cut after %llu bytes",
				 (unsigned long long)r->taken);
	r->complete = true;
	return error_set(why, ERR_MISSING, "tar: end of archive");
}

/* Copies a name in normal form; the reason it is refused, or NULL. */
static const char *normalise(const char *name, char out[TAR_PATH_MAX])
{
	size_t len;

	if (name == NULL || name[0] == '\0')
		return "no name";
	if (name[0] == '/')
		return "absolute name";
	if (name[0] == '.' && name[1] == '/')
		name += 2;
	len = strlen(name);
	if (len > 0 && name[len - 1] == '/')
		len--;
	if (len == 0)
		return "no name";
	if (len >= TAR_PATH_MAX)
		return "name too long";
	for (size_t at = 0; at <= len;) {
		const char *slash = memchr(name + at, '/', len - at);
		size_t part = slash != NULL ? (size_t)(slash - name) - at : len - at;

		if (part == 0)
			return "empty part in the name";
		if (part == 2 && name[at] == '.' && name[at + 1] == '.')
			return "\"..\" in the name";
		if (part == 1 && name[at] == '.')
			return "\".\" in the name";
		at += part + 1;
	}
	memcpy(out, name, len);
	out[len] = '\0';
	return NULL;
}

/* What kind it is, and its target when it is a link; the reason it is refused, or NULL. */
static const char *classify(struct archive_entry *in, const char *name, struct tar_entry *out)
{
	const char *target = archive_entry_symlink(in);

	if (archive_entry_hardlink(in) != NULL)
		return "hard link";
	switch (archive_entry_filetype(in)) {
	case AE_IFREG:
		out->kind = TAR_FILE;
		if (name[strlen(name) - 1] == '/') /* libarchive makes directories of most */
			return "file named like a directory";
		return archive_entry_size_is_set(in) && archive_entry_size(in) >= 0
			       ? NULL
			       : "file without a size";
	case AE_IFDIR:
		out->kind = TAR_DIRECTORY;
		return NULL;
	case AE_IFLNK:
		out->kind = TAR_SYMLINK;
		if (target == NULL || target[0] == '\0')
			return "symbolic link to nowhere";
		if (strlen(target) >= TAR_PATH_MAX)
			return "symbolic link with too long a target";
		(void)snprintf(out->target, sizeof(out->target), "%s", target); /* fits */
		return NULL;
	default:
		return "neither file nor directory nor symbolic link";
	}
}

/* The entry's name for an error: control bytes become '?', since it comes from the wire. */
static void name_for_error(const char *name, char out[128])
{
	(void)snprintf(out, 128, "%s", name != NULL ? name : ""); /* a cut name still tells */
	for (char *at = out; *at != '\0'; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
}

static enum err decode_entry(struct tar_reader *r, struct archive_entry *in, struct error *why)
{
	struct tar_entry entry = {.kind = TAR_FILE};
	const char *name = archive_entry_pathname(in);
	const char *reason = normalise(name, entry.path);
	char shown[128];

	/* Extended headers could say anything about an entry; the server writes none.  libarchive
	 * merges those of GNU without a word: they show as more than one block of header. */
	if (archive_format(r->archive) != ARCHIVE_FORMAT_TAR_USTAR ||
	    archive_filter_bytes(r->archive, 0) - archive_read_header_position(r->archive) >
		    BLOCK_BYTES)
		reason = "not plain ustar";
	if (reason == NULL)
		reason = classify(in, name, &entry);
	if (reason != NULL) {
		name_for_error(name, shown);
		return error_set(why, ERR_PEER, "tar: entry \"%s\": %s", shown, reason);
	}
	entry.mode = (uint32_t)archive_entry_perm(in) & 07777;
	entry.modified_s = archive_entry_mtime(in);
	entry.size = entry.kind == TAR_FILE ? (uint64_t)archive_entry_size(in) : 0;
	r->entry = entry;
	r->given = 0;
	return ERR_NONE;
}

enum err tar_reader_next(struct tar_reader *r, struct tar_entry *out, struct error *why)
{
	struct archive_entry *in = NULL;
	int answer;
	enum err e;

	if (r->complete)
		return error_set(why, ERR_MISSING, "tar: end of archive");
	answer = archive_read_next_header(r->archive, &in);
	if (answer == ARCHIVE_EOF)
		return check_end(r, why);
	if (answer != ARCHIVE_OK) /* also what libarchive only warns of */
		return failed(r, "next entry", why);
	e = decode_entry(r, in, why);
	if (e == ERR_NONE)
		*out = r->entry;
	return e;
}

enum err tar_reader_data(struct tar_reader *r, struct bytes *out, struct error *why)
{
	const void *block = NULL;
	size_t len = 0;
	la_int64_t offset = 0;
	int answer = ARCHIVE_EOF;

	if (r->given < r->entry.size)
		answer = archive_read_data_block(r->archive, &block, &len, &offset);
	else if (r->given == r->entry.size) {
		*out = bytes_of(NULL, 0);
		return ERR_NONE;
	}
	if (answer == ARCHIVE_EOF)
		return error_set(why, ERR_PEER, "tar: entry \"%.128s\": %llu of %llu bytes",
				 r->entry.path, (unsigned long long)r->given,
				 (unsigned long long)r->entry.size);
	if (answer != ARCHIVE_OK) {
		enum err e = failed(r, "content", why);

		(void)error_add(why, "tar: entry \"%.128s\"", r->entry.path);
		return e;
	}
	if (len == 0 || offset < 0 || (uint64_t)offset != r->given ||
	    len > r->entry.size - r->given)
		return error_set(why, ERR_PEER, "tar: entry \"%.128s\": a hole or surplus in it",
				 r->entry.path);
	r->given += len;
	*out = bytes_of(block, len);
	return ERR_NONE;
}
