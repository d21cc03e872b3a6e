/* pgformat/backup_manifest_write.c - a backup_manifest of version 2, byte for byte as the server
 * lays it out, one file after another.
 */
#include "pgformat/backup_manifest.h"

#include <inttypes.h>
#include <time.h>

#include "base/text.h"

void backup_manifest_begin(struct writer *w, uint64_t system_identifier)
{
	writer_text(w,
		    "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n"
		    "\"System-Identifier\": %" PRIu64 ",\n"
		    "\"Files\": [",
		    system_identifier);
}

/* The length of the UTF-8 sequence at the front, 0 when it is none by the server's rule
 * (pg_utf8_islegal): no overlong form, no surrogate, nothing above U+10FFFF. */
static size_t utf8_sequence(struct bytes in)
{
	uint8_t first = in.data[0];
	uint8_t low = 0x80, high = 0xbf; /* of the second byte */
	size_t len = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

	if ((first >= 0x80 && first < 0xc2) || first > 0xf4 || len > in.len)
		return 0;
	if (first == 0xe0)
		low = 0xa0;
	else if (first == 0xed)
		high = 0x9f;
	else if (first == 0xf0)
		low = 0x90;
	else if (first == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i < len; i++) {
		if (in.data[i] < low || in.data[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return len;
}

static bool is_utf8(struct bytes in)
{
	while (in.len > 0) {
		size_t len = utf8_sequence(in);

		if (len == 0)
			return false;
		in = bytes_of(in.data + len, in.len - len);
	}
	return true;
}

static void write_escaped(struct writer *w, struct bytes text)
{
	static const char plain[] = "\b\f\n\r\t\"\\";
	static const char letters[] = "bfnrt\"\\";

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];
		const char *at = c != '\0' ? strchr(plain, c) : NULL;

		if (at != NULL) {
			writer_u8(w, '\\');
			writer_u8(w, (uint8_t)letters[at - plain]);
		} else if (c < ' ') {
			writer_text(w, "\\u%04x", c);
		} else {
			writer_u8(w, c);
		}
	}
}

static void write_hex(struct writer *w, struct bytes in)
{
	for (size_t i = 0; i < in.len; i++)
		writer_text(w, "%02x", in.data[i]);
}

void backup_manifest_add(struct writer *w, bool first, const struct backup_manifest_entry *entry)
{
	time_t seconds = (time_t)entry->modified_s;
	uint8_t crc[4];
	struct tm when;

	writer_text(w, "%s\n{ ", first ? "" : ",");
	if (is_utf8(entry->path)) {
		writer_text(w, "\"Path\": \"");
		write_escaped(w, entry->path);
	} else {
		writer_text(w, "\"Encoded-Path\": \"");
		write_hex(w, entry->path);
	}
	if (gmtime_r(&seconds, &when) == NULL)
		w->bad = true; /* a year beyond an int */
	else
		writer_text(w,
			    "\", \"Size\": %" PRIu64
			    ", \"Last-Modified\": \"%04d-%02d-%02d %02d:%02d:%02d GMT\"",
			    entry->size, when.tm_year + 1900, when.tm_mon + 1, when.tm_mday,
			    when.tm_hour, when.tm_min, when.tm_sec);
	/* The server prints the bytes as they lie in its memory. */
	put_u32(crc, entry->crc32c);
	writer_text(w, ", \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"");
	write_hex(w, bytes_of(crc, sizeof(crc)));
	writer_text(w, "\" }");
}

void backup_manifest_ranges(struct writer *w, const struct backup_manifest_range *range,
			    size_t count)
{
	writer_text(w, "\n],\n\"WAL-Ranges\": [\n");
	for (size_t i = 0; i < count; i++) {
		char start[LSN_TEXT_MAX], end[LSN_TEXT_MAX];

		lsn_to_text(range[i].start, start);
		lsn_to_text(range[i].end, end);
		writer_text(w,
			    "%s{ \"Timeline\": %" PRIu32
			    ", \"Start-LSN\": \"%s\", \"End-LSN\": \"%s\" }",
			    i > 0 ? ",\n" : "", range[i].timeline, start, end);
	}
	writer_text(w, "\n],\n");
}

void backup_manifest_finish(struct writer *w,
			    const uint8_t checksum[BACKUP_MANIFEST_CHECKSUM_BYTES])
{
	writer_text(w, "\"Manifest-Checksum\": \"");
	write_hex(w, bytes_of(checksum, BACKUP_MANIFEST_CHECKSUM_BYTES));
	writer_text(w, "\"}\n");
}
