/* pgformat/json_internal.h - cuts JSON text that arrives in pieces into tokens; knows no grammar.
 *
 * For the manifest reader only.  Numbers and words are handed on as text, since a system
 * identifier does not fit into a double.
 */
#ifndef PGFORMAT_JSON_INTERNAL_H
#define PGFORMAT_JSON_INTERNAL_H

#include "base/bytes.h"
#include "base/error.h"

enum json_token {
	JSON_MORE, /* the piece is used up in the middle of a token or between two */
	JSON_OPEN_OBJECT,
	JSON_CLOSE_OBJECT,
	JSON_OPEN_LIST,
	JSON_CLOSE_LIST,
	JSON_COLON,
	JSON_COMMA,
	JSON_STRING, /* decoded: UTF-8, may hold NULs */
	JSON_PLAIN   /* a number, true, false or null, unchecked */
};

enum json_state { JSON_BETWEEN, JSON_IN_STRING, JSON_IN_ESCAPE, JSON_IN_UNICODE, JSON_IN_PLAIN };

struct json_lexer {
	enum json_state state;
	char *text; /* the caller's; `text_max` bytes and one for a NUL */
	size_t text_max;
	size_t len;
	uint32_t unicode; /* the \uXXXX being read */
	int unicode_digits;
	uint32_t surrogate; /* the first half of a pair whose second must follow, or 0 */
	uint64_t consumed;  /* bytes of the whole text behind the last token */
	uint64_t line_at;   /* where the current line begins */
	uint64_t token_at;  /* where the last or current token begins */
	uint64_t token_line_at;
};

/* Takes bytes from the front of `in` up to the end of the next token.  ERR_CORRUPT for what JSON
 * does not have, ERR_LIMIT for a token longer than `text_max`. */
enum err json_next(struct json_lexer *, struct bytes *in, enum json_token *out,
		   struct error *why) MUST_CHECK;

#endif
