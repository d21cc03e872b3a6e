/* commands/check_trip.c - the archiving round trip: a restore point goes into the WAL, its segment through
 * archive_command into every sync repository, and back by what archive-get does.
 *
 * The happy path: (1) a restore point of a name that nobody else has; (2) pg_switch_wal, so that the segment
 * is finished; (3) wait until every repository has it, archive_wait at most; (4) read it back from each
 * and find the name in it.  It costs one segment switch.  --nagios, which comes every minute, only compares
 * what the server says it archived last with what is there.
 */
#include "base/text.h"
#include "commands/check.h"
#include "commands/command_line.h"
#include "wal/archive.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	LOOK_EVERY_US = 100 * 1000,
	FAILURES_MAX = 3, /* the archiver tries so often, then rests for a minute */
	POINT_MAX = 32,
	PAGE_HEADER_BYTES = 24,
	PAGE_HEADER_LONG_BYTES = 40
};

struct trip {
	struct check *check;
	struct cluster cluster[PLACES_MAX]; /* of the sync repositories that can be used */
	const struct place *place[PLACES_MAX];
	size_t count;
	char point[POINT_MAX];   /* the restore point's name */
	char text[WAL_NAME_MAX]; /* of the segment */
	struct wal_name name;
	uint32_t segment_bytes;
	struct archiver before, now;
	int64_t began_us;
};

bool check_segment_holds(struct bytes segment, const char *text)
{
	size_t len = strlen(text), used = 0;
	uint8_t *records = malloc(segment.len);
	bool found;

	if (records == NULL)
		return false;
	for (size_t at = 0; at + WAL_PAGE_BYTES <= segment.len; at += WAL_PAGE_BYTES) {
		size_t header = at == 0 ? PAGE_HEADER_LONG_BYTES : PAGE_HEADER_BYTES;

		memcpy(records + used, segment.data + at + header, WAL_PAGE_BYTES - header);
		used += WAL_PAGE_BYTES - header;
	}
	found = memmem(records, used, text, len) != NULL;
	free(records);
	return found;
}

/* ---- what a mere look can tell ---- */

static enum err find_in_all(const struct trip *t, const struct wal_name *name, size_t *at,
			    struct error *why)
{
	enum err e = ERR_NONE;

	for (*at = 0; *at < t->count; (*at)++) {
		e = wal_is_there(&t->cluster[*at], name, why);
		if (e != ERR_NONE)
			break;
	}
	return e;
}

static void not_there(struct trip *t, const char *segment, size_t at, const struct error *why)
{
	struct check *c = t->check;

	c->only_config = false;
	check_say(c, CHECK_ERROR, "archiving",
		  "archive_command leads elsewhere: pgagent init prints the line for this "
		  "configuration",
		  "the server says that it archived %s, but repository %s does not have it: %s",
		  segment, place_name(t->place[at]), why->text);
}

/* `unproven` says why there is no round trip. */
static void look(struct trip *t, const char *unproven, const char *hint)
{
	struct check *c = t->check;
	struct archiver a;
	struct wal_name name;
	struct error why;
	size_t at;
	enum err e;

	if (!check_archiver_ask(c, &a) || wal_name_from_text(a.last, &name, &why) != ERR_NONE) {
		check_say(c, CHECK_UNPROVEN, "archiving", hint, "%s", unproven);
		return;
	}
	e = find_in_all(t, &name, &at, &why);
	if (e == ERR_MISSING && a.last_is_recent)
		not_there(t, a.last, at, &why);
	else if (e == ERR_NONE)
		check_say(c, CHECK_UNPROVEN, "archiving", hint,
			  "%s; %s, archived at %s, is in every repository", unproven, a.last,
			  a.last_at);
	else
		check_say(c, CHECK_UNPROVEN, "archiving", hint, "%s", unproven);
}

/* ---- the round trip ---- */

/* Steps 1 and 2. */
static enum err set_out(struct trip *t, struct error *why)
{
	struct check *c = t->check;
	const char *point[] = {t->point};
	struct rows *rows = NULL;
	uint8_t bits[8];
	char hex[17];
	enum err e = random_fill(c->agent->env.random, bits, sizeof(bits), why);

	if (e != ERR_NONE)
		return e;
	text_of_hex(bytes_of(bits, sizeof(bits)), hex);
	(void)snprintf(t->point, sizeof(t->point), "pgagent check %s", hex); /* fits */
	e = session_query_params(c->sql,
				 "SELECT pg_catalog.pg_walfile_name("
				 "pg_catalog.pg_create_restore_point($1)), "
				 "pg_catalog.pg_size_bytes(pg_catalog.current_setting("
				 "'wal_segment_size'))",
				 1, point, &rows, why);
	if (e != ERR_NONE)
		return e;
	(void)snprintf(t->text, sizeof(t->text), "%s", rows_value(rows, 0, 0)); /* 24 digits */
	t->segment_bytes = (uint32_t)strtoul(rows_value(rows, 0, 1), NULL, 10);
	rows_free(rows);
	rows = NULL;
	e = wal_name_from_text(t->text, &t->name, why);
	if (e == ERR_NONE)
		e = session_query(c->sql, "SELECT pg_catalog.pg_switch_wal()", &rows, why);
	rows_free(rows);
	return e;
}

/* The command that shows the archiver's failure to a person. */
static void say_failed(struct trip *t, const char *event)
{
	struct check *c = t->check;
	char push[COMMAND_LINE_MAX], hint[COMMAND_LINE_MAX + 256];
	struct error why;

	if (command_line_for(c->agent, "archive-push", NULL, c->config->section.name, push, &why) !=
	    ERR_NONE)
		(void)snprintf(push, sizeof(push), "pgagent archive-push"); /* fits */
	(void)snprintf(hint, sizeof(hint),
		       CHECK_LOG_HINT "; or see it, in the data directory:\n%s pg_wal/%s", push,
		       t->text); /* cut is still text */
	c->only_config = false;
	check_say(c, CHECK_ERROR, "archiving", hint, "%s", event);
}

static void too_late(struct trip *t, size_t missing)
{
	struct check *c = t->check;
	char event[512], took[TEXT_DURATION_MAX];

	text_of_duration(clock_monotonic_us(c->agent->env.clock) - t->began_us, took);
	if (t->now.failed > t->before.failed) {
		(void)snprintf(event, sizeof(event),
			       "segment %s did not arrive: the archiver failed on %s %" PRIu64
			       " time(s) within %s, the last time at %s",
			       t->text, t->now.failed_last, t->now.failed - t->before.failed, took,
			       t->now.failed_at); /* fits */
		say_failed(t, event);
	} else if (t->now.archived > t->before.archived) {
		check_say(c, CHECK_WARNING, "archiving",
			  "the archiver is behind: look at the load of server, network and "
			  "repository",
			  "segment %s did not arrive within %s; the archiver has come to %s",
			  t->text, took, t->now.last);
	} else {
		(void)snprintf(event, sizeof(event),
			       "segment %s did not arrive in repository %s within %s, and the "
			       "archiver says nothing",
			       t->text, place_name(t->place[missing]), took); /* fits */
		say_failed(t, event);
	}
}

/* Step 3.  False: it was said why not. */
static bool wait_for_it(struct trip *t)
{
	struct check *c = t->check;
	const struct env *env = &c->agent->env;
	struct progress waiting = {.phase = "waiting for the archiver"};

	for (;;) {
		bool asked = check_archiver_ask(c, &t->now);
		struct error why;
		size_t at;
		enum err e = find_in_all(t, &t->name, &at, &why);

		if (e == ERR_NONE)
			return true;
		if (e == ERR_MISSING && asked && strcmp(t->now.last, t->text) == 0) {
			not_there(t, t->text, at, &why);
			return false;
		}
		if (*env->cancelled)
			e = error_set(&why, ERR_CANCELLED, "check: stopped on request");
		if (e != ERR_MISSING) {
			check_fail(c, "archiving", &why);
			return false;
		}
		if (clock_monotonic_us(env->clock) - t->began_us >= c->config->archive_wait_us ||
		    t->now.failed - t->before.failed >= FAILURES_MAX) {
			too_late(t, at);
			return false;
		}
		observer_progress(env->observer, &waiting);
		clock_sleep_us(env->clock, LOOK_EVERY_US);
	}
}

/* Step 4. */
static enum err read_back(const struct trip *t, size_t at, struct error *why)
{
	struct wal_archive archive = {.cluster = {t->cluster[at]}, .count = 1};
	uint8_t *data = NULL;
	size_t len = 0;
	enum err e = wal_archive_read(&t->check->agent->env, &archive, &t->name, t->segment_bytes,
				      &data, &len, why);

	if (e == ERR_NONE)
		e = wal_check_segment(&t->cluster[at], &t->name, t->segment_bytes,
				      bytes_of(data, len), why);
	if (e == ERR_NONE && !check_segment_holds(bytes_of(data, len), t->point))
		e = error_set(why, ERR_CORRUPT, "the restore point \"%s\" is not in it", t->point);
	free(data);
	return e == ERR_NONE ? e
			     : error_add(why, "segment %s, read back from repository %s", t->text,
					 place_name(t->place[at]));
}

static void go(struct trip *t)
{
	struct check *c = t->check;
	struct clock *clock = c->agent->env.clock;
	char took[TEXT_DURATION_MAX];
	int64_t arrived_us;
	struct error why;
	enum err e = ERR_NONE;

	if (!check_archiver_ask(c, &t->before))
		e = error_set(&why, ERR_PEER, "the archiver's statistics can't be read");
	t->began_us = clock_monotonic_us(clock);
	if (e == ERR_NONE)
		e = set_out(t, &why);
	if (e != ERR_NONE) {
		check_say(c, CHECK_UNPROVEN, "archiving", NULL, "%s", why.text);
		return;
	}
	if (!wait_for_it(t))
		return;
	(void)snprintf(c->arrived, sizeof(c->arrived), "%s", t->text); /* 24 digits */
	arrived_us = clock_monotonic_us(clock) - t->began_us;
	text_of_duration(arrived_us, took);
	for (size_t i = 0; i < t->count && e == ERR_NONE; i++)
		e = read_back(t, i, &why);
	if (e != ERR_NONE)
		check_fail(c, "archiving", &why);
	else
		check_say(
			c, CHECK_OK, "archiving", NULL,
			"segment %s with restore point \"%s\" was in every repository after %s, and "
			"was read back",
			t->text, t->point, took);
	check_duration(c, "archiving_seconds", arrived_us);
}

/* The repositories that archive-push has to reach before the server forgets a segment. */
static bool gather(struct trip *t)
{
	struct check *c = t->check;

	for (size_t i = 0; i < c->places.count; i++) {
		const struct place *place = &c->places.place[i];

		if (place->config->mode != CONFIG_MODE_SYNC)
			continue;
		if (place->repository == NULL || c->repository_failed)
			return false;
		t->place[t->count] = place;
		cluster_init(&t->cluster[t->count++], place->repository, c->config->section.name,
			     c->system_identifier);
	}
	return t->count > 0 && c->has_system;
}

/* The GRANT that is missing, or "". */
static bool missing_grant(struct check *c, char out[512])
{
	struct rows *rows = check_query(
		c, "archiving",
		"SELECT pg_catalog.has_function_privilege('pg_catalog.pg_switch_wal()', 'EXECUTE') "
		"AND pg_catalog.has_function_privilege('pg_catalog.pg_create_restore_point(text)', "
		"'EXECUTE'), pg_catalog.quote_ident(current_user)");
	const char *may = rows_value(rows, 0, 0);
	bool known = may != NULL;

	out[0] = '\0';
	if (known && *may != 't')
		(void)snprintf(out, 512,
			       "GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal(), "
			       "pg_catalog.pg_create_restore_point(text) TO %.128s;",
			       rows_value(rows, 0, 1)); /* fits */
	rows_free(rows);
	return known;
}

void check_round_trip(struct check *c)
{
	struct trip t = {.check = c};
	char grant[512];

	if (c->sql == NULL)
		check_say(c, CHECK_UNPROVEN, "archiving", NULL,
			  "the round trip needs an ordinary connection (sql_connection above)");
	else if (c->in_recovery)
		check_say(c, CHECK_UNPROVEN, "archiving", "let conninfo be the primary's",
			  "a standby can't begin the round trip");
	else if (c->config->wal_streaming)
		check_say(c, CHECK_UNPROVEN, "archiving", NULL,
			  "WAL is streamed: there is no archive_command to try");
	else if (!c->archives)
		check_say(c, CHECK_UNPROVEN, "archiving", NULL,
			  "archive_mode or archive_command do not lead here (above)");
	else if (!gather(&t))
		check_say(c, CHECK_UNPROVEN, "archiving", NULL,
			  "a repository can't be used (above)");
	else if (!missing_grant(c, grant))
		return; /* said */
	else if (grant[0] != '\0')
		look(&t, "the role may not begin the round trip", grant);
	else if (c->quiet)
		look(&t, "--nagios switches no segment", "pgagent check");
	else
		go(&t);
}
