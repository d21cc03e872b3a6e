/* repo/attempt.c - naming a run of a backup so that names sort by time and never repeat. */
#include "repo/attempt.h"

#include "base/text.h"

#include <stdio.h>

enum {
	ATTEMPT_SECONDS_BYTES = 8,
	ATTEMPT_RANDOM_BYTES = 8,
	ATTEMPT_TIME_TEXT = 16 /* "20261123T140500Z" */
};

enum err attempt_new(const struct env *env, struct attempt *out, struct error *why)
{
	struct attempt made;
	int64_t now = clock_now_us(env->clock);
	uint64_t now_us = now > 0 ? (uint64_t)now : 0;
	uint32_t fraction = (uint32_t)(now_us % 1000000);
	uint8_t *id = made.id + ATTEMPT_SECONDS_BYTES;
	enum err e;

	e = random_fill(env->random, id, ATTEMPT_RANDOM_BYTES, why);
	if (e != ERR_NONE)
		return e;
	put_u64(made.id, now_us / 1000000);
	/* 20 bits: two backups of a small cluster may begin within one second. */
	id[0] = (uint8_t)(fraction >> 12);
	id[1] = (uint8_t)(fraction >> 4);
	id[2] = (uint8_t)((fraction & 0xf) << 4 | (id[2] & 0xf));
	*out = made;
	return ERR_NONE;
}

void attempt_to_text(const struct attempt *attempt, char out[ATTEMPT_TEXT_MAX])
{
	char time[TIME_TEXT_MAX], digits[2 * ATTEMPT_RANDOM_BYTES + 1];
	uint64_t seconds = get_u64(attempt->id);

	/* Stored bytes may hold any number; beyond year 9999 the text stays there. */
	time_to_compact(seconds < INT64_MAX / 1000000 ? (int64_t)seconds * 1000000 : INT64_MAX,
			time);
	text_of_hex(bytes_of(attempt->id + ATTEMPT_SECONDS_BYTES, ATTEMPT_RANDOM_BYTES), digits);
	(void)snprintf(out, ATTEMPT_TEXT_MAX, "%.16s-%.16s", time, digits); /* fits by its parts */
}

/* Days from 1970-01-01 to a date of the Gregorian calendar, for years from 1970 on. */
static int64_t days_since_1970(int64_t year, int64_t month, int64_t day)
{
	/* March begins the year, so that the leap day is its last one. */
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t m = month <= 2 ? month + 9 : month - 3;

	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static bool digits_at(const char *text, size_t at, size_t len, int64_t *out)
{
	uint64_t value = 0;

	if (!text_to_u64(bytes_of(text + at, len), &value))
		return false;
	*out = (int64_t)value;
	return true;
}

bool attempt_from_text(const char *text, struct attempt *out)
{
	struct attempt made;
	char again[ATTEMPT_TEXT_MAX];
	int64_t year, month, day, hour, minute, second, seconds;

	if (strlen(text) != ATTEMPT_TEXT_MAX - 1 || !digits_at(text, 0, 4, &year) ||
	    !digits_at(text, 4, 2, &month) || !digits_at(text, 6, 2, &day) ||
	    !digits_at(text, 9, 2, &hour) || !digits_at(text, 11, 2, &minute) ||
	    !digits_at(text, 13, 2, &second) || year < 1970)
		return false;
	if (!text_to_hex(bytes_of(text + ATTEMPT_TIME_TEXT + 1, 2 * (size_t)ATTEMPT_RANDOM_BYTES),
			 made.id + ATTEMPT_SECONDS_BYTES, ATTEMPT_RANDOM_BYTES))
		return false;
	seconds = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
	if (seconds < 0)
		return false;
	put_u64(made.id, (uint64_t)seconds);
	/* The 31st of February, upper-case digits, a missing `T`: one form only means one name. */
	attempt_to_text(&made, again);
	if (strcmp(again, text) != 0)
		return false;
	*out = made;
	return true;
}

int attempt_compare(const struct attempt *a, const struct attempt *b)
{
	uint64_t a_s = get_u64(a->id), b_s = get_u64(b->id);

	if (a_s != b_s)
		return a_s < b_s ? -1 : 1;
	return memcmp(a->id + ATTEMPT_SECONDS_BYTES, b->id + ATTEMPT_SECONDS_BYTES,
		      ATTEMPT_RANDOM_BYTES);
}

int64_t attempt_time_s(const struct attempt *attempt)
{
	uint64_t seconds = get_u64(attempt->id);

	return seconds < INT64_MAX ? (int64_t)seconds : INT64_MAX;
}
