/* restore/plan_waking.c - whether a side copy, once promoted, would open subscriptions that no setting keeps shut.
 *
 * By shared_preload_libraries as the backup has it, or --set.
 */
#include "restore/plan_internal.h"

#include <stdlib.h>

enum { SETTINGS_BYTES_MAX = 8 << 20 };

static enum err read_files(const struct source *source, struct preload *preload, struct error *why)
{
	struct table table = {.files = 0};
	struct fetcher *fetcher = NULL;
	enum err e = table_read(source, &table, why);

	if (e != ERR_NONE)
		return e;
	e = fetcher_new(source, &fetcher, why);
	if (e == ERR_NONE)
		e = preload_of_files(&table, fetcher, preload, why);
	fetcher_free(fetcher);
	table_release(&table);
	return e;
}

/* The file table of a large backup is read only where it has to be: who saw where the data directory is saw
 * this one, too, and recorded it unless it was empty. */
static enum err read_preload(const struct planning *p, struct preload *preload)
{
	pthread_mutex_t speaking = PTHREAD_MUTEX_INITIALIZER;
	struct source source = {.env = p->env,
				.archive = p->archive,
				.manifest = p->manifest,
				.speaking = &speaking};
	uint8_t *settings = NULL;
	size_t len = 0;
	enum err e = source_section(&source, SECTION_SETTINGS, SETTINGS_BYTES_MAX, &settings, &len,
				    p->why);

	if (e == ERR_NONE || e == ERR_MISSING)
		e = preload_recorded(bytes_of(settings, len), preload, p->why);
	free(settings);
	if (e == ERR_NONE && !preload->known && p->plan->backup.data_directory[0] == '\0')
		e = read_files(&source, preload, p->why);
	return e;
}

enum err plan_waking(struct planning *p)
{
	const struct restore_request *request = p->request;
	const char *libraries = settings_asked(request, PRELOAD_SETTING);
	struct preload preload = {.known = false};
	enum err e = ERR_NONE;

	/* Who keeps the setting wants what it does. */
	if (!p->plan->side || request->standby || settings_is_kept(request, PRELOAD_SETTING))
		return ERR_NONE;
	if (libraries == NULL) {
		e = read_preload(p, &preload);
		libraries = preload.known ? preload.libraries : "";
	}
	p->plan->wakes = settings_waking_library(libraries);
	return e;
}
