/* restore/plan_settings.c - whether the server would take what --set gives it.
 *
 * A name that was misspelt, or a value that is none, is found out by the server when all has been restored. Where
 * its programs are on this machine they are asked before: postgres reads a configuration with that one setting
 * and ends.  One at a time, since it stops at the first name that it does not know, and log_min_messages may
 * silence it.  Where there are none, or they do not answer, nothing is said.
 */
#include "base/file.h"
#include "base/text.h"
#include "pgformat/label.h"
#include "restore/plan_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define CONFIGURATION "/proc/self/fd/0"

enum {
	ANSWER_US = 10 * 1000 * 1000, /* for all of them; each takes some 30 ms */
	ANSWER_BYTES_MAX = 8192,
	LINE_BYTES_MAX = 8192,
	NAMES_BYTES_MAX = 1 << 20, /* of --describe-config: some 400 lines */
	NAMES_MAX = 2000
};

struct asking {
	struct planning *p;
	char program[PATH_MAX + sizeof("/postgres")];
	int64_t until;
};

static bool line_of(const struct restore_setting *set, struct writer *line)
{
	writer_init(line, LINE_BYTES_MAX);
	conf_line(line, set->name, set->value);
	return !line->bad;
}

/* What postgres says of a configuration with this line alone; false when it takes it, or does not say. */
static bool is_refused(const struct asking *a, struct bytes line, char out[ANSWER_BYTES_MAX])
{
	static const char verdict[] = "\"" CONFIGURATION "\" contains errors";
	const struct env *env = a->p->env;
	/* No file of a data directory is read beside it: there is none in "/". */
	const char *const argv[] = {
		a->program, "-C", "config_file", "-D", "/", "-c", "config_file=" CONFIGURATION,
		NULL};
	struct program_call call = {.argv = argv,
				    .errors = true,
				    .until = a->until,
				    .out = out,
				    .out_size = ANSWER_BYTES_MAX};
	bool refused;

	call.in = memfd_create("pgagent-setting", MFD_CLOEXEC);
	if (call.in < 0)
		return false;
	refused = file_pwrite(env->files, call.in, line, 0, NULL) == ERR_NONE &&
		  programs_run(env, &call) > 0 && strstr(out, verdict) != NULL;
	(void)env->files->ops->close(env->files, call.in); /* in memory */
	return refused;
}

/* Of the last line before the verdict with that word in front, what follows; cut before ` in file "..."`. */
static void words_of(const char *answer, const char *front, char *out, size_t size)
{
	const char *at = answer, *found = NULL, *end;

	while ((at = strstr(at, front)) != NULL) {
		at += strlen(front);
		found = at;
	}
	out[0] = '\0';
	if (found == NULL)
		return;
	end = strstr(found, " in file \"" CONFIGURATION);
	(void)snprintf(out, size, "%.*s",
		       end != NULL && end < found + strcspn(found, "\n")
			       ? (int)(end - found)
			       : (int)strcspn(found, "\n"),
		       found); /* cut: still told */
}

/* Names are the first column. */
static void hint_name(const struct asking *a, const char *wanted)
{
	const char *const argv[] = {a->program, "--describe-config", NULL};
	char *text = malloc(NAMES_BYTES_MAX), *line = text;
	const char **name = calloc(NAMES_MAX, sizeof(*name)), *near = NULL;
	const struct program_call call = {.argv = argv,
					  .in = -1,
					  .until = a->until,
					  .out = text,
					  .out_size = NAMES_BYTES_MAX};
	size_t count = 0;

	if (text != NULL && name != NULL && programs_run(a->p->env, &call) == 0) {
		while (count < NAMES_MAX && line != NULL && *line != '\0') {
			char *next = strchr(line, '\n');

			if (next != NULL)
				*next++ = '\0';
			line[strcspn(line, "\t")] = '\0';
			name[count++] = line;
			line = next;
		}
		near = text_nearest(wanted, name, count);
	}
	if (near != NULL)
		problem_hint(a->p->plan, "Did you mean \"%s\"?", near);
	else
		problem_hint(a->p->plan, "%s --describe-config lists the names that it knows",
			     a->program);
	free(name);
	free(text);
}

static void ask(const struct asking *a, const struct restore_setting *set)
{
	char answer[ANSWER_BYTES_MAX], words[300], hint[300];
	struct restore_plan *plan = a->p->plan;
	struct writer line;

	if (line_of(set, &line) && is_refused(a, writer_view(&line), answer)) {
		words_of(answer, "LOG:  ", words, sizeof(words));
		words_of(answer, "HINT:  ", hint, sizeof(hint));
		problem_add(plan, "setting_refused",
			    "--set %s=%.100s: PostgreSQL %d would not "
			    "start with it: %s",
			    set->name, set->value, plan->backup.server_version / 10000, words);
		if (strstr(words, "unrecognized configuration parameter") != NULL)
			hint_name(a, set->name);
		else
			problem_hint(plan, "%s%sgive it a value that %s takes", hint,
				     hint[0] != '\0' ? "; " : "", a->program);
	}
	writer_release(&line);
}

void plan_settings(struct planning *p)
{
	const struct restore_request *r = p->request;
	struct asking a = {.p = p};
	char directory[PATH_MAX];
	struct error ignored; /* without programs nothing is known of it */

	if (r->sets == 0 ||
	    programs_find(p->env, (unsigned)(p->plan->backup.server_version / 10000),
			  r->search_path, directory, &ignored) != ERR_NONE)
		return;
	(void)snprintf(a.program, sizeof(a.program), "%s/postgres", directory); /* fits */
	a.until = clock_monotonic_us(p->env->clock) + ANSWER_US;
	for (size_t i = 0; i < r->sets; i++)
		if (settings_asked(r, r->set[i].name) ==
		    r->set[i].value) /* else a later one counts */
			ask(&a, &r->set[i]);
}
