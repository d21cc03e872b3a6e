/* commands/export.c - `pgagent export BACKUP --to DIR|FILE|-`: plain tars, for a world without pgagent. */
#include "restore/export.h"
#include "agent.h"
#include "base/text.h"
#include "commands/catalog.h"
#include "commands/command_line.h"
#include "commands/commands.h"
#include "subject.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct export
{
	struct agent *agent;
	const char *to;
	char path[PATH_MAX];
	struct export_request request;
	struct export_result result;
	struct wal_archive archive; /* the repositories that have the backup, in order */
};

static enum err push_stdout(void *ctx, struct bytes in, struct error *why)
{
	(void)ctx;
	while (in.len > 0) {
		ssize_t n = write(STDOUT_FILENO, in.data, in.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set_os(why, errno == ENOSPC ? ERR_FULL : ERR_IO, errno,
					    "writing to standard output; what was written is void");
		in = bytes_of(in.data + n, in.len - (size_t)n);
	}
	return ERR_NONE;
}

static bool ends_in(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len > end_len && strcmp(text + len - end_len, end) == 0;
}

/* One tar on standard output leaves no room for anything else there. */
static enum err choose_stream(struct export *x, struct error *why)
{
	if (x->agent->report.json)
		return error_set(
			why, ERR_CONFIG,
			"--to - writes the tar to standard output, where --output json would "
			"write too: give a file or a directory");
	if (isatty(STDOUT_FILENO)) {
		(void)error_set(why, ERR_CONFIG, "--to -: standard output is a terminal");
		error_hint(why, "pgagent export BACKUP --to - | tar -x -C DIR");
		return ERR_CONFIG;
	}
	x->request.push = push_stdout;
	return ERR_NONE;
}

static enum err choose_place(struct export *x, struct error *why)
{
	struct stat st;
	enum err e;

	x->to = option_text(&x->agent->options, OPTION_TO);
	if (x->to == NULL || *x->to == '\0') {
		(void)error_set(why, ERR_CONFIG, "export needs --to DIR, --to FILE.tar or --to -");
		error_hint(why, "pgagent export BACKUP --to /srv/tars");
		return ERR_CONFIG;
	}
	if (strcmp(x->to, "-") == 0)
		return choose_stream(x, why);
	e = command_line_absolute(x->to, x->path, why);
	if (e != ERR_NONE)
		return e;
	if (ends_in(x->to, ".tar") && (stat(x->path, &st) < 0 || !S_ISDIR(st.st_mode)))
		x->request.file = x->path;
	else
		x->request.directory = x->path;
	return ERR_NONE;
}

static enum err choose_backup(struct export *x, const struct places *places, const char *name,
			      struct error *why)
{
	struct catalog catalog;
	const struct catalog_entry *entry;
	enum err e = catalog_read(places, name, &catalog, why);

	if (e != ERR_NONE)
		return e;
	e = catalog_find(&catalog, x->agent->options.arguments[0], &entry, why);
	for (size_t i = 0; e == ERR_NONE && i < places->count; i++)
		if ((entry->places & (1u << i)) != 0)
			cluster_init(&x->archive.cluster[x->archive.count++],
				     places->place[i].repository, entry->summary.cluster,
				     entry->summary.system_identifier);
	if (e == ERR_NONE)
		x->request.backup = entry->summary.attempt;
	catalog_release(&catalog);
	return e;
}

static void say(struct export *x)
{
	struct report *report = &x->agent->report;
	const struct export_result *r = &x->result;
	char size[TEXT_SIZE_MAX], took[TEXT_DURATION_MAX], id[ATTEMPT_TEXT_MAX];

	progress_erase(&x->agent->progress);
	attempt_to_text(&x->request.backup, id);
	text_of_size(r->bytes_written, size);
	text_of_duration(r->duration_us, took);
	if (x->request.push != NULL)
		return;
	report_text(report,
		    "exported backup %s to %s: %s in %zu tar(s), %" PRIu64 " files, %" PRIu64
		    " WAL segment(s), %s\n",
		    id, x->path, size, r->tars, r->files, r->wal_segments, took);
	report_put(report->root, "id", report_json_text(id));
	report_put(report->root, "to", report_json_text(x->path));
	report_put(report->root, "tars", json_integer((json_int_t)r->tars));
	report_put(report->root, "files", report_json_u64(r->files));
	report_put(report->root, "wal_segments", report_json_u64(r->wal_segments));
	report_put(report->root, "bytes_written", report_json_u64(r->bytes_written));
	report_put(report->root, "seconds", json_real((double)r->duration_us / 1e6));
}

static unsigned jobs(const struct agent *agent)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	return (unsigned)option_number(&agent->options, OPTION_JOBS,
				       processors < 1 ? 1 : (uint64_t)processors);
}

int command_export(struct agent *agent)
{
	const struct config_cluster *config = NULL;
	const char *given = option_text(&agent->options, OPTION_CLUSTER);
	struct places places = {.count = 0};
	struct export x = {.agent = agent};
	struct error why;
	enum err e = choose_place(&x, &why);
	int code = EXIT_DONE;

	x.request.jobs = jobs(agent);
	if (e == ERR_NONE)
		e = subject_config(agent, &config, &why);
	if (e == ERR_NONE)
		e = places_open_to_read(agent, config, &places, &why);
	if (e == ERR_NONE)
		e = choose_backup(&x, &places,
				  given != NULL    ? given
				  : config != NULL ? config->section.name
						   : NULL,
				  &why);
	if (e == ERR_NONE)
		e = export_run(&agent->env, &x.archive, &x.request, &x.result, &why);
	if (e == ERR_NONE)
		say(&x);
	else
		code = agent_fail(agent, &why);
	places_close(&places);
	return code;
}
