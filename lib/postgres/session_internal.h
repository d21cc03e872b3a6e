/* postgres/session_internal.h - what the files of this room share about a session. */
#ifndef POSTGRES_SESSION_INTERNAL_H
#define POSTGRES_SESSION_INTERNAL_H

#include "postgres/session.h"

#include <libpq-fe.h>

typedef void session_notice(void *ctx, const PGresult *);

/* State of START_REPLICATION; belongs to replication.c. */
struct wal_stream {
	enum {
		WAL_STREAM_IDLE,    /* no command, or its last result was taken */
		WAL_STREAM_COPYING, /* CopyBoth: messages come */
		WAL_STREAM_ENDED    /* the server ended it; next_* say where to go on */
	} state;
	char *message; /* libpq's, the last one given out */
	uint32_t next_timeline;
	struct lsn next_start;
};

struct session {
	PGconn *conn;
	const struct env *env;
	enum session_kind kind;
	char *user;
	char *host;
	char *port;
	char *label;
	bool draining; /* ending what runs: cancellation no longer interrupts, time does */
	session_notice *on_notice; /* also hears what the observer hears; NULL = nobody */
	void *notice_ctx;
	struct wal_stream stream;
};

/* Cancellation is looked at this often at least. */
enum { SESSION_SLICE_MS = 100 };

enum session_wake { SESSION_READABLE, SESSION_TIMEOUT, SESSION_WOKEN };

/* Waits until the socket is readable, `wake_fd` (-1 = none) is, or `wait_ms` (-1 = no limit) have
 * passed.  ERR_CANCELLED. */
enum err session_wait(struct session *, int wait_ms, int wake_fd, enum session_wake *out,
		      struct error *why) MUST_CHECK;

/* Sends one command of the simple protocol; answers come through session_result. */
enum err session_send(struct session *, const char *command, struct error *why) MUST_CHECK;

/* The next result, NULL when the command is over; PQclear() it.  The result may be an error:
 * session_refused translates it. */
enum err session_result(struct session *, PGresult **out, struct error *why) MUST_CHECK;

/* The next result when it has status `expected`; anything else is an error. */
enum err session_expect(struct session *, ExecStatusType expected, PGresult **out,
			struct error *why) MUST_CHECK;

/* Takes and forgets results until the command is over; the first error among them. */
enum err session_finish(struct session *, struct error *why) MUST_CHECK;

/* The same after an error: what follows does not matter, the next command does. */
void session_forget(struct session *);

/* The next CopyData message.  *len > 0: message in *out, PQfreemem() it; 0: none within `wait_ms`
 * (-1 = no limit) or woken; -1: the copy is over, results follow. */
enum err session_copy_data(struct session *, int wait_ms, int wake_fd, char **out, int *len,
			   struct error *why) MUST_CHECK;

/* The error in `result` (NULL: in the connection) as kind, text and hint. */
enum err session_refused(struct session *, const PGresult *, struct error *why) MUST_CHECK;

#endif
