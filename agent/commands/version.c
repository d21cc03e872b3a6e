/* commands/version.c - `pgagent version`, `pgagent --version`. */
#include "agent.h"
#include "commands/commands.h"

int command_version(struct agent *agent)
{
	report_text(&agent->report, "pgagent %s\n", PGAGENT_VERSION);
	report_put(agent->report.root, "version", report_json_text(PGAGENT_VERSION));
	return EXIT_DONE;
}
