/* postgres/refusal.h - what the server and libpq say when they refuse, as kinds and hints.
 *
 * Pure: text in, decision out.  The server's words may be in any language, so only SQLSTATE and
 * source locations, which are never translated, decide.  libpq's own words are English as long as
 * the program does not call setlocale().
 */
#ifndef POSTGRES_REFUSAL_H
#define POSTGRES_REFUSAL_H

#include "base/error.h"
#include "postgres/session.h"

enum { SQLSTATE_MAX = 6 };

/* Kind for the SQLSTATE of a command. */
enum err refusal_kind(const char *sqlstate);

/* libpq's message about a failed connection, taken with verbosity "verbose". */
struct refusal {
	char sqlstate[SQLSTATE_MAX]; /* of the last server message; "" = libpq's own words */
	char function[64];           /* where the server raised it; "" = unknown */
	char text[768];              /* one line, without SQLSTATE and location */
};
void refusal_from_text(const char *said, struct refusal *out);

/* How far the connection came. */
enum refusal_phase { REFUSAL_CONNECTING, REFUSAL_TLS, REFUSAL_AUTHENTICATING };

struct refusal_scene {
	enum session_kind kind;
	enum refusal_phase phase;
	bool needs_password; /* the server asked for one and there was none */
	bool tls;
	const char *user;
	const char *host; /* name, address or socket directory */
	const char *port;
	const char *database;
	const char *address; /* our end of the connection, numeric; "" = a socket or unknown */
};

/* Fills `why` with text and hint; returns the kind. */
enum err refusal_explain(const struct refusal *, const struct refusal_scene *, struct error *why);

/* The line to add to pg_hba.conf. */
void refusal_hba_line(const struct refusal *, const struct refusal_scene *, char *out,
		      size_t out_len);

#endif
