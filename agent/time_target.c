/* time_target.c - the moment a person means with --to-time. */
#include "time_target.h"

#include "base/bytes.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define SECOND_US INT64_C(1000000)
#define DAY_S 86400

enum { ZONE_NAME_MAX = 64, CANDIDATES_MAX = 4 };

/* A date and time as written, before any zone. */
struct wall {
	int64_t as_utc_s; /* seconds since 1970 if it were UTC */
	int64_t fraction_us;
};

static enum err not_a_time(const char *text, const char *cause, struct error *why)
{
	(void)error_set(why, ERR_CONFIG, "time \"%s\": %s", text, cause);
	error_hint(why, "Write it as '2026-11-23 14:05:00+01', '2026-11-23 14:05 Europe/Paris' or "
			"'10 minutes ago'.");
	return ERR_CONFIG;
}

/* `count` digits, exactly; advances. */
static bool take_digits(const char **at, int count, int *out)
{
	int value = 0;

	for (int i = 0; i < count; i++) {
		if (!isdigit((unsigned char)(*at)[i]))
			return false;
		value = value * 10 + ((*at)[i] - '0');
	}
	*at += count;
	*out = value;
	return true;
}

static bool take_char(const char **at, char c)
{
	if (**at != c)
		return false;
	(*at)++;
	return true;
}

static int month_days(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

/* ":SS" and ".ffffff" behind the minutes; both may be missing. */
static bool take_seconds(const char **at, int *seconds, int64_t *fraction_us)
{
	int64_t unit = SECOND_US / 10;

	*seconds = 0;
	*fraction_us = 0;
	if (!take_char(at, ':'))
		return true;
	if (!take_digits(at, 2, seconds))
		return false;
	if (!take_char(at, '.'))
		return true;
	if (!isdigit((unsigned char)**at))
		return false;
	for (; isdigit((unsigned char)**at); (*at)++, unit /= 10) {
		if (unit == 0)
			return false;
		*fraction_us += unit * (**at - '0');
	}
	return true;
}

static bool take_wall(const char **at, struct wall *out)
{
	int year, month, day, hour = 0, minute = 0, second = 0;
	struct tm tm = {0};

	if (!take_digits(at, 4, &year) || !take_char(at, '-') || !take_digits(at, 2, &month) ||
	    !take_char(at, '-') || !take_digits(at, 2, &day))
		return false;
	if (month < 1 || month > 12 || day < 1 || day > month_days(year, month) || year < 1970)
		return false;
	if ((**at == 'T' || **at == 't' || **at == ' ') && isdigit((unsigned char)(*at)[1])) {
		(*at)++;
		if (!take_digits(at, 2, &hour) || !take_char(at, ':') ||
		    !take_digits(at, 2, &minute) || !take_seconds(at, &second, &out->fraction_us))
			return false;
	} else {
		return false;
	}
	if (hour > 23 || minute > 59 || second > 59)
		return false;
	tm = (struct tm){.tm_year = year - 1900,
			 .tm_mon = month - 1,
			 .tm_mday = day,
			 .tm_hour = hour,
			 .tm_min = minute,
			 .tm_sec = second};
	out->as_utc_s = timegm(&tm);
	return true;
}

/* "+01", "+0100", "+01:00", "Z"; false when it is none of these, to the end of the text. */
static bool offset_from_text(const char *at, int64_t *offset_s)
{
	int sign, hours, minutes = 0;

	if (strcasecmp(at, "Z") == 0 || strcasecmp(at, "UTC") == 0 || strcasecmp(at, "GMT") == 0) {
		*offset_s = 0;
		return true;
	}
	if (*at != '+' && *at != '-')
		return false;
	sign = *at++ == '-' ? -1 : 1;
	if (!take_digits(&at, 2, &hours))
		return false;
	if (*at != '\0' && ((void)take_char(&at, ':'), !take_digits(&at, 2, &minutes)))
		return false;
	if (*at != '\0' || hours > 15 || minutes > 59)
		return false;
	*offset_s = sign * ((int64_t)hours * 3600 + (int64_t)minutes * 60);
	return true;
}

bool time_zone_is_known(const char *name)
{
	const char *directory = getenv("TZDIR");
	char path[512];
	int n;

	if (strcmp(name, "UTC") == 0)
		return true;
	if (strlen(name) >= ZONE_NAME_MAX || strstr(name, "..") != NULL ||
	    !isupper((unsigned char)name[0]))
		return false;
	for (const char *p = name; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && strchr("_-+/", *p) == NULL)
			return false;
	n = snprintf(path, sizeof(path), "%s/%s",
		     directory != NULL ? directory : "/usr/share/zoneinfo", name);
	/* A region alone ("Europe") is a directory, and the "/" behind a file is ENOTDIR. */
	if (n < 0 || (size_t)n + 2 > sizeof(path) || access(path, R_OK) != 0)
		return false;
	path[n] = '/';
	path[n + 1] = '\0';
	return access(path, F_OK) != 0;
}

/* The offset in force at `utc_s` in the process's zone. */
static int64_t offset_at(int64_t utc_s)
{
	time_t t = (time_t)utc_s;
	struct tm tm;

	return localtime_r(&t, &tm) == NULL ? 0 : tm.tm_gmtoff;
}

/* Every moment at which clocks of the process's zone show `wall_s`, ascending.  Each offset that
 * is in force within a day of it is tried; a moment counts when its own offset leads back. */
static size_t moments_of(int64_t wall_s, int64_t out[CANDIDATES_MAX])
{
	size_t count = 0;

	for (int64_t probe = wall_s - DAY_S; probe <= wall_s + DAY_S; probe += 1800) {
		int64_t moment = wall_s - offset_at(probe);
		bool known = false;

		if (offset_at(moment) != wall_s - moment)
			continue;
		for (size_t i = 0; i < count; i++)
			known = known || out[i] == moment;
		if (!known && count < CANDIDATES_MAX)
			out[count++] = moment;
	}
	if (count == 2 && out[0] > out[1]) {
		int64_t later = out[0];

		out[0] = out[1];
		out[1] = later;
	}
	return count;
}

/* "2026-10-25 02:30:00+02:00" in the process's zone. */
static void local_to_text(int64_t us, char *out, size_t size)
{
	time_t t = (time_t)(us / SECOND_US);
	struct tm tm;
	char when[32];
	long minutes;
	int fraction = (int)(us % SECOND_US);

	localtime_r(&t, &tm);
	(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	minutes = tm.tm_gmtoff / 60;
	if (fraction != 0)
		(void)snprintf(when + strlen(when), sizeof(when) - strlen(when), ".%06d", fraction);
	(void)snprintf(out, size, "%s%c%02ld:%02ld", when, minutes < 0 ? '-' : '+',
		       labs(minutes) / 60, labs(minutes) % 60); /* short and of known length */
}

static enum err local_to_utc(const char *text, const struct wall *wall, int64_t *out_us,
			     struct error *why)
{
	int64_t moment[CANDIDATES_MAX];
	size_t count = moments_of(wall->as_utc_s, moment);
	char first[64], second[64];

	if (count == 1) {
		*out_us = moment[0] * SECOND_US + wall->fraction_us;
		return ERR_NONE;
	}
	if (count > 1) {
		(void)error_set(why, ERR_CONFIG,
				"time \"%s\": exists twice, as clocks were set back then", text);
		local_to_text(moment[0] * SECOND_US + wall->fraction_us, first, sizeof(first));
		local_to_text(moment[1] * SECOND_US + wall->fraction_us, second, sizeof(second));
		error_hint(why, "Say which: --to-time '%s' or --to-time '%s'", first, second);
		return ERR_CONFIG;
	}
	/* In the gap: read with the offset before it, and with the offset after it. */
	(void)error_set(why, ERR_CONFIG,
			"time \"%s\": does not exist, as clocks were set forward then", text);
	local_to_text((wall->as_utc_s - offset_at(wall->as_utc_s + DAY_S)) * SECOND_US +
			      wall->fraction_us,
		      first, sizeof(first));
	local_to_text((wall->as_utc_s - offset_at(wall->as_utc_s - DAY_S)) * SECOND_US +
			      wall->fraction_us,
		      second, sizeof(second));
	error_hint(why, "The nearest that do: --to-time '%s' or --to-time '%s'", first, second);
	return ERR_CONFIG;
}

/* glibc has one zone for the process; it is borrowed for one conversion and put back. */
static enum err named_zone_to_utc(const char *text, const char *zone, const struct wall *wall,
				  int64_t *out_us, struct error *why)
{
	const char *now = getenv("TZ");
	char *before = now != NULL ? strdup(now) : NULL;
	enum err err;

	if ((now != NULL && before == NULL) || setenv("TZ", zone, 1) != 0) {
		free(before);
		return error_set(why, ERR_MEMORY, "no memory for a time zone");
	}
	tzset();
	err = local_to_utc(text, wall, out_us, why);
	if (before == NULL)
		(void)unsetenv("TZ"); /* fails for malformed names only */
	else
		(void)setenv("TZ", before, 1); /* not longer than what was there */
	tzset();
	free(before);
	return err;
}

static const struct {
	const char *name;
	int64_t seconds;
} units[] = {
	{"s", 1},       {"sec", 1},       {"second", 1},       {"min", 60},
	{"minute", 60}, {"h", 3600},      {"hour", 3600},      {"d", DAY_S},
	{"day", DAY_S}, {"w", 7 * DAY_S}, {"week", 7 * DAY_S},
};

static int64_t unit_seconds(const char *word, size_t len)
{
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		size_t full = strlen(units[i].name);

		if (strncmp(word, units[i].name, full) == 0 &&
		    (len == full || (len == full + 1 && full > 1 && word[full] == 's')))
			return units[i].seconds;
	}
	return 0;
}

static const char *skip_blanks(const char *at)
{
	while (*at == ' ' || *at == '\t')
		at++;
	return at;
}

bool time_target_is_relative(const char *text)
{
	size_t len = strlen(text);

	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		len--;
	/* A word of its own: America/Santiago is a zone. */
	return len > 3 && strncmp(text + len - 3, "ago", 3) == 0 &&
	       (text[len - 4] == ' ' || text[len - 4] == '\t');
}

static enum err relative_from_text(const char *text, int64_t now_us, int64_t *out_us,
				   struct error *why)
{
	const char *at = skip_blanks(text);
	int64_t back_s = 0;
	bool any = false;

	while (isdigit((unsigned char)*at)) {
		int64_t number = 0, unit;
		size_t len = 0;

		for (; isdigit((unsigned char)*at); at++) {
			number = number * 10 + (*at - '0');
			if (number > INT32_MAX)
				return not_a_time(text, "too far back", why);
		}
		at = skip_blanks(at);
		while (isalpha((unsigned char)at[len]))
			len++;
		unit = unit_seconds(at, len);
		if (unit == 0)
			return not_a_time(text, "no unit of time that is known", why);
		back_s += number * unit; /* below 2^51 a term; the sum is bounded next */
		if (back_s > now_us / SECOND_US)
			return not_a_time(text, "too far back", why);
		any = true;
		at = skip_blanks(at + len);
	}
	if (!any || strncmp(at, "ago", 3) != 0 || *skip_blanks(at + 3) != '\0')
		return not_a_time(text, "not understood", why);
	*out_us = now_us - back_s * SECOND_US;
	return ERR_NONE;
}

/* "7:00" */
static bool has_short_hour(const char *at)
{
	return isdigit((unsigned char)at[0]) && at[1] == ':';
}

/* The hour alone, with or without a zone. */
static bool has_no_date(const char *text)
{
	const char *at = skip_blanks(text);
	int hour, minute, second;
	int64_t fraction_us;

	return take_digits(&at, has_short_hour(at) ? 1 : 2, &hour) && take_char(&at, ':') &&
	       take_digits(&at, 2, &minute) && take_seconds(&at, &second, &fraction_us);
}

bool time_target_with_date(const char *text, int64_t now_us, char out[TIME_TARGET_TEXT_MAX])
{
	/* Dates differ by a day from place to place, and that hour of today may be still to come. */
	for (int64_t days = 1; has_no_date(text) && days >= -2; days--) {
		time_t day = (time_t)(now_us / SECOND_US + days * DAY_S);
		const char *at = skip_blanks(text);
		char date[16];
		struct tm tm;
		struct error ignored;
		int64_t us;

		gmtime_r(&day, &tm);
		(void)strftime(date, sizeof(date), "%Y-%m-%d", &tm);
		if (snprintf(out, TIME_TARGET_TEXT_MAX, "%s %s%s", date,
			     has_short_hour(at) ? "0" : "", at) >= TIME_TARGET_TEXT_MAX ||
		    time_target_from_text(out, 0, &us, &ignored) != ERR_NONE || us > now_us)
			continue;
		if (strspn(at, "0123456789:. \t") == strlen(at)) /* the caller's zone, to be seen */
			local_to_text(us, out, TIME_TARGET_TEXT_MAX);
		return true;
	}
	return false;
}

enum err time_target_from_text(const char *text, int64_t now_us, int64_t *out_us, struct error *why)
{
	const char *at = skip_blanks(text);
	struct wall wall = {0, 0};
	char zone[ZONE_NAME_MAX];
	int64_t offset_s;
	size_t len;

	if (time_target_is_relative(text))
		return relative_from_text(text, now_us, out_us, why);
	if (has_no_date(text))
		return not_a_time(text, "of which day it does not say", why);
	if (!take_wall(&at, &wall))
		return not_a_time(text, "not a date and time of the calendar", why);
	at = skip_blanks(at);
	len = strlen(at);
	while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t'))
		len--;
	if (len >= sizeof(zone))
		return not_a_time(text, "no time zone has so long a name", why);
	memcpy(zone, at, len);
	zone[len] = '\0';
	if (len == 0)
		return local_to_utc(text, &wall, out_us, why);
	if (offset_from_text(zone, &offset_s)) {
		*out_us = (wall.as_utc_s - offset_s) * SECOND_US + wall.fraction_us;
		return ERR_NONE;
	}
	if (time_zone_is_known(zone))
		return named_zone_to_utc(text, zone, &wall, out_us, why);
	(void)error_set(why, ERR_CONFIG, "time \"%s\": unknown time zone \"%s\"", text, zone);
	error_hint(why, "Write the offset (+01:00) or a name like Europe/Paris; abbreviations mean "
			"different things in different places.");
	return ERR_CONFIG;
}

void time_target_to_text(int64_t us, char out[TIME_TARGET_TEXT_MAX])
{
	time_t t = (time_t)(us / SECOND_US);
	char local[64], utc[48];
	struct tm tm;

	gmtime_r(&t, &tm);
	(void)strftime(utc, sizeof(utc), "%Y-%m-%d %H:%M:%S", &tm);
	if (us % SECOND_US != 0)
		(void)snprintf(utc + strlen(utc), sizeof(utc) - strlen(utc), ".%06d",
			       (int)(us % SECOND_US));
	tzset();
	local_to_text(us, local, sizeof(local));
	localtime_r(&t, &tm);
	(void)snprintf(out, TIME_TARGET_TEXT_MAX, "%s UTC = %s (%s) local time", utc, local,
		       tm.tm_zone); /* names of zones have a few letters */
}
