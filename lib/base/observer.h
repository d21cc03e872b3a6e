/* base/observer.h - how a run in lib/ tells its caller what happens; lib/ itself never logs.
 *
 * Calls may come from several threads of the run at once; the observer keeps them apart.  They
 * must not block for long and must not call back into the run.
 */
#ifndef BASE_OBSERVER_H
#define BASE_OBSERVER_H

#include <stdint.h>

enum level { LEVEL_ERROR, LEVEL_WARNING, LEVEL_INFO, LEVEL_DEBUG };

struct observer;

struct progress {
	const char *phase;    /* static: "backup", "restore", "verify", "waiting for checkpoint" */
	uint64_t done_bytes;  /* of the work, not of what is stored */
	uint64_t total_bytes; /* an estimate; 0 = not known */
	uint64_t done_items;
	uint64_t total_items;
};

struct observer_ops {
	/* One line without a newline: event, object, reason, what happens next. */
	void (*event)(struct observer *, enum level, const char *text);
	void (*progress)(struct observer *, const struct progress *);
};

struct observer {
	const struct observer_ops *ops;
};

/* Hears and does nothing; static. */
struct observer *observer_none(void);

/* printf to `event`; cut at 1024 bytes. */
void observer_event(struct observer *, enum level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static inline void observer_progress(struct observer *o, const struct progress *p)
{
	o->ops->progress(o, p);
}

#endif
