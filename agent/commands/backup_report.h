/* commands/backup_report.h - one backup as JSON fields and as text: backup, list and show agree. */
#ifndef COMMANDS_BACKUP_REPORT_H
#define COMMANDS_BACKUP_REPORT_H

#include "repo/decision.h"
#include "report.h"

/* Puts the fields of the contract into `object`. */
void backup_report_json(json_t *object, const struct summary *);

/* The same fields of one that can't be read: null, but for what its name and place say. */
void backup_report_unknown_json(json_t *object, const struct attempt *, const char *cluster,
				uint64_t system_identifier);

enum { BACKUP_TIME_MAX = 40 };
/* "2026-11-23 14:05:00", in UTC; "-" for 0. */
void backup_time_to_text(int64_t us, char out[BACKUP_TIME_MAX]);

enum { BAD_FILE_TEXT_MAX = 1536 };
/* "base/5/16384 (shop.public.orders)" of a summary's bad_file; cut is still text. */
void backup_bad_file_text(const char *bad_file, char *out, size_t size);
/* {"path", "relation"}: the relation is null when its name is not known. */
json_t *backup_bad_file_json(const char *bad_file);

#endif
