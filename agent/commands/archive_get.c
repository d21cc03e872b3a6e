/* commands/archive_get.c - `pgagent archive-get FILE DEST`, for restore_command.
 *
 * PostgreSQL reads 1 to 125 as "the archive ends here" and promotes; so 1 is said only of what is
 * proven absent, and everything else is 200, after trying again for archive_get_timeout while a
 * restore runs.  A standby is different: it never ends recovery on 1 and would go down on 200, so
 * it gets its answer within standby_patience_us and asks again by itself.
 *
 * The last question of a promotion is the history of the timeline that is left, and comes when the signal
 * file is already gone: a 200 there takes down a server that starts again on the old timeline, as if it had
 * never been promoted.  Timeline 1 has no history, whatever can be reached; any other that the server
 * followed lies in its pg_wal, which it takes when the answer is 1.
 */
#include "agent.h"
#include "base/file.h"
#include "base/text.h"
#include "commands/commands.h"
#include "places.h"
#include "repo/pins.h"
#include "subject.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { EXIT_ABSENT = 1 };

/* A promotion asks up to four times, one question behind the other, and is to be over in 10 s. */
static const int64_t standby_patience_us = 1000000;
static const int64_t default_patience_us = INT64_C(600) * 1000000;
static const int64_t retry_first_us = 250 * 1000;
static const int64_t retry_max_us = 10 * 1000000;
static const int64_t heartbeat_every_us = 60 * 1000000;

/* In which kind of recovery is the server whose data directory this is? */
enum recovery { RECOVERY_NONE, RECOVERY_RESTORE, RECOVERY_STANDBY };

static enum recovery recovery_here(const struct agent *agent)
{
	struct files *files = agent->env.files;
	struct stat st;

	if (files->ops->stat(files, AT_FDCWD, "standby.signal", 0, &st) == 0)
		return RECOVERY_STANDBY;
	if (files->ops->stat(files, AT_FDCWD, "recovery.signal", 0, &st) == 0)
		return RECOVERY_RESTORE;
	return RECOVERY_NONE;
}

struct newest_pin {
	uint64_t n;
	int64_t stored_at_us;
	bool any;
};

static enum err visit_pin(void *ctx, const struct store_object *object, struct error *why)
{
	struct newest_pin *newest = ctx;
	const char *slash = strrchr(object->key, '/');

	(void)why;
	if (slash == NULL || !text_to_u64(bytes_of_text(slash + 1), &newest->n))
		return ERR_NONE;
	newest->stored_at_us = object->stored_at_us;
	newest->any = true;
	return ERR_NONE;
}

/* Keeps the restore's pin alive; that it can't be is no reason to withhold WAL. */
static void keep_pin(struct agent *agent, const struct subject *subject, const char *holder)
{
	for (size_t i = 0; i < subject->archive.count; i++) {
		const struct cluster *cluster = &subject->archive.cluster[i];
		struct newest_pin newest = {.any = false};
		struct pin_seen seen;
		int64_t age_us;
		struct pin pin = {.kind = "recovery"};
		char prefix[STORE_KEY_MAX];
		struct error why;
		enum err e;

		(void)snprintf(pin.holder, sizeof(pin.holder), "%s", holder); /* cut: not found */
		(void)snprintf(prefix, sizeof(prefix), "%spins/%s/", cluster->prefix,
			       pin.holder); /* fits */
		e = store_list(cluster->repository->store, prefix, visit_pin, &newest, &why);
		age_us = clock_now_us(agent->env.clock) - newest.stored_at_us;
		/* Ahead of a clock that was set back it would not be renewed until that caught up. */
		if (e == ERR_NONE && newest.any && age_us >= 0 && age_us < heartbeat_every_us)
			continue;
		/* What it names is what it protects; one that ended stays ended. */
		if (e == ERR_NONE)
			e = pins_read_holder(cluster, pin.holder, &seen, &why);
		if (e == ERR_NONE) {
			pin.n = seen.n + 1;
			pin.has_backup = seen.backups > 0;
			pin.backup = seen.backup[0];
			pin.start = seen.start;
			pin.timeline = seen.timeline;
			e = pin_put(cluster, &pin, &why);
		}
		if (e != ERR_NONE)
			log_event(&agent->log, LEVEL_DEBUG, "pin %s not renewed: %s", holder,
				  why.text);
	}
}

/* Of the first repository that has one. */
static enum err read_identity(const struct subject *subject, struct identity *out,
			      struct error *why)
{
	enum err e = ERR_MISSING;

	for (size_t i = 0; e != ERR_NONE && i < subject->archive.count; i++)
		e = identity_read(&subject->archive.cluster[i], out, why);
	return e;
}

/* Repositories and cluster: by the data directory this runs in, else by the configuration alone. */
static enum err open_subject(struct agent *agent, struct places *places, struct subject *subject,
			     uint32_t *segment_bytes, struct error *why)
{
	const struct config_cluster *config = NULL;
	struct identity identity;
	uint64_t system = 0;
	enum err e = subject_read_control(agent, AT_FDCWD, &system, segment_bytes, why);

	if (e == ERR_NONE) {
		e = subject_open_of_system(agent, system, places, subject, why);
		/* ERR_MISSING means "proven absent"; a repository that is not there proves nothing. */
		return e == ERR_MISSING ? (why->kind = ERR_TRANSIENT) : e;
	}
	e = subject_config(agent, &config, why);
	if (e == ERR_NONE)
		e = places_open_to_read(agent, config, places, why);
	if (e == ERR_MISSING)
		return why->kind = ERR_TRANSIENT;
	if (e == ERR_NONE)
		e = subject_of_stored(agent, places, config, subject, why);
	if (e == ERR_NONE)
		e = read_identity(subject, &identity, why);
	if (e == ERR_NONE)
		*segment_bytes = identity.wal_segment_bytes;
	return e == ERR_MISSING ? (why->kind = ERR_CONFIG) : e;
}

/* One attempt, from opening the repositories to the delivered file. */
static enum err get_once(struct agent *agent, const struct wal_name *name, const char *dest,
			 struct error *why)
{
	const char *pin = option_text(&agent->options, OPTION_PIN);
	struct places places = {.count = 0};
	struct subject subject = {.config = NULL};
	uint32_t segment_bytes = 0;
	enum err e = open_subject(agent, &places, &subject, &segment_bytes, why);

	if (e == ERR_NONE && pin != NULL)
		keep_pin(agent, &subject, pin);
	if (e == ERR_NONE)
		e = wal_archive_get(&agent->env, &subject.archive, name, segment_bytes, AT_FDCWD,
				    dest, why);
	if (e == ERR_MISSING && places.silent > 0) {
		e = why->kind = ERR_TRANSIENT;
		(void)error_add(why, "%zu repositor%s did not answer, so nothing is proven absent",
				places.silent, places.silent == 1 ? "y" : "ies");
	}
	places_close(&places);
	return e;
}

/* What another try may mend; damage, holes and wrong keys stay what they are. */
static bool may_pass(enum err e)
{
	return e == ERR_TRANSIENT || e == ERR_IO || e == ERR_UNSURE || e == ERR_LIMIT ||
	       e == ERR_FULL || e == ERR_MEMORY;
}

static int64_t patience_us(struct agent *agent, enum recovery recovery)
{
	const struct config_cluster *config = NULL;
	struct error why;

	if (recovery != RECOVERY_RESTORE)
		return recovery == RECOVERY_STANDBY ? standby_patience_us : 0;
	if (subject_config(agent, &config, &why) == ERR_NONE && config != NULL)
		return config->archive_get_timeout_us;
	return default_patience_us;
}

static enum err get_patiently(struct agent *agent, const struct wal_name *name, const char *dest,
			      enum recovery recovery, struct error *why)
{
	struct clock *clock = agent->env.clock;
	int64_t deadline = clock_monotonic_us(clock) + patience_us(agent, recovery);
	int64_t pause = retry_first_us;
	enum err e;

	for (;;) {
		int64_t left;

		e = get_once(agent, name, dest, why);
		left = deadline - clock_monotonic_us(clock);
		if (!may_pass(e) || left <= 0 || *agent->env.cancelled)
			return e;
		if (pause > left)
			pause = left;
		log_event(&agent->log, LEVEL_WARNING,
			  "%s not delivered, trying again for %" PRId64 " s: %s",
			  agent->options.arguments[0], left / 1000000, why->text);
		clock_sleep_us(clock, pause);
		pause = pause * 2 < retry_max_us ? pause * 2 : retry_max_us;
	}
}

/* The server that asks has it, and is asking for something that may be newer. */
static bool server_has_history(const struct agent *agent, const struct wal_name *name)
{
	struct files *files = agent->env.files;
	char text[WAL_NAME_MAX], path[WAL_NAME_MAX + 8];
	struct stat st;

	if (name->kind != WAL_NAME_HISTORY)
		return false;
	wal_name_to_text(name, text);
	(void)snprintf(path, sizeof(path), "pg_wal/%s", text); /* fits */
	return files->ops->stat(files, AT_FDCWD, path, 0, &st) == 0 && S_ISREG(st.st_mode);
}

/* Of timeline 1 nobody ever wrote a history. */
static enum err first_has_none(const struct wal_name *name, struct error *why)
{
	if (name->kind != WAL_NAME_HISTORY || name->timeline != 1)
		return ERR_NONE;
	return error_set(why, ERR_MISSING, "timeline 1 has no history file");
}

int command_archive_get(struct agent *agent)
{
	const char *file = agent->options.arguments[0];
	enum recovery recovery = recovery_here(agent);
	struct wal_name name;
	struct error why;
	enum err e = wal_name_from_text(file, &name, &why);

	if (e == ERR_NONE)
		e = first_has_none(&name, &why);
	if (e == ERR_NONE)
		e = get_patiently(agent, &name, agent->options.arguments[1], recovery, &why);
	if (e == ERR_NONE) {
		report_put(agent->report.root, "file", report_json_text(file));
		return EXIT_DONE;
	}
	if (e == ERR_MISSING) {
		log_event(&agent->log, LEVEL_INFO, "%s", why.text);
		report_put(agent->report.root, "file", report_json_text(file));
		report_put(agent->report.root, "absent", json_true());
		return EXIT_ABSENT;
	}
	if (recovery == RECOVERY_STANDBY ||
	    (recovery == RECOVERY_NONE && e != ERR_CONFIG && server_has_history(agent, &name))) {
		report_error(&agent->report, &why);
		return EXIT_ABSENT;
	}
	return agent_fail(agent, &why);
}
