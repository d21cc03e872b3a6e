/* pgformat/label.c - backup_label, .backup files and tablespace_map. */
#include "pgformat/label.h"

#include <stdlib.h>

#include "base/text.h"

/* The first line of `text`, without its newline; `text` is left behind it. */
static struct bytes next_line(struct bytes *text)
{
	const uint8_t *newline = memchr(text->data, '\n', text->len);
	size_t len = newline != NULL ? (size_t)(newline - text->data) : text->len;
	size_t step = newline != NULL ? len + 1 : len;
	struct bytes line = bytes_of(text->data, len);

	*text = bytes_of(text->data + step, text->len - step);
	return line;
}

/* What follows `name` in the line; false when it begins differently. */
static bool line_value(struct bytes line, const char *name, struct bytes *out)
{
	size_t len = strlen(name);

	if (line.len < len || memcmp(line.data, name, len) != 0)
		return false;
	*out = bytes_of(line.data + len, line.len - len);
	return true;
}

/* "0/3000028" at the front of `value`; *rest is what comes behind. */
static bool value_lsn(struct bytes value, struct lsn *out, struct bytes *rest)
{
	char text[LSN_TEXT_MAX];
	size_t len = 0;

	while (len < value.len && value.data[len] != ' ')
		len++;
	if (len >= sizeof(text))
		return false;
	memcpy(text, value.data, len);
	text[len] = '\0';
	*rest = bytes_of(value.data + len, value.len - len);
	return strlen(text) == len && lsn_from_text(text, out, NULL) == ERR_NONE;
}

/* " (file 000000010000000000000003)" */
static bool value_segment(struct bytes value, char out[WAL_NAME_MAX], uint32_t *timeline)
{
	const char *front = " (file ";
	size_t front_len = strlen(front);
	struct wal_name name;
	char text[WAL_SEGMENT_NAME_LEN + 1];

	if (value.len != front_len + WAL_SEGMENT_NAME_LEN + 1 ||
	    memcmp(value.data, front, front_len) != 0 || value.data[value.len - 1] != ')')
		return false;
	memcpy(text, value.data + front_len, WAL_SEGMENT_NAME_LEN);
	text[WAL_SEGMENT_NAME_LEN] = '\0';
	if (wal_name_from_text(text, &name, NULL) != ERR_NONE || name.kind != WAL_NAME_SEGMENT)
		return false;
	memcpy(out, text, sizeof(text));
	*timeline = name.timeline;
	return true;
}

static bool value_timeline(struct bytes value, uint32_t *out)
{
	uint64_t number;

	if (!text_to_u64(value, &number) || number == 0 || number > UINT32_MAX)
		return false;
	*out = (uint32_t)number;
	return true;
}

/* The fields met so far.  Of a field written twice the first counts: a label may hold newlines,
 * and what stands below it must not replace what the server wrote above. */
struct label_state {
	struct backup_label label;
	uint32_t segment_timeline;
	bool has_from;
};

/* False when the line is one of those known here and its value makes no sense. */
static bool label_line(struct label_state *s, struct bytes line)
{
	struct backup_label *l = &s->label;
	struct bytes value, rest;

	if (line_value(line, "START WAL LOCATION: ", &value))
		return l->start.value != 0 ||
		       (value_lsn(value, &l->start, &rest) &&
			value_segment(rest, l->start_segment, &s->segment_timeline));
	if (line_value(line, "STOP WAL LOCATION: ", &value))
		return l->stop.value != 0 || value_lsn(value, &l->stop, &rest);
	if (line_value(line, "CHECKPOINT LOCATION: ", &value))
		return l->checkpoint.value != 0 ||
		       (value_lsn(value, &l->checkpoint, &rest) && rest.len == 0);
	if (line_value(line, "START TIMELINE: ", &value))
		return l->timeline != 0 || value_timeline(value, &l->timeline);
	if (line_value(line, "INCREMENTAL FROM LSN: ", &value))
		return l->incremental_from.value != 0 ||
		       (value_lsn(value, &l->incremental_from, &rest) && rest.len == 0);
	if (line_value(line, "INCREMENTAL FROM TLI: ", &value))
		return l->incremental_from_timeline != 0 ||
		       value_timeline(value, &l->incremental_from_timeline);
	if (line_value(line, "BACKUP FROM: ", &value) && !s->has_from) {
		s->has_from = true;
		l->from_standby = value.len == 7 && memcmp(value.data, "standby", 7) == 0;
		return l->from_standby || (value.len == 7 && memcmp(value.data, "primary", 7) == 0);
	}
	return true;
}

enum err backup_label_decode(struct bytes text, struct backup_label *out, struct error *why)
{
	struct label_state s = {0};

	while (text.len > 0) {
		struct bytes line = next_line(&text);

		if (!label_line(&s, line))
			return error_set(why, ERR_CORRUPT,
					 "reading backup_label: \"%.*s\": the value makes no sense",
					 (int)(line.len < 80 ? line.len : 80),
					 (const char *)line.data);
	}
	if (s.label.start.value == 0)
		return error_set(why, ERR_CORRUPT,
				 "reading backup_label: there is no START WAL LOCATION");
	/* Servers before 11 wrote no timeline; the name of the segment has it in any case. */
	if (s.label.timeline == 0)
		s.label.timeline = s.segment_timeline;
	if (s.label.timeline != s.segment_timeline)
		return error_set(why, ERR_CORRUPT,
				 "reading backup_label: START TIMELINE is %u, but segment %s is of "
				 "timeline %u",
				 s.label.timeline, s.label.start_segment, s.segment_timeline);
	*out = s.label;
	return ERR_NONE;
}

void backup_label_make_whole(struct bytes text, struct writer *w)
{
	while (text.len > 0) {
		const uint8_t *begin = text.data;
		struct bytes line = next_line(&text), value;

		if (!line_value(line, "INCREMENTAL FROM LSN: ", &value) &&
		    !line_value(line, "INCREMENTAL FROM TLI: ", &value))
			writer_bytes(w, bytes_of(begin, (size_t)(text.data - begin)));
	}
}

/* Longest line of a tablespace_map, unescaped: an OID, a blank and PATH_MAX. */
enum { MAP_LINE_MAX = 4096 + 16 };

struct map_line {
	char text[MAP_LINE_MAX];
	size_t len;
};

static enum err map_line_visit(struct map_line *line,
			       enum err (*visit)(void *ctx, uint32_t oid, const char *path,
						 struct error *why),
			       void *ctx, struct error *why)
{
	char *blank = memchr(line->text, ' ', line->len);
	size_t digits = blank != NULL ? (size_t)(blank - line->text) : 0;
	uint64_t oid;

	if (blank == NULL || digits + 1 >= line->len ||
	    !text_to_u64(bytes_of(line->text, digits), &oid) || oid == 0 || oid > UINT32_MAX ||
	    memchr(line->text, '\0', line->len) != NULL)
		return error_set(why, ERR_CORRUPT,
				 "reading tablespace_map: \"%.*s\": no OID and path",
				 (int)(line->len < 80 ? line->len : 80), line->text);
	line->text[line->len] = '\0';
	return visit(ctx, (uint32_t)oid, blank + 1, why);
}

enum err tablespace_map_decode(struct bytes text,
			       enum err (*visit)(void *ctx, uint32_t oid, const char *path,
						 struct error *why),
			       void *ctx, struct error *why)
{
	struct map_line line = {.len = 0};
	bool escaped = false;

	for (size_t i = 0; i < text.len; i++) {
		char c = (char)text.data[i];

		if (!escaped && c == '\\') {
			escaped = true;
			continue;
		}
		if (!escaped && (c == '\n' || c == '\r')) {
			enum err kind = ERR_NONE;

			if (line.len > 0)
				kind = map_line_visit(&line, visit, ctx, why);
			if (kind != ERR_NONE)
				return kind;
			line.len = 0;
			continue;
		}
		if (line.len + 1 >= sizeof(line.text))
			return error_set(why, ERR_CORRUPT,
					 "reading tablespace_map: a line is longer than any path");
		line.text[line.len++] = c;
		escaped = false;
	}
	if (line.len > 0 || escaped)
		return error_set(why, ERR_CORRUPT,
				 "reading tablespace_map: its last line is not complete");
	return ERR_NONE;
}

void tablespace_map_line(struct writer *w, uint32_t oid, const char *path)
{
	writer_text(w, "%u ", oid);
	for (const char *at = path; *at != '\0'; at++) {
		if (*at == '\n' || *at == '\r' || *at == '\\')
			writer_u8(w, '\\');
		writer_u8(w, (uint8_t)*at);
	}
	writer_u8(w, '\n');
}
