/* commands/restore_request.h - what a person asked restore for, as one request of the room restore.
 */
#ifndef COMMANDS_RESTORE_REQUEST_H
#define COMMANDS_RESTORE_REQUEST_H

#include "commands/catalog.h"
#include "commands/command_line.h"
#include "restore/restore.h"

struct restore_asked {
	struct restore_request request; /* points into this struct and into the options */
	char directory[PATH_MAX];
	char program[PATH_MAX];
	char archive_get[COMMAND_LINE_MAX];
	char tablespace_dir[PATH_MAX];
	char salvage_directory[PATH_MAX];
	char *owned[2 * (RESTORE_SETTINGS_MAX + RESTORE_TABLESPACES_MAX)];
	size_t owned_count;
	struct restore_own *own; /* of the request */
};
void restore_asked_release(struct restore_asked *);

/* Everything but backup and archive_get.  ERR_CONFIG names the option.  Relative times are counted
 * back from the clock of the server of `config` (NULL = there is none), else from ours. */
enum err restore_request_read(struct agent *, const struct config_cluster *config,
			      struct restore_asked *out, struct error *why) MUST_CHECK;

/* What pgagent has on this machine, once the repositories were opened (--repo PATH is one): into request.own. */
enum err restore_request_own(const struct agent *, struct restore_asked *,
			     struct error *why) MUST_CHECK;

/* "time", "lsn", ...; static. */
const char *restore_target_name(enum target_kind);

#endif
