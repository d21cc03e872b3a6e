/* postgres/connect.c - making a connection: which settings hold, one host after the other, waits
 * that notice cancellation, refusals explained.
 *
 * libpq has no call that connects with a time limit *and* can be interrupted, so PQconnectPoll is
 * driven here.  It moves on to the next host by itself only when one refuses, not when one is
 * silent; therefore lists of hosts are taken apart here and each gets its own connection and time.
 */
#include "postgres/connect_internal.h"
#include "postgres/refusal.h"
#include "postgres/session_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { PARAMETERS_MAX = 24 };

struct parameters {
	const char *names[PARAMETERS_MAX + 1];
	const char *values[PARAMETERS_MAX + 1];
	int n;
};

/* Later ones win; NULL and "" leave what is set. */
static void add(struct parameters *p, const char *name, const char *value)
{
	if (value == NULL || value[0] == '\0' || p->n >= PARAMETERS_MAX)
		return;
	p->names[p->n] = name;
	p->values[p->n++] = value;
}

/* One session_open. */
struct opening {
	const struct env *env;
	const struct session_options *options;
	PQconninfoOption *given;     /* what conninfo itself says */
	PQconninfoOption *effective; /* with service file, environment and defaults */
	char *startup;               /* "options" of both, or NULL */
};

/* One host of it. */
struct attempt {
	char host[CONNECT_ELEMENT_MAX];
	char hostaddr[CONNECT_ELEMENT_MAX];
	char port[CONNECT_ELEMENT_MAX];
	const char *session_attrs;
	PGconn *conn;
	enum refusal_phase phase;
	bool tls;
	char address[64]; /* our end */
};

static const char *value_of(const PQconninfoOption *options, const char *name)
{
	for (; options != NULL && options->keyword != NULL; options++)
		if (strcmp(options->keyword, name) == 0)
			return options->val;
	return NULL;
}

static void notice(void *ctx, const PGresult *result)
{
	struct session *s = ctx;
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *words = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	bool warning = severity == NULL || strcmp(severity, "WARNING") == 0;

	if (s->on_notice != NULL)
		s->on_notice(s->notice_ctx, result);
	if (words != NULL)
		observer_event(s->env->observer, warning ? LEVEL_WARNING : LEVEL_INFO,
			       "server %s: %s", s->label != NULL ? s->label : "", words);
}

static enum err parse(struct opening *o, struct error *why)
{
	char *said = NULL;
	const char *conninfo = o->options->conninfo;
	enum err e = ERR_NONE;

	o->given = PQconninfoParse(conninfo, &said);
	if (o->given != NULL)
		return ERR_NONE;
	if (said == NULL)
		e = error_set(why, ERR_MEMORY, "conninfo: out of memory");
	else if (connect_may_hold_password(conninfo))
		e = error_set(why, ERR_CONFIG,
			      "conninfo: malformed (not shown, it may hold a password)");
	else
		e = error_set(why, ERR_CONFIG, "conninfo: %.*s", (int)strcspn(said, "\n"), said);
	error_hint(why, "write host=NAME port=5432 user=NAME, values with blanks between single "
			"quotes, or postgresql://USER@HOST:PORT/DATABASE; passwords belong in "
			"~/.pgpass");
	PQfreemem(said);
	return e;
}

static struct parameters base_parameters(const struct opening *o)
{
	struct parameters p = {.n = 0};
	const char *conninfo = o->options->conninfo;

	/* libpq takes a text of blanks for the name of a database. */
	if (strchr(conninfo, '=') != NULL || strstr(conninfo, "://") != NULL)
		add(&p, "dbname", conninfo);
	return p;
}

/* libpq tells the settings that hold (service file and environment included) only of a connection
 * object; one with an impossible gssencmode is made up to that point and touches no network. */
static enum err probe(struct opening *o, struct error *why)
{
	struct parameters p = base_parameters(o);
	PGconn *conn;
	enum err e = ERR_NONE;

	add(&p, "gssencmode", "-");
	conn = PQconnectStartParams(p.names, p.values, 1);
	if (conn == NULL)
		return error_set(why, ERR_MEMORY, "connect: out of memory");
	o->effective = PQconninfo(conn);
	if (o->effective == NULL) {
		e = error_set(why, ERR_MEMORY, "connect: out of memory");
	} else if (strstr(PQerrorMessage(conn), "gssencmode") == NULL) {
		const char *said = PQerrorMessage(conn);

		e = error_set(why, ERR_CONFIG, "conninfo: %.*s", (int)strcspn(said, "\n"), said);
		error_hint(why, "look at conninfo, the service file and the PG* variables of the "
				"environment; pgagent config show prints what is configured");
	}
	PQfinish(conn);
	return e;
}

static struct parameters parameters_of(const struct opening *o, const struct attempt *a)
{
	struct parameters p = base_parameters(o);
	const struct session_options *options = o->options;
	const char *own = options->application_name;

	if (options->kind == SESSION_REPLICATION) {
		add(&p, "replication", "true");
		add(&p, "dbname", "replication"); /* the word .pgpass has for it */
	} else {
		add(&p, "dbname", options->database);
		/* What the server says is UTF-8 in our messages, whatever the database's encoding. */
		if (value_of(o->effective, "client_encoding") == NULL)
			add(&p, "client_encoding", "UTF8");
	}
	add(&p, "fallback_application_name", own != NULL ? own : "pgagent");
	add(&p, "options", o->startup);
	add(&p, "host", a->host);
	add(&p, "hostaddr", a->hostaddr);
	add(&p, "port", a->port);
	add(&p, "target_session_attrs", a->session_attrs);
	add(&p, "sslmode",
	    connect_sslmode(value_of(o->effective, "sslmode"),
			    value_of(o->given, "sslmode") != NULL, a->host, a->hostaddr));
	/* The server sends nothing while a spread checkpoint runs and has no time limit in
	 * BASE_BACKUP: only TCP finds a dead peer.  These find one in 75 s. */
	if (value_of(o->effective, "keepalives_idle") == NULL)
		add(&p, "keepalives_idle", "30");
	if (value_of(o->effective, "keepalives_interval") == NULL)
		add(&p, "keepalives_interval", "15");
	if (value_of(o->effective, "keepalives_count") == NULL)
		add(&p, "keepalives_count", "3");
	return p;
}

/* What only the open socket tells: gone when the connection has failed. */
static void look(struct attempt *a)
{
	struct sockaddr_storage own;
	socklen_t len = sizeof(own);
	ConnStatusType status = PQstatus(a->conn);
	char numeric[NI_MAXHOST];

	if (status == CONNECTION_SSL_STARTUP)
		a->phase = REFUSAL_TLS;
	else if (status != CONNECTION_STARTED && status != CONNECTION_NEEDED &&
		 status != CONNECTION_MADE && status != CONNECTION_BAD)
		a->phase = REFUSAL_AUTHENTICATING;
	else
		a->phase = REFUSAL_CONNECTING;
	a->tls = PQsslInUse(a->conn) != 0;
	if (PQsocket(a->conn) < 0 ||
	    getsockname(PQsocket(a->conn), (struct sockaddr *)&own, &len) != 0 ||
	    (own.ss_family != AF_INET && own.ss_family != AF_INET6))
		return;
	if (getnameinfo((struct sockaddr *)&own, len, numeric, sizeof(numeric), NULL, 0,
			NI_NUMERICHOST) == 0)
		(void)snprintf(a->address, sizeof(a->address), "%.*s", (int)strcspn(numeric, "%"),
			       numeric); /* fits: numeric without its scope */
}

static enum err refuse(const struct opening *o, const struct attempt *a, const char *said,
		       struct error *why)
{
	struct refusal refusal;
	const char *user = PQuser(a->conn);
	const char *database = PQdb(a->conn);
	struct refusal_scene scene = {
		.kind = o->options->kind,
		.phase = a->phase,
		.needs_password = PQconnectionNeedsPassword(a->conn) != 0,
		.tls = a->tls,
		.user = user != NULL ? user : "",
		.host = PQhost(a->conn) != NULL ? PQhost(a->conn) : a->host,
		.port = PQport(a->conn) != NULL ? PQport(a->conn) : a->port,
		.database = database != NULL ? database : "",
		.address = a->address,
	};

	refusal_from_text(said, &refusal);
	return refusal_explain(&refusal, &scene, why);
}

/* Drives the handshake until it is over, cancelled or `until_us` (0 = never) has come. */
static enum err shake_hands(const struct opening *o, struct attempt *a, int64_t until_us,
			    struct error *why)
{
	PostgresPollingStatusType next = PGRES_POLLING_WRITING;

	for (;;) {
		struct pollfd fd = {.fd = PQsocket(a->conn),
				    .events = next == PGRES_POLLING_READING ? POLLIN : POLLOUT};
		int n = poll(&fd, 1, SESSION_SLICE_MS);

		if (*o->env->cancelled != 0)
			return error_set(why, ERR_CANCELLED, "connect: %s: stopped on request",
					 PQhost(a->conn));
		if (n < 0 && errno != EINTR)
			return error_set_os(why, ERR_IO, errno, "connect: %s: poll",
					    PQhost(a->conn));
		if (n <= 0) {
			if (until_us != 0 && clock_monotonic_us(o->env->clock) >= until_us)
				return refuse(o, a, "no answer within connect_timeout", why);
			continue;
		}
		look(a);
		next = PQconnectPoll(a->conn);
		if (next == PGRES_POLLING_OK)
			return ERR_NONE;
		if (next == PGRES_POLLING_FAILED)
			return refuse(o, a, PQerrorMessage(a->conn), why);
	}
}

static char *copy_text(const char *text)
{
	return strdup(text != NULL ? text : "");
}

/* Fills the session of a connection that works; it owns conn already. */
static enum err describe(struct session *s, struct error *why)
{
	const char *database = PQdb(s->conn);

	s->user = copy_text(PQuser(s->conn));
	s->host = copy_text(PQhost(s->conn));
	s->port = copy_text(PQport(s->conn));
	if (s->user == NULL || s->host == NULL || s->port == NULL)
		return error_set(why, ERR_MEMORY, "connect: out of memory");
	if (asprintf(&s->label, "%s@%s:%s/%s", s->user, s->host, s->port,
		     database != NULL ? database : "") < 0) {
		s->label = NULL;
		return error_set(why, ERR_MEMORY, "connect: out of memory");
	}
	return ERR_NONE;
}

/* On failure `why` says of which host. */
static enum err try_host(const struct opening *o, struct attempt *a, struct session **out,
			 struct error *why)
{
	struct parameters p = parameters_of(o, a);
	unsigned limit_s = connect_timeout_s(o->options->connect_timeout_s,
					     value_of(o->effective, "connect_timeout"));
	int64_t until_us =
		limit_s == 0 ? 0 : clock_monotonic_us(o->env->clock) + (int64_t)limit_s * 1000000;
	struct session *s = calloc(1, sizeof(*s));
	enum err e;

	if (s == NULL)
		return error_set(why, ERR_MEMORY, "connect: out of memory");
	s->env = o->env;
	s->kind = o->options->kind;
	s->conn = PQconnectStartParams(p.names, p.values, 1);
	if (s->conn == NULL) {
		e = error_set(why, ERR_MEMORY, "connect: out of memory");
		goto out;
	}
	a->conn = s->conn;
	(void)PQsetNoticeReceiver(s->conn, notice, s);
	/* So that a refusal carries its SQLSTATE and source location, which no locale changes. */
	(void)PQsetErrorVerbosity(s->conn, PQERRORS_VERBOSE);
	if (PQstatus(s->conn) == CONNECTION_BAD)
		e = refuse(o, a, PQerrorMessage(s->conn), why);
	else
		e = shake_hands(o, a, until_us, why);
	if (e == ERR_NONE)
		e = describe(s, why);
	if (e != ERR_NONE)
		goto out;
	(void)PQsetErrorVerbosity(s->conn, PQERRORS_DEFAULT);
	*out = s;
	s = NULL;
out:
	session_close(s);
	return e;
}

/* Every host in order.  Only a host that is not there now lets the next one be tried: a refused
 * password would be refused again, and asking everywhere hides the mistake. */
static enum err try_hosts(const struct opening *o, const char *session_attrs, struct session **out,
			  struct error *why)
{
	const char *hosts = value_of(o->effective, "host");
	const char *addresses = value_of(o->effective, "hostaddr");
	const char *ports = value_of(o->effective, "port");
	size_t n = connect_list_len(addresses != NULL ? addresses : hosts);
	enum err e = ERR_TRANSIENT;

	if (n == 0)
		n = 1;
	for (size_t i = 0; i < n && e == ERR_TRANSIENT; i++) {
		struct attempt a = {.session_attrs = session_attrs};

		connect_list_element(hosts, i, a.host);
		connect_list_element(addresses, i, a.hostaddr);
		connect_list_element(ports, i, a.port);
		if (n > 1 && a.host[0] == '\0' && a.hostaddr[0] == '\0')
			return error_set(why, ERR_CONFIG,
					 "conninfo: host: an empty one in a list of hosts");
		e = try_host(o, &a, out, why);
	}
	return e;
}

/* The startup options of conninfo, then ours. */
static enum err join_startup(struct opening *o, struct error *why)
{
	const char *theirs = value_of(o->effective, "options");
	const char *ours = o->options->extra_options;

	if (ours == NULL)
		return ERR_NONE;
	if (asprintf(&o->startup, "%s%s%s", theirs != NULL ? theirs : "", theirs != NULL ? " " : "",
		     ours) < 0) {
		o->startup = NULL;
		return error_set(why, ERR_MEMORY, "connect: out of memory");
	}
	return ERR_NONE;
}

enum err session_open(const struct env *env, const struct session_options *options,
		      struct session **out, struct error *why)
{
	struct opening o = {.env = env, .options = options};
	const char *attrs;
	bool twice;
	enum err e = parse(&o, why);

	if (e == ERR_NONE)
		e = probe(&o, why);
	if (e == ERR_NONE)
		e = join_startup(&o, why);
	if (e != ERR_NONE)
		goto out;
	attrs = value_of(o.effective, "target_session_attrs");
	/* prefer-standby is a rule about the whole list: a standby anywhere, else anything. */
	twice = attrs != NULL && strcmp(attrs, "prefer-standby") == 0;
	e = try_hosts(&o, twice ? "standby" : NULL, out, why);
	if (e == ERR_TRANSIENT && twice)
		e = try_hosts(&o, "any", out, why);
out:
	free(o.startup);
	PQconninfoFree(o.given);
	PQconninfoFree(o.effective);
	return e;
}
