/* commands/restore_timelines.c - what else the target may mean, each with the command for it. */
#include "commands/restore_timelines.h"
#include "commands/command_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The command that was typed, for another timeline.  A time counted back from now is another one a
 * moment later, so it is written out. */
static enum err command_for(const struct agent *agent, const struct restore_request *request,
			    uint32_t timeline, char out[COMMAND_LINE_MAX], struct error *why)
{
	const enum option_id changed[] = {OPTION_TIMELINE, OPTION_TO_TIME};
	char text[TIME_TEXT_MAX];
	enum err e =
		command_line_again(agent, changed, request->kind == TARGET_TIME ? 2 : 1, out, why);

	if (e == ERR_NONE && request->kind == TARGET_TIME) {
		time_to_text(request->time_us, text);
		e = command_line_add(out, OPTION_TO_TIME, text, agent, why);
	}
	if (e != ERR_NONE)
		return e;
	(void)snprintf(text, sizeof(text), "%" PRIu32, timeline); /* fits */
	return command_line_add(out, OPTION_TIMELINE, text, agent, why);
}

/* Beside the one that is followed. */
static const char *what_is_there(enum target_kind kind)
{
	switch (kind) {
	case TARGET_TIME:
		return "it was being written then, too: another state at that time";
	case TARGET_LSN:
		return "it has other content there";
	case TARGET_XID:
		return "it has transactions of its own: that number may be another one there";
	case TARGET_NAME:
	case TARGET_LATEST:
	case TARGET_BACKUP_END:
		break;
	}
	return "it has transactions that are not on the one that is followed";
}

static void say(struct report *r, const struct restore_candidate *c, const char *introduction,
		const char *what, const char *command)
{
	char lsn[LSN_TEXT_MAX], time[TIME_TEXT_MAX];

	report_text(r, "%s: timeline %" PRIu32, introduction, c->timeline);
	if (c->parent != 0) {
		lsn_to_text(c->born, lsn);
		report_text(r, ", which left %" PRIu32 " at %s", c->parent, lsn);
	}
	if (c->born_us != 0) {
		time_to_text(c->born_us, time);
		report_text(r, ", began %s", time);
	}
	if (c->latest_us != 0) {
		time_to_text(c->latest_us, time);
		report_text(r, ", last transaction %s", time);
	}
	report_text(r, "%s%s\n", what != NULL ? "; " : "", what != NULL ? what : "");
	if (*command != '\0')
		report_text(r, "  %s\n", command);
}

static json_t *as_json(const struct restore_candidate *c, const char *command)
{
	json_t *object = json_object();

	report_put(object, "timeline", json_integer(c->timeline));
	report_put(object, "born_at", report_json_time(c->born_us));
	report_put(object, "born_lsn", c->parent != 0 ? report_json_lsn(c->born) : json_null());
	report_put(object, "latest_commit", report_json_time(c->latest_us));
	report_put(object, "parent", c->parent != 0 ? json_integer(c->parent) : json_null());
	report_put(object, "command", report_json_text(*command != '\0' ? command : NULL));
	return object;
}

void restore_timelines_tell(struct agent *agent, const struct restore_request *request,
			    const struct restore_plan *plan)
{
	struct report *r = &agent->report;
	json_t *list = json_array();

	for (size_t i = 0; i < plan->candidates; i++) {
		const struct restore_candidate *c = &plan->candidate[i];
		char command[COMMAND_LINE_MAX];
		struct error why;

		if (command_for(agent, request, c->timeline, command, &why) != ERR_NONE)
			command[0] = '\0'; /* a line too long to be typed, too */
		if (plan->timeline == 0)
			say(r, c, "ONE OF THESE", NULL, command);
		else if (c->timeline != plan->timeline)
			say(r, c, "ALSO THERE", what_is_there(request->kind), command);
		/* Without memory the dump fails. */
		(void)json_array_append_new(list, as_json(c, command));
	}
	report_put(r->root, "timeline_reason",
		   report_json_text(*plan->timeline_reason != '\0' ? plan->timeline_reason : NULL));
	report_put(r->root, "timelines", list);
}
