/* commands/show_history.h - `pgagent show BACKUP --relation NAME [--block N]`. */
#ifndef COMMANDS_SHOW_HISTORY_H
#define COMMANDS_SHOW_HISTORY_H

#include "agent.h"
#include "commands/catalog.h"

/* Tells the page history of the relation, in the first repository that has the backup. */
enum err show_history(struct agent *, const struct places *, const struct catalog_entry *,
		      struct error *why) MUST_CHECK;

#endif
