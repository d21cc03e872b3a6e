/* restore/settings.c - what is written into the restored server's configuration.  Pure.
 *
 * postgresql.auto.conf is read last by the server, so one block at its end decides, whatever the
 * backup's own configuration says.  Every recovery_target* is written, all but one as '': two that
 * are not empty stop the server, wherever they come from.
 */
#include "base/text.h"
#include "pgformat/label.h"
#include "restore/restore_internal.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

enum { SETTINGS_MAX = 128, VALUE_MAX = 4096, NAME_MAX_BYTES = 63 };

const char *const settings_of_recovery[] = {"restore_command",
					    "recovery_target",
					    "recovery_target_name",
					    "recovery_target_time",
					    "recovery_target_xid",
					    "recovery_target_lsn",
					    "recovery_target_inclusive",
					    "recovery_target_timeline",
					    "recovery_target_action",
					    "recovery_prefetch",
					    "hot_standby",
					    NULL};

/* A name may come several times; the last value counts and is the one written. */
struct list {
	struct entry {
		const char *name;
		const char *value;
	} entry[SETTINGS_MAX];
	size_t count;
};

static void list_set(struct list *list, const char *name, const char *value)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcasecmp(list->entry[i].name, name) == 0) {
			list->entry[i].value = value;
			return;
		}
	}
	if (list->count < SETTINGS_MAX)
		list->entry[list->count++] = (struct entry){name, value};
}

static enum err list_write(const struct list *list, struct writer *w, struct error *why)
{
	for (size_t i = 0; i < list->count; i++)
		conf_line(w, list->entry[i].name, list->entry[i].value);
	if (w->bad)
		return error_set(why, ERR_CONFIG,
				 "settings of the restored server: a value holds a newline or all "
				 "of them are too long");
	return ERR_NONE;
}

static bool is_setting_name(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > NAME_MAX_BYTES || isdigit((unsigned char)name[0]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && name[i] != '_' && name[i] != '.')
			return false;
	return true;
}

/* What a restore writes and --keep-setting leaves alone. */
static const char *const keepable[] = {"archive_mode",
				       "archive_command",
				       "archive_library",
				       "primary_conninfo",
				       "primary_slot_name",
				       "recovery_end_command",
				       "archive_cleanup_command",
				       "listen_addresses",
				       "max_logical_replication_workers",
				       "external_pid_file",
				       "shared_preload_libraries",
				       "synchronous_standby_names"};
enum { KEEPABLE = sizeof(keepable) / sizeof(keepable[0]) };

static enum err check_kept(const char *name, struct error *why)
{
	struct writer names;
	const char *near;

	for (size_t i = 0; i < KEEPABLE; i++)
		if (strcasecmp(name, keepable[i]) == 0)
			return ERR_NONE;
	(void)error_set(why, ERR_CONFIG, "--keep-setting %s: this is none that can be kept", name);
	near = text_nearest(name, keepable, KEEPABLE);
	if (near != NULL) {
		error_hint(why, "Did you mean \"%s\"?", near);
		return ERR_CONFIG;
	}
	writer_init(&names, ERROR_HINT_MAX);
	for (size_t i = 0; i < KEEPABLE; i++)
		writer_text(&names, "%s%s", i > 0 ? ", " : "", keepable[i]);
	writer_u8(&names, 0);
	if (!names.bad)
		error_hint(why, "these can: %s", (const char *)names.data);
	writer_release(&names);
	return ERR_CONFIG;
}

enum err settings_check(const struct restore_request *request, struct error *why)
{
	for (size_t i = 0; i < request->sets; i++) {
		const char *name = request->set[i].name;

		if (!is_setting_name(name))
			return error_set(why, ERR_CONFIG, "--set %s: this is no name of a setting",
					 name);
		if (strncasecmp(name, "recovery_target", strlen("recovery_target")) == 0 ||
		    strcasecmp(name, "restore_command") == 0 ||
		    strcasecmp(name, "data_directory") == 0) {
			(void)error_set(why, ERR_CONFIG, "--set %s: the restore decides it itself",
					name);
			error_hint(why, "targets have options of their own: --to-time, --to-lsn, "
					"--action; the directory is -D");
			return ERR_CONFIG;
		}
		if (strchr(request->set[i].value, '\n') != NULL)
			return error_set(why, ERR_CONFIG, "--set %s: its value holds a newline",
					 name);
	}
	for (size_t i = 0; i < request->keep_settings; i++) {
		enum err e = check_kept(request->keep_setting[i], why);

		if (e != ERR_NONE)
			return e;
	}
	if (request->name != NULL && strchr(request->name, '\n') != NULL)
		return error_set(why, ERR_CONFIG, "the restore point's name holds a newline");
	return limits_check(request, why);
}

const char *settings_asked(const struct restore_request *request, const char *name)
{
	const char *value = NULL;

	for (size_t i = 0; i < request->sets; i++)
		if (strcasecmp(request->set[i].name, name) == 0)
			value = request->set[i].value;
	return value;
}

bool settings_is_kept(const struct restore_request *request, const char *name)
{
	for (size_t i = 0; i < request->keep_settings; i++)
		if (strcasecmp(request->keep_setting[i], name) == 0)
			return true;
	return false;
}

/* Whether one entry of shared_preload_libraries, by its last part without quotes and suffix, is one of `name`. */
static bool is_library(const char *entry, size_t len, const char *const *name, size_t names)
{
	const char *slash;

	while (len > 0 && (*entry == ' ' || *entry == '\t' || *entry == '"')) {
		entry++;
		len--;
	}
	while (len > 0 &&
	       (entry[len - 1] == ' ' || entry[len - 1] == '\t' || entry[len - 1] == '"'))
		len--;
	slash = memrchr(entry, '/', len);
	if (slash != NULL) {
		len -= (size_t)(slash + 1 - entry);
		entry = slash + 1;
	}
	if (len > 3 && strncmp(entry + len - 3, ".so", 3) == 0)
		len -= 3;
	for (size_t i = 0; i < names; i++)
		if (strlen(name[i]) == len && strncasecmp(name[i], entry, len) == 0)
			return true;
	return false;
}

static bool runs_jobs(const char *entry, size_t len)
{
	/* pglogical has subscriptions of its own, opened by its own workers. */
	static const char *const jobs[] = {"pg_cron", "pg_partman_bgw", "pg_squeeze",
					   "pgautofailover", "pglogical"};

	return is_library(entry, len, jobs, sizeof(jobs) / sizeof(jobs[0]));
}

const char *settings_waking_library(const char *libraries)
{
	/* Built as pglogical is; but since version 5 it writes WAL of a kind that only it can replay. */
	static const char *const waking[] = {"spock"};

	while (*libraries != '\0') {
		size_t len = strcspn(libraries, ",");

		if (is_library(libraries, len, waking, 1))
			return waking[0];
		libraries += len + (libraries[len] == ',');
	}
	return NULL;
}

bool settings_quiet_libraries(const char *libraries, char *out, size_t out_len)
{
	bool removed = false;
	size_t used = 0;

	out[0] = '\0';
	if (strlen(libraries) >= out_len)
		return false;
	while (*libraries != '\0') {
		size_t len = strcspn(libraries, ",");

		if (runs_jobs(libraries, len)) {
			removed = true;
		} else {
			if (used > 0)
				out[used++] = ',';
			memcpy(out + used, libraries, len);
			used += len;
			out[used] = '\0';
		}
		libraries += len + (libraries[len] == ',');
	}
	return removed;
}

/* "2026-11-23 14:05:00.000000+00", which the server reads alike whatever its time zone. */
static void time_to_setting(int64_t us, char out[TIME_TEXT_MAX])
{
	char *t;

	time_to_text(us, out);
	t = strchr(out, 'T');
	if (t != NULL)
		*t = ' ';
	t = strchr(out, 'Z');
	if (t != NULL)
		memcpy(t, "+00", sizeof("+00"));
}

struct target_text {
	char lsn[LSN_TEXT_MAX], time[TIME_TEXT_MAX + 4], xid[16], timeline[16];
};

/* The one recovery_target* that is not empty, its value in `t`. */
static const char *target_setting(const struct settings_input *in, struct target_text *t,
				  const char **value)
{
	if (in->plan->stop_behind.value != 0) {
		lsn_to_text(in->plan->stop_behind, t->lsn);
		*value = t->lsn;
		return "recovery_target_lsn";
	}
	switch (in->plan->kind) {
	case TARGET_LATEST:
	case TARGET_LSN:
		lsn_to_text(in->plan->target_lsn, t->lsn);
		*value = t->lsn;
		return "recovery_target_lsn";
	case TARGET_TIME:
		time_to_setting(in->request->time_us, t->time);
		*value = t->time;
		return "recovery_target_time";
	case TARGET_XID:
		(void)snprintf(t->xid, sizeof(t->xid), "%" PRIu32, in->request->xid);
		*value = t->xid;
		return "recovery_target_xid";
	case TARGET_NAME:
		*value = in->request->name;
		return "recovery_target_name";
	case TARGET_BACKUP_END:
		break;
	}
	*value = "immediate";
	return "recovery_target";
}

static const char *const target_kinds[] = {"recovery_target", "recovery_target_name",
					   "recovery_target_time", "recovery_target_xid",
					   "recovery_target_lsn"};
enum { TARGET_KINDS = sizeof(target_kinds) / sizeof(target_kinds[0]) };

/* No target, and after a promotion the timeline that came of it; one that was asked for is kept to. */
static void list_following(struct list *list, const struct settings_input *in,
			   struct target_text *t)
{
	const struct restore_request *r = in->request;
	bool fixed = r->timeline != 0 || r->timeline_rule == TIMELINE_CURRENT;

	for (size_t i = 0; i < TARGET_KINDS; i++)
		list_set(list, target_kinds[i], "");
	(void)snprintf(t->timeline, sizeof(t->timeline), "%" PRIu32, in->plan->timeline);
	list_set(list, "recovery_target_timeline", fixed ? t->timeline : "latest");
	list_set(list, "hot_standby", "on");
}

static void list_target(struct list *list, const struct settings_input *in, struct target_text *t)
{
	const struct restore_plan *plan = in->plan;
	const char *value;
	const char *target = target_setting(in, t, &value);

	/* The server refuses even an empty one that comes behind the one that is not. */
	for (size_t i = 0; i < TARGET_KINDS; i++)
		if (strcmp(target_kinds[i], target) != 0)
			list_set(list, target_kinds[i], "");
	list_set(list, target, value);
	list_set(list, "recovery_target_inclusive",
		 plan->target_inclusive || plan->stop_behind.value != 0 ? "on" : "off");
	(void)snprintf(t->timeline, sizeof(t->timeline), "%" PRIu32, plan->timeline);
	list_set(list, "recovery_target_timeline", t->timeline);
	list_set(list, "recovery_target_action",
		 plan->action == ACTION_PROMOTE    ? "promote"
		 : plan->action == ACTION_SHUTDOWN ? "shutdown"
						   : "pause");
	if (plan->action == ACTION_PAUSE)
		list_set(list, "hot_standby", "on");
	/* The server decodes ahead of what it replays, and asks for segments behind the target: where one is
	 * missing and later ones are not, archive-get stops it. */
	if (plan->reach.ends_in_hole || in->request->kind == TARGET_BACKUP_END)
		list_set(list, "recovery_prefetch", "off");
}

/* A standby is to be what the original is; but what the original, once a standby itself, followed and ran
 * is not for this one. */
static void list_own(struct list *list, const struct settings_input *in)
{
	static const char *const own[] = {"primary_conninfo", "primary_slot_name",
					  "recovery_end_command", "archive_cleanup_command"};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (!settings_is_kept(in->request, own[i]))
			list_set(list, own[i], "");
}

/* A copy must not touch the world. */
static void list_quiet(struct list *list, const struct settings_input *in, char *libraries,
		       size_t libraries_len)
{
	static const struct entry quiet[] = {
		{"max_logical_replication_workers", "0"},
		{"synchronous_standby_names", ""},
		{"primary_conninfo", ""},
		{"primary_slot_name", ""},
		{"recovery_end_command", ""},
		{"archive_cleanup_command", ""},
		{"listen_addresses", ""},
		/* An empty one is taken for a name that can't be written. */
		{"external_pid_file", "pgagent-external.pid"},
	};

	for (size_t i = 0; i < sizeof(quiet) / sizeof(quiet[0]); i++)
		if (!settings_is_kept(in->request, quiet[i].name))
			list_set(list, quiet[i].name, quiet[i].value);
	if (in->preload != NULL && !settings_is_kept(in->request, "shared_preload_libraries") &&
	    settings_quiet_libraries(in->preload, libraries, libraries_len))
		list_set(list, "shared_preload_libraries", libraries);
}

static void list_archiving(struct list *list, const struct settings_input *in)
{
	static const struct entry off[] = {
		{"archive_mode", "off"}, {"archive_command", ""}, {"archive_library", ""}};

	for (size_t i = 0; !in->request->keep_archiving && i < 3; i++)
		if (!settings_is_kept(in->request, off[i].name))
			list_set(list, off[i].name, off[i].value);
}

/* restore_command: what was given has its percent signs doubled, since the server expands them.  Where
 * the WAL lies in pg_wal a recovery must have one all the same, and a standby need not. */
static enum err restore_command(const struct settings_input *in, struct writer *w,
				struct error *why)
{
	if (in->request->copy_wal) {
		writer_text(w, "%s", in->request->standby ? "" : "false");
		writer_u8(w, 0);
		return w->bad ? error_set(why, ERR_MEMORY, "restore_command: out of memory")
			      : ERR_NONE;
	}
	for (const char *at = in->request->archive_get; *at != '\0'; at++) {
		if (*at == '%')
			writer_u8(w, '%');
		writer_u8(w, (uint8_t)*at);
	}
	if (in->pin != NULL)
		writer_text(w, " --pin %s", in->pin);
	writer_text(w, " %%f \"%%p\"");
	writer_u8(w, 0);
	return w->bad ? error_set(why, ERR_LIMIT, "restore_command is longer than %d bytes",
				  VALUE_MAX - 1)
		      : ERR_NONE;
}

/* What --set says counts, but for what recovery cannot do with, of which a configuration may have less, too, when
 * it was changed and the original not started again.  A copy gets all five, a server in place what it lacks. */
static void list_asked(struct list *list, const struct settings_input *in,
		       struct limit limit[RESTORE_LIMITS])
{
	limits_of(in->control, limit);
	for (size_t i = 0; in->plan->side && i < RESTORE_LIMITS; i++)
		list_set(list, limit[i].name, limit[i].text);
	for (size_t i = 0; i < in->request->sets; i++)
		list_set(list, in->request->set[i].name, in->request->set[i].value);
	for (size_t i = 0; i < RESTORE_LIMITS; i++)
		for (size_t k = 0; k < in->plan->raised; k++)
			if (strcmp(in->plan->raise[k].name, limit[i].name) == 0)
				list_set(list, limit[i].name, limit[i].text);
}

enum err settings_auto_conf(const struct settings_input *in, struct writer *out, struct error *why)
{
	struct list list = {.count = 0};
	struct target_text text;
	struct limit limit[RESTORE_LIMITS];
	struct writer command;
	char libraries[VALUE_MAX];
	enum err e;

	writer_init(&command, VALUE_MAX);
	e = restore_command(in, &command, why);
	if (e == ERR_NONE) {
		list_set(&list, "restore_command", (const char *)command.data);
		if (in->request->standby)
			list_following(&list, in, &text);
		else
			list_target(&list, in, &text);
		list_archiving(&list, in);
		if (in->request->standby)
			list_own(&list, in);
		else if (in->plan->side)
			list_quiet(&list, in, libraries, sizeof(libraries));
		list_asked(&list, in, limit);
		writer_text(out,
			    "\n# written by pgagent restore %s; %s"
			    "# ALTER SYSTEM RESET restore_command, and likewise every "
			    "recovery_target* below\n",
			    in->written,
			    in->request->standby ? "after promotion:\n"
						 : "removed by pgagent restore --start after "
						   "promotion, or:\n");
		e = list_write(&list, out, why);
	}
	writer_release(&command);
	return e;
}
