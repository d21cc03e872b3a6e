/* failures.h - what went wrong in a command that does several things, each as far as it goes.
 *
 * Every failure is told, once: the worst by the caller at the end, as the answer (agent_fail); each
 * other as soon as it is known not to be that.
 */
#ifndef FAILURES_H
#define FAILURES_H

#include "report.h"

struct failures {
	struct report *report;
	struct error worst; /* ERR_NONE: all was well so far */
};

/* Damage is worse than what a second try may mend, and that worse than what was refused; of equals the
 * first. */
void failures_add(struct failures *, const struct error *);
/* Nothing else shall be begun: cancelled, or no memory. */
bool failures_end(const struct failures *);
/* The answer of the whole, with its reason. */
enum err failures_answer(const struct failures *, struct error *why) MUST_CHECK;

#endif
