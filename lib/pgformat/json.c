/* pgformat/json.c - the tokens of JSON text, one byte after another. */
#include "pgformat/json_internal.h"

static enum err bad(const struct json_lexer *lexer, struct error *why, const char *what)
{
	return error_set(why, ERR_CORRUPT, "reading backup_manifest: byte %llu: %s",
			 (unsigned long long)lexer->consumed, what);
}

static enum err put(struct json_lexer *lexer, uint32_t byte, struct error *why)
{
	if (lexer->len == lexer->text_max)
		return error_set(why, ERR_LIMIT,
				 "reading backup_manifest: byte %llu: longer than %zu bytes",
				 (unsigned long long)lexer->consumed, lexer->text_max);
	lexer->text[lexer->len++] = (char)(uint8_t)byte;
	return ERR_NONE;
}

/* One code point as UTF-8. */
static enum err put_code(struct json_lexer *lexer, uint32_t code, struct error *why)
{
	uint8_t utf8[4];
	size_t len;

	if (code < 0x80) {
		utf8[0] = (uint8_t)code;
		len = 1;
	} else if (code < 0x800) {
		utf8[0] = (uint8_t)(0xC0 | code >> 6);
		len = 2;
	} else if (code < 0x10000) {
		utf8[0] = (uint8_t)(0xE0 | code >> 12);
		len = 3;
	} else {
		utf8[0] = (uint8_t)(0xF0 | code >> 18);
		len = 4;
	}
	for (size_t i = 1; i < len; i++)
		utf8[i] = (uint8_t)(0x80 | (code >> (6 * (len - 1 - i)) & 0x3F));
	for (size_t i = 0; i < len; i++) {
		enum err kind = put(lexer, utf8[i], why);

		if (kind != ERR_NONE)
			return kind;
	}
	return ERR_NONE;
}

/* A \uXXXX is complete: alone, or half of a surrogate pair. */
static enum err put_unicode(struct json_lexer *lexer, struct error *why)
{
	uint32_t code = lexer->unicode, first = lexer->surrogate;

	lexer->state = JSON_IN_STRING;
	lexer->surrogate = 0;
	if (first != 0) {
		if (code < 0xDC00 || code > 0xDFFF)
			return bad(lexer, why, "half of a surrogate pair");
		return put_code(lexer, 0x10000 + ((first - 0xD800) << 10) + (code - 0xDC00), why);
	}
	if (code >= 0xDC00 && code <= 0xDFFF)
		return bad(lexer, why, "half of a surrogate pair");
	if (code >= 0xD800 && code <= 0xDBFF) {
		lexer->surrogate = code;
		return ERR_NONE;
	}
	return put_code(lexer, code, why);
}

static enum err take_unicode(struct json_lexer *lexer, uint8_t c, struct error *why)
{
	uint32_t digit;

	if (c >= '0' && c <= '9')
		digit = (uint32_t)(c - '0');
	else if (c >= 'a' && c <= 'f')
		digit = (uint32_t)(c - 'a' + 10);
	else if (c >= 'A' && c <= 'F')
		digit = (uint32_t)(c - 'A' + 10);
	else
		return bad(lexer, why, "no hex digit in a \\u escape");
	lexer->unicode = lexer->unicode << 4 | digit;
	return ++lexer->unicode_digits == 4 ? put_unicode(lexer, why) : ERR_NONE;
}

static enum err take_escape(struct json_lexer *lexer, uint8_t c, struct error *why)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at = c != 0 ? strchr(from, c) : NULL;

	if (c == 'u') {
		lexer->state = JSON_IN_UNICODE;
		lexer->unicode = 0;
		lexer->unicode_digits = 0;
		return ERR_NONE;
	}
	if (at == NULL || lexer->surrogate != 0)
		return bad(lexer, why, "an unknown escape in a string");
	lexer->state = JSON_IN_STRING;
	return put(lexer, (uint8_t)to[at - from], why);
}

static enum err take_string(struct json_lexer *lexer, uint8_t c, enum json_token *out,
			    struct error *why)
{
	if (c == '\\') {
		lexer->state = JSON_IN_ESCAPE;
		return ERR_NONE;
	}
	if (lexer->surrogate != 0)
		return bad(lexer, why, "half of a surrogate pair");
	if (c == '"') {
		lexer->text[lexer->len] = '\0';
		lexer->state = JSON_BETWEEN;
		*out = JSON_STRING;
		return ERR_NONE;
	}
	if (c < 0x20)
		return bad(lexer, why, "a control character in a string");
	return put(lexer, c, why);
}

static bool is_plain(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == 'E' || c == '+' ||
	       c == '-' || c == '.';
}

/* The first byte of a token, or a blank. */
static enum err take_first(struct json_lexer *lexer, uint8_t c, enum json_token *out,
			   struct error *why)
{
	static const char marks[] = "{}[]:,";
	static const enum json_token tokens[] = {JSON_OPEN_OBJECT, JSON_CLOSE_OBJECT,
						 JSON_OPEN_LIST,   JSON_CLOSE_LIST,
						 JSON_COLON,       JSON_COMMA};
	const char *mark = c != 0 ? strchr(marks, c) : NULL;

	if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
		if (c == '\n')
			lexer->line_at = lexer->consumed + 1;
		return ERR_NONE;
	}
	lexer->token_at = lexer->consumed;
	lexer->token_line_at = lexer->line_at;
	lexer->len = 0;
	if (mark != NULL) {
		*out = tokens[mark - marks];
		return ERR_NONE;
	}
	if (c == '"') {
		lexer->state = JSON_IN_STRING;
		return ERR_NONE;
	}
	if (!is_plain(c))
		return bad(lexer, why, "not JSON");
	lexer->state = JSON_IN_PLAIN;
	return put(lexer, c, why);
}

enum err json_next(struct json_lexer *lexer, struct bytes *in, enum json_token *out,
		   struct error *why)
{
	enum json_token token = JSON_MORE;
	enum err kind = ERR_NONE;

	while (in->len > 0 && token == JSON_MORE && kind == ERR_NONE) {
		uint8_t c = in->data[0];

		switch (lexer->state) {
		case JSON_BETWEEN:
			kind = take_first(lexer, c, &token, why);
			break;
		case JSON_IN_STRING:
			kind = take_string(lexer, c, &token, why);
			break;
		case JSON_IN_ESCAPE:
			kind = take_escape(lexer, c, why);
			break;
		case JSON_IN_UNICODE:
			kind = take_unicode(lexer, c, why);
			break;
		case JSON_IN_PLAIN:
			if (!is_plain(c)) {
				/* It ends before this byte, which is left for the next call. */
				lexer->text[lexer->len] = '\0';
				lexer->state = JSON_BETWEEN;
				*out = JSON_PLAIN;
				return ERR_NONE;
			}
			kind = put(lexer, c, why);
			break;
		}
		*in = bytes_of(in->data + 1, in->len - 1);
		lexer->consumed++;
	}
	if (kind == ERR_NONE)
		*out = token;
	return kind;
}
