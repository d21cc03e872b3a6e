/* postgres/base_backup_internal.h - decoding of what BASE_BACKUP sends; pure. */
#ifndef POSTGRES_BASE_BACKUP_INTERNAL_H
#define POSTGRES_BASE_BACKUP_INTERNAL_H

#include "postgres/base_backup.h"

struct backup_message {
	enum {
		BACKUP_MESSAGE_ARCHIVE,  /* a new archive begins */
		BACKUP_MESSAGE_MANIFEST, /* the manifest begins */
		BACKUP_MESSAGE_DATA,     /* of what began last */
		BACKUP_MESSAGE_PROGRESS
	} kind;
	uint32_t oid;      /* ARCHIVE: 0 = base.tar */
	struct bytes data; /* DATA; borrowed from the message */
};
/* One CopyData body.  ERR_PEER. */
enum err decode_backup_message(struct bytes in, struct backup_message *out,
			       struct error *why) MUST_CHECK;

/* The relation file that a warning of the server names, as a path inside PGDATA, whatever the
 * language of the words around it; false when there is none.  The server names files of a
 * tablespace by its own absolute path; these become "pg_tblspc/OID/...". */
bool decode_damaged_file(const char *warning, const struct base_backup_tablespace *tablespaces,
			 size_t n, char *out, size_t out_len);

/* Size in kB as text into bytes, 0 for NULL (unknown).  ERR_PEER. */
enum err decode_size_kb(const char *text, uint64_t *out, struct error *why) MUST_CHECK;

/* The whole command; ERR_CONFIG for options that make none. */
enum err encode_base_backup(const struct base_backup_options *, char *out, size_t out_len,
			    struct error *why) MUST_CHECK;
enum { BASE_BACKUP_COMMAND_MAX = 2560 }; /* a label of 1024 bytes, each doubled, and the options */

#endif
