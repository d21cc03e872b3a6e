/* commands/help.c - `pgagent help [COMMAND]`. */
#include "help.h"

#include "agent.h"
#include "commands/commands.h"

static int unknown(struct agent *agent, const char *name, const struct command_spec *const *specs,
		   size_t count)
{
	const char *names[2 * COMMANDS_MAX], *near;
	struct error why;
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		names[n++] = specs[i]->name;
		names[n++] = specs[i]->alias;
	}
	near = nearest_name(name, names, n);
	(void)error_set(&why, ERR_CONFIG, "unknown command: %s", name);
	if (near != NULL)
		error_hint(&why, "Did you mean \"pgagent help %s\"?", near);
	return agent_fail(agent, &why);
}

int command_help(struct agent *agent)
{
	const struct command_spec *specs[COMMANDS_MAX];
	size_t count = commands_specs(specs);
	const char *name = agent->options.arguments_count > 0 ? agent->options.arguments[0] : NULL;
	const struct command *command = name != NULL ? command_of_name(name) : NULL;
	struct writer page;
	struct error why;
	int code = EXIT_DONE;

	if (name != NULL && command == NULL)
		return unknown(agent, name, specs, count);
	writer_init(&page, HELP_BYTES_MAX);
	if (command != NULL)
		help_command(&page, command->spec);
	else
		help_overview(&page, specs, count);
	writer_u8(&page, 0);
	if (page.bad) {
		(void)error_set(&why, ERR_MEMORY, "no memory for a help page");
		code = agent_fail(agent, &why);
	} else {
		report_text(&agent->report, "%s", (const char *)page.data);
		report_put(agent->report.root, "page", report_json_text((const char *)page.data));
	}
	writer_release(&page);
	return code;
}
