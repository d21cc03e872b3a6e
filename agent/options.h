/* options.h - the command line and PGAGENT_* variables, parsed by one table per command.
 *
 * The same tables print the help pages (help.h), so that the two cannot disagree.  A value on the
 * command line stands above one from the environment; configuration files are not looked at here.
 * Texts are borrowed from argv and the environment.
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_id {
	/* global */
	OPTION_CONFIG,
	OPTION_CLUSTER,
	OPTION_REPO,
	OPTION_OUTPUT,
	OPTION_LOG_LEVEL,
	OPTION_LOG_FORMAT,
	OPTION_VERBOSE,
	OPTION_PROGRESS,
	OPTION_NO_PROGRESS,
	OPTION_YES,
	OPTION_VERSION,
	OPTION_HELP,
	/* of commands */
	OPTION_ACTION,
	OPTION_ALL,
	OPTION_ARCHIVING,
	OPTION_BACKUP,
	OPTION_BLOCK,
	OPTION_CHECKPOINT,
	OPTION_CLOCK_IS_RIGHT,
	OPTION_CONFIRM,
	OPTION_EXCLUSIVE,
	OPTION_FORCE,
	OPTION_FROM,
	OPTION_IN_PLACE,
	OPTION_JOBS,
	OPTION_KEEP,
	OPTION_KEEP_SETTING,
	OPTION_KEY_FILE,
	OPTION_LABEL,
	OPTION_MAX_RATE,
	OPTION_MAX_TIME,
	OPTION_NAGIOS,
	OPTION_NEW_KEY_FILE,
	OPTION_NEW_PASSPHRASE_FILE,
	OPTION_PASSPHRASE_FILE,
	OPTION_PGDATA,
	OPTION_PIN,
	OPTION_PLAN,
	OPTION_DELTA,
	OPTION_DISCARD_WAL,
	OPTION_SALVAGE_WAL,
	OPTION_PORT,
	OPTION_QUICK,
	OPTION_RECOVERY_CODE,
	OPTION_RELATION,
	OPTION_SET,
	OPTION_SIDE,
	OPTION_SLOT,
	OPTION_STANDBY,
	OPTION_START,
	OPTION_STDIN,
	OPTION_TABLESPACE,
	OPTION_TABLESPACE_DIR,
	OPTION_TIMELINE,
	OPTION_TO,
	OPTION_TO_BACKUP_END,
	OPTION_TO_LATEST,
	OPTION_TO_LSN,
	OPTION_TO_NAME,
	OPTION_TO_TIME,
	OPTION_TO_XID,
	OPTION_TYPE,
	OPTION_UPGRADE,
	OPTION_WAL,
	OPTION_WITH_KEY_FILE,
	OPTION_WITH_PASSPHRASE_FILE,
	OPTION_COUNT
};

enum option_takes {
	TAKES_NOTHING,
	TAKES_TEXT,
	TAKES_LIST,   /* a text, and may be repeated */
	TAKES_CHOICE, /* one of `choices` */
	TAKES_NUMBER, /* `min` to `max` */
	TAKES_RATE    /* a size with its unit, per second */
};

/* Of the options of one set only one may be given. */
enum option_set { SET_NONE, SET_TARGET, SET_PLACE, SET_KEY, SET_NEW_KEY, SET_PROGRESS };

struct option_spec {
	enum option_id id;
	char letter;       /* short form, or 0 */
	const char *name;  /* without dashes */
	const char *alias; /* another accepted name, or NULL */
	enum option_takes takes;
	const char *argument; /* word for the help page: "DIR" */
	const char *choices;  /* "auto|full|incr=full": an alias stands last */
	uint64_t min, max;    /* of TAKES_NUMBER */
	enum option_set set;
	const char *help; /* one line; NULL: shown on one line with the next option */
};

/* How failures of a command become exit codes (report.h). */
enum exit_rule { EXITS_USUAL, EXITS_TARGET, EXITS_ARCHIVE_PUSH, EXITS_ARCHIVE_GET };

struct command_spec {
	const char *name;
	const char *alias;     /* or NULL */
	const char *arguments; /* for the help page: "FILE DEST"; "" = none */
	const char *actions;   /* what the first argument may be: "check|show"; NULL = anything */
	unsigned arguments_min, arguments_max;
	const char *summary;
	const struct option_spec *options;
	size_t options_count;
	const char *example; /* one or two lines */
	enum exit_rule exits;
	bool reads_config; /* the configuration is loaded before the command runs */
	bool root_allowed; /* touches nothing that has an owner */
};

enum { OPTION_LISTED_MAX = 256 };

struct options {
	const struct command_spec *command; /* NULL: none was named */
	const char *const *arguments;       /* behind the command's name; borrowed from argv */
	size_t arguments_count;
	struct option_value {
		bool given;
		bool from_environment;
		const char *text; /* NULL for TAKES_NOTHING; the full name for TAKES_CHOICE */
		uint64_t number;  /* TAKES_NUMBER; bytes per second for TAKES_RATE */
	} value[OPTION_COUNT];
	/* Values of TAKES_LIST, in the order given. */
	struct {
		enum option_id id;
		const char *text;
	} listed[OPTION_LISTED_MAX];
	size_t listed_count;
};

/* The options that every command takes. */
extern const struct option_spec options_global[];
extern const size_t options_global_count;

struct options_input {
	const struct command_spec *const *commands;
	size_t commands_count;
	char **argv; /* argv[0] is the program; the arguments are moved to the front */
	int argc;
	char *const *environment; /* "NAME=VALUE"..., NULL at the end */
};

/* ERR_CONFIG with the nearest name in the hint.  Even then `command` and OPTION_OUTPUT are set as
 * far as they could be made out, because exit code and form of the error depend on them. */
enum err options_parse(struct options *out, const struct options_input *,
		       struct error *why) MUST_CHECK;

static inline bool option_given(const struct options *o, enum option_id id)
{
	return o->value[id].given;
}

/* NULL when it was not given. */
static inline const char *option_text(const struct options *o, enum option_id id)
{
	return o->value[id].text;
}

/* `otherwise` when it was not given. */
static inline uint64_t option_number(const struct options *o, enum option_id id, uint64_t otherwise)
{
	return o->value[id].given ? o->value[id].number : otherwise;
}

/* The next value of a repeatable option; *at begins with 0.  NULL at the end. */
const char *option_next(const struct options *, enum option_id, size_t *at);

/* The choice's index in "a|b|c", or -1; an alias "x=b" gives b's index. */
int choice_index(const char *choices, const char *text);
/* The full name of choice `index`, without aliases; false when there is none. */
bool choice_name(const char *choices, int index, char *out, size_t size);

/* What `text`, one of the choices, stands for: itself, or the name behind its '='. */
const char *choice_full_name(const char *choices, const char *text);

/* As text_nearest, which see; it also knows what other tools call the same. */
const char *nearest_name(const char *text, const char *const *names, size_t count);

#endif
