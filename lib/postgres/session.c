/* postgres/session.c - commands and results on one connection; how it is made is connect.c. */
#include "postgres/refusal.h"
#include "postgres/session_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void session_close(struct session *s)
{
	if (s == NULL)
		return;
	PQfreemem(s->stream.message);
	PQfinish(s->conn);
	free(s->user);
	free(s->host);
	free(s->port);
	free(s->label);
	free(s);
}

int session_server_version(const struct session *s)
{
	return PQserverVersion(s->conn);
}

const char *session_label(const struct session *s)
{
	return s != NULL ? s->label : "";
}

const char *session_user(const struct session *s)
{
	return s != NULL ? s->user : "";
}

const char *session_host(const struct session *s)
{
	return s != NULL ? s->host : "";
}

const char *session_port(const struct session *s)
{
	return s != NULL ? s->port : "";
}

enum err session_wait(struct session *s, int wait_ms, int wake_fd, enum session_wake *out,
		      struct error *why)
{
	struct clock *clock = s->env->clock;
	int64_t until_us = wait_ms < 0 ? 0 : clock_monotonic_us(clock) + (int64_t)wait_ms * 1000;

	for (;;) {
		struct pollfd fds[2] = {{.fd = PQsocket(s->conn), .events = POLLIN},
					{.fd = wake_fd, .events = POLLIN}};
		int slice_ms = SESSION_SLICE_MS;
		int64_t left_us = until_us - clock_monotonic_us(clock);
		int n;

		if (*s->env->cancelled != 0 && !s->draining)
			return error_set(why, ERR_CANCELLED, "wait: %s: stopped on request",
					 s->label);
		if (wait_ms >= 0 && left_us < (int64_t)slice_ms * 1000)
			slice_ms = left_us > 0 ? (int)((left_us + 999) / 1000) : 0;
		n = poll(fds, 2, slice_ms); /* a negative descriptor is ignored */
		if (n < 0 && errno != EINTR)
			return error_set_os(why, ERR_IO, errno, "wait: %s: poll", s->label);
		if (n > 0 && fds[0].revents != 0)
			*out = SESSION_READABLE;
		else if (n > 0)
			*out = SESSION_WOKEN;
		else if (wait_ms >= 0 && clock_monotonic_us(clock) >= until_us)
			*out = SESSION_TIMEOUT;
		else
			continue;
		return ERR_NONE;
	}
}

/* libpq's and the server's texts hold newlines; an error is one line. */
static void one_line(char *text)
{
	size_t len = strlen(text);

	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
		text[--len] = '\0';
	for (char *at = text; *at != '\0'; at++)
		if (*at == '\n' || *at == '\t' || *at == '\r')
			*at = ' ';
}

enum err session_refused(struct session *s, const PGresult *result, struct error *why)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *words = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
	enum err kind;

	if (state == NULL || words == NULL) { /* no message of the server: the connection broke */
		kind = PQstatus(s->conn) == CONNECTION_BAD ? ERR_TRANSIENT : ERR_PEER;
		words = PQerrorMessage(s->conn);
		(void)error_set(why, kind, "server: %s: %s", s->label,
				words[0] != '\0' ? words : "no answer");
		if (why != NULL)
			one_line(why->text);
		return kind;
	}
	kind = refusal_kind(state);
	(void)error_set(why, kind, "server: %s: %s%s%s (SQLSTATE %s)", s->label, words,
			detail != NULL ? ": " : "", detail != NULL ? detail : "", state);
	if (why != NULL)
		one_line(why->text);
	if (why != NULL && hint != NULL)
		error_hint(why, "%s", hint);
	return kind;
}

enum err session_send(struct session *s, const char *command, struct error *why)
{
	if (PQsendQuery(s->conn, command) != 1)
		return session_refused(s, NULL, why);
	return ERR_NONE;
}

enum err session_result(struct session *s, PGresult **out, struct error *why)
{
	enum session_wake wake;
	enum err e;

	/* A read that fails leaves what the server said before it hung up; PQgetResult has it. */
	while (PQconsumeInput(s->conn) == 1 && PQisBusy(s->conn)) {
		e = session_wait(s, -1, -1, &wake, why);
		if (e != ERR_NONE)
			return e;
	}
	*out = PQgetResult(s->conn);
	return ERR_NONE;
}

enum err session_expect(struct session *s, ExecStatusType expected, PGresult **out,
			struct error *why)
{
	PGresult *result = NULL;
	enum err e = session_result(s, &result, why);

	if (e != ERR_NONE)
		return e;
	if (result != NULL && PQresultStatus(result) == expected) {
		*out = result;
		return ERR_NONE;
	}
	if (result != NULL && PQresultStatus(result) == PGRES_FATAL_ERROR)
		e = session_refused(s, result, why);
	else
		e = error_set(why, ERR_PEER, "server: %s: answered %s where %s was due", s->label,
			      result != NULL ? PQresStatus(PQresultStatus(result)) : "nothing",
			      PQresStatus(expected));
	PQclear(result);
	return e;
}

enum err session_finish(struct session *s, struct error *why)
{
	enum err first = ERR_NONE;

	for (;;) {
		PGresult *result = NULL;
		enum err e = session_result(s, &result, first == ERR_NONE ? why : NULL);
		ExecStatusType status;

		if (e != ERR_NONE)
			return e;
		if (result == NULL)
			return first;
		status = PQresultStatus(result);
		if (status == PGRES_FATAL_ERROR && first == ERR_NONE)
			first = session_refused(s, result, why);
		PQclear(result);
		/* PQgetResult would answer the same for ever. */
		if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT ||
		    status == PGRES_COPY_BOTH)
			return error_set(why, ERR_PEER, "server: %s: began a copy nobody asked for",
					 s->label);
	}
}

void session_forget(struct session *s)
{
	enum err unheard = session_finish(s, NULL);

	(void)unheard; /* an earlier error is what counts */
}

enum err session_copy_data(struct session *s, int wait_ms, int wake_fd, char **out, int *len,
			   struct error *why)
{
	enum session_wake wake = SESSION_READABLE;
	char *message = NULL;
	/* libpq may hold decrypted bytes that the socket no longer shows: read before waiting, and
	 * with TLS more than once, since one read gives at most one record of 16 KiB. */
	int reads = PQsslInUse(s->conn) ? 4 : 1;

	for (;;) {
		int n = PQgetCopyData(s->conn, &message, 1);

		for (int i = 0; n == 0 && i < reads; i++) {
			bool alive = PQconsumeInput(s->conn) == 1;

			n = PQgetCopyData(s->conn, &message, 1);
			if (!alive && n == 0)
				return session_refused(s, NULL, why);
		}
		if (n == -2)
			return session_refused(s, NULL, why);
		if (*s->env->cancelled != 0 && !s->draining) {
			PQfreemem(message);
			return error_set(why, ERR_CANCELLED, "copy: %s: stopped on request",
					 s->label);
		}
		if (n != 0 || wake != SESSION_READABLE) {
			*out = message;
			*len = n;
			return ERR_NONE;
		}
		enum err e = session_wait(s, wait_ms, wake_fd, &wake, why);
		if (e != ERR_NONE)
			return e;
	}
}

/* Takes the results of the command that was sent; the last one with rows or status is `out`. */
static enum err take_rows(struct session *s, struct rows **out, struct error *why)
{
	PGresult *kept = NULL;
	enum err e = ERR_NONE;

	for (;;) {
		PGresult *result = NULL;
		ExecStatusType status;

		e = session_result(s, &result, why);
		if (e != ERR_NONE || result == NULL)
			break;
		status = PQresultStatus(result);
		if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
			PQclear(kept);
			kept = result;
			continue;
		}
		if (status == PGRES_FATAL_ERROR)
			e = session_refused(s, result, why);
		else
			e = error_set(why, ERR_PEER, "server: %s: answered %s to a query", s->label,
				      PQresStatus(status));
		PQclear(result);
		if (status == PGRES_FATAL_ERROR && PQstatus(s->conn) == CONNECTION_OK)
			session_forget(s);
		break;
	}
	if (e == ERR_NONE && kept == NULL)
		e = error_set(why, ERR_PEER, "server: %s: answered nothing", s->label);
	if (e != ERR_NONE) {
		PQclear(kept);
		return e;
	}
	*out = (struct rows *)kept; /* struct rows is never defined: it is libpq's result */
	return ERR_NONE;
}

enum err session_query(struct session *s, const char *sql, struct rows **out, struct error *why)
{
	enum err e = session_send(s, sql, why);

	return e != ERR_NONE ? e : take_rows(s, out, why);
}

enum err session_query_params(struct session *s, const char *sql, int n, const char *const *params,
			      struct rows **out, struct error *why)
{
	if (PQsendQueryParams(s->conn, sql, n, NULL, params, NULL, NULL, 0) != 1)
		return session_refused(s, NULL, why);
	return take_rows(s, out, why);
}

int rows_count(const struct rows *rows)
{
	return PQntuples((const PGresult *)rows);
}

int rows_columns(const struct rows *rows)
{
	return PQnfields((const PGresult *)rows);
}

static bool has_value(const PGresult *result, int row, int column)
{
	return row >= 0 && row < PQntuples(result) && column >= 0 && column < PQnfields(result) &&
	       !PQgetisnull(result, row, column);
}

const char *rows_value(const struct rows *rows, int row, int column)
{
	const PGresult *result = (const PGresult *)rows;

	return has_value(result, row, column) ? PQgetvalue(result, row, column) : NULL;
}

size_t rows_value_len(const struct rows *rows, int row, int column)
{
	const PGresult *result = (const PGresult *)rows;

	return has_value(result, row, column) ? (size_t)PQgetlength(result, row, column) : 0;
}

void rows_free(struct rows *rows)
{
	PQclear((PGresult *)rows);
}

enum err session_show(struct session *s, const char *name, char *out, size_t out_len,
		      struct error *why)
{
	char command[128];
	struct rows *rows = NULL;
	const char *value;
	size_t len;
	enum err e;

	/* The replication grammar has no quoted setting names, so only plain ones are let through. */
	if (name[0] == '\0' || strlen(name) > 100 ||
	    name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.")] != '\0')
		return error_set(why, ERR_CONFIG, "show setting: %s: no setting's name", name);
	(void)snprintf(command, sizeof(command), "SHOW %s", name); /* fits: <= 100 */
	e = session_query(s, command, &rows, why);
	if (e != ERR_NONE) {
		(void)error_add(why, "show setting: %s", name);
		return e;
	}
	value = rows_value(rows, 0, 0);
	len = value != NULL ? strlen(value) : 0;
	if (value == NULL)
		e = error_set(why, ERR_PEER, "show setting: %s: no value came", name);
	else if (len >= out_len)
		e = error_set(why, ERR_LIMIT, "show setting: %s: %zu bytes, %zu fit", name, len,
			      out_len - 1);
	else
		memcpy(out, value, len + 1);
	rows_free(rows);
	return e;
}

enum err session_quote(const char *text, char quote, char *out, size_t out_len, struct error *why)
{
	size_t len = strlen(text);
	size_t need = len + 3; /* two quotes and the NUL */
	size_t at = 0;

	if (len > 1024)
		return error_set(why, ERR_CONFIG, "quote: %zu bytes: more than 1024", len);
	for (size_t i = 0; i < len; i++)
		need += text[i] == quote;
	if (out_len < need)
		return error_set(why, ERR_LIMIT, "quote: %zu bytes: room for %zu", need, out_len);
	out[at++] = quote;
	for (size_t i = 0; i < len; i++) {
		if (text[i] == quote)
			out[at++] = quote;
		out[at++] = text[i];
	}
	out[at++] = quote;
	out[at] = '\0';
	return ERR_NONE;
}
