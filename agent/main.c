/* main.c - wiring: process settings, signals, options, configuration, then one command. */
#include "agent.h"
#include "commands/commands.h"
#include "help.h"
#include "programs.h"
#include "root.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Written by the handler only: the number of the signal that asks to stop. */
static volatile int cancelled;
/* What a second interrupt exits with: the archive commands have codes of their own. */
static volatile sig_atomic_t interrupted_code = EXIT_INTERRUPTED;

static void on_signal(int number)
{
	if (number == SIGINT && cancelled == SIGINT)
		_exit(interrupted_code);
	cancelled = number;
}

static void set_up_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal}, hangup;

	(void)sigemptyset(&action.sa_mask);      /* cannot fail */
	(void)sigaction(SIGINT, &action, NULL);  /* valid number and handler */
	(void)sigaction(SIGTERM, &action, NULL); /* valid number and handler */
	/* A closed terminal ends a run in order; under nohup it stays ignored. */
	if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
		(void)sigaction(SIGHUP, &action, NULL); /* valid number and handler */
	action.sa_handler = SIG_IGN;                    /* a closed pipe is an error of the write */
	(void)sigaction(SIGPIPE, &action, NULL);        /* valid number and handler */
}

/* New files are ours alone, and keys never reach a core file or another process. */
static void set_up_process(void)
{
	const struct rlimit none = {0, 0};

	(void)umask(077);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* valid arguments */
	(void)setrlimit(RLIMIT_CORE, &none);      /* lowering is always allowed */
}

static void set_up_log(struct agent *agent)
{
	static const char levels[] = "error|warning|info|debug";
	const struct options *o = &agent->options;
	const char *level = option_text(o, OPTION_LOG_LEVEL);
	const char *format = option_text(o, OPTION_LOG_FORMAT);
	bool live = isatty(STDERR_FILENO) && !option_given(o, OPTION_NO_PROGRESS);

	progress_init(&agent->progress, agent->env.clock, stderr,
		      live || option_given(o, OPTION_PROGRESS));
	log_init(&agent->log, agent->env.clock, stderr,
		 option_given(o, OPTION_VERBOSE) ? LEVEL_DEBUG
		 : level != NULL                 ? (enum level)choice_index(levels, level)
						 : LEVEL_INFO,
		 format != NULL && strcmp(format, "json") == 0, &agent->progress);
	agent->env.observer = &agent->log.observer;
	agent->report.progress = &agent->progress;
}

/* restore as root takes the owner of its target; everything else refuses root. */
static enum err leave_root(struct agent *agent, int argc, char *const *argv, struct error *why)
{
	const struct command_spec *command = agent->options.command;
	const char *target = option_text(&agent->options, OPTION_PGDATA);
	char who[64];
	enum err err;

	if (geteuid() != 0 || command->root_allowed)
		return ERR_NONE;
	if (command != &spec_restore || target == NULL)
		return root_refuse(argc, argv, why);
	err = root_drop_to_owner(target, who, sizeof(who), why);
	if (err == ERR_NONE)
		log_event(&agent->log, LEVEL_INFO,
			  "running as %s, who owns the target directory, and no longer as root",
			  who);
	return err;
}

static int run(struct agent *agent, int argc, char *const *argv)
{
	const struct command *command = command_of_name(agent->options.command->name);
	struct error why;

	if (leave_root(agent, argc, argv, &why) != ERR_NONE)
		return agent_fail(agent, &why);
	if (command->spec->reads_config && agent_load_config(agent, &why) != ERR_NONE)
		return agent_fail(agent, &why);
	return command->run(agent);
}

/* --help, --version and a bare "pgagent" are the help and version commands in disguise. */
static enum err choose_command(struct agent *agent, const struct command_spec *const *specs,
			       size_t count, struct error *why)
{
	struct options *o = &agent->options;

	if (option_given(o, OPTION_HELP)) {
		static const char *name;

		o->arguments_count = o->command != NULL ? 1 : 0;
		name = o->command != NULL ? o->command->name : NULL;
		o->arguments = &name;
		o->command = &spec_help;
	} else if (option_given(o, OPTION_VERSION)) {
		o->command = &spec_version;
	} else if (o->command == NULL) {
		struct writer page;

		writer_init(&page, HELP_BYTES_MAX);
		help_overview(&page, specs, count);
		(void)fwrite(page.data, 1, page.len, stderr); /* the error follows */
		writer_release(&page);
		return error_set(why, ERR_CONFIG, "no command");
	}
	return ERR_NONE;
}

int main(int argc, char **argv)
{
	const struct command_spec *specs[COMMANDS_MAX];
	static struct agent agent;
	struct options_input input = {specs, commands_specs(specs), NULL, argc, environ};
	struct error why, memory;
	int code;
	enum err err;

	set_up_process();
	agent.env = env_os();
	agent.env.cancelled = &cancelled;
	agent.program = argc > 0 ? argv[0] : "pgagent";
	/* The parser moves arguments; the original order is shown to root. */
	input.argv = calloc((size_t)argc + 1, sizeof(char *));
	if (input.argv == NULL) /* whatever the command: only this one suits archive-get */
		return EXIT_STOP_RECOVERY;
	memcpy(input.argv, argv, (size_t)argc * sizeof(char *));
	err = options_parse(&agent.options, &input, &why);
	if (err == ERR_NONE)
		err = choose_command(&agent, specs, input.commands_count, &why);
	if (err == ERR_NONE && command_of_name(agent.options.command->name)->run == NULL)
		err = programs_run_whole(argv, &why);
	set_up_signals();
	if (agent.options.command != NULL && agent.options.command->exits != EXITS_USUAL &&
	    agent.options.command->exits != EXITS_TARGET)
		interrupted_code =
			report_exit_code(agent.options.command->exits, ERR_CANCELLED, SIGINT);
	if (report_init(&agent.report, stdout, stderr,
			option_text(&agent.options, OPTION_OUTPUT) != NULL &&
				strcmp(option_text(&agent.options, OPTION_OUTPUT), "json") == 0,
			agent.options.command != NULL ? agent.options.command->name : NULL,
			&memory) != ERR_NONE)
		return interrupted_code == EXIT_STOP_RECOVERY ? EXIT_STOP_RECOVERY : EXIT_FAILED;
	if (err == ERR_NONE) {
		set_up_log(&agent);
		err = config_init(&agent.config, &why);
	}
	code = err != ERR_NONE ? agent_fail(&agent, &why) : run(&agent, argc, argv);
	code = report_finish(&agent.report, code, interrupted_code != EXIT_INTERRUPTED);
	report_release(&agent.report);
	config_release(&agent.config);
	free(input.argv);
	return code;
}
