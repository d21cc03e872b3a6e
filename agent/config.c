/* config.c - the life of a configuration, and finding sections in it. */
#include "config.h"

#include "config_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void config_problem_add(struct config *config, const char *file, int line, bool warning,
			const char *text, const char *hint)
{
	struct config_problem *problem;

	if (config->problems_count == CONFIG_PROBLEMS_MAX)
		return;
	problem = &config->problem[config->problems_count++];
	problem->file = file;
	problem->line = line;
	problem->warning = warning;
	(void)snprintf(problem->text, sizeof(problem->text), "%s", text); /* cut is still text */
	(void)snprintf(problem->hint, sizeof(problem->hint), "%s", hint != NULL ? hint : "");
}

enum err config_first_problem(const struct config *config, struct error *why)
{
	for (size_t i = 0; i < config->problems_count; i++) {
		const struct config_problem *p = &config->problem[i];

		if (p->warning)
			continue;
		if (p->file[0] == '\0')
			(void)error_set(why, ERR_CONFIG, "configuration: %s", p->text);
		else
			(void)error_set(why, ERR_CONFIG, "configuration: %s:%d: %s", p->file,
					p->line, p->text);
		if (p->hint[0] != '\0')
			error_hint(why, "%s", p->hint);
		else
			error_hint(why, "Run \"pgagent config check\" to see all that is wrong.");
		return ERR_CONFIG;
	}
	return ERR_NONE;
}

void *config_grown(void *array, size_t count)
{
	return reallocarray(array, count + 1, sizeof(void *));
}

const char *config_file_name(struct config *config, const char *name)
{
	char *copy = strdup(name), **grown;

	if (copy == NULL)
		return NULL;
	grown = config_grown(config->files, config->files_count);
	if (grown == NULL) {
		free(copy);
		return NULL;
	}
	config->files = grown;
	config->files[config->files_count++] = copy;
	return copy;
}

static enum err set_defaults(enum config_kind kind, void *section_struct, struct error *why)
{
	size_t count;
	const struct config_key *keys = config_keys(kind, &count);

	for (size_t i = 0; i < count; i++) {
		enum err err = config_value_set(&keys[i], keys[i].standard, section_struct, why);

		if (err != ERR_NONE)
			return err;
	}
	return ERR_NONE;
}

enum err config_init(struct config *config, struct error *why)
{
	memset(config, 0, sizeof(*config));
	return set_defaults(CONFIG_GLOBAL, &config->global, why);
}

static void section_release(struct config_section *section)
{
	free(section->name);
	for (size_t i = 0; i < CONFIG_KEYS_MAX; i++)
		free(section->value[i].text);
}

void config_release(struct config *config)
{
	section_release(&config->global.section);
	section_release(&config->cluster_defaults);
	for (size_t i = 0; i < config->repos_count; i++) {
		section_release(&config->repos[i]->section);
		free(config->repos[i]);
	}
	for (size_t i = 0; i < config->clusters_count; i++) {
		section_release(&config->clusters[i]->section);
		free(config->clusters[i]->repos);
		free(config->clusters[i]);
	}
	for (size_t i = 0; i < config->files_count; i++)
		free(config->files[i]);
	if (config->adhoc != NULL)
		section_release(&config->adhoc->section);
	free(config->adhoc);
	free(config->repos);
	free(config->clusters);
	free(config->files);
	memset(config, 0, sizeof(*config));
}

/* "main, other" into `out`. */
static void cluster_names(const struct config *config, char *out, size_t size)
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < config->clusters_count && at < size; i++)
		at += (size_t)snprintf(out + at, size - at, "%s%s", i > 0 ? ", " : "",
				       config->clusters[i]->section.name);
}

enum err config_cluster(const struct config *config, const char *name,
			const struct config_cluster **out, struct error *why)
{
	char names[256];
	enum err err;

	cluster_names(config, names, sizeof(names));
	for (size_t i = 0; i < config->clusters_count; i++)
		if (name == NULL ? config->clusters_count == 1
				 : strcmp(config->clusters[i]->section.name, name) == 0) {
			*out = config->clusters[i];
			return ERR_NONE;
		}
	if (config->clusters_count == 0) {
		err = error_set(why, ERR_CONFIG, "the configuration names no cluster");
		error_hint(why, "Add a section [cluster:%s] to %s; its keys all have defaults.",
			   name != NULL ? name : "main",
			   config->files_count > 0 ? config->files[0] : CONFIG_FILE_DEFAULT);
		return err;
	}
	if (name == NULL) {
		err = error_set(why, ERR_CONFIG, "which cluster? The configuration names %zu",
				config->clusters_count);
		error_hint(why, "Add --cluster NAME, one of: %s", names);
		return err;
	}
	err = error_set(why, ERR_CONFIG, "cluster \"%s\" is not in the configuration", name);
	error_hint(why, "It names: %s", names);
	return err;
}
