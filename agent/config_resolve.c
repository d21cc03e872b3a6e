/* config_resolve.c - defaults, and what only several keys together can show. */
#include "config.h"
#include "config_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void complain(struct config *config, const struct config_section *section, bool warning,
		     const char *hint, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

static void complain(struct config *config, const struct config_section *section, bool warning,
		     const char *hint, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args); /* cut is still text */
	va_end(args);
	config_problem_add(config, section->file != NULL ? section->file : "", section->line,
			   warning, text, hint);
}

/* Own value, else that of `fallback` (may be NULL), else the default. */
static enum err fill(enum config_kind kind, struct config_section *section,
		     const struct config_section *fallback, void *section_struct, struct error *why)
{
	size_t count;
	const struct config_key *keys = config_keys(kind, &count);

	for (size_t i = 0; i < count; i++) {
		const char *text = section->value[i].text;
		enum err err;

		if (text == NULL && fallback != NULL)
			text = fallback->value[i].text;
		if (text == NULL)
			text = keys[i].standard;
		/* Texts from files were checked when read, and defaults are ours. */
		err = config_value_set(&keys[i], text, section_struct, why);
		if (err != ERR_NONE)
			return err;
	}
	return ERR_NONE;
}

static void check_key_source(struct config *config, const struct config_repo *repo)
{
	int sources = (*repo->key_file != '\0') + (*repo->passphrase_file != '\0') +
		      (*repo->passphrase_command != '\0');
	const char *name = repo->section.name;
	char hint[128];

	if (repo->encryption == CONFIG_ENCRYPTION_NONE && sources > 0)
		complain(config, &repo->section, false, "Remove the key, or encryption = none.",
			 "[repo:%s]: a key, and encryption = none", name);
	if (repo->encryption == CONFIG_ENCRYPTION_NONE || sources == 1)
		return;
	if (sources > 1) {
		complain(config, &repo->section, false, NULL,
			 "[repo:%s]: more than one of key_file, passphrase_file and "
			 "passphrase_command",
			 name);
		return;
	}
	(void)snprintf(hint, sizeof(hint), "Add: key_file = /etc/pgagent/%s.key (init makes it)",
		       name); /* names are short */
	complain(config, &repo->section, false, hint,
		 "[repo:%s]: encrypted, and nothing says where its key is", name);
}

static void check_repo(struct config *config, const struct config_repo *repo)
{
	static const char *const types[] = {"posix", "s3"};
	size_t count;
	const struct config_key *keys = config_keys(CONFIG_REPO, &count);
	const char *name = repo->section.name;

	for (size_t i = 0; i < count; i++) {
		const struct config_value *value = &repo->section.value[i];
		bool s3 = repo->type == CONFIG_REPO_S3;

		if (value->text != NULL &&
		    ((keys[i].only_s3 && !s3) || (keys[i].only_posix && s3))) {
			char text[128];

			(void)snprintf(text, sizeof(text), "%s: not a key of type = %s",
				       keys[i].name, types[repo->type]); /* short */
			config_problem_add(config, value->file, value->line, false, text,
					   s3 ? NULL : "Add: type = s3");
		}
	}
	if (repo->type == CONFIG_REPO_POSIX && *repo->path == '\0')
		complain(config, &repo->section, false, "Add: path = /var/lib/pgagent/repo",
			 "[repo:%s]: path is missing", name);
	if (repo->type == CONFIG_REPO_S3 && (*repo->bucket == '\0' || *repo->endpoint == '\0'))
		complain(config, &repo->section, false, NULL, "[repo:%s]: %s is missing", name,
			 *repo->bucket == '\0' ? "bucket" : "endpoint");
	check_key_source(config, repo);
}

static const struct config_repo *repo_of_name(const struct config *config, const char *name,
					      size_t len)
{
	for (size_t i = 0; i < config->repos_count; i++)
		if (strlen(config->repos[i]->section.name) == len &&
		    strncmp(config->repos[i]->section.name, name, len) == 0)
			return config->repos[i];
	return NULL;
}

/* Where `key` of the cluster stands: there a problem with its value is mended. */
static struct config_section line_of(const struct config *config,
				     const struct config_cluster *cluster, const char *key)
{
	struct config_section at = {.file = cluster->section.file, .line = cluster->section.line};
	size_t count;
	const struct config_key *keys = config_keys(CONFIG_CLUSTER, &count);

	for (size_t i = 0; i < count; i++) {
		const struct config_value *value = &cluster->section.value[i];

		if (strcmp(keys[i].name, key) != 0)
			continue;
		if (value->text == NULL)
			value = &config->cluster_defaults.value[i];
		if (value->text != NULL) {
			at.file = value->file;
			at.line = value->line;
		}
	}
	return at;
}

static void unknown_repo(struct config *config, const struct config_cluster *cluster,
			 const char *name, size_t len)
{
	const char *names[64], *near;
	char text[CONFIG_NAME_MAX], hint[128];
	struct config_section at = line_of(config, cluster, "repos");
	size_t n = 0;

	(void)snprintf(text, sizeof(text), "%.*s", (int)len, name); /* cut is still a name */
	for (; n < config->repos_count && n < 64; n++)
		names[n] = config->repos[n]->section.name;
	near = nearest_name(text, names, n);
	(void)snprintf(hint, sizeof(hint), near != NULL ? "Did you mean \"%s\"?" : "%s",
		       near != NULL ? near : "");
	complain(config, &at, false, hint, "[cluster:%s]: repos: there is no section [repo:%s]",
		 cluster->section.name, text);
}

/* The names of `repos`, or all repositories when there is none. */
static enum err link_repos(struct config *config, struct config_cluster *cluster, struct error *why)
{
	const char *at = cluster->repos_text;
	struct config_section line = line_of(config, cluster, "repos");

	free(cluster->repos);
	cluster->repos_count = 0;
	cluster->repos = calloc(config->repos_count + 1, sizeof(*cluster->repos));
	if (cluster->repos == NULL)
		return error_set(why, ERR_MEMORY, "no memory for the configuration");
	if (*at == '\0')
		for (size_t i = 0; i < config->repos_count; i++)
			cluster->repos[cluster->repos_count++] = config->repos[i];
	while (*(at += strspn(at, ", \t")) != '\0') {
		size_t len = strcspn(at, ", \t");
		const struct config_repo *repo = repo_of_name(config, at, len);
		bool twice = false;

		for (size_t i = 0; i < cluster->repos_count; i++)
			twice = twice || cluster->repos[i] == repo;
		if (repo == NULL)
			unknown_repo(config, cluster, at, len);
		else if (twice)
			complain(config, &line, false, NULL,
				 "[cluster:%s]: repos: %s is named twice", cluster->section.name,
				 repo->section.name);
		else
			cluster->repos[cluster->repos_count++] = repo;
		at += len;
	}
	return ERR_NONE;
}

static void check_cluster(struct config *config, const struct config_cluster *cluster)
{
	static const char *const keys[] = {"conninfo", "backup_conninfo"};
	const char *conninfos[] = {cluster->conninfo, cluster->backup_conninfo};
	char masked[512];
	size_t sync = 0;

	for (size_t i = 0; i < cluster->repos_count; i++)
		sync += cluster->repos[i]->mode == CONFIG_MODE_SYNC;
	/* Names that do not exist have been complained about. */
	if (cluster->repos_count == 0 &&
	    cluster->repos_text[strspn(cluster->repos_text, ", \t")] == '\0')
		complain(config, &cluster->section, false,
			 "Add a section [repo:local] with path and key_file.",
			 "[cluster:%s]: no repository", cluster->section.name);
	else if (cluster->repos_count > 0 && sync == 0)
		complain(config, &cluster->section, false, "Set mode = sync for one of them.",
			 "[cluster:%s]: every repository is async, and nothing to ship from",
			 cluster->section.name);
	for (size_t i = 0; i < 2; i++) {
		struct config_section at = line_of(config, cluster, keys[i]);

		config_mask(conninfos[i], masked, sizeof(masked));
		if (strlen(conninfos[i]) < sizeof(masked) && strcmp(masked, conninfos[i]) != 0)
			complain(config, &at, true,
				 "Put it into ~/.pgpass (database replication) instead.",
				 "[cluster:%s]: a password in a connection string",
				 cluster->section.name);
	}
}

enum err config_resolve(struct config *config, struct error *why)
{
	enum err err;

	err = fill(CONFIG_GLOBAL, &config->global.section, NULL, &config->global, why);
	for (size_t i = 0; i < config->repos_count && err == ERR_NONE; i++) {
		struct config_repo *repo = config->repos[i];

		err = fill(CONFIG_REPO, &repo->section, NULL, repo, why);
		if (err == ERR_NONE)
			check_repo(config, repo);
	}
	for (size_t i = 0; i < config->clusters_count && err == ERR_NONE; i++) {
		struct config_cluster *cluster = config->clusters[i];

		err = fill(CONFIG_CLUSTER, &cluster->section, &config->cluster_defaults, cluster,
			   why);
		if (err == ERR_NONE)
			err = link_repos(config, cluster, why);
		if (err == ERR_NONE)
			check_cluster(config, cluster);
	}
	return err != ERR_NONE ? err : config_first_problem(config, why);
}
