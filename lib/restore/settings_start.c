/* restore/settings_start.c - pgagent-start.conf and its hba file: what starts a copy whose original is
 * configured outside its data directory.  Pure.
 */
#include "pgformat/label.h"
#include "repo/lines.h"
#include "restore/restore_internal.h"

#include <stdio.h>
#include <strings.h>

enum { VALUE_MAX = 4096 };

const char settings_hba[] =
	"# written by pgagent restore for a copy: its socket lies in a directory that only the\n"
	"# user it runs as may enter, and it listens nowhere else\n"
	"local all all trust\n"
	"local replication all trust\n";

/* Recorded settings that change what the data means or how it is shown, and nothing outside. */
struct recorded {
	struct writer *out;
};

static enum err take_recorded(void *ctx, const char *name, const char *value, struct error *why)
{
	static const char *const kept[] = {
		"track_commit_timestamp",     "timezone", "log_timezone", "datestyle",
		"default_text_search_config", "wal_level"};
	struct recorded *recorded = ctx;

	(void)why;
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		if (strcasecmp(name, kept[i]) == 0 && strchr(value, '\n') == NULL)
			conf_line(recorded->out, name, value);
	return ERR_NONE;
}

enum err settings_start_conf(const struct settings_input *in, struct bytes recorded,
			     struct writer *out, struct error *why)
{
	struct limit limit[RESTORE_LIMITS];
	struct recorded ctx = {.out = out};
	char libraries[VALUE_MAX], path[PATH_MAX + 32];
	enum err e;

	writer_text(out,
		    "# written by pgagent restore %s: the server's own configuration lies outside "
		    "the data\n# directory and belongs to the original; this one starts the copy "
		    "by itself\n",
		    in->written);
	conf_line(out, "data_directory", in->directory);
	(void)snprintf(path, sizeof(path), "%s/" RESTORE_HBA, in->directory);
	conf_line(out, "hba_file", path);
	(void)snprintf(path, sizeof(path), "%s/" RESTORE_IDENT, in->directory);
	conf_line(out, "ident_file", path);
	writer_text(out, "# recovery needs these at least as high as the original had them\n");
	limits_of(in->control, limit);
	for (size_t i = 0; i < RESTORE_LIMITS; i++)
		writer_text(out, "%s = %s\n", limit[i].name, limit[i].text);
	e = recorded.len > 0 ? lines_walk(recorded, take_recorded, &ctx, why) : ERR_NONE;
	if (e == ERR_NONE && in->preload != NULL && in->preload[0] != '\0') {
		bool quiet = in->plan->side && !in->request->standby &&
			     settings_quiet_libraries(in->preload, libraries, sizeof(libraries));

		conf_line(out, "shared_preload_libraries", quiet ? libraries : in->preload);
	}
	if (e == ERR_NONE && out->bad)
		e = error_set(why, ERR_CONFIG,
			      "settings of the restored server: \"%s\" holds a newline",
			      in->directory);
	return e;
}
