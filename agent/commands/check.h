/* commands/check.h - what the parts of `pgagent check` share: links of the chain and their state. */
#ifndef COMMANDS_CHECK_H
#define COMMANDS_CHECK_H

#include "agent.h"
#include "places.h"

enum check_severity {
	CHECK_OK,
	CHECK_UNPROVEN, /* could not be tried, or is not tried by this command */
	CHECK_WARNING,
	CHECK_ERROR
};

struct check {
	struct agent *agent;
	const struct config_cluster *config;
	struct places places; /* opened as far as they could be */
	json_t *links;
	size_t count[4];       /* by severity */
	bool wrong_key;        /* exit 4 */
	bool only_config;      /* every error so far is a wrong configuration: exit 2 */
	bool quiet;            /* --nagios */
	char first_error[512]; /* for --nagios */
	bool has_system;       /* the server was reached and said who it is */
	uint64_t system_identifier;
};

/* One link: `code` names it, `hint` (may be NULL) is what mends it. */
void check_say(struct check *, enum check_severity, const char *code, const char *hint,
	       const char *format, ...) PRINTF_LIKE(5, 6);

/* A failure as an error link. */
void check_fail(struct check *, const char *code, const struct error *);

/* The server: connections, rights, settings, clock, archiver. */
void check_server(struct check *);

/* Each repository: store, write-read-remove, keys, space, who the server is. */
void check_repositories(struct check *);

/* True for a command line that archives with this program, whatever its path. */
bool check_is_own_archive_command(const char *command);

/* The first word of a shell command line, quotes taken away; false when it does not fit. */
bool check_first_word(const char *command, char *out, size_t size);

#endif
