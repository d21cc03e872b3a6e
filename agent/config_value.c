/* config_value.c - one value of the configuration: from text to its field, with its checks. */
#include "base/text.h"
#include "config.h"
#include "time_target.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char bool_words[] = "off|on|no=off|yes=on|false=off|true=on";

/* A bad value that is near one of the choices gets that as its hint. */
static enum err bad_choice(const struct config_key *key, const char *text, struct error *why)
{
	const char *choices = key->type == CONFIG_BOOL ? "on|off|yes|no|true|false" : key->choices;
	char words[8][CONFIG_NAME_MAX];
	const char *names[8], *near;
	size_t n = 0;

	while (n < 8 && choice_name(choices, (int)n, words[n], sizeof(words[n]))) {
		names[n] = words[n];
		n++;
	}
	near = nearest_name(text, names, n);
	(void)error_set(why, ERR_CONFIG, "%s: \"%s\" is not one of %s", key->name, text, choices);
	if (near != NULL)
		error_hint(why, "Did you mean \"%s\"?", near);
	return ERR_CONFIG;
}

struct cron_field {
	int min, max;
	const char *names; /* "sun|mon|...", index + min is the value; NULL = numbers only */
};

static bool cron_number(const char *text, size_t len, const struct cron_field *field, int *out)
{
	char word[8];
	uint64_t number;
	int index;

	if (text_to_u64(bytes_of(text, len), &number)) {
		*out = number > 99 ? 100 : (int)number;
		return *out >= field->min && *out <= field->max;
	}
	if (field->names == NULL || len != 3)
		return false;
	for (size_t i = 0; i < 3; i++)
		word[i] = (char)tolower((unsigned char)text[i]);
	word[3] = '\0';
	index = choice_index(field->names, word);
	*out = index + field->min;
	return index >= 0;
}

/* One of the parts between commas: "*", "5", "1-5", each perhaps with "/step". */
static bool cron_part_is_valid(const char *text, size_t len, const struct cron_field *field)
{
	const char *slash = memchr(text, '/', len), *dash;
	size_t range = slash != NULL ? (size_t)(slash - text) : len;
	uint64_t step;
	int from, to;

	if (slash != NULL && (!text_to_u64(bytes_of(slash + 1, len - range - 1), &step) ||
			      step == 0 || step > (uint64_t)field->max))
		return false;
	if (range == 1 && text[0] == '*')
		return true;
	dash = memchr(text, '-', range);
	if (dash == NULL)
		return slash == NULL && cron_number(text, range, field, &from);
	return cron_number(text, (size_t)(dash - text), field, &from) &&
	       cron_number(dash + 1, range - (size_t)(dash - text) - 1, field, &to) && from <= to;
}

bool config_cron_is_valid(const char *text)
{
	static const struct cron_field fields[] = {
		{0, 59, NULL},
		{0, 23, NULL},
		{1, 31, NULL},
		{1, 12, "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"},
		{0, 7, "sun|mon|tue|wed|thu|fri|sat"},
	};

	if (strcmp(text, "off") == 0)
		return true;
	for (size_t f = 0; f < sizeof(fields) / sizeof(fields[0]); f++) {
		text += strspn(text, " \t");
		do {
			size_t len = strcspn(text, ", \t");

			if (len == 0 || !cron_part_is_valid(text, len, &fields[f]))
				return false;
			text += len;
		} while (*text == ',' && *++text != '\0');
		if (text[-1] == ',')
			return false;
	}
	return text[strspn(text, " \t")] == '\0';
}

static bool listen_is_valid(const char *text)
{
	const char *colon = strrchr(text, ':');
	uint64_t port;

	if (strcmp(text, "off") == 0)
		return true;
	return colon != NULL && colon != text && text_to_u64(bytes_of_text(colon + 1), &port) &&
	       port >= 1 && port <= 65535;
}

static bool lock_is_valid(const char *text)
{
	int64_t period_us;

	if (strcmp(text, "none") == 0)
		return true;
	if (strncmp(text, "governance:", 11) != 0 && strncmp(text, "compliance:", 11) != 0)
		return false;
	return text_to_duration(text + 11, &period_us, NULL) == ERR_NONE && period_us > 0;
}

/* PostgreSQL's rule for the names of replication slots. */
static bool slot_is_valid(const char *text)
{
	size_t len = strlen(text);

	return len > 0 && len < 64 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

static enum err set_text(const struct config_key *key, const char *text, const char **field,
			 struct error *why)
{
	const char *wanted = NULL;

	if (key->type == CONFIG_PATH && *text != '\0' && *text != '/')
		wanted = "is not an absolute path";
	else if (key->type == CONFIG_CRON && !config_cron_is_valid(text))
		wanted = "is not a schedule: five fields of cron as 0 1 * * *, or off";
	else if (key->type == CONFIG_ZONE && !time_zone_is_known(text))
		wanted = "is not in the time zone database (UTC, Europe/Paris)";
	else if (key->type == CONFIG_LISTEN && !listen_is_valid(text))
		wanted = "is not ADDRESS:PORT, or off";
	else if (key->type == CONFIG_LOCK && !lock_is_valid(text))
		wanted = "is not none, governance:PERIOD or compliance:PERIOD";
	else if (key->type == CONFIG_SLOT && !slot_is_valid(text))
		wanted = "is not a slot name: lower-case letters, digits, _";
	if (wanted != NULL)
		return error_set(why, ERR_CONFIG, "%s: \"%s\" %s", key->name, text, wanted);
	*field = text;
	return ERR_NONE;
}

static enum err set_compression(const struct config_key *key, const char *text, int *field,
				struct error *why)
{
	uint64_t level = 1;

	if (strncmp(text, "zstd", 4) != 0 ||
	    (text[4] != '\0' &&
	     (text[4] != ':' || !text_to_u64(bytes_of_text(text + 5), &level))) ||
	    level < 1 || level > 19)
		return error_set(why, ERR_CONFIG, "%s: \"%s\" is not zstd:LEVEL, 1 to 19",
				 key->name, text);
	*field = (int)level;
	return ERR_NONE;
}

static enum err set_number(const struct config_key *key, const char *text, uint64_t *field,
			   struct error *why)
{
	uint64_t number;

	if (!text_to_u64(bytes_of_text(text), &number) || number < key->min || number > key->max)
		return error_set(why, ERR_CONFIG, "%s: \"%s\" is not a number from %llu to %llu",
				 key->name, text, (unsigned long long)key->min,
				 (unsigned long long)key->max);
	*field = number;
	return ERR_NONE;
}

static enum err set_size(const struct config_key *key, const char *text, uint64_t *field,
			 struct error *why)
{
	enum err err;

	if (key->type == CONFIG_SIZE_OR_NONE &&
	    (strcmp(text, "none") == 0 || strcmp(text, "unlimited") == 0)) {
		*field = CONFIG_NO_LIMIT;
		return ERR_NONE;
	}
	err = text_to_size(text, field, why);
	return err == ERR_NONE ? err : error_add(why, "%s", key->name);
}

enum err config_value_set(const struct config_key *key, const char *text, void *section_struct,
			  struct error *why)
{
	void *field = (char *)section_struct + key->offset;
	int index;

	switch (key->type) {
	case CONFIG_SIZE:
	case CONFIG_SIZE_OR_NONE:
		return set_size(key, text, field, why);
	case CONFIG_DURATION:
		if (text_to_duration(text, field, why) != ERR_NONE)
			return error_add(why, "%s", key->name);
		return ERR_NONE;
	case CONFIG_BOOL:
		if ((index = choice_index(bool_words, text)) < 0)
			return bad_choice(key, text, why);
		*(bool *)field = index == 1;
		return ERR_NONE;
	case CONFIG_CHOICE:
		if ((index = choice_index(key->choices, text)) < 0)
			return bad_choice(key, text, why);
		*(int *)field = index;
		return ERR_NONE;
	case CONFIG_NUMBER:
		return set_number(key, text, field, why);
	case CONFIG_COMPRESSION:
		return set_compression(key, text, field, why);
	case CONFIG_TEXT:
	case CONFIG_PATH:
	case CONFIG_NAMES:
	case CONFIG_CRON:
	case CONFIG_ZONE:
	case CONFIG_LISTEN:
	case CONFIG_SLOT:
	case CONFIG_LOCK:
	case CONFIG_CONNINFO:
		break;
	}
	return set_text(key, text, field, why);
}

/* Length of a connection string's value: quoted with backslashes, or up to a blank. */
static size_t conninfo_value_len(const char *value)
{
	size_t len = 0;

	if (*value != '\'') {
		while (value[len] != '\0' && !isspace((unsigned char)value[len]))
			len += value[len] == '\\' && value[len + 1] != '\0' ? 2 : 1;
		return len;
	}
	for (len = 1; value[len] != '\0' && value[len] != '\''; len++)
		if (value[len] == '\\' && value[len + 1] != '\0')
			len++;
	return value[len] == '\'' ? len + 1 : len;
}

/* Where a secret begins at or after `at`, and how long it is; NULL when there is none. */
static const char *find_secret(const char *text, const char *at, size_t *len)
{
	const char *scheme = strstr(text, "://");

	for (; *at != '\0'; at++) {
		if (strncasecmp(at, "password", 8) == 0) {
			const char *value = at + 8;

			value += strspn(value, " \t");
			if (*value != '=')
				continue;
			value += 1 + strspn(value + 1, " \t");
			*len = scheme != NULL ? strcspn(value, "&") : conninfo_value_len(value);
			return value;
		}
		if (scheme != NULL && at == scheme) {
			const char *user = scheme + 3;
			const char *host = strchr(user, '@'), *colon = strchr(user, ':');

			if (host == NULL || colon == NULL || colon > host ||
			    strcspn(user, "/?") < (size_t)(host - user))
				continue;
			*len = (size_t)(host - colon) - 1;
			return colon + 1;
		}
	}
	return NULL;
}

void config_mask(const char *text, char *out, size_t size)
{
	const char *at = text, *secret;
	size_t len, used = 0;

	out[0] = '\0';
	while (used < size && (secret = find_secret(text, at, &len)) != NULL) {
		used += (size_t)snprintf(out + used, size - used, "%.*s********",
					 (int)(secret - at), at); /* cut shows less, never more */
		at = secret + len;
	}
	if (used < size)
		(void)snprintf(out + used, size - used, "%s", at); /* cut as above */
}
