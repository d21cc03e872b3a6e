/* commands/status_report.c - telling what `pgagent status` found: verdict, reasons, figures. */
#include "base/text.h"
#include "commands/nagios.h"
#include "commands/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What check calls unproven is no reason, but for what hides all that the archiver could say. */
static enum nagios verdict_of(const json_t *link)
{
	const char *severity = json_string_value(json_object_get(link, "severity"));
	const char *code = json_string_value(json_object_get(link, "code"));

	if (severity == NULL || code == NULL)
		return NAGIOS_OK;
	if (strcmp(severity, "error") == 0)
		return NAGIOS_CRITICAL;
	if (strcmp(severity, "warning") == 0 ||
	    (strcmp(severity, "unproven") == 0 && strcmp(code, "sql_connection") == 0))
		return NAGIOS_WARNING;
	return NAGIOS_OK;
}

/* The reasons, the worst first; what the worst is. */
static enum nagios gather(const struct status *s, json_t *reasons)
{
	enum nagios worst = NAGIOS_OK;

	for (int v = NAGIOS_CRITICAL; v > NAGIOS_OK; v--)
		for (size_t i = 0; i < json_array_size(s->check.links); i++) {
			const json_t *link = json_array_get(s->check.links, i);

			if ((int)verdict_of(link) != v)
				continue;
			if (worst == NAGIOS_OK)
				worst = (enum nagios)v;
			nagios_add(reasons, (enum nagios)v, link);
		}
	return worst;
}

/* ---- how far the server is ahead ---- */

struct loss {
	bool known; /* LSNs of two timelines are no measure of one another */
	uint64_t bytes;
	int64_t us; /* at most; -1 = not known */
};

static struct loss loss_of(const struct status *s)
{
	struct loss loss = {.known = s->check.has_system && s->stored.current != NULL &&
				     s->stored.current->timeline == s->check.timeline};

	if (!loss.known)
		return loss;
	if (s->check.flushed.value > s->stored.current->to.value) {
		loss.bytes = s->check.flushed.value - s->stored.current->to.value;
		loss.us = s->restorable_us == 0          ? -1
			  : s->now_us > s->restorable_us ? s->now_us - s->restorable_us
							 : 0;
	}
	return loss;
}

static json_t *seconds(int64_t us)
{
	return us >= 0 ? json_real((double)us / 1e6) : json_null();
}

static void put(const struct status *s, enum nagios verdict, json_t *reasons,
		const struct loss *loss)
{
	json_t *root = s->check.agent->report.root;

	report_put(root, "cluster", report_json_text(s->check.config->section.name));
	report_put(root, "verdict", report_json_text(nagios_word(verdict)));
	report_put(root, "reasons", json_incref(reasons));
	report_put(root, "restorable_lsn",
		   s->stored.current != NULL ? report_json_lsn(s->stored.current->to)
					     : json_null());
	report_put(root, "restorable_time", report_json_time(s->restorable_us));
	report_put(root, "rpo_bytes", loss->known ? report_json_u64(loss->bytes) : json_null());
	report_put(root, "rpo_seconds", loss->known ? seconds(loss->us) : json_null());
	report_put(root, "last_backup_at",
		   s->stored.newest != NULL
			   ? report_json_time(s->stored.newest->summary.finished_us)
			   : json_null());
	report_put(root, "last_verified_at", report_json_time(s->verified_us));
	report_put(root, "last_drill_at", json_null());
	report_put(root, "window_from", report_json_time(s->from_us));
	report_put(root, "estimated_rto_seconds", json_null());
	report_put(root, "jobs", json_array());
}

/* ---- text ---- */

static const char *text_in(const json_t *reason, const char *key)
{
	const char *text = json_string_value(json_object_get(reason, key));

	return text != NULL ? text : "";
}

static void say_reasons(struct report *r, const json_t *reasons)
{
	for (size_t i = 0; i < json_array_size(reasons); i++) {
		const json_t *reason = json_array_get(reasons, i);
		const char *hint = text_in(reason, "hint");

		report_text(r, "%-8s  %s: %s\n", text_in(reason, "severity"),
			    text_in(reason, "code"), text_in(reason, "message"));
		while (*hint != '\0') {
			size_t len = strcspn(hint, "\n");

			report_text(r, "          -> %.*s\n", (int)len, hint);
			hint += hint[len] == '\n' ? len + 1 : len;
		}
	}
}

static void say_moment(struct report *r, const struct status *s, const struct loss *loss)
{
	char at[TIME_TEXT_MAX], lsn[LSN_TEXT_MAX], size[TEXT_SIZE_MAX], age[TEXT_DURATION_MAX];

	if (s->stored.current == NULL) {
		report_text(r, "newest restorable moment  none is known\n");
		return;
	}
	time_to_text(s->restorable_us, at);
	lsn_to_text(s->stored.current->to, lsn);
	report_text(r, "newest restorable moment  %s (%s, timeline %" PRIu32 ")\n",
		    s->restorable_us != 0 ? at : "time not known", lsn,
		    s->stored.current->timeline);
	text_of_size(loss->bytes, size);
	text_of_duration(loss->us, age);
	if (!s->check.has_system)
		report_text(r, "behind the server         not known: it was not reached\n");
	else if (!loss->known)
		report_text(r,
			    "behind the server         not known: nothing of its timeline, %" PRIu32
			    ", is archived\n",
			    s->check.timeline);
	else if (loss->bytes == 0)
		report_text(r, "behind the server         by nothing\n");
	else
		report_text(r, "behind the server         %s%s%s\n", size,
			    loss->us >= 0 ? ", at most " : "", loss->us >= 0 ? age : "");
	time_to_text(s->from_us, at);
	report_text(r, "restorable from           %s\n", s->from_us != 0 ? at : "not known");
}

static void say_backup(struct report *r, const struct status *s)
{
	char id[ATTEMPT_TEXT_MAX], at[TIME_TEXT_MAX], age[TEXT_DURATION_MAX];

	if (s->stored.newest == NULL) {
		report_text(r, "newest backup             none\n");
		return;
	}
	attempt_to_text(&s->stored.newest->summary.attempt, id);
	text_of_duration(s->now_us - s->stored.newest->summary.finished_us, age);
	report_text(r, "newest backup             %s, %s ago\n", id, age);
	time_to_text(s->stored.newest->verified_us, at);
	report_text(r, "verified                  %s",
		    s->stored.newest->verified_us != 0 ? at : "not yet");
	time_to_text(s->verified_us, at);
	if (s->stored.newest->verified_us == 0 && s->verified_us != 0)
		report_text(r, "; an earlier one %s", at);
	report_text(r, "\n");
}

/* ---- --nagios ---- */

static int nagios(const struct status *s, enum nagios verdict, const json_t *reasons,
		  const struct loss *loss)
{
	struct report *r = &s->check.agent->report;
	bool stopped = *s->check.agent->env.cancelled != 0;
	char text[NAGIOS_TEXT_MAX] = "stopped on request";
	enum nagios shown = stopped ? NAGIOS_UNKNOWN : verdict;

	if (!stopped)
		nagios_text(reasons, verdict, text);
	report_text(r, "PGAGENT %s - %s | reasons=%zu", nagios_word(shown),
		    shown == NAGIOS_OK ? "all is as it should be" : text, json_array_size(reasons));
	if (loss->known)
		report_text(r, " rpo_bytes=%" PRIu64 "B", loss->bytes);
	if (loss->known && loss->us >= 0)
		report_text(r, " rpo_seconds=%.0fs", (double)loss->us / 1e6);
	if (s->stored.newest != NULL)
		report_text(r, " backup_age=%.0fs",
			    (double)(s->now_us - s->stored.newest->summary.finished_us) / 1e6);
	report_text(r, "\n");
	return (int)shown;
}

int status_report(struct status *s)
{
	struct report *r = &s->check.agent->report;
	const struct loss loss = loss_of(s);
	json_t *reasons = json_array();
	enum nagios verdict = gather(s, reasons);
	int code = EXIT_DONE, signal = *s->check.agent->env.cancelled;

	put(s, verdict, reasons, &loss);
	if (option_given(&s->check.agent->options, OPTION_NAGIOS)) {
		code = nagios(s, verdict, reasons, &loss);
	} else {
		report_text(r, "%s: cluster %s\n\n", nagios_word(verdict),
			    s->check.config->section.name);
		say_reasons(r, reasons);
		report_text(r, "%s", json_array_size(reasons) > 0 ? "\n" : "");
		say_moment(r, s, &loss);
		say_backup(r, s);
		if (signal != 0)
			code = report_exit_code(EXITS_USUAL, ERR_CANCELLED, signal);
	}
	json_decref(reasons);
	return code;
}
