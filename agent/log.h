/* log.h - the observer of all runs: events become lines on stderr, progress becomes a live line.
 *
 * One event, one line, written by one write(2), so that lines of several processes do not mix.
 * Text:  2026-11-23 14:05:00.123+01:00 [4711] WARNING:  what happened
 * JSON:  {"time": "2026-11-23T13:05:00.123456Z", "pid": 4711, "level": "warning", "message": ...}
 */
#ifndef LOG_H
#define LOG_H

#include "base/clock.h"
#include "base/observer.h"
#include "progress.h"

#include <pthread.h>
#include <stdio.h>

struct log {
	struct observer observer; /* first member; pass &log->observer to runs */
	struct clock *clock;
	struct progress_line *progress; /* erased before each line; may be NULL */
	FILE *err;
	enum level level; /* events above it are not written */
	bool json;
	pthread_mutex_t
		mutex; /* one line at a time: heartbeats and streams have their own threads */
};

void log_init(struct log *, struct clock *, FILE *err, enum level level, bool json,
	      struct progress_line *progress);

/* printf to an event; cut at 1024 bytes. */
void log_event(struct log *, enum level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

enum { LOG_LINE_MAX = 8192 };
/* The line for an event with its newline; what log_event writes.  Returns its length. */
size_t log_line(const struct log *, enum level, int64_t now_us, const char *text,
		char out[LOG_LINE_MAX]);

#endif
