/* restore/plan_waking.c - whether a side copy, once promoted, would open subscriptions that no setting keeps shut.
 *
 * By shared_preload_libraries as the backup recorded it, or as --set has it.  A role that could not see that setting has
 * recorded none, and then nothing is said.
 */
#include "repo/lines.h"
#include "restore/plan_internal.h"

#include <stdlib.h>

enum { SETTINGS_BYTES_MAX = 8 << 20 };

static const char setting[] = "shared_preload_libraries";

static enum err take_line(void *ctx, const char *name, const char *value, struct error *why)
{
	const char **wakes = ctx;

	(void)why;
	if (strcmp(name, setting) == 0)
		*wakes = settings_waking_library(value);
	return ERR_NONE;
}

enum err plan_waking(struct planning *p)
{
	const struct restore_request *request = p->request;
	const char *asked = settings_asked(request, setting);
	pthread_mutex_t speaking = PTHREAD_MUTEX_INITIALIZER;
	struct source source = {.env = p->env,
				.archive = p->archive,
				.manifest = p->manifest,
				.speaking = &speaking};
	uint8_t *recorded = NULL;
	size_t len = 0;
	enum err e;

	/* Who keeps the setting wants what it does. */
	if (!p->plan->side || request->standby || settings_is_kept(request, setting))
		return ERR_NONE;
	if (asked != NULL) {
		p->plan->wakes = settings_waking_library(asked);
		return ERR_NONE;
	}
	e = source_section(&source, SECTION_SETTINGS, SETTINGS_BYTES_MAX, &recorded, &len, p->why);
	if (e == ERR_NONE)
		e = lines_walk(bytes_of(recorded, len), take_line, &p->plan->wakes, p->why);
	free(recorded);
	return e == ERR_MISSING ? ERR_NONE : e;
}
