/* choices.c - words out of a list: is it one, which one is near. */
#include "base/text.h"
#include "options.h"

#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array[0]))

/* What people type who come from other tools, or from postgresql.conf. */
static const struct {
	const char *theirs, *ours;
} other_words[] = {
	{"stanza", "cluster"},
	{"server", "cluster"},
	{"target", "to-time"},
	{"target-time", "to-time"},
	{"target-lsn", "to-lsn"},
	{"target-xid", "to-xid"},
	{"target-name", "to-name"},
	{"target-tli", "timeline"},
	{"target-action", "action"},
	{"target-exclusive", "exclusive"},
	{"process-max", "jobs"},
	{"tablespace-map", "tablespace"},
	{"tablespace-mapping", "tablespace"},
	{"recovery-option", "set"},
	{"recover", "restore"},
	{"list-backups", "list"},
	{"show-backup", "show"},
	{"stanza-create", "init"},
	{"wal-push", "archive-push"},
	{"wal-fetch", "archive-get"},
	{"backup-push", "backup"},
	{"backup-fetch", "restore"},
	{"backup-list", "list"},
	{"get-wal", "archive-get"},
	{"put-wal", "archive-push"},
	{"validate", "verify"},
	{"create", "init"},
};

const char *nearest_name(const char *text, const char *const *names, size_t count)
{
	for (size_t i = 0; i < COUNT(other_words); i++)
		for (size_t n = 0; n < count && strcmp(text, other_words[i].theirs) == 0; n++)
			if (names[n] != NULL && strcmp(names[n], other_words[i].ours) == 0)
				return names[n];
	return text_nearest(text, names, count);
}

/* The next of "a|b=c|d": its name into `name`, what it stands for into `full`. */
static const char *choice_next(const char *at, char *name, char *full, size_t size)
{
	size_t len = strcspn(at, "|"), equals = strcspn(at, "|=");

	if (*at == '\0')
		return NULL;
	(void)snprintf(name, size, "%.*s", (int)equals, at); /* choices are short words */
	(void)snprintf(full, size, "%.*s", (int)(equals < len ? len - equals - 1 : len),
		       equals < len ? at + equals + 1 : at);
	return at[len] == '|' ? at + len + 1 : at + len;
}

bool choice_name(const char *choices, int index, char *out, size_t size)
{
	char name[64], full[64];
	int at = 0;

	while ((choices = choice_next(choices, name, full, sizeof(name))) != NULL) {
		if (strcmp(name, full) != 0)
			continue;
		if (at++ == index) {
			(void)snprintf(out, size, "%s", full); /* choices are short words */
			return true;
		}
	}
	return false;
}

int choice_index(const char *choices, const char *text)
{
	char name[64], full[64], candidate[64];
	const char *at = choices;

	while ((at = choice_next(at, name, full, sizeof(name))) != NULL) {
		if (strcmp(name, text) != 0)
			continue;
		for (int i = 0; choice_name(choices, i, candidate, sizeof(candidate)); i++)
			if (strcmp(candidate, full) == 0)
				return i;
	}
	return -1;
}

const char *choice_full_name(const char *choices, const char *text)
{
	size_t len = strlen(text);

	/* Only the last of the choices ends with NUL: options.h wants the alias there. */
	for (const char *at = choices; at != NULL; at = strchr(at, '|')) {
		at += *at == '|';
		if (strncmp(at, text, len) == 0 && at[len] == '=')
			return at + len + 1;
	}
	return text;
}
