/* commands/commands.h - every command: what it takes (specs.c) and what it does (<verb>.c).
 *
 * A command answers the exit code.  It says what it found through agent->report and never prints
 * by itself.  A new command is a file with `int command_x(struct agent *)`, a spec in specs.c and
 * a line in commands.c.
 */
#ifndef COMMANDS_COMMANDS_H
#define COMMANDS_COMMANDS_H

#include "options.h"

struct agent;

extern const struct command_spec spec_archive_get, spec_archive_push, spec_backup, spec_check,
	spec_config, spec_copy, spec_expire, spec_export, spec_help, spec_init, spec_keep, spec_key,
	spec_list, spec_restore, spec_show, spec_status, spec_undelete, spec_unkeep, spec_verify,
	spec_version;

struct command {
	const struct command_spec *spec;
	int (*run)(struct agent *); /* NULL: only pgagent-whole has it (programs.h) */
};

/* What this program can do, in the order in which help shows it. */
extern const struct command commands[];
extern const size_t commands_count;

/* The specs of `commands`, for the parser and for help.  At most COMMANDS_MAX. */
enum { COMMANDS_MAX = 40 };
size_t commands_specs(const struct command_spec *out[COMMANDS_MAX]);

/* NULL when there is none of that name or alias. */
const struct command *command_of_name(const char *name);

int command_archive_get(struct agent *);
int command_archive_push(struct agent *);
int command_backup(struct agent *);
int command_check(struct agent *);
int command_config(struct agent *);
int command_copy(struct agent *);
int command_expire(struct agent *);
int command_export(struct agent *);
int command_help(struct agent *);
int command_init(struct agent *);
int command_keep(struct agent *);
int command_key(struct agent *);
int command_list(struct agent *);
int command_restore(struct agent *);
int command_show(struct agent *);
int command_status(struct agent *);
int command_undelete(struct agent *);
int command_unkeep(struct agent *);
int command_verify(struct agent *);
int command_version(struct agent *);

#endif
