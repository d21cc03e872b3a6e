/* commands/restore_standby.c - `restore --standby`: what it may be asked for with, and how it is told. */
#include "commands/restore_standby.h"

#include <string.h>
#include <strings.h>

/* A connection string in postgresql.auto.conf is in every backup of that server, and pg_settings shows it. */
void restore_standby_warn(struct agent *agent, const struct restore_request *r)
{
	char masked[1024];

	for (size_t i = 0; i < r->sets; i++) {
		if (strcasecmp(r->set[i].name, "primary_conninfo") != 0)
			continue;
		config_mask(r->set[i].value, masked, sizeof(masked));
		if (strncmp(masked, r->set[i].value, sizeof(masked) - 1) != 0)
			report_warning(&agent->report,
				       "the password in primary_conninfo is written into "
				       "postgresql.auto.conf, and can be read in the process list "
				       "now: better a passfile, which primary_conninfo can name "
				       "(passfile=/var/lib/postgresql/.pgpass)");
	}
}

static bool is_set(const struct restore_request *r, const char *name)
{
	for (size_t i = 0; i < r->sets; i++)
		if (strcasecmp(r->set[i].name, name) == 0 && *r->set[i].value != '\0')
			return true;
	return false;
}

/* A standby ends nowhere: what is about the end of a recovery contradicts it. */
enum err restore_standby_check(const struct restore_request *r, struct error *why)
{
	if (r->kind != TARGET_LATEST) {
		(void)error_set(why, ERR_CONFIG,
				"--standby: a standby follows what comes and stops at no target");
		error_hint(why, "without --to-... it follows; without --standby it stops there");
		return ERR_CONFIG;
	}
	if (r->action != ACTION_DEFAULT)
		return error_set(why, ERR_CONFIG,
				 "--standby: there is no target for --action: pg_ctl promote ends "
				 "it when it is time");
	if (r->copy_wal && !is_set(r, "primary_conninfo")) {
		(void)error_set(why, ERR_CONFIG, "--standby with --wal copy has nothing to follow");
		error_hint(why, "--set primary_conninfo='host=... user=...'; or --wal archive");
		return ERR_CONFIG;
	}
	return ERR_NONE;
}

/* What it follows is what was named: the original's own connection string is not for it. */
const char *restore_standby_text(const struct restore_request *request)
{
	if (is_set(request, "primary_conninfo"))
		return request->copy_wal ? "a standby: follows primary_conninfo alone"
					 : "a standby: follows primary_conninfo and the archive, "
					   "until it is promoted";
	for (size_t i = 0; i < request->keep_settings; i++)
		if (strcasecmp(request->keep_setting[i], "primary_conninfo") == 0)
			return "a standby: follows the archive, and primary_conninfo as configured";
	return "a standby: follows the archive, until it is promoted";
}

void restore_standby_closing(struct report *r, const char *control, const char *directory)
{
	report_text(r, "to take over:     %s promote -D %s; the old primary has to be down first\n",
		    control, directory);
	report_text(r, "to seed it again: stop it, then the same command with --delta: only what "
		       "differs is written\n");
}
