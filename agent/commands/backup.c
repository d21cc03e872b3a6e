/* commands/backup.c - `pgagent backup`: one base backup into every repository of the cluster. */
#include "backup/backup.h"
#include "agent.h"
#include "base/text.h"
#include "commands/backup_report.h"
#include "commands/commands.h"
#include "commands/expire.h"
#include "commands/leftovers.h"
#include "config_stored.h"
#include "lock.h"
#include "places.h"
#include "subject.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { WORKERS_MAX = 16 };

/* Compression dominates; the server and the reader need little of a processor each. */
static unsigned workers(void)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	return processors < 1 ? 1 : processors > WORKERS_MAX ? WORKERS_MAX : (unsigned)processors;
}

static void say_result(struct agent *agent, const struct backup_result *result)
{
	const struct summary *s = &result->summary;
	char id[ATTEMPT_TEXT_MAX], cluster[TEXT_SIZE_MAX], stored[TEXT_SIZE_MAX];
	char rate[TEXT_SIZE_MAX], took[TEXT_DURATION_MAX];
	double seconds = (double)result->duration_us / 1e6;
	uint64_t per_second =
		seconds > 0 ? (uint64_t)((double)s->bytes_cluster / seconds) : s->bytes_cluster;

	attempt_to_text(&s->attempt, id);
	text_of_size(s->bytes_cluster, cluster);
	text_of_size(s->bytes_stored, stored);
	text_of_size(per_second, rate);
	text_of_duration(result->duration_us, took);
	report_text(&agent->report,
		    "backup %s is complete: %s in %" PRIu64 " files%s, %s stored, %s (%s/s)\n", id,
		    cluster, s->files, s->incremental ? ", incremental" : "", stored, took, rate);
	if (s->has_parent) {
		char parent[ATTEMPT_TEXT_MAX], fresh[TEXT_SIZE_MAX], renewed[TEXT_SIZE_MAX];

		attempt_to_text(&s->parent, parent);
		text_of_size(s->bytes_new, fresh);
		text_of_size(s->bytes_renewed, renewed);
		report_text(&agent->report,
			    "since %s: %" PRIu64 " pages changed, %s new, %s renewed\n", parent,
			    s->pages_changed, fresh, renewed);
	}
	/* People have read it already; those who gather logs have not. */
	if (agent->log.json)
		log_event(&agent->log, LEVEL_INFO, "backup %s is complete: %s, %s stored", id,
			  cluster, stored);
	backup_report_json(agent->report.root, s);
	report_put(agent->report.root, "throughput_bytes_per_s", report_json_u64(per_second));
	report_put(agent->report.root, "seconds", json_real(seconds));
	report_put(agent->report.root, "why_full",
		   report_json_text(result->why_full[0] != '\0' ? result->why_full : NULL));
}

static void say_damage(struct agent *agent, const struct summary *s)
{
	json_t *bad = json_array();

	report_warning(&agent->report,
		       "the server found pages with wrong checksums in %" PRIu64
		       " file(s); the backup is kept and marked",
		       s->checksum_failures);
	for (size_t i = 0; i < s->bad_files; i++) {
		char text[BAD_FILE_TEXT_MAX];

		backup_bad_file_text(s->bad_file[i], text, sizeof(text));
		report_warning(&agent->report, "damaged in the server: %s", text);
		(void)json_array_append_new(
			bad,
			backup_bad_file_json(s->bad_file[i])); /* without memory the dump fails */
	}
	report_put(agent->report.root, "bad_files", bad);
	report_warning(&agent->report, "look at the disk and the kernel log of the server now, run "
				       "pg_amcheck, and keep the older backups: pgagent list");
}

static enum backup_type backup_type(const char *text)
{
	if (text != NULL && strcmp(text, "full") == 0)
		return BACKUP_FULL;
	if (text != NULL && strcmp(text, "incremental") == 0)
		return BACKUP_INCREMENTAL;
	return BACKUP_AUTO;
}

/* Recovery settings do not outlive recovery: whoever is backed up with them hands them on. */
static void warn_of_leftovers(struct agent *agent, const struct config_cluster *config)
{
	struct session_options options = {.conninfo = config->conninfo, .kind = SESSION_SQL};
	struct session *session = NULL;
	struct leftovers found = {.count = 0};
	struct error why;
	enum err e = session_open(&agent->env, &options, &session, &why);

	if (e == ERR_NONE)
		e = leftovers_find(session, &found, &why);
	session_close(session);
	/* A warning is one line. */
	for (char *at = found.lines; *at != '\0'; at++)
		*at = *at == '\n' ? ' ' : *at;
	if (e != ERR_NONE)
		log_event(&agent->log, LEVEL_DEBUG, "leftovers of a recovery not looked for: %s",
			  why.text);
	else if (found.count > 0)
		report_warning(
			&agent->report,
			"an earlier recovery has left %s in the server, and the backup takes "
			"them along; in psql: %s",
			found.names, found.lines);
}

/* For `config recover` on a machine that has nothing else; a backup without it is a backup, too. */
static const char *config_text(struct agent *agent, const struct config_cluster *config,
			       struct writer *text)
{
	struct error why;
	enum err e = config_stored_text(&agent->config, config, text, &why);

	writer_u8(text, 0);
	if (e == ERR_NONE && !text->bad)
		return (const char *)text->data;
	report_warning(&agent->report, "the backup carries no configuration of pgagent: %s",
		       e != ERR_NONE ? why.text : "it is too long");
	return NULL;
}

static int backup(struct agent *agent, const struct config_cluster *config,
		  const struct places *places)
{
	const struct options *o = &agent->options;
	const char *checkpoint = option_text(o, OPTION_CHECKPOINT);
	uint64_t rate = option_number(o, OPTION_MAX_RATE, 0) / 1024;
	struct backup_request request = {
		.type = backup_type(option_text(o, OPTION_TYPE)),
		.conninfo = *config->backup_conninfo != '\0' ? config->backup_conninfo
							     : config->conninfo,
		.primary_conninfo = config->conninfo,
		.label = option_text(o, OPTION_LABEL),
		.fast_checkpoint = checkpoint != NULL && strcmp(checkpoint, "fast") == 0,
		.keep = option_given(o, OPTION_KEEP),
		.level = config->compression_level,
		.workers = workers(),
		.stream_wal = true,
		.refresh_period_us = config->refresh_period_us,
		.archive_wait_us = config->archive_wait_us,
		.repositories = places->count,
		.cluster_name = config->section.name,
	};
	struct sightings *seen;
	struct backup_result result;
	struct writer text;
	struct error why;
	int code = EXIT_DONE, pruned = EXIT_DONE;
	enum err e;

	if (option_given(o, OPTION_MAX_RATE) && (rate < 32 || rate > 1048576)) {
		(void)error_set(&why, ERR_CONFIG,
				"--max-rate must lie between 32 KiB and 1 GiB per second, the "
				"server's own bounds");
		return agent_fail(agent, &why);
	}
	request.max_rate_kb = (uint32_t)rate;
	for (size_t i = 0; i < places->count; i++)
		request.repository[i] = places->place[i].repository;
	log_event(&agent->log, LEVEL_INFO, "backup of cluster %s begins%s", config->section.name,
		  request.fast_checkpoint ? ""
					  : " with the server's next checkpoint, which can take "
					    "minutes (--checkpoint fast does not wait)");
	warn_of_leftovers(agent, config);
	writer_init(&text, CONFIG_STORED_MAX + 1);
	request.agent_config = config_text(agent, config, &text);
	request.seen = seen = expire_watch(agent, config, places->place, places->count);
	e = backup_run(&agent->env, &request, &result, &why);
	sightings_free(seen);
	writer_release(&text);
	if (e != ERR_NONE)
		return agent_fail(agent, &why);
	progress_erase(&agent->progress);
	say_result(agent, &result);
	if (result.summary.checksum_failures > 0) {
		say_damage(agent, &result.summary);
		code = EXIT_DAMAGED;
	}
	summary_release(&result.summary);
	if (config->expire_auto) {
		pruned = expire_after_backup(agent, config, places);
	} else {
		expire_note_clock(agent, config);
		report_put(agent->report.root, "expire", json_null());
	}
	return code != EXIT_DONE ? code : pruned;
}

int command_backup(struct agent *agent)
{
	const struct config_cluster *config = NULL;
	struct places places = {.count = 0};
	struct lock lock = {.fd = -1};
	char name[CLUSTER_NAME_MAX + 16];
	struct error why;
	enum err e = config_cluster(&agent->config, option_text(&agent->options, OPTION_CLUSTER),
				    &config, &why);
	int code;

	if (e == ERR_NONE) {
		(void)snprintf(name, sizeof(name), "backup-%s", config->section.name);
		e = lock_take(&lock, &agent->env, agent->config.global.state_directory, name, &why);
		if (e == ERR_EXISTS)
			return agent_fail_as(agent, EXIT_LOCKED, &why);
	}
	if (e == ERR_NONE)
		e = places_open(agent, config, &places, &why);
	code = e == ERR_NONE ? backup(agent, config, &places) : agent_fail(agent, &why);
	places_close(&places);
	lock_release(&lock);
	return code;
}
