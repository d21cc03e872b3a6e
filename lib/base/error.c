/* base/error.c - filling a caller's `struct error`; no allocation, no output. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum err error_set_at(struct error *why, enum err kind, int os, const char *file, int line,
		      const char *format, ...)
{
	va_list args;
	int used;

	if (why == NULL)
		return kind;
	why->kind = kind;
	why->os = os;
	why->file = file;
	why->line = line;
	why->hint[0] = '\0';
	va_start(args, format);
	used = vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	if (used < 0)
		why->text[0] = '\0';
	if (os != 0 && used >= 0 && (size_t)used < sizeof(why->text)) {
		char text[128];
		/* The XSI strerror_r is not what _GNU_SOURCE gives; this form suits both. */
		const char *said = strerrordesc_np(os);

		(void)snprintf(text, sizeof(text), "error %d", os); /* cannot be cut */
		(void)snprintf(why->text + used, sizeof(why->text) - (size_t)used, ": %s",
			       said != NULL ? said : text); /* cut text is still text */
	}
	return kind;
}

enum err error_add(struct error *why, const char *format, ...)
{
	char old[ERROR_TEXT_MAX];
	va_list args;
	int used;

	if (why == NULL)
		return ERR_IO;
	memcpy(old, why->text, sizeof(old));
	va_start(args, format);
	used = vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	if (used >= 0 && (size_t)used < sizeof(why->text)) {
		size_t room = sizeof(why->text) - (size_t)used;

		(void)snprintf(why->text + used, room, ": %.*s", (int)room,
			       old); /* cut text is still text */
	}
	return why->kind;
}

void error_hint(struct error *why, const char *format, ...)
{
	va_list args;

	if (why == NULL)
		return;
	va_start(args, format);
	(void)vsnprintf(why->hint, sizeof(why->hint), format, args); /* cut text is still text */
	va_end(args);
}

enum err error_kind_of_os(int os)
{
	switch (os) {
	case 0:
		return ERR_NONE;
	case ENOENT:
	case ENOTDIR:
		return ERR_MISSING;
	case EEXIST:
	case ENOTEMPTY:
		return ERR_EXISTS;
	case EACCES:
	case EPERM:
	case EROFS:
	case ELOOP:
	case EXDEV:
		return ERR_DENIED;
	case ENOSPC:
	case EDQUOT:
		return ERR_FULL;
	case ENOMEM:
		return ERR_MEMORY;
	case EFBIG:
	case ENAMETOOLONG:
	case EMFILE:
	case ENFILE:
		return ERR_LIMIT;
	case EINTR:
	case EAGAIN:
		return ERR_TRANSIENT;
	default:
		return ERR_IO;
	}
}

const char *error_kind_word(enum err kind)
{
	switch (kind) {
	case ERR_NONE:
		return "none";
	case ERR_MISSING:
		return "missing";
	case ERR_EXISTS:
		return "exists";
	case ERR_TRANSIENT:
		return "transient";
	case ERR_UNSURE:
		return "unsure";
	case ERR_DENIED:
		return "denied";
	case ERR_CORRUPT:
		return "corrupt";
	case ERR_LIMIT:
		return "limit";
	case ERR_FULL:
		return "full";
	case ERR_PEER:
		return "peer";
	case ERR_CONFIG:
		return "config";
	case ERR_CANCELLED:
		return "cancelled";
	case ERR_MEMORY:
		return "memory";
	case ERR_IO:
		return "io";
	case ERR_WRONG_KEY:
		return "wrong_key";
	}
	return "unknown";
}
