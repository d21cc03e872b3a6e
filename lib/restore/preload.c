/* restore/preload.c - shared_preload_libraries of the server that was backed up: as it was recorded; where the role could
 * not see it, as the files in the data directory say.
 */
#include "pgformat/label.h"
#include "repo/lines.h"
#include "restore/restore_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum { FILE_BYTES_MAX = 8 << 20 };

static enum err take_line(void *ctx, const char *name, const char *value, struct error *why)
{
	struct preload *preload = ctx;

	(void)why;
	if (strcmp(name, PRELOAD_SETTING) == 0)
		preload->known = (size_t)snprintf(preload->libraries, sizeof(preload->libraries),
						  "%s", value) < sizeof(preload->libraries);
	return ERR_NONE;
}

enum err preload_recorded(struct bytes settings, struct preload *out, struct error *why)
{
	*out = (struct preload){.known = false};
	return settings.len > 0 ? lines_walk(settings, take_line, out, why) : ERR_NONE;
}

enum err preload_of_files(const struct table *table, struct fetcher *fetcher, struct preload *out,
			  struct error *why)
{
	const struct file_record *const file[] = {table->conf, table->auto_conf};
	enum err e = ERR_NONE;

	for (size_t i = 0; e == ERR_NONE && i < sizeof(file) / sizeof(file[0]); i++) {
		uint8_t *text = NULL;
		size_t len = 0;

		if (file[i] == NULL || file[i]->size > FILE_BYTES_MAX)
			continue;
		e = fetcher_file(fetcher, file[i], FILE_BYTES_MAX, &text, &len, why);
		if (e == ERR_NONE)
			e = conf_decode(bytes_of(text, len), take_line, out, why);
		free(text);
	}
	return e;
}
