/* pgformat/history.c - timeline history files: reading them and asking where a path goes. */
#include "pgformat/history.h"

#include <stdio.h>

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/* The next word of the line into `out`, NUL-terminated; false when there is none or it is longer
 * than any timeline or LSN. */
static bool next_word(struct bytes *line, char *out, size_t out_bytes)
{
	size_t len = 0;

	while (line->len > 0 && is_blank(line->data[0]))
		*line = bytes_of(line->data + 1, line->len - 1);
	while (len < line->len && !is_blank(line->data[len]))
		len++;
	if (len == 0 || len >= out_bytes)
		return false;
	memcpy(out, line->data, len);
	out[len] = '\0';
	*line = bytes_of(line->data + len, line->len - len);
	return true;
}

/* A number of up to 10 digits below 2^32. */
static bool timeline_from_word(const char *word, uint32_t *out)
{
	uint64_t value = 0;
	size_t len = strlen(word);

	if (len == 0 || len > 10)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (word[i] < '0' || word[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(word[i] - '0');
	}
	*out = (uint32_t)value;
	return value <= UINT32_MAX;
}

static bool line_is_empty(struct bytes line)
{
	size_t i = 0;

	while (i < line.len && is_blank(line.data[i]))
		i++;
	return i == line.len || line.data[i] == '#';
}

/* "TIMELINE LSN reason"; the reason is free text. */
static bool entry_from_line(struct bytes line, struct history_entry *out)
{
	char timeline[12], end[LSN_TEXT_MAX];

	return next_word(&line, timeline, sizeof(timeline)) &&
	       timeline_from_word(timeline, &out->timeline) && out->timeline > 0 &&
	       next_word(&line, end, sizeof(end)) &&
	       lsn_from_text(end, &out->end, NULL) == ERR_NONE;
}

/* A server that followed a timeline and was promoted before that one began writes it down all the same, with its
 * own switch point before the one of the line above.  It left what is older than both. */
static void entry_add(struct history *h, struct history_entry entry)
{
	if (h->count == 0 || entry.end.value >= h->entry[h->count - 1].end.value) {
		h->entry[h->count++] = entry;
		return;
	}
	while (h->count > 1 && h->entry[h->count - 2].end.value >= entry.end.value)
		h->count--;
	h->entry[h->count - 1].end = entry.end;
}

enum err history_from_text(uint32_t timeline, struct bytes text, struct history *out,
			   struct error *why)
{
	struct history h = {.timeline = timeline};
	size_t line_number = 0;
	uint32_t above = 0; /* the timeline of the line above */

	if (timeline == 0)
		return error_set(why, ERR_CORRUPT, "reading a history: there is no timeline 0");
	if (text.len > HISTORY_FILE_MAX)
		return error_set(why, ERR_LIMIT, "reading %08X.history: larger than %d bytes",
				 timeline, HISTORY_FILE_MAX);
	while (text.len > 0) {
		const uint8_t *newline = memchr(text.data, '\n', text.len);
		size_t len = newline != NULL ? (size_t)(newline - text.data) : text.len;
		size_t step = newline != NULL ? len + 1 : len;
		struct bytes line = bytes_of(text.data, len);
		struct history_entry entry;

		line_number++;
		text = bytes_of(text.data + step, text.len - step);
		if (line_is_empty(line))
			continue;
		if (!entry_from_line(line, &entry))
			return error_set(why, ERR_CORRUPT,
					 "reading %08X.history: line %zu: no timeline and LSN",
					 timeline, line_number);
		if (entry.timeline >= timeline || entry.timeline <= above)
			return error_set(
				why, ERR_CORRUPT,
				"reading %08X.history: line %zu: timeline %u does not fit there",
				timeline, line_number, entry.timeline);
		if (h.count == HISTORY_ENTRIES_MAX)
			return error_set(why, ERR_LIMIT,
					 "reading %08X.history: more than %d timelines", timeline,
					 HISTORY_ENTRIES_MAX);
		above = entry.timeline;
		entry_add(&h, entry);
	}
	*out = h;
	return ERR_NONE;
}

uint32_t history_timeline_at(const struct history *h, struct lsn at)
{
	for (size_t i = 0; i < h->count; i++)
		if (at.value < h->entry[i].end.value)
			return h->entry[i].timeline;
	return h->timeline;
}

bool history_has(const struct history *h, uint32_t ancestor, struct lsn *begin, struct lsn *end)
{
	size_t i = 0;

	while (i < h->count && h->entry[i].timeline != ancestor)
		i++;
	if (i == h->count && h->timeline != ancestor)
		return false;
	*begin = i > 0 ? h->entry[i - 1].end : lsn_of(0);
	*end = i < h->count ? h->entry[i].end : lsn_of(UINT64_MAX);
	return true;
}
