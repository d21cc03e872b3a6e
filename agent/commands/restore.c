/* commands/restore.c - `pgagent restore`: plan, carry out, start, and say how to go on. */
#include "agent.h"
#include "base/text.h"
#include "commands/catalog.h"
#include "commands/collations.h"
#include "commands/command_line.h"
#include "commands/commands.h"
#include "commands/restore_complete.h"
#include "commands/restore_in_place.h"
#include "commands/restore_report.h"
#include "commands/restore_request.h"
#include "commands/restore_timelines.h"
#include "repo/decision.h"
#include "repo/hide.h"
#include "repo/wal_object.h"
#include "subject.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct restoring {
	struct agent *agent;
	const struct config_cluster *config;
	struct places places;
	struct places of_wal; /* those that the recovery asks; borrowed from `places` */
	struct subject subject;
	struct restore_asked asked;
	struct restore_plan plan;
	struct restore_result result;
	struct restore_started started;
	bool is_started;
};

struct hidden_search {
	const char *text; /* the beginning of its id */
	bool found;
	struct attempt attempt;
};

static enum err see_hidden(void *ctx, const struct attempt *attempt, struct error *why)
{
	struct hidden_search *s = ctx;
	char id[ATTEMPT_TEXT_MAX];

	(void)why; /* nothing here can fail */
	attempt_to_text(attempt, id);
	if (strncmp(id, s->text, strlen(s->text)) != 0)
		return ERR_NONE;
	s->found = true;
	s->attempt = *attempt;
	return ERR_NONE;
}

/* Of a backup that is not there: it may be hidden, and not gone yet. */
static enum err say_hidden(const struct restoring *r, const char *text, struct error *why)
{
	struct hidden_search s = {.text = text};
	struct error ignored; /* what cannot be looked at adds nothing */
	char id[ATTEMPT_TEXT_MAX];

	for (size_t i = 0; *text != '\0' && i < r->subject.archive.count && !s.found; i++) {
		const struct cluster *cluster = &r->subject.archive.cluster[i];
		struct hidden hidden = {.state = HIDE_SHOWN};

		s.found = hide_list(cluster, see_hidden, &s, &ignored) == ERR_NONE && s.found &&
			  hide_read(cluster, &s.attempt, &hidden, &ignored) == ERR_NONE &&
			  hidden.state == HIDE_HIDDEN;
	}
	if (!s.found)
		return why->kind;
	attempt_to_text(&s.attempt, id);
	(void)error_set(why, ERR_MISSING, "backup %s is hidden: it was expired", id);
	error_hint(why, "to have it back, while that is possible: pgagent undelete %s", id);
	return ERR_MISSING;
}

/* --backup: its attempt, and the system identifier that it belongs to, which may be an older one of
 * the cluster. */
static enum err choose_backup(struct restoring *r, struct error *why)
{
	const char *text = option_text(&r->agent->options, OPTION_BACKUP);
	struct catalog catalog;
	const struct catalog_entry *entry;
	enum err e;

	if (text == NULL)
		return ERR_NONE;
	e = catalog_read(&r->places, r->subject.name, &catalog, why);
	if (e != ERR_NONE)
		return e;
	e = catalog_find(&catalog, text, &entry, why);
	if (e == ERR_NONE) {
		r->asked.request.has_backup = true;
		r->asked.request.backup = entry->summary.attempt;
		r->subject.system_identifier = entry->summary.system_identifier;
		for (size_t i = 0; i < r->places.count; i++)
			cluster_init(&r->subject.archive.cluster[i], r->places.place[i].repository,
				     r->subject.name, r->subject.system_identifier);
	}
	catalog_release(&catalog);
	return e == ERR_MISSING ? say_hidden(r, text, why) : e;
}

static enum err check_place(const struct restoring *r, struct error *why)
{
	const struct options *o = &r->agent->options;
	const char *recorded = r->plan.backup.data_directory;

	if (option_given(o, OPTION_IN_PLACE) && r->plan.side) {
		(void)error_set(why, ERR_CONFIG,
				"--in-place: %s is not the data directory of the backup (%s)",
				r->asked.directory, *recorded != '\0' ? recorded : "not known");
		error_hint(why, "a side copy goes anywhere: leave --in-place out");
		return ERR_CONFIG;
	}
	if (option_given(o, OPTION_SIDE) && !r->plan.side) {
		(void)error_set(why, ERR_CONFIG,
				"--side: %s is the data directory of the cluster itself",
				r->asked.directory);
		error_hint(why, "give a side copy another directory: -D /srv/look");
		return ERR_CONFIG;
	}
	if (option_given(o, OPTION_DISCARD_WAL) && r->plan.side && !r->asked.request.delta &&
	    r->asked.request.salvage_directory == NULL) {
		(void)error_set(why, ERR_CONFIG,
				"restore: for a side copy --discard-wal goes with --delta or "
				"--salvage-wal only");
		error_hint(why, "without them DIR has to be empty, and nothing in it is lost");
		return ERR_CONFIG;
	}
	return ERR_NONE;
}

/* In place: does the restored server go on archiving?  Two servers that archive into one place
 * would make two histories of one name, so nobody but a person can know. */
static enum err decide_archiving(struct restoring *r, struct error *why)
{
	struct agent *agent = r->agent;
	enum err e;

	if (r->plan.side || r->asked.request.standby ||
	    option_given(&agent->options, OPTION_ARCHIVING))
		return ERR_NONE;
	if (!option_given(&agent->options, OPTION_YES)) {
		e = agent_confirm(agent,
				  "Will this server replace the old one for good, and go on "
				  "archiving into the repository?",
				  why);
		r->asked.request.keep_archiving = e == ERR_NONE;
		if (e != ERR_CONFIG)
			return ERR_NONE;
	}
	(void)error_set(why, ERR_CONFIG,
			"a restore in place needs to know whether the server goes on archiving");
	error_hint(why, "--archiving keep: it replaces the old one; --archiving off: it does not");
	return ERR_CONFIG;
}

/* One that was made anew proves nothing absent, so that no recovery that asks it comes to its end. */
static void choose_places_of_wal(struct restoring *r)
{
	const struct wal_archive *archive = &r->subject.archive;
	struct error why;

	r->of_wal.count = 0;
	for (size_t i = 0; i < r->places.count; i++) {
		bool any = false;

		if (wal_any(&archive->cluster[i], &any, &why) != ERR_NONE || any)
			r->of_wal.place[r->of_wal.count++] = r->places.place[i];
	}
	if (r->of_wal.count == 0) /* the plan says what is missing */
		r->of_wal = r->places;
}

static void say_left_out(struct restoring *r)
{
	for (size_t i = 0, k = 0; !r->asked.request.copy_wal && i < r->places.count; i++) {
		const struct place *place = &r->places.place[i];

		if (k < r->of_wal.count && r->of_wal.place[k].repository == place->repository)
			k++;
		else
			report_warning(&r->agent->report,
				       "repository %s holds no WAL of cluster %s, it is empty or "
				       "was made anew: the recovery does not ask it",
				       place_name(place), r->subject.name);
	}
}

static enum err plan(struct restoring *r, struct error *why)
{
	struct agent *agent = r->agent;
	enum err e = choose_backup(r, why);

	choose_places_of_wal(r);
	if (e == ERR_NONE)
		e = command_line_for(agent, "archive-get", &r->of_wal, r->subject.name,
				     r->asked.archive_get, why);
	r->asked.request.archive_get = r->asked.archive_get;
	if (e == ERR_NONE)
		e = restore_plan(&agent->env, &r->subject.archive, &r->asked.request, &r->plan,
				 why);
	if (e == ERR_NONE && r->plan.backup.timeline != 0)
		e = check_place(r, why);
	return e;
}

static void say_result(struct restoring *r)
{
	struct report *report = &r->agent->report;
	const struct restore_result *result = &r->result;
	char size[TEXT_SIZE_MAX], reused[TEXT_SIZE_MAX], took[TEXT_DURATION_MAX];

	progress_erase(&r->agent->progress);
	text_of_size(result->bytes_written, size);
	text_of_duration(result->duration_us, took);
	text_of_size(result->bytes_reused, reused);
	report_text(report, "restored %s%s%s in %" PRIu64 " files to %s, %s\n", size,
		    r->plan.delta ? ", reused " : "", r->plan.delta ? reused : "", result->files,
		    r->asked.directory, took);
	if (result->outside_configuration)
		report_text(report,
			    "the old configuration lies outside the data directory and is not "
			    "used: %s/pgagent-start.conf\n",
			    r->asked.directory);
	report_put(report->root, "seconds", json_real((double)result->duration_us / 1e6));
	report_put(report->root, "bytes_written", report_json_u64(result->bytes_written));
	report_put(report->root, "bytes_reused", report_json_u64(result->bytes_reused));
	report_put(report->root, "files", report_json_u64(result->files));
	report_put(report->root, "start_command", report_json_text(result->start_command));
}

static void say_started(struct restoring *r)
{
	struct report *report = &r->agent->report;
	const struct restore_started *s = &r->started;
	char lsn[LSN_TEXT_MAX], took[TEXT_DURATION_MAX];

	progress_erase(&r->agent->progress);
	lsn_to_text(s->reached, lsn);
	text_of_duration(s->duration_us, took);
	report_text(report, "reached %s%s%s%s, replayed in %s; %s\n", lsn,
		    *s->reached_time != '\0' ? " (last transaction " : "", s->reached_time,
		    *s->reached_time != '\0' ? ")" : "", took,
		    s->promoted                         ? "promoted"
		    : r->asked.request.standby          ? "a hot standby, following"
		    : r->plan.action == ACTION_SHUTDOWN ? "shut down"
							: "paused, read-only");
	report_put(report->root, "port", json_integer(s->port));
	report_put(report->root, "socket_directory", report_json_text(s->socket_directory));
	report_put(report->root, "promoted", json_boolean(s->promoted));
	report_put(report->root, "reached_lsn", report_json_lsn(s->reached));
	report_put(report->root, "reached_time",
		   report_json_text(*s->reached_time != '\0' ? s->reached_time : NULL));
	report_put(report->root, "replay_seconds", json_real((double)s->duration_us / 1e6));
	report_put(report->root, "log_file", report_json_text(s->log_file));
	restore_locks_warn(report, &r->asked.request, &r->result, s);
}

/* What the plan counts on is put into the archive, and the plan is made again from what the archive then
 * has: it never follows WAL that is not durable there. */
static enum err salvage(struct restoring *r, struct error *why)
{
	struct agent *agent = r->agent;
	struct restore_salvaged salvaged = {.complete = 0};
	enum err e;

	if (r->plan.salvage.answer != WAL_SALVAGE_FOUND)
		return ERR_NONE;
	e = restore_salvage(&agent->env, &r->subject.archive, &r->asked.request, &r->plan,
			    r->config != NULL ? r->config->compression_level : 1, &salvaged, why);
	progress_erase(&agent->progress);
	if (e != ERR_NONE && (!r->asked.request.discard_wal || e == ERR_CANCELLED))
		return e;
	r->asked.request.skip_salvage = e != ERR_NONE;
	if (e != ERR_NONE)
		report_warning(&agent->report, "its WAL is not saved, and lost as asked: %s",
			       why->text);
	restore_salvaged_report(&agent->report, &salvaged,
				r->subject.archive.count + r->places.silent);
	restore_plan_release(&r->plan);
	e = plan(r, why);
	if (e == ERR_NONE && !r->plan.reachable)
		e = restore_plan_error(&r->plan, why);
	return e;
}

/* A recovery that is over reads nothing any more; one that is not watched keeps its pin until it has been silent
 * for a day. */
static void end_pin(const struct restoring *r)
{
	struct error why;

	if (r->result.pin[0] == '\0')
		return;
	for (size_t i = 0; i < r->subject.archive.count; i++)
		if (pin_drop(&r->subject.archive.cluster[i], r->result.pin, &why) != ERR_NONE)
			report_warning(&r->agent->report,
				       "the pin of this restore is left behind, and holds its "
				       "backup for a day: %s",
				       why.text);
}

static int carry_out(struct restoring *r)
{
	struct agent *agent = r->agent;
	struct restore_closing closing = {
		.request = &r->asked.request, .plan = &r->plan, .result = &r->result};
	char source[COMMAND_LINE_MAX] = "";
	struct error why;
	enum err e;

	if (decide_archiving(r, &why) != ERR_NONE || salvage(r, &why) != ERR_NONE)
		return agent_fail(agent, &why);
	say_left_out(r);
	restore_waking_warn(&agent->report, &r->plan);
	e = restore_run(&agent->env, &r->subject.archive, &r->asked.request, &r->plan, &r->result,
			&why);
	if (e != ERR_NONE)
		return e == ERR_EXISTS ? agent_fail_as(agent, EXIT_LOCKED, &why)
				       : agent_fail(agent, &why);
	say_result(r);
	restore_moved_warn(&agent->report, &r->plan);
	if (option_given(&agent->options, OPTION_START) && !r->plan.side) {
		report_warning(&agent->report,
			       "in place the service manager starts the server, not pgagent");
	} else if (option_given(&agent->options, OPTION_START)) {
		/* Missing is what PostgreSQL found out about the target: it can't be reached. */
		if (restore_start(&agent->env, &r->asked.request, &r->plan, &r->started, &why) !=
		    ERR_NONE)
			return agent_fail(agent, &why);
		r->is_started = true;
		say_started(r);
		if (r->started.promoted)
			end_pin(r);
	}
	if (r->is_started && r->plan.action != ACTION_SHUTDOWN)
		closing.started = &r->started;
	if (command_line_source(agent, &r->places, r->subject.name, source, &why) != ERR_NONE)
		source[0] = '\0'; /* the lines are a help, not the work */
	closing.source = source;
	restore_in_place_text(&agent->report, &r->asked.request, &r->plan);
	report_text(&agent->report, "\n");
	restore_complete_text(&agent->report, &r->asked.request, &r->plan, r->is_started);
	restore_closing_text(&agent->report, &closing);
	return EXIT_DONE;
}

/* Indexes on text follow the library that sorted them: another one is no reason not to restore, and must
 * not be found out by wrong answers. */
static void say_collations(struct restoring *r)
{
	struct report *report = &r->agent->report;
	struct collations collations = {.count = 0};
	const char *here = collations_libc_here();
	struct manifest *manifest = NULL;
	struct error why;
	enum err e = ERR_MISSING;

	for (size_t i = 0; i < r->subject.archive.count && e != ERR_NONE; i++) {
		const struct cluster *cluster = &r->subject.archive.cluster[i];

		manifest_free(manifest);
		manifest = NULL;
		collations_release(&collations);
		e = manifest_read(cluster, &r->plan.backup.attempt, &manifest, &why);
		if (e == ERR_NONE)
			e = collations_read(cluster, manifest, &collations, &why);
	}
	if (e != ERR_NONE) {
		log_event(&r->agent->log, LEVEL_DEBUG, "by what text was sorted is not known: %s",
			  why.text);
	} else if (collations_differ(&collations, here)) {
		report_text(
			report,
			"  collation   text was sorted by libc %s, this machine has %s: REINDEX "
			"what has text in it\n",
			collations.libc, here[0] != '\0' ? here : "another");
	}
	report_put(report->root, "collations", collations_json(&collations));
	manifest_free(manifest);
	collations_release(&collations);
}

static int restore(struct restoring *r)
{
	struct agent *agent = r->agent;
	bool only_plan = option_given(&agent->options, OPTION_PLAN);
	char source[COMMAND_LINE_MAX];
	struct error why;

	if (plan(r, &why) != ERR_NONE)
		return agent_fail(agent, &why);
	if (command_line_source(agent, &r->places, r->subject.name, source, &why) == ERR_NONE)
		restore_in_place_hint(&r->plan, &r->asked.request, source);
	progress_erase(&agent->progress);
	restore_plan_text(&agent->report, &r->asked.request, &r->plan);
	restore_plan_json(agent->report.root, &r->asked.request, &r->plan);
	if (r->plan.backup.timeline != 0)
		say_collations(r);
	restore_timelines_tell(agent, &r->asked.request, &r->plan);
	if (r->plan.reachable || only_plan)
		restore_verdict_text(&agent->report, &r->plan);
	if (only_plan)
		say_left_out(r);
	if (r->plan.reachable)
		return only_plan ? EXIT_DONE : carry_out(r);
	(void)restore_plan_error(&r->plan, &why);
	if (!only_plan) {
		for (size_t i = 1; i < r->plan.problems; i++)
			report_warning(&agent->report, "also: %s", r->plan.problem[i].message);
		return agent_fail(agent, &why);
	}
	/* The plan itself is the answer; the code says what kind of answer. */
	return report_exit_code(EXITS_TARGET, why.kind, 0);
}

int command_restore(struct agent *agent)
{
	static struct restoring r; /* too large for a stack, one for the process */
	struct error why;
	enum err e;
	int code;

	r = (struct restoring){.agent = agent};
	e = subject_config(agent, &r.config, &why);
	if (e == ERR_NONE)
		e = restore_request_read(agent, r.config, &r.asked, &why);
	if (e == ERR_NONE)
		e = places_open_to_read(agent, r.config, &r.places, &why);
	if (e == ERR_NONE)
		e = restore_request_own(agent, &r.asked, &why);
	if (e == ERR_NONE)
		e = subject_of_stored(agent, &r.places, r.config, &r.subject, &why);
	if (e == ERR_NONE)
		code = restore(&r);
	else
		/* No repository and no cluster in it: failed, which is not an unreachable target. */
		code = e == ERR_MISSING ? agent_fail_as(agent, EXIT_FAILED, &why)
					: agent_fail(agent, &why);
	restore_plan_release(&r.plan);
	restore_asked_release(&r.asked);
	places_close(&r.places);
	return code;
}
