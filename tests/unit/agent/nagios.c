/* The line that monitoring takes. */
#include "commands/nagios.h"

#include <criterion/criterion.h>

static void add(json_t *findings, enum nagios rank, const char *code, const char *message)
{
	json_t *link = json_pack("{sssssn}", "code", code, "message", message, "hint");

	nagios_add(findings, rank, link);
	json_decref(link);
}

Test(nagios, tells_every_finding_and_the_rank_of_those_below_the_verdict)
{
	json_t *findings = json_array();
	char text[NAGIOS_TEXT_MAX];

	nagios_text(findings, NAGIOS_OK, text);
	cr_expect_str_eq(text, "");
	add(findings, NAGIOS_CRITICAL, "window", "WAL is missing");
	add(findings, NAGIOS_CRITICAL, "damaged", "a|b\nc");
	add(findings, NAGIOS_UNKNOWN, "archiver", "can't be seen");
	add(findings, NAGIOS_WARNING, "data_checksums", "off");
	nagios_text(findings, NAGIOS_CRITICAL, text);
	cr_expect_str_eq(text, "window: WAL is missing; damaged: a b c; UNKNOWN archiver: can't be "
			       "seen; WARNING data_checksums: off");
	json_decref(findings);
}

Test(nagios, counts_what_does_not_fit)
{
	json_t *findings = json_array();
	char text[NAGIOS_TEXT_MAX], message[1000];

	memset(message, 'x', sizeof(message));
	message[sizeof(message) - 1] = '\0';
	for (int i = 0; i < 100; i++) {
		const char *end;
		size_t told;

		add(findings, NAGIOS_WARNING, "code", i % 3 == 0 ? message : "short");
		nagios_text(findings, NAGIOS_WARNING, text);
		cr_assert_lt(strlen(text), NAGIOS_TEXT_MAX);
		told = 1;
		for (const char *at = text; (at = strstr(at, "; code: ")) != NULL; at++)
			told++;
		end = strstr(text, "; and ");
		cr_assert_eq(told + (end != NULL ? strtoul(end + 6, NULL, 10) : 0), (size_t)i + 1,
			     "%s", text);
	}
	cr_assert_not_null(strstr(text, "; and "));
	json_decref(findings);
}
