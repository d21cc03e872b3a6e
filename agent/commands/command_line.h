/* commands/command_line.h - command lines of pgagent for others to run: PostgreSQL, and people.
 *
 * Absolute paths and shell quoting, as the one who runs them has another working directory.
 */
#ifndef COMMANDS_COMMAND_LINE_H
#define COMMANDS_COMMAND_LINE_H

#include "places.h"

#include <limits.h>

enum { COMMAND_LINE_MAX = 4 * PATH_MAX };

/* The running program. */
enum err command_line_program(char out[PATH_MAX], struct error *why) MUST_CHECK;

/* Relative to the working directory; without '/' at its end. */
enum err command_line_absolute(const char *path, char out[PATH_MAX], struct error *why) MUST_CHECK;

/* " --config FILE --cluster NAME --repo NAMES", or " --repo PATH --key-file FILE --cluster NAME"
 * where no configuration is used.  `places` may be NULL: then without --repo NAMES. */
enum err command_line_source(const struct agent *, const struct places *, const char *cluster,
			     char out[COMMAND_LINE_MAX], struct error *why) MUST_CHECK;

/* "PROGRAM VERB" and the source. */
enum err command_line_for(const struct agent *, const char *verb, const struct places *,
			  const char *cluster, char out[COMMAND_LINE_MAX],
			  struct error *why) MUST_CHECK;

/* The command as it was typed, with the program's whole path and without the options of `without`; what
 * came from the environment is not in it, and is there for the next one, too. */
enum err command_line_again(const struct agent *, const enum option_id *without, size_t count,
			    char out[COMMAND_LINE_MAX], struct error *why) MUST_CHECK;
/* Adds " --NAME VALUE" to such a line. */
enum err command_line_add(char out[COMMAND_LINE_MAX], enum option_id, const char *value,
			  const struct agent *, struct error *why) MUST_CHECK;

/* The value of archive_command, between the quotes of postgresql.conf or ALTER SYSTEM: percent signs
 * and single quotes doubled, "%p" at the end. */
enum err command_line_archive_command(const struct agent *, const char *cluster,
				      char out[COMMAND_LINE_MAX], struct error *why) MUST_CHECK;

#endif
