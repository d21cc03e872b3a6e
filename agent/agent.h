/* agent.h - what one run of the program has in its hands; commands get it and nothing else. */
#ifndef AGENT_H
#define AGENT_H

#include "base/env.h"
#include "config.h"
#include "log.h"
#include "options.h"
#include "progress.h"
#include "report.h"

struct agent {
	struct env env; /* its observer is `log`, its `cancelled` holds the number of the signal */
	struct options options;
	struct config config;
	struct report report;
	struct log log;
	struct progress_line progress;
	const char *program; /* argv[0] */
};

/* Loads --config, $PGAGENT_CONFIG or the default file into agent->config.  A missing or
 * bad file is fine (with a warning) when --repo is a place; a bad one that was asked for is not. */
enum err agent_load_config(struct agent *, struct error *why) MUST_CHECK;

/* The path that agent_load_config reads. */
const char *agent_config_path(const struct agent *);

/* Reports a failure and answers the exit code that the command's rule gives to its kind:
 *	return agent_fail(agent, &why);  */
int agent_fail(struct agent *, const struct error *);

/* The same with a code of the caller's choice (EXIT_LOCKED, ...), whatever the kind. */
int agent_fail_as(struct agent *, enum exit_code, const struct error *);

/* Says what is to be typed, where standard input is a terminal. */
void agent_prompt(struct agent *, const char *what);

/* Asks a yes-or-no question on the terminal: ERR_NONE for yes or with --yes, ERR_CANCELLED for no,
 * ERR_CONFIG where there is no terminal to ask on. */
enum err agent_confirm(struct agent *, const char *question, struct error *why) MUST_CHECK;

#endif
