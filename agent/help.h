/* help.h - help pages, made from the tables that the parser uses.  Each fits one screen. */
#ifndef HELP_H
#define HELP_H

#include "base/bytes.h"
#include "options.h"

enum { HELP_LINES_MAX = 30, HELP_COLUMNS_MAX = 100, HELP_BYTES_MAX = 8192 };

/* All commands with their summaries, then the global options. */
void help_overview(struct writer *out, const struct command_spec *const *specs, size_t count);

/* One command: usage, options, example. */
void help_command(struct writer *out, const struct command_spec *);

#endif
