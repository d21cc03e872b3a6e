#include "base/env.h"

#include <criterion/criterion.h>
#include <string.h>

struct hearing {
	struct observer observer;
	enum level level;
	char text[2000];
};

static void hear_event(struct observer *o, enum level level, const char *text)
{
	struct hearing *h = (struct hearing *)o;

	h->level = level;
	strcpy(h->text, text);
}

static void hear_progress(struct observer *o, const struct progress *p)
{
	strcpy(((struct hearing *)o)->text, p->phase);
}

static const struct observer_ops hearing_ops = {.event = hear_event, .progress = hear_progress};

Test(observer, events_arrive_formatted_and_cut)
{
	struct hearing h = {.observer = {.ops = &hearing_ops}};

	observer_event(&h.observer, LEVEL_WARNING, "stored %d of %s", 3, "wal");
	cr_assert_eq(h.level, LEVEL_WARNING);
	cr_assert_str_eq(h.text, "stored 3 of wal");
	observer_event(&h.observer, LEVEL_INFO, "%01500d", 1);
	cr_assert_eq(strlen(h.text), 1023);
	observer_progress(&h.observer, &(struct progress){.phase = "restore"});
	cr_assert_str_eq(h.text, "restore");
}

Test(observer, none_takes_everything)
{
	observer_event(observer_none(), LEVEL_ERROR, "%s", "unheard");
	observer_progress(observer_none(), &(struct progress){.phase = "backup"});
}
