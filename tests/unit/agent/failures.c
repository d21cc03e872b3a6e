/* Of several failures each is told once, and the worst is the answer. */
#include "failures.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct error failure(enum err kind, const char *text)
{
	struct error why = {.kind = kind};

	(void)snprintf(why.text, sizeof(why.text), "%s", text);
	return why;
}

Test(failures, the_worst_is_the_answer_and_the_others_are_told_at_once)
{
	char *text;
	size_t size;
	FILE *err = open_memstream(&text, &size);
	struct report report = {.out = err, .err = err};
	struct failures f = {.report = &report};
	struct error limit = failure(ERR_LIMIT, "half of it"),
		     corrupt = failure(ERR_CORRUPT, "torn"), denied = failure(ERR_DENIED, "shut"),
		     why;

	cr_assert_eq(failures_answer(&f, &why), ERR_NONE);
	failures_add(&f, &limit);
	(void)fflush(err);
	cr_assert_eq(size, 0);
	failures_add(&f, &corrupt);
	failures_add(&f, &denied);
	cr_assert_not(failures_end(&f));
	cr_assert_eq(failures_answer(&f, &why), ERR_CORRUPT);
	cr_assert_str_eq(why.text, "torn");
	(void)fclose(err);
	cr_assert_str_eq(text, "pgagent: error: half of it\npgagent: error: shut\n");
	cr_assert(report.failed);
	free(text);
}

Test(failures, nothing_is_begun_after_a_cancellation)
{
	struct report report = {.out = stdout, .err = stderr};
	struct failures f = {.report = &report};
	struct error cancelled = failure(ERR_CANCELLED, "stopped"),
		     corrupt = failure(ERR_CORRUPT, "x"), why;

	failures_add(&f, &corrupt);
	failures_add(&f, &cancelled);
	cr_assert(failures_end(&f));
	cr_assert_eq(failures_answer(&f, &why), ERR_CANCELLED);
}
