/* pgformat/conf.c - lines of postgresql.conf, as src/backend/utils/misc/guc-file.l reads them. */
#include <stdlib.h>

#include "pgformat/label.h"

void conf_line(struct writer *w, const char *name, const char *value)
{
	writer_text(w, "%s = '", name);
	for (const char *at = value; *at != '\0'; at++) {
		if (*at == '\n')
			w->bad = true; /* a string ends with its line */
		if (*at == '\'' || *at == '\\')
			writer_u8(w, (uint8_t)*at);
		writer_u8(w, (uint8_t)*at);
	}
	writer_text(w, "'\n");
}

static bool is_letter(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* The byte at the front, 0 at the end: a NUL belongs to no token, so that both end one. */
static uint8_t front(const struct reader *r)
{
	return r->left > 0 ? *r->at : 0;
}

static uint8_t step(struct reader *r)
{
	uint8_t c = front(r);

	if (r->left > 0) {
		r->at++;
		r->left--;
	}
	return c;
}

static void skip_blanks(struct reader *r)
{
	while (front(r) == ' ' || front(r) == '\t' || front(r) == '\r')
		step(r);
}

/* "name" or "class.name", folded to lower case. */
static bool name_from_line(struct reader *r, char *out)
{
	size_t len = 0;
	bool first = true;

	for (;;) {
		uint8_t c = front(r);

		if (first ? !is_letter(c) : !(is_letter(c) || is_digit(c) || c == '.'))
			break;
		first = c == '.';
		out[len++] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
		step(r);
	}
	out[len] = '\0';
	return len > 0 && !first;
}

/* Up to three octal digits behind a backslash. */
static char octal_from_line(struct reader *r)
{
	unsigned value = 0;

	for (int i = 0; i < 3 && front(r) >= '0' && front(r) <= '7'; i++)
		value = value << 3 | (unsigned)(step(r) - '0');
	return (char)(uint8_t)value;
}

static char escape_from_line(struct reader *r)
{
	if (front(r) >= '0' && front(r) <= '7')
		return octal_from_line(r);
	switch (front(r)) {
	case 'b':
		step(r);
		return '\b';
	case 'f':
		step(r);
		return '\f';
	case 'n':
		step(r);
		return '\n';
	case 'r':
		step(r);
		return '\r';
	case 't':
		step(r);
		return '\t';
	default:
		return (char)step(r);
	}
}

/* A string in quotes, its first one already passed; false when it is not closed. */
static bool quoted_from_line(struct reader *r, char *out)
{
	size_t len = 0;

	while (r->left > 0) {
		uint8_t c = step(r);

		if (c == '\\' && r->left > 0) {
			out[len++] = escape_from_line(r);
		} else if (c == '\'' && front(r) != '\'') {
			out[len] = '\0';
			return true;
		} else {
			if (c == '\'')
				step(r);
			out[len++] = (char)c;
		}
	}
	return false;
}

/* A number with its unit, or a word. */
static bool plain_from_line(struct reader *r, char *out)
{
	size_t len = 0;

	for (;;) {
		uint8_t c = front(r);

		if (c == 0 || !(is_letter(c) || is_digit(c) || strchr("-+._:/", c) != NULL))
			break;
		out[len++] = (char)step(r);
	}
	out[len] = '\0';
	return len > 0;
}

/* One line without its newline; `name` and `value` have room for all of it.  False when it
 * assigns nothing. */
static bool assignment_from_line(struct bytes line, char *name, char *value)
{
	struct reader r = reader_of(line);

	skip_blanks(&r);
	if (!name_from_line(&r, name))
		return false;
	skip_blanks(&r);
	if (front(&r) == '=')
		step(&r);
	skip_blanks(&r);
	if (front(&r) == '\'') {
		step(&r);
		if (!quoted_from_line(&r, value))
			return false;
	} else if (!plain_from_line(&r, value)) {
		return false;
	}
	skip_blanks(&r);
	return r.left == 0 || front(&r) == '#';
}

enum err conf_decode(struct bytes text,
		     enum err (*visit)(void *ctx, const char *name, const char *value,
				       struct error *why),
		     void *ctx, struct error *why)
{
	/* No name and no value is longer than the text, so that two buffers do for all lines. */
	char *name = calloc(1, text.len + 1), *value = calloc(1, text.len + 1);
	enum err kind = ERR_NONE;

	if (name == NULL || value == NULL) {
		kind = error_set(why, ERR_MEMORY, "reading a configuration file: no memory");
		goto out;
	}
	while (text.len > 0 && kind == ERR_NONE) {
		const uint8_t *newline = memchr(text.data, '\n', text.len);
		size_t len = newline != NULL ? (size_t)(newline - text.data) : text.len;
		size_t skip = newline != NULL ? len + 1 : len;

		if (assignment_from_line(bytes_of(text.data, len), name, value))
			kind = visit(ctx, name, value, why);
		text = bytes_of(text.data + skip, text.len - skip);
	}
out:
	free(value);
	free(name);
	return kind;
}
