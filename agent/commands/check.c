/* commands/check.c - `pgagent check`: tries every link of the chain and says what mends it. */
#include "commands/check_stored.h"
#include "commands/commands.h"
#include "commands/expire.h"
#include "commands/nagios.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const severity_word[] = {"ok", "unproven", "warning", "error"};

static void say_hint(struct report *r, const char *hint)
{
	while (*hint != '\0') {
		size_t len = strcspn(hint, "\n");

		report_text(r, "          -> %.*s\n", (int)len, hint);
		hint += hint[len] == '\n' ? len + 1 : len;
	}
}

void check_say(struct check *c, enum check_severity severity, const char *code, const char *hint,
	       const char *format, ...)
{
	struct report *r = &c->agent->report;
	char text[ERROR_TEXT_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args); /* cut text is still text */
	va_end(args);
	c->count[severity]++;
	if (!c->quiet) {
		report_text(r, "%-8s  %-18s  %s\n", severity_word[severity], code, text);
		if (hint != NULL)
			say_hint(r, hint);
	}
	c->link = json_object();
	report_put(c->link, "code", report_json_text(code));
	report_put(c->link, "severity", report_json_text(severity_word[severity]));
	report_put(c->link, "message", report_json_text(text));
	report_put(c->link, "hint", report_json_text(hint));
	(void)json_array_append_new(c->links, c->link); /* without memory the dump fails */
}

void check_unseen(struct check *c)
{
	(void)json_array_append(c->unseen, c->link); /* without memory it is not told */
}

void check_figure(struct check *c, const char *name, uint64_t value, const char *what,
		  const char *unit)
{
	const char *code = json_string_value(json_object_get(c->link, "code"));
	size_t used = strlen(c->perfdata);

	report_put(c->link, name, report_json_u64(value));
	if (what == NULL || code == NULL)
		return;
	(void)snprintf(c->perfdata + used, sizeof(c->perfdata) - used, " %s%s%s=%" PRIu64 "%s",
		       code, *what != '\0' ? "_" : "", what, value,
		       unit); /* cut: eight repositories fit */
}

void check_fail(struct check *c, const char *code, const struct error *why)
{
	c->wrong_key = c->wrong_key || why->kind == ERR_WRONG_KEY || why->kind == ERR_CORRUPT;
	c->only_config = c->only_config && why->kind == ERR_CONFIG;
	check_say(c, CHECK_ERROR, code, why->hint[0] != '\0' ? why->hint : NULL, "%s", why->text);
}

void check_duration(struct check *c, const char *name, int64_t us)
{
	size_t used = strlen(c->perfdata);

	report_put(c->link, name, json_real((double)us / 1e6));
	(void)snprintf(c->perfdata + used, sizeof(c->perfdata) - used, " %s=%.3fs", name,
		       (double)us / 1e6); /* cut: eight repositories fit */
}

static void check_configuration(struct check *c)
{
	const struct config *config = &c->agent->config;
	bool warned = false;

	for (size_t i = 0; i < config->problems_count; i++) {
		const struct config_problem *p = &config->problem[i];

		warned = true;
		check_say(c, CHECK_WARNING, "configuration", *p->hint != '\0' ? p->hint : NULL,
			  "%s:%d: %s", p->file, p->line, p->text);
	}
	if (!warned)
		check_say(c, CHECK_OK, "configuration", NULL, "%s, cluster %s",
			  agent_config_path(c->agent), c->config->section.name);
}

void check_retention(struct check *c)
{
	const struct retention_policy policy = expire_policy_of(c->config);
	struct expire_history history;
	char text[EXPIRE_REASON_MAX];

	expire_policy_settings(c->config, text);
	expire_read_history(c->agent, c->config, &history);
	if (!retention_is_set(&policy))
		check_say(c, CHECK_WARNING, "retention",
			  "say how far back any moment is wanted: retain_window = 14d",
			  "none is set: nothing ever goes, until the repository is full");
	else if (history.refused > 0)
		check_say(
			c, CHECK_WARNING, "retention",
			*history.hint != '\0' ? history.hint
					      : "see what stands in the way: pgagent expire",
			"%s; but the last %" PRIu64
			" run(s) of it could not remove all that is due, and the repository grows: %s",
			text, history.refused, history.why);
	else if (!c->config->expire_auto)
		check_say(c, CHECK_OK, "retention", NULL,
			  "%s; expire_auto is off: pgagent expire --confirm carries it out", text);
	else
		check_say(c, CHECK_OK, "retention", NULL, "%s; each backup carries it out", text);
}

/* Of the repositories that could be opened; what is wrong with the others was said. */
static void check_stored(struct check *c)
{
	struct places opened = {.count = 0};
	struct stored stored;

	for (size_t i = 0; i < c->places.count; i++)
		if (c->places.place[i].repository != NULL)
			opened.place[opened.count++] = c->places.place[i];
	if (opened.count == 0)
		return;
	stored_read(c, &opened, &stored);
	stored_judge(c, &stored);
	stored_release(&stored);
}

static int exit_code(const struct check *c)
{
	int signal = *c->agent->env.cancelled;

	if (signal != 0)
		return report_exit_code(EXITS_USUAL, ERR_CANCELLED, signal);
	if (c->count[CHECK_ERROR] == 0)
		return EXIT_DONE;
	if (c->wrong_key)
		return EXIT_DAMAGED;
	return c->only_config ? EXIT_USAGE : EXIT_FAILED;
}

/* The links of one severity. */
static void add_findings(const struct check *c, enum check_severity severity, enum nagios rank,
			 json_t *findings)
{
	for (size_t i = 0; i < json_array_size(c->links); i++) {
		const json_t *link = json_array_get(c->links, i);
		const char *is = json_string_value(json_object_get(link, "severity"));

		if (is != NULL && strcmp(is, severity_word[severity]) == 0)
			nagios_add(findings, rank, link);
	}
}

static int nagios(struct check *c)
{
	bool stopped = *c->agent->env.cancelled != 0;
	char text[NAGIOS_TEXT_MAX] = "stopped on request";
	json_t *findings = json_array();
	enum nagios verdict = stopped                          ? NAGIOS_UNKNOWN
			      : c->count[CHECK_ERROR] > 0      ? NAGIOS_CRITICAL
			      : json_array_size(c->unseen) > 0 ? NAGIOS_UNKNOWN
			      : c->count[CHECK_WARNING] > 0    ? NAGIOS_WARNING
							       : NAGIOS_OK;

	add_findings(c, CHECK_ERROR, NAGIOS_CRITICAL, findings);
	for (size_t i = 0; i < json_array_size(c->unseen); i++)
		nagios_add(findings, NAGIOS_UNKNOWN, json_array_get(c->unseen, i));
	add_findings(c, CHECK_WARNING, NAGIOS_WARNING, findings);
	if (!stopped)
		nagios_text(findings, verdict, text);
	report_text(&c->agent->report,
		    "PGAGENT %s - %s | errors=%zu warnings=%zu unproven=%zu ok=%zu%s\n",
		    nagios_word(verdict), verdict == NAGIOS_OK ? "no link is broken" : text,
		    c->count[CHECK_ERROR], c->count[CHECK_WARNING], c->count[CHECK_UNPROVEN],
		    c->count[CHECK_OK], c->perfdata);
	json_decref(findings);
	return (int)verdict;
}

static void say_verdict(struct check *c)
{
	struct report *r = &c->agent->report;

	report_put(r->root, "cluster", report_json_text(c->config->section.name));
	report_put(r->root, "errors", report_json_u64(c->count[CHECK_ERROR]));
	report_put(r->root, "warnings", report_json_u64(c->count[CHECK_WARNING]));
	report_put(r->root, "unproven", report_json_u64(c->count[CHECK_UNPROVEN]));
	if (c->quiet)
		return;
	if (c->count[CHECK_ERROR] == 0)
		report_text(r, "\nno link is broken, %zu warning(s), %zu not proven\n",
			    c->count[CHECK_WARNING], c->count[CHECK_UNPROVEN]);
	else
		report_text(r, "\n%zu broken link(s), %zu warning(s), %zu not proven\n",
			    c->count[CHECK_ERROR], c->count[CHECK_WARNING],
			    c->count[CHECK_UNPROVEN]);
}

int command_check(struct agent *agent)
{
	struct check c = {.agent = agent,
			  .only_config = true,
			  .quiet = option_given(&agent->options, OPTION_NAGIOS)};
	struct error why;
	int code;

	if (config_cluster(&agent->config, option_text(&agent->options, OPTION_CLUSTER), &c.config,
			   &why) != ERR_NONE)
		return agent_fail(agent, &why);
	c.links = json_array();
	c.unseen = json_array();
	check_configuration(&c);
	check_retention(&c);
	check_server(&c);
	check_repositories(&c);
	check_stored(&c);
	check_spool(&c);
	check_round_trip(&c);
	check_archiver(&c);
	session_close(c.sql);
	session_close(c.replication);
	check_say(&c, CHECK_UNPROVEN, "restore", NULL,
		  "that a backup restores and starts: pgagent restore -D DIR --start proves it");
	report_put(agent->report.root, "links", c.links);
	say_verdict(&c);
	code = c.quiet ? nagios(&c) : exit_code(&c);
	json_decref(c.unseen);
	places_close(&c.places);
	return code;
}
