/* pgformat/backup_manifest.h - the server's backup_manifest, read (versions 1 and 2) and written (2)
 * as a stream.
 *
 * Source: src/backend/backup/backup_manifest.c, src/common/parse_manifest.c.  The text is read
 * incrementally, so that a million files need no memory; strings are bounded by
 * BACKUP_MANIFEST_STRING_MAX.  The manifest's own SHA-256 is the caller's to check: the reader
 * says where its coverage ends.
 */
#ifndef PGFORMAT_BACKUP_MANIFEST_H
#define PGFORMAT_BACKUP_MANIFEST_H

#include "pgformat/lsn.h"

enum {
	BACKUP_MANIFEST_STRING_MAX = 4096,
	BACKUP_MANIFEST_CHECKSUM_BYTES = 32 /* SHA-256 */
};

struct backup_manifest_file {
	const char *path; /* decoded from Encoded-Path when it was; until the visit returns */
	uint64_t size;
	bool has_crc32c; /* false with another algorithm or none */
	uint32_t crc32c; /* the value, not the byte order of the text */
};

struct backup_manifest_range {
	uint32_t timeline;
	struct lsn start, end;
};

/* Either function may be NULL; an error from one ends the reading and is handed on. */
struct backup_manifest_visitor {
	void *ctx;
	enum err (*file)(void *ctx, const struct backup_manifest_file *, struct error *why);
	enum err (*range)(void *ctx, const struct backup_manifest_range *, struct error *why);
};

struct backup_manifest_reader;
enum err backup_manifest_reader_new(const struct backup_manifest_visitor *,
				    struct backup_manifest_reader **out,
				    struct error *why) MUST_CHECK;
/* Takes the next bytes in any cutting; ERR_CORRUPT when it is no manifest, ERR_LIMIT when a
 * string is too long.  After a failure only _free makes sense. */
enum err backup_manifest_reader_take(struct backup_manifest_reader *, struct bytes,
				     struct error *why) MUST_CHECK;

struct backup_manifest_summary {
	unsigned version;
	uint64_t system_identifier; /* 0 in version 1 */
	uint64_t covered_bytes;     /* what Manifest-Checksum covers: this many bytes from 0 */
	uint8_t checksum[BACKUP_MANIFEST_CHECKSUM_BYTES]; /* as stated */
};
/* ERR_CORRUPT when the document is not complete. */
enum err backup_manifest_reader_end(struct backup_manifest_reader *,
				    struct backup_manifest_summary *out,
				    struct error *why) MUST_CHECK;
void backup_manifest_reader_free(struct backup_manifest_reader *);

/* Writing: begin, every file, ranges, finish.  Each puts its bytes into the writer, which the caller
 * may empty between two of them; Manifest-Checksum is the SHA-256 of all bytes before _finish. */
struct backup_manifest_entry {
	struct bytes path; /* Encoded-Path when it is not UTF-8 */
	uint64_t size;
	int64_t modified_s; /* since 1970; beyond what a year can be makes the writer bad */
	uint32_t crc32c;
};
void backup_manifest_begin(struct writer *, uint64_t system_identifier);
void backup_manifest_add(struct writer *, bool first, const struct backup_manifest_entry *);
/* Newest timeline first. */
void backup_manifest_ranges(struct writer *, const struct backup_manifest_range *, size_t count);
void backup_manifest_finish(struct writer *,
			    const uint8_t checksum[BACKUP_MANIFEST_CHECKSUM_BYTES]);

#endif
