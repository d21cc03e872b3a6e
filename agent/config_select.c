/* config_select.c - which repositories a command uses: the cluster's, or what --repo says, which may be
 * one that the cluster is only copied to.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool config_repo_is_place(const char *repo)
{
	return strchr(repo, '/') != NULL;
}

/* An absolute path in new memory. */
static char *absolute(const char *path)
{
	char *here, *out = NULL;

	if (*path == '/')
		return strdup(path);
	here = getcwd(NULL, 0);
	if (here != NULL && asprintf(&out, "%s/%s", here, path) < 0)
		out = NULL;
	free(here);
	return out;
}

static enum err set_key(struct config_repo *repo, const char *name, char *take_text,
			struct error *why)
{
	size_t count;
	const struct config_key *keys = config_keys(CONFIG_REPO, &count);

	if (take_text == NULL)
		return error_set(why, ERR_MEMORY, "no memory for the repository of --repo");
	for (size_t i = 0; i < count; i++)
		if (strcmp(keys[i].name, name) == 0) {
			free(repo->section.value[i].text);
			repo->section.value[i] = (struct config_value){take_text, "--repo", 0};
			return config_value_set(&keys[i], take_text, repo, why);
		}
	free(take_text);
	return ERR_NONE;
}

static enum err set_place(struct config_repo *repo, const char *place, struct error *why)
{
	enum err err;

	if (strncmp(place, "s3://", 5) == 0) {
		const char *bucket = place + 5;
		size_t len = strcspn(bucket, "/");

		if (len == 0)
			return error_set(why, ERR_CONFIG, "--repo %s: no bucket", place);
		err = set_key(repo, "type", strdup("s3"), why);
		if (err == ERR_NONE)
			err = set_key(repo, "bucket", strndup(bucket, len), why);
		if (err == ERR_NONE && bucket[len] == '/')
			err = set_key(repo, "prefix", strdup(bucket + len + 1), why);
		return err;
	}
	if (strncmp(place, "file:///", 8) == 0)
		place += 7;
	if (strstr(place, "://") != NULL) {
		err = error_set(why, ERR_CONFIG, "--repo %s: not a path, s3:// or file://", place);
		error_hint(why, "A directory is given as a path: --repo /mnt/backups");
		return err;
	}
	return set_key(repo, "path", absolute(place), why);
}

/* The repository of --repo PATH|URL, made once. */
static enum err adhoc(struct config *config, const struct options *options, struct error *why)
{
	const char *key_file = option_text(options, OPTION_KEY_FILE);
	const char *passphrase_file = option_text(options, OPTION_PASSPHRASE_FILE);
	struct config_repo *repo;
	size_t count;
	const struct config_key *keys = config_keys(CONFIG_REPO, &count);
	enum err err = ERR_NONE;

	if (config->adhoc != NULL)
		return ERR_NONE;
	repo = calloc(1, sizeof(*repo));
	if (repo == NULL)
		return error_set(why, ERR_MEMORY, "no memory for the repository of --repo");
	config->adhoc = repo;
	for (size_t i = 0; i < count && err == ERR_NONE; i++)
		err = config_value_set(&keys[i], keys[i].standard, repo, why);
	if (err == ERR_NONE)
		err = set_place(repo, option_text(options, OPTION_REPO), why);
	if (err == ERR_NONE && key_file != NULL)
		err = set_key(repo, "key_file", absolute(key_file), why);
	if (err == ERR_NONE && passphrase_file != NULL)
		err = set_key(repo, "passphrase_file", absolute(passphrase_file), why);
	if (err != ERR_NONE)
		return err;
	repo->section.name =
		strdup(*repo->path != '\0' ? repo->path : option_text(options, OPTION_REPO));
	return repo->section.name != NULL
		       ? ERR_NONE
		       : error_set(why, ERR_MEMORY, "no memory for the repository of --repo");
}

static const struct config_repo *find(const struct config_repo *const *repos, size_t count,
				      const char *name, size_t len)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(repos[i]->section.name) == len &&
		    strncmp(repos[i]->section.name, name, len) == 0)
			return repos[i];
	return NULL;
}

static enum err no_such_repo(const struct config_repo *const *repos, size_t count,
			     const char *option, const char *name, size_t len, struct error *why)
{
	char names[256] = "";
	size_t at = 0;

	for (size_t i = 0; i < count && at < sizeof(names); i++)
		at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", i > 0 ? ", " : "",
				       repos[i]->section.name);
	(void)error_set(why, ERR_CONFIG, "%s: the configuration has no repository \"%.*s\"", option,
			(int)len, name);
	if (strcmp(option, "--repo") != 0)
		error_hint(why, "It has: %s.", names);
	else if (count > 0)
		error_hint(why, "It has: %s. A directory is given with a '/': --repo ./%.*s", names,
			   (int)len, name);
	else
		error_hint(why, "A directory is given with a '/': --repo ./%.*s", (int)len, name);
	return ERR_CONFIG;
}

enum err config_repo_named(const struct config *config, const char *option, const char *name,
			   const struct config_repo **out, struct error *why)
{
	const struct config_repo *const *all = (const struct config_repo *const *)config->repos;
	size_t len = strlen(name);

	*out = find(all, config->repos_count, name, len);
	return *out != NULL ? ERR_NONE
			    : no_such_repo(all, config->repos_count, option, name, len, why);
}

enum err config_select_repos(struct config *config, const struct config_cluster *cluster,
			     const struct options *options, const struct config_repo **out,
			     size_t max, size_t *count, struct error *why)
{
	const struct config_repo *const *named = (const struct config_repo *const *)config->repos;
	const struct config_repo *const *all = cluster != NULL ? cluster->repos : named;
	size_t all_count = cluster != NULL ? cluster->repos_count : config->repos_count;
	const char *at = option_text(options, OPTION_REPO);
	size_t n = 0;
	enum err err;

	if (at != NULL && config_repo_is_place(at)) {
		err = adhoc(config, options, why);
		if (err == ERR_NONE) {
			out[0] = config->adhoc;
			*count = 1;
		}
		return err;
	}
	if (option_given(options, OPTION_KEY_FILE) || option_given(options, OPTION_PASSPHRASE_FILE))
		return error_set(why, ERR_CONFIG,
				 "--key-file and --passphrase-file go with --repo PATH; a "
				 "configured repository has its own");
	for (size_t i = 0; at == NULL && i < all_count && n < max; i++)
		out[n++] = all[i];
	while (at != NULL && *(at += strspn(at, ",")) != '\0') {
		size_t len = strcspn(at, ",");
		const struct config_repo *found = find(named, config->repos_count, at, len);

		if (found == NULL)
			return no_such_repo(named, config->repos_count, "--repo", at, len, why);
		if (n < max)
			out[n++] = found;
		at += len;
	}
	if (n == 0) {
		err = error_set(why, ERR_CONFIG, "no repository to work with");
		error_hint(why, "Add a section [repo:NAME] to %s, or --repo PATH --key-file FILE.",
			   config->files_count > 0 ? config->files[0] : CONFIG_FILE_DEFAULT);
		return err;
	}
	*count = n;
	return ERR_NONE;
}
