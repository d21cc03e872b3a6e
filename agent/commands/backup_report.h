/* commands/backup_report.h - one backup as JSON fields and as text: backup, list and show agree. */
#ifndef COMMANDS_BACKUP_REPORT_H
#define COMMANDS_BACKUP_REPORT_H

#include "repo/decision.h"
#include "report.h"

/* Puts the fields of the contract into `object`. */
void backup_report_json(json_t *object, const struct summary *);

#endif
