/* commands/nagios.h - the one line of `check --nagios` and `status --nagios`. */
#ifndef COMMANDS_NAGIOS_H
#define COMMANDS_NAGIOS_H

#include "report.h"

enum {
	/* Bytes of all findings together: four of the longest, or a dozen as they usually are. */
	NAGIOS_TEXT_MAX = 1024,
	NAGIOS_FINDING_MAX = 240 /* of one of them */
};

enum nagios { NAGIOS_OK, NAGIOS_WARNING, NAGIOS_CRITICAL, NAGIOS_UNKNOWN }; /* exit codes */

/* "OK" and so on. */
const char *nagios_word(enum nagios);

/* Adds what a link says, with `rank` in the place of its severity: {severity, code, message, hint}. */
void nagios_add(json_t *findings, enum nagios rank, const json_t *link);

/* Pure: the findings in their order, the worst first, as one line without '|': those that
 * are not of the verdict's rank with theirs before them, those that do not fit as "and N more". */
void nagios_text(const json_t *findings, enum nagios verdict, char out[NAGIOS_TEXT_MAX]);

#endif
