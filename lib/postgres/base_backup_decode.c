/* postgres/base_backup_decode.c - the command's text and the server's messages; pure. */
#include "postgres/base_backup_internal.h"

#include "base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* "base.tar" or "16389.tar"; any other name could only be an attack or a newer protocol. */
static enum err decode_archive_name(const char *name, uint32_t *oid, struct error *why)
{
	size_t digits = strspn(name, "0123456789");
	uint64_t n;

	if (strcmp(name, "base.tar") == 0) {
		*oid = 0;
		return ERR_NONE;
	}
	if (digits == 0 || name[0] == '0' || strcmp(name + digits, ".tar") != 0 ||
	    !text_to_u64(bytes_of(name, digits), &n) || n > UINT32_MAX)
		return error_set(why, ERR_PEER, "base backup: archive of unknown name \"%.64s\"",
				 name);
	*oid = (uint32_t)n;
	return ERR_NONE;
}

static enum err decode_archive(struct bytes in, struct backup_message *out, struct error *why)
{
	const uint8_t *name = in.data + 1;
	const uint8_t *end = in.data + in.len;
	const uint8_t *name_end = memchr(name, '\0', in.len - 1);
	const uint8_t *path_end;
	uint32_t oid;
	enum err e;

	if (name_end == NULL)
		return error_set(why, ERR_PEER, "base backup: archive without a name");
	path_end = memchr(name_end + 1, '\0', (size_t)(end - name_end) - 1);
	if (path_end == NULL || path_end + 1 != end)
		return error_set(why, ERR_PEER, "base backup: malformed start of an archive");
	e = decode_archive_name((const char *)name, &oid, why);
	if (e == ERR_NONE)
		*out = (struct backup_message){.kind = BACKUP_MESSAGE_ARCHIVE, .oid = oid};
	return e;
}

enum err decode_backup_message(struct bytes in, struct backup_message *out, struct error *why)
{
	if (in.len == 0)
		return error_set(why, ERR_PEER, "base backup: empty message");
	switch (in.data[0]) {
	case 'n':
		return decode_archive(in, out, why);
	case 'm':
		if (in.len != 1)
			break;
		*out = (struct backup_message){.kind = BACKUP_MESSAGE_MANIFEST};
		return ERR_NONE;
	case 'd':
		*out = (struct backup_message){.kind = BACKUP_MESSAGE_DATA,
					       .data = bytes_of(in.data + 1, in.len - 1)};
		return ERR_NONE;
	case 'p':
		if (in.len != 9)
			break;
		*out = (struct backup_message){.kind = BACKUP_MESSAGE_PROGRESS};
		return ERR_NONE;
	default:
		return error_set(why, ERR_PEER, "base backup: message of unknown type 0x%02x",
				 in.data[0]);
	}
	return error_set(why, ERR_PEER, "base backup: message '%c' of %zu bytes", in.data[0],
			 in.len);
}

/* Behind "PG_", which the directory of this version in a tablespace begins with. */
static bool is_version(const char *path)
{
	return strncmp(path, "PG_", 3) == 0;
}

/* "16389/PG_15_202209061/..." */
static bool is_linked_version(const char *path)
{
	size_t digits = strspn(path, "0123456789");

	return digits > 0 && path[digits] == '/' && is_version(path + digits + 1);
}

/* What the server checks: "./base/", "./global/" and "./pg_tblspc/OID/PG_".  A path begins where the first "./"
 * stands: "./x/base/5/1259" is of another directory that looks alike. */
static const char *below_data_directory(const char *warning, const char **front)
{
	const char *path = strstr(warning, "./");

	*front = path;
	if (path == NULL)
		return NULL;
	path += 2;
	if (strncmp(path, "base/", 5) == 0 || strncmp(path, "global/", 7) == 0 ||
	    (strncmp(path, "pg_tblspc/", 10) == 0 && is_linked_version(path + 10)))
		return path;
	return NULL;
}

/* `front` is where a path of the data directory begins, which may hold the whole path of a tablespace. */
static const char *below_tablespace(const char *warning, const char *front,
				    const struct base_backup_tablespace *t)
{
	size_t len = strlen(t->path);
	const char *at = len > 0 ? strstr(warning, t->path) : NULL;

	if (at == NULL || (front != NULL && front < at) || at[len] != '/' ||
	    !is_version(at + len + 1))
		return NULL;
	return at + len + 1;
}

bool decode_damaged_file(const char *warning, const struct base_backup_tablespace *tablespaces,
			 size_t n, char *out, size_t out_len)
{
	const char *front, *start = below_data_directory(warning, &front);
	char root[32] = "";
	size_t longest = 0;
	size_t len;
	int used;

	/* Also there, but about a file's length: no checksum was found wrong. */
	if (strstr(warning, "could not verify") != NULL)
		return false;
	for (size_t i = 0; i < n; i++) {
		const char *at = below_tablespace(warning, front, &tablespaces[i]);

		if (at == NULL || strlen(tablespaces[i].path) < longest)
			continue; /* of "/a" and "/b/a" the longer one is meant */
		longest = strlen(tablespaces[i].path);
		start = at;
		(void)snprintf(root, sizeof(root), "pg_tblspc/%u/", tablespaces[i].oid); /* fits */
	}
	if (start == NULL)
		return false;
	len = strspn(start, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./");
	while (len > 0 && start[len - 1] == '.') /* of the sentence */
		len--;
	used = snprintf(out, out_len, "%s%.*s", root, (int)len, start);
	return used > 0 && (size_t)used < out_len;
}

enum err decode_size_kb(const char *text, uint64_t *out, struct error *why)
{
	uint64_t kb = 0;

	if (text != NULL && (!text_to_u64(bytes_of_text(text), &kb) || kb > UINT64_MAX / 1024))
		return error_set(why, ERR_PEER, "base backup: size %.64s", text);
	*out = kb * 1024;
	return ERR_NONE;
}

/* The label stands raw in backup_label, a file of lines. */
static bool is_label(const char *label)
{
	for (; *label != '\0'; label++)
		if (iscntrl((unsigned char)*label))
			return false;
	return true;
}

enum err encode_base_backup(const struct base_backup_options *options, char *out, size_t out_len,
			    struct error *why)
{
	char label[2 * 1024 + 3];
	char rate[32] = "";
	enum err e = session_quote(options->label, '\'', label, sizeof(label), why);
	int n;

	if (e == ERR_NONE && !is_label(options->label))
		e = error_set(why, ERR_CONFIG, "control character in it");
	if (e != ERR_NONE) {
		(void)error_add(why, "base backup: label");
		return e;
	}
	if (options->max_rate_kb != 0 &&
	    (options->max_rate_kb < 32 || options->max_rate_kb > 1048576))
		return error_set(why, ERR_CONFIG,
				 "base backup: rate: %u kB/s: not between 32 and 1048576",
				 options->max_rate_kb);
	if (options->max_rate_kb != 0)
		(void)snprintf(rate, sizeof(rate), ", MAX_RATE %u",
			       options->max_rate_kb); /* fits */
	/* WAIT 0: the WAL comes over a stream or the archive, and a broken archive_command must not
	 * hold the backup for ever.  TABLESPACE_MAP: without it the archive has symbolic links to
	 * the server's paths, with it a file that recovery makes the links from. */
	n = snprintf(out, out_len,
		     "BASE_BACKUP (LABEL %s, CHECKPOINT '%s', WAIT 0, TABLESPACE_MAP 1, PROGRESS %d"
		     ", VERIFY_CHECKSUMS %d, MANIFEST '%s'%s%s%s)",
		     label, options->fast_checkpoint ? "fast" : "spread", options->progress,
		     options->verify_checksums, options->manifest ? "yes" : "no",
		     options->manifest ? ", MANIFEST_CHECKSUMS 'CRC32C'" : "", rate,
		     options->incremental ? ", INCREMENTAL" : "");
	if (n < 0 || (size_t)n >= out_len)
		return error_set(why, ERR_LIMIT, "base backup: command of %d bytes", n);
	return ERR_NONE;
}
