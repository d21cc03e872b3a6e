/* base/text.c - hex, numbers, sizes, durations, nearest names. */
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void text_of_hex(struct bytes in, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < in.len; i++) {
		out[2 * i] = digits[in.data[i] >> 4];
		out[2 * i + 1] = digits[in.data[i] & 15];
	}
	out[2 * in.len] = '\0';
}

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool text_to_hex(struct bytes text, uint8_t *out, size_t len)
{
	if (text.len / 2 != len || text.len % 2 != 0)
		return false;
	/* Two passes, so that `out` is untouched when the text is no hex. */
	for (size_t i = 0; i < text.len; i++)
		if (hex_value(text.data[i]) < 0)
			return false;
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(hex_value(text.data[2 * i]) << 4 |
				   hex_value(text.data[2 * i + 1]));
	return true;
}

/* Reads leading digits; how many there were, 0 also when the number does not fit. */
static size_t digits_to_u64(struct bytes text, uint64_t *out)
{
	uint64_t value = 0;
	size_t i;

	for (i = 0; i < text.len && text.data[i] >= '0' && text.data[i] <= '9'; i++) {
		uint64_t digit = (uint64_t)(text.data[i] - '0');

		if (value > (UINT64_MAX - digit) / 10)
			return 0;
		value = value * 10 + digit;
	}
	if (i > 0)
		*out = value;
	return i;
}

bool text_to_u64(struct bytes text, uint64_t *out)
{
	uint64_t value;

	if (text.len == 0 || digits_to_u64(text, &value) != text.len)
		return false;
	*out = value;
	return true;
}

/* `a / b` rounded to the nearest, without overflow. */
static uint64_t divide_rounded(uint64_t a, uint64_t b)
{
	return a / b + (a % b >= b - b / 2);
}

void text_of_size(uint64_t in_bytes, char out[TEXT_SIZE_MAX])
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	size_t last = sizeof(units) / sizeof(units[0]) - 1;
	uint64_t unit = 1024;
	size_t i = 0;

	if (in_bytes < 1024) {
		(void)snprintf(out, TEXT_SIZE_MAX, "%" PRIu64 " B", in_bytes); /* 6 characters */
		return;
	}
	/* The next unit already from 1023.5, or 1023.9 KiB would read "1024 KiB". */
	while (i < last && in_bytes >= unit * 1024 - unit / 2) {
		unit *= 1024;
		i++;
	}
	if (in_bytes / unit < 100) {
		/* The whole part apart: ten times 15 EiB does not fit into 64 bits. */
		uint64_t tenths = in_bytes / unit * 10 + divide_rounded(in_bytes % unit * 10, unit);

		if (tenths < 1000) {
			(void)snprintf(out, TEXT_SIZE_MAX, "%" PRIu64 ".%" PRIu64 " %s",
				       tenths / 10, tenths % 10, units[i]); /* 8 characters */
			return;
		}
	}
	(void)snprintf(out, TEXT_SIZE_MAX, "%" PRIu64 " %s", divide_rounded(in_bytes, unit),
		       units[i]); /* 8 characters */
}

void text_of_duration(int64_t us, char out[TEXT_DURATION_MAX])
{
	uint64_t ms = us < 0 ? 0 : divide_rounded((uint64_t)us, 1000);
	uint64_t tenths = divide_rounded(ms, 100);
	uint64_t s = divide_rounded(ms, 1000);
	uint64_t minutes = divide_rounded(s, 60);
	uint64_t hours = divide_rounded(s, 3600);

	/* Each form ends where its own rounding would reach the next one. */
	if (ms < 1000)
		(void)snprintf(out, TEXT_DURATION_MAX, "%" PRIu64 " ms", ms);
	else if (tenths < 600)
		(void)snprintf(out, TEXT_DURATION_MAX, "%" PRIu64 ".%" PRIu64 " s", tenths / 10,
			       tenths % 10);
	else if (s < 3600)
		(void)snprintf(out, TEXT_DURATION_MAX, "%" PRIu64 " min %" PRIu64 " s", s / 60,
			       s % 60);
	else if (minutes < UINT64_C(48) * 60)
		(void)snprintf(out, TEXT_DURATION_MAX, "%" PRIu64 " h %" PRIu64 " min",
			       minutes / 60, minutes % 60);
	else
		(void)snprintf(out, TEXT_DURATION_MAX, "%" PRIu64 " d %" PRIu64 " h", hours / 24,
			       hours % 24);
}

struct unit {
	const char *name;
	uint64_t factor;
};

/* A number, then perhaps blanks, then one of the units; NULL when it is anything else. */
static const struct unit *number_with_unit(const char *text, const struct unit *units, size_t count,
					   uint64_t *number)
{
	size_t used = digits_to_u64(bytes_of_text(text), number);

	if (used == 0)
		return NULL;
	text += used;
	while (*text == ' ')
		text++;
	for (size_t i = 0; i < count; i++)
		if (strcmp(text, units[i].name) == 0)
			return &units[i];
	return NULL;
}

enum err text_to_size(const char *text, uint64_t *out, struct error *why)
{
	static const struct unit units[] = {
		{"", 1},
		{"kB", UINT64_C(1000)},
		{"MB", UINT64_C(1000000)},
		{"GB", UINT64_C(1000000000)},
		{"TB", UINT64_C(1000000000000)},
		{"KiB", UINT64_C(1) << 10},
		{"MiB", UINT64_C(1) << 20},
		{"GiB", UINT64_C(1) << 30},
		{"TiB", UINT64_C(1) << 40},
	};
	uint64_t number;
	const struct unit *unit =
		number_with_unit(text, units, sizeof(units) / sizeof(units[0]), &number);

	if (unit == NULL || number > UINT64_MAX / unit->factor) {
		(void)error_set(why, ERR_CONFIG, "not a size: \"%s\"", text);
		error_hint(why, "write a whole number and a unit, for example 512, 64 kB, 16MiB or "
				"2GB (kB MB GB TB are powers of 1000, KiB MiB GiB TiB of 1024)");
		return ERR_CONFIG;
	}
	*out = number * unit->factor;
	return ERR_NONE;
}

enum err text_to_duration(const char *text, int64_t *out_us, struct error *why)
{
	static const struct unit units[] = {
		{"ms", UINT64_C(1000)},       {"s", UINT64_C(1000000)},
		{"min", UINT64_C(60000000)},  {"h", UINT64_C(3600000000)},
		{"d", UINT64_C(86400000000)}, {"w", UINT64_C(604800000000)},
	};
	uint64_t number;
	const struct unit *unit;

	if (strcmp(text, "0") == 0) {
		*out_us = 0;
		return ERR_NONE;
	}
	unit = number_with_unit(text, units, sizeof(units) / sizeof(units[0]), &number);
	if (unit == NULL || number > (uint64_t)INT64_MAX / unit->factor) {
		(void)error_set(why, ERR_CONFIG, "not a duration: \"%s\"", text);
		error_hint(why, "write a whole number and a unit (ms s min h d w), for example "
				"250ms, 5s, 10min, 2h, 14d or 1w");
		return ERR_CONFIG;
	}
	*out_us = (int64_t)(number * unit->factor);
	return ERR_NONE;
}

enum { DISTANCE_TEXT_MAX = 127 };

unsigned text_distance(const char *a, const char *b, unsigned max)
{
	unsigned row[DISTANCE_TEXT_MAX + 1];
	size_t a_len = strlen(a);
	size_t b_len = strlen(b);

	if (a_len > DISTANCE_TEXT_MAX || b_len > DISTANCE_TEXT_MAX)
		return max + 1;
	for (size_t j = 0; j <= b_len; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned diagonal = row[0];
		unsigned least = row[0] = (unsigned)i;

		for (size_t j = 1; j <= b_len; j++) {
			unsigned best = diagonal + (a[i - 1] != b[j - 1]);

			if (best > row[j] + 1)
				best = row[j] + 1;
			if (best > row[j - 1] + 1)
				best = row[j - 1] + 1;
			diagonal = row[j];
			row[j] = best;
			if (least > best)
				least = best;
		}
		/* A row never leads to less than its own least. */
		if (least > max)
			return max + 1;
	}
	return row[b_len] > max ? max + 1 : row[b_len];
}

const char *text_nearest(const char *text, const char *const *names, size_t count)
{
	/* Up to a third of the letters may be wrong, at least two: more is another word. */
	unsigned best = (unsigned)(strlen(text) / 3 < 2 ? 2 : strlen(text) / 3) + 1;
	const char *found = NULL;

	for (size_t i = 0; i < count; i++) {
		unsigned distance;

		if (names[i] == NULL)
			continue;
		distance = text_distance(text, names[i], best);
		if (distance >= strlen(names[i]))
			continue;
		/* Of two that are equally near the one with the same first letter. */
		if (distance < best ||
		    (found != NULL && distance == best && *found != *text && *names[i] == *text)) {
			best = distance;
			found = names[i];
		}
	}
	return found;
}
