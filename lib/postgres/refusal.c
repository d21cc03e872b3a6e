/* postgres/refusal.c - reading refusals; see the header for why no words are matched. */
#include "postgres/refusal.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static bool is_class(const char *sqlstate, const char *start)
{
	return strncmp(sqlstate, start, strlen(start)) == 0;
}

enum err refusal_kind(const char *sqlstate)
{
	static const struct {
		const char *start;
		enum err kind;
	} table[] = {
		{"42501", ERR_DENIED},    /* insufficient_privilege */
		{"28", ERR_DENIED},       /* invalid authorization */
		{"42704", ERR_MISSING},   /* undefined_object */
		{"58P01", ERR_MISSING},   /* undefined_file */
		{"55000", ERR_MISSING},   /* object_not_in_prerequisite_state: what it needs */
		{"42710", ERR_EXISTS},    /* duplicate_object */
		{"08", ERR_TRANSIENT},    /* connection exception */
		{"57P01", ERR_TRANSIENT}, /* admin_shutdown */
		{"57P02", ERR_TRANSIENT}, /* crash_shutdown */
		{"57P03", ERR_TRANSIENT}, /* cannot_connect_now */
		{"57P05", ERR_TRANSIENT}, /* idle_session_timeout */
		{"53", ERR_LIMIT},        /* insufficient resources */
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (is_class(sqlstate, table[i].start))
			return table[i].kind;
	return ERR_PEER;
}

/* "SEVERITY:  28000: words": the five characters after two blanks, NULL when there are none. */
static const char *sqlstate_in(const char *line, size_t len)
{
	for (size_t i = 0; i + 10 <= len; i++) {
		size_t n = 0;

		if (memcmp(line + i, ":  ", 3) != 0)
			continue;
		while (n < 5 && (isdigit((unsigned char)line[i + 3 + n]) ||
				 isupper((unsigned char)line[i + 3 + n])))
			n++;
		if (n == 5 && memcmp(line + i + 8, ": ", 2) == 0)
			return line + i + 3;
	}
	return NULL;
}

/* "LOCATION:  function, file.c:123", whatever the first word is. */
static bool location_in(const char *line, size_t len, char *function, size_t function_len)
{
	const char *at = memmem(line, len, ":  ", 3);
	const char *comma = memmem(line, len, ", ", 2);
	const char *file = memmem(line, len, ".c:", 3);
	size_t n;

	if (at == NULL || comma == NULL || file == NULL || comma < at + 4 || file < comma)
		return false;
	at += 3;
	n = (size_t)(comma - at);
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)at[i]) && at[i] != '_')
			return false;
	for (const char *digit = file + 3; digit < line + len; digit++)
		if (!isdigit((unsigned char)*digit))
			return false;
	if (n >= function_len)
		n = function_len - 1;
	memcpy(function, at, n);
	function[n] = '\0';
	return true;
}

static void append(char *out, size_t out_len, const char *text, size_t len)
{
	size_t used = strlen(out);

	if (used + 1 >= out_len)
		return;
	if (len > out_len - used - 1)
		len = out_len - used - 1;
	for (size_t i = 0; i < len; i++)
		out[used + i] = iscntrl((unsigned char)text[i]) ? ' ' : text[i];
	out[used + len] = '\0';
}

void refusal_from_text(const char *said, struct refusal *out)
{
	*out = (struct refusal){.sqlstate = ""};
	while (*said != '\0') {
		size_t len = strcspn(said, "\n");
		const char *line = said;
		const char *state;
		char function[sizeof(out->function)] = "";

		said += len + (said[len] == '\n');
		while (len > 0 && isspace((unsigned char)*line)) {
			line++;
			len--;
		}
		if (len == 0)
			continue;
		if (location_in(line, len, function, sizeof(function))) {
			memcpy(out->function, function, sizeof(function));
			continue;
		}
		if (out->text[0] != '\0')
			append(out->text, sizeof(out->text), "; ", 2);
		state = sqlstate_in(line, len);
		if (state != NULL) {
			memcpy(out->sqlstate, state, SQLSTATE_MAX - 1);
			append(out->text, sizeof(out->text), line, (size_t)(state - line) - 1);
			len -= (size_t)(state - line) + 7;
			line = state + 7;
		}
		append(out->text, sizeof(out->text), line, len);
	}
}

/* The server's view of our address, which differs from ours behind NAT: the first quoted word of
 * its message that is an address. */
static bool address_in(const char *text, char *out, size_t out_len)
{
	for (const char *at = strchr(text, '"'); at != NULL; at = strchr(at + 1, '"')) {
		size_t n = strcspn(at + 1, "\"");
		unsigned char binary[16];

		if (n == 0 || n >= out_len)
			continue;
		memcpy(out, at + 1, n);
		out[n] = '\0';
		if (inet_pton(AF_INET, out, binary) == 1 || inet_pton(AF_INET6, out, binary) == 1)
			return true;
	}
	return false;
}

/* A name in pg_hba.conf: quoted unless it is plain and no keyword there. */
static void hba_name(const char *name, char *out, size_t out_len)
{
	bool plain = name[0] != '\0' &&
		     name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0' &&
		     strcmp(name, "all") != 0 && strcmp(name, "replication") != 0 &&
		     strcmp(name, "sameuser") != 0 && strcmp(name, "samerole") != 0;

	(void)snprintf(out, out_len, plain ? "%s" : "\"%s\"", name); /* a cut hint is still one */
}

void refusal_hba_line(const struct refusal *refusal, const struct refusal_scene *scene, char *out,
		      size_t out_len)
{
	char address[64];
	char user[192];
	char database[192] = "replication";

	hba_name(scene->user, user, sizeof(user));
	if (scene->kind == SESSION_SQL)
		hba_name(scene->database, database, sizeof(database));
	if (!address_in(refusal->text, address, sizeof(address)))
		(void)snprintf(address, sizeof(address), "%s", scene->address);
	if (address[0] == '\0' && (scene->host[0] == '/' || scene->host[0] == '@')) {
		(void)snprintf(out, out_len, "local %s %s peer", database, user);
		return;
	}
	(void)snprintf(out, out_len, "%s %s %s %s%s scram-sha-256", scene->tls ? "hostssl" : "host",
		       database, user, address[0] != '\0' ? address : "ADDRESS",
		       strchr(address, ':') != NULL ? "/128" : "/32");
}

/* libpq's own words: they are about this side, the network or the protocol. */
static enum err kind_of_words(const struct refusal *refusal, const struct refusal_scene *scene)
{
	static const char *const broken[] = {"closed the connection", "could not receive",
					     "could not send", "SYSCALL error"};
	static const char *const proof[] = {"authentication", "channel binding", "SCRAM",
					    "password"};

	if (scene->needs_password)
		return ERR_DENIED;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		if (strstr(refusal->text, broken[i]) != NULL)
			return ERR_TRANSIENT;
	if (scene->phase == REFUSAL_TLS)
		return ERR_DENIED;
	if (scene->phase == REFUSAL_CONNECTING)
		return strncmp(refusal->text, "invalid ", 8) == 0 ? ERR_CONFIG : ERR_TRANSIENT;
	for (size_t i = 0; i < sizeof(proof) / sizeof(proof[0]); i++)
		if (strstr(refusal->text, proof[i]) != NULL)
			return ERR_DENIED;
	return strncmp(refusal->text, "expected ", 9) == 0 ? ERR_PEER : ERR_TRANSIENT;
}

static enum err kind_of(const struct refusal *refusal, const struct refusal_scene *scene)
{
	if (refusal->sqlstate[0] == '\0')
		return kind_of_words(refusal, scene);
	if (is_class(refusal->sqlstate, "3D000"))
		return ERR_CONFIG;
	/* No free connection or walsender now is no refusal of this command but of this moment. */
	if (is_class(refusal->sqlstate, "53"))
		return ERR_TRANSIENT;
	return refusal_kind(refusal->sqlstate);
}

static void hint_no_proof(const struct refusal_scene *scene, struct error *why)
{
	bool socket = scene->host[0] == '/';

	error_hint(why,
		   "put the password into the password file of the user that runs pgagent "
		   "(~/.pgpass, mode 0600):\n  %s:%s:%s:%s:PASSWORD\n"
		   "or set a new one on the server: \\password %s",
		   socket ? "localhost" : scene->host, scene->port, scene->database, scene->user,
		   scene->user);
}

static void hint_not_authorized(const struct refusal *refusal, const struct refusal_scene *scene,
				struct error *why)
{
	char line[512];

	if (strcmp(refusal->function, "InitializeSessionUserId") == 0) {
		error_hint(why,
			   "create the role, or let it log in, on the server:\n"
			   "  CREATE ROLE \"%s\" LOGIN%s;\n  ALTER ROLE \"%s\" LOGIN;",
			   scene->user, scene->kind == SESSION_REPLICATION ? " REPLICATION" : "",
			   scene->user);
		return;
	}
	refusal_hba_line(refusal, scene, line, sizeof(line));
	if (strcmp(refusal->function, "auth_failed") == 0 && strncmp(line, "local", 5) == 0)
		error_hint(why,
			   "peer authentication needs an operating system user named like the "
			   "role: run as that user, map it in pg_ident.conf, or use a password "
			   "with this line above the others in pg_hba.conf:\n  %.*sscram-sha-256",
			   (int)(strlen(line) - strlen("peer")), line);
	else
		error_hint(why,
			   "add this line to pg_hba.conf on the server, above any that rejects, "
			   "then SELECT pg_reload_conf():\n  %s",
			   line);
}

static void hint_for(const struct refusal *refusal, const struct refusal_scene *scene,
		     enum err kind, struct error *why)
{
	bool replication = scene->kind == SESSION_REPLICATION;

	if (is_class(refusal->sqlstate, "28P01") || scene->needs_password)
		hint_no_proof(scene, why);
	else if (is_class(refusal->sqlstate, "28"))
		hint_not_authorized(refusal, scene, why);
	else if (is_class(refusal->sqlstate, "42501") && replication)
		error_hint(why, "on the server: ALTER ROLE \"%s\" REPLICATION;", scene->user);
	else if (is_class(refusal->sqlstate, "42501"))
		error_hint(why, "on the server: GRANT CONNECT ON DATABASE \"%s\" TO \"%s\";",
			   scene->database, scene->user);
	else if (is_class(refusal->sqlstate, "53") && replication)
		error_hint(why, "look for walsenders that are left over: SELECT * FROM "
				"pg_stat_replication; or raise max_wal_senders");
	else if (is_class(refusal->sqlstate, "3D000"))
		error_hint(why, "list the databases: psql -h %s -p %s -U %s -l", scene->host,
			   scene->port, scene->user);
	else if (scene->phase == REFUSAL_TLS && kind == ERR_DENIED)
		error_hint(why,
			   "name the server's authority in conninfo (sslrootcert=FILE) and the "
			   "host as its certificate does; sslmode=require encrypts without "
			   "checking who answers");
	else if (kind == ERR_CONFIG)
		error_hint(why, "look at conninfo: pgagent config show prints what is configured");
	else if (refusal->sqlstate[0] == '\0' && kind == ERR_TRANSIENT)
		error_hint(why, "see whether it answers: pg_isready -h %s -p %s", scene->host,
			   scene->port);
}

enum err refusal_explain(const struct refusal *refusal, const struct refusal_scene *scene,
			 struct error *why)
{
	enum err kind = kind_of(refusal, scene);

	if (why == NULL)
		return kind;
	if (refusal->sqlstate[0] != '\0')
		(void)error_set(why, kind, "connect: %s@%s:%s/%s: %s (SQLSTATE %s)", scene->user,
				scene->host, scene->port, scene->database, refusal->text,
				refusal->sqlstate);
	else
		(void)error_set(why, kind, "connect: %s@%s:%s/%s: %s", scene->user, scene->host,
				scene->port, scene->database, refusal->text);
	hint_for(refusal, scene, kind, why);
	return kind;
}
