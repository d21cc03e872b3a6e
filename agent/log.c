/* log.c - events as lines on stderr. */
#include "log.h"

#include "escape.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"error", "warning", "info", "debug"};
static const char *const level_titles[] = {"ERROR", "WARNING", "INFO", "DEBUG"};

static void local_time(int64_t us, char *out, size_t size)
{
	time_t seconds = (time_t)(us / 1000000);
	struct tm tm;
	size_t n;
	long offset;

	localtime_r(&seconds, &tm);
	offset = tm.tm_gmtoff / 60;
	n = strftime(out, size, "%Y-%m-%d %H:%M:%S", &tm);
	(void)snprintf(out + n, size - n, ".%03d%c%02ld:%02ld", (int)(us / 1000 % 1000),
		       offset < 0 ? '-' : '+', labs(offset) / 60, labs(offset) % 60); /* fits */
}

size_t log_line(const struct log *log, enum level level, int64_t now_us, const char *text,
		char out[LOG_LINE_MAX])
{
	char safe[LOG_LINE_MAX / 2], when[80];
	json_t *line;
	size_t len;
	int n;

	(void)escape_text(bytes_of_text(text), safe, sizeof(safe), false);
	if (!log->json) {
		local_time(now_us, when, sizeof(when));
		n = snprintf(out, LOG_LINE_MAX, "%s [%d] %s:  %s\n", when, (int)getpid(),
			     level_titles[level], safe);
		return n < 0 ? 0 : (size_t)n;
	}
	time_to_text(now_us, when);
	line = json_pack("{s:s, s:i, s:s, s:s}", "time", when, "pid", (int)getpid(), "level",
			 level_names[level], "message", safe);
	len = line == NULL ? 0 : json_dumpb(line, out, LOG_LINE_MAX - 1, JSON_COMPACT);
	json_decref(line);
	if (len == 0 || len >= LOG_LINE_MAX)
		return 0;
	out[len++] = '\n';
	return len;
}

static void on_event(struct observer *observer, enum level level, const char *text)
{
	struct log *log = (struct log *)observer;
	char line[LOG_LINE_MAX];
	size_t len;

	if (level > log->level)
		return;
	len = log_line(log, level, clock_now_us(log->clock), text, line);
	(void)pthread_mutex_lock(&log->mutex); /* default mutex: cannot fail here */
	if (log->progress != NULL)
		progress_erase(log->progress);
	(void)fwrite(line, 1, len, log->err); /* a log that can't be written has no reader */
	(void)fflush(log->err);
	(void)pthread_mutex_unlock(&log->mutex);
}

static void on_progress(struct observer *observer, const struct progress *progress)
{
	struct log *log = (struct log *)observer;

	(void)pthread_mutex_lock(&log->mutex); /* default mutex: cannot fail here */
	if (log->progress != NULL)
		progress_show(log->progress, progress);
	(void)pthread_mutex_unlock(&log->mutex);
}

void log_init(struct log *log, struct clock *clock, FILE *err, enum level level, bool json,
	      struct progress_line *progress)
{
	static const struct observer_ops ops = {on_event, on_progress};

	*log = (struct log){{&ops}, clock, progress, err, level, json, PTHREAD_MUTEX_INITIALIZER};
	tzset();
}

void log_event(struct log *log, enum level level, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args); /* cut as the header says */
	va_end(args);
	on_event(&log->observer, level, text);
}
