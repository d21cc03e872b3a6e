/* restore/run.c - carries a plan out.  The order is the README's table; each step's number is in
 * the code.  Before step 9 PostgreSQL refuses to start what is there: it has no pg_control.
 */
#include "base/crc32c.h"
#include "pgformat/label.h"
#include "restore/reading.h"
#include "restore/restore_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { CONF_BYTES_MAX = 8 << 20, CONTROL_MODE = 0600 };

struct run {
	const struct env *env;
	const struct wal_archive *archive;
	const struct restore_request *request;
	const struct restore_plan *plan;
	struct restore_result *out;
	struct error *why;
	pthread_mutex_t speaking;
	struct reading reading;
	struct manifest *manifest;
	struct source source;
	struct table table;
	struct target target;
	bool opened;
	struct fetcher *fetcher; /* for single files */
	uint8_t *control, *auto_conf, *recorded;
	size_t control_len, auto_conf_len, recorded_len;
	struct control decoded;
	struct map_written map;
	struct preload preload;
};

/* 1 and 2: from here on nothing that this backup needs is removed; what was planned may have gone before
 * the pin was there. */
static enum err run_read(struct run *r)
{
	enum err e;

	r->reading.pin = (struct pin){.backup = r->plan->backup.attempt,
				      .start = r->plan->backup.start,
				      .timeline = r->plan->backup.timeline};
	e = reading_begin(&r->reading, r->env, r->archive, &r->manifest, r->why);
	if (e != ERR_NONE)
		return e;
	e = still_there(r->env, r->archive, r->plan, r->why);
	if (e != ERR_NONE)
		return e;
	if (r->reading.keeper != NULL)
		(void)snprintf(r->out->pin, sizeof(r->out->pin), "%s", r->reading.pin.holder);
	r->source = (struct source){.env = r->env,
				    .archive = r->archive,
				    .manifest = r->manifest,
				    .speaking = &r->speaking};
	e = table_read(&r->source, &r->table, r->why);
	if (e == ERR_NONE)
		e = fetcher_new(&r->source, &r->fetcher, r->why);
	if (e == ERR_NONE)
		e = fetcher_file(r->fetcher, r->table.control, CONTROL_FILE_BYTES, &r->control,
				 &r->control_len, r->why);
	if (e == ERR_NONE)
		e = control_decode(bytes_of(r->control, r->control_len), &r->decoded, r->why);
	if (e == ERR_NONE && r->decoded.system_identifier != r->plan->backup.system_identifier)
		e = error_set(r->why, ERR_CORRUPT,
			      "global/pg_control of the backup belongs to another cluster "
			      "(%" PRIu64 ")",
			      r->decoded.system_identifier);
	return e;
}

static enum err run_settings_of_backup(struct run *r)
{
	enum err e = source_section(&r->source, SECTION_SETTINGS, CONF_BYTES_MAX, &r->recorded,
				    &r->recorded_len, r->why);

	if (e != ERR_NONE && e != ERR_MISSING)
		return e;
	e = preload_recorded(bytes_of(r->recorded, r->recorded_len), &r->preload, r->why);
	if (e == ERR_NONE && !r->preload.known)
		e = preload_of_files(&r->table, r->fetcher, &r->preload, r->why);
	if (e == ERR_NONE && r->table.auto_conf != NULL)
		e = fetcher_file(r->fetcher, r->table.auto_conf, CONF_BYTES_MAX, &r->auto_conf,
				 &r->auto_conf_len, r->why);
	return e;
}

/* 6: recovery makes the links anew from tablespace_map, so both have to say the same. */
static enum err run_tablespaces(struct run *r)
{
	struct writer map;
	enum err e = target_link_places(&r->target, r->why);

	if (e != ERR_NONE)
		return e;
	if (r->plan->tablespaces == 0) {
		/* The server sends an empty one, and its manifest lists it. */
		if (r->table.map == NULL)
			return ERR_NONE;
		if (r->table.map->size != 0)
			return error_set(r->why, ERR_CORRUPT,
					 "the backup's tablespace_map names tablespaces that its "
					 "summary does not");
		return target_put(&r->target, "tablespace_map", bytes_of("", 0), r->table.map->mode,
				  r->why);
	}
	writer_init(&map, 1 << 20);
	for (size_t i = 0; i < r->plan->tablespaces; i++)
		tablespace_map_line(&map, r->plan->tablespace[i].oid, r->plan->tablespace[i].to);
	if (!map.bad && r->table.map != NULL)
		r->map = (struct map_written){.size = map.len, .crc = crc32c(writer_view(&map))};
	r->map.changed = r->table.map != NULL &&
			 (r->map.size != r->table.map->size || r->map.crc != r->table.map->crc);
	if (map.bad)
		e = error_set(r->why, ERR_CONFIG, "tablespace_map: a path cannot be written");
	else
		e = target_put(&r->target, "tablespace_map", writer_view(&map),
			       r->table.map != NULL ? r->table.map->mode : 0600, r->why);
	writer_release(&map);
	return e;
}

/* The configuration of the original is of no use to a copy when it is not in the directory. */
static bool is_outside(const struct run *r)
{
	return r->table.conf == NULL || start_is_configured_outside(&r->plan->backup);
}

static enum err run_start_conf(struct run *r, const struct settings_input *in)
{
	struct writer conf;
	enum err e;

	writer_init(&conf, CONF_BYTES_MAX);
	e = settings_start_conf(in, bytes_of(r->recorded, r->recorded_len), &conf, r->why);
	if (e == ERR_NONE)
		e = target_put(&r->target, RESTORE_CONF, writer_view(&conf), 0600, r->why);
	if (e == ERR_NONE)
		e = target_put(&r->target, RESTORE_HBA, bytes_of_text(settings_hba), 0600, r->why);
	if (e == ERR_NONE)
		e = target_put(&r->target, RESTORE_IDENT, bytes_of("", 0), 0600, r->why);
	writer_release(&conf);
	return e;
}

/* A standby asks for WAL as long as it lives, and must not hold the backup as long: the pin that is left lets
 * it come up, and ages out. */
static const char *run_pin(const struct run *r)
{
	return *r->out->pin != '\0' && !r->request->standby ? r->out->pin : NULL;
}

/* 7 */
static enum err run_settings(struct run *r)
{
	char now[TIME_TEXT_MAX];
	struct settings_input in = {.request = r->request,
				    .plan = r->plan,
				    .directory = r->target.path,
				    .pin = run_pin(r),
				    .written = now,
				    .preload = r->preload.known ? r->preload.libraries : NULL,
				    .control = &r->decoded};
	struct writer conf;
	enum err e;

	time_to_text(clock_now_us(r->env->clock), now);
	writer_init(&conf, 2 * CONF_BYTES_MAX);
	writer_bytes(&conf, bytes_of(r->auto_conf, r->auto_conf_len));
	e = settings_auto_conf(&in, &conf, r->why);
	if (e == ERR_NONE)
		e = target_put(&r->target, "postgresql.auto.conf", writer_view(&conf), 0600,
			       r->why);
	writer_release(&conf);
	if (e == ERR_NONE)
		e = target_put(&r->target,
			       r->request->standby ? "standby.signal" : "recovery.signal",
			       bytes_of("", 0), 0600, r->why);
	r->out->outside_configuration = is_outside(r) && r->plan->side;
	if (e == ERR_NONE && r->out->outside_configuration)
		e = run_start_conf(r, &in);
	return e;
}

/* 9: from here on it can be started. */
static enum err run_control(struct run *r)
{
	struct files *files = r->env->files;
	enum err e = target_put(
		&r->target, "global/pg_control", bytes_of(r->control, r->control_len),
		r->table.control->mode != 0 ? r->table.control->mode : CONTROL_MODE, r->why);
	int dir, answer;

	if (e != ERR_NONE)
		return e;
	dir = files->ops->open_beneath(files, r->target.dir, "global", O_RDONLY | O_DIRECTORY, 0);
	answer = dir < 0 ? dir : files->ops->fsync(files, dir);
	if (dir >= 0)
		(void)files->ops->close(files, dir); /* a directory, synced */
	return answer < 0 ? error_set_os(r->why, ERR_IO, -answer, "fsync of \"%s/global\"",
					 r->target.path)
			  : ERR_NONE;
}

static enum err run_write(struct run *r)
{
	struct files_totals totals = {.written = 0};
	enum err e =
		target_open(&r->target, r->env, r->request->directory, r->plan, r->why); /* 3 */

	r->opened = true;
	if (e == ERR_NONE && r->target.reuses)
		e = target_clean(&r->target, &r->table, r->why); /* 4 */
	if (e == ERR_NONE)
		e = target_make_dirs(&r->target, &r->table, r->why); /* 4 */
	if (e == ERR_NONE)
		e = files_write(&r->source, &r->table, &r->target, r->request->jobs, &totals,
				r->why); /* 5 */
	if (e == ERR_NONE)
		e = run_tablespaces(r); /* 6 */
	if (e == ERR_NONE)
		e = run_settings(r); /* 7 */
	if (e == ERR_NONE && r->request->copy_wal)
		e = wal_copy(&r->source, r->plan, &r->target, r->why);
	/* A standby hears of them from its primary. */
	if (e == ERR_NONE && r->request->copy_wal && !r->request->standby)
		e = wal_copy_histories(&r->source, r->plan, &r->target, r->why);
	if (e == ERR_NONE)
		e = server_manifest_write(&r->source, &r->target, &r->map, r->why);
	if (e == ERR_NONE && *r->env->cancelled)
		e = error_set(r->why, ERR_CANCELLED, "restore: stopped on request");
	if (e == ERR_NONE)
		e = target_set_modes(&r->target, &r->table, r->why); /* 8 */
	if (e == ERR_NONE)
		e = files_sync(&r->table, &r->target, r->request->jobs, r->why);
	if (e == ERR_NONE)
		e = target_sync_roots(&r->target, r->why);
	if (e == ERR_NONE)
		e = run_control(r); /* 9 */
	if (e == ERR_NONE)
		e = target_remove_markers(&r->target, r->plan, r->why); /* 10 */
	r->out->bytes_written = totals.written + r->control_len;
	r->out->bytes_reused = totals.reused;
	r->out->files = totals.files + 1;
	return e;
}

/* What a person types to start it. */
static enum err run_start_command(struct run *r)
{
	char binaries[PATH_MAX] = "", sockets[256] = "", *end;
	unsigned major = (unsigned)(r->plan->backup.server_version / 10000);
	const char *asked = settings_asked(r->request, "port");
	struct writer command, options;
	struct error ignored;
	int port = r->request->port;
	enum err e = ERR_NONE;

	if (start_service_command(r->plan, r->out->start_command, sizeof(r->out->start_command)))
		return ERR_NONE;
	if (port == 0 && asked != NULL)
		port = (int)strtol(asked, &end, 10);
	if (port == 0 && r->plan->side)
		port = start_free_port(r->env);
	if (r->plan->side)
		e = start_socket_directory(r->env, r->target.path, sockets, r->why);
	if (e != ERR_NONE)
		return e;
	writer_init(&command, sizeof(r->out->start_command));
	writer_init(&options, sizeof(r->out->start_command));
	if (programs_find(r->env, major, r->request->search_path, binaries, &ignored) == ERR_NONE)
		writer_text(&options, "%s/", binaries);
	writer_text(&options, "pg_ctl");
	writer_u8(&options, 0);
	if (!options.bad)
		shell_word(&command, (const char *)options.data);
	writer_text(&command, " -D ");
	shell_word(&command, r->target.path);
	writer_reset(&options);
	start_options(&options, r->plan, r->target.path, sockets, port,
		      r->out->outside_configuration, false);
	/* It shuts down in the course of this restore; who starts it later wants to look. */
	if (r->plan->action == ACTION_SHUTDOWN && r->request->start)
		writer_text(&options, "%s-c recovery_target_action=pause",
			    options.len > 0 ? " " : "");
	if (options.len > 0) {
		writer_u8(&options, 0);
		writer_text(&command, " -o ");
		if (!options.bad)
			shell_word(&command, (const char *)options.data);
	}
	writer_text(&command, " start");
	writer_u8(&command, 0);
	/* Too long to be typed: the rest is in the documents. */
	if (!command.bad && !options.bad)
		memcpy(r->out->start_command, command.data, command.len);
	writer_release(&command);
	writer_release(&options);
	return ERR_NONE;
}

static void run_release(struct run *r, bool failed)
{
	fetcher_free(r->fetcher);
	if (r->opened)
		target_close(&r->target);
	table_release(&r->table);
	manifest_free(r->manifest);
	free(r->control);
	free(r->auto_conf);
	free(r->recorded);
	if (failed)
		reading_end(&r->reading);
	else
		reading_leave(&r->reading);
	(void)pthread_mutex_destroy(&r->speaking);
}

/* What broke off says what; what to do next is the same for most of it. */
static void run_hint(const struct run *r)
{
	char id[ATTEMPT_TEXT_MAX];

	if (r->why->hint[0] != '\0')
		return;
	attempt_to_text(&r->plan->backup.attempt, id);
	if (r->why->kind == ERR_CORRUPT)
		error_hint(
			r->why,
			"all that is wrong with it: pgagent verify %s; from another one: pgagent "
			"list, then --backup ID",
			id);
	else
		error_hint(r->why, "the directory does not start as it is; when the cause is "
				   "mended, the same command again restores into it");
}

enum err restore_run(const struct env *env, const struct wal_archive *archive,
		     const struct restore_request *request, const struct restore_plan *plan,
		     struct restore_result *out, struct error *why)
{
	struct restore_result result = {.bytes_written = 0};
	int64_t began = clock_monotonic_us(env->clock);
	struct error unheard;
	struct run *r;
	enum err e;

	if (!plan->reachable)
		return error_set(why, ERR_CONFIG, "restore: %s", plan->reason);
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return error_set(why, ERR_MEMORY, "restore: out of memory");
	r->env = env;
	r->archive = archive;
	r->request = request;
	r->plan = plan;
	r->out = &result;
	r->why = why != NULL ? why : &unheard;
	(void)pthread_mutex_init(&r->speaking, NULL); /* cannot fail on Linux */
	e = run_read(r);
	if (e == ERR_NONE)
		e = run_settings_of_backup(r);
	if (e == ERR_NONE)
		e = run_write(r);
	if (e == ERR_NONE)
		e = run_start_command(r);
	if (e != ERR_NONE)
		run_hint(r);
	run_release(r, e != ERR_NONE);
	free(r);
	if (e == ERR_NONE) {
		result.duration_us = clock_monotonic_us(env->clock) - began;
		*out = result;
	}
	return e;
}
