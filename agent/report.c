/* report.c - text for people, one JSON document for programs, exit codes for both. */
#include "report.h"

#include "base/clock.h"
#include "escape.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_MAX = 16384 };

static json_t *document(const char *command)
{
	json_t *root = json_object();

	report_put(root, "schema", json_string("pgagent.v1"));
	report_put(root, "command", report_json_text(command));
	return root;
}

enum err report_init(struct report *r, FILE *out, FILE *err, bool json, const char *command,
		     struct error *why)
{
	json_t *root = document(command);

	if (root == NULL)
		return error_set(why, ERR_MEMORY, "no memory for the report");
	*r = (struct report){
		.out = out, .err = err, .json = json, .command = command, .root = root};
	return ERR_NONE;
}

void report_release(struct report *r)
{
	json_decref(r->root);
	r->root = NULL;
}

void report_text(struct report *r, const char *format, ...)
{
	char text[PIECE_MAX], safe[PIECE_MAX];
	size_t len, at = 0;
	va_list args;
	int n;

	if (r->json)
		return;
	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	len = n < 0 ? 0 : (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
	if (r->progress != NULL)
		progress_erase(r->progress);
	/* In quarters, so that a piece fits also when every byte has to be escaped. */
	while (at < len) {
		size_t part = len - at < PIECE_MAX / 5 ? len - at : PIECE_MAX / 5;
		size_t safe_len;

		while (part > 1 && at + part < len &&
		       ((unsigned char)text[at + part] & 0xc0) == 0x80)
			part--;
		safe_len = escape_text(bytes_of(text + at, part), safe, sizeof(safe), true);
		(void)fwrite(safe, 1, safe_len, r->out); /* ferror is asked in report_finish */
		at += part;
	}
}

static void say(struct report *r, const char *title, const char *text)
{
	char safe[4 * ERROR_TEXT_MAX];

	if (r->progress != NULL)
		progress_erase(r->progress);
	(void)escape_text(bytes_of_text(text), safe, sizeof(safe), false);
	/* Both may be one pipe, and what was said before comes before.  A failure is found at the end. */
	(void)fflush(r->out);
	(void)fprintf(r->err, "%s: %s\n", title, safe); /* the last channel there is */
}

static void say_hint(struct report *r, const char *hint)
{
	while (*hint != '\0') {
		size_t len = strcspn(hint, "\n");
		char line[ERROR_HINT_MAX];

		(void)snprintf(line, sizeof(line), "%.*s", (int)len, hint); /* a hint fits */
		say(r, "hint", line);
		hint += hint[len] == '\n' ? len + 1 : len;
	}
}

void report_lesser(struct report *r, const struct error *why)
{
	r->failed = true;
	say(r, "pgagent: error", why->text);
	say_hint(r, why->hint);
}

void report_error(struct report *r, const struct error *why)
{
	json_t *error = json_object(), *root = r->begun ? json_object() : document(r->command);

	report_lesser(r, why);
	report_put(error, "code", report_json_text(error_kind_word(why->kind)));
	report_put(error, "message", report_json_text(why->text));
	report_put(error, "detail",
		   report_json_text(why->os != 0 ? strerrordesc_np(why->os) : NULL));
	report_put(error, "hint", report_json_text(why->hint[0] != '\0' ? why->hint : NULL));
	report_put(root, "error", error);
	json_decref(r->root);
	r->root = root;
}

void report_warning(struct report *r, const char *format, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args); /* cut text is still text */
	va_end(args);
	say(r, "pgagent: warning", text);
}

/* The document with `before` in place of its opening brace, and without the closing one where more of it is
 * to come. */
static bool write_document(const struct report *r, const char *before, bool more)
{
	char *text = json_dumps(r->root, JSON_INDENT(2));
	size_t len = text == NULL ? 0 : strlen(text), end = more ? strlen("\n}") : 0;
	bool written = len >= end + 1 && fputs(before, r->out) >= 0 &&
		       fwrite(text + 1, 1, len - 1 - end, r->out) == len - 1 - end;

	free(text);
	return written;
}

enum err report_put_now(struct report *r, const char *key, json_t *take_value, struct error *why)
{
	bool written = true;

	report_put(r->root, key, take_value);
	if (r->json) {
		written = write_document(r, r->begun ? "," : "{", true);
		(void)json_object_clear(r->root); /* fails for what is no object */
		r->begun = true;
	}
	errno = 0;
	if (fflush(r->out) != 0 || !written)
		return error_set_os(why, ERR_IO, errno, "writing to standard output");
	return ERR_NONE;
}

int report_finish(struct report *r, int code, bool keep_code)
{
	bool written = true;

	if (r->progress != NULL)
		progress_erase(r->progress);
	if (r->json && r->root != NULL) {
		if (r->begun && json_object_size(r->root) == 0)
			written = fputs("\n}", r->out) >= 0;
		else
			written = write_document(r, r->begun ? "," : "{", false);
		written = fputc('\n', r->out) != EOF && written;
	}
	errno = 0;
	if (fflush(r->out) != 0 || ferror(r->out))
		written = false;
	if (written || keep_code)
		return code;
	(void)fprintf(r->err, "pgagent: error: writing to standard output: %s\n",
		      errno != 0 ? strerrordesc_np(errno) : "failed"); /* the last channel */
	return code == EXIT_DONE ? EXIT_FAILED : code;
}

static int usual_exit_code(enum err kind, int signal)
{
	switch (kind) {
	case ERR_NONE:
		return EXIT_DONE;
	case ERR_CONFIG:
		return EXIT_USAGE;
	case ERR_CORRUPT:
	case ERR_WRONG_KEY:
		return EXIT_DAMAGED;
	case ERR_CANCELLED:
		return signal == SIGINT ? EXIT_INTERRUPTED : EXIT_FAILED;
	case ERR_MISSING:
	case ERR_EXISTS:
	case ERR_TRANSIENT:
	case ERR_UNSURE:
	case ERR_DENIED:
	case ERR_LIMIT:
	case ERR_FULL:
	case ERR_PEER:
	case ERR_MEMORY:
	case ERR_IO:
		break;
	}
	return EXIT_FAILED;
}

int report_exit_code(enum exit_rule rule, enum err kind, int signal)
{
	switch (rule) {
	case EXITS_ARCHIVE_GET:
		return kind == ERR_NONE ? EXIT_DONE : EXIT_STOP_RECOVERY;
	case EXITS_ARCHIVE_PUSH:
		/* Above 125 the archiver process would give up instead of trying again. */
		return kind == ERR_CANCELLED ? EXIT_FAILED : usual_exit_code(kind, 0);
	case EXITS_TARGET:
		return kind == ERR_MISSING ? EXIT_UNREACHABLE : usual_exit_code(kind, signal);
	case EXITS_USUAL:
		break;
	}
	return usual_exit_code(kind, signal);
}

json_t *report_json_text(const char *text)
{
	char small[1024], *safe = small;
	size_t len, size;
	json_t *out;

	if (text == NULL)
		return json_null();
	len = strlen(text);
	size = 4 * len + 1;
	if (size > sizeof(small) && (safe = calloc(1, size)) == NULL)
		return NULL;
	(void)escape_text(bytes_of(text, len), safe, size, true);
	out = json_string(safe);
	if (safe != small)
		free(safe);
	return out;
}

json_t *report_json_time(int64_t us)
{
	char text[TIME_TEXT_MAX];

	if (us == 0)
		return json_null();
	time_to_text(us, text);
	return json_string(text);
}

json_t *report_json_lsn(struct lsn lsn)
{
	char text[LSN_TEXT_MAX];

	if (lsn.value == 0)
		return json_null();
	lsn_to_text(lsn, text);
	return json_string(text);
}

json_t *report_json_u64(uint64_t value)
{
	char text[24];

	if (value <= INT64_MAX)
		return json_integer((json_int_t)value);
	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value); /* 20 digits */
	return json_string(text);
}

void report_put(json_t *object, const char *key, json_t *take_value)
{
	/* A document that lost a field must not look whole: the object goes without memory for
	 * one value only when the next allocation, that of the dump, fails too. */
	(void)json_object_set_new(object, key, take_value);
}
