/* commands/restore_in_place.c - what is said of a restore over the server's own directory. */
#include "commands/restore_in_place.h"
#include "commands/restore_report.h"
#include "escape.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

void restore_in_place_hint(struct restore_plan *plan, const struct restore_request *request,
			   const char *source)
{
	char directory[2 * PATH_MAX], target[600], hint[sizeof(plan->problem[0].hint)];
	struct restore_problem *problem = &plan->problem[0];

	if (plan->side || plan->problems == 0 ||
	    strcmp(problem->code, "directory_not_empty") != 0 ||
	    strstr(problem->hint, "--delta") == NULL ||
	    !escape_shell(request->directory, directory, sizeof(directory)))
		return;
	restore_target_option(request, target, sizeof(target));
	/* A cut command is none. */
	if ((size_t)snprintf(
		    hint, sizeof(hint),
		    "over it, the WAL in it that was never archived saved first: %s restore "
		    "-D %s --delta --archiving keep%s%s; or name an empty directory",
		    request->program, directory, target, source) < sizeof(hint))
		memcpy(problem->hint, hint, sizeof(hint));
}

/* "RESET max_connections": what was set by ALTER SYSTEM would not come back by that. */
static void back_text(const struct restore_raised *one, char *out, size_t size)
{
	static const char end[] = "/postgresql.auto.conf";
	size_t len = strlen(one->file), tail = sizeof(end) - 1;

	if (len > tail && strcmp(one->file + len - tail, end) == 0)
		(void)snprintf(out, size, "SET %s = '%s'", one->name, one->asked); /* fits */
	else
		(void)snprintf(out, size, "RESET %s", one->name); /* fits */
}

/* It stays in postgresql.auto.conf, above what its owner wanted. */
static void say_raised(struct report *r, const struct restore_plan *plan)
{
	char back[128];
	bool any = false;

	for (size_t i = 0; i < plan->raised; i++) {
		if (!plan->raise[i].configured)
			continue;
		if (!any)
			report_text(r,
				    "raised for the recovery, in postgresql.auto.conf; once it is "
				    "promoted, these and a restart\n"
				    "bring back what its configuration said:\n");
		any = true;
		back_text(&plan->raise[i], back, sizeof(back));
		report_text(r, "  ALTER SYSTEM %s;\n", back);
	}
}

void restore_in_place_text(struct report *r, const struct restore_request *request,
			   const struct restore_plan *plan)
{
	if (plan->side || request->standby) /* a standby is told of by its own lines */
		return;
	if (!request->keep_archiving)
		report_text(
			r,
			"\nTHIS SERVER WILL ARCHIVE NOTHING (--archiving off): what is written to "
			"it from now on cannot\n"
			"be restored. To archive again, once it is promoted: ALTER SYSTEM SET "
			"archive_mode = 'on', then\nrestart it, and pgagent check\n");
	report_text(
		r,
		"once it is promoted, pgagent check names the settings of recovery that are left "
		"in it, with the\nALTER SYSTEM RESET for each\n");
	say_raised(r, plan);
}
