/* commands/config.c - `pgagent config check` and `pgagent config show`; recover is next door. */
#include "agent.h"
#include "commands/commands.h"
#include "commands/config_recover.h"
#include "secret_file.h"

#include <stdlib.h>
#include <string.h>

static json_t *problem_json(const struct config_problem *p)
{
	json_t *out = json_object();

	report_put(out, "file", report_json_text(p->file[0] != '\0' ? p->file : NULL));
	report_put(out, "line", p->line > 0 ? json_integer(p->line) : json_null());
	report_put(out, "severity", json_string(p->warning ? "warning" : "error"));
	report_put(out, "message", report_json_text(p->text));
	report_put(out, "hint", report_json_text(p->hint[0] != '\0' ? p->hint : NULL));
	return out;
}

static void problem_text(struct report *report, const struct config_problem *p)
{
	if (p->file[0] != '\0')
		report_text(report, "%s:%d: ", p->file, p->line);
	report_text(report, "%s: %s\n", p->warning ? "warning" : "error", p->text);
	if (p->hint[0] != '\0')
		report_text(report, "    hint: %s\n", p->hint);
}

/* The files that hold secrets: absent is a warning, as init makes the key; too open is not. */
static bool check_secret_file(struct agent *agent, const char *path, json_t *list)
{
	struct config_problem p = {.file = ""};
	struct error why;
	enum err err;

	if (*path == '\0')
		return true;
	err = config_check_secret_file(agent->env.files, path, getenv("CREDENTIALS_DIRECTORY"),
				       &why);
	if (err == ERR_NONE)
		return true;
	p.warning = err == ERR_MISSING;
	(void)snprintf(p.text, sizeof(p.text), "%.500s", why.text); /* cut is still text */
	(void)snprintf(p.hint, sizeof(p.hint), "%.500s",
		       err == ERR_MISSING ? "pgagent init makes the key file." : why.hint);
	problem_text(&agent->report, &p);
	(void)json_array_append_new(list, problem_json(&p)); /* without memory the dump fails */
	return p.warning;
}

static bool check_secret_files(struct agent *agent, json_t *list)
{
	bool good = true;

	for (size_t i = 0; i < agent->config.repos_count; i++) {
		const struct config_repo *repo = agent->config.repos[i];
		const char *paths[] = {repo->key_file, repo->passphrase_file,
				       repo->credentials_file};

		for (size_t n = 0; n < 3; n++)
			good = check_secret_file(agent, paths[n], list) && good;
	}
	return good;
}

static int config_check(struct agent *agent)
{
	struct config *config = &agent->config;
	json_t *problems = json_array();
	struct error why;
	bool good;
	enum err err;

	err = agent_load_config(agent, &why);
	if (err != ERR_NONE && config->problems_count == 0) {
		json_decref(problems);
		return agent_fail(agent, &why);
	}
	for (size_t i = 0; i < config->problems_count; i++) {
		problem_text(&agent->report, &config->problem[i]);
		(void)json_array_append_new(problems, problem_json(&config->problem[i]));
	}
	good = err == ERR_NONE && check_secret_files(agent, problems);
	if (good)
		report_text(&agent->report, "%s: good: %zu cluster%s, %zu repositor%s\n",
			    agent_config_path(agent), config->clusters_count,
			    config->clusters_count == 1 ? "" : "s", config->repos_count,
			    config->repos_count == 1 ? "y" : "ies");
	report_put(agent->report.root, "good", json_boolean(good));
	report_put(agent->report.root, "problems", problems);
	return good ? EXIT_DONE : EXIT_USAGE;
}

/* Keys of object stores are no matter for a directory. */
static bool is_shown(enum config_kind kind, const struct config_key *key,
		     const struct config_section *section)
{
	/* The section is the first member of its struct. */
	return kind != CONFIG_REPO || !key->only_s3 ||
	       ((const struct config_repo *)section)->type == CONFIG_REPO_S3;
}

/* Every value in effect, masked, and where it comes from. */
static void show_section(struct agent *agent, enum config_kind kind, const char *title,
			 const struct config_section *section,
			 const struct config_section *fallback, json_t *object)
{
	size_t count;
	const struct config_key *keys = config_keys(kind, &count);
	char masked[1024];

	report_text(&agent->report, "%s\n", title);
	for (size_t i = 0; i < count; i++) {
		const struct config_value *value = &section->value[i];
		const char *text, *later = keys[i].later ? ", not used yet" : "";

		if (!is_shown(kind, &keys[i], section))
			continue;
		if (value->text == NULL && fallback != NULL)
			value = &fallback->value[i];
		text = value->text != NULL ? value->text : keys[i].standard;
		config_mask(text, masked, sizeof(masked));
		report_put(object, keys[i].name, report_json_text(masked));
		if (value->text != NULL)
			report_text(&agent->report, "%s = %s    ; %s:%d%s\n", keys[i].name, masked,
				    value->file, value->line, later);
		else if (*text != '\0')
			report_text(&agent->report, "%s = %s    ; default%s\n", keys[i].name,
				    masked, later);
	}
}

static int config_show(struct agent *agent)
{
	const struct config *config = &agent->config;
	json_t *global = json_object(), *repos = json_object(), *clusters = json_object();
	char title[CONFIG_NAME_MAX + 16];
	struct error why;

	if (agent_load_config(agent, &why) != ERR_NONE) {
		json_decref(global);
		json_decref(repos);
		json_decref(clusters);
		return agent_fail(agent, &why);
	}
	show_section(agent, CONFIG_GLOBAL, "[global]", &config->global.section, NULL, global);
	for (size_t i = 0; i < config->repos_count; i++) {
		const struct config_section *section = &config->repos[i]->section;
		json_t *object = json_object();

		(void)snprintf(title, sizeof(title), "\n[repo:%s]", section->name);
		show_section(agent, CONFIG_REPO, title, section, NULL, object);
		report_put(repos, section->name, object);
	}
	for (size_t i = 0; i < config->clusters_count; i++) {
		const struct config_section *section = &config->clusters[i]->section;
		json_t *object = json_object();

		(void)snprintf(title, sizeof(title), "\n[cluster:%s]", section->name);
		show_section(agent, CONFIG_CLUSTER, title, section, &config->cluster_defaults,
			     object);
		report_put(clusters, section->name, object);
	}
	report_put(agent->report.root, "file", report_json_text(agent_config_path(agent)));
	report_put(agent->report.root, "global", global);
	report_put(agent->report.root, "repos", repos);
	report_put(agent->report.root, "clusters", clusters);
	return EXIT_DONE;
}

int command_config(struct agent *agent)
{
	struct error why;

	if (strcmp(agent->options.arguments[0], "recover") == 0)
		return config_recover(agent);
	if (agent->options.arguments_count > 1) {
		(void)error_set(&why, ERR_CONFIG, "config %s: \"%s\" is one argument too many",
				agent->options.arguments[0], agent->options.arguments[1]);
		return agent_fail(agent, &why);
	}
	if (strcmp(agent->options.arguments[0], "check") == 0)
		return config_check(agent);
	return config_show(agent);
}
