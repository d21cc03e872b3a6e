/* repo/lines.h - "NAME VALUE" lines with escapes: clear records, summaries, sections
 * (FORMAT.md section 3).
 */
#ifndef REPO_LINES_H
#define REPO_LINES_H

#include "base/bytes.h"
#include "base/error.h"

/* Appends "name value\n" with backslash and LF escaped; "%" forms are printf's.  A name is 1 to 255
 * bytes without blanks, control bytes and backslashes; another makes the writer bad. */
void lines_put(struct writer *, const char *name, const char *value);
void lines_putf(struct writer *, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Walks all lines; `name` and `value` (unescaped) are NUL-terminated and live until the visit
 * returns; values longer than 65535 bytes, a NUL or a malformed line are ERR_CORRUPT. */
enum err lines_walk(struct bytes text,
		    enum err (*visit)(void *ctx, const char *name, const char *value,
				      struct error *why),
		    void *ctx, struct error *why) MUST_CHECK;

/* The first value of `name` into `out` (always terminated); false when absent or longer. */
bool lines_get(struct bytes text, const char *name, char *out, size_t out_len);
bool lines_get_u64(struct bytes text, const char *name, uint64_t *out);

#endif
