/* agent.c - what all commands need: configuration, failing, asking. */
#include "agent.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *agent_config_path(const struct agent *agent)
{
	const char *given = option_text(&agent->options, OPTION_CONFIG);

	return given != NULL ? given : CONFIG_FILE_DEFAULT;
}

enum err agent_load_config(struct agent *agent, struct error *why)
{
	const char *path = agent_config_path(agent),
		   *repo = option_text(&agent->options, OPTION_REPO);
	bool is_place = repo != NULL && config_repo_is_place(repo);
	enum err err;

	err = config_load(&agent->config, agent->env.files, path, why);
	/* With --repo PATH the configuration of this machine is no matter unless it is asked for:
	 * a typing error in it must not stand between a person and a restore. */
	if (err != ERR_NONE && is_place &&
	    (err == ERR_MISSING || !option_given(&agent->options, OPTION_CONFIG))) {
		if (err != ERR_MISSING || option_given(&agent->options, OPTION_CONFIG))
			report_warning(&agent->report, "going on without: %s", why->text);
		config_release(&agent->config);
		return config_init(&agent->config, why);
	}
	if (err == ERR_MISSING) {
		err = error_set(why, ERR_CONFIG, "configuration: %s: there is no such file", path);
		error_hint(why,
			   "Begin with the example: conf/pgagent.conf, or say --config FILE. A "
			   "repository that is left has it: pgagent config recover --repo PATH "
			   "--key-file FILE");
	} else if (err != ERR_NONE && why->kind != ERR_CONFIG) {
		(void)error_add(why, "configuration");
	}
	return err;
}

int agent_fail(struct agent *agent, const struct error *why)
{
	enum exit_rule rule =
		agent->options.command != NULL ? agent->options.command->exits : EXITS_USUAL;

	report_error(&agent->report, why);
	/* Neither good nor bad: who could not look does not know. */
	if (option_given(&agent->options, OPTION_NAGIOS)) {
		report_text(&agent->report, "PGAGENT UNKNOWN - %.*s\n",
			    (int)strcspn(why->text, "|\n"), why->text);
		return EXIT_NAGIOS_UNKNOWN;
	}
	return report_exit_code(rule, why->kind, *agent->env.cancelled);
}

int agent_fail_as(struct agent *agent, enum exit_code code, const struct error *why)
{
	report_error(&agent->report, why);
	return (int)code;
}

void agent_prompt(struct agent *agent, const char *what)
{
	if (!isatty(STDIN_FILENO))
		return;
	progress_erase(&agent->progress);
	(void)dprintf(STDERR_FILENO, "%s: ", what); /* a help, not the work */
}

enum err agent_confirm(struct agent *agent, const char *question, struct error *why)
{
	struct files *files = agent->env.files;
	char answer[8] = "";
	ssize_t n;
	int fd;

	if (option_given(&agent->options, OPTION_YES))
		return ERR_NONE;
	fd = files->ops->open(files, AT_FDCWD, "/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY, 0);
	if (fd < 0) {
		enum err err = error_set(why, ERR_CONFIG, "no terminal to ask on: %s", question);

		error_hint(why, "Add --yes to answer yes.");
		return err;
	}
	progress_erase(&agent->progress);
	(void)dprintf(fd, "%s [y/N] ", question); /* the answer decides */
	n = read(fd, answer, sizeof(answer) - 1);
	(void)files->ops->close(files, fd); /* a terminal */
	if (n > 0 && (answer[0] == 'y' || answer[0] == 'Y'))
		return ERR_NONE;
	return error_set(why, ERR_CANCELLED, "not done, as the answer was not yes");
}
