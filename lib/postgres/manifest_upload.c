/* postgres/manifest_upload.c - one UPLOAD_MANIFEST, from its command to its result.
 *
 * libpq would block in a send that the server does not take, so that the connection is made
 * non-blocking for the length of the copy.
 */
#include "postgres/manifest_upload.h"
#include "postgres/session_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

struct manifest_upload {
	struct session *session;
	uint64_t sent_bytes;
	bool copying; /* the server waits for more */
};

/* Until libpq holds nothing back.  What the server says meanwhile is taken in, so that it is never
 * blocked itself. */
static enum err flush(struct session *s, struct error *why)
{
	for (;;) {
		struct pollfd fd = {.fd = PQsocket(s->conn), .events = POLLIN | POLLOUT};
		int left = PQflush(s->conn);

		if (left == 0)
			return ERR_NONE;
		if (left < 0)
			return session_refused(s, NULL, why);
		if (*s->env->cancelled != 0)
			return error_set(why, ERR_CANCELLED, "copy: %s: stopped on request",
					 s->label);
		if (poll(&fd, 1, SESSION_SLICE_MS) < 0 && errno != EINTR)
			return error_set_os(why, ERR_IO, errno, "copy: %s: poll", s->label);
		if ((fd.revents & POLLIN) != 0 && PQconsumeInput(s->conn) != 1)
			return session_refused(s, NULL, why);
	}
}

enum err manifest_upload_begin(struct session *s, struct manifest_upload **out, struct error *why)
{
	struct manifest_upload *u;
	PGresult *copy = NULL;
	enum err e;

	if (session_server_version(s) < MANIFEST_UPLOAD_VERSION_MIN)
		return error_set(why, ERR_CONFIG,
				 "upload manifest: %s: version %d of the server can't take one",
				 s->label, session_server_version(s) / 10000);
	u = calloc(1, sizeof(*u));
	if (u == NULL)
		return error_set(why, ERR_MEMORY, "upload manifest: out of memory");
	u->session = s;
	e = session_send(s, "UPLOAD_MANIFEST", why);
	if (e == ERR_NONE) {
		e = session_expect(s, PGRES_COPY_IN, &copy, why);
		if (e != ERR_NONE)
			session_forget(s);
	}
	PQclear(copy);
	if (e == ERR_NONE && PQsetnonblocking(s->conn, 1) != 0)
		e = session_refused(s, NULL, why);
	if (e != ERR_NONE) {
		(void)error_add(why, "upload manifest");
		free(u);
		return e;
	}
	u->copying = true;
	*out = u;
	return ERR_NONE;
}

enum err manifest_upload_add(struct manifest_upload *u, struct bytes bytes, struct error *why)
{
	struct session *s = u->session;
	enum err e = ERR_NONE;

	if (bytes.len > MANIFEST_UPLOAD_MAX - u->sent_bytes)
		return error_set(why, ERR_LIMIT, "upload manifest: it has more than %d bytes",
				 MANIFEST_UPLOAD_MAX);
	u->sent_bytes += bytes.len;
	/* A message of at most this much: libpq queues it whole. */
	while (bytes.len > 0 && e == ERR_NONE) {
		size_t len = bytes.len < (1 << 16) ? bytes.len : (1 << 16);

		if (PQputCopyData(s->conn, (const char *)bytes.data, (int)len) != 1)
			e = session_refused(s, NULL, why);
		bytes = bytes_of(bytes.data + len, bytes.len - len);
		if (e == ERR_NONE)
			e = flush(s, why);
	}
	return e == ERR_NONE ? e : error_add(why, "upload manifest");
}

enum err manifest_upload_end(struct manifest_upload *u, struct error *why)
{
	struct session *s = u->session;
	PGresult *done = NULL;
	enum err e = ERR_NONE;

	u->copying = false;
	if (PQputCopyEnd(s->conn, NULL) != 1)
		e = session_refused(s, NULL, why);
	if (e == ERR_NONE)
		e = flush(s, why);
	if (e == ERR_NONE) {
		e = session_expect(s, PGRES_COMMAND_OK, &done, why);
		PQclear(done);
		if (e == ERR_NONE)
			e = session_finish(s, why);
		else
			session_forget(s);
	}
	return e == ERR_NONE ? e : error_add(why, "upload manifest");
}

void manifest_upload_free(struct manifest_upload *u)
{
	if (u == NULL)
		return;
	if (u->copying && PQputCopyEnd(u->session->conn, "not all of it could be read") == 1 &&
	    flush(u->session, NULL) == ERR_NONE)
		session_forget(u->session);          /* the server's refusal of what we took back */
	(void)PQsetnonblocking(u->session->conn, 0); /* fails only on a broken connection */
	free(u);
}
