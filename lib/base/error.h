/* base/error.h - why something failed, as a decision for the caller.
 *
 * A kind says what the caller may do next, not where the failure came from.  Every fallible
 * function returns a kind and fills the `struct error` it was given last; nothing here allocates,
 * so running out of memory can be reported like anything else.  On failure outputs are untouched.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

/* The numbers are not stored anywhere and may change. */
enum err {
	ERR_NONE,
	ERR_MISSING,   /* no such object or row: may be an answer */
	ERR_EXISTS,    /* the name is taken: look at what is there */
	ERR_TRANSIENT, /* nothing happened: the same call may succeed later */
	ERR_UNSURE,    /* it may have happened: look before doing anything else */
	ERR_DENIED,    /* credentials or permissions: a person must act */
	ERR_CORRUPT,   /* stored or received bytes are wrong: never retry, always loud */
	ERR_LIMIT,     /* larger than a named bound: smaller, or elsewhere */
	ERR_FULL,      /* no space: free some, or elsewhere */
	ERR_PEER,      /* the server broke the protocol or refused the command */
	ERR_CONFIG,    /* what was asked for or configured makes no sense: a person must act */
	ERR_CANCELLED, /* stopped on request */
	ERR_MEMORY,    /* allocation failed */
	ERR_IO,        /* any other failure of the operating system or of a library */
	ERR_WRONG_KEY, /* the key does not open this: try another key, nothing is damaged */
};

enum {
	ERROR_TEXT_MAX = 1024, /* bytes with the NUL; longer text is cut */
	ERROR_HINT_MAX = 768
};

struct error {
	enum err kind;
	int os;           /* errno behind it, or 0 */
	const char *file; /* origin in the source; static */
	int line;
	char text[ERROR_TEXT_MAX]; /* event: object: cause; one line, no final period */
	char hint
		[ERROR_HINT_MAX]; /* what to do next, with the command; may be empty or hold lines */
};

/* Sets everything, returns `kind`.  `why` may be NULL: then only the kind is passed on. */
#define error_set(why, kind, ...) error_set_at((why), (kind), 0, __FILE__, __LINE__, __VA_ARGS__)

/* The same with the errno `os`; its text is appended as ": No space left on device". */
#define error_set_os(why, kind, os, ...)                                                           \
	error_set_at((why), (kind), (os), __FILE__, __LINE__, __VA_ARGS__)

enum err error_set_at(struct error *why, enum err kind, int os, const char *file, int line,
		      const char *format, ...) PRINTF_LIKE(6, 7);

/* Puts one clause in front: "CLAUSE: what was there".  Returns the kind already in `why`. */
enum err error_add(struct error *why, const char *format, ...) PRINTF_LIKE(2, 3);

/* Replaces the hint. */
void error_hint(struct error *why, const char *format, ...) PRINTF_LIKE(2, 3);

/* The kind for an errno of a file operation: ENOENT missing, EEXIST exists, EACCES/EPERM/EROFS
 * denied, ENOSPC/EDQUOT full, ENOMEM memory, EFBIG limit, EINTR/EAGAIN transient, all else I/O. */
enum err error_kind_of_os(int os);

/* The word for a kind, for JSON and logs: "missing", "corrupt", ...  Static. */
const char *error_kind_word(enum err kind);

#endif
