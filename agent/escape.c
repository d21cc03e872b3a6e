/* escape.c - text from outside made safe for terminals, logs and JSON. */
#include "escape.h"

#include <stdio.h>
#include <string.h>

/* Length of the UTF-8 sequence at `p`, 0 when it is none (overlong, surrogate, too high, cut). */
static size_t utf8_len(const uint8_t *p, size_t left)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t code;
	size_t len;

	if (p[0] < 0x80)
		return 1;
	len = p[0] >= 0xf0 && p[0] < 0xf8 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc0 ? 2 : 0;
	if (len == 0 || p[0] >= 0xf8 || len > left)
		return 0;
	code = p[0] & (0xffu >> (len + 1));
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3fu);
	}
	if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	return len;
}

static bool is_control(const uint8_t *p, size_t len, bool keep_layout)
{
	if (len == 1)
		return (p[0] < 0x20 || p[0] == 0x7f) &&
		       !(keep_layout && (p[0] == '\n' || p[0] == '\t'));
	return len == 2 && p[0] == 0xc2 && p[1] < 0xa0;
}

size_t escape_text(struct bytes in, char *out, size_t size, bool keep_layout)
{
	size_t at = 0;

	for (size_t i = 0; i < in.len;) {
		size_t len = utf8_len(in.data + i, in.len - i);
		bool plain = len > 0 && !is_control(in.data + i, len, keep_layout);
		size_t needed;

		if (len == 0)
			len = 1;
		needed = plain ? len : 4 * len;
		if (at + needed + 1 > size)
			break;
		if (plain)
			memcpy(out + at, in.data + i, len);
		else
			for (size_t b = 0; b < len; b++)
				(void)snprintf(out + at + 4 * b, 5, "\\x%02x",
					       in.data[i + b]); /* exactly 4 and the NUL */
		at += needed;
		i += len;
	}
	out[at] = '\0';
	return at;
}

bool escape_shell(const char *in, char *out, size_t size)
{
	static const char harmless[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "0123456789-_./:=,+@%";
	bool plain = *in != '\0' && strspn(in, harmless) == strlen(in);
	size_t at = 0;

	out[0] = '\0';
	for (const char *p = in; *p != '\0'; p++)
		at += *p == '\'' ? 4 : 1;
	if (at + (plain ? 1 : 3) > size)
		return false;
	if (plain) {
		memcpy(out, in, at + 1);
		return true;
	}
	at = 0;
	out[at++] = '\'';
	for (; *in != '\0'; in++) {
		if (*in == '\'') {
			memcpy(out + at, "'\\''", 4);
			at += 4;
		} else {
			out[at++] = *in;
		}
	}
	out[at++] = '\'';
	out[at] = '\0';
	return true;
}
