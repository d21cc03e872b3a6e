/* repo/lines.c - writing and walking "NAME VALUE" lines; it knows no names. */
#include "repo/lines.h"

#include "base/text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { LINES_NAME_MAX = 255, LINES_VALUE_MAX = 65535 };

/* Wider than the names of records, because names of settings are PostgreSQL's. */
static bool is_name(struct bytes name)
{
	if (name.len == 0 || name.len > LINES_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (name.data[i] <= ' ' || name.data[i] == 0x7f || name.data[i] == '\\')
			return false;
	return true;
}

void lines_put(struct writer *w, const char *name, const char *value)
{
	if (!is_name(bytes_of_text(name))) {
		w->bad = true;
		return;
	}
	writer_bytes(w, bytes_of_text(name));
	writer_u8(w, ' ');
	while (*value != '\0') {
		size_t plain = strcspn(value, "\\\n");

		writer_bytes(w, bytes_of(value, plain));
		value += plain;
		if (*value == '\0')
			break;
		writer_bytes(w, bytes_of_text(*value == '\n' ? "\\n" : "\\\\"));
		value++;
	}
	writer_u8(w, '\n');
}

void lines_putf(struct writer *w, const char *name, const char *format, ...)
{
	char *value = NULL;
	va_list args;
	int len;

	va_start(args, format);
	len = vasprintf(&value, format, args);
	va_end(args);
	if (len < 0) {
		w->bad = true;
		return;
	}
	lines_put(w, name, value);
	free(value);
}

/* The next line of `text` from *at on, split at its first space; false when it has none or no LF. */
static bool next_line(struct bytes text, size_t *at, struct bytes *name, struct bytes *value)
{
	const uint8_t *line = text.data + *at;
	const uint8_t *end = memchr(line, '\n', text.len - *at);
	const uint8_t *space;

	if (end == NULL)
		return false;
	space = memchr(line, ' ', (size_t)(end - line));
	if (space == NULL)
		return false;
	*name = bytes_of(line, (size_t)(space - line));
	*value = bytes_of(space + 1, (size_t)(end - space - 1));
	*at = (size_t)(end - text.data) + 1;
	return true;
}

/* Takes the escapes out and puts a NUL behind; false: a NUL, a bad escape, or no room. */
static bool unescape(struct bytes value, char *out, size_t out_len)
{
	size_t n = 0;

	for (size_t i = 0; i < value.len; i++) {
		uint8_t c = value.data[i];

		if (c == '\\') {
			if (++i == value.len)
				return false;
			if (value.data[i] == 'n')
				c = '\n';
			else if (value.data[i] != '\\')
				return false;
		}
		if (c == '\0' || n + 1 >= out_len)
			return false;
		out[n++] = (char)c;
	}
	if (n >= out_len)
		return false;
	out[n] = '\0';
	return true;
}

enum err lines_walk(struct bytes text,
		    enum err (*visit)(void *ctx, const char *name, const char *value,
				      struct error *why),
		    void *ctx, struct error *why)
{
	/* No value is longer than the text that holds it. */
	size_t room = text.len < LINES_VALUE_MAX ? text.len + 1 : LINES_VALUE_MAX + 1;
	char name_text[LINES_NAME_MAX + 1];
	char *value_text = malloc(room);
	size_t at = 0, line = 0;
	enum err e = ERR_NONE;

	if (value_text == NULL)
		return error_set(why, ERR_MEMORY, "cannot read lines: out of memory");
	while (e == ERR_NONE && at < text.len) {
		struct bytes name, value;

		line++;
		if (!next_line(text, &at, &name, &value) || !is_name(name) ||
		    !unescape(value, value_text, room)) {
			e = error_set(why, ERR_CORRUPT, "line %zu is not of the form NAME VALUE",
				      line);
			break;
		}
		memcpy(name_text, name.data, name.len);
		name_text[name.len] = '\0';
		e = visit(ctx, name_text, value_text, why);
	}
	free(value_text);
	return e;
}

bool lines_get(struct bytes text, const char *name, char *out, size_t out_len)
{
	struct bytes name_found, value;
	size_t at = 0, name_len = strlen(name);

	assert(out_len > 0);
	out[0] = '\0';
	while (at < text.len) {
		if (!next_line(text, &at, &name_found, &value))
			return false;
		if (name_found.len != name_len || memcmp(name_found.data, name, name_len) != 0)
			continue;
		if (unescape(value, out, out_len))
			return true;
		out[0] = '\0';
		return false;
	}
	return false;
}

bool lines_get_u64(struct bytes text, const char *name, uint64_t *out)
{
	char value[24];

	return lines_get(text, name, value, sizeof(value)) &&
	       text_to_u64(bytes_of_text(value), out);
}
