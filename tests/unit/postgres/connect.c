/* tests/unit/postgres/connect.c - which settings hold, and what refusals mean. */
#include "base/env.h"
#include "postgres/connect_internal.h"
#include "postgres/refusal.h"
#include "postgres/session.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

Test(connect, sockets_and_loopback_are_local)
{
	cr_expect(connect_is_local(NULL, NULL));
	cr_expect(connect_is_local("", ""));
	cr_expect(connect_is_local("/run/postgresql", NULL));
	cr_expect(connect_is_local("@abstract", NULL));
	cr_expect(connect_is_local("LocalHost", NULL));
	cr_expect(connect_is_local("127.8.0.1", NULL));
	cr_expect(connect_is_local("::1", NULL));
	cr_expect(connect_is_local("db.example", "127.0.0.1"));
	cr_expect_not(connect_is_local("localhost", "192.0.2.1"));
	cr_expect_not(connect_is_local("localhost.example", NULL));
	cr_expect_not(connect_is_local("127.example", NULL));
	cr_expect_not(connect_is_local("192.0.2.1", NULL));
}

Test(connect, sslmode_is_verify_full_unless_something_is_said)
{
	cr_expect_str_eq(connect_sslmode("prefer", false, "db.example", NULL), "verify-full");
	cr_expect_str_eq(connect_sslmode(NULL, false, "db.example", NULL), "verify-full");
	cr_expect_str_eq(connect_sslmode("prefer", true, "db.example", NULL), "prefer");
	cr_expect_str_eq(connect_sslmode("disable", false, "db.example", NULL), "disable");
	cr_expect_str_eq(connect_sslmode("require", false, "localhost", NULL), "require");
	cr_expect_str_eq(connect_sslmode("prefer", false, "/run", NULL), "prefer");
	cr_expect_str_eq(connect_sslmode("prefer", false, "localhost", "192.0.2.1"), "verify-full");
}

Test(connect, the_wait_is_bounded_unless_conninfo_says_otherwise)
{
	cr_expect_eq(connect_timeout_s(0, NULL), 10);
	cr_expect_eq(connect_timeout_s(3, "60"), 3);
	cr_expect_eq(connect_timeout_s(0, "60"), 60);
	cr_expect_eq(connect_timeout_s(0, "1"), 2);
	cr_expect_eq(connect_timeout_s(0, "0"), 0);
	cr_expect_eq(connect_timeout_s(0, "soon"), 10);
	cr_expect_eq(connect_timeout_s(0, "99999999999999999999"), 86400);
}

Test(connect, lists_of_hosts_are_taken_apart)
{
	char element[CONNECT_ELEMENT_MAX];

	cr_expect_eq(connect_list_len(NULL), 0);
	cr_expect_eq(connect_list_len("a,b,,c"), 4);
	connect_list_element("a,bb,,c", 1, element);
	cr_expect_str_eq(element, "bb");
	connect_list_element("a,bb,,c", 2, element);
	cr_expect_str_eq(element, "");
	connect_list_element("a,bb,,c", 3, element);
	cr_expect_str_eq(element, "c");
	connect_list_element("a,b", 2, element);
	cr_expect_str_eq(element, "");
	connect_list_element("5432", 7, element); /* one port for every host */
	cr_expect_str_eq(element, "5432");
}

Test(session, malformed_conninfo_is_a_configuration_error_without_the_password)
{
	static const char *const texts[] = {"host=x password=very secret",
					    "no equals sign here",
					    "postgresql://u:secret@h/x?colour=red",
					    "colour=red",
					    "sslmode=maybe host=x",
					    "host=a,b port=1,2,3",
					    "service=no_such_service_here"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct env env = env_os();
		const struct session_options options = {.conninfo = texts[i]};
		struct session *s = NULL;
		struct error why = {.kind = ERR_NONE};

		cr_expect_eq(session_open(&env, &options, &s, &why), ERR_CONFIG, "%s", texts[i]);
		cr_expect_null(s);
		cr_expect(strstr(why.text, "conninfo") != NULL, "%s", why.text);
		cr_expect_null(strstr(why.text, "secret"), "%s", why.text);
		cr_expect_neq(why.hint[0], '\0');
	}
}

Test(session, a_socket_nobody_listens_on_is_transient)
{
	struct env env = env_os();
	const struct session_options options = {.conninfo = "host=/nonexistent user=u"};
	struct session *s = NULL;
	struct error why = {.kind = ERR_NONE};

	cr_expect_eq(session_open(&env, &options, &s, &why), ERR_TRANSIENT);
	cr_expect(strstr(why.text, "/nonexistent") != NULL, "%s", why.text);
	cr_expect(strstr(why.hint, "pg_isready -h /nonexistent") != NULL, "%s", why.hint);
}

Test(session, quoting_doubles_quotes_and_keeps_its_bounds)
{
	char out[16];
	char longer[1026];
	struct error why;

	cr_assert_eq(session_quote("it's", '\'', out, sizeof(out), &why), ERR_NONE);
	cr_expect_str_eq(out, "'it''s'");
	cr_assert_eq(session_quote("", '"', out, 3, &why), ERR_NONE);
	cr_expect_str_eq(out, "\"\"");
	cr_expect_eq(session_quote("ab", '"', out, 4, &why), ERR_LIMIT);
	cr_expect_eq(session_quote("a\"", '"', out, 5, &why), ERR_LIMIT);
	memset(longer, 'a', sizeof(longer));
	longer[1025] = '\0';
	cr_expect_eq(session_quote(longer, '\'', out, sizeof(out), &why), ERR_CONFIG);
}

static struct refusal_scene scene(enum session_kind kind, const char *host)
{
	return (struct refusal_scene){.kind = kind,
				      .phase = REFUSAL_AUTHENTICATING,
				      .user = "pgagent",
				      .host = host,
				      .port = "5432",
				      .database = kind == SESSION_SQL ? "app" : "replication",
				      .address = host[0] == '/' ? "" : "10.0.0.7"};
}

static enum err explain(const char *said, const struct refusal_scene *s, struct error *why)
{
	struct refusal refusal;

	refusal_from_text(said, &refusal);
	return refusal_explain(&refusal, s, why);
}

Test(refusal, a_missing_hba_line_is_printed_whatever_the_language)
{
	struct refusal_scene s = scene(SESSION_REPLICATION, "db.example");
	struct error why;

	cr_expect_eq(
		explain("connection to server at \"db.example\" (192.0.2.9), port 5432 failed: "
			"SCHWERWIEGEND:  28000: kein pg_hba.conf-Eintrag für Host "
			"»10.0.0.7«\nLOCATION:  ClientAuthentication, auth.c:544\n",
			&s, &why),
		ERR_DENIED);
	cr_expect(strstr(why.hint, "host replication pgagent 10.0.0.7/32 scram-sha-256") != NULL,
		  "%s", why.hint);
	cr_expect_null(strstr(why.text, "auth.c"), "%s", why.text);
	cr_expect(strstr(why.text, "28000") != NULL, "%s", why.text);
}

Test(refusal, the_hba_line_has_the_address_the_server_saw)
{
	struct refusal_scene s = scene(SESSION_SQL, "db.example");
	struct error why;

	s.tls = true;
	s.user = "Odd Name";
	cr_expect_eq(
		explain("connection to server at \"db.example\" (192.0.2.9), port 5432 failed: "
			"FATAL:  28000: no pg_hba.conf entry for host \"2001:db8::7\", user "
			"\"Odd Name\"\nLOCATION:  ClientAuthentication, auth.c:544\n",
			&s, &why),
		ERR_DENIED);
	cr_expect(strstr(why.hint, "hostssl app \"Odd Name\" 2001:db8::7/128 scram-sha-256") !=
			  NULL,
		  "%s", why.hint);
}

Test(refusal, a_socket_gets_a_local_hba_line)
{
	struct refusal_scene s = scene(SESSION_REPLICATION, "/run/postgresql");
	struct error why;

	cr_expect_eq(explain("FATAL:  28000: no entry\nLOCATION:  ClientAuthentication, auth.c:5\n",
			     &s, &why),
		     ERR_DENIED);
	cr_expect(strstr(why.hint, "local replication pgagent peer") != NULL, "%s", why.hint);
	cr_expect_eq(explain("FATAL:  28000: Peer authentication failed for user \"pgagent\"\n"
			     "LOCATION:  auth_failed, auth.c:338\n",
			     &s, &why),
		     ERR_DENIED);
	cr_expect(strstr(why.hint, "local replication pgagent scram-sha-256") != NULL, "%s",
		  why.hint);
	cr_expect(strstr(why.hint, "pg_ident.conf") != NULL, "%s", why.hint);
}

Test(refusal, every_sqlstate_of_a_connection_has_its_kind_and_next_step)
{
	static const struct {
		const char *said;
		enum err kind;
		const char *hint;
	} table[] = {
		{"F:  28P01: no", ERR_DENIED, ".pgpass"},
		{"F:  28000: no role\nL:  InitializeSessionUserId, miscinit.c:7", ERR_DENIED,
		 "CREATE ROLE \"pgagent\" LOGIN REPLICATION"},
		{"F:  42501: no", ERR_DENIED, "ALTER ROLE \"pgagent\" REPLICATION;"},
		{"F:  53300: no", ERR_TRANSIENT, "max_wal_senders"},
		{"F:  57P03: starting", ERR_TRANSIENT, ""},
		{"F:  3D000: no", ERR_CONFIG, "psql"},
		{"F:  08P01: what", ERR_TRANSIENT, ""},
		{"F:  0A000: what", ERR_PEER, ""},
		{"server closed the connection unexpectedly", ERR_TRANSIENT, "pg_isready"},
		{"expected authentication request from server, but received H", ERR_DENIED, ""},
		{"expected something else", ERR_PEER, ""},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct refusal_scene s = scene(SESSION_REPLICATION, "db.example");
		struct error why = {.kind = ERR_NONE};

		cr_expect_eq(explain(table[i].said, &s, &why), table[i].kind, "%s", table[i].said);
		cr_expect(strstr(why.hint, table[i].hint) != NULL, "%s: %s", table[i].said,
			  why.hint);
		cr_expect(strstr(why.text, "pgagent@db.example:5432") != NULL, "%s", why.text);
	}
}

Test(refusal, what_is_no_sqlstate_is_not_taken_for_one)
{
	struct refusal refusal;

	refusal_from_text("could not connect:  28000\n", &refusal);
	cr_expect_str_eq(refusal.sqlstate, "");
	refusal_from_text("x:  2800a: y\n", &refusal);
	cr_expect_str_eq(refusal.sqlstate, "");
	refusal_from_text("", &refusal);
	cr_expect_str_eq(refusal.text, "");
	refusal_from_text("one\n\ttwo\x01\n", &refusal);
	cr_expect_str_eq(refusal.text, "one; two ");
}

Test(refusal, tls_that_fails_needs_a_person_unless_the_network_broke)
{
	struct refusal_scene s = scene(SESSION_REPLICATION, "db.example");
	struct error why;

	s.phase = REFUSAL_TLS;
	cr_expect_eq(explain("SSL error: certificate verify failed\n", &s, &why), ERR_DENIED);
	cr_expect(strstr(why.hint, "sslrootcert") != NULL, "%s", why.hint);
	cr_expect_eq(explain("SSL SYSCALL error: EOF detected\n", &s, &why), ERR_TRANSIENT);
}

Test(refusal, kinds_of_commands_follow_the_contract)
{
	cr_expect_eq(refusal_kind("42501"), ERR_DENIED);
	cr_expect_eq(refusal_kind("28000"), ERR_DENIED);
	cr_expect_eq(refusal_kind("42704"), ERR_MISSING);
	cr_expect_eq(refusal_kind("58P01"), ERR_MISSING);
	cr_expect_eq(refusal_kind("55000"), ERR_MISSING);
	cr_expect_eq(refusal_kind("42710"), ERR_EXISTS);
	cr_expect_eq(refusal_kind("53400"), ERR_LIMIT);
	cr_expect_eq(refusal_kind("57P01"), ERR_TRANSIENT);
	cr_expect_eq(refusal_kind("42601"), ERR_PEER);
	cr_expect_eq(refusal_kind("XX001"), ERR_PEER);
}
