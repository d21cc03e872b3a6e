/* report.h - what a command tells its caller: text for people or one JSON document, and its exit
 * code.
 *
 * In text mode report_text() writes to stdout at once.  In JSON mode it writes nothing, and what
 * was put into `root` is written as one document by report_finish().  A failure is written as text
 * to stderr in both modes; in JSON mode the document then holds only the error, and what was out
 * already (report_put_now).
 */
#ifndef REPORT_H
#define REPORT_H

#include "base/error.h"
#include "options.h"
#include "pgformat/lsn.h"
#include "progress.h"

#include <jansson.h>
#include <stdio.h>

enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,         /* nothing is half done that a second try would not mend */
	EXIT_USAGE = 2,          /* usage or configuration */
	EXIT_UNREACHABLE = 3,    /* the target can't be reached, nothing matches */
	EXIT_NAGIOS_UNKNOWN = 3, /* --nagios: could not look */
	EXIT_DAMAGED = 4,        /* data is damaged or can't be decrypted */
	EXIT_LOCKED = 5,         /* another pgagent holds the lock */
	EXIT_INTERRUPTED = 130,
	EXIT_STOP_RECOVERY = 200 /* archive-get: everything but delivered and proven absent */
};

struct report {
	FILE *out, *err;
	bool json;
	const char *command;            /* for "command"; may be NULL */
	json_t *root;                   /* the document; commands put their fields into it */
	struct progress_line *progress; /* erased before stderr is written; may be NULL */
	bool failed;                    /* an error was reported */
	bool begun;                     /* the beginning of the document is out already */
};

/* ERR_MEMORY is the only failure.  `command` may be NULL. */
enum err report_init(struct report *, FILE *out, FILE *err, bool json, const char *command,
		     struct error *why) MUST_CHECK;
void report_release(struct report *);

/* A piece of text for people; control characters but '\n' and '\t' are escaped. */
void report_text(struct report *, const char *format, ...) PRINTF_LIKE(2, 3);

/* "pgagent: error: TEXT" and the hint on stderr; in JSON mode the document becomes the error. */
void report_error(struct report *, const struct error *);

/* The same on stderr alone: one of several failures; the answer is another one. */
void report_lesser(struct report *, const struct error *);

/* "pgagent: warning: TEXT" on stderr: what the person must read although the command goes on. */
void report_warning(struct report *, const char *format, ...) PRINTF_LIKE(2, 3);

/* What must be seen before that is done which it belongs to: puts the value into the document and writes
 * that as far as it goes, or, in text mode, what was said; and flushes.  ERR_IO: it can't be seen. */
enum err report_put_now(struct report *, const char *key, json_t *take_value,
			struct error *why) MUST_CHECK;

/* Writes the document, or the rest of it, and flushes.  `code`, or EXIT_FAILED when stdout could not be written (the
 * codes of archive-get and archive-push do not depend on stdout: pass `keep_code`). */
int report_finish(struct report *, int code, bool keep_code);

/* The exit code for a failure of a command; `signal` is the one that cancelled it, or 0.
 * archive-get: always 200, as absence is proven by the command and not by an error kind. */
int report_exit_code(enum exit_rule, enum err kind, int signal);

/* JSON values that are null when they are not known.  All are new references. */
json_t *report_json_text(const char *); /* NULL gives null; escaped where not clean UTF-8 */
json_t *report_json_time(int64_t us);   /* RFC 3339 UTC; 0 gives null */
json_t *report_json_lsn(struct lsn);    /* "0/3000028"; 0 gives null */
json_t *report_json_u64(uint64_t);      /* above 2^63 - 1 as text */

/* Puts a value under `key`, taking the reference; NULL is an allocation that failed. */
void report_put(json_t *object, const char *key, json_t *take_value);

#endif
