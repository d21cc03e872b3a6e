/* commands/nagios.c - findings as one line that monitoring takes. */
#include "commands/nagios.h"

#include <stdio.h>
#include <string.h>

enum { MORE_MAX = 40 /* "; and N more" */ };

const char *nagios_word(enum nagios rank)
{
	static const char *const word[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};

	return word[rank];
}

void nagios_add(json_t *findings, enum nagios rank, const json_t *link)
{
	json_t *finding = json_object();

	report_put(finding, "severity", report_json_text(nagios_word(rank)));
	report_put(finding, "code", json_incref(json_object_get(link, "code")));
	report_put(finding, "message", json_incref(json_object_get(link, "message")));
	report_put(finding, "hint", json_incref(json_object_get(link, "hint")));
	(void)json_array_append_new(findings, finding); /* without memory the dump fails */
}

static const char *text_in(const json_t *finding, const char *key)
{
	const char *text = json_string_value(json_object_get(finding, key));

	return text != NULL ? text : "";
}

void nagios_text(const json_t *findings, enum nagios verdict, char out[NAGIOS_TEXT_MAX])
{
	size_t count = json_array_size(findings), at = 0, i;

	out[0] = '\0';
	for (i = 0; i < count; i++) {
		const json_t *finding = json_array_get(findings, i);
		const char *rank = text_in(finding, "severity");
		bool same = strcmp(rank, nagios_word(verdict)) == 0;
		char one[NAGIOS_FINDING_MAX];

		(void)snprintf(one, sizeof(one), "%s%s%.40s: %s", same ? "" : rank, same ? "" : " ",
			       text_in(finding, "code"),
			       text_in(finding, "message")); /* cut is fine */
		if (at + strlen(one) + MORE_MAX > NAGIOS_TEXT_MAX)
			break;
		at += (size_t)snprintf(out + at, NAGIOS_TEXT_MAX - at, "%s%s", i > 0 ? "; " : "",
				       one); /* fits */
	}
	if (i < count)
		(void)snprintf(out + at, NAGIOS_TEXT_MAX - at, "; and %zu more",
			       count - i); /* fits */
	/* A '|' would begin the performance data, and a second line would be lost. */
	for (char *c = out; *c != '\0'; c++)
		if (*c == '|' || *c == '\n')
			*c = ' ';
}
