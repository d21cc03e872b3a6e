/* conf/pgagent.conf: every key with its default, and which of them nothing uses yet. */
#include "config.h"

#include "base/file.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *example(void)
{
	struct error why;
	uint8_t *text;
	size_t len;

	cr_assert_eq(file_read_all(files_os(), AT_FDCWD, "conf/pgagent.conf", 1 << 20, &text, &len,
				   &why),
		     ERR_NONE, "%s", why.text);
	return (char *)text;
}

Test(config_example, it_is_accepted)
{
	struct config config;
	struct error why;
	char *text = example();

	cr_assert_eq(config_init(&config, &why), ERR_NONE, "%s", why.text);
	cr_assert_eq(config_read(&config, "pgagent.conf", bytes_of_text(text), &why), ERR_NONE,
		     "%s", why.text);
	cr_assert_eq(config_resolve(&config, &why), ERR_NONE, "%s", why.text);
	cr_expect_eq(config.problems_count, 0);
	config_release(&config);
	free(text);
}

/* The line "KEY = DEFAULT", commented out or not, comment behind or not; NULL: there is none. */
static const char *line_of(const char *text, const struct config_key *key)
{
	char line[256], *end;

	for (; *text != '\0'; text += strcspn(text, "\n"), text += *text == '\n') {
		size_t len = strcspn(text, "\n");

		(void)snprintf(line, sizeof(line), "%.*s", (int)(len - (*text == ';')),
			       text + (*text == ';'));
		end = strstr(line, " ;");
		if (end != NULL)
			*end = '\0';
		for (end = line + strlen(line); end > line && (end[-1] == ' ' || end[-1] == ';');)
			*--end = '\0';
		len = strlen(key->name);
		if (strncmp(line, key->name, len) != 0 || strncmp(line + len, " =", 2) != 0)
			continue;
		if (*key->standard == '\0' || strcmp(line + len + 3, key->standard) == 0)
			return text;
	}
	return NULL;
}

Test(config_example, it_has_every_key_with_its_default)
{
	char *text = example();

	for (int kind = CONFIG_GLOBAL; kind <= CONFIG_CLUSTER; kind++) {
		size_t count;
		const struct config_key *keys = config_keys((enum config_kind)kind, &count);

		for (size_t i = 0; i < count; i++)
			cr_expect_not_null(line_of(text, &keys[i]),
					   "conf/pgagent.conf lacks: %s = %s", keys[i].name,
					   keys[i].standard);
	}
	free(text);
}

/* By the paragraph that the line stands in. */
static bool is_said_to_be_later(const char *text, const char *line)
{
	static const char heading[] = "\n\n; Not used yet";
	const char *paragraph = line;

	while (paragraph > text && strncmp(paragraph, "\n\n", 2) != 0)
		paragraph--;
	return strncmp(paragraph, heading, sizeof(heading) - 1) == 0;
}

Test(config_example, it_says_what_nothing_uses_yet)
{
	char *text = example();
	size_t later = 0;

	for (int kind = CONFIG_GLOBAL; kind <= CONFIG_CLUSTER; kind++) {
		size_t count;
		const struct config_key *keys = config_keys((enum config_kind)kind, &count);

		for (size_t i = 0; i < count; i++) {
			const char *line = line_of(text, &keys[i]);

			cr_assert_not_null(line, "%s", keys[i].name);
			cr_expect_eq(is_said_to_be_later(text, line), keys[i].later, "%s",
				     keys[i].name);
			later += keys[i].later;
		}
	}
	cr_assert_gt(later, 0);
	free(text);
}
