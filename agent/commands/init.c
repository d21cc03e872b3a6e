/* commands/init.c - `pgagent init`: the repositories of a cluster, their keys, and who the server is.
 *
 * Safe to repeat: what is there is opened and checked, what is missing is made.  All repositories
 * of a cluster are one family: the second takes over the key set of the first, in slots of its own.
 * Order: key file on disk, recovery code shown -> slots -> FORMAT (the repository's commit point), so that no
 * repository ever exists whose key was never written, and no slot whose code was never seen.  Where a repository
 * was seen (`repository-NAME` in the state directory) none is made anew: its file system may not be mounted.
 */
#include "agent.h"
#include "base/file.h"
#include "commands/command_line.h"
#include "commands/commands.h"
#include "documents.h"
#include "escape.h"
#include "lock.h"
#include "places.h"
#include "postgres/replication.h"
#include "repo/admit.h"
#include "repo/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEY_TEXT_MAX = 1024, KNOWN_FILE_MAX = PATH_MAX + 64 };

struct init_run {
	struct agent *agent;
	const struct config_cluster *config;
	struct places places;
	struct key_secret recovery; /* made when the first repository is */
	bool has_recovery;
	char recovery_text[RECOVERY_CODE_TEXT_MAX];
	json_t *repositories;
};

static void known_path(const struct init_run *r, const struct place *place, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/repository-%s", r->agent->config.global.state_directory,
		       place_name(place)); /* cut: not found */
}

/* The archiver would go on into the new one, below the mount point of the old. */
static enum err refuse_another(const struct init_run *r, const struct place *place,
			       struct error *why)
{
	char path[PATH_MAX], was[PATH_MAX], shown[ERROR_HINT_MAX / 2];
	struct files *files = r->agent->env.files;
	uint8_t *text = NULL;
	size_t len = 0;
	enum err e;

	if (place_is_adhoc(r->agent, place->config))
		return ERR_NONE;
	known_path(r, place, path);
	e = file_read_all(files, AT_FDCWD, path, KNOWN_FILE_MAX, &text, &len, why);
	if (e == ERR_NONE && (!lines_get(bytes_of(text, len), "path", was, sizeof(was)) ||
			      strcmp(was, place->config->path) != 0))
		e = ERR_MISSING; /* of a place that is another one now */
	free(text);
	if (e != ERR_NONE)
		return e == ERR_MISSING ? ERR_NONE : e;
	(void)error_set(
		why, ERR_DENIED,
		"repository %s was in %s and is not there now: nothing was made in its place",
		place_name(place), place->config->path);
	if (escape_shell(path, shown, sizeof(shown)))
		error_hint(why,
			   "look whether its file system is mounted; only if it is lost for good "
			   "and a new one is to take its place: rm %s, then pgagent init",
			   shown);
	return ERR_DENIED;
}

/* Best effort: without it only that refusal is missing. */
static void remember(const struct init_run *r, const struct place *place)
{
	struct agent *agent = r->agent;
	struct writer text;
	char path[PATH_MAX];
	struct error why;
	enum err e;

	if (place_is_adhoc(agent, place->config))
		return;
	known_path(r, place, path);
	writer_init(&text, KNOWN_FILE_MAX);
	lines_put(&text, "path", place->config->path);
	e = text.bad ? error_set(&why, ERR_MEMORY, "no memory")
		     : file_replace(agent->env.files, agent->env.random, AT_FDCWD, path,
				    writer_view(&text), 0600, &why);
	writer_release(&text);
	if (e != ERR_NONE)
		log_event(&agent->log, LEVEL_WARNING,
			  "that repository %s is in %s is not kept, pgagent init would make a new "
			  "one where it is not mounted: %s",
			  place_name(place), place->config->path, why.text);
}

/* Makes the key file where there is none; it is durable before anything is sealed with it. */
static enum err ensure_key_file(struct init_run *r, const struct config_repo *repo, bool *made,
				struct error *why)
{
	struct files *files = r->agent->env.files;
	struct key_secret secret = {.type = SLOT_KEY_FILE};
	struct writer text;
	struct stat st;
	enum err e;
	int status = files->ops->stat(files, AT_FDCWD, repo->key_file, 0, &st);

	*made = false;
	if (status == 0)
		return ERR_NONE;
	if (status != -ENOENT)
		return error_set_os(why, error_kind_of_os(-status), -status, "key file %s",
				    repo->key_file);
	writer_init(&text, KEY_TEXT_MAX);
	e = key_secret_new(r->agent->env.random, SLOT_KEY_FILE, &secret, &text, why);
	if (e == ERR_NONE)
		e = file_publish(files, r->agent->env.random, AT_FDCWD, repo->key_file,
				 writer_view(&text), 0600, why);
	if (e != ERR_NONE)
		(void)error_add(why, "making the key file %s", repo->key_file);
	if (text.data != NULL)
		explicit_bzero(text.data, text.len);
	writer_release(&text);
	key_secret_release(&secret);
	*made = e == ERR_NONE;
	return e;
}

static enum err show_recovery(struct init_run *r, struct error *why)
{
	struct report *report = &r->agent->report;

	report_text(report,
		    "\nrecovery code, shown this once: %s\n"
		    "  It opens the repository when the key file is lost. Write it down, away from "
		    "this machine;\n  try what you wrote: pgagent key test --stdin\n\n",
		    r->recovery_text);
	return report_put_now(report, "recovery_code", report_json_text(r->recovery_text), why);
}

static enum err ensure_recovery(struct init_run *r, struct error *why)
{
	struct writer text;
	enum err e;

	if (r->has_recovery)
		return ERR_NONE;
	writer_init(&text, RECOVERY_CODE_TEXT_MAX - 1);
	e = key_secret_new(r->agent->env.random, SLOT_RECOVERY, &r->recovery, &text, why);
	if (e == ERR_NONE) {
		memcpy(r->recovery_text, text.data, text.len);
		r->recovery_text[text.len] = '\0';
		explicit_bzero(text.data, text.len);
		r->has_recovery = true;
	}
	writer_release(&text);
	return e == ERR_NONE ? show_recovery(r, why) : e;
}

/* An opened repository of the family, whose keys a new one takes over; NULL when there is none. */
static const struct repository *family(const struct init_run *r)
{
	for (size_t i = 0; i < r->places.count; i++)
		if (r->places.place[i].repository != NULL)
			return r->places.place[i].repository;
	return NULL;
}

static enum err make_repository(struct init_run *r, struct place *place,
				const struct key_secret *secret, struct error *why)
{
	const struct config_repo *repo = place->config;
	const struct repository *sibling = family(r);
	struct repository_init init = {
		.encryption = repo->encryption == CONFIG_ENCRYPTION_NONE ? ENCRYPTION_NONE
									 : ENCRYPTION_AES_256_GCM,
		.adopt = sibling != NULL ? sibling->keyring : NULL,
		.secret = secret,
		.slot_name = secret == NULL                  ? "clear"
			     : secret->type == SLOT_KEY_FILE ? "key-file"
							     : "passphrase",
	};
	enum err e = ERR_NONE;

	if (sibling != NULL && sibling->encryption != init.encryption) {
		(void)error_set(why, ERR_CONFIG,
				"repository %s is to be %s, the other repository of cluster %s is "
				"not: all repositories of a cluster are one family",
				place_name(place),
				init.encryption == ENCRYPTION_NONE ? "unencrypted" : "encrypted",
				r->config->section.name);
		error_hint(why, "give both the same encryption = ... in the configuration");
		return ERR_CONFIG;
	}
	if (init.encryption != ENCRYPTION_NONE) {
		e = ensure_recovery(r, why);
		init.recovery = &r->recovery;
	}
	if (e == ERR_NONE)
		e = repository_init(&r->agent->env, place->store, &init, why);
	return e;
}

/* A backup to both would be refused; now is when it can still be mended. */
static enum err refuse_other_family(const struct repository *one, const struct repository *other,
				    struct error *why)
{
	if (memcmp(one->id, other->id, REPOSITORY_ID_BYTES) == 0)
		return ERR_NONE;
	(void)error_set(why, ERR_CONFIG,
			"it was made apart from %s: the repositories of a cluster share their keys",
			one->store->label);
	error_hint(why, "name another, empty directory for one of the two, and run pgagent init "
			"again; what is there stays readable with --repo PATH");
	return ERR_CONFIG;
}

static enum err find_place(struct init_run *r, struct place *place, bool *exists, struct error *why)
{
	enum err e = place_open_store(r->agent, place->config, true, &place->store, why);

	if (e == ERR_NONE)
		e = repository_exists(place->store, exists, why);
	return e != ERR_NONE ? error_add(why, "repository %s", place_name(place)) : e;
}

/* Best effort: backups do not need them, and the next init tries again. */
static void put_documents(struct init_run *r, const struct place *place, json_t *json)
{
	struct error why;
	size_t put = 0;

	if (documents_put(place->store, documents, documents_count, PGAGENT_VERSION, &put, &why) !=
	    ERR_NONE)
		report_warning(&r->agent->report,
			       "repository %s is without the documents that say how to read it "
			       "without pgagent (docs/1): %s; pgagent init tries again",
			       place_name(place), why.text);
	else if (put > 0)
		report_text(&r->agent->report,
			    "  how to read it without pgagent: docs/1/FORMAT.md and reader.py in "
			    "it\n");
	report_put(json, "documents_put", json_integer((json_int_t)put));
}

/* One repository: made, or opened and found good. */
static enum err init_place(struct init_run *r, struct place *place, bool exists, struct error *why)
{
	const struct config_repo *repo = place->config;
	const struct repository *sibling = family(r);
	struct key_secret secret = {.type = SLOT_CLEAR};
	json_t *json = json_object();
	bool has = false, made_key = false;
	enum err e = ERR_NONE;

	if (!exists)
		e = refuse_another(r, place, why);
	/* A new key file beside an old repository could not open it: never made then. */
	if (e == ERR_NONE && !exists && *repo->key_file != '\0')
		e = ensure_key_file(r, repo, &made_key, why);
	if (made_key)
		report_text(&r->agent->report, "key file %s: made; keep a copy of it elsewhere\n",
			    repo->key_file);
	if (e == ERR_NONE)
		e = place_secret(r->agent, repo, &secret, &has, why);
	if (e == ERR_NONE && !exists)
		e = make_repository(r, place, has ? &secret : NULL, why);
	if (e == ERR_NONE)
		e = repository_open(&r->agent->env, place->store, has ? &secret : NULL,
				    &place->repository, why);
	if (e == ERR_NONE && sibling != NULL)
		e = refuse_other_family(sibling, place->repository, why);
	key_secret_release(&secret);
	if (e != ERR_NONE) {
		json_decref(json);
		return error_add(why, "repository %s", place_name(place)), e;
	}
	report_text(&r->agent->report, "repository %s (%s): %s, encryption %s\n", place_name(place),
		    repo->path, exists ? "is there and opens" : "made",
		    place->repository->encryption == ENCRYPTION_NONE ? "none" : "aes-256-gcm");
	report_put(json, "name", report_json_text(place_name(place)));
	report_put(json, "path", report_json_text(repo->path));
	report_put(json, "created", json_boolean(!exists));
	report_put(json, "key_file_created", json_boolean(made_key));
	remember(r, place);
	put_documents(r, place, json);
	(void)json_array_append_new(r->repositories, json); /* without memory the dump fails */
	return ERR_NONE;
}

/* Who is the server?  What is known is compared, what is new is written. */
static enum err learn_server(struct init_run *r, uint64_t *system, struct error *why)
{
	struct session_options options = {.conninfo = r->config->conninfo,
					  .kind = SESSION_REPLICATION};
	struct identity identity = {.block_bytes = 8192, .data_checksums = -1};
	struct session *session = NULL;
	struct system_identity who;
	char text[32];
	enum err e = session_open(&r->agent->env, &options, &session, why);

	if (e == ERR_NONE)
		e = replication_identify(session, &who, why);
	if (e == ERR_NONE)
		e = replication_segment_bytes(session, &identity.wal_segment_bytes, why);
	if (e == ERR_NONE) {
		struct error ignored;

		identity.server_version = session_server_version(session);
		if (session_show(session, "data_checksums", text, sizeof(text), &ignored) ==
		    ERR_NONE)
			identity.data_checksums = strcmp(text, "on") == 0;
	}
	session_close(session);
	if (e != ERR_NONE)
		return e;
	*system = who.system_identifier;
	for (size_t i = 0; i < r->places.count; i++) {
		struct cluster cluster;

		cluster_init(&cluster, r->places.place[i].repository, r->config->section.name,
			     who.system_identifier);
		e = identity_admit(&cluster, &identity,
				   option_given(&r->agent->options, OPTION_UPGRADE), why);
		if (e != ERR_NONE)
			return e;
	}
	return ERR_NONE;
}

/* The line for postgresql.conf, with absolute paths: the server's environment is not ours. */
static enum err say_archive_command(struct init_run *r, struct error *why)
{
	struct agent *agent = r->agent;
	char line[COMMAND_LINE_MAX];
	enum err e = command_line_archive_command(agent, r->config->section.name, line, why);

	if (e != ERR_NONE)
		return e;
	report_text(&agent->report,
		    "\nin postgresql.conf, or with ALTER SYSTEM SET:\n"
		    "  archive_mode = on            # needs a restart\n"
		    "  archive_command = '%s'\n",
		    line);
	report_put(agent->report.root, "archive_command", report_json_text(line));
	return ERR_NONE;
}

static enum err init(struct init_run *r, struct error *why)
{
	const struct config_repo *repos[PLACES_MAX];
	struct agent *agent = r->agent;
	bool exists[PLACES_MAX] = {false};
	uint64_t system = 0;
	char text[24];
	enum err e = config_select_repos(&agent->config, r->config, &agent->options, repos,
					 PLACES_MAX, &r->places.count, why);

	for (size_t i = 0; i < r->places.count && e == ERR_NONE; i++)
		r->places.place[i].config = repos[i];
	for (size_t i = 0; i < r->places.count && e == ERR_NONE; i++)
		e = find_place(r, &r->places.place[i], &exists[i], why);
	/* Those that are there come first: whichever is missing takes over their keys. */
	for (size_t i = 0; i < r->places.count && e == ERR_NONE; i++)
		if (exists[i])
			e = init_place(r, &r->places.place[i], true, why);
	for (size_t i = 0; i < r->places.count && e == ERR_NONE; i++)
		if (!exists[i])
			e = init_place(r, &r->places.place[i], false, why);
	if (e != ERR_NONE)
		return e;
	e = learn_server(r, &system, why);
	if (e == ERR_CONFIG)
		return e;
	if (e != ERR_NONE) {
		report_warning(&agent->report,
			       "the server was not reached, who it is gets written by the first "
			       "backup or archive-push: %s",
			       why->text);
		report_put(agent->report.root, "system_identifier", json_null());
	} else {
		(void)snprintf(text, sizeof(text), "%" PRIu64, system); /* fits */
		report_text(&agent->report, "cluster %s: system identifier %s\n",
			    r->config->section.name, text);
		report_put(agent->report.root, "system_identifier", report_json_text(text));
	}
	e = say_archive_command(r, why);
	if (e == ERR_NONE)
		report_text(&agent->report,
			    "\nnext: pgagent check, then pgagent backup --checkpoint fast\n");
	return e;
}

int command_init(struct agent *agent)
{
	struct init_run r = {.agent = agent};
	struct lock lock = {.fd = -1};
	struct error why;
	enum err e = config_cluster(&agent->config, option_text(&agent->options, OPTION_CLUSTER),
				    &r.config, &why);
	int code = EXIT_DONE;

	/* Two inits at once would make two key files for one repository. */
	if (e == ERR_NONE) {
		e = lock_take(&lock, &agent->env, agent->config.global.state_directory, "init",
			      &why);
		if (e == ERR_EXISTS)
			return agent_fail_as(agent, EXIT_LOCKED, &why);
	}
	r.repositories = json_array();
	if (e == ERR_NONE)
		e = init(&r, &why);
	report_put(agent->report.root, "repositories", r.repositories);
	if (e != ERR_NONE)
		code = agent_fail(agent, &why);
	places_close(&r.places);
	key_secret_release(&r.recovery);
	explicit_bzero(r.recovery_text, sizeof(r.recovery_text));
	lock_release(&lock);
	return code;
}
