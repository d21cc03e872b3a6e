/* commands/commands.c - the table of commands that this program has. */
#include "commands/commands.h"

#include <assert.h>
#include <string.h>

/* What needs libraries that archive-push shall not load is left out of the small program. */
#ifdef PGAGENT_FRONT
#define WHOLE_ONLY(run) NULL
#else
#define WHOLE_ONLY(run) (run)
#endif

const struct command commands[] = {
	{&spec_init, WHOLE_ONLY(command_init)},
	{&spec_check, WHOLE_ONLY(command_check)},
	{&spec_status, WHOLE_ONLY(command_status)},
	{&spec_backup, WHOLE_ONLY(command_backup)},
	{&spec_list, command_list},
	{&spec_show, command_show},
	{&spec_archive_push, command_archive_push},
	{&spec_archive_get, command_archive_get},
	{&spec_restore, WHOLE_ONLY(command_restore)},
	{&spec_verify, command_verify},
	{&spec_copy, command_copy},
	{&spec_expire, command_expire},
	{&spec_undelete, command_undelete},
	{&spec_keep, command_keep},
	{&spec_unkeep, command_unkeep},
	{&spec_export, WHOLE_ONLY(command_export)},
	{&spec_key, command_key},
	{&spec_config, command_config},
	{&spec_help, command_help},
	{&spec_version, command_version},
};
const size_t commands_count = sizeof(commands) / sizeof(commands[0]);

size_t commands_specs(const struct command_spec *out[COMMANDS_MAX])
{
	static_assert(sizeof(commands) / sizeof(commands[0]) <= COMMANDS_MAX, "raise COMMANDS_MAX");
	for (size_t i = 0; i < commands_count; i++)
		out[i] = commands[i].spec;
	return commands_count;
}

const struct command *command_of_name(const char *name)
{
	for (size_t i = 0; i < commands_count; i++) {
		const struct command_spec *spec = commands[i].spec;

		if (strcmp(spec->name, name) == 0 ||
		    (spec->alias != NULL && strcmp(spec->alias, name) == 0))
			return &commands[i];
	}
	return NULL;
}
