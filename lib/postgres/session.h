/* postgres/session.h - one connection to a PostgreSQL server, for SQL or for replication.
 *
 * A session belongs to one thread.  Connection strings are libpq's (keyword=value or URI,
 * service files and .pgpass included); the password never appears in an error.  What the server
 * says is translated in one place: SQLSTATE and severity decide the kind, the server's own words
 * stay in the text.
 */
#ifndef POSTGRES_SESSION_H
#define POSTGRES_SESSION_H

#include "base/env.h"
#include "base/error.h"
#include "pgformat/lsn.h"

struct session;

enum session_kind {
	SESSION_SQL,        /* an ordinary session */
	SESSION_REPLICATION /* replication=true: walsender, replication commands only */
};

struct session_options {
	const char *conninfo; /* borrowed for the call */
	enum session_kind kind;
	const char *database;         /* SESSION_SQL only; NULL = what conninfo says */
	const char *application_name; /* "pgagent"; NULL = "pgagent" */
	const char *extra_options;  /* startup "options", "-cwal_sender_timeout=..."; NULL = none */
	unsigned connect_timeout_s; /* 0 = what conninfo says, else 10 */
};

/* sslmode is verify-full when conninfo, service file and environment say nothing and the host is
 * not a socket and not a loopback address.  Kinds: ERR_TRANSIENT no connection, starting up, too
 * many connections; ERR_DENIED password, role, pg_hba (the hint prints the hba line to add);
 * ERR_CONFIG bad conninfo; ERR_PEER else.  NOTICE and WARNING go to env->observer. */
enum err session_open(const struct env *, const struct session_options *, struct session **out,
		      struct error *why) MUST_CHECK;
void session_close(struct session *); /* NULL is fine */

/* PQserverVersion: 150020, 180004. */
int session_server_version(const struct session *);

/* "user@host:port/database" without secrets, for messages; lives as long as the session. */
const char *session_label(const struct session *);

/* The parts of the connection, for messages and hba lines; NULL-safe, live as the session. */
const char *session_user(const struct session *);
const char *session_host(const struct session *); /* host name or socket directory */
const char *session_port(const struct session *);

struct rows; /* a result: text values */
/* One command, simple protocol.  ERR_DENIED for SQLSTATE 42501/28xxx, ERR_MISSING for
 * 42704/58P01/55000, ERR_EXISTS for 42710, ERR_TRANSIENT when the connection broke, ERR_LIMIT for 53xxx, else
 * ERR_PEER. */
enum err session_query(struct session *, const char *sql, struct rows **out,
		       struct error *why) MUST_CHECK;
/* With $1.. parameters (SESSION_SQL only). */
enum err session_query_params(struct session *, const char *sql, int n, const char *const *params,
			      struct rows **out, struct error *why) MUST_CHECK;
int rows_count(const struct rows *);
int rows_columns(const struct rows *);
/* NULL for SQL NULL or out of range; lives as long as the rows. */
const char *rows_value(const struct rows *, int row, int column);
size_t rows_value_len(const struct rows *, int row, int column);
void rows_free(struct rows *); /* NULL is fine */

/* SHOW name into `out`; ERR_MISSING for a setting this server does not have. */
enum err session_show(struct session *, const char *name, char *out, size_t out_len,
		      struct error *why) MUST_CHECK;

/* The text between quotes ('it''s'), for replication commands and SQL names: inner quotes are
 * doubled.  ERR_CONFIG for more than 1024 bytes, ERR_LIMIT when `out` is too small. */
enum err session_quote(const char *text, char quote, char *out, size_t out_len,
		       struct error *why) MUST_CHECK;

#endif
