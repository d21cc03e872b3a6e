/* commands/window_report.h - telling which moments can be restored. */
#ifndef COMMANDS_WINDOW_REPORT_H
#define COMMANDS_WINDOW_REPORT_H

#include "commands/windows.h"

/* Appended to the JSON array `list`. */
void window_put(json_t *list, const struct window *);
/* A line, and one more for each gap. */
void window_say(struct report *, const struct window *);

#endif
