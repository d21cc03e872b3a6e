/* places.c - from a [repo:...] section to an opened repository. */
#include "places.h"
#include "escape.h"
#include "secret_file.h"
#include "store/posix/posix.h"

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *place_name(const struct place *place)
{
	return place->config->section.name;
}

/* A credential of the unit that is named as the key file stands for it (systemd/README.md): one
 * configuration for units and for what the server starts. */
static const char *key_path(const struct agent *agent, const char *key_file,
			    const char *credentials, char out[PATH_MAX])
{
	struct files *files = agent->env.files;
	const char *slash = strrchr(key_file, '/');
	struct stat st;
	int len;

	if (credentials == NULL || *credentials != '/')
		return key_file;
	len = snprintf(out, PATH_MAX, "%s/%s", credentials, slash != NULL ? slash + 1 : key_file);
	if (len >= PATH_MAX || files->ops->stat(files, AT_FDCWD, out, 0, &st) != 0)
		return key_file;
	return out;
}

/* Of --repo PATH. */
bool place_is_adhoc(const struct agent *agent, const struct config_repo *repo)
{
	return repo == agent->config.adhoc;
}

/* "BEFORE: pgagent key ACTION --repo THIS REST"; nothing that does not fit. */
static void hint_key(const struct agent *agent, const struct config_repo *repo, const char *before,
		     const char *action, const char *rest, struct error *why)
{
	const char *config = option_text(&agent->options, OPTION_CONFIG);
	char name[ERROR_HINT_MAX], option[ERROR_HINT_MAX] = "";

	if (!escape_shell(repo->section.name, name, sizeof(name)))
		return;
	if (config != NULL && !place_is_adhoc(agent, repo) &&
	    escape_shell(config, option, sizeof(option)))
		error_hint(why, "%s: pgagent --config %s key %s --repo %s%s", before, option,
			   action, name, rest);
	else
		error_hint(why, "%s: pgagent key %s --repo %s%s", before, action, name, rest);
}

/* The command that makes a key file by the recovery code; `file` is escaped. */
static void hint_code(const struct agent *agent, const struct config_repo *repo, const char *before,
		      const char *file, struct error *why)
{
	char rest[ERROR_HINT_MAX + 20];

	(void)snprintf(rest, sizeof(rest), " --new-key-file %s", file); /* fits */
	hint_key(agent, repo, before, "add --stdin", rest, why);
}

void place_hint_slots(const struct agent *agent, const struct place *place, const char *before,
		      struct error *why)
{
	hint_key(agent, place->config, before, "list", "", why);
}

static enum err read_secret(const struct agent *agent, const struct config_repo *repo,
			    enum slot_type *type, struct secret *text, struct error *why)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");
	char path[PATH_MAX], file[ERROR_HINT_MAX];
	enum err e;

	*type = SLOT_PASSPHRASE;
	if (*repo->passphrase_file != '\0')
		return secret_file_read(agent->env.files, repo->passphrase_file, credentials, text,
					why);
	if (*repo->passphrase_command != '\0')
		return secret_command_read(repo->passphrase_command, text, why);
	*type = SLOT_KEY_FILE;
	if (*repo->key_file != '\0') {
		e = secret_file_read(agent->env.files,
				     key_path(agent, repo->key_file, credentials, path),
				     credentials, text, why);
		if (e == ERR_MISSING && escape_shell(repo->key_file, file, sizeof(file)))
			hint_code(agent, repo,
				  place_is_adhoc(agent, repo)
					  ? "bring it from where you keep it; with the recovery "
					    "code one is made"
					  : "a new installation: pgagent init makes it; else bring "
					    "it back from where you keep it, or make it with the "
					    "recovery code",
				  file, why);
		return e;
	}
	/* A section without is refused with its file and line. */
	(void)error_set(why, ERR_CONFIG, "repository %s is encrypted, and no key is named for it",
			repo->section.name);
	hint_code(agent, repo,
		  "add --key-file FILE; where only the recovery code is left, this makes one",
		  "FILE", why);
	return ERR_CONFIG;
}

enum err place_secret(const struct agent *agent, const struct config_repo *repo,
		      struct key_secret *out, bool *has, struct error *why)
{
	struct secret text = {.len = 0};
	enum slot_type type;
	enum err e;

	*has = false;
	if (repo->encryption == CONFIG_ENCRYPTION_NONE)
		return ERR_NONE;
	e = read_secret(agent, repo, &type, &text, why);
	if (e == ERR_NONE)
		e = key_secret_from_text(type, secret_view(&text), out, why);
	secret_release(&text);
	*has = e == ERR_NONE;
	return e;
}

static void hint_missing(const struct agent *agent, const struct config_repo *repo,
			 struct error *why)
{
	char path[ERROR_HINT_MAX];

	if (!place_is_adhoc(agent, repo))
		error_hint(why, "look whether its file system is mounted, and whether this is the "
				"right path; a repository that was never made: pgagent init");
	else if (escape_shell(repo->path, path, sizeof(path)))
		error_hint(why,
			   "is its file system mounted? A repository is the directory that "
			   "holds the file FORMAT: find %s -maxdepth 3 -name FORMAT",
			   path);
}

enum err place_open_store(const struct agent *agent, const struct config_repo *repo, bool create,
			  struct store **out, struct error *why)
{
	enum err e;

	if (repo->type != CONFIG_REPO_POSIX)
		return error_set(why, ERR_CONFIG,
				 "repository %s is of type s3, which this version can't use yet",
				 repo->section.name);
	e = store_posix_open(&agent->env, repo->path, create, out, why);
	if (e == ERR_MISSING)
		hint_missing(agent, repo, why);
	return e;
}

enum err place_peek(const struct agent *agent, const struct place *place,
		    struct repository_format *out, struct error *why)
{
	enum err e = repository_peek(place->store, out, why);

	if (e == ERR_MISSING)
		hint_missing(agent, place->config, why);
	return e;
}

bool place_wants_key(const struct config_repo *repo)
{
	return repo->encryption != CONFIG_ENCRYPTION_NONE &&
	       (*repo->key_file != '\0' || *repo->passphrase_file != '\0' ||
		*repo->passphrase_command != '\0');
}

static enum err place_open(struct agent *agent, struct place *place, struct error *why)
{
	struct repository_format format;
	struct key_secret secret = {.type = SLOT_CLEAR};
	bool has = false;
	enum err e = place_open_store(agent, place->config, false, &place->store, why);

	if (e == ERR_NONE)
		e = place_peek(agent, place, &format, why);
	/* That a backup is missing is an answer; that its repository is, is none. */
	if (e == ERR_MISSING)
		e = why->kind = ERR_TRANSIENT;
	/* Else whoever can write there could put an open repository in the place of a sealed one, and
	 * would be given the next backup in the clear. */
	if (e == ERR_NONE && format.encryption == ENCRYPTION_NONE &&
	    place_wants_key(place->config)) {
		(void)error_set(why, ERR_CONFIG,
				"repository %s is not encrypted, but a key is configured for it",
				place_name(place));
		error_hint(why, "if it is meant to be so: encryption = none in its section, and no "
				"key; else somebody has put another repository there");
		e = ERR_CONFIG;
	}
	/* What is stored decides: --repo PATH has no section that could say it. */
	if (e == ERR_NONE && format.encryption != ENCRYPTION_NONE)
		e = place_secret(agent, place->config, &secret, &has, why);
	if (e == ERR_MISSING)
		e = why->kind = ERR_CONFIG;
	if (e == ERR_NONE && format.encryption != ENCRYPTION_NONE && !has)
		e = error_set(why, ERR_CONFIG,
			      "repository %s is encrypted, its section says encryption = none",
			      place_name(place));
	if (e == ERR_NONE)
		e = repository_open(&agent->env, place->store, has ? &secret : NULL,
				    &place->repository, why);
	if (e == ERR_WRONG_KEY && has)
		place_hint_slots(agent, place,
				 "its key is another one; look which slots it has, and when they "
				 "were made",
				 why);
	key_secret_release(&secret);
	return e;
}

/* What is written to several is opened by the keys of each. */
static void agree(struct agent *agent, struct places *places)
{
	struct repository *repositories[PLACES_MAX];
	bool behind = false;

	for (size_t i = 0; i < places->count; i++)
		repositories[i] = places->place[i].repository;
	repositories_agree(repositories, places->count, &behind);
	if (behind)
		report_warning(&agent->report,
			       "not all repositories of the cluster hold the newest keys: what is "
			       "written is sealed with older ones that all of them hold, until the "
			       "rotation is finished with: pgagent key rotate");
}

enum err places_add(struct agent *agent, const struct config_repo *repo, struct places *out,
		    struct error *why)
{
	struct place *place = &out->place[out->count];

	assert(out->count < PLACES_MAX);
	out->count++;
	place->config = repo;
	return place_open(agent, place, why);
}

enum err places_open(struct agent *agent, const struct config_cluster *cluster, struct places *out,
		     struct error *why)
{
	const struct config_repo *repos[PLACES_MAX];
	size_t count = 0;
	enum err e;

	*out = (struct places){.count = 0};
	e = config_select_repos(&agent->config, cluster, &agent->options, repos, PLACES_MAX, &count,
				why);
	for (size_t i = 0; i < count && e == ERR_NONE; i++)
		e = places_add(agent, repos[i], out, why);
	if (e == ERR_NONE)
		agree(agent, out);
	else
		places_close(out);
	return e;
}

enum err places_open_to_read(struct agent *agent, const struct config_cluster *cluster,
			     struct places *out, struct error *why)
{
	const struct config_repo *repos[PLACES_MAX];
	struct error failed[PLACES_MAX];
	size_t count = 0;
	enum err e;

	*out = (struct places){.count = 0};
	e = config_select_repos(&agent->config, cluster, &agent->options, repos, PLACES_MAX, &count,
				why);
	if (e != ERR_NONE)
		return e;
	for (size_t i = 0; i < count; i++) {
		struct place *place = &out->place[out->count];

		*place = (struct place){.config = repos[i]};
		if (place_open(agent, place, &failed[out->silent]) == ERR_NONE) {
			out->count++;
			continue;
		}
		store_close(place->store);
		out->silent++;
	}
	if (out->count == 0) {
		*why = failed[0];
		return why->kind;
	}
	agree(agent, out);
	if (out->silent > 0)
		out->why_silent = failed[0];
	for (size_t i = 0; i < out->silent; i++)
		report_warning(&agent->report, "going on without this repository: %s",
			       failed[i].text);
	return ERR_NONE;
}

void places_close(struct places *places)
{
	for (size_t i = 0; i < places->count; i++) {
		repository_close(places->place[i].repository);
		store_close(places->place[i].store);
	}
	places->count = 0;
	places->silent = 0;
}
