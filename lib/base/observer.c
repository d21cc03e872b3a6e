/* base/observer.c - an observer that hears nothing, and printf for the others. */
#include "base/observer.h"

#include <stdarg.h>
#include <stdio.h>

static void none_event(struct observer *o, enum level level, const char *text)
{
	(void)o;
	(void)level;
	(void)text;
}

static void none_progress(struct observer *o, const struct progress *p)
{
	(void)o;
	(void)p;
}

static const struct observer_ops none_ops = {.event = none_event, .progress = none_progress};

static const struct observer none = {.ops = &none_ops};

struct observer *observer_none(void)
{
	return (struct observer *)&none; /* it has no state to change */
}

void observer_event(struct observer *o, enum level level, const char *format, ...)
{
	char text[1024];
	va_list args;
	int used;

	va_start(args, format);
	used = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (used >= 0)
		o->ops->event(o, level, text);
}
