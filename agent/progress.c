/* progress.c - one live line on a terminal. */
#include "progress.h"

#include "base/text.h"

#include <inttypes.h>
#include <stdarg.h>

enum { UPDATE_US = 200 * 1000, RATE_AFTER_US = 1000 * 1000 };

void progress_init(struct progress_line *line, struct clock *clock, FILE *err, bool on)
{
	*line = (struct progress_line){.clock = clock, .err = err, .on = on};
}

static size_t append(char out[PROGRESS_TEXT_MAX], size_t at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static size_t append(char out[PROGRESS_TEXT_MAX], size_t at, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(out + at, PROGRESS_TEXT_MAX - at, format, args);
	va_end(args);
	at += n < 0 ? 0 : (size_t)n;
	return at < PROGRESS_TEXT_MAX ? at : PROGRESS_TEXT_MAX - 1;
}

/* `done` of `total` in percent; an estimate that proved too low never shows more than 99. */
static unsigned percent(uint64_t done, uint64_t total)
{
	double share = 100.0 * (double)done / (double)total;

	if (done == total)
		return 100;
	return share > 99 ? 99 : (unsigned)share;
}

static size_t append_bytes(char out[PROGRESS_TEXT_MAX], size_t at, const struct progress *p,
			   int64_t elapsed_us, uint64_t new_bytes)
{
	char done[TEXT_SIZE_MAX], total[TEXT_SIZE_MAX], rate[TEXT_SIZE_MAX];
	char left[TEXT_DURATION_MAX];
	double per_second;

	text_of_size(p->done_bytes, done);
	text_of_size(p->total_bytes, total);
	if (p->total_bytes > 0)
		at = append(out, at, "  %s of %s  %u %%", done, total,
			    percent(p->done_bytes, p->total_bytes));
	else
		at = append(out, at, "  %s", done);
	if (elapsed_us < RATE_AFTER_US)
		return at;
	per_second = (double)new_bytes * 1e6 / (double)elapsed_us;
	text_of_size((uint64_t)per_second, rate);
	at = append(out, at, "  %s/s", rate);
	if (per_second < 1 || p->total_bytes <= p->done_bytes)
		return at;
	text_of_duration((int64_t)((double)(p->total_bytes - p->done_bytes) / per_second * 1e6),
			 left);
	return append(out, at, "  %s left", left);
}

void progress_text(const struct progress *p, int64_t elapsed_us, uint64_t new_bytes,
		   char out[PROGRESS_TEXT_MAX])
{
	size_t at = append(out, 0, "%s", p->phase);

	if (p->done_bytes > 0 || p->total_bytes > 0)
		at = append_bytes(out, at, p, elapsed_us, new_bytes);
	if (p->total_items > 0)
		(void)append(out, at, "  %" PRIu64 " of %" PRIu64, p->done_items, p->total_items);
	else if (p->done_items > 0)
		(void)append(out, at, "  %" PRIu64 " done", p->done_items);
}

void progress_show(struct progress_line *line, const struct progress *p)
{
	char text[PROGRESS_TEXT_MAX];
	int64_t now = clock_monotonic_us(line->clock);
	bool new_phase = line->phase != p->phase;

	if (!line->on)
		return;
	if (new_phase) {
		line->phase = p->phase;
		line->phase_began_us = now;
		line->began_bytes = p->done_bytes;
	} else if (line->written_us != 0 && now - line->written_us < UPDATE_US) {
		return;
	}
	if (new_phase && line->shown && now - line->written_us < UPDATE_US)
		return;
	line->written_us = now;
	line->shown = true;
	progress_text(p, now - line->phase_began_us,
		      p->done_bytes > line->began_bytes ? p->done_bytes - line->began_bytes : 0,
		      text);
	/* Back to the first column, the text, then clear to the end of the line. */
	(void)fprintf(line->err, "\r%s\033[K", text); /* nobody reads a broken stderr */
	(void)fflush(line->err);
}

void progress_erase(struct progress_line *line)
{
	if (!line->shown)
		return;
	line->shown = false;
	(void)fprintf(line->err, "\r\033[K"); /* nobody reads a broken stderr */
	(void)fflush(line->err);
}
