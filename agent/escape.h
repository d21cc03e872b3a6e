/* escape.h - text from outside made safe for terminals, logs and JSON. */
#ifndef ESCAPE_H
#define ESCAPE_H

#include "base/bytes.h"

/* Valid UTF-8 without control characters: each byte of a control character (C0, DEL, C1) and of
 * what is not UTF-8 becomes "\xNN", except that '\n' and '\t' stay when `keep_layout`.  Never
 * cuts an escape in two; `out` always ends with NUL.  Returns the length. */
size_t escape_text(struct bytes in, char *out, size_t size, bool keep_layout);

/* As one word of a POSIX shell: itself when it has only harmless characters, else in single
 * quotes.  False, and an empty `out`, when it does not fit. */
bool escape_shell(const char *in, char *out, size_t size);

#endif
